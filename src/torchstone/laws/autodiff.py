"""Automatic differentiation: elemental functions and their derivatives, sweeps, adjoints, and when values stay finite.

The table of elemental functions is what `torchstone trace` computes with. Arithmetic is IEEE 754's: a pole gives an infinity
and 0 times infinity gives nan; nothing raises. At kinks the derivative is torch's: relu'(0) = 0, |x|' = 0 at 0, a tie of max
or min shares its derivative half and half, and softplus is linear beyond 20.
"""

import math
from collections.abc import Callable, Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

_LINEAR_BEYOND = 20  # torch.nn.functional.softplus: threshold=20


def _quotient(a: float, b: float) -> float:
    """The quotient as IEEE 754 has it."""
    if b == 0:
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)  # noqa: PLR0124 - nan
    return a / b


def _guarded(function: Callable[[float], float], x: float, overflow: float = math.inf) -> float:
    """A function of `math` that gives nan outside its domain and an infinity where it overflows, instead of raising."""
    try:
        return function(x)
    except ValueError:
        return math.nan
    except OverflowError:
        return overflow


def _exponential(x: float) -> float:
    return _guarded(math.exp, x)


def _logarithm(x: float) -> float:
    return -math.inf if x == 0 else _guarded(math.log, x)


def _logarithm_of_successor(x: float) -> float:
    return -math.inf if x == -1 else _guarded(math.log1p, x)


def _root(x: float) -> float:
    return _guarded(math.sqrt, x)


def _power(a: float, b: float) -> float:
    """The power as C's pow has it; a fractional power of a negative number is nan."""
    if -math.inf < a < 0 and math.isfinite(b) and b != math.floor(b):
        return math.nan  # before Python makes it complex, which may overflow
    try:
        result: float = a**b
    except (ZeroDivisionError, OverflowError):
        return -math.inf if math.copysign(1.0, a) < 0 and b % 2 == 1 else math.inf
    return result


def _hyperbolic_sine(x: float) -> float:
    return _guarded(math.sinh, x, math.inf if x > 0 else -math.inf)


def _sigmoid(x: float) -> float:
    return 1 / (1 + _exponential(-x)) if x >= 0 else _exponential(x) / (1 + _exponential(x))


def _softplus(x: float) -> float:
    return x if x > _LINEAR_BEYOND else math.log1p(_exponential(x))


def _sign(x: float) -> float:
    return x if x == 0 or x != x else math.copysign(1.0, x)  # noqa: PLR0124 - nan


def _larger(a: float, b: float) -> float:
    return a + b if a != a or b != b else max(a, b)  # noqa: PLR0124 - nan goes through


def _smaller(a: float, b: float) -> float:
    return a + b if a != a or b != b else min(a, b)  # noqa: PLR0124 - nan goes through


def _share(a: float, b: float) -> float:
    """What max(a, b) takes from a: all, half at a tie, nothing."""
    return 0.5 if a == b else float(not a < b)


def _power_by_base(a: float, b: float) -> float:
    return 0.0 if b == 0 else b * _power(a, b - 1)


def _power_by_exponent(a: float, b: float) -> float:
    return 0.0 if a == 0 and b >= 0 else _power(a, b) * _logarithm(a)


_VALUES: dict[str, Callable[..., float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _quotient,
    "**": _power,
    "negative": lambda x: -x,
    "exp": _exponential,
    "expm1": lambda x: _guarded(math.expm1, x),
    "log": _logarithm,
    "log1p": _logarithm_of_successor,
    "sqrt": _root,
    "sin": lambda x: _guarded(math.sin, x),
    "cos": lambda x: _guarded(math.cos, x),
    "tan": lambda x: _guarded(math.tan, x),
    "asin": lambda x: _guarded(math.asin, x),
    "acos": lambda x: _guarded(math.acos, x),
    "atan": lambda x: math.atan(x),  # noqa: PLW0108 - looked up when called, so that a proof can put symbols in
    "sinh": _hyperbolic_sine,
    "cosh": lambda x: _guarded(math.cosh, x),
    "tanh": lambda x: math.tanh(x),  # noqa: PLW0108
    "erf": lambda x: math.erf(x),  # noqa: PLW0108
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "relu": lambda x: _larger(x, 0.0),
    "abs": lambda x: abs(x),  # noqa: PLW0108
    "max": _larger,
    "min": _smaller,
    ">": lambda a, b: float(a > b),
    ">=": lambda a, b: float(a >= b),
    "<": lambda a, b: float(a < b),
    "<=": lambda a, b: float(a <= b),
    "where": lambda chosen, a, b: a if chosen else b,
}
_PARTIALS: dict[str, Callable[..., tuple[float, ...]]] = {
    "+": lambda _a, _b: (1.0, 1.0),
    "-": lambda _a, _b: (1.0, -1.0),
    "*": lambda a, b: (b, a),
    "/": lambda a, b: (_quotient(1.0, b), -_quotient(_quotient(a, b), b)),
    "**": lambda a, b: (_power_by_base(a, b), _power_by_exponent(a, b)),
    "negative": lambda _x: (-1.0,),
    "exp": lambda x: (_exponential(x),),
    "expm1": lambda x: (_exponential(x),),
    "log": lambda x: (_quotient(1.0, x),),
    "log1p": lambda x: (_quotient(1.0, 1 + x),),
    "sqrt": lambda x: (_quotient(1.0, 2 * _root(x)),),
    "sin": lambda x: (_guarded(math.cos, x),),
    "cos": lambda x: (-_guarded(math.sin, x),),
    "tan": lambda x: (1 + _guarded(math.tan, x) * _guarded(math.tan, x),),
    "asin": lambda x: (_quotient(1.0, _root(1 - x * x)),),
    "acos": lambda x: (-_quotient(1.0, _root(1 - x * x)),),
    "atan": lambda x: (1 / (1 + x * x),),
    "sinh": lambda x: (_guarded(math.cosh, x),),
    "cosh": lambda x: (_hyperbolic_sine(x),),
    "tanh": lambda x: (1 - math.tanh(x) * math.tanh(x),),
    "erf": lambda x: (2 / math.sqrt(math.pi) * _exponential(-x * x),),
    "sigmoid": lambda x: (_sigmoid(x) * (1 - _sigmoid(x)),),
    "softplus": lambda x: (1.0 if x > _LINEAR_BEYOND else _sigmoid(x),),
    "relu": lambda x: (float(not x <= 0),),
    "abs": lambda x: (_sign(x),),
    "max": lambda a, b: (_share(a, b), _share(b, a)),
    "min": lambda a, b: (_share(b, a), _share(a, b)),
    ">": lambda _a, _b: (0.0, 0.0),
    ">=": lambda _a, _b: (0.0, 0.0),
    "<": lambda _a, _b: (0.0, 0.0),
    "<=": lambda _a, _b: (0.0, 0.0),
    "where": lambda chosen, _a, _b: (0.0, float(bool(chosen)), float(not chosen)),
}
ELEMENTALS = {name: function.__code__.co_argcount for name, function in _VALUES.items()}
"""Every elemental function by its name, and how many arguments it takes."""


def _checked(operation: str, arguments: Sequence[float]) -> None:
    if ELEMENTALS.get(operation) != len(arguments):
        message = f"elemental functions with their number of arguments are {ELEMENTALS}; {operation!r} of {len(arguments)} came"
        raise InvariantError(message)


@law(
    "autodiff.elemental_value",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("float64", "softplus with torch's threshold of 20"),
    sources=("Griewank and Walther 2008, table 2.2: elemental functions", "IEEE 754-2019, section 9.2"),
)
def elemental_value(operation: str, arguments: Sequence[float]) -> float:
    """An elemental function has torch's value.

    `operation` is a key of ELEMENTALS. Nothing raises on numbers: a pole gives inf, an invalid operation nan, as in torch.

    >>> elemental_value("/", (1.0, 9.0)), elemental_value("log", (0.0,)), elemental_value("max", (2.0, 3.0))
    (0.1111111111111111, -inf, 3.0)
    """
    _checked(operation, arguments)
    return _VALUES[operation](*arguments)


@law(
    "autodiff.elemental_derivative",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("float64", "at kinks torch's choice: relu'(0) = 0, |x|' = 0 at 0, halves at a tie of max or min"),
    sources=("Griewank and Walther 2008, table 2.2: elemental functions", "Baydin et al. 2018, section 3: tables 2 and 3"),
)
def elemental_derivative(operation: str, arguments: Sequence[float]) -> tuple[float, ...]:
    """An elemental function has the partial derivatives of the table of derivatives, one for each argument.

    `operation` is a key of ELEMENTALS. A pole gives an infinity, as in torch: sqrt'(0) = inf.

    >>> elemental_derivative("*", (3.0, 6.0)), elemental_derivative("sqrt", (0.0,)), elemental_derivative("max", (1.0, 1.0))
    ((6.0, 3.0), (inf,), (0.5, 0.5))
    """
    _checked(operation, arguments)
    return _PARTIALS[operation](*arguments)


@law(
    "autodiff.sweeps",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("a dense Jacobian whose sparsity is not known", "one direction a sweep"),
    sources=("Griewank and Walther 2008, section 3.1 and 3.2", "Baydin et al. 2018, sections 3.1 and 3.2"),
)
def sweeps(inputs: int, outputs: int, mode: str) -> int:
    """A Jacobian of m outputs by n inputs takes n forward sweeps (a column each) or m reverse sweeps (a row each).

    `mode` is "forward" or "reverse".

    >>> sweeps(1000, 1, "forward"), sweeps(1000, 1, "reverse")
    (1000, 1)
    """
    if inputs < 1 or outputs < 1 or mode not in {"forward", "reverse"}:
        message = f"inputs and outputs of at least 1 and mode 'forward' or 'reverse' are needed; {inputs}, {outputs}, {mode!r} came"
        raise InvariantError(message)
    return inputs if mode == "forward" else outputs


@law(
    "autodiff.adjoint_product",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("derivative and adjoint are taken at the same point",),
    sources=("Griewank and Walther 2008, section 3.3: the transposed Jacobian is the adjoint map",),
)
def adjoint_product(output_adjoint: Sequence[float], output_tangent: Sequence[float]) -> float:
    """Reverse mode is the adjoint of forward mode: <y_bar, J x_dot> equals <J' y_bar, x_dot> for all y_bar and x_dot.

    `output_adjoint` is y_bar and `output_tangent` is J x_dot, as forward mode gives it. The law predicts what the product of
    the input's adjoint with the input's tangent must be.

    >>> adjoint_product((1.0, 2.0), (0.5, -1.0))
    -1.5
    """
    if len(output_adjoint) != len(output_tangent):
        message = f"adjoint and tangent of one output are of one length; {len(output_adjoint)} and {len(output_tangent)} came"
        raise InvariantError(message)
    return math.fsum(a * b for a, b in zip(output_adjoint, output_tangent, strict=True))


@law(
    "autodiff.non_finite_values",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("finite inputs", "no constant infinity was put in on purpose (attention masks)"),
    sources=("Griewank and Walther 2008, section 2.1: elemental functions on their open domains", "IEEE 754, section 7"),
)
def non_finite_values(poles: int, overflows: int = 0) -> int:
    """Finite inputs give finite values, except where an operation meets a pole or overflows: one each.

    >>> non_finite_values(0)
    0
    >>> non_finite_values(poles=1)
    1
    """
    if poles < 0 or overflows < 0:
        message = f"poles and overflows are counted from zero; {poles}, {overflows} came"
        raise InvariantError(message)
    return poles + overflows


@law(
    "autodiff.other_samples",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("no statistics of the batch enter (batch normalisation in training, contrastive losses)", "general position"),
    sources=("the loss of a batch is a sum with one term a sample: d loss_i / d x_j = 0 for i != j",),
)
def other_samples(samples: int, *, apart: bool = True) -> int:
    """The loss of one sample depends on none of the other n - 1 samples in its batch; where they are mixed, on all of them.

    >>> other_samples(32), other_samples(32, apart=False)
    (0, 31)
    """
    if samples < 1:
        message = f"a batch of at least 1 sample is needed; {samples} came"
        raise InvariantError(message)
    return 0 if apart else samples - 1


@law(
    "autodiff.recomputed_share",
    Kind.EXPECTATION,
    Unit.RATIO,
    assumes=("the same inputs, parameters and state", "deterministic kernels", "dropout is what draws, if anything does"),
    sources=("Chen et al. 2016, section 4", "two independent masks differ where one of the two keeps"),
)
def recomputed_share(drop: float, *, restored: bool = True) -> float:
    """Values computed again for the backward pass are the same; with other random numbers dropout changes 2 p (1 - p) of them.

    >>> recomputed_share(0.1), recomputed_share(0.5, restored=False)
    (0.0, 0.5)
    """
    if not 0 <= drop <= 1:
        message = f"a share from 0 to 1 is dropped; {drop} came"
        raise InvariantError(message)
    return 0.0 if restored else 2 * drop * (1 - drop)
