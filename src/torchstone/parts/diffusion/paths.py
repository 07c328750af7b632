"""Levels of one path of the forward process at continuous noise-to-signal ratios eta = (1-alpha)/alpha.

sqrt(1 + eta) z = z_0 + W(eta) with a Brownian motion W: levels share the noise of the way that they have in common.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from torchstone.core.errors import UsageError


def noisy_path(
    sample: Float[Tensor, "*shape"], ratios: Sequence[float], noises: Float[Tensor, "levels *shape"]
) -> Float[Tensor, "levels *shape"]:
    """Every level of one path: z_k = (z_0 + sum over i <= k of sqrt(eta_i - eta_{i-1}) e_i)/sqrt(1 + eta_k), eta_0 = 0.

    ratios are the levels' eta, growing from above 0; noises (levels, *shape) standard normal draws, one a level. Alone a level is
    N(sqrt(alpha_k) z_0, 1 - alpha_k); two of them have the covariance sqrt(alpha_j/alpha_i)(1 - alpha_i) given z_0, i the cleaner.

    Raises UsageError for ratios that do not grow and noises that do not fit. Source: final exam, question D10c.

    >>> noisy_path(torch.ones(2), [3.0, 8.0], torch.zeros(2, 2))
    tensor([[0.5000, 0.5000],
            [0.3333, 0.3333]])
    """
    steps = [later - earlier for earlier, later in itertools.pairwise([0.0, *ratios])]
    if not steps or not all(step > 0 and math.isfinite(step) for step in steps):
        message = f"noise-to-signal ratios of a path are finite and grow from above 0; {list(ratios)[:5]} came: sort them"
        raise UsageError(message)
    if tuple(noises.shape) != (len(steps), *sample.shape):
        message = f"a path of {len(steps)} levels takes noises {(len(steps), *sample.shape)}; {tuple(noises.shape)} came"
        raise UsageError(message)
    rows = (len(steps), *(1,) * sample.dim())
    grown = torch.tensor([math.sqrt(step) for step in steps], dtype=sample.dtype, device=sample.device).view(rows)
    scale = torch.tensor([1 / math.sqrt(1 + ratio) for ratio in ratios], dtype=sample.dtype, device=sample.device).view(rows)
    return (sample + (grown * noises).cumsum(0)) * scale


def noisy_pair(
    sample: Float[Tensor, "*shape"],
    first: float,
    second: float,
    first_noise: Float[Tensor, "*shape"],
    second_noise: Float[Tensor, "*shape"],
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """A consistent pair at eta_1 < eta_2 from z_0 and two standard normals, all of one shape.

    z_1 = (z_0 + sqrt(eta_1) e_1)/sqrt(1 + eta_1), z_2 = (z_0 + sqrt(eta_1) e_1 + sqrt(eta_2 - eta_1) e_2)/sqrt(1 + eta_2).
    Raises UsageError unless 0 < eta_1 < eta_2 and shapes are equal. Source: final exam, question D10c.
    """
    if first_noise.shape != second_noise.shape:
        message = f"both noises have the sample's shape; {tuple(first_noise.shape)} and {tuple(second_noise.shape)} came"
        raise UsageError(message)
    one, two = noisy_path(sample, [first, second], torch.stack([first_noise, second_noise])).unbind(0)
    return one, two
