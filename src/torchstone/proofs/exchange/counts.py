"""Messages and numbers of every scheme, counted while its code runs on real tensors."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence, Relation
from torchstone.laws.exchange.network import Network
from torchstone.laws.exchange.schedule import Step, schedule, without_empty
from torchstone.laws.exchange.scheme import Scheme, start
from torchstone.parts.exchange.running import Exchanged, in_process
from torchstone.proofs.draws import Draws
from torchstone.proofs.exchange.breaking import broken, no_gathering, no_last_step, numbers_lost, sent_twice, server_for_all
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

Part = Callable[..., Exchanged]
HOW = "exact: counted while running, n up to 9"
_LOST = partial(in_process, schedule=numbers_lost)
_BROKEN: dict[str, Part] = {
    "a ring without its last step": broken(no_last_step, Scheme.RING),
    "every message twice": broken(sent_twice),
    "what n does not divide is left out": _LOST,
    "a server for every scheme": partial(in_process, schedule=server_for_all),
}


def cases(draws: Draws) -> Iterator[tuple[Scheme, int, int]]:
    """Scheme, workers and parameters: one worker, more workers than parameters, powers of two, sizes that do not divide."""
    for scheme in Scheme:
        for workers in (1, 2, 3, 4, draws.integer(5, 9)):
            yield scheme, workers, draws.integer(1, 2 * workers)
            yield scheme, workers, draws.integer(2 * workers, 60)


def buffers(scheme: Scheme, workers: int, parameters: int, draws: Draws | None = None) -> Tensor:
    """A row for each node: n workers, and before them a server where it is a node of its own."""
    nodes = workers + (scheme is Scheme.SEPARATE_SERVER)
    return draws.normal(nodes, parameters) if draws else torch.ones(nodes, parameters)


def _counting(name: str, count: Callable[[Exchanged], Any]) -> Callable[[Part, Draws], Iterator[Evidence]]:
    def run(part: Part, draws: Draws) -> Iterator[Evidence]:
        for scheme, workers, parameters in cases(draws):
            ran = part(scheme, buffers(scheme, workers, parameters))
            yield held(name, {"scheme": scheme.value, "workers": workers, "parameters": parameters}, count(ran))

    return run


def _sizes(part: Callable[..., Iterator[Step]], scheme: Scheme, workers: int, parameters: int) -> tuple[int, int]:
    """The least and the most numbers of a message, read off what is sent."""
    sizes: list[int] = []

    def seen(kind: Scheme, rank: int, ranks: int, numbers: int) -> Iterator[Step]:
        for step in part(kind, rank, ranks, numbers):
            sizes.extend(one.stop - one.start for one in step.sends)
            yield step

    in_process(scheme, buffers(scheme, workers, parameters), schedule=seen)
    return min(sizes, default=0), max(sizes, default=0)


experiment("exchange.messages", part=in_process, mutants=_BROKEN, how=HOW)(_counting("exchange.messages", lambda ran: ran.messages))
experiment("exchange.volume", part=in_process, mutants=_BROKEN, how=HOW)(_counting("exchange.volume", lambda ran: ran.numbers))
experiment("exchange.busiest_volume", part=in_process, mutants=_BROKEN, how=HOW)(
    _counting("exchange.busiest_volume", lambda ran: ran.busiest)
)


def _one_large_part(scheme: Scheme, rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Parts of a ring cut wrongly: all that n does not divide goes to the last."""
    cut = {start(index, ranks, parameters): index * (parameters // ranks) for index in range(ranks)} | {parameters: parameters}
    for step in schedule(scheme, rank, ranks, parameters):
        sends = (one._replace(start=cut.get(one.start, one.start), stop=cut.get(one.stop, one.stop)) for one in step.sends)
        receives = (one._replace(start=cut.get(one.start, one.start), stop=cut.get(one.stop, one.stop)) for one in step.receives)
        yield from without_empty(iter([Step(tuple(sends), tuple(receives))]))


@experiment(
    "exchange.message_sizes",
    part=schedule,
    mutants={"the last part takes what n does not divide": _one_large_part, "a server for every scheme": server_for_all},
    how=HOW,
)
def message_sizes(part: Callable[..., Iterator[Step]], draws: Draws) -> Iterator[Evidence]:
    """Sizes of the messages that real tensors are sent in."""
    for scheme, workers, parameters in cases(draws):
        arguments = {"scheme": scheme.value, "workers": workers, "parameters": parameters}
        yield held("exchange.message_sizes", arguments, _sizes(part, scheme, workers, parameters))


@experiment(
    "exchange.steps",
    part=in_process,
    mutants={
        "every message twice": broken(sent_twice), "sums not gathered": broken(no_gathering, Scheme.RING),
        "a server for every scheme": partial(in_process, schedule=server_for_all),
    },
    how="exact: a clock that counts messages in sequence",
)  # fmt: skip
def steps(part: Part, draws: Draws) -> Iterator[Evidence]:
    """On a network on which every message takes 1 second, whatever its size."""
    for scheme, workers, parameters in cases(draws):
        ran = part(scheme, buffers(scheme, workers, parameters), network=Network(latency=1.0))
        yield held("exchange.steps", {"scheme": scheme.value, "workers": workers}, max(ran.seconds))


@experiment(
    "exchange.least_volume",
    part=in_process,
    mutants={"sums not gathered": broken(no_gathering, Scheme.RING), "what n does not divide is left out": _LOST},
    how="exact: every scheme here, n up to 9",
)
def least_volume(part: Part, draws: Draws) -> Iterator[Evidence]:
    """No scheme of ours sends less; that none can is the theorem cited."""
    for scheme, workers, parameters in cases(draws):
        if scheme.whole and scheme is not Scheme.SEPARATE_SERVER:
            ran = part(scheme, buffers(scheme, workers, parameters))
            arguments = {"workers": workers, "parameters": parameters}
            yield held("exchange.least_volume", arguments, ran.busiest, relation=Relation.AT_LEAST)
