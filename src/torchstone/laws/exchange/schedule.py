"""Each scheme as a schedule: for one rank, the steps in which it sends ranges of its buffer and receives others.

A schedule knows only numbers: what runs it moves tensors between processes, between buffers of one process, or nothing but time.
Letters: n workers, p numbers in each buffer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torchstone.laws.exchange.scheme import Scheme, folded, levels, part, start


class Send(NamedTuple):
    """The range [start, stop) of the own buffer goes to a peer."""

    peer: int
    start: int
    stop: int


class Receive(NamedTuple):
    """A peer's range [start, stop) arrives: it is added to the own one, or replaces it."""

    peer: int
    start: int
    stop: int
    adds: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Messages that are on their way together; the next step begins when all of them are done."""

    sends: tuple[Send, ...] = ()
    receives: tuple[Receive, ...] = ()


Schedule = Callable[[int, int, int], Iterator[Step]]


def schedule(scheme: Scheme, rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """The steps of a rank. Ranges without numbers are no messages: they are left out, and so are steps without messages.

    With a separate server, rank 0 is the server, and its own numbers count for nothing.

    >>> [len(list(schedule(Scheme.RING, rank, 3, 7))) for rank in range(3)]
    [4, 4, 4]
    >>> next(schedule(Scheme.TREE, 1, 2, 7))
    Step(sends=(Send(peer=0, start=0, stop=7),), receives=())
    """
    return without_empty(_SCHEDULES[scheme](rank, ranks, parameters))


def without_empty(steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps without messages of no numbers."""
    for step in steps:
        sends = tuple(one for one in step.sends if one.start < one.stop)
        receives = tuple(one for one in step.receives if one.start < one.stop)
        if sends or receives:
            yield Step(sends, receives)


def all_to_all(rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Everyone sends all it has to everyone, in one step, beginning with its neighbour."""
    others = [(rank + offset) % ranks for offset in range(1, ranks)]
    sends = tuple(Send(peer, 0, parameters) for peer in others)
    yield Step(sends, tuple(Receive(peer, 0, parameters, adds=True) for peer in others))


def parameter_server(rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Everyone sends to worker 0, which adds and sends the sum back."""
    others = range(1, ranks)
    if rank:
        yield Step(sends=(Send(0, 0, parameters),))
        yield Step(receives=(Receive(0, 0, parameters, adds=False),))
    else:
        yield Step(receives=tuple(Receive(peer, 0, parameters, adds=True) for peer in others))
        yield Step(sends=tuple(Send(peer, 0, parameters) for peer in others))


def separate_server(rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """The same with a server that has no numbers of its own: what comes first replaces them."""
    for step in parameter_server(rank, ranks, parameters):
        yield Step(step.sends, tuple(one._replace(adds=one.adds and one.peer > 1) for one in step.receives))


def tree(rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """A binomial tree: in round k whoever has bit k as its lowest sends to the one without it; then sums go the same way back."""
    lowest = (rank & -rank).bit_length() - 1 if rank else levels(ranks)
    children = [rank + (1 << bit) for bit in range(lowest) if rank + (1 << bit) < ranks]
    for child in children:
        yield Step(receives=(Receive(child, 0, parameters, adds=True),))
    if rank:
        parent = rank & (rank - 1)
        yield Step(sends=(Send(parent, 0, parameters),))
        yield Step(receives=(Receive(parent, 0, parameters, adds=False),))
    for child in reversed(children):
        yield Step(sends=(Send(child, 0, parameters),))


def reduce_scatter(rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Partial sums go round a ring: after n - 1 steps rank r has the sum of part r."""
    for step in range(ranks - 1):
        sent = part((rank - 1 - step) % ranks, ranks, parameters)
        came = part((rank - 2 - step) % ranks, ranks, parameters)
        yield _around(rank, ranks, sent, came, adds=True)


def all_gather(rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Rank r's part r goes round a ring: after n - 1 steps everyone has every part."""
    for step in range(ranks - 1):
        sent = part((rank - step) % ranks, ranks, parameters)
        came = part((rank - 1 - step) % ranks, ranks, parameters)
        yield _around(rank, ranks, sent, came, adds=False)


def _around(rank: int, ranks: int, sent: tuple[int, int], came: tuple[int, int], *, adds: bool) -> Step:
    return Step((Send((rank + 1) % ranks, *sent),), (Receive((rank - 1) % ranks, *came, adds=adds),))


def ring(rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Reduce-scatter, then all-gather."""
    yield from reduce_scatter(rank, ranks, parameters)
    yield from all_gather(rank, ranks, parameters)


def halving_doubling(rank: int, ranks: int, parameters: int) -> Iterator[Step]:
    """Partners at distance m/2, m/4, ... swap halves of what they still sum; then double it back the same way.

    Workers beyond the largest power of two m give their buffer to a neighbour first and get the sum last.
    """
    power, extra = folded(ranks)
    if rank < 2 * extra and rank % 2:
        yield Step(sends=(Send(rank - 1, 0, parameters),))
        yield Step(receives=(Receive(rank - 1, 0, parameters, adds=False),))
        return
    if rank < 2 * extra:
        yield Step(receives=(Receive(rank + 1, 0, parameters, adds=True),))
    place = rank // 2 if rank < 2 * extra else rank - extra
    swaps = [_halves(place, bit, power, extra, parameters) for bit in reversed(range(power))]
    for partner, kept, given in swaps:
        yield Step((Send(partner, *given),), (Receive(partner, *kept, adds=True),))
    for partner, kept, given in reversed(swaps):
        yield Step((Send(partner, *kept),), (Receive(partner, *given, adds=False),))
    if rank < 2 * extra:
        yield Step(sends=(Send(rank + 1, 0, parameters),))


def _halves(place: int, bit: int, power: int, extra: int, parameters: int) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """The partner's rank at a distance of 2^bit places, the half that is kept and the one that is given away."""
    other = place ^ (1 << bit)
    partner = 2 * other if other < extra else other + extra

    def half(of: int) -> tuple[int, int]:
        first = of >> bit << bit
        return start(first, 1 << power, parameters), start(first + (1 << bit), 1 << power, parameters)

    return partner, half(place), half(other)


_SCHEDULES: dict[Scheme, Schedule] = {
    Scheme.ALL_TO_ALL: all_to_all,
    Scheme.PARAMETER_SERVER: parameter_server,
    Scheme.SEPARATE_SERVER: separate_server,
    Scheme.TREE: tree,
    Scheme.RING: ring,
    Scheme.HALVING_DOUBLING: halving_doubling,
    Scheme.REDUCE_SCATTER: reduce_scatter,
    Scheme.ALL_GATHER: all_gather,
}
