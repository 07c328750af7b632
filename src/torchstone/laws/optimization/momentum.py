"""Two forms of one momentum: a velocity that adds gradients up, and a running average of them. Both begin at 0.

| form | velocity | step |
|---|---|---|
| momentum | v_t = alpha v_{t-1} + eps g_t | theta_t = theta_{t-1} - v_t |
| running average | v_t = beta v_{t-1} + (1 - beta) g_t | theta_t = theta_{t-1} - delta v_t |

Gradients are those of one coordinate, oldest first.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

_CONSTANT = "both coefficients stay as they are, v_0 = 0"
_UNROLLED = "the recursion unrolled"


def _checked(momentum: float, *numbers: float) -> None:
    if not (math.isfinite(momentum) and momentum >= 0 and momentum < 1):
        message = f"a momentum in [0, 1) is needed; {momentum} came"
        raise InvariantError(message)
    if not all(math.isfinite(one) for one in numbers):
        message = f"finite numbers are needed; {list(numbers)} came"
        raise InvariantError(message)


@law(
    "optimization.averaged_hyperparameters",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=(_CONSTANT, "0 <= alpha < 1"),
    sources=("Polyak 1964, section 2 (momentum)", "derivation: eps sum alpha^(t-i) g_i = delta (1 - beta) sum beta^(t-i) g_i"),
)
def averaged_hyperparameters(momentum: float, step_size: float) -> tuple[float, float]:
    """Momentum (alpha, eps) takes the steps of the running average with beta = alpha and delta = eps / (1 - alpha), and no other.

    Its velocity is then delta times the average: v (momentum) = delta v (average).

    >>> averaged_hyperparameters(0.75, 0.5)
    (0.75, 2.0)
    """
    _checked(momentum, step_size)
    return momentum, step_size / (1 - momentum)


@law(
    "optimization.momentum_hyperparameters",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=(_CONSTANT, "0 <= beta < 1"),
    sources=("the inverse of optimization.averaged_hyperparameters",),
)
def momentum_hyperparameters(beta: float, delta: float) -> tuple[float, float]:
    """The running average (beta, delta) takes the steps of momentum with alpha = beta and eps = delta (1 - beta), and no other.

    >>> momentum_hyperparameters(0.75, 2.0)
    (0.75, 0.5)
    """
    _checked(beta, delta)
    return beta, delta * (1 - beta)


@law(
    "optimization.velocity",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=(_CONSTANT,),
    sources=("Polyak 1964, section 2", _UNROLLED),
)
def velocity(gradients: Sequence[float], momentum: float, step_size: float) -> float:
    """The velocity of momentum is eps times the sum of alpha^(t-i) g_i over i = 1..t.

    >>> velocity([1.0, 2.0], 0.5, 0.25)
    0.625
    """
    _checked(momentum, step_size, *gradients)
    last = len(gradients)
    return step_size * math.fsum(momentum ** (last - i) * g for i, g in enumerate(gradients, 1))


@law(
    "optimization.running_average",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=(_CONSTANT,),
    sources=("Kingma and Ba 2015, section 3, equation 1", _UNROLLED),
)
def running_average(gradients: Sequence[float], beta: float) -> float:
    """The running average is the sum of (1 - beta) beta^(t-i) g_i over i = 1..t: the newest gradient weighs most.

    >>> running_average([4.0, 2.0], 0.5)
    2.0
    """
    _checked(beta, *gradients)
    last = len(gradients)
    return math.fsum((1 - beta) * beta ** (last - i) * g for i, g in enumerate(gradients, 1))


@law(
    "optimization.averaged_position",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=(_CONSTANT, "the gradients are given: they do not depend on the position"),
    sources=("optimization.running_average summed over the steps, a geometric series",),
)
def averaged_position(gradients: Sequence[float], beta: float, delta: float) -> float:
    """After t steps the running average has moved by -delta times the sum of (1 - beta^(t-i+1)) g_i.

    So has momentum with the mapped coefficients: a gradient's whole effect, -delta g, arrives by and by.

    >>> averaged_position([4.0, 2.0], 0.5, 1.0)
    -4.0
    """
    _checked(beta, delta, *gradients)
    last = len(gradients)
    return -delta * math.fsum((1 - beta ** (last - i + 1)) * g for i, g in enumerate(gradients, 1))


@law(
    "optimization.average_bias",
    Kind.EXPECTATION,
    Unit.RATIO,
    assumes=("v_0 = 0", "every gradient has the same expectation"),
    sources=("Kingma and Ba 2015, section 3, equations 1 to 4",),
)
def average_bias(beta: float, steps: int) -> float:
    """The running average after t steps expects 1 - beta^t of the gradient's expectation: it is too small by beta^t of it.

    Divided by 1 - beta^t it is unbiased.

    >>> average_bias(0.5, 2)
    0.75
    """
    _checked(beta)
    if steps < 1:
        message = f"an average is of one gradient or more; {steps} steps came"
        raise InvariantError(message)
    return 1 - beta**steps


@law(
    "optimization.corrected_average",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("v_0 = 0", "one gradient or more"),
    sources=("Kingma and Ba 2015, algorithm 1: the bias-corrected first moment",),
)
def corrected_average(gradients: Sequence[float], beta: float) -> float:
    """Divided by 1 - beta^t the running average is a weighted mean: its weights beta^(t-i) (1 - beta) / (1 - beta^t) add up to 1.

    >>> corrected_average([3.0, 3.0, 3.0], 0.5)
    3.0
    """
    return running_average(gradients, beta) / average_bias(beta, len(gradients))
