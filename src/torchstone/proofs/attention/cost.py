"""What dot-product attention costs, counted while it runs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

Part = Callable[..., Any]


class LiveNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers of all tensors alive, and the most there ever were, each from its first operation to its end."""

    def __init__(self, *inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self._see(inputs)

    def _see(self, results: Any) -> None:
        self.storages = {at: one for at, one in self.storages.items() if not one[0].expired()}  # type: ignore[no-untyped-call]
        for one in tree_leaves(results):
            if isinstance(one, Tensor):
                storage = one.untyped_storage()
                alive = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self.storages[alive.cdata] = alive, storage.nbytes() // one.element_size()
        self.peak = max(self.peak, sum(count for _, count in self.storages.values()))

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        found = function(*args, **(kwargs or {}))
        self._see(found)
        return found


def in_sequence(query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    """Heads (h, n, d) one after the other: scores, soft-max, product."""
    outputs = []
    for q, k, v in zip(query, key, value, strict=True):
        weights = (q @ k.T).softmax(-1)
        outputs.append(weights @ v)
        del weights
    return outputs


def side_by_side(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """All heads at once."""
    return (query @ key.transpose(1, 2)).softmax(-1) @ value


def _flops(attend: Part, positions: int, features: int, heads: int) -> int:
    rows = torch.zeros(heads, positions, features)
    with FlopCounterMode(display=False) as counter:
        attend(rows, rows, rows)
    return int(counter.get_total_flops())


def _by_torch(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return functional.scaled_dot_product_attention(query[None], key[None], value[None])


@experiment(
    "attention.dot_product_flops",
    part=lambda *sizes: {_flops(attend, *sizes) for attend in (in_sequence, side_by_side, _by_torch)},
    mutants={
        "scores only": lambda *sizes: {_flops(lambda q, k, _: q @ k.transpose(1, 2), *sizes)},
        "one head": lambda positions, features, _: {_flops(side_by_side, positions, features, 1)},
        "over features": lambda *sizes: {_flops(lambda q, k, v: side_by_side(*(x.transpose(1, 2) for x in (q, k, v))), *sizes)},
    },
    how="exact: torch's counter",
)
def dot_product_flops(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Head after head, side by side, and torch's own function: all cost the same."""
    for _ in range(8):
        arguments = {"positions": draws.integer(2, 60), "features": draws.integer(1, 20), "heads": draws.integer(2, 4)}
        for counted in part(*arguments.values()):
            yield held("attention.dot_product_flops", arguments, counted)


def _most_alive(attend: Part, positions: int, features: int, heads: int) -> int:
    rows = [torch.zeros(heads, positions, features) for _ in range(3)]
    counter = LiveNumbers(*rows)
    with counter:
        attend(*rows)
    return counter.peak


def _kept_scores(query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    weights = [(q @ k.T).softmax(-1) for q, k in zip(query, key, strict=True)]
    return [one @ v for one, v in zip(weights, value, strict=True)]


@experiment(
    "attention.dot_product_space",
    part=lambda *sizes: _most_alive(in_sequence, *sizes),
    mutants={
        "heads side by side": lambda *sizes: _most_alive(side_by_side, *sizes),
        "every head's weights kept": lambda *sizes: _most_alive(_kept_scores, *sizes),
    },
    how="exact: storages alive",
)
def dot_product_space(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Numbers in all storages alive at once, the most there were, for n above and below d."""
    for _ in range(8):
        arguments = {"positions": draws.integer(2, 60), "features": draws.integer(1, 40), "heads": draws.integer(2, 4)}
        yield held("attention.dot_product_space", arguments, part(*arguments.values()))
