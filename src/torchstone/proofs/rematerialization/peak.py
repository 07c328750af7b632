"""Peaks of checkpointed networks that run, their storages counted."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence, Relation
from torchstone.laws.rematerialization.chain import Parts, Segment, from_sizes
from torchstone.laws.rematerialization.peak import even
from torchstone.parts.rematerialization import Meter
from torchstone.parts.rematerialization.executing import Chained
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

Peak = Callable[[Sequence[int], int, int], int]
_ELEMENT = 8


class _Block(nn.Module):
    """x plus the sum of `width` sines of it: saves its input (a bytes) and as much for every sine."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; each product saves what it multiplies."""
        for _ in range(self.width):
            x = x.sin()
        return x


def measured(sizes: Sequence[int], width: int, numbers: int, schedule: Callable[[Sequence[int]], Parts] = from_sizes) -> int:
    """The most bytes at once, of a forward and a backward pass with segments of these sizes."""
    chain = Chained([[_Block(width)] for _ in range(sum(sizes))], schedule(sizes), ())
    with Meter() as meter:
        x = torch.ones(numbers, dtype=torch.float64, requires_grad=True)
        total = (2 * chain(x)).sum()  # a product: its gradient is a dense tensor, as every inner one is
        torch.autograd.backward(total)
    return int(meter.peak())


@cache
def work(width: int, numbers: int) -> int:
    """The constant w, from the smallest network: one layer alone."""
    return measured([1], width, numbers) - width * numbers * _ELEMENT


def _all_again(sizes: Sequence[int]) -> Parts:
    return tuple(Segment(part.first, part.stop, again=True) for part in from_sizes(sizes))


def _none_again(sizes: Sequence[int]) -> Parts:
    return (Segment(0, sum(sizes)),)


@experiment(
    "rematerialization.segment_peak",
    part=measured,
    mutants={
        "nothing runs again": lambda sizes, width, n: measured(sizes, width, n, _none_again),
        "segments the other way round": lambda sizes, width, n: measured(sizes[::-1], width, n),
        "one segment fewer": lambda sizes, width, n: measured([sum(sizes[:2]), *sizes[2:]], width, n),
        "borders not kept apart": lambda sizes, width, n: measured([1] * sum(sizes), width, n),
    },
    how="storages counted while it runs; w from one layer",
)
def segment_peak(part: Peak, draws: Draws) -> Iterator[Evidence]:
    """Even and drawn divisions of networks of 4 to 16 layers; a layer saves 1 to 5 times its border."""
    for _ in range(6):
        width, numbers = draws.integer(2, 5), 8 * draws.integer(8, 16)
        sizes = draws.integers(1, 5, draws.integer(2, 5))
        for chosen in (sizes, even(sum(sizes), 2), [1] * 4):
            boundary, saved = numbers * _ELEMENT, width * numbers * _ELEMENT
            arguments = {"sizes": chosen, "boundary": boundary, "saved": saved, "work": work(width, numbers)}
            yield held("rematerialization.segment_peak", arguments, part(chosen, width, numbers))


def best_peak(layers: int, width: int, numbers: int, *, uneven: bool) -> int:
    """The least of all divisions' peaks, less the constant w; each of them run."""
    choices = _divisions(layers) if uneven else [[size] * (layers // size) for size in range(1, layers + 1) if layers % size == 0]
    return min(measured(sizes, width, numbers) for sizes in choices) - work(width, numbers)


def _divisions(layers: int) -> list[list[int]]:
    """Every division of so few layers into segments."""
    if layers == 0:
        return [[]]
    return [[size, *rest] for size in range(1, layers + 1) for rest in _divisions(layers - size)]


def _without_first(layers: int, width: int, numbers: int, *, uneven: bool) -> int:
    """A meter that overlooks the borders: each segment on its own."""
    del uneven
    return min(width * numbers * _ELEMENT * size for size in range(1, layers + 1))


Best = Callable[..., int]


@experiment(
    "rematerialization.equal_split_bound",
    part=best_peak,
    mutants={
        "borders overlooked": _without_first,
        "uneven segments": lambda layers, width, numbers, **_: best_peak(layers, width, numbers, uneven=True) // 2,
        "half of what is saved": lambda layers, width, numbers, uneven: best_peak(layers, width, numbers, uneven=uneven) // 2,
    },
    how="every equal division run, storages counted",
)
def equal_split_bound(part: Best, draws: Draws) -> Iterator[Evidence]:
    """All divisions of 4 to 12 layers into equal segments."""
    yield from _bounds("rematerialization.equal_split_bound", part, [(n, draws.integer(1, 4)) for n in (4, 6, 8, 12)], uneven=False)


@experiment(
    "rematerialization.uneven_split_bound",
    part=best_peak,
    mutants={
        "borders overlooked": _without_first,
        "half of what is saved": lambda layers, width, numbers, uneven: best_peak(layers, width, numbers, uneven=uneven) // 2,
    },
    how="every division run, storages counted",
)
def uneven_split_bound(part: Best, draws: Draws) -> Iterator[Evidence]:
    """All divisions of 3 to 6 layers."""
    yield from _bounds("rematerialization.uneven_split_bound", part, [(n, draws.integer(1, 4)) for n in (3, 4, 6)], uneven=True)


def _bounds(name: str, part: Best, cases: Sequence[tuple[int, int]], *, uneven: bool) -> Iterator[Evidence]:
    numbers = 64
    for layers, width in cases:
        arguments = {"layers": layers, "boundary": numbers * _ELEMENT, "saved": width * numbers * _ELEMENT}
        yield held(name, arguments, part(layers, width, numbers, uneven=uneven), relation=Relation.AT_LEAST)
