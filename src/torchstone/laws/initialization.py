"""Initialisation: the loss that a softmax head starts at, from the spread of its logits. In nats.

Axis letters: v vocabulary or classes, d width, s spread (standard deviation of one row's logits).
The logits of an untrained head are close to v independent draws from N(0, s^2), and the target is one
of them, so the expected cross-entropy is E[ln sum exp z], the free energy of Derrida's random energy model.
"""

import math
from dataclasses import dataclass

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class SoftmaxHeadSpec:
    """A softmax head: classes v, width d of what it reads, and the standard deviation of its weight."""

    classes: int
    width: int
    deviation: float


def _check(classes: int, spread: float) -> None:
    if classes < 2 or not spread >= 0:  # noqa: PLR2004 - one class has no loss
        message = f"a softmax head needs two classes or more and a spread >= 0; {classes}, {spread} came"
        raise InvariantError(message)


def _check_head(deviation: float, width: int) -> None:
    if width < 1 or not deviation >= 0:
        message = f"a head needs a width of 1 or more and a deviation >= 0; {width}, {deviation} came"
        raise InvariantError(message)


@law(
    "initialization.head_spread",
    Kind.EXPECTATION,
    Unit.LOGITS,
    subject=SoftmaxHeadSpec,
    assumes=("the head reads a normalised state: norm sqrt(d)", "weights independent of the state"),
    sources=("Var of a sum of d independent products; Glorot and Bengio 2010, section 4.2",),
)
def head_spread(deviation: float, width: int) -> float:
    """A head of weight deviation sigma reading a normalised state has logits of spread sigma sqrt(d).

    >>> head_spread(1.0, 256)
    16.0
    """
    _check_head(deviation, width)
    return deviation * math.sqrt(width)


@law(
    "initialization.freezing_spread",
    Kind.BOUND,
    Unit.LOGITS,
    subject=SoftmaxHeadSpec,
    assumes=("independent Gaussian logits",),
    sources=("Derrida 1981, section III: the freezing transition of the random energy model",),
)
def freezing_spread(classes: int) -> float:
    """Beyond the spread sqrt(2 ln v) one logit takes the whole softmax: it freezes.

    >>> round(freezing_spread(8000), 3)
    4.24
    """
    _check(classes, 0.0)
    return math.sqrt(2 * math.log(classes))


@law(
    "initialization.softmax_cross_entropy",
    Kind.EXPECTATION,
    Unit.NATS,
    subject=SoftmaxHeadSpec,
    assumes=("independent Gaussian logits of equal spread", "targets independent of the logits"),
    sources=("Derrida 1981, section III", "Cramer 1946, section 28.6: the largest of v Gaussians"),
)
def softmax_cross_entropy(classes: int, spread: float) -> float:
    """An untrained softmax head starts at ln v + s^2/2, until s^2 = 2 ln v; then at the largest of v logits.

    The largest of v Gaussians of spread s is s (a - (ln ln v + ln 4 pi - 2 gamma) / (2 a)), a = sqrt(2 ln v).

    Each branch is the leading order on its side. Against the exact mean (gaussian_free_energy) the first is at most 0.11
    nats high up to half the freezing spread and 0.7 at it; the second is 1.2 low just past it, and within 5 % from twice
    it to four times it for ten classes or more. So the two do not meet, and the law is not monotone there.

    >>> round(softmax_cross_entropy(8000, 0.32), 3)
    9.038
    >>> round(softmax_cross_entropy(5000, 16.0), 1)
    59.2
    """
    _check(classes, spread)
    freezing = freezing_spread(classes)
    if spread <= freezing:
        return math.log(classes) + spread**2 / 2
    correction = (math.log(math.log(classes)) + math.log(4 * math.pi) - 2 * _EULER) / (2 * freezing)
    return max(spread * (freezing - correction), math.log(classes))


@law(
    "initialization.gaussian_free_energy",
    Kind.EXPECTATION,
    Unit.NATS,
    subject=SoftmaxHeadSpec,
    assumes=("independent Gaussian logits of equal spread",),
    sources=("E ln Z = integral of (e^-t - E e^-tZ)/t dt (Frullani), with E e^-tZ a v-th power",),
)
def gaussian_free_energy(classes: int, spread: float, points: int = 400) -> float:
    """E[ln sum exp z] for v independent N(0, s^2) logits, by quadrature: the law without its two branches.

    With t = e^-x the integral is that of e^(-e^-x) - E[exp(-e^-x e^(s z))]^v over all x.

    >>> round(gaussian_free_energy(8000, 1.0), 2), round(softmax_cross_entropy(8000, 1.0), 2)
    (9.49, 9.49)
    """
    _check(classes, spread)
    if spread == 0:
        return math.log(classes)
    nodes = [-8 + 16 * (i + 0.5) / points for i in range(points)]
    weights = [math.exp(-z * z / 2) for z in nodes]
    weights = [w / math.fsum(weights) for w in weights]
    low, high = -5.0, math.log(classes) + spread * (freezing_spread(classes) + 8) + 20
    width = (high - low) / points
    total = 0.0
    for i in range(points):
        x = low + width * (i + 0.5)
        # 1 - E[exp(-e^(s z - x))] summed by expm1: the v-th power needs it accurate where it is tiny.
        miss = math.fsum(-w * math.expm1(-math.exp(min(spread * z - x, 700.0))) for z, w in zip(nodes, weights, strict=True))
        survive = math.exp(classes * math.log1p(-min(miss, 1 - 1e-16)))
        total += width * (math.exp(-math.exp(-x)) - survive)
    return total


@law(
    "initialization.copied_logit",
    Kind.EXPECTATION,
    Unit.LOGITS,
    subject=SoftmaxHeadSpec,
    assumes=("the head shares the input embedding", "a normalised state that keeps a cosine rho with its input"),
    sources=("the inner product of the state rho sqrt(d) e/|e| + ... with its own embedding e of norm sigma sqrt(d)",),
)
def copied_logit(alignment: float, deviation: float, width: int) -> float:
    """In a tied residual model the token just read keeps the logit rho sigma d: it is copied to the output.

    >>> round(copied_logit(0.64, 1.0, 256), 1)
    163.8
    """
    _check_head(deviation, width)
    if not abs(alignment) <= 1:
        message = f"an alignment is a cosine, in [-1, 1]; {alignment} came"
        raise InvariantError(message)
    return alignment * deviation * width


@law(
    "initialization.copied_logit_bound",
    Kind.BOUND,
    Unit.LOGITS,
    subject=SoftmaxHeadSpec,
    assumes=("the spread of the other logits is at most 1",),
    sources=("initialization.copied_logit with sigma = 1/sqrt(d), rho = 1: a cosine is at most 1",),
)
def copied_logit_bound(width: int) -> float:
    """A tied embedding whose other logits have spread 1 or less copies its input with a logit of sqrt(d) at most.

    >>> copied_logit_bound(256)
    16.0
    """
    _check_head(0.0, width)
    return math.sqrt(width)


@law(
    "initialization.copying_cross_entropy",
    Kind.EXPECTATION,
    Unit.NATS,
    subject=SoftmaxHeadSpec,
    assumes=("as softmax_cross_entropy, and one more logit, that of the token just read", "it is not the target"),
    sources=("ln(exp(copied) + exp(softmax_cross_entropy)): one more term in the softmax's sum",),
)
def copying_cross_entropy(classes: int, spread: float, copied: float) -> float:
    """A tied residual model starts at ln(exp(copied logit) + exp(the loss that the spread alone gives)).

    >>> round(copying_cross_entropy(8000, 1.0, 0.64 * 16), 2)
    10.63
    >>> round(copying_cross_entropy(8000, 0.0, 0.0), 2)
    8.99
    """
    apart = softmax_cross_entropy(classes, spread)
    larger, smaller = max(apart, copied), min(apart, copied)
    return larger + math.log1p(math.exp(smaller - larger))


@law(
    "initialization.tied_deviation",
    Kind.BOUND,
    Unit.VALUE,
    subject=SoftmaxHeadSpec,
    assumes=("the head shares the input embedding", "a normalised state", "targets independent of the logits"),
    sources=(
        "half of the excess for the spread, s^2/2 with s = sigma sqrt(d); half for the token just read, a share exp(sigma d)/v",
        "initialization.head_spread and copied_logit with rho = 1",
    ),
)
def tied_deviation(classes: int, width: int, excess: float = 0.1) -> float:
    """A tied embedding of deviation min(sqrt(x/d), ln(1 + v (e^(x/2) - 1))/d) starts at most x nats above ln v.

    The deviation, to be drawn from N(0, sigma^2); near 0.02 for the usual sizes.

    >>> round(tied_deviation(8000, 256), 4), round(tied_deviation(400, 64), 4), round(tied_deviation(50257, 768), 4)
    (0.0198, 0.0395, 0.0102)
    """
    _check(classes, 0.0)
    _check_head(0.0, width)
    if not excess > 0:
        message = f"the first loss of a drawn head lies above ln v: an excess > 0 is needed; {excess} came"
        raise InvariantError(message)
    return min(math.sqrt(excess / width), math.log1p(classes * math.expm1(excess / 2)) / width)


@law(
    "initialization.lost_layer",
    Kind.BOUND,
    Unit.RATIO,
    assumes=("a step of gradient descent so small that the loss falls by lr times the squared gradient", "rounded to nearest"),
    sources=(
        "Glorot and Bengio 2010, section 4.2.1: gradients of equal variance in every layer",
        "the squares of the layers' gradients add up, and what is below eps/4 of a sum is rounded away: IEEE 754-2019, section 4.3",
    ),
)
def lost_layer(resolution: float) -> float:
    """A layer shows in the fall of the loss only if its gradient is at least sqrt(eps)/2 of that of the layer with the largest.

    `resolution` is eps, the distance from 1 to the next number. With the right gain all layers have the ratio 1.

    >>> round(lost_layer(2.0**-23), 6)
    0.000173
    """
    if not 0 < resolution <= 1:
        message = f"a resolution above 0 and at most 1 is needed; {resolution} came"
        raise InvariantError(message)
    return math.sqrt(resolution) / 2
