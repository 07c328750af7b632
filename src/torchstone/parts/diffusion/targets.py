"""What a network may predict of z = sqrt(alpha) x + sqrt(1-alpha) e: x, e or v; the way between them, and weights of the loss."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torchstone.core.errors import UsageError, meant
from torchstone.laws.diffusion.targets import PREDICTIONS


class Estimates(NamedTuple):
    """What one prediction says of the sample x, the noise e and the velocity v = sqrt(alpha) e - sqrt(1-alpha) x."""

    sample: Tensor
    noise: Tensor
    velocity: Tensor


def check_prediction(kind: str) -> None:
    """Raise UsageError for a prediction type that there is not."""
    if kind not in PREDICTIONS:
        message = f"a prediction is one of {', '.join(PREDICTIONS)}; {kind!r} came{meant(str(kind), PREDICTIONS)}"
        raise UsageError(message)


def check_carries(kind: str, lowest: float) -> None:
    """Raise UsageError where epsilon is predicted and the lowest alpha is 0."""
    if kind == "epsilon" and not lowest > 0:
        message = "at alpha = 0 the input is the noise itself, so epsilon says nothing: predict v_prediction or sample"
        raise UsageError(message)


def _level(alpha: float | Tensor, like: Tensor) -> Tensor:
    """Alpha in float64 with the axes of `like`, a number or one a row."""
    level = torch.as_tensor(alpha, dtype=torch.float64)
    if level.dim() > 1 or (level.dim() and len(level) != len(like)):
        message = f"alpha is a number or one a row; shape {tuple(level.shape)} came for {tuple(like.shape)}"
        raise UsageError(message)
    if not torch.compiler.is_compiling() and not bool(((level >= 0) & (level <= 1)).all()):
        message = f"alpha lies in [0, 1]; {level.min().item():g} to {level.max().item():g} came"
        raise UsageError(message)
    return level.view(-1, *(1,) * (like.dim() - 1)) if level.dim() else level


def estimates(
    prediction: Float[Tensor, "b *shape"], noisy: Float[Tensor, "b *shape"], alpha: float | Float[Tensor, "*b"], kind: str
) -> Estimates:
    """Sample, noise and velocity that a prediction of any kind stands for at z = `noisy` (b, ..).

    alpha is a number or one a row (b,), on the CPU or `noisy`'s device. kind: "epsilon", "sample" or "v_prediction".
    Raises UsageError for another kind, for epsilon where alpha is 0 and for shapes that differ.
    Source: Salimans and Ho 2022, section 4 and appendix D.
    """
    check_prediction(kind)
    if prediction.shape != noisy.shape:
        message = f"a prediction has its input's shape; {tuple(prediction.shape)} came for {tuple(noisy.shape)}"
        raise UsageError(message)
    level = _level(alpha, noisy)
    if not torch.compiler.is_compiling() and level.numel():
        check_carries(kind, level.min().item())
    a, s = level.sqrt().to(noisy), (1 - level).sqrt().to(noisy)
    if kind == "epsilon":
        sample, noise = (noisy - s * prediction) / a, prediction
    elif kind == "sample":
        sample, noise = prediction, (noisy - a * prediction) / s
    else:
        return Estimates(a * noisy - s * prediction, s * noisy + a * prediction, prediction)
    return Estimates(sample, noise, a * noise - s * sample)


def min_snr_weights(alphas: Float[Tensor, "*shape"], limit: float, kind: str) -> Float[Tensor, "*shape"]:
    """Min-SNR weights of a prediction's squared error, of every alpha: min(SNR, limit) over 1, SNR (epsilon) or SNR + 1 (v).

    Give the alphas of the schedule in use, after any rescaling; for epsilon none may be 0. They are all in [0, 1).
    Raises UsageError for another kind, a limit that is not above 0 and alphas outside. Source: Hang et al. 2023, section 3.4.
    """
    check_prediction(kind)
    if not limit > 0:
        message = f"the limit of min-SNR is above 0; {limit} came: 5 is usual"
        raise UsageError(message)
    if alphas.numel() and not torch.compiler.is_compiling():
        low, high = alphas.min().item(), alphas.max().item()
        if not (low >= 0 and high < 1):
            message = f"alpha lies in [0, 1) where there is a weight; {low:g} to {high:g} came"
            raise UsageError(message)
        check_carries(kind, low)
    ratio = alphas / (1 - alphas)
    capped = ratio.clamp(max=limit)
    # min(SNR, g)(1 - alpha) is min(SNR, g)/(SNR + 1) without a quotient of large numbers.
    return {"sample": lambda: capped, "epsilon": lambda: capped / ratio, "v_prediction": lambda: capped * (1 - alphas)}[kind]()
