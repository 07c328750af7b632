"""Random features of the exponential kernel: vectors f(u) with E[f(q)·f(k)] = exp(q·k), and the directions they are drawn along.

    positive         f(u) = exp(w·u - |u|²/2) / sqrt(m)                             m directions
    hyperbolic       f(u) = (exp(w·u), exp(-w·u)) exp(-|u|²/2) / sqrt(m)            m / 2 directions
    trigonometric    f(u) = (cos(w·u), sin(w·u)) exp(+|u|²/2) sqrt(2 / m)           m / 2 directions

m is the length of f, which is what it costs. Axis letters: t positions, d width, m features, r directions.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from torchstone.core.errors import UsageError

FeatureKind = Literal["positive", "hyperbolic", "trigonometric"]


def direction_count(features: int, kind: FeatureKind) -> int:
    """How many directions make m features: m of positive ones, m / 2 of the other kinds. Raises UsageError for what makes none."""
    if kind not in get_args(FeatureKind):
        message = f"kinds of features are {', '.join(get_args(FeatureKind))}; {kind!r} came"
        raise UsageError(message)
    if features < 1 or (kind != "positive" and features % 2):
        wanted = "one or more" if kind == "positive" else "even and two or more: each direction gives two"
        message = f"the number of {kind} features is {wanted}; {features} came"
        raise UsageError(message)
    return features if kind == "positive" else features // 2


def feature_directions(
    count: int,
    width: int,
    *,
    orthogonal: bool = True,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "r d"]:
    """Draw directions w, each N(0, I); `orthogonal` ones stand at right angles within each block of d: less variance.

    A block is the orthogonal factor of a Gaussian matrix, its signs made free of the factorisation's choice, and its rows have the
    lengths of other Gaussian vectors: each row alone is N(0, I), so every estimate stays unbiased. `generator`: of `device`.
    Raises UsageError for no direction or no width. Source: Choromanski et al. 2021, section 2.4.
    """
    if count < 1 or width < 1:
        message = f"directions are one or more, of width one or more; {count} of width {width} came"
        raise UsageError(message)
    dtype = dtype or torch.get_default_dtype()
    drawn = torch.promote_types(dtype, torch.float32)
    if not orthogonal:
        return torch.randn(count, width, generator=generator, device=device, dtype=drawn).to(dtype)
    blocks = -(-count // width)
    gaussian = torch.randn(blocks, width, width, generator=generator, device=device, dtype=drawn)
    lengths = torch.randn(count, width, generator=generator, device=device, dtype=drawn).norm(dim=-1, keepdim=True)
    rotation, upper = torch.linalg.qr(gaussian)
    signed = rotation * upper.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)
    found: Tensor = (signed.mT.reshape(-1, width)[:count] * lengths).to(dtype)
    return found


def random_features(
    inputs: Float[Tensor, "*b t d"], directions: Float[Tensor, "r d"], kind: FeatureKind = "positive"
) -> Float[Tensor, "*b t m"]:
    """The feature vectors f(u) of every row u, as written at the head of this file: f(q)·f(k) has the mean exp(q·k).

    For attention with scale s give sqrt(s) times the queries and keys. Nothing is shifted: exponents beyond 88 overflow in float32
    (random_feature_attention shifts them). Raises UsageError for an unknown kind.
    Source: Choromanski et al. 2021, lemma 1 (positive, hyperbolic); Rahimi and Recht 2007 (trigonometric).
    """
    features = directions.shape[0] * (1 if kind == "positive" else 2)
    direction_count(features, kind)
    along = inputs @ directions.mT
    half = inputs.square().sum(-1, keepdim=True) / 2
    if kind == "positive":
        return (along - half).exp() / math.sqrt(features)
    if kind == "hyperbolic":
        return torch.cat([along - half, -along - half], -1).exp() / math.sqrt(features)
    return torch.cat([along.cos(), along.sin()], -1) * half.exp() * math.sqrt(2 / features)
