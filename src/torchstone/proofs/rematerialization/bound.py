"""What no schedule can do without, against every schedule of networks that run."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, combinations

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence, Relation
from torchstone.parts.rematerialization.again import Again
from torchstone.parts.rematerialization.working import Worker
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

Least = Callable[[Sequence[int], Sequence[int], int], int]
_ELEMENT = 8


class _Branch(nn.Module):
    """The sum of sin(A v): keeps A v, m numbers, which 2 m k operations made."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(rows, columns, dtype=torch.float64))

    def forward(self, v: Tensor) -> Tensor:
        """A number, of (k, 1)."""
        return (self.matrix @ v).sin().sum()


@cache
def run(rows: tuple[int, ...], columns: tuple[int, ...], again: tuple[int, ...]) -> tuple[int, int]:
    """Bytes there when the backward pass begins, and the work of both passes, of branches some of which run again."""
    branches = [_Branch(*sizes) for sizes in zip(rows, columns, strict=True)]
    for place in again:
        branches[place].__dict__["forward"] = Again(branches[place], (), training=True)
    inputs = [torch.ones(count, 1, dtype=torch.float64) for count in columns]
    with Worker() as meter:
        total = torch.stack([branch(v) for branch, v in zip(branches, inputs, strict=True)]).sum()
        kept = meter.current
        torch.autograd.backward(total)
    return kept, meter.work


def least(rows: Sequence[int], columns: Sequence[int], room: int, share: int = 1, free: int = 0) -> int:
    """The least extra work of all sets of branches that leave at most `room` bytes of what they keep; each of them run.

    `share`: what is kept counts so many times less. `free`: so many branches run again for nothing.
    """
    sizes, places = (tuple(rows), tuple(columns)), tuple(range(len(rows)))
    lowest, _ = run(*sizes, places)
    _, plain = run(*sizes, ())
    found = []
    for again in chain.from_iterable(combinations(places, count) for count in range(len(rows) + 1)):
        kept, work = run(*sizes, again)
        if (kept - lowest) // share <= room:
            forgiven = sum(2 * rows[place] * columns[place] for place in again[:free])
            found.append(work - plain - forgiven)
    return min(found)


@experiment(
    "rematerialization.least_rerun",
    part=least,
    mutants={
        "half of what is kept overlooked": lambda rows, columns, room: least(rows, columns, room, share=2),
        "one branch runs again for nothing": lambda rows, columns, room: least(rows, columns, room, free=1),
        "nothing runs again": lambda rows, columns, room: least(rows, columns, room, share=1 << 30),
    },
    how="every set of branches run, storages and work counted",
)
def least_rerun(part: Least, draws: Draws) -> Iterator[Evidence]:
    """Three and four branches of drawn sizes under torch.utils.checkpoint; room for none, for all, and between."""
    for count in (3, 4):
        rows, columns = draws.integers(2, 12, count), draws.integers(1, 9, count)
        sizes, costs = [_ELEMENT * m for m in rows], [2 * m * k for m, k in zip(rows, columns, strict=True)]
        for room in (0, sizes[0], sum(sizes[:2]), sum(sizes) // 2, sum(sizes) - 1, sum(sizes)):
            arguments = {"sizes": sizes, "costs": costs, "room": room}
            yield held("rematerialization.least_rerun", arguments, part(rows, columns, room), relation=Relation.AT_LEAST)
