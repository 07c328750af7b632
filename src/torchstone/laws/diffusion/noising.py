"""The way to noise: one level from the data, jumps between levels, and several levels of one path that fit together.

eta = (1-alpha)/alpha is the noise-to-signal ratio. sqrt(1 + eta) z = z_0 + W(eta), W a Brownian motion in eta: that is all there is
to pairs and paths.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.diffusion.schedule import check_betas

_CHAIN = "z_i = sqrt(1 - beta_i) z_{i-1} + sqrt(beta_i) e_i, every e_i standard normal and independent"


def check_alpha(*alphas: float, zero: bool = False) -> None:
    """Raise InvariantError unless every alpha lies in (0, 1], or in [0, 1] where `zero` is allowed."""
    for one in alphas:
        if not bool(one <= 1) or not bool(one >= 0) or (not zero and bool(one == 0)):
            message = f"alpha lies in {'[' if zero else '('}0, 1]; {one} came"
            raise InvariantError(message)


def _check_order(earlier: float, later: float) -> None:
    check_alpha(earlier, later)
    if not bool(later < earlier):
        message = f"a later level has less signal, alpha_tau < alpha_t; {later} and {earlier} came"
        raise InvariantError(message)


@law(
    "diffusion.marginal",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=(_CHAIN,),
    sources=("Ho et al. 2020, equation 4", "final exam, question D10a"),
)
def marginal(value: float, betas: Sequence[float]) -> tuple[float, float]:
    """After steps of variances beta_i the data z_0 has become normal with mean sqrt(alpha) z_0 and variance 1 - alpha.

    >>> marginal(3.0, [0.5, 0.5])
    (1.5, 0.75)
    """
    check_betas(betas)
    left = math.prod(1 - beta for beta in betas)
    return math.sqrt(left) * value, 1 - left


@law(
    "diffusion.gamma",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=(_CHAIN,),
    sources=("the product of the steps from t + 1 to tau", "Kingma et al. 2021, section 3.1", "final exam, question D10b"),
)
def gamma(earlier: float, later: float) -> float:
    """From level t to a noisier level tau in one jump: q(z_tau given z_t) = N(sqrt(gamma) z_t, 1-gamma), gamma = alpha_tau/alpha_t.

    Arguments are alpha_t and alpha_tau. gamma is the product of the 1 - beta_i over t < i <= tau.

    >>> gamma(0.5, 0.2)
    0.4
    """
    _check_order(earlier, later)
    return later / earlier


@law(
    "diffusion.covariance",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("both levels belong to one path",),
    sources=("cov(z_t, sqrt(gamma) z_t + e) = sqrt(gamma) var(z_t)", "final exam, question D10c"),
)
def covariance(earlier: float, later: float, variance: float = 0.0) -> tuple[float, float, float]:
    """Two levels of one path have variances 1 - a + a v at each and the covariance sqrt(a2/a1)(1 - a1 + a1 v), v = var(z_0).

    Given z_0 (v = 0) the covariance is sqrt(a2/a1)(1 - a1); for data of variance 1 it is sqrt(a2/a1).
    Breaks when: each level is drawn from z_0 with noise of its own: the variances are right, the covariance is sqrt(a1 a2) v.

    >>> covariance(0.64, 0.16, variance=1.0)
    (1.0, 0.5, 1.0)
    """
    _check_order(earlier, later)
    first = 1 - earlier + earlier * variance
    return first, math.sqrt(later / earlier) * first, 1 - later + later * variance


@law(
    "diffusion.noise_to_signal",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=("the ratio of the variances of noise and signal in z = sqrt(alpha) z_0 + sqrt(1-alpha) e", "exam, question D10c"),
)
def noise_to_signal(alpha: float) -> float:
    """The noise-to-signal ratio of a level is eta = (1-alpha)/alpha, and alpha = 1/(1 + eta).

    >>> noise_to_signal(0.2)
    4.0
    """
    check_alpha(alpha)
    return (1 - alpha) / alpha


@law(
    "diffusion.noisy_path",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("ratios grow along the path",),
    sources=("increments of a Brownian motion in eta are independent", "final exam, question D10c"),
)
def noisy_path(value: float, ratios: Sequence[float], noises: Sequence[float]) -> list[float]:
    """Levels of one path: z_k = (z_0 + sum over i <= k of sqrt(eta_i - eta_{i-1}) e_i) / sqrt(1 + eta_k), with eta_0 = 0.

    A pair: z_1 = (z_0 + sqrt(eta_1) e_1)/sqrt(1 + eta_1),
    z_2 = (z_0 + sqrt(eta_1) e_1 + sqrt(eta_2 - eta_1) e_2)/sqrt(1 + eta_2).

    >>> noisy_path(1.0, [3.0, 8.0], [0.0, 0.0])
    [0.5, 0.3333333333333333]
    """
    steps = [b - a for a, b in zip([0, *ratios], ratios, strict=False)]
    if len(ratios) != len(noises) or not steps or not all(step > 0 for step in steps):
        message = f"a path has growing ratios above 0 and as many noises; {list(ratios)} and {len(noises)} noises came"
        raise InvariantError(message)
    levels, total = [], value
    for ratio, step, noise in zip(ratios, steps, noises, strict=True):
        total = total + math.sqrt(step) * noise
        levels.append(total / math.sqrt(1 + ratio))
    return levels


@law(
    "diffusion.noise_moments",
    Kind.EXPECTATION,
    Unit.VALUE,
    sources=("the definition of e in Ho et al. 2020, equation 4: standard normal, one draw for every number",),
)
def noise_moments() -> tuple[float, float, float]:
    """The noise e of z = sqrt(alpha) x + sqrt(1-alpha) e has mean 0, variance 1, and correlation 0 between samples of a batch.

    >>> noise_moments()
    (0.0, 1.0, 0.0)
    """
    return 0.0, 1.0, 0.0


@law(
    "diffusion.noise_agreement",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=("a network is to predict the noise",),
    sources=("Ho et al. 2020, algorithm 1: e of the loss is e of z",),
)
def noise_agreement() -> float:
    """The noise that a network is to predict is the noise that was mixed in: their correlation is 1.

    >>> noise_agreement()
    1.0
    """
    return 1.0


@law(
    "diffusion.start_divergence",
    Kind.EQUIVALENCE,
    Unit.NATS,
    assumes=("the data have mean square 1",),
    sources=("bottleneck.kl of N(sqrt(alpha) x, 1-alpha) from N(0, 1), with x² = 1", "Lin et al. 2024, section 3.1"),
)
def start_divergence(alpha: float) -> float:
    """A last level that keeps alpha of the data is -ln(1-alpha)/2 nats a number away from the N(0, 1) that sampling starts from.

    >>> round(start_divergence(0.36), 4)
    0.2231
    """
    check_alpha(alpha, zero=True)
    if bool(alpha == 1):
        message = "at alpha = 1 nothing is noise, and the divergence has no bound"
        raise InvariantError(message)
    return -math.log1p(-alpha) / 2
