"""Attention by positive features without a mask, in chunks: two ordinary soft-maxes through m landmarks.

With x_jr = w_r·k_j - |k_j|²/2 and y_ir = w_r·q_i the estimate sum_j (sum_r exp(y_ir + x_jr)) v_j / sum_j sum_r exp(y_ir + x_jr) is

    L_r = logsumexp over j of x_jr,  Z_r = sum_j exp(x_jr - L_r) v_j           a soft-max over the keys, for every feature
    out_i = sum_r softmax over r of (y_ir + L_r) Z_r                           a soft-max over the features, for every query

Each subtracts its own maximum, so no epsilon is needed: nothing overflows and no denominator is below 1. |q_i|²/2 and 1/sqrt(m)
cancel. Features live one chunk long; the backward pass computes them again from L and the queries' log-sum-exp.
Axis letters: b batch, h heads, t queries, s keys, d width, e width of values, m features.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Numbers of features in one chunk: on a CPU half a megabyte, which stays in a core's second cache between the steps of a chunk.
_CHUNK = {"cpu": 2**17}
_CHUNK_ELSEWHERE = 2**26


def working(dtype: torch.dtype) -> torch.dtype:
    """What sums are made in: float32 for the half precisions."""
    return torch.promote_types(dtype, torch.float32)


def lowest(like: Tensor) -> float:
    """A finite stand-in for minus infinity, from which small numbers can still be subtracted."""
    return torch.finfo(like.dtype).min / 4


def chunks(length: int, batch: int, features: int, device: torch.device) -> Iterator[slice]:
    """Runs of positions whose features fit into the cache."""
    room = _CHUNK.get(device.type, _CHUNK_ELSEWHERE)
    size = max(64, room // max(1, batch * features))
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def key_exponents(key: Tensor, directions: Tensor, scale: float, padding: Tensor | None) -> Tensor:
    """X of some keys: (b, h, s, m), minus infinity where they are padding. `directions` hold the root of the scale."""
    exponents = torch.matmul(key, directions.mT)
    exponents -= key.square().sum(-1, keepdim=True).mul_(scale / 2)
    if padding is not None:
        exponents.masked_fill_(padding[:, None, :, None], -torch.inf)
    return exponents


def _cut(padding: Tensor | None, run: slice) -> Tensor | None:
    return None if padding is None else padding[:, run]


def summarise(key: Tensor, value: Tensor, directions: Tensor, scale: float, padding: Tensor | None) -> tuple[Tensor, Tensor]:
    """The landmarks Z (b, h, m, e) and their log-sum-exp L (b, h, 1, m), over chunks of keys."""
    batch, heads, length, _ = key.shape
    features = directions.shape[0]
    highest = directions.new_full((batch, heads, 1, features), lowest(directions))
    total = torch.zeros_like(highest)
    summed = directions.new_zeros(batch, heads, features, value.shape[-1])
    for run in chunks(length, batch * heads, features, key.device):
        exponents = key_exponents(key[:, :, run].to(directions), directions, scale, _cut(padding, run))
        raised = torch.maximum(highest, exponents.amax(-2, keepdim=True))
        kept = (highest - raised).exp_()
        weights = exponents.sub_(raised).exp_()
        total = total * kept + weights.sum(-2, keepdim=True)
        summed = summed * kept.mT + torch.matmul(weights.mT, value[:, :, run].to(directions))
        highest = raised
    total = torch.where(total > 0, total, 1.0)  # no key at all: Z is zero
    return summed / total.mT, highest + total.log()


def read(query: Tensor, directions: Tensor, landmarks: Tensor, weight: Tensor, output: Tensor) -> Tensor:
    """Fill the output (b, h, t, e) from the landmarks, over chunks of queries; the log-sum-exp (b, h, t, 1) of each."""
    batch, heads, length, _ = query.shape
    sums = directions.new_empty(batch, heads, length, 1)
    for run in chunks(length, batch * heads, directions.shape[0], query.device):
        exponents = torch.matmul(query[:, :, run].to(directions), directions.mT).add_(weight)
        raised = exponents.amax(-1, keepdim=True)
        shares = exponents.sub_(raised).exp_()
        total = shares.sum(-1, keepdim=True)
        output[:, :, run] = torch.matmul(shares, landmarks).div_(total)
        sums[:, :, run] = total.log_().add_(raised)
    return sums


def landmark_forward(
    query: Tensor, key: Tensor, value: Tensor, directions: Tensor, scale: float, padding: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two passes: the output, a log-sum-exp for each query, Z and L."""
    landmarks, weight = summarise(key, value, directions, scale, padding)
    output = value.new_empty(*query.shape[:-1], value.shape[-1])
    sums = read(query, directions, landmarks, weight, output)
    return output, sums, landmarks, weight


def landmark_backward(
    gradient: Tensor, inputs: tuple[Tensor, ...], scale: float, padding: Tensor | None, kept: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """The passes in reverse: queries first, which gives the landmarks' gradients, then keys.

    inputs: query, key, value, directions. kept: what landmark_forward gave. Result: gradients of query, key and value.
    """
    query, key, value, directions = inputs
    output, sums, landmarks, weight = kept
    by_query, by_landmarks, by_weight = _read_backward(query, directions, landmarks, weight, output, sums, gradient)
    shift = by_weight - (by_landmarks * landmarks).sum(-1, keepdim=True).mT
    return by_query, *_summarise_backward(key, value, directions, scale, padding, weight, by_landmarks, shift)


def _read_backward(
    query: Tensor, directions: Tensor, landmarks: Tensor, weight: Tensor, output: Tensor, sums: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the queries (b, h, t, d), of Z (b, h, m, e) and of L (b, h, 1, m)."""
    batch, heads, length, _ = query.shape
    by_query, by_landmarks, by_weight = torch.empty_like(query), torch.zeros_like(landmarks), torch.zeros_like(weight)
    for run in chunks(length, batch * heads, directions.shape[0], query.device):
        shares = torch.matmul(query[:, :, run].to(directions), directions.mT).add_(weight).sub_(sums[:, :, run]).exp_()
        upstream = gradient[:, :, run].to(directions)
        by_landmarks += torch.matmul(shares.mT, upstream)
        along = (upstream * output[:, :, run]).sum(-1, keepdim=True)
        by_exponents = torch.matmul(upstream, landmarks.mT).sub_(along).mul_(shares)
        by_weight += by_exponents.sum(-2, keepdim=True)
        by_query[:, :, run] = torch.matmul(by_exponents, directions)
    return by_query, by_landmarks, by_weight


def _summarise_backward(
    key: Tensor, value: Tensor, directions: Tensor, scale: float, padding: Tensor | None,
    weight: Tensor, by_landmarks: Tensor, shift: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Gradients of the keys (b, h, s, d) and the values (b, h, s, e); `shift` is what L's gradient adds to every product v·dZ."""
    batch, heads, length, _ = key.shape
    by_key, by_value = torch.empty_like(key), torch.empty_like(value)
    for run in chunks(length, batch * heads, directions.shape[0], key.device):
        keys = key[:, :, run].to(directions)
        weights = key_exponents(keys, directions, scale, _cut(padding, run)).sub_(weight).exp_()
        by_value[:, :, run] = torch.matmul(weights, by_landmarks)
        by_exponents = torch.matmul(value[:, :, run].to(directions), by_landmarks.mT).add_(shift).mul_(weights)
        by_key[:, :, run] = torch.matmul(by_exponents, directions) - keys * (scale * by_exponents.sum(-1, keepdim=True))
    return by_key, by_value
