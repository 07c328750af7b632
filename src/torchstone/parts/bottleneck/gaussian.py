"""Diagonal normals: drawn with a path for gradients, and their divergence in closed form."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from torchstone.core.errors import UsageError, meant

PARAMETERISATIONS = ("softplus", "log_variance")


def check_prior(prior_deviation: float) -> None:
    """Raise UsageError unless a prior's deviation is a finite number above 0."""
    if not 0 < prior_deviation < math.inf:
        message = f"a prior N(m, s²) has a deviation s above 0; {prior_deviation} came"
        raise UsageError(message)


def deviation_of(raw: Float[Tensor, "*shape"], parameterisation: str = "softplus") -> Float[Tensor, "*shape"]:
    """Deviations above 0 from any numbers: softplus(s - 5), or e^(s/2) where s is the logarithm of the variance.

    Raises UsageError for another parameterisation. Sources: Alemi et al. 2017, section 4; Kingma and Welling 2014, appendix C.
    """
    if parameterisation == "softplus":
        return functional.softplus(raw - 5) + torch.finfo(raw.dtype).tiny  # softplus alone gives 0 far below
    if parameterisation == "log_variance":
        return (0.5 * raw).exp()
    message = f"a deviation comes from {' or '.join(PARAMETERISATIONS)}; {parameterisation!r} came"
    raise UsageError(message + meant(str(parameterisation), PARAMETERISATIONS))


def reparameterise(
    mean: Float[Tensor, "*shape"], deviation: Float[Tensor, "*shape"], noise: Float[Tensor, "*more"]
) -> Float[Tensor, "*more"]:
    """Z = mu + sigma V: samples of N(mu, sigma²) from standard normal draws V, with gradients to mu and sigma.

    mean and deviation have one shape; noise the same, or further axes in front of it. Raises UsageError where they do not fit.
    Sources: Kingma and Welling 2014, section 2.4; final exam, question D11a.
    """
    if mean.shape != deviation.shape or noise.shape[noise.dim() - mean.dim() :] != mean.shape:
        shapes = f"{tuple(mean.shape)}, {tuple(deviation.shape)} and {tuple(noise.shape)}"
        message = f"mean and deviation have one shape, and noise ends with it; {shapes} came"
        raise UsageError(message)
    return mean + deviation * noise


def gaussian_kl(
    mean: Float[Tensor, "*batch k"],
    deviation: Float[Tensor, "*batch k"],
    prior_mean: float = 0.0,
    prior_deviation: float = 1.0,
) -> Float[Tensor, "*batch"]:
    """KL(N(mu, sigma²) from N(m, s²)) in nats, added up over the k units: ln(s/sigma) + (sigma² + (mu-m)²)/(2 s²) - 1/2 each.

    deviation is above 0. Raises UsageError for shapes that differ and a prior deviation that is not above 0.
    Source: Kingma and Welling 2014, appendix B.

    >>> gaussian_kl(torch.tensor([0.0, 2.0]), torch.ones(2))
    tensor(2.)
    """
    check_prior(prior_deviation)
    if mean.shape != deviation.shape or not mean.dim():
        message = f"mean and deviation have one shape (.., k); {tuple(mean.shape)} and {tuple(deviation.shape)} came"
        raise UsageError(message)
    share, distance = deviation / prior_deviation, (mean - prior_mean) / prior_deviation
    return (0.5 * (share.square() + distance.square() - 1) - share.log()).sum(-1)


def in_bits(nats: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Nats as bits: divided by ln 2."""
    return nats / math.log(2)
