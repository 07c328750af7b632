"""An exchange of up to a million workers, some of them late or slow, on the clock of the cost model.

The model is that of `laws.exchange.network`, event by event; here each scheme's own recurrence is solved, in closed form where it
has one. Letters: n workers, p numbers, alpha the latency, beta the seconds a number takes.
"""

from dataclasses import dataclass
from itertools import accumulate

from torchstone.core.errors import UsageError
from torchstone.laws.exchange import cost, counts
from torchstone.laws.exchange.network import Network
from torchstone.laws.exchange.scheme import Scheme, folded, levels, scheme_named, start

LARGEST = 1_000_000
_PAIRS = 1_000_000


@dataclass(frozen=True, slots=True)
class Simulated:
    """When the last worker is done. If not `exact`, the time is an upper bound, for the reason given."""

    seconds: float
    exact: bool = True
    reason: str = ""


def simulate(scheme: str, workers: int, parameters: int, network: Network) -> Simulated:
    """The seconds from the first worker's beginning to the last one's end; `network` says who is late and who is slow.

    With a separate server, rank 0 is the server, ranks 1 to n the workers. Exact in the model but where `exact` says otherwise: a
    ring with stragglers whose parts differ by a number, or with too many that are late and slow. Raises UsageError for ranks that
    are not there, and for more than a million workers with stragglers.

    >>> slowed = simulate("ring", 100_000, 10**9, Network(1e-5, 4e-10, slow={7: 2.0}))
    >>> slowed.seconds / cost.seconds("ring", 100_000, 10**9, 1e-5, 4e-10)
    2.0
    """
    kind = scheme_named(scheme)
    ranks = workers + (kind is Scheme.SEPARATE_SERVER)
    _there(network, ranks)
    even = cost.seconds(kind, workers, parameters, network.latency, network.per_number)
    if not (network.late or network.slow) or ranks == 1:
        return Simulated(even + max(network.late.values(), default=0.0))
    if workers > LARGEST:
        message = f"with stragglers {LARGEST:,} workers are simulated at most; {workers:,} came: leave the stragglers out"
        raise UsageError(message)
    if kind is Scheme.ALL_TO_ALL:
        return Simulated(_latest(network) + _slowest(network) * even)
    if kind in {Scheme.PARAMETER_SERVER, Scheme.SEPARATE_SERVER}:
        return Simulated(_served(network, ranks, even / 2))
    if kind is Scheme.TREE:
        return Simulated(_tree(network, workers, parameters))
    if kind is Scheme.HALVING_DOUBLING:
        return Simulated(_halved(network, workers, parameters))
    return _ring(network, counts.steps(kind, workers), workers, parameters)


def _there(network: Network, ranks: int) -> None:
    for what, given in (("late", network.late), ("slow", network.slow)):
        for rank, amount in given.items():
            least = 0.0 if what == "late" else 1.0
            if not 0 <= rank < ranks or not least <= amount < float("inf"):
                message = f"{what} workers are ranks 0 to {ranks - 1} with {least:g} or more; {rank}: {amount} came"
                raise UsageError(message)


def _latest(network: Network) -> float:
    return max(network.late.values(), default=0.0)


def _slowest(network: Network) -> float:
    return max(network.slow.values(), default=1.0)


def _served(network: Network, ranks: int, each_way: float) -> float:
    """The server waits for the last that comes, and the slowest is the last to get it back."""
    ordinary = next((rank for rank in range(1, ranks) if rank not in network.late and rank not in network.slow), None)
    others = {*network.late, *network.slow, *(() if ordinary is None else (ordinary,))} - {0}
    own, late = network.slow.get(0, 1.0), network.late.get(0, 0.0)
    paces = {rank: max(own, network.slow.get(rank, 1.0)) for rank in others}
    come = max(max(late, network.late.get(rank, 0.0)) + paces[rank] * each_way for rank in others)
    return come + max(paces.values()) * each_way


def _tree(network: Network, workers: int, parameters: int) -> float:
    """Every message of the tree once, level by level, up and down."""
    ready = [network.late.get(rank, 0.0) for rank in range(workers)]
    bits = range(levels(workers))
    for bit in (*bits, *reversed(bits)):
        for child in range(1 << bit, workers, 2 << bit):
            _meet(ready, child - (1 << bit), child, network, parameters)
    return max(ready)


def _halved(network: Network, workers: int, parameters: int) -> float:
    """Every swap once, level by level; workers beyond the power of two before and after."""
    power, extra = folded(workers)
    ready = [network.late.get(rank, 0.0) for rank in range(workers)]
    ranks = [2 * place if place < extra else place + extra for place in range(1 << power)]

    def fold() -> None:
        for place in range(extra):
            _meet(ready, 2 * place, 2 * place + 1, network, parameters)

    fold()
    for bit in (*reversed(range(power)), *range(power)):
        distance = 1 << bit
        sizes = [start(first + distance, 1 << power, parameters) - start(first, 1 << power, parameters)
                 for first in range(0, 1 << power, distance)]  # fmt: skip
        for place in range(1 << power):
            if not place & distance:
                larger = max(sizes[place >> bit], sizes[(place >> bit) + 1])
                if larger:
                    _meet(ready, ranks[place], ranks[place + distance], network, larger)
    fold()
    return max(ready)


def _meet(ready: list[float], one: int, other: int, network: Network, numbers: int) -> None:
    ready[one] = ready[other] = max(ready[one], ready[other]) + network.seconds(one, other, numbers)


def _ring(network: Network, steps: int, workers: int, parameters: int) -> Simulated:
    """The longest way through links and steps: from a late worker straight to the slowest link, and then waiting at that one.

    Each step, a worker waits for both neighbours: a delay travels one link a step, and a slow link delays once every step.
    """
    hop = network.latency + network.per_number * -(-parameters // workers)
    reason = "parts that differ by a number are taken as the larger" if parameters % workers else ""
    if not network.slow or not network.late:
        return Simulated(_latest(network) + _slowest(network) * steps * hop, not reason, reason)
    starts = [rank for rank, late in network.late.items() if late > 0]
    slow = sorted({link % workers for rank, pace in network.slow.items() if pace > 1 for link in (rank - 1, rank)})
    if len(starts) * len(slow) > _PAIRS:
        return Simulated(_latest(network) + _slowest(network) * steps * hop, exact=False, reason="many late and many slow workers")
    paces = [max(network.slow.get(link, 1.0), network.slow.get((link + 1) % workers, 1.0)) for link in range(workers)]
    passed = [0.0, *accumulate((*paces, *paces, *paces))]
    best = max([_slowest(network) * steps, *(network.late[rank] / hop + steps for rank in starts)]) if hop else _latest(network)
    for rank in starts if hop else ():
        middle = rank + workers
        for link in slow:
            up = middle + (link - rank) % workers  # to the link's near end, links upwards
            down = middle - (rank - link - 1) % workers  # to its far end, links downwards
            ways = ((up - middle, passed[up] - passed[middle]), (middle - down, passed[middle] - passed[down]))
            best = max(best, *(network.late[rank] / hop + cost + (steps - far) * paces[link] for far, cost in ways if far <= steps))
    return Simulated(best * hop if hop else best, not reason, reason)
