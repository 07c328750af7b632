"""The variational bottleneck: a normal code, its distance from a normal prior, and what gradients say of both.

Codes have mean mu and deviation sigma, priors mean m and deviation s, all scalar: units of diagonal normals add up. In nats.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

TERMS, GROUPS = ("task", "regulariser"), ("encoder", "decoder")
_KINGMA = "Kingma and Welling 2014, appendix B"
_MINIMA = "both are minima of task + beta KL over the same networks"
_ALEMI = "Alemi et al. 2017, Deep Variational Information Bottleneck, sections 2 and 4"


def _positive(**deviations: float) -> None:
    for name, one in deviations.items():
        if not bool(one > 0):
            message = f"{name} is above 0; {one} came"
            raise InvariantError(message)


def _classes(classes: int) -> None:
    if classes < 2:  # noqa: PLR2004 - with one there is nothing to tell apart
        message = f"two classes or more are told apart; {classes} came"
        raise InvariantError(message)


@law("bottleneck.kl", Kind.EQUIVALENCE, Unit.NATS, assumes=("both are normal",), sources=(_KINGMA, _ALEMI))
def kl(mean: float, deviation: float, prior_mean: float = 0.0, prior_deviation: float = 1.0) -> float:
    """KL(N(mu, sigma²) from N(m, s²)) = ln(s/sigma) + (sigma² + (mu - m)²)/(2 s²) - 1/2 nats.

    >>> kl(0.0, 1.0), kl(2.0, 1.0)
    (0.0, 2.0)
    """
    _positive(deviation=deviation, prior_deviation=prior_deviation)
    squares = deviation**2 + (mean - prior_mean) ** 2
    return math.log(prior_deviation / deviation) + squares / (2 * prior_deviation**2) - 0.5


@law(
    "bottleneck.sampled_kl",
    Kind.EXPECTATION,
    Unit.NATS,
    assumes=("z is drawn from the code",),
    sources=("the definition of the divergence, E over q of ln q(z) - ln p(z)",),
)
def sampled_kl(mean: float, deviation: float, prior_mean: float = 0.0, prior_deviation: float = 1.0) -> float:
    """Over samples z of the code, ln q(z) - ln p(z) is expected to be the closed form of the divergence.

    >>> sampled_kl(3.0, 1.0)
    4.5
    """
    return kl(mean, deviation, prior_mean, prior_deviation)


@law("bottleneck.bits", Kind.EQUIVALENCE, Unit.VALUE, sources=("log2 x = ln x / ln 2",))
def bits(nats: float) -> float:
    """A divergence in bits is that in nats over ln 2.

    >>> round(bits(math.log(8)), 6)
    3.0
    """
    return nats / math.log(2)


@law("bottleneck.kl_mean_gradient", Kind.GRADIENT, Unit.VALUE, sources=("the derivative of bottleneck.kl by mu",))
def kl_mean_gradient(mean: float, prior_mean: float = 0.0, prior_deviation: float = 1.0) -> float:
    """The divergence pulls the mean of a code towards the prior's: its derivative by mu is (mu - m)/s², whatever sigma.

    >>> kl_mean_gradient(3.0, prior_deviation=2.0)
    0.75
    """
    _positive(prior_deviation=prior_deviation)
    return (mean - prior_mean) / prior_deviation**2


@law("bottleneck.kl_deviation_gradient", Kind.GRADIENT, Unit.VALUE, sources=("the derivative of bottleneck.kl by sigma",))
def kl_deviation_gradient(deviation: float, prior_deviation: float = 1.0) -> float:
    """The divergence pulls the deviation of a code towards the prior's: its derivative by sigma is sigma/s² - 1/sigma.

    >>> kl_deviation_gradient(0.5)
    -1.5
    """
    _positive(deviation=deviation, prior_deviation=prior_deviation)
    return deviation / prior_deviation**2 - 1 / deviation


@law(
    "bottleneck.deviation",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=(f"{_ALEMI}: sigma = softplus(s - 5)", f"{_KINGMA}: the logarithm of the variance"),
)
def deviation(raw: float, parameterisation: str = "softplus") -> float:
    """An encoder's last number s becomes a deviation by ln(1 + e^(s-5)) (softplus) or by e^(s/2) (log_variance), above 0 for all s.

    >>> round(deviation(5.0), 6), deviation(0.0, "log_variance")
    (0.693147, 1.0)
    """
    if parameterisation == "softplus":
        return max(raw - 5, 0.0) + math.log1p(math.exp(-abs(raw - 5)))
    if parameterisation == "log_variance":
        return math.exp(raw / 2)
    message = f"a deviation comes from softplus or log_variance; {parameterisation!r} came"
    raise InvariantError(message)


@law(
    "bottleneck.latent_moments",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("V is standard normal",),
    sources=("E and var of an affine map of V", "final exam, question D11a"),
)
def latent_moments(mean: float, deviation: float) -> tuple[float, float]:
    """The latent z = mu + sigma V has mean mu and variance sigma².

    >>> latent_moments(1.0, 3.0)
    (1.0, 9.0)
    """
    _positive(deviation=deviation)
    return mean, deviation**2


@law(
    "bottleneck.pathwise_gradient",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("z = mu + sigma V, V standard normal and independent of mu and sigma", "the loss is a z² + b z"),
    sources=("Kingma and Welling 2014, section 2.4", "E(a z² + b z) = a (mu² + sigma²) + b mu"),
)
def pathwise_gradient(mean: float, deviation: float, square: float, slope: float) -> tuple[float, float]:
    """Gradients through a reparameterised sample are unbiased: of a z² + b z they are expected to be 2 a mu + b and 2 a sigma.

    Breaks when: the sample is drawn without a path to mu and sigma (detached, or torch's `sample` for `rsample`).

    >>> pathwise_gradient(1.0, 2.0, square=3.0, slope=4.0)
    (10.0, 12.0)
    """
    _positive(deviation=deviation)
    return 2 * square * mean + slope, 2 * square * deviation


@law(
    "bottleneck.reached",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("the decoder sees the sampled code only", "the prior has no parameters", "the regulariser's weight is not 0"),
    sources=(_ALEMI, "final exam, question D11b"),
)
def reached(term: str, group: str) -> int:
    """The task's loss reaches encoder and decoder, the regulariser the encoder alone: 1 where a path of the graph leads there.

    >>> reached("task", "encoder"), reached("regulariser", "decoder")
    (1, 0)
    """
    if term not in TERMS or group not in GROUPS:
        message = f"terms are {', '.join(TERMS)} and groups {', '.join(GROUPS)}; {term!r} and {group!r} came"
        raise InvariantError(message)
    return int((term, group) != ("regulariser", "decoder"))


@law(
    "bottleneck.ensemble_loss",
    Kind.BOUND,
    Unit.NATS,
    assumes=("probabilities of one target, from several samples of its code",),
    sources=("Jensen 1906: -ln is convex",),
)
def ensemble_loss(losses: Sequence[float]) -> float:
    """The cross-entropy of probabilities averaged over samples is at most the average of the samples' cross-entropies.

    >>> ensemble_loss([1.0, 3.0])
    2.0
    """
    if not losses or not all(math.isfinite(one) for one in losses):
        message = f"finite losses of one sample or more are needed; {list(losses)} came"
        raise InvariantError(message)
    return math.fsum(losses) / len(losses)


@law(
    "bottleneck.weight",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=("Bowman et al. 2016, section 3.1: annealing", "Fu et al. 2019, Cyclical Annealing Schedule, equation 6"),
)
def weight(step: int, beta: float, warmup: int = 0, cycle: int = 0) -> float:
    """The regulariser's weight climbs in proportion to the step up to beta and stays, from 0 again at the start of every cycle.

    >>> weight(5, 0.1, warmup=10), weight(30, 0.1, warmup=10), weight(25, 0.1, warmup=10, cycle=20)
    (0.05, 0.1, 0.05)
    """
    if step < 0 or not beta >= 0 or warmup < 0 or cycle < 0 or (cycle and warmup > cycle):
        message = f"step, beta, warmup and cycle are 0 or more, warmup within the cycle; {step}, {beta}, {warmup}, {cycle} came"
        raise InvariantError(message)
    place = step % cycle if cycle else step
    return beta * min(1.0, place / warmup) if warmup else beta


@law(
    "bottleneck.scale",
    Kind.BOUND,
    Unit.VALUE,
    assumes=("the prior is N(0, 1)", "task + beta KL is no more than ln of the classes, which a code that says nothing has"),
    sources=("sigma² - 1 - ln sigma² >= 0 leaves KL >= mu²/2 a unit, and beta KL <= task + beta KL", "final exam, question D11d"),
)
def scale(beta: float, classes: int) -> float:
    """The mean square of codes' means, added up over units, is at most 2 ln(classes)/beta.

    >>> round(scale(1.0, 3), 3)
    2.197
    """
    _positive(beta=beta)
    _classes(classes)
    return 2 * math.log(classes) / beta


@law(
    "bottleneck.divergence_falls",
    Kind.TREND,
    Unit.NATS,
    assumes=(_MINIMA,),
    sources=("T1 + b1 R1 <= T2 + b1 R2 and T2 + b2 R2 <= T1 + b2 R1 added up: (b2 - b1)(R2 - R1) <= 0",),
)
def divergence_falls(smaller: float) -> float:
    """The divergence at a larger weight beta is at most that at a smaller one.

    >>> divergence_falls(3.0)
    3.0
    """
    return smaller


@law(
    "bottleneck.error_rises",
    Kind.TREND,
    Unit.RATIO,
    assumes=(_MINIMA, "the larger weight leaves less divergence than telling the classes apart takes"),
    sources=("Alemi et al. 2017, figure 1", "bottleneck.least_error at the divergence that is left"),
)
def error_rises(smaller: float) -> float:
    """Where the divergence becomes too small to tell the classes apart, the error is at least that at a smaller weight.

    >>> error_rises(0.02)
    0.02
    """
    return smaller


@law(
    "bottleneck.least_error",
    Kind.BOUND,
    Unit.RATIO,
    assumes=("classes are equally frequent", "what is predicted depends on one drawn code alone"),
    sources=("Fano 1961: H(Y|Z) <= h(e) + e ln(C-1); I(Y;Z) <= I(X;Z) <= E KL(q(z|x) from p(z)): Alemi et al. 2017, section 3",),
)
def least_error(nats: float, classes: int) -> float:
    """Through a code of so many nats of divergence the error is at least Fano's e: h(e) + e ln(classes-1) = ln(classes) - nats.

    >>> least_error(0.0, 10), least_error(3.0, 10)
    (0.9, 0.0)
    """
    _classes(classes)
    if not nats >= 0:
        message = f"a divergence is 0 or more; {nats} came"
        raise InvariantError(message)
    left, high = math.log(classes) - nats, 1 - 1 / classes
    if left <= 0 or nats == 0:
        return 0.0 if left <= 0 else high
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        told = -middle * math.log(middle) - (1 - middle) * math.log1p(-middle) + middle * math.log(classes - 1)
        low, high = (middle, high) if told < left else (low, middle)
    return low


@law(
    "bottleneck.nats_needed",
    Kind.BOUND,
    Unit.NATS,
    assumes=("classes are equally frequent", "what is predicted depends on one drawn code alone"),
    sources=("Fano 1961, as in bottleneck.least_error, read the other way round",),
)
def nats_needed(error: float, classes: int) -> float:
    """To tell classes apart with no more than an error e takes at least ln(classes) - h(e) - e ln(classes-1) nats of divergence.

    >>> nats_needed(0.0, 2) == math.log(2), nats_needed(0.5, 2)
    (True, 0.0)
    """
    _classes(classes)
    if not 0 <= error <= 1:
        message = f"an error is a share from 0 to 1; {error} came"
        raise InvariantError(message)
    if error == 0:
        return math.log(classes)
    if error >= 1 - 1 / classes:
        return 0.0
    return math.log(classes) + error * math.log(error) + (1 - error) * math.log1p(-error) - error * math.log(classes - 1)


@law(
    "bottleneck.best_divergence",
    Kind.EQUIVALENCE,
    Unit.NATS,
    assumes=("the prior is N(0, 1)", "the loss is a z + beta KL: linear in the code"),
    sources=("bottleneck.kl_mean_gradient: a + beta mu = 0 at the best mean, and sigma = 1 at the best deviation",),
)
def best_divergence(slope: float, beta: float) -> float:
    """Through a decoder whose loss climbs with the code by a slope a, the best code is N(-a/beta, 1), of a²/(2 beta²) nats.

    Of a code of many units the slope is the norm of theirs. It is also what the code's best mean saves, over beta.

    >>> best_divergence(2.0, beta=1.0)
    2.0
    """
    _positive(beta=beta)
    return slope**2 / (2 * beta**2)


@law(
    "bottleneck.dip",
    Kind.TREND,
    Unit.RATIO,
    assumes=("what was fitted is noisy",),
    sources=("Hoerl and Kennard 1970, theorem 4.3, for a linear code", "claimed for MNIST by Alemi et al. 2017, figure 1"),
)
def dip(unregularised: float) -> float:
    """Some weight above 0 has an error on new data of at most that without the regulariser.

    Breaks when: the weight is far beyond it, or nothing in the data is noise.

    >>> dip(0.02)
    0.02
    """
    return unregularised
