"""D8: messages of gradient exchange between n workers, counted on real processes and, for many workers, on a simulated network."""

from collections.abc import Iterator
from functools import cache

import torch

from torchstone import solve
from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Posted
from torchstone.core.quantity import Quantity, Unit
from torchstone.laws.exchange import Scheme, counts
from torchstone.parts.exchange import ExchangeError, in_process
from torchstone.parts.exchange.processes import Counted, Job, count
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import SITE, compared

SCHEMES = (Scheme.ALL_TO_ALL, Scheme.PARAMETER_SERVER, Scheme.SEPARATE_SERVER, Scheme.RING)
WORKERS, PARAMETERS = (2, 3, 4), 12_000
MANY = (16, 64)
_MESSAGES, _SIZES, _BUSIEST = "exchange.messages", "exchange.message_sizes", "exchange.busiest_volume"


@cache
def counted() -> tuple[Counted, ...] | str:
    """What torch's profiler saw real processes send, once a process; or why none could be started."""
    try:
        return count([Job(scheme, workers, PARAMETERS) for workers in WORKERS for scheme in SCHEMES])
    except ExchangeError as error:
        return str(error)


def _held(found: tuple[Counted, ...] | str) -> Iterator[Evidence]:
    """Messages and the largest of them on real processes; undecided where there are none."""
    for scheme in SCHEMES if isinstance(found, str) else ():
        predicted = Quantity(counts.messages(scheme, WORKERS[-1], PARAMETERS), Unit.COUNT)
        yield Evidence(_MESSAGES, SITE, predicted, None, how=f"real processes: {scheme.words}", reason=str(found))
    for one in () if isinstance(found, str) else found:
        job, scheme = one.job, Scheme(one.job.scheme)
        how = f"torch's profiler on {job.nodes} real processes: {scheme.words}, {job.workers} workers"
        yield compared(_MESSAGES, counts.messages(scheme, job.workers, job.parameters), one.messages, how=how)
        largest = counts.message_sizes(scheme, job.workers, job.parameters)[1]
        yield compared(_SIZES, largest, one.message_sizes[1], how=f"{how}, the largest message")


def _simulated() -> Iterator[Evidence]:
    """The same code between the buffers of one process, for more workers than there are cores."""
    for workers in MANY:
        for scheme in SCHEMES:
            nodes = workers + (scheme is Scheme.SEPARATE_SERVER)
            ran = in_process(scheme, torch.ones(nodes, 2 * workers))
            how = f"the same code on a simulated network: {scheme.words}, {workers} workers"
            yield compared(_MESSAGES, counts.messages(scheme, workers, 2 * workers), ran.messages, how=how)


def _seen(found: tuple[Counted, ...] | str, scheme: Scheme) -> str:
    if isinstance(found, str):
        return "not counted"
    return ", ".join(str(one.messages) for one in found if one.job.scheme == scheme)


@answers("D8")
def exchange(_: Posted) -> Answer:
    """Counts by scheme, and what they are good for."""
    found = counted()
    thousands = solve.all_reduce(64, 10**9, schemes=("all_to_all", "parameter_server", "ring"))
    spent = {row.scheme: row for row in thousands.rows}
    one = {scheme: f"{spent[scheme].busiest_bytes / 1e9:.4g} GB" for scheme in spent}
    numbers, least = ", ".join(map(str, WORKERS)), f"{thousands.least_bytes / 1e9:.4g} GB"
    own = f"2(n-1) where the server is one of the workers ({_seen(found, Scheme.PARAMETER_SERVER)})"
    return Answer(
        says=(
            f"all-to-all: n(n-1) messages of p numbers (n = {numbers}: {_seen(found, Scheme.ALL_TO_ALL)} counted)",
            f"parameter server: 2n messages of p numbers ({_seen(found, Scheme.SEPARATE_SERVER)}); {own}",
            f"ring all-reduce: n·2(n-1) messages of p/n numbers ({_seen(found, Scheme.RING)})",
            f"n = 64, 1e9 float32: the busiest sends {one[Scheme.ALL_TO_ALL]} in all-to-all,",
            f"    {one[Scheme.PARAMETER_SERVER]} as a server, {one[Scheme.RING]} in a ring; the least possible: {least}",
        ),
        derivation=(
            "all-to-all: each of n workers sends its gradient to n - 1 others and adds what comes",
            "server: n gradients in, n sums out; a server that is a worker sends itself none, so n - 1 in and n - 1 out",
            "ring: p is cut into n parts; each worker sends a part a step: n - 1 steps add up (reduce-scatter), n - 1 hand sums on",
            "numbers in all: n(n-1)p, 2np or 2(n-1)p, in a ring n·2(n-1)·p/n = 2(n-1)p: as many as by a server, evenly spread",
            "bound: each number is joined n - 1 times and handed on n - 1 times, so 2(n-1)p in all, 2(n-1)/n p for the busiest",
        ),
        evidence=(
            *proved(_MESSAGES, "exchange.volume", _SIZES, _BUSIEST, "exchange.least_volume", "exchange.average"),
            *_held(found), *_simulated(),
        ),
        remarks=(
            "where n does not divide p a ring's parts differ by one number; where p < n empty messages fall away: 2p(n-1)",
            "a ring's 2(n-1) steps grow with n: for small buffers their latency loses; see `torchstone solve exchange`",
        ),
    )  # fmt: skip
