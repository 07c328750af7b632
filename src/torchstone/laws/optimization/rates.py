"""Which learning rate and momentum: the best, the exact, and the first that diverge. On quadratics, or a minimum's neighbourhood.

`smallest` and `largest` are the Hessian's extreme eigenvalues (mu and L), kappa = L / mu. Optimizers as in `dynamics`.
"""

import math

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.optimization.dynamics import HALF, coefficients

_QUADRATIC = "a quadratic whose curvatures lie between the smallest and the largest, its exact gradient"


def _convex(smallest: float, largest: float) -> None:
    if not 0 < smallest <= largest or not math.isfinite(largest):
        message = f"curvatures with 0 < smallest <= largest are needed; {smallest}, {largest} came: there is no minimum without"
        raise InvariantError(message)


@law(
    "optimization.divergence_threshold",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("a quadratic, or a minimum's neighbourhood", "0 <= momentum < 1", "the start has a part along the largest curvature"),
    sources=("Polyak 1964, theorem 9 (heavy ball)", "derivation: an eigenvalue of the step's map passes -1", "Cohen et al. 2021"),
)
def divergence_threshold(optimizer: str, momentum: float, curvature: float) -> float:
    """Descent converges below the learning rate (2 + 2 beta) / ((ac + b + beta b) l) and diverges above, l the largest curvature.

    Gradient descent 2/l, momentum 2(1 + beta)/l, averaged 2(1 + beta)/((1 - beta) l), Nesterov's (2 + 2 beta)/((1 + 2 beta) l).

    >>> divergence_threshold("gradient", 0.0, 4.0), divergence_threshold("momentum", 0.5, 4.0)
    (0.5, 0.75)
    >>> divergence_threshold("averaged", 0.5, 4.0), divergence_threshold("nesterov", 0.5, 4.0)
    (1.5, 0.375)
    """
    if not curvature > 0 or not 0 <= momentum < 1:
        message = f"a positive curvature and a momentum in [0, 1) are needed; {curvature}, {momentum} came"
        raise InvariantError(message)
    c, a, b = coefficients(optimizer, momentum)
    return (2 + 2 * momentum) / ((a * c + b + momentum * b) * curvature)


@law(
    "optimization.best_hyperparameters",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=(_QUADRATIC, "one learning rate and momentum for all steps"),
    sources=("Polyak 1964, theorem 9", "Lessard, Recht and Packard 2016, table 1 and proposition 1 (Nesterov's on quadratics)"),
)
def best_hyperparameters(optimizer: str, smallest: float, largest: float) -> tuple[float, float]:
    """The (learning rate, momentum) of fastest convergence: gradient descent (2/(L + mu), 0), heavy ball as below.

    - momentum: 4/(sqrt L + sqrt mu)^2 and ((sqrt kappa - 1)/(sqrt kappa + 1))^2
    - averaged: the same momentum, the learning rate divided by 1 - beta
    - Nesterov's: 4/(3L + mu) and (sqrt(3 kappa + 1) - 2)/(sqrt(3 kappa + 1) + 2)

    >>> best_hyperparameters("gradient", 1.0, 9.0), best_hyperparameters("momentum", 1.0, 9.0)
    ((0.2, 0.0), (0.25, 0.25))
    """
    _convex(smallest, largest)
    if optimizer == "gradient":
        return 2 / (largest + smallest), smallest * 0
    if optimizer == "nesterov":
        root = (3 * (largest / smallest) + 1) ** HALF
        return 4 / (3 * largest + smallest), (root - 2) / (root + 2)
    low, high = smallest**HALF, largest**HALF
    momentum = ((high - low) / (high + low)) ** 2
    c, _, _ = coefficients(optimizer, momentum)
    return 4 / ((high + low) ** 2 * c), momentum


@law(
    "optimization.best_convergence",
    Kind.BOUND,
    Unit.RATIO,
    assumes=(_QUADRATIC, "both extreme curvatures occur", "one learning rate and momentum for all steps"),
    sources=("Polyak 1964, theorem 9", "Lessard, Recht and Packard 2016, table 1 (Nesterov's on quadratics)"),
)
def best_convergence(optimizer: str, smallest: float, largest: float) -> float:
    """No learning rate and momentum shrink the error faster a step than the best: gradient descent (kappa - 1)/(kappa + 1).

    Momentum and averaged (sqrt kappa - 1)/(sqrt kappa + 1), Nesterov's 1 - 2/sqrt(3 kappa + 1).

    >>> best_convergence("gradient", 1.0, 9.0), best_convergence("momentum", 1.0, 9.0)
    (0.8, 0.5)
    >>> best_convergence("nesterov", 1.0, 5.0)
    0.5
    """
    _convex(smallest, largest)
    coefficients(optimizer, smallest * 0)
    if optimizer == "gradient":
        return (largest - smallest) / (largest + smallest)
    if optimizer == "nesterov":
        return 1 - 2 / (3 * (largest / smallest) + 1) ** HALF
    low, high = smallest**HALF, largest**HALF
    return (high - low) / (high + low)


@law(
    "optimization.one_step_learning_rate",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("one variable; any differentiable function",),
    sources=("x_1 = x_0 - eta f'(x_0) solved for eta",),
)
def one_step_learning_rate(start: float, minimiser: float, slope: float) -> float:
    """Gradient descent in one variable reaches x* in one step with the learning rate (x_0 - x*) / f'(x_0) and no other.

    On a quadratic it is 1 / f'', from every start. Negative where the minimum lies uphill: then no learning rate does.

    >>> one_step_learning_rate(1.0, 0.0, 0.5)
    2.0
    """
    if slope == 0:
        message = f"the gradient at the start {start} is 0: no learning rate moves it; start elsewhere"
        raise InvariantError(message)
    return (start - minimiser) / slope


@law(
    "optimization.two_step_momentum",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("a quadratic in one variable, its exact gradient", "V_t = beta V_{t-1} + g_t, V_0 = 0"),
    sources=("error_after at t = 2: (1 - eta l)^2 - eta l beta = 0, solved for beta",),
)
def two_step_momentum(learning_rate: float, curvature: float) -> float:
    """The heavy ball reaches the minimum in two steps with the momentum (1 - eta l)^2 / (eta l) and no other.

    Below 1 for eta l between (3 - sqrt 5)/2 and (3 + sqrt 5)/2. It does not stay: the buffer carries the third step on, unless
    eta l = 1.

    >>> two_step_momentum(1.0, 0.5)
    0.5
    """
    product = learning_rate * curvature
    if not product > 0:
        message = f"a positive learning rate and curvature are needed; {learning_rate}, {curvature} came"
        raise InvariantError(message)
    return (1 - product) ** 2 / product
