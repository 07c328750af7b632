"""What every scheme leaves on every worker, and when it is done."""

from collections.abc import Callable, Iterator
from functools import partial, reduce

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.laws.exchange.network import Network
from torchstone.laws.exchange.scheme import Scheme
from torchstone.parts.exchange.running import Exchanged, in_process
from torchstone.proofs.draws import Draws
from torchstone.proofs.exchange.breaking import (
    added_last,
    broken,
    copied_first,
    no_gathering,
    no_last_step,
    numbers_lost,
    sent_twice,
    server_for_all,
)
from torchstone.proofs.exchange.counts import buffers, cases
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Part = Callable[..., Exchanged]


def _undivided(scheme: str, rows: Tensor) -> Exchanged:
    return in_process(scheme, rows, "sum")


def _own_order(scheme: str, rows: Tensor) -> Exchanged:
    """Everyone adds to its own numbers what comes, in the order in which it comes."""
    ran = in_process(scheme, rows)
    sums = [reduce(torch.add, torch.roll(rows / len(rows), -rank, 0)) for rank in range(len(rows))]
    return Exchanged(torch.stack(sums), ran.traffic, ran.seconds) if scheme == Scheme.ALL_TO_ALL else ran


@experiment(
    "exchange.average",
    part=in_process,
    mutants={
        "a ring without its last step": broken(no_last_step, Scheme.RING),
        "every message twice": broken(sent_twice),
        "what n does not divide is left out": partial(in_process, schedule=numbers_lost),
        "sums that replace": broken(copied_first),
        "a tree's results added": broken(added_last, Scheme.TREE),
        "not divided by n": _undivided,
    },
)
def average(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Every all-reduce, from one worker to nine, p smaller and larger than n."""
    for scheme, workers, parameters in cases(draws):
        if scheme.whole:
            rows = buffers(scheme, workers, parameters, draws)
            apart = scheme is Scheme.SEPARATE_SERVER
            found = part(scheme, rows).rows[apart:]
            given = {"buffers": rows[apart:].tolist()}
            yield held("exchange.average", given, found, rounding(2 * workers, rows.abs().max().item()))


@experiment(
    "exchange.distinct_results",
    part=in_process,
    mutants={
        "all-to-all, each adding in its own order": _own_order,
        "a ring without its last step": broken(no_last_step, Scheme.RING),
        "sums not gathered": broken(no_gathering, Scheme.RING),
    },
    how="exact: bits of float32 compared",
)
def distinct_results(part: Part, draws: Draws) -> Iterator[Evidence]:
    """In float32, where the order of adding shows."""
    for scheme, workers, parameters in cases(draws):
        if scheme.whole:
            rows = 100 * buffers(scheme, workers, parameters, draws).float()
            found = torch.unique(part(scheme, rows).rows.view(torch.int32), dim=0)
            yield held("exchange.distinct_results", {"workers": workers}, len(found))


@experiment(
    "exchange.seconds",
    part=in_process,
    mutants={
        "every message twice": broken(sent_twice),
        "sums not gathered": broken(no_gathering, Scheme.RING),
        "a server for every scheme": partial(in_process, schedule=server_for_all),
        "no latency": lambda scheme, rows, network: in_process(scheme, rows, network=Network(0.0, network.per_number)),
    },
    how="float64: a clock beside every message",
)
def seconds(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Each message starts when both ends are ready; messages of one step share the ports that they pass."""
    for scheme, workers, parameters in cases(draws):
        latency, per_number = draws.uniform(0.0, 1.0, 2).tolist()
        ran = part(scheme, buffers(scheme, workers, parameters), network=Network(latency, per_number))
        given = {"scheme": scheme.value, "workers": workers, "parameters": parameters}
        taken = max(ran.seconds)
        tolerance = rounding(4 * workers, max(1.0, taken))
        yield held("exchange.seconds", {**given, "latency": latency, "per_number": per_number}, taken, tolerance)
