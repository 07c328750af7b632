"""What gradients over time can still teach: what rounding loses, what preserved ones add up to, and which steps overwrite.

T is the number of time steps, Wh the matrix that carries the state from one to the next.
"""

import math

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


def _check(steps: int) -> None:
    if steps < 1:
        message = f"a sequence has a step or more; {steps} came"
        raise InvariantError(message)


@law(
    "recurrence.lost_gradient",
    Kind.BOUND,
    Unit.RATIO,
    assumes=("the steps' gradients are added in one floating-point format, rounded to nearest",),
    sources=("numbers just below a power of two lie eps/2 of it apart, and half of that rounds away: IEEE 754-2019, section 4.3",),
)
def lost_gradient(resolution: float) -> float:
    """A time step's gradient changes the sum over time only if it is at least eps/4 of it; what is smaller is rounded away.

    The gradient of a recurrent weight is a sum over time. `resolution` is eps, the distance from 1 to the next number.

    >>> lost_gradient(2.0**-23) == 2.0**-25
    True
    """
    if not 0 < resolution <= 1:
        message = f"a resolution above 0 and at most 1 is needed; {resolution} came"
        raise InvariantError(message)
    return resolution / 4


@law(
    "recurrence.summed_gradient",
    Kind.BOUND,
    Unit.RATIO,
    assumes=("every step's own loss gives its state a gradient of norm at most 1", "every dh_t/dh_{t-1} has a norm of at most g"),
    sources=("backpropagation through time, a sum of T products: Werbos 1990; the triangle inequality",),
)
def summed_gradient(gain: float, steps: int) -> float:
    """With at most the gain g a step, the first of T states gets at most 1 + g + ... + g^(T-1) times what one step's loss gives.

    At g = 1, a recurrence that preserves the gradient, that is T; more of it means that the recurrence amplifies.

    >>> summed_gradient(1.0, steps=50), summed_gradient(2.0, steps=4), summed_gradient(0.5, steps=2)
    (50.0, 15.0, 1.5)
    """
    _check(steps)
    if not (gain >= 0 and math.isfinite(gain)):
        message = f"a finite gain of 0 or more is needed; {gain} came"
        raise InvariantError(message)
    return math.fsum(gain**step for step in range(steps))


@law(
    "recurrence.compounded_share",
    Kind.BOUND,
    Unit.RATIO,
    assumes=("no nonlinearity, or one that is nowhere steeper than 1",),
    sources=("norm((Wh + D)^T) <= (norm(Wh) + norm(D))^T, solved for norm(D)/norm(Wh) at e times norm(Wh)^T",),
)
def compounded_share(steps: int) -> float:
    """To multiply the bound on the gain over T steps by e, a step must move Wh by e^(1/T) - 1 of its norm, near 1/T, or more.

    Smaller steps stay where the loss is close to the straight line that its gradient promises.

    >>> round(compounded_share(50), 4), round(compounded_share(1), 4)
    (0.0202, 1.7183)
    """
    _check(steps)
    return math.expm1(1 / steps)
