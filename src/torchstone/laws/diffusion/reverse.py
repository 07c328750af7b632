"""The way back: the posterior of a cleaner level, the step of a sampler, and what sampling gives where everything is normal.

alpha belongs to the level that is left, previous to the cleaner one that is reached; previous = 1 is the data.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.diffusion.noising import check_alpha

_DDIM = "Song et al. 2021, Denoising Diffusion Implicit Models, equations 12 and 16"


def _check_order(alpha: float, previous: float) -> None:
    check_alpha(alpha, zero=True)
    check_alpha(previous)
    if not bool(alpha < previous):
        message = f"a step back gains signal: alpha < previous; {alpha} and {previous} came"
        raise InvariantError(message)


@law(
    "diffusion.posterior",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("both levels belong to one path from z_0",),
    sources=("Ho et al. 2020, equations 6 and 7, for any two levels", "conditioning of jointly normal variables"),
)
def posterior(value: float, noisy: float, alpha: float, previous: float) -> tuple[float, float]:
    """Given z_0 and z_tau a cleaner level t has the variance (1-a_t)(1-g)/(1-a_tau) and a mean linear in both, g = a_tau/a_t.

    The mean is (sqrt(a_t)(1-g) z_0 + sqrt(g)(1-a_t) z_tau)/(1-a_tau).

    >>> mean, variance = posterior(1.0, 0.0, alpha=0.2, previous=0.5)
    >>> round(mean, 6), round(variance, 6)
    (0.53033, 0.375)
    """
    _check_order(alpha, previous)
    jump, noise = alpha / previous, 1 - alpha
    mean = (math.sqrt(previous) * (1 - jump) * value + math.sqrt(jump) * (1 - previous) * noisy) / noise
    return mean, (1 - previous) * (1 - jump) / noise


@law(
    "diffusion.reverse_step",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("z = sqrt(alpha) x + sqrt(1-alpha) e",),
    sources=(_DDIM, "Ho et al. 2020, equation 7, is stochasticity 1"),
)
def reverse_step(sample: float, noisy: float, alpha: float, previous: float, stochasticity: float) -> tuple[float, float]:
    """A sampler's step has mean sqrt(a') x + sqrt(1-a'-d²) e and deviation d = c sqrt((1-a')/(1-a)) sqrt(1-a/a').

    c = 1 is the ancestral step, with the posterior's mean and variance; c = 0 the deterministic one, which follows one path of
    means. Every c keeps the marginal: the mean has the variance 1 - a' - d² given x, the noise adds d².

    >>> [round(one, 6) for one in reverse_step(1.0, 0.0, 0.2, 0.5, stochasticity=1.0)]
    [0.53033, 0.612372]
    """
    _check_order(alpha, previous)
    if not bool(stochasticity >= 0) or not bool(stochasticity <= 1):
        message = f"stochasticity lies in [0, 1]; {stochasticity} came"
        raise InvariantError(message)
    noise = (noisy - math.sqrt(alpha) * sample) / math.sqrt(1 - alpha)
    deviation = stochasticity * math.sqrt((1 - previous) / (1 - alpha) * (1 - alpha / previous))
    # Rounding may take the difference below 0 where it is 0: from pure noise with stochasticity 1.
    return math.sqrt(previous) * sample + math.sqrt(max(1 - previous - deviation**2, 0)) * noise, deviation


@law(
    "diffusion.gaussian_denoiser",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("z_0 is normal with this mean and variance",),
    sources=("the conditional mean of jointly normal z_0 and z",),
)
def gaussian_denoiser(noisy: float, alpha: float, mean: float, variance: float) -> float:
    """For normal data the exact denoiser is E(z_0 given z) = m + s² sqrt(a)/(a s² + 1 - a) (z - sqrt(a) m).

    >>> gaussian_denoiser(0.5, alpha=0.25, mean=1.0, variance=4.0)
    1.0
    """
    check_alpha(alpha, zero=True)
    root = math.sqrt(alpha)
    return mean + variance * root / (alpha * variance + 1 - alpha) * (noisy - root * mean)


@law(
    "diffusion.sampled_moments",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("z_0 is normal with this mean and variance", "the denoiser is exact", "sampling begins with standard normal noise"),
    sources=("a linear map of normal variables at every step of the sampler",),
)
def sampled_moments(alphas: Sequence[float], mean: float, variance: float, stochasticity: float = 1.0) -> tuple[float, float]:
    """A sampler with the exact denoiser of normal data gives normal samples whose mean and variance follow step by step.

    alphas are those of the visited levels, from noisy to clean; the data, alpha = 1, comes last. As levels grow dense and the first
    alpha goes to 0 they become the data's own. The ancestral sampler falls short in variance, as its noise is that of a known z_0.

    >>> sampled_moments([0.0], mean=2.0, variance=3.0)
    (2.0, 0.0)
    """
    if not variance >= 0 or not alphas:
        message = f"a variance of 0 or more and one level or more are needed; {variance} and {len(alphas)} levels came"
        raise InvariantError(message)
    middle, spread = 0.0, 1.0
    for one, previous in zip(alphas, [*alphas[1:], 1.0], strict=True):
        at_zero, deviation = reverse_step(gaussian_denoiser(0.0, one, mean, variance), 0.0, one, previous, stochasticity)
        at_one, _ = reverse_step(gaussian_denoiser(1.0, one, mean, variance), 1.0, one, previous, stochasticity)
        slope = at_one - at_zero
        middle, spread = at_zero + slope * middle, slope**2 * spread + deviation**2
    return middle, spread
