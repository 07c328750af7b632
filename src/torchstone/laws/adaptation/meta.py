"""Initialisations learned over tasks: MAML with and without second order, and Reptile, on quadratics and to first order."""

import math
from collections.abc import Sequence
from typing import Literal

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Method = Literal["maml", "first_order", "reptile"]
METHODS: tuple[Method, ...] = ("maml", "first_order", "reptile")


def check_method(method: str) -> None:
    """Raise InvariantError for what is no method."""
    if method not in METHODS:
        message = f"a method is one of {', '.join(METHODS)}; {method!r} came"
        raise InvariantError(message)


def _check(steps: int, *numbers: float) -> None:
    if steps < 1 or not all(math.isfinite(one) for one in numbers):
        message = f"one inner step or more and finite numbers are needed; {steps} and {list(numbers)} came"
        raise InvariantError(message)


@law(
    "adaptation.quadratic_meta_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("every task's loss is h (w - c)² / 2, in the inner steps and behind them", "inner steps of plain gradient descent"),
    sources=("Finn, Abbeel and Levine 2017, equation 1 and section 5.2", "Nichol, Achiam and Schulman 2018, sections 2 and 4"),
)
def quadratic_meta_gradient(
    start: float, centres: Sequence[float], curvatures: Sequence[float], rate: float, steps: int, method: Method
) -> float:
    """On quadratics k inner steps shrink an error e by s = (1 - αh)^k: MAML has h s² e, first order h s e, Reptile (1 - s) e.

    e = w - c at the start, and the mean over tasks is taken. MAML's second s is the derivative of the adapted weight by the start;
    first order takes 1 for it.
    Reptile's is the way from the adapted weight back to the start, not divided by α.

    >>> [quadratic_meta_gradient(1.0, [0.0], [2.0], 0.25, 1, method) for method in METHODS]
    [0.5, 1.0, 0.5]
    """
    check_method(method)
    _check(steps, start, rate, *centres, *curvatures)
    if len(centres) != len(curvatures) or not centres:
        message = f"every task has a centre and a curvature; {len(centres)} and {len(curvatures)} came"
        raise InvariantError(message)
    terms = []
    for centre, curvature in zip(centres, curvatures, strict=True):
        shrunk, error = (1 - rate * curvature) ** steps, start - centre
        terms.append({"maml": curvature * shrunk**2, "first_order": curvature * shrunk, "reptile": 1 - shrunk}[method] * error)
    return math.fsum(terms) / len(terms)


@law(
    "adaptation.meta_gradient_slope",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("one inner step on loss 1, the loss behind it is loss 2; Reptile steps on both", "losses with three derivatives"),
    sources=("Nichol, Achiam and Schulman 2018, section 5.1, equations 22 to 24",),
)
def meta_gradient_slope(second_first: Sequence[float], first_second: Sequence[float], method: Method) -> list[float]:
    """To first order in α: MAML g₂ - α(H₂g₁ + H₁g₂), first-order MAML g₂ - α H₂g₁, Reptile's way over α g₁ + g₂ - α H₂g₁.

    The law is the factor of α. Averaged over the order of the two losses, H₂g₁ and H₁g₂ are half the gradient of g₁·g₂ each: all
    three raise the inner product of two minibatches' gradients, MAML twice as strongly.

    >>> meta_gradient_slope([1.0], [10.0], "maml"), meta_gradient_slope([1.0], [10.0], "reptile")
    ([-11.0], [-1.0])
    """
    check_method(method)
    pairs = zip(second_first, first_second, strict=True)
    return [-one - other if method == "maml" else -one for one, other in pairs]


@law(
    "adaptation.one_step_reptile",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("one inner step",),
    sources=("Nichol, Achiam and Schulman 2018, section 2: k = 1 is stochastic gradient descent on the expected loss",),
)
def one_step_reptile(gradients: Sequence[Sequence[float]], rate: float) -> list[float]:
    """With one inner step Reptile's way is α times the mean of the tasks' gradients: joint training, no meta-learning.

    >>> one_step_reptile([[1.0, 2.0], [3.0, 6.0]], rate=0.5)
    [1.0, 2.0]
    """
    if not gradients:
        message = "one task or more is needed; none came"
        raise InvariantError(message)
    return [rate * math.fsum(column) / len(column) for column in zip(*gradients, strict=True)]


@law(
    "adaptation.directional_slope",
    Kind.GRADIENT,
    Unit.VALUE,
    sources=("chain rule: the derivative of the loss behind the inner steps along a direction",),
)
def directional_slope(meta_gradient: Sequence[float], direction: Sequence[float]) -> float:
    """Along a direction of the start the loss behind the inner steps changes by MAML's second-order gradient times the direction.

    First-order MAML fails this: it leaves out how the inner steps themselves change.

    >>> directional_slope([1.0, 2.0], [3.0, 0.5])
    4.0
    """
    return math.fsum(x * y for x, y in zip(meta_gradient, direction, strict=True))
