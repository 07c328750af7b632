"""Steps: the Heaviside step, ReLU by it, and the sigmoid that approaches it."""

import math

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


def _check(x: float) -> None:
    if not math.isfinite(x):
        message = f"an activation is held at a finite number; {x} came"
        raise InvariantError(message)


@law(
    "activation.heaviside",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("H(0) = 1/2",),
    sources=("Abramowitz and Stegun 1964, section 29.1: the unit step, with the mean of both sides at the jump",),
)
def heaviside(x: float) -> float:
    """The Heaviside step is 0 below zero, 1 above, and by convention 1/2 at zero.

    >>> heaviside(-3.0), heaviside(0.0), heaviside(1e-9)
    (0.0, 0.5, 1.0)
    """
    _check(x)
    return 0.5 if x == 0 else float(x > 0)


@law(
    "activation.relu_derivative",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("x is not 0: there the slope is 0 from the left and 1 from the right, and ReLU has no derivative",),
    sources=("the difference quotient of max(0, x) on either side of 0",),
)
def relu_derivative(x: float) -> float:
    """The derivative of ReLU is the Heaviside step, wherever it exists.

    Breaks when: x = 0; torch answers 0 there, which is one of the subgradients 0 to 1, not a derivative.

    >>> relu_derivative(-2.0), relu_derivative(7.0)
    (0.0, 1.0)
    """
    if x == 0:
        message = "relu has no derivative at 0: its slope is 0 from the left and 1 from the right"
        raise InvariantError(message)
    return heaviside(x)


@law(
    "activation.relu_by_heaviside",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("finite x",),
    sources=("cases x < 0, x = 0, x > 0, with H(-x) = 1 - H(x)",),
)
def relu_by_heaviside(x: float) -> tuple[float, float]:
    """ReLU is x H(x), and it is x (1 - H(-x)), at zero too.

    Breaks when: x is infinite; -inf times 0 is not a number.

    >>> relu_by_heaviside(3.0)
    (3.0, 3.0)
    """
    return x * heaviside(x), x * (1 - heaviside(-x))


@law(
    "activation.steep_sigmoid_error",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("k > 0",),
    sources=("for x > 0, 1 - 1/(1 + exp(-kx)) = 1/(1 + exp(kx)); for x < 0 by symmetry; at 0 both are 1/2",),
)
def steep_sigmoid_error(x: float, steepness: float) -> float:
    """Sigmoid(k x) tends to the Heaviside step at every point: they differ by 1/(1 + exp(k abs(x))), at 0 by nothing.

    Pointwise, not uniformly: close to 0 the difference is close to 1/2 for every k.

    >>> round(steep_sigmoid_error(2.0, 1.0), 12) == round(1 / (1 + math.exp(2)), 12)
    True
    >>> steep_sigmoid_error(0.0, 10.0)
    0.0
    """
    _check(x)
    if not 0 < steepness < math.inf:
        message = f"a finite steepness above 0 is needed; {steepness} came"
        raise InvariantError(message)
    decay = math.exp(-steepness * abs(x))
    return decay / (1 + decay) if x != 0 else 0.0
