"""local_attention against its definition in plain numbers, counted where it runs, and as the maximum that it approximates."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from torchstone import parts
from torchstone.core.evidence import Evidence, Relation
from torchstone.parts.attention.band import block_size
from torchstone.parts.attention.local import blockwise
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Part = Callable[..., Any]


def _weights(query: Tensor, key: Tensor, window: tuple[int, int], scale: float | None, ignored: Tensor) -> Tensor:
    """The weights (t, t): what attention gives for the identity as values."""
    identity = torch.eye(len(query), dtype=query.dtype)
    rows = query[None, None], key[None, None], identity[None, None]
    return parts.local_attention(*rows, window, scale=scale, key_padding_mask=ignored[None])[0, 0]


def _over_queries(query: Tensor, key: Tensor, window: tuple[int, int], scale: float | None, ignored: Tensor) -> Tensor:
    seen = _weights(query, key, window, scale, ignored) > 0
    by = len(query[0]) ** -0.5 if scale is None else scale
    return (query @ key.T * by).masked_fill(~seen, -math.inf).softmax(0).nan_to_num()


def _renormalised_elsewhere(query: Tensor, key: Tensor, window: tuple[int, int], scale: float | None, ignored: Tensor) -> Tensor:
    """All with all, cut to the band afterwards: the rows do not add up to 1."""
    whole = _weights(query, key, (len(query), len(query)), scale, ignored)
    return whole * (_weights(query, key, window, scale, ignored) > 0)


@experiment(
    "attention.local_weights",
    part=_weights,
    mutants={
        "soft-max over queries": _over_queries,
        "cut after the soft-max": _renormalised_elsewhere,
        "left and right exchanged": lambda q, k, window, *more: _weights(q, k, window[::-1], *more),
        "without the scale": lambda q, k, window, scale, ignored: _weights(q, k, window, scale or 1.0, ignored),
        "padding attended": lambda q, k, window, scale, ignored: _weights(q, k, window, scale, ignored & False),
        "one key short": lambda q, k, window, *more: _weights(q, k, (window[0], max(0, window[1] - 1)), *more),
    },
)
def local_weights(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Lengths of one block and of several, windows of all sizes, causal ones, and keys ignored until whole windows are empty."""
    for number in range(16):
        length, features = (draws.integer(1, 20), 3) if number % 2 else (draws.integer(70, 130), 2)
        left, right = draws.integer(0, 12), 0 if number % 5 == 0 else draws.integer(0, 12)
        query, key = draws.normal(length, features), draws.normal(length, features)
        ignored = draws.uniform(0, 1, length) < (0.0, 0.3, 0.95)[number % 3]
        scale = None if number % 4 else draws.uniform(0.5, 2.0, 1).item()
        arguments = {
            "queries": query.tolist(), "keys": key.tolist(), "left": left, "right": right, "scale": scale,
            "ignored": ignored.nonzero().flatten().tolist(),
        }  # fmt: skip
        yield held("attention.local_weights", arguments, part(query, key, (left, right), scale, ignored), rounding(100, 10))


def _seen(length: int, left: int, right: int) -> int:
    """Pairs with a weight above 0."""
    rows = torch.zeros(length, 1, dtype=torch.float64)
    return int((_weights(rows, rows, (left, right), None, torch.zeros(length, dtype=torch.bool)) > 0).sum())


def _wrapped(length: int, left: int, right: int) -> int:
    return length * min(length, left + 1 + right)


@experiment(
    "attention.local_scores",
    part=_seen,
    mutants={
        "the ends forgotten": _wrapped,
        "one end cut": lambda length, left, right: _wrapped(length, left, right) - min(left, length) * (min(left, length) + 1) // 2,
        "the window in place of its half": lambda length, left, right: _seen(length, left // 2, right // 2),
    },
    how="exact: weights above 0",
)
def local_scores(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Weights above 0 of the running kernel, for lengths below, at and beyond the window."""
    cases = [(5, 1, 1), (5, 9, 9), (100, 32, 32), (161, 40, 0), *(draws.integers(0, 60, 3) for _ in range(12))]
    for length, left, right in cases:
        arguments = {"length": length + 1, "left": left, "right": right}
        yield held("attention.local_scores", arguments, part(*arguments.values()))


@experiment(
    "attention.local_speedup",
    part=lambda length, left, right: _seen(length, length, length) / _seen(length, left, right),
    mutants={
        "the ends forgotten": lambda length, left, right: length / min(length, left + 1 + right),
        "2k keys": lambda length, left, right: length**2 / max(1, _seen(length, left, right) - length),
    },
    how="exact: weights above 0",
)
def local_speedup(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Pairs with a weight of all with all over those of the window."""
    for _ in range(10):
        length, left, right = draws.integer(20, 120), draws.integer(1, 15), draws.integer(0, 15)
        arguments = {"length": length, "left": left, "right": right}
        yield held("attention.local_speedup", arguments, part(length, left, right), rounding(2, 100))


def _counted(length: int, left: int, right: int, features: int, heads: int, run: Part) -> int:
    """FLOP that torch counts of a forward pass."""
    rows = torch.zeros(1, heads, length, features)
    with FlopCounterMode(display=False) as counter:
        run(rows, left, right)
    return int(counter.get_total_flops())


def _by_products(rows: Tensor, left: int, right: int) -> Tensor:
    return blockwise(rows, rows, rows, None, left, right, 1.0)


def _as_called(rows: Tensor, left: int, right: int) -> Tensor:
    return parts.local_attention(rows, rows, rows, (left, right))


@experiment(
    "attention.local_flops",
    part=_counted,
    mutants={
        "all with all": lambda length, _, __, *more: _counted(length, length, length, *more),
        "the ends padded": lambda length, left, right, *more: _counted(length + left + right, left, right, *more),
        "one product": lambda *arguments: _counted(*arguments) // 2,
    },
    how="exact: torch's counter",
)
def local_flops(part: Part, draws: Draws) -> Iterator[Evidence]:
    """The products that the blocks run, and what the operator tells torch's counter of itself."""
    for _ in range(10):
        length, left, right, heads = draws.integer(1, 500), draws.integer(0, 90), draws.integer(0, 90), draws.integer(1, 3)
        block = block_size(min(left, length), min(right, length))
        arguments = {"length": length, "left": left, "right": right, "block": block, "features": 4, "heads": heads}
        for run in (_by_products, _as_called):
            yield held("attention.local_flops", arguments, part(length, left, right, 4, heads, run))


def _overhang(left: int, right: int, block: int, blocks: int = 3) -> float:
    """FLOP and asked-for pairs that `blocks` more blocks bring, far from the ends."""
    length = 4 * (left + right + block)
    more = length + blocks * block
    flops = [_counted(one, left, right, 1, 1, _by_products) for one in (length, more)]
    return (flops[1] - flops[0]) / 4 / (_seen(more, left, right) - _seen(length, left, right))


@experiment(
    "attention.block_overhang",
    part=_overhang,
    mutants={
        "of the whole": lambda left, right, _: _counted(300, left, right, 1, 1, _by_products) / 4 / _seen(300, left, right),
        "no window": lambda left, right, block: block / (left + 1 + right),
    },
    how="exact: torch's counter",
)
def block_overhang(part: Part, draws: Draws) -> Iterator[Evidence]:
    """What further blocks cost over what they ask for."""
    for left, right in [(32, 32), (32, 0), *(draws.integers(0, 50, 2) for _ in range(4))]:
        block = block_size(left, right)
        arguments = {"left": left, "right": right, "block": block}
        yield held("attention.block_overhang", arguments, part(left, right, block), rounding(4, 50))


def _kept(run: Part, length: int, features: int, heads: int) -> int:
    """Numbers that autograd keeps between forward and backward."""
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    rows = [torch.zeros(1, heads, length, features, requires_grad=True) for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(*rows)
    return sum(kept)


def _banded(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """All with all under a band mask: what is written where there is no local attention."""
    band = torch.ones(query.shape[2], query.shape[2]).triu(-9).tril(9).log()
    return functional.softmax(query @ key.transpose(-1, -2) + band, -1) @ value


@experiment(
    "attention.local_memory",
    part=lambda *sizes: _kept(lambda q, k, v: parts.local_attention(q, k, v, 9), *sizes),
    mutants={
        "the weights of the window kept": lambda *sizes: _kept(lambda q, k, v: blockwise(q, k, v, None, 9, 9, 1.0), *sizes),
        "a band mask on all with all": lambda *sizes: _kept(_banded, *sizes),
    },
    how="exact: what autograd saves",
)
def local_memory(part: Part, draws: Draws) -> Iterator[Evidence]:
    """What the saved-tensor hooks see."""
    for _ in range(5):
        arguments = {"length": draws.integer(2, 200), "features": draws.integer(1, 5), "heads": draws.integer(1, 3)}
        yield held("attention.local_memory", arguments, part(*arguments.values()))


def soft_maximum(values: Tensor, window: int, alpha: float) -> Tensor:
    """Identity keys, every query = alpha sqrt(T) (x_1..x_T), values x, under the default scale 1/sqrt(T): (t,) to (t,)."""
    length = len(values)
    query = (alpha * math.sqrt(length) * values).expand(length, length)
    key = torch.eye(length, dtype=values.dtype)
    return parts.local_attention(query[None, None], key[None, None], values[None, None, :, None], window)[0, 0, :, 0]


def _with_keys(keys: Callable[[Tensor], Tensor]) -> Part:
    def part(values: Tensor, window: int, alpha: float) -> Tensor:
        key, query = keys(torch.eye(len(values), dtype=values.dtype)), (alpha * values).expand(len(values), len(values))
        rows = query[None, None], key[None, None], values[None, None, :, None]
        return parts.local_attention(*rows, window, scale=1.0)[0, 0, :, 0]

    return part


@experiment(
    "attention.smooth_maximum",
    part=soft_maximum,
    mutants={
        "1/sqrt(d) forgotten": lambda x, window, alpha: soft_maximum(x, window, alpha / math.sqrt(len(x))),
        "keys in reverse": _with_keys(lambda identity: identity.flip(0)),
        "keys zero: the mean": _with_keys(torch.zeros_like),
        "one position short": lambda x, window, alpha: soft_maximum(x, window - 1, alpha),
    },
)
def smooth_maximum(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Lengths of one and of several blocks; alpha of either sign, and large."""
    for number in range(12):
        x, window = draws.normal(draws.integer(5, 20) if number % 2 else draws.integer(100, 140)), draws.integer(1, 6)
        alpha = draws.uniform(-5, 50, 1).item()
        arguments = {"values": x.tolist(), "window": window, "alpha": alpha}
        yield held("attention.smooth_maximum", arguments, part(x, window, alpha), rounding(50, 200))


def _shortfall(part: Part, x: Tensor, window: int, alpha: float) -> Tensor:
    highest = functional.max_pool1d(x[None, None], 2 * window + 1, stride=1, padding=window)[0, 0]
    short: Tensor = (highest - part(x, window, alpha)).abs().max()
    return short


@experiment(
    "attention.max_pooling_error",
    part=soft_maximum,
    mutants={
        "1/sqrt(d) forgotten": lambda x, window, alpha: soft_maximum(x, window, alpha / math.sqrt(len(x))),
        "twice the window": lambda x, window, alpha: soft_maximum(x, 2 * window, alpha),
        "keys zero: the mean": _with_keys(torch.zeros_like),
    },
    how="random + adversarial, and where the bound is attained",
)
def max_pooling_error(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Random values, values made worse by ascent, and one maximum with all others at the gap that attains the bound."""
    for _ in range(6):
        window, alpha = draws.integer(1, 5), draws.uniform(1, 20, 1).item()
        positions = 2 * window + 1
        arguments = {"positions": positions, "alpha": alpha}
        start = draws.normal(draws.integer(positions, 20)) / alpha

        def loss(x: Tensor, window: int = window, alpha: float = alpha) -> Tensor:
            return _shortfall(part, x, window, alpha)

        for x in (start * alpha, start, adversarial(loss, start, steps=20, rate=1 / alpha)):
            yield held("attention.max_pooling_error", arguments, loss(x), rounding(50, 50), Relation.AT_MOST)
        spike = torch.zeros(positions, dtype=torch.float64)
        spike[window] = _shortfall_gap(positions, alpha)
        measured = spike[window] - part(spike, window, alpha)[window]
        yield held("attention.max_pooling_error", arguments, measured, rounding(50, 50))


def _shortfall_gap(positions: int, alpha: float) -> float:
    """The gap g at which (n - 1) g e^{-alpha g}/(1 + (n - 1) e^{-alpha g}) is largest: alpha g - 1 = (n - 1) e^{-alpha g}."""
    low, high = 0.0, 1.0 + positions
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if middle - 1 < (positions - 1) * math.exp(-middle) else (low, middle)
    return low / alpha
