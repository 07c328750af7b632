"""Attention by positive features under a causal mask: prefix sums over chunks, an ordinary masked product within each.

a_ij = sum_r exp(y_ir + x_jr) as in landmarks.py. Before a chunk the state holds sum_j exp(x_jr - M_r) (v_j, 1) of all earlier keys,
M_r being the maximum so far; within it the c x c products are masked. The backward pass runs the chunks in reverse, where what
later queries ask of a key adds up likewise, and computes the features again; one state a chunk is kept.

Limit: in one chunk M_r includes keys that a query must not see yet. Where these exceed all that it may see by more than the
exponent range (87 in float32, 708 in float64) in every feature, its denominator is 0 and its output NaN.
Axis letters: b batch, h heads, t positions, d width, e width of values, m features, c chunk.
"""

import torch
from torch import Tensor

from torchstone.parts.attention.landmarks import key_exponents, lowest


def _runs(length: int, features: int) -> list[slice]:
    """Chunks of m positions, 64 at least: the masked products cost no more than the prefix sums, and the states no more than V."""
    size = max(64, features)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def chunk_count(length: int, features: int) -> int:
    """How many states the forward pass keeps."""
    return -(-length // max(64, features))


def _with_ones(value: Tensor) -> Tensor:
    return torch.cat([value, torch.ones_like(value[..., :1])], -1)


def _seen(padding: Tensor | None) -> Tensor | None:
    """Whether a position has a key that it may see: (b, 1, t, 1)."""
    return None if padding is None else (~padding).cumsum(-1).gt(0)[:, None, :, None]


def _cut(padding: Tensor | None, run: slice) -> Tensor | None:
    return None if padding is None else padding[:, run]


def _stacked(rows: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(rows) if rows else like.new_zeros(0, *like.shape)


def prefix_forward(
    query: Tensor, key: Tensor, value: Tensor, directions: Tensor, scale: float, padding: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One pass: the output, the log of each query's denominator, and for each chunk the state before it and its M."""
    batch, heads, length, _ = query.shape
    features, seen = directions.shape[0], _seen(padding)
    highest = directions.new_full((batch, heads, 1, features), lowest(directions))
    state = directions.new_zeros(batch, heads, features, value.shape[-1] + 1)
    output = value.new_empty(*query.shape[:-1], value.shape[-1])
    sums = directions.new_empty(batch, heads, length, 1)
    states, tops = [], []
    for run in _runs(length, features):
        exponents = key_exponents(key[:, :, run].to(directions), directions, scale, _cut(padding, run))
        raised = torch.maximum(highest, exponents.amax(-2, keepdim=True))
        state = state * (highest - raised).exp().mT
        keys, values = (exponents - raised).exp(), _with_ones(value[:, :, run].to(directions))
        along = torch.matmul(query[:, :, run].to(directions), directions.mT) + raised
        top = along.amax(-1, keepdim=True)
        queries = (along - top).exp()
        states.append(state)
        tops.append(raised)
        both = torch.matmul(queries, state) + torch.matmul(torch.matmul(queries, keys.mT).tril(), values)
        total = both[..., -1:] if seen is None else torch.where(seen[:, :, run], both[..., -1:], 1.0)
        output[:, :, run] = both[..., :-1] / total
        sums[:, :, run] = total.log() + top
        state, highest = state + torch.matmul(keys.mT, values), raised
    return output, sums, _stacked(states, state), _stacked(tops, highest)


def prefix_backward(
    gradient: Tensor, inputs: tuple[Tensor, ...], scale: float, padding: Tensor | None, kept: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """The chunks in reverse; `later` is what the queries after a chunk ask of its keys, for values and denominator together.

    inputs: query, key, value, directions. kept: what prefix_forward gave. Result: gradients of query, key and value.
    """
    query, key, value, directions = inputs
    output, sums, states, tops = kept
    by_query, by_key, by_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
    later, above = directions.new_zeros(states.shape[1:]), None
    for number, run in reversed(list(enumerate(_runs(query.shape[2], directions.shape[0])))):
        raised = tops[number]
        if above is not None:
            later = later * (raised - above).exp().mT
        keys, values = key[:, :, run].to(directions), _with_ones(value[:, :, run].to(directions))
        upstream = gradient[:, :, run].to(directions)
        asked = torch.cat([upstream, -(upstream * output[:, :, run]).sum(-1, keepdim=True)], -1)
        shares = (torch.matmul(query[:, :, run].to(directions), directions.mT) + raised - sums[:, :, run]).exp()
        weights = (key_exponents(keys, directions, scale, _cut(padding, run)) - raised).exp()
        by_pairs, pairs = torch.matmul(asked, values.mT).tril(), torch.matmul(shares, weights.mT).tril()
        by_along = shares * (torch.matmul(asked, states[number].mT) + torch.matmul(by_pairs, weights))
        by_exponents = weights * (torch.matmul(by_pairs.mT, shares) + torch.matmul(values, later.mT))
        by_values = torch.matmul(pairs.mT, asked) + torch.matmul(weights, later)
        by_query[:, :, run] = torch.matmul(by_along, directions)
        by_key[:, :, run] = torch.matmul(by_exponents, directions) - keys * (scale * by_exponents.sum(-1, keepdim=True))
        by_value[:, :, run] = by_values[..., :-1]
        later, above = later + torch.matmul(shares.mT, asked), raised
    return by_query, by_key, by_value
