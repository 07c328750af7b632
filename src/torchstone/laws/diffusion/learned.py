"""What is known beforehand of a denoiser that was trained, and of its samples: a loss that it must beat, and what copying does."""

from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.diffusion.noising import check_alpha


@law(
    "diffusion.linear_noise_loss",
    Kind.BOUND,
    Unit.VALUE,
    assumes=("noise is predicted as well as can be", "alphas are equally frequent, and variances those along the data's axes"),
    sources=("var(e) - cov(e, z)²/var(z) is the error of the best linear estimate, exact for normal data: Kay 1993, section 12",),
)
def linear_noise_loss(alphas: Sequence[float], variances: Sequence[float]) -> float:
    """The least loss of noise prediction is at most that of the best linear one: the mean of a v/(a v + 1 - a), v a variance.

    >>> linear_noise_loss([0.5], [1.0, 0.0])
    0.25
    """
    check_alpha(*alphas)
    if not alphas or not variances or not all(one >= 0 for one in variances):
        message = f"one alpha or more and variances of 0 or more are needed; {len(alphas)} and {list(variances)[:5]} came"
        raise InvariantError(message)
    total = sum(a * v / (a * v + 1 - a) for a in alphas for v in variances)
    return total / (len(alphas) * len(variances))


@law(
    "diffusion.memorising",
    Kind.TREND,
    Unit.VALUE,
    assumes=("the network can fit its training data, and has passed the least loss on new ones",),
    sources=("the exact minimum of the training loss samples training data only: Gu et al. 2023, section 2",),
)
def memorising(before: float) -> float:
    """The closer a denoiser is fitted to its training data, the nearer to them its samples lie.

    >>> memorising(2.0)
    2.0
    """
    return before
