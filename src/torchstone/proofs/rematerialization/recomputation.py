"""Counts of layers that really run again and of loads that really happen."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.laws.rematerialization import nested
from torchstone.laws.rematerialization.chain import Layer, Parts, Segment
from torchstone.laws.rematerialization.recomputation import REUSES
from torchstone.parts.rematerialization import Counted, backward_from_kept
from torchstone.parts.rematerialization.executing import Chained
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Count = Callable[[int, int, str], tuple[int, int]]


def layer(weight: Tensor) -> Counted:
    """W x²: its backward pass, 2 x Wᵀg, needs its input alone."""
    return Counted(lambda x: weight @ x.square(), lambda x, gradient: 2 * x * (weight.T @ gradient))


def counted(layers: int, spacing: int, reuse: str) -> tuple[int, int]:
    """Forwards run again and loads, of a network that runs; of "graph" by torch.utils.checkpoint itself."""
    weights = torch.eye(2, dtype=torch.float64).expand(layers, 2, 2) / 2
    x = torch.ones(2, dtype=torch.float64)
    _, forwards, loads = backward_from_kept([layer(weight) for weight in weights], x, x, spacing, reuse)
    if reuse == "graph":
        ends = range(0, layers, spacing)
        forwards = rerun(tuple(Segment(start, min(start + spacing, layers), again=True) for start in ends), layers)
    return forwards, loads


class _Called(nn.Module):
    """A layer of a network for torch.utils.checkpoint, which counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Saves its input, and so has a graph."""
        self.calls += 1
        return x.square()


def rerun(parts: Parts, layers: int) -> int:
    """Layer calls of a forward and a backward pass by a schedule beyond one for each layer, under torch.utils.checkpoint."""
    modules = [_Called() for _ in range(layers)]
    chain = Chained([[module] for module in modules], parts, ())
    torch.autograd.backward(chain(torch.ones(1, requires_grad=True)).sum())
    return sum(module.calls for module in modules) - layers


def _networks(draws: Draws) -> Iterator[tuple[int, int, str]]:
    """The document's network first, then others, every reuse."""
    sizes = [(10, 5), *zip(draws.integers(1, 12, 5), draws.integers(1, 6, 5), strict=True)]
    yield from ((layers, spacing, reuse) for layers, spacing in sizes for reuse in REUSES)


def _off(place: int, by: Callable[[int], int]) -> Count:
    """Counts of which one is wrong."""

    def part(layers: int, spacing: int, reuse: str) -> tuple[int, int]:
        found = list(counted(layers, spacing, reuse))
        found[place] = by(found[place])
        return found[0], found[1]

    return part


@experiment(
    "rematerialization.recomputed_forwards",
    part=counted,
    mutants={
        "the first forward counts too": lambda n, k, reuse: (counted(n, k, reuse)[0] + n, 0),
        "one more is kept": lambda n, k, reuse: counted(n, k + 1, reuse),
        "the segment always stays": lambda n, k, reuse: counted(n, k, "segment" if reuse == "nothing" else reuse),
        "every segment drops what it ran": lambda n, k, _: counted(n, k, "nothing"),
    },
    how="exact, layer calls counted, torch's checkpoint too",
)
def recomputed_forwards(part: Count, draws: Draws) -> Iterator[Evidence]:
    """The document's network (10 layers, every 5th), and up to 12 layers with spacings to 6."""
    for layers, spacing, reuse in _networks(draws):
        arguments = {"layers": layers, "spacing": spacing, "reuse": reuse}
        yield held("rematerialization.recomputed_forwards", arguments, part(layers, spacing, reuse)[0])


@experiment(
    "rematerialization.loads",
    part=counted,
    mutants={
        "one load a layer always": lambda n, k, _: counted(n, k, "nothing"),
        "the input is not loaded": _off(1, lambda loads: loads - 1),
        "one load a segment always": lambda n, k, _: counted(n, k, "segment"),
    },
    how="exact, reads counted",
)
def loads(part: Count, draws: Draws) -> Iterator[Evidence]:
    """The same networks."""
    for layers, spacing, reuse in _networks(draws):
        arguments = {"layers": layers, "spacing": spacing, "reuse": reuse}
        yield held("rematerialization.loads", arguments, part(layers, spacing, reuse)[1])


def break_even(layers: int, spacing: int, reuse: str, seconds: tuple[float, float], count: Count = counted) -> float:
    """The seconds of a disk load at which both ways take as long, found by bisection on the counts of two runs.

    `seconds`: of a forward and of a load from memory.
    """
    again, read = count(layers, spacing, reuse)
    ours = again * seconds[0] + read * seconds[1]
    theirs = count(layers, 1, "segment")[1]  # everything kept is spacing 1: nothing runs again, every layer loads its input
    low, high = 0.0, ours + sum(seconds)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if theirs * middle < ours else (low, middle)
    return (low + high) / 2


@experiment(
    "rematerialization.break_even_load",
    part=break_even,
    mutants={
        "one load fewer": partial(break_even, count=_off(1, lambda loads: max(1, loads - 1))),
        "one layer too many runs again": partial(break_even, count=_off(0, lambda forwards: forwards + 1)),
        "the first forward counts too": partial(
            break_even, count=lambda n, k, reuse: (counted(n, k, reuse)[0] + n, counted(n, k, reuse)[1])
        ),
    },
    how="bisection on counts of running networks",
)
def break_even_load(part: Callable[..., float], draws: Draws) -> Iterator[Evidence]:
    """20 ns and 10 ns for the document's network, drawn seconds for others."""
    for number, (layers, spacing, reuse) in enumerate(_networks(draws)):
        forward, load = (20e-9, 10e-9) if number < len(REUSES) else draws.uniform(0, 1, 2).tolist()
        arguments = {"layers": layers, "spacing": spacing, "forward": forward, "load": load, "reuse": reuse}
        found = part(layers, spacing, reuse, (forward, load))
        yield held("rematerialization.break_even_load", arguments, found, rounding(32, layers**2 * (forward + load)))


def revolve(layers: int, checkpoints: int, solver: Callable[..., Parts | None] = nested.optimum) -> int:
    """Calls beyond one a layer of the schedule that the planner finds for so many borders, run nested by torch.utils.checkpoint."""
    graph = 1000
    parts = solver([Layer("layer", 1, 0, graph, graph, 0, graph)] * layers, checkpoints + graph)
    return -1 if parts is None else rerun(parts, layers)


def _sequential(layers: Sequence[Any], budget: int) -> Parts:
    """Every layer run again from the first one: what needs no border but the input's."""
    del budget
    parts: tuple[Segment, ...] = ()
    for stop in range(1, len(layers) + 1):
        parts = (Segment(0, stop - 1, again=True, parts=parts), Segment(stop - 1, stop)) if stop > 1 else (Segment(0, 1),)
    return parts


@experiment(
    "rematerialization.revolve_forwards",
    part=revolve,
    mutants={
        "one border more": lambda n, c: revolve(n, c + 1),
        "the input alone kept": lambda n, c: revolve(n, c, _sequential),
        "the last layer runs again too": lambda n, c: revolve(n, c) + 1,
    },
    how="exact, calls counted under nested torch checkpoints",
)
def revolve_forwards(part: Callable[[int, int], int], draws: Draws) -> Iterator[Evidence]:
    """1 to 14 layers, 1 to 5 borders: the planner's dynamic program against the binomial form, run."""
    cases = [(7, 1), (10, 3), *zip(draws.integers(1, 14, 6), draws.integers(2, 5, 6), strict=True)]
    for layers, checkpoints in cases:
        yield held("rematerialization.revolve_forwards", {"layers": layers, "checkpoints": checkpoints}, part(layers, checkpoints))
