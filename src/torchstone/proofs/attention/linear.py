"""Attention by a product of features against D⁻¹ A V written out, and its cost by torch's counter and by watching tensors."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from torchstone import parts
from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Attention = Callable[..., Tensor]


def one_head(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    """`linear_attention` of matrices."""
    return parts.linear_attention(query[None, None], key[None, None], value[None, None], is_causal=is_causal)[0, 0]


def _undivided(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    weights = query @ key.mT
    return (weights.tril() if is_causal else weights) @ value


def _strictly_before(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    weights = query @ key.mT
    weights = weights.tril(-1) + 1e-3 if is_causal else weights
    return weights @ value / weights.sum(1, keepdim=True)


@experiment(
    "attention.kernel_attention",
    part=one_head,
    mutants={
        "not divided by the row sums": _undivided,
        "divided by the column sums": lambda q, k, v, **how: one_head(q, k / (q @ k.mT).sum(0)[:, None], v, **how),
        "causal mask left out": lambda q, k, v, is_causal: one_head(q, k, v, is_causal=False),  # noqa: ARG005
        "a position does not see itself": _strictly_before,
        "an epsilon in the row sums": lambda q, k, v, is_causal: one_head(q, k, v, is_causal=is_causal) * (1 - 1e-4),
    },
)
def kernel_attention(part: Attention, draws: Draws) -> Iterator[Evidence]:
    """Positive random features, with and without a causal mask, over one chunk and several of the prefix sums."""
    for number, (t, m, e) in enumerate(((1, 1, 1), (5, 3, 2), (9, 2, 4), (140, 2, 1), (7, 8, 3)) * 2):
        query, key, value = draws.uniform(0, 2, t, m), draws.uniform(0, 2, t, m), draws.normal(t, e)
        arguments = {
            "query_features": query.tolist(), "key_features": key.tolist(), "value": value.tolist(), "is_causal": number % 2 == 1,
        }  # fmt: skip
        found = part(query, key, value, is_causal=number % 2 == 1)
        yield held("attention.kernel_attention", arguments, found, rounding(8 * t, 3))


def _given(attention: Attention, *shapes: tuple[int, int]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        attention(*(torch.ones(1, 1, *shape) for shape in shapes))
    return int(counter.get_total_flops())


def _matrix_first(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = query @ key.mT
    return (weights @ value) / weights.sum(-1, keepdim=True)


@experiment(
    "attention.kernel_attention_flops",
    part=parts.linear_attention,
    mutants={
        "A first": _matrix_first,
        "row sums made twice": lambda q, k, v: parts.linear_attention(q, k, torch.cat([v, v[..., :1]], -1)),
        "prefix sums": lambda q, k, v: parts.linear_attention(q, q + k.sum(-2, keepdim=True), q[..., :1] + v.sum(), is_causal=True),
    },
    how="exact, by torch's counter",
)
def kernel_attention_flops(part: Attention, draws: Draws) -> Iterator[Evidence]:
    """Random sizes."""
    for _ in range(12):
        t, s, m, e = draws.integers(2, 90, 4)
        arguments = {"queries": t, "keys": s, "features": m, "value_width": e}
        yield held("attention.kernel_attention_flops", arguments, _given(part, (t, m), (s, m), (s, e)))


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches for the largest tensor that is made; a view makes none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves(args) if isinstance(leaf, Tensor)}
        if isinstance(made, Tensor) and made.untyped_storage().data_ptr() not in given:
            self.numbers = max(self.numbers, made.numel())
        return made


def largest(attention: Attention, *shapes: tuple[int, int]) -> int:
    """Numbers in the largest tensor that an attention over one head makes, its inputs not counted."""
    inputs = [torch.ones(1, 1, *shape) for shape in shapes]
    with _Largest() as watched, torch.no_grad():
        attention(*inputs)
    return int(watched.numbers)


@experiment(
    "attention.kernel_attention_largest",
    part=parts.linear_attention,
    mutants={
        "A first": _matrix_first,
        "a product for each key": lambda q, k, v: q @ (k[..., None] * v[..., None, :]).sum(-3),
        "features copied": lambda q, k, v: parts.linear_attention(q * 1, k * 1, v),
    },
    how="exact, by watching every tensor",
)
def kernel_attention_largest(part: Attention, draws: Draws) -> Iterator[Evidence]:
    """Random sizes, some with more features than positions; more positions than e and m, so that A would be seen."""
    for number in range(12):
        m, e = draws.integers(2, 12, 2)
        t, s = draws.integers(40, 90, 2) if number % 3 else draws.integers(2, 6, 2)
        arguments = {"queries": t, "keys": s, "features": m, "value_width": e}
        yield held("attention.kernel_attention_largest", arguments, largest(part, (t, m), (s, m), (s, e)))


def estimated(query: Tensor, key: Tensor, value: Tensor, features: int, **more: Any) -> Tensor:
    """Random-feature attention with its directions given."""
    directions = torch.ones(features, query.shape[-1])
    return parts.random_feature_attention(query, key, value, features=features, directions=directions, **more)


@experiment(
    "attention.random_feature_flops",
    part=estimated,
    mutants={
        "A first": lambda q, k, v, m: _matrix_first(q @ q.new_ones(q.shape[-1], m), k @ k.new_ones(k.shape[-1], m), v),
        "features of the keys made twice": lambda q, k, v, m: estimated(q, k, v + (k @ k.new_ones(k.shape[-1], m)).sum(), m),
        "half the features": lambda q, k, v, m: estimated(q, k, v, -(-m // 2)),
    },
    how="exact, by torch's counter",
)
def random_feature_flops(part: Attention, draws: Draws) -> Iterator[Evidence]:
    """Random sizes, over several chunks among them."""
    for number in range(10):
        t, s, d, e, m = draws.integers(2, 40, 5)
        t, s = (t, s) if number else (9000, 70)
        arguments = {"queries": t, "keys": s, "features": m, "width": d, "value_width": e}
        found = _given(lambda q, k, v, m=m: part(q, k, v, m), (t, d), (s, d), (s, e))
        yield held("attention.random_feature_flops", arguments, found)
