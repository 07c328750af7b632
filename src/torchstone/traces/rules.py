"""What a row of a trace says: the symbolic rules of values, derivatives and adjoints, in plain text.

v_3 is a value, dv_3 its derivative, bar_v_3 its adjoint. The rules are for reading; the numbers come from
laws.autodiff, and a proof holds the two against each other.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torchstone.traces.expression import Argument, Row

_INFIX = {"+": "{0} + {1}", "-": "{0} - {1}", "*": "{0}*{1}", "/": "{0}/{1}", "**": "{0}**{1}", "negative": "-{0}"} | {
    sign: f"{{0}} {sign} {{1}}" for sign in (">", ">=", "<", "<=")
}
# Of the arguments {0}, {1}, {2} and the value {y}: one factor, or a fraction whose numerator is 1.
PARTIALS: dict[str, tuple[str, ...]] = {
    "+": ("1", "1"),
    "-": ("1", "-1"),
    "*": ("{1}", "{0}"),
    "/": ("1/{1}", "-{0}/{1}**2"),
    "**": ("{1}*{0}**({1} - 1)", "{y}*log({0})"),
    "negative": ("-1",),
    "exp": ("{y}",),
    "expm1": ("({y} + 1)",),
    "log": ("1/{0}",),
    "log1p": ("1/(1 + {0})",),
    "sqrt": ("1/(2*{y})",),
    "sin": ("cos({0})",),
    "cos": ("-sin({0})",),
    "tan": ("(1 + {y}**2)",),
    "asin": ("1/sqrt(1 - {0}**2)",),
    "acos": ("-1/sqrt(1 - {0}**2)",),
    "atan": ("1/(1 + {0}**2)",),
    "sinh": ("cosh({0})",),
    "cosh": ("sinh({0})",),
    "tanh": ("(1 - {y}**2)",),
    "erf": ("2/sqrt(pi)*exp(-{0}**2)",),
    "sigmoid": ("{y}*(1 - {y})",),
    "softplus": ("sigmoid({0})",),
    "relu": ("[{0} > 0]",),
    "abs": ("sign({0})",),
    "max": ("H({0} - {1})", "H({1} - {0})"),
    "min": ("H({1} - {0})", "H({0} - {1})"),
    ">": ("0", "0"),
    ">=": ("0", "0"),
    "<": ("0", "0"),
    "<=": ("0", "0"),
    "where": ("0", "{0}", "(1 - {0})"),
}
"""H is Heaviside's function with H(0) = 1/2: a tie is shared. [x > 0] is 1 or 0."""


def _at_zero(x: float) -> bool:
    return x == 0


def _tie(a: float, b: float) -> bool:
    return a == b


CONVENTIONS: Mapping[str, tuple[Callable[..., bool], ...]] = MappingProxyType({
    "relu": (_at_zero,),
    "abs": (_at_zero,),
    "max": (_tie, _tie),
    "min": (_tie, _tie),
    "**": (lambda a, b: a == b == 0, lambda a, b: a == 0 <= b),
})
"""Where a partial derivative is torch's choice and not what the rule comes to: at kinks, and where the rule is 0 times infinity."""


def by_convention(row: Row, taken: Sequence[float], slot: int) -> bool:
    """Whether the partial derivative of a row by its argument number `slot` is torch's choice at the numbers `taken`.

    >>> by_convention(Row("abs", (0,)), [0.0], 0), by_convention(Row("**", (0.0, 0)), [0.0, 2.0], 1)
    (True, True)
    """
    if row.operation not in CONVENTIONS or (row.operation == "**" and slot == 0 and isinstance(row.arguments[1], float)):
        return False  # by a constant power, the rule has no pole where the derivative has none
    return CONVENTIONS[row.operation][slot](*taken)


def value_name(position: int) -> str:
    """The name of a value: v_-1, v_0, v_1, ..."""
    return f"v_{position}"


def tangent_name(position: int) -> str:
    """The name of a derivative: dv_1."""
    return f"dv_{position}"


def adjoint_name(position: int) -> str:
    """The name of an adjoint: bar_v_1."""
    return f"bar_v_{position}"


def constant(value: float) -> str:
    """A constant to six digits, in parentheses if negative."""
    text = f"{value:.6g}"
    return f"({text})" if value < 0 else text


def _names(arguments: Sequence[Argument]) -> list[str]:
    return [value_name(argument) if isinstance(argument, int) else constant(argument) for argument in arguments]


def value_rule(row: Row) -> str:
    """How a value comes about.

    >>> value_rule(Row("/", (1.0, 1))), value_rule(Row("max", (-1, 0)))
    ('1/v_1', 'max(v_-1, v_0)')
    """
    names = _names(row.arguments)
    pattern = _INFIX.get(row.operation)
    return pattern.format(*names) if pattern else f"{row.operation}({', '.join(names)})"


def value_rule_in_numbers(row: Row, numbers: Sequence[float]) -> str:
    """The same with the arguments' numbers in place of their names: 1/0, log(-2)."""
    return value_rule(Row(row.operation, tuple(float(number) for number in numbers)))


def partial_rule(row: Row, position: int, slot: int) -> str:
    """The partial derivative of the row at `position` by its argument number `slot`.

    >>> partial_rule(Row("cos", (-1,)), 5, 0), partial_rule(Row("**", (0, 2.0)), 3, 0)
    ('-sin(v_-1)', '2*v_0')
    """
    names = _names(row.arguments)
    if row.operation == "**" and slot == 0 and isinstance(row.arguments[1], float):
        return _power_rule(names[0], row.arguments[1])
    return PARTIALS[row.operation][slot].format(*names, y=value_name(position))


def _power_rule(name: str, exponent: float) -> str:
    if exponent in {0.0, 1.0}:
        return constant(exponent)
    lowered = "" if exponent == 2 else f"**{constant(exponent - 1)}"  # noqa: PLR2004 - the power that leaves a plain factor
    factor = "" if exponent == -1 else f"{abs(exponent):.6g}*"
    return f"{'-' * (exponent < 0)}{factor}{name}{lowered}"


def tangent_rule(row: Row, position: int) -> str:
    """How a derivative comes about: the partial derivatives times the arguments' derivatives.

    >>> tangent_rule(Row("/", (1.0, 1)), 2), tangent_rule(Row("*", (-1, 0)), 1)
    ('-dv_1/v_1**2', 'v_0*dv_-1 + v_-1*dv_0')
    """
    return joined([
        product(partial_rule(row, position, slot), tangent_name(argument))
        for slot, argument in enumerate(row.arguments)
        if isinstance(argument, int)
    ])


def adjoint_rule(row: Row, position: int, slot: int, *, first: bool) -> str:
    """How an adjoint grows by what one use of its value sends back.

    >>> adjoint_rule(Row("cos", (-1,)), 5, 0, first=False)
    'bar_v_-1 - bar_v_5*sin(v_-1)'
    """
    sent = product(partial_rule(row, position, slot), adjoint_name(position), leading=True)
    argument = row.arguments[slot]
    return sent if first or isinstance(argument, float) else joined([adjoint_name(argument), sent])


def product(partial: str, name: str, *, leading: bool = False) -> str:
    """A partial derivative times a derivative or an adjoint, without ones.

    >>> product("1", "dv_1"), product("-1/v_2", "dv_1"), product("cos(v_2)", "bar_v_3", leading=True)
    ('dv_1', '-dv_1/v_2', 'bar_v_3*cos(v_2)')
    """
    if partial.startswith("-"):
        return f"-{product(partial[1:], name, leading=leading)}"
    if partial == "1" or partial.startswith("1/"):
        return name + partial[1:]
    return f"{name}*{partial}" if leading else f"{partial}*{name}"


def joined(terms: Sequence[str]) -> str:
    """A sum; 0 if it has no term.

    >>> joined(["dv_1", "-dv_2"]), joined([])
    ('dv_1 - dv_2', '0')
    """
    text = " + ".join(terms)
    return text.replace("+ -", "- ") or "0"
