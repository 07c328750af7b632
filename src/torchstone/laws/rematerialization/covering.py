"""What no set of module calls can do without, whatever the data flow: a bound by linear programming, solved as a maximum flow.

When the backward pass begins (or stands anywhere), a storage is in memory unless every operation that keeps it stands inside a call
that is run again and into which the storage does not come. Choosing calls so that the rest fits is a covering problem. Its linear
relaxation with a price for each byte is a flow from storages through the calls that keep them to the model: a storage lets through
its bytes' price, a call what it costs to run again. The best price gives the bound, in exact numbers (Lagrangian duality; Ford and
Fulkerson 1956).
"""

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction

from torchstone.core.errors import InvariantError
from torchstone.laws.rematerialization.graph import Graph, Saved


@dataclass
class Flow:
    """A maximum flow from node 0 to node 1, by shortest ways (Dinic 1970), in whole numbers."""

    ends: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)  # what an edge still lets through; edge i's way back is i ^ 1
    edges: list[list[int]] = field(default_factory=lambda: [[], []])

    def node(self) -> int:
        """A new one."""
        self.edges.append([])
        return len(self.edges) - 1

    def edge(self, start: int, end: int, most: int) -> None:
        """From one node to another."""
        for one, other, room in ((start, end, most), (end, start, 0)):
            self.edges[one].append(len(self.ends))
            self.ends.append(other)
            self.left.append(room)

    def fill(self) -> set[int]:
        """Let through as much as goes; the nodes that the source still reaches then, which the least cut parts from the rest."""
        while True:
            levels = self._levels()
            if 1 not in levels:
                return set(levels)
            tried = [0] * len(self.edges)
            while self._push(levels, tried):
                pass

    def _levels(self) -> dict[int, int]:
        levels, ahead = {0: 0}, deque([0])
        while ahead:
            node = ahead.popleft()
            for edge in self.edges[node]:
                if self.left[edge] and self.ends[edge] not in levels:
                    levels[self.ends[edge]] = levels[node] + 1
                    ahead.append(self.ends[edge])
        return levels

    def _push(self, levels: dict[int, int], tried: list[int]) -> bool:
        """One more way to the sink, if there is one."""
        way: list[int] = []
        node = 0
        while node != 1:
            if tried[node] == len(self.edges[node]):
                if not way:
                    return False
                node = self.ends[way.pop() ^ 1]
                tried[node] += 1
                continue
            edge = self.edges[node][tried[node]]
            if self.left[edge] and levels.get(self.ends[edge]) == levels[node] + 1:
                way.append(edge)
                node = self.ends[edge]
            else:
                tried[node] += 1
        least = min(self.left[edge] for edge in way)
        for edge in way:
            self.left[edge] -= least
            self.left[edge ^ 1] += least
        return True


@dataclass(frozen=True)
class Cover:
    """Storages and the calls that keep them; calls stand inside one another, `around` (call 0 is the model, not to be run again).

    `sizes`: bytes of each storage. `keepers`: the calls that keep it. `costs`: of running a call again, None where that cannot be.
    """

    sizes: tuple[int, ...]
    keepers: tuple[tuple[int, ...], ...]
    around: tuple[int, ...]
    costs: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.keepers) or len(self.around) != len(self.costs):
            message = "each storage has a size and keepers, each call one around it and a cost"
            raise InvariantError(message)

    def bound(self, room: int) -> int | None:
        """No set of calls leaves at most `room` bytes kept and costs less; None if no set does that at all.

        >>> Cover((10, 10), ((1,), (2,)), (-1, 0, 0), (None, 5, 3)).bound(10)
        3
        """
        dear, cheap = self._cut(Fraction(1 + sum(cost or 0 for cost in self.costs))), (sum(self.sizes), 0)
        if dear[0] > room:
            return None
        if cheap[0] <= room:
            return 0
        while True:
            price = Fraction(dear[1] - cheap[1], cheap[0] - dear[0])
            best = cheap[1] + price * (cheap[0] - room)
            kept, cost = self._cut(price)
            if cost + price * kept >= cheap[1] + price * cheap[0]:
                return -int(-best // 1)
            if kept > room:
                cheap = kept, cost
            else:
                dear = kept, cost

    def _cut(self, price: Fraction) -> tuple[int, int]:
        """Bytes kept and cost of the calls chosen, together least at this price of a byte."""
        flow, scale = Flow(), price.denominator
        endless = scale * (1 + sum(cost or 0 for cost in self.costs)) + price.numerator * (1 + sum(self.sizes))
        calls = [flow.node() for _ in self.around]
        flow.edge(calls[0], 1, endless)
        for node, around, cost in zip(calls, self.around, self.costs, strict=True):
            if around >= 0:
                flow.edge(node, calls[around], endless if cost is None else scale * cost)
        storages = [flow.node() for _ in self.sizes]
        for node, size, keepers in zip(storages, self.sizes, self.keepers, strict=True):
            flow.edge(0, node, price.numerator * size)
            for keeper in set(keepers):
                flow.edge(node, calls[keeper], endless)
        near = flow.fill()
        kept = sum(size for node, size in zip(storages, self.sizes, strict=True) if node not in near)
        pairs = zip(calls, self.around, self.costs, strict=True)
        chosen = sum(cost or 0 for node, around, cost in pairs if around >= 0 and node in near and calls[around] not in near)
        return kept, chosen


def least_extra(graph: Graph, budget: int) -> int | None:
    """No set of module calls with a peak of at most `budget` bytes runs less work again; None if none is possible.

    Looked at: the beginning of the backward pass, and where the pass takes the most if nothing is run again.
    """
    stop = graph.calls[0].stop
    bounds = []
    costs = tuple(graph.least_again(number) if one.module in graph.modules else None for number, one in enumerate(graph.calls))
    for moment in {0, fullest(graph)}:
        keepers: dict[int, list[int]] = {}
        for one in graph.saved:
            if one.released > moment and graph.storages[one.storage].dropped < stop:
                keepers.setdefault(one.storage, []).append(keeper(graph, one))
        sizes = tuple(graph.storages[number].size for number in keepers)
        cover = Cover(sizes, tuple(map(tuple, keepers.values())), tuple(call.around for call in graph.calls), costs)
        before = graph.working[moment][0] if moment < len(graph.working) else 0
        bounds.append(cover.bound(budget - graph.held - before))
    return None if None in bounds else max(one for one in bounds if one is not None)


def keeper(graph: Graph, saved: Saved) -> int:
    """The innermost call that must run again for a storage not to be kept: what comes into a call stays if that runs again."""
    call = saved.call
    while saved.storage in graph.calls[call].inputs and graph.calls[call].around >= 0:
        call = graph.calls[call].around
    return call


def fullest(graph: Graph) -> int:
    """The operation of the backward pass before which there is the most."""
    last: dict[int, int] = {}
    for one in graph.saved:
        last[one.storage] = max(last.get(one.storage, 0), one.released)
    gone = [0] * (len(graph.working) + 1)
    for storage, released in last.items():
        gone[min(released, len(graph.working))] += graph.storages[storage].size
    now = best = place = 0
    for moment, (before, _) in enumerate(graph.working):
        now -= gone[moment]
        if moment == 0 or now + before > best:
            best, place = now + before, moment
    return place
