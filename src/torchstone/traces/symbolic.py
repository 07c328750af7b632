"""A formula as a sympy expression, row by row: long sums and products stay flat, and depth costs no recursion of ours."""

import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import sympy

from torchstone.core.errors import UsageError
from torchstone.traces.expression import Argument, Expression, Row

_NAMED = {math.pi: sympy.pi, math.e: sympy.E}
_DENOMINATOR = 10**6
_PARTS = 100
_CHAINS = {"+": sympy.Add, "-": sympy.Add, "*": sympy.Mul, "/": sympy.Mul}
_FUNCTIONS = {
    "**": sympy.Pow,
    "negative": lambda x: -x,
    "expm1": lambda x: sympy.exp(x) - 1,
    "log1p": lambda x: sympy.log(1 + x),
    "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
    "softplus": lambda x: sympy.log(1 + sympy.exp(x)),
    "relu": lambda x: sympy.Max(x, 0),
    "abs": sympy.Abs,
    "max": sympy.Max,
    "min": sympy.Min,
    ">": lambda a, b: sympy.Piecewise((1, a > b), (0, True)),
    ">=": lambda a, b: sympy.Piecewise((1, a >= b), (0, True)),
    "<": lambda a, b: sympy.Piecewise((1, a < b), (0, True)),
    "<=": lambda a, b: sympy.Piecewise((1, a <= b), (0, True)),
    "where": lambda chosen, a, b: sympy.Piecewise((a, sympy.Ne(chosen, 0)), (b, True)),
}


def to_sympy(expression: Expression, symbols: Mapping[str, Any] | None = None) -> Any:
    """The formula in sympy's symbols (by default real symbols of the variables' names).

    Constants become exact: 0.25 is 1/4, the float nearest to pi is pi. softplus is log(1 + e^x) without torch's threshold.
    Raises UsageError where sympy itself recurses too deep.

    >>> from torchstone.traces.expression import parse
    >>> to_sympy(parse("x**2/4 + pi*x"))
    x**2/4 + pi*x
    """
    known = symbols or {name: sympy.Symbol(name, real=True) for name in expression.variables}
    missing = [name for name in expression.variables if name not in known]
    if missing:
        message = f"no symbol was given for {', '.join(missing)}; the formula has {', '.join(expression.variables)}"
        raise UsageError(message)
    try:
        return _Conversion(expression, known).value(expression.result)
    except RecursionError:
        message = f"the formula is nested too deep for sympy ({len(expression.rows):,} operations): use a flatter one"
        raise UsageError(message) from None


class _Conversion:
    """Sums and products whose only use is inside a longer one are kept as lists: sympy flattens each chain once."""

    def __init__(self, expression: Expression, symbols: Mapping[str, Any]) -> None:
        self.uses = Counter(position for row in expression.rows for position in row.positions)
        self.done: dict[int, Any] = {expression.position(name): symbols[name] for name in expression.variables}
        self.chains: dict[int, tuple[Any, list[Any]]] = {}
        for position, row in enumerate(expression.rows, 1):
            if row.operation in _CHAINS:
                self.chains[position] = self._chain(row)
            else:
                function = _FUNCTIONS.get(row.operation) or getattr(sympy, row.operation)
                self.done[position] = function(*(self.value(argument) for argument in row.arguments))

    def value(self, argument: Argument) -> Any:
        """What an argument is in sympy."""
        if isinstance(argument, float):
            return exact(argument)
        if argument not in self.done:
            joined, parts = self.chains[argument]
            self.done[argument] = joined(*parts)
        return self.done[argument]

    def _chain(self, row: Row) -> tuple[Any, list[Any]]:
        joined = _CHAINS[row.operation]
        first, second = row.arguments
        last = self._parts(second, joined) if row.operation in {"+", "*"} else [self._inverse(row.operation, self.value(second))]
        return joined, self._parts(first, joined) + last

    def _parts(self, argument: Argument, joined: Any) -> list[Any]:
        if isinstance(argument, int) and argument in self.chains and self.uses[argument] == 1 and argument not in self.done:
            inner, parts = self.chains[argument]
            if inner is joined:
                return parts
        return [self.value(argument)]

    @staticmethod
    def _inverse(operation: str, value: Any) -> Any:
        return -value if operation == "-" else 1 / value


def exact(value: float) -> Any:
    """The simplest exact number whose float64 this is: a fraction, a fraction of pi or e, or its decimals.

    >>> exact(0.1), exact(1/3), exact(2 * 3.141592653589793)
    (1/10, 1/3, 2*pi)
    """
    if not math.isfinite(value):
        return sympy.nan if math.isnan(value) else sympy.oo * (1 if value > 0 else -1)
    near = Fraction(value).limit_denominator(_DENOMINATOR)
    if float(near) == value:
        return _rational(near)
    for number, name in _NAMED.items():
        share = Fraction(value / number).limit_denominator(_PARTS)
        if share and float(share) * number == value:
            return _rational(share) * name
    return _rational(Fraction(repr(value)))


def _rational(found: Fraction) -> Any:
    return sympy.Rational(found.numerator, found.denominator)
