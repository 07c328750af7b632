"""Multiplicative Gaussian noise."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchstone.core.errors import UsageError


def _check(mean: float, std: float) -> None:
    if not (math.isfinite(mean) and math.isfinite(std) and std >= 0):
        message = f"noise has a finite mean and a finite standard deviation of 0 or more; mean={mean}, std={std} came"
        raise UsageError(message)


def gaussian_noise(
    input: Float[Tensor, "*shape"],  # noqa: A002 - torch.nn's name
    mean: float = 1.0,
    std: float = 1.0,
    training: bool = True,  # noqa: FBT001, FBT002 - torch.nn.functional's arguments
    inplace: bool = False,  # noqa: FBT001, FBT002
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    """Multiply each element by its own draw from N(mean, std²); while not training, leave all as they are.

    With mean 1 and std sqrt(p/(1-p)) it has the mean and the variance of `nn.Dropout(p)`. With another mean a linear layer behind
    it must be scaled by that mean before evaluation: see `fold_dropout`. Input and output have one shape, any. `generator` is where
    the draws are taken from; torch's own by default.

    Raises UsageError for a std below 0. Sources: Srivastava et al. 2014, section 10 (Gaussian dropout); final exam, question D5.
    """
    _check(mean, std)
    if not training or (mean == 1 and std == 0):
        return input
    noise = torch.empty_like(input).normal_(mean, std, generator=generator)
    return input.mul_(noise) if inplace else input * noise


class GaussianNoise(nn.Module):
    """Multiplicative noise N(mean, std²), one draw an element: training multiplies, evaluation changes nothing.

    Input and output have one shape, any. Raises UsageError for a std below 0. Source: Srivastava et al. 2014, section 10.

    >>> GaussianNoise(std=0.5)
    GaussianNoise(mean=1.0, std=0.5, inplace=False)
    """

    def __init__(self, mean: float = 1.0, std: float = 1.0, inplace: bool = False) -> None:  # noqa: FBT001, FBT002 - torch.nn's
        super().__init__()
        _check(mean, std)
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:  # noqa: A002 - torch.nn's name
        """Elementwise: input times noise in training, input in evaluation."""
        return gaussian_noise(input, self.mean, self.std, self.training, self.inplace)

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"mean={self.mean}, std={self.std}, inplace={self.inplace}"
