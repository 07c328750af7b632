"""Attention in time linear in the sequence: two soft-maxes apart, any feature map, and random features of the exponential kernel.

Layout of F.scaled_dot_product_attention: query (b, h, t, d), key (b, h, s, d), value (b, h, s, e). `key_padding_mask` is (b, s) and
True where a key is to be ignored, as nn.MultiheadAttention has it; a query that may see no key gets zeros.
Axis letters: b batch, h heads, t queries, s keys, d width, e width of values, m features.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.parts.attention.estimate import estimate
from torchstone.parts.attention.features import FeatureKind, direction_count, feature_directions, random_features
from torchstone.parts.attention.landmarks import working

# Positions that a causal product of features takes at once.
_CHUNK = 128


def separable_attention(
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b h s d"],
    value: Float[Tensor, "b h s e"],
    *,
    key_padding_mask: Bool[Tensor, "b s"] | None = None,
) -> Float[Tensor, "b h t e"]:
    """Softmax over d of Q, times (softmax over the keys of K)ᵀ V: 2 d e (t + s) FLOP a head where attention has 2 t s (d + e).

    Row i of softmax_row(Q) softmax_col(K)ᵀ is a distribution over the keys: it mixes d distributions that all queries share, so
    these weights have rank d at most. There is no causal form: each column's soft-max is over all keys.
    Raises UsageError for a mask of another shape. Source: Shen et al. 2021 (efficient attention), section 3.2.
    """
    mixed = torch.matmul(_key_shares(key, _checked(key, key_padding_mask)).mT, value)
    return torch.matmul(query.softmax(-1), mixed)


def _key_shares(key: Tensor, padding: Tensor | None) -> Tensor:
    """The soft-max over the keys of every column: (b, h, s, d); zeros where all of a sequence is padding."""
    if padding is None:
        return key.softmax(-2)
    shares = key.masked_fill(padding[:, None, :, None], -torch.inf).softmax(-2)
    return shares.masked_fill(padding.all(-1)[:, None, None, None], 0.0)


def linear_attention(
    query_features: Float[Tensor, "b h t m"],
    key_features: Float[Tensor, "b h s m"],
    value: Float[Tensor, "b h s e"],
    *,
    is_causal: bool = False,
    key_padding_mask: Bool[Tensor, "b s"] | None = None,
) -> Float[Tensor, "b h t e"]:
    """D⁻¹ A V with A = f(Q) f(K)ᵀ, as f(Q) (f(K)ᵀ V) over f(Q) (f(K)ᵀ 1): A is never made, D is diagonal with A's row sums.

    Time 2 m (e + 1) (t + s) FLOP for each head, beyond the features and values space m (e + 1). With `is_causal` (t = s) the sums
    over keys are prefix sums. Features are to be positive, or a row sum may vanish; nothing is added to it. Where one does, NaN
    comes out. Raises UsageError for a mask of another shape, and for causal sequences of two lengths. Source: Katharopoulos et al.
    2020, section 3.2.
    """
    padding = _checked(key_features, key_padding_mask)
    if padding is not None:
        key_features = key_features.masked_fill(padding[:, None, :, None], 0.0)
    values = torch.cat([value, torch.ones_like(value[..., :1])], -1)
    if is_causal:
        _same_length(query_features, key_features)
        both = _prefix_products(query_features, key_features, values)
    else:
        both = torch.matmul(query_features, torch.matmul(key_features.mT, values))
    total = both[..., -1:]
    if padding is not None:
        seen = (~padding).cumsum(-1).gt(0)[:, None, :, None] if is_causal else (~padding).any(-1)[:, None, None, None]
        total = torch.where(seen, total, 1.0)
    return both[..., :-1] / total


def _prefix_products(query: Tensor, key: Tensor, values: Tensor) -> Tensor:
    """Row i of tril(query keyᵀ) values, in chunks: a state of all earlier chunks, a masked product within each."""
    state = values.new_zeros(*key.shape[:-2], key.shape[-1], values.shape[-1])
    rows = []
    for start in range(0, query.shape[-2], _CHUNK):
        run = slice(start, start + _CHUNK)
        inside = torch.matmul(query[..., run, :], key[..., run, :].mT).tril()
        rows.append(torch.matmul(query[..., run, :], state) + torch.matmul(inside, values[..., run, :]))
        state = state + torch.matmul(key[..., run, :].mT, values[..., run, :])
    return torch.cat(rows, -2) if rows else torch.zeros_like(values)


def random_feature_attention(  # noqa: PLR0913 - F.scaled_dot_product_attention's, and what draws the features
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b h s d"],
    value: Float[Tensor, "b h s e"],
    *,
    features: int = 256,
    kind: FeatureKind = "positive",
    is_causal: bool = False,
    scale: float | None = None,
    key_padding_mask: Bool[Tensor, "b s"] | None = None,
    directions: Float[Tensor, "r d"] | None = None,
    orthogonal: bool = True,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b h t e"]:
    """Soft-max attention estimated from random features of exp(scale q·k): linear in t and s, and only as good as they are.

    features: m, the length of each feature vector. kind: positive; hyperbolic, with half the directions and a lower variance;
    trigonometric, whose estimates may be negative, so that a row may come out with any weights. scale: 1 / sqrt(d) by default.
    directions: w, drawn anew at every call by `feature_directions(..., orthogonal=, generator=)` if None; constants for autograd.
    `forecast_features(query, key, value)` says beforehand what error to expect: at unit-variance queries and keys and d = 64,
    positive features are worse than replying the mean of the values, whatever m you can pay.

    Positive and hyperbolic features are made a chunk at a time, forward and backward: memory grows by the output and m (d + 1)
    numbers a head. Sums are made in float32 for half precisions. No epsilon is added anywhere.
    Raises UsageError for directions or a mask of another shape, a number of features that the kind cannot have, directions that
    want a gradient, a scale that is not positive, and causal sequences of two lengths.
    Source: Choromanski et al. 2021 (Performer), section 2.3 and lemma 1.
    """
    padding = _checked(key, key_padding_mask)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if not scale > 0:
        message = f"scale multiplies q·k and is positive, since its root goes to either side; {scale} came"
        raise UsageError(message)
    if is_causal:
        _same_length(query, key)
    count = direction_count(features, kind)
    if directions is None:
        directions = feature_directions(
            count, query.shape[-1],
            orthogonal=orthogonal, generator=generator, device=query.device, dtype=working(query.dtype),
        )  # fmt: skip
    rooted = _rooted(directions, (count, query.shape[-1]), scale, working(query.dtype))
    if kind == "trigonometric":
        root = math.sqrt(scale)
        queries, keys = (random_features(x.to(rooted) * root, rooted / root, kind) for x in (query, key))
        found: Tensor = linear_attention(queries, keys, value.to(rooted), is_causal=is_causal, key_padding_mask=padding)
        return found.to(value)
    if kind == "hyperbolic":
        rooted = torch.cat([rooted, -rooted])
    return estimate(query, key, value, rooted, scale, padding, is_causal=is_causal)


def _checked(key: Tensor, padding: Tensor | None) -> Tensor | None:
    wanted = (key.shape[0], key.shape[2])
    if padding is not None and (padding.shape != wanted or padding.dtype != torch.bool):
        message = f"key_padding_mask is bool and (batch, keys) = {wanted}; {padding.dtype} and {tuple(padding.shape)} came"
        raise UsageError(message)
    return padding


def _same_length(query: Tensor, key: Tensor) -> None:
    if query.shape[-2] != key.shape[-2]:
        message = f"causal attention is of one sequence: {query.shape[-2]} queries and {key.shape[-2]} keys came"
        raise UsageError(message)


def _rooted(directions: Tensor, wanted: tuple[int, int], scale: float, dtype: torch.dtype) -> Tensor:
    """The directions times the root of the scale, so that w·(sqrt(scale) u) needs no scaled copy of u."""
    if tuple(directions.shape) != wanted:
        message = f"directions are (directions, width) = {wanted}; {tuple(directions.shape)} came"
        raise UsageError(message)
    if directions.requires_grad:
        message = "directions are constants of the estimate and get no gradient: detach() them"
        raise UsageError(message)
    return directions.to(dtype) * math.sqrt(scale)
