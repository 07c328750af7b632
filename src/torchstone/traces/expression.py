"""A formula as a linear tape of elemental operations: parsed by a whitelist, without recursion, never by `eval`.

Positions on the tape are those of three-part notation (Griewank and Walther 2008, section 2.2): with n variables they are
1-n, ..., 0, and the rows are 1, 2, ...; v_-1 and v_0 are the two variables of a formula in two variables.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from keyword import iskeyword
from typing import NoReturn

from torchstone.core.errors import UsageError, meant
from torchstone.laws.autodiff import ELEMENTALS, elemental_value
from torchstone.traces.tokens import Token, fail, tokens

MAX_DEPTH = 1000
CONSTANTS = {"pi": math.pi, "π": math.pi, "e": math.e}
FUNCTIONS = {name: name for name, _ in ELEMENTALS.items() if name.isidentifier() and name not in {"negative", "where"}} | {
    "ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "maximum": "max", "minimum": "min", "σ": "sigmoid",
}  # fmt: skip
"""What a formula may call, and the elemental function that it means."""
_FOLDING = {"max", "min"}  # of two arguments or more, pair by pair
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "negative": 3, "**": 4}

Argument = int | float
"""An int is a position on the tape, a float is a constant."""


@dataclass(frozen=True, slots=True)
class Row:
    """One elemental operation: its name in laws.autodiff.ELEMENTALS, and what it is applied to."""

    operation: str
    arguments: tuple[Argument, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """The arguments that are positions on the tape, each as often as it occurs."""
        return tuple(argument for argument in self.arguments if isinstance(argument, int))


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula in `variables`; row i of `rows` has position i + 1. `result` is the position of the formula's value."""

    text: str
    variables: tuple[str, ...]
    rows: tuple[Row, ...]
    result: int

    def position(self, variable: str) -> int:
        """Where a variable stands on the tape: 1-n for the first of n, 0 for the last."""
        return self.variables.index(variable) + 1 - len(self.variables)

    def ordered(self, variables: Sequence[str]) -> "Expression":
        """The same formula with its variables in another order."""
        if tuple(variables) == self.variables:
            return self
        moved = {self.position(name): index + 1 - len(variables) for index, name in enumerate(variables)}
        rows = tuple(Row(row.operation, tuple(_moved(argument, moved) for argument in row.arguments)) for row in self.rows)
        return replace(self, variables=tuple(variables), rows=rows, result=moved.get(self.result, self.result))


def _moved(argument: Argument, moved: Mapping[int, int]) -> Argument:
    return moved.get(argument, argument) if isinstance(argument, int) else argument


def parse(text: str) -> Expression:
    """Read a formula such as 'x**2 + sin(x*y)/3' in any variables; variables are ordered as they first occur.

    Operators + - * / ** (also ^, ×, ·, ÷, x²), constants pi and e, and FUNCTIONS; precedence is Python's. Constant
    subexpressions are folded where their value is finite. Raises UsageError, with the place shown, for anything else.

    >>> parse("1/(x1+x2) + x2**2").rows[:2]
    (Row(operation='+', arguments=(-1, 0)), Row(operation='/', arguments=(1.0, 1)))
    """
    reader = _Reader(text)
    for token in tokens(text):
        reader.take(token)
    return reader.end()


def evaluate(expression: Expression, at: Mapping[str, float]) -> float:
    """The value at a point, in float64 by IEEE 754's rules: poles give infinities, nothing raises.

    Raises UsageError if a variable has no value, or a value no variable.

    >>> evaluate(parse("x**2/4"), {"x": 3})
    2.25
    """
    return values(expression, point(expression, at))[expression.result]


def point(expression: Expression, at: Mapping[str, float]) -> tuple[float, ...]:
    """The variables' values in the expression's order; raises UsageError if one is missing, superfluous or no number."""
    if not isinstance(at, Mapping) or not all(isinstance(name, str) for name in at):
        message = f"the point is a mapping of variables' names to numbers, such as {{'x': 1.0}}; {at!r} came"
        raise UsageError(message)
    missing = [name for name in expression.variables if name not in at]
    if missing:
        message = f"no value was given for {', '.join(missing)}: the formula has the variables {', '.join(expression.variables)}"
        raise UsageError(message)
    strange = [name for name in at if name not in expression.variables]
    if strange and strange[0] in CONSTANTS:
        meaning = "Euler's number" if strange[0] == "e" else "the circle's constant"
        message = f"{strange[0]} is {meaning} in a formula, no variable: rename the variable"
        raise UsageError(message)
    if strange:
        known = ", ".join(expression.variables)
        near = meant(strange[0], expression.variables)
        message = f"{', '.join(strange)}: no such variable in the formula, which has {known or 'none'}{near or '; leave it out'}"
        raise UsageError(message)
    return tuple(_number(name, at[name]) for name in expression.variables)


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type] # what cannot be converted is told
    except (TypeError, ValueError, OverflowError):
        message = f"{name} needs a number in float64's range; {value!r} came"
        raise UsageError(message) from None


def values(expression: Expression, at: Sequence[float]) -> dict[int, float]:
    """The number at every position of the tape, for the variables' values in order."""
    numbers = {index + 1 - len(at): float(value) for index, value in enumerate(at)}
    for position, row in enumerate(expression.rows, 1):
        numbers[position] = elemental_value(row.operation, [_value(argument, numbers) for argument in row.arguments])
    return numbers


def _value(argument: Argument, numbers: Mapping[int, float]) -> float:
    return numbers[argument] if isinstance(argument, int) else argument


@dataclass
class _Pending:
    """An operator, a function or an opened parenthesis that waits for what it is applied to."""

    name: str
    position: int
    depth: int = 0
    arguments: int = 1


@dataclass
class _Reader:
    """Precedence parsing with a stack of its own (Dijkstra's shunting yard): depth costs no recursion."""

    text: str
    variables: dict[str, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    operands: list[Argument] = field(default_factory=list)
    pending: list[_Pending] = field(default_factory=list)
    last: Token | None = None
    whole: bool = False  # whether what was read so far ends with a complete operand
    called: Token | None = None  # a function's name that waits for its parenthesis
    depth: int = 0

    def take(self, token: Token) -> None:
        if self.called and token.text != "(":
            self._fail(token, f"the function {self.called.text} needs its argument in parentheses: {self.called.text}(...)")
        if token.kind == "sign":
            self._sign(token)
        elif self.whole:
            self._juxtaposed(token)
        elif token.kind == "number":
            self._operand(float(token.text))
        elif token.text in FUNCTIONS:
            self.called = token
        else:
            self._operand(CONSTANTS[token.text] if token.text in CONSTANTS else self._variable(token.text))
        self.last = token

    def _operand(self, argument: Argument) -> None:
        self.operands.append(argument)
        self.whole = True

    def _variable(self, name: str) -> int:
        return -1 - self.variables.setdefault(name, len(self.variables))  # a position at the end, when their number is known

    def _sign(self, token: Token) -> None:
        sign = token.text
        if sign == "(":
            self._open(token)
        elif sign in "),":
            self._close(token)
        elif self.whole:
            self._apply_while(_STRENGTH[sign] if sign != "**" else _STRENGTH[sign] + 1)
            self._wait(sign, token)
            self.whole = False
        elif sign == "-":
            self._wait("negative", token)
        elif sign != "+":
            self._missing(token)

    def _open(self, token: Token) -> None:
        if self.whole:
            self._juxtaposed(token)
        self._wait(self.called.text if self.called else "(", token, opens=True)
        self.called = None

    def _wait(self, name: str, token: Token, *, opens: bool = False) -> None:
        self.depth += opens or name == "negative"
        if self.depth > MAX_DEPTH:
            self._fail(token, f"the formula is nested deeper than {MAX_DEPTH:,} levels: split it, or trace a Python function")
        self.pending.append(_Pending(name, token.position, depth=int(opens)))

    def _close(self, token: Token) -> None:
        if not self.whole:
            self._missing(token)
        self._apply_while(0)
        if not self.pending:
            said = "there is no '(' for this ')'" if token.text == ")" else "a comma stands between arguments of a function only"
            self._fail(token, said)
        opened = self.pending[-1]
        if token.text == ",":
            if opened.name == "(":
                self._fail(token, "a comma stands between arguments of a function only; decimals have a point")
            opened.arguments += 1
            self.whole = False
            return
        self.pending.pop()
        self.depth -= 1
        if opened.name != "(":
            self._call(opened)

    def _call(self, opened: _Pending) -> None:
        operation = FUNCTIONS[opened.name]
        wanted, came = ELEMENTALS[operation], opened.arguments
        if came != wanted and not (operation in _FOLDING and came > wanted):
            fail(self.text, opened.position, f"{opened.name} takes {wanted} argument{'s' * (wanted > 1)}; {came} came")
        rest = self.operands[len(self.operands) - came + wanted :]
        del self.operands[len(self.operands) - came + wanted :]
        self._apply(operation, wanted)
        for argument in rest:
            self.operands.append(argument)
            self._apply(operation, wanted)

    def _apply_while(self, strength: int) -> None:
        """Apply what waits on top and binds at least as strongly."""
        while self.pending and not self.pending[-1].depth and _STRENGTH[self.pending[-1].name] >= strength:
            name = self.pending.pop().name
            self.depth -= name == "negative"
            self._apply(name, ELEMENTALS[name])

    def _apply(self, operation: str, count: int) -> None:
        arguments = tuple(self.operands[-count:])
        del self.operands[-count:]
        constants = [argument for argument in arguments if isinstance(argument, float)]
        if len(constants) == count and math.isfinite(folded := elemental_value(operation, constants)):
            self.operands.append(folded)
            return
        self.rows.append(Row(operation, arguments))
        self.operands.append(len(self.rows))

    def _juxtaposed(self, token: Token) -> NoReturn:
        before = self.last.text if self.last else ""
        if token.text == "(" and self.last and self.last.kind == "name" and before not in CONSTANTS:
            functions = ", ".join(sorted(FUNCTIONS))
            near = meant(before, FUNCTIONS)
            fail(self.text, self.last.position, f"no function is named {before!r}{near or f'; functions: {functions}'}")
        if iskeyword(before) or iskeyword(token.text):
            self._fail(token, "this looks like Python, which is not run here: --function file.py:name traces a Python function")
        product = f"write {before}*{token.text}" if before != ")" and token.text != "(" else "put a * between them"
        self._fail(token, f"an operator is missing between {before!r} and {token.text!r}: for a product {product}")

    def _missing(self, token: Token) -> NoReturn:
        side = f"after {self.last.text!r}" if self.last and self.last.text != "(" else f"before {token.text!r}"
        self._fail(token, f"a number, a variable or a function is missing {side}")

    def _fail(self, token: Token, message: str) -> NoReturn:
        fail(self.text, token.position, message)

    def end(self) -> Expression:
        finish = Token("end", "the end", len(self.text))
        if self.last is None:
            message = "the formula is empty: give one such as 'x**2 + sin(x*y)'"
            raise UsageError(message)
        if self.called:
            self._fail(finish, f"the function {self.called.text} needs its argument in parentheses: {self.called.text}(...)")
        if not self.whole:
            self._missing(finish)
        self._apply_while(0)
        if self.pending:
            fail(self.text, self.pending[-1].position, "this '(' is never closed: a ')' is missing")
        if not self.variables:
            said = "has no variable, so there is nothing to differentiate: name one, such as x (e and pi are constants)"
            message = f"the formula {self.text[:60]!r} {said}"
            raise UsageError(message)
        count = len(self.variables)
        rows = tuple(Row(row.operation, tuple(_shifted(argument, count) for argument in row.arguments)) for row in self.rows)
        return Expression(self.text, tuple(self.variables), rows, int(_shifted(self.operands[0], count)))


def _shifted(argument: Argument, count: int) -> Argument:
    """From the order of first occurrence (-1, -2, ...) to positions (1-n, ..., 0)."""
    return -argument - count if isinstance(argument, int) and argument < 0 else argument
