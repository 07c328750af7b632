"""What a network may predict of z = sqrt(alpha) x + sqrt(1-alpha) e: the noise e, the sample x, or the velocity v; and weights.

Kinds have diffusers' names: "epsilon", "sample", "v_prediction".
"""

import math

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.diffusion.noising import check_alpha

PREDICTIONS = ("epsilon", "sample", "v_prediction")
_PROGRESSIVE = "Salimans and Ho 2022, Progressive Distillation, section 4 and appendix D"
_MIN_SNR = "Hang et al. 2023, Efficient Diffusion Training via Min-SNR Weighting Strategy, section 3.4"


def _known(kind: str) -> None:
    if kind not in PREDICTIONS:
        message = f"a network predicts one of {', '.join(PREDICTIONS)}; {kind!r} came"
        raise InvariantError(message)


def _inside(alpha: float) -> None:
    check_alpha(alpha)
    if bool(alpha == 1):
        message = "without noise, at alpha = 1, there is nothing to predict"
        raise InvariantError(message)


@law("diffusion.velocity", Kind.EQUIVALENCE, Unit.VALUE, sources=(_PROGRESSIVE,))
def velocity(sample: float, noise: float, alpha: float) -> float:
    """The velocity is v = sqrt(alpha) e - sqrt(1-alpha) x: the derivative of z by the angle whose cosine is sqrt(alpha).

    >>> round(velocity(2.0, 1.0, alpha=0.64), 6)
    -0.4
    """
    check_alpha(alpha, zero=True)
    return math.sqrt(alpha) * noise - math.sqrt(1 - alpha) * sample


@law(
    "diffusion.estimates",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("0 < alpha < 1",),
    sources=(_PROGRESSIVE, "z and v are x and e turned by an angle: the turn back is its transpose"),
)
def estimates(prediction: float, noisy: float, alpha: float, kind: str) -> tuple[float, float, float]:
    """One prediction and z give the other two: x = (z - sqrt(1-alpha) e)/sqrt(alpha) = sqrt(alpha) z - sqrt(1-alpha) v.

    Returned are the sample x, the noise e = sqrt(1-alpha) z + sqrt(alpha) v and the velocity.

    >>> [round(one, 6) for one in estimates(-0.4, 2.2, 0.64, "v_prediction")]
    [2.0, 1.0, -0.4]
    """
    _known(kind)
    _inside(alpha)
    a, s = math.sqrt(alpha), math.sqrt(1 - alpha)
    if kind == "epsilon":
        sample, noise = (noisy - s * prediction) / a, prediction
    elif kind == "sample":
        sample, noise = prediction, (noisy - a * prediction) / s
    else:
        sample, noise = a * noisy - s * prediction, s * noisy + a * prediction
    return sample, noise, a * noise - s * sample


@law(
    "diffusion.signal_to_noise",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    sources=("Kingma et al. 2021, section 3.1", "0 at alpha = 0: the noise is all there is"),
)
def signal_to_noise(alpha: float) -> float:
    """The signal-to-noise ratio of a level is alpha/(1-alpha), of the schedule that is in use.

    >>> signal_to_noise(0.75)
    3.0
    """
    check_alpha(alpha, zero=True)
    if alpha == 1:
        message = "without noise, at alpha = 1, the ratio is infinite"
        raise InvariantError(message)
    return alpha / (1 - alpha)


@law(
    "diffusion.error_scale",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=("z is known: all predictions differ by one error of x",),
    sources=(_PROGRESSIVE,),
)
def error_scale(alpha: float, kind: str) -> float:
    """The squared error of a prediction over that of the sample it stands for: SNR for epsilon, SNR + 1 for v, 1 for the sample.

    >>> round(error_scale(0.75, "epsilon"), 6), round(error_scale(0.75, "v_prediction"), 6)
    (3.0, 4.0)
    """
    _known(kind)
    _inside(alpha)
    ratio = alpha / (1 - alpha)
    return {"epsilon": ratio, "sample": 1.0, "v_prediction": ratio + 1}[kind]


@law(
    "diffusion.min_snr_weight",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=("the SNR is that of the schedule in use, after any rescaling",),
    sources=(_MIN_SNR, "diffusers PR 6307: the weight for v needs SNR + 1"),
)
def min_snr_weight(alpha: float, limit: float, kind: str) -> float:
    """Min-SNR weighs the squared error of x by min(SNR, g): of epsilon by min(SNR, g)/SNR, of v by min(SNR, g)/(SNR + 1).

    Breaks when: epsilon's weight is used for v: for alpha near 0 it is 1 where the right one is near 0, and at SNR 0 it is 0/0.

    >>> [round(min_snr_weight(0.9, 5.0, kind), 4) for kind in ("epsilon", "sample", "v_prediction")]
    [0.5556, 5.0, 0.5]
    """
    if not limit > 0:
        message = f"the limit of min-SNR is above 0; {limit} came"
        raise InvariantError(message)
    ratio = signal_to_noise(alpha)
    capped = min(ratio, limit)
    if kind == "sample":
        return capped
    if kind == "v_prediction":
        return capped / (ratio + 1)
    return capped / error_scale(alpha, kind)
