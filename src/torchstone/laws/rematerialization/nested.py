"""Segments inside segments: what is run again may itself keep only some borders (Griewank's Revolve; for unequal layers, rotor).

Layers that are alike: the state is how many there are and how many borders are kept before them, exact in bytes; where a segment
has room for one layer's graph alone it gives the binomial numbers of `recomputation.revolve_forwards`. Unequal ones: the state is
which layers and how much room, the room counted in slots (rounded so that a schedule never exceeds its budget), one state for
all stretches of equal content; a chain with too many different stretches is first grouped.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import inf
from operator import add

from torchstone.laws.rematerialization.alike import Alike, alike
from torchstone.laws.rematerialization.chain import Layer, Parts, Segment, extra_cost, peak
from torchstone.laws.rematerialization.level import optimum as one_level

SLOTS = 150
_OUTER = (2, 3, 4, 6, 8, 12, 16)  # outer segments of two levels
_WORK = 40_000  # divisions of a stretch that are looked at: under a second


def optimum(layers: Sequence[Layer], budget: int) -> Parts | None:
    """A nested schedule of least extra cost with a peak of at most `budget` bytes, or None if none is found.

    Exact for layers that are alike; else least for sizes rounded up to a slot (budget / SLOTS), and in long chains the best of
    groups of layers and of two levels.
    """
    same = alike(layers)
    if same is not None and not rounded(layers):
        return _Levels(same, budget).schedule()
    groups = grouped(layers)
    found = _Stretches([_merged(layers[first:stop]) for first, stop in groups], budget).schedule()
    choices = [] if found is None else [tuple(_widened(part, groups) for part in found)]
    if len(groups) < len(layers):  # a group may need more room than its layers in segments of their own
        choices += [parts for wanted in _OUTER if (parts := _two_levels(layers, budget, wanted)) is not None]
    return min(choices, key=lambda parts: extra_cost(layers, parts), default=None)


def _two_levels(layers: Sequence[Layer], budget: int, wanted: int) -> Parts | None:
    """About so many outer segments, about equal in what they save, each of which has the best one level of its own inside."""
    parts: list[Segment] = []
    kept = 0
    groups = _cut(layers, wanted)
    for first, stop in groups:
        inside, last = layers[first:stop], stop == len(layers) or layers[first].pinned
        room = budget - kept - (0 if last else inside[0].apart + inside[-1].output)
        inner = one_level(inside, room)
        if inner is None:
            return None
        moved = tuple(Segment(one.first + first, one.stop + first, again=one.again) for one in inner)
        parts += moved if last else [Segment(first, stop, again=True, parts=_bare(moved))]
        kept += sum(layer.saved for layer in inside) if last else inside[0].input
    return tuple(parts) if peak(layers, tuple(parts)) <= budget else None


def rounded(layers: Sequence[Layer]) -> bool:
    """Whether `optimum` is least for rounded sizes alone."""
    same = alike(layers)
    return same is None or same.layer.apart > 0


class _Levels:
    """Layers alike: `inner[j][n]` is the least extra cost of n layers run again with j borders kept, `outer` of the last n."""

    def __init__(self, chain: Alike, budget: int) -> None:
        self.chain, self.budget = chain, budget
        self.inner: list[list[float]] = []
        self.outer: list[list[float]] = []
        if chain.needs > budget:
            return
        rooms = [(chain.inside(budget, held), chain.last(budget, held)) for held in self._held()]
        for level in range(len(rooms) - 1, -1, -1):
            self._level(level, *rooms[level])
        self.inner.reverse()
        self.outer.reverse()

    def _held(self) -> Iterator[int]:
        one = self.chain.layer
        for level in range(self.chain.count + 1):
            held = level * one.input
            yield held
            if self.chain.last(self.budget, held) < 1 and self.chain.inside(self.budget, held) < 1:
                return

    def _level(self, level: int, inside: int, last: int) -> None:
        """One level from the next: what is not stored whole begins with a segment of q layers, at q plus their own extra cost."""
        count, one = self.chain.count, self.chain.layer
        room = self.budget - self.chain.before - level * one.input
        never = [inf] * (count + 1)
        after_inner, after_outer = (self.inner[-1], self.outer[-1]) if self.inner else (never, never)
        turned, turned_outer = after_inner[::-1], after_outer[::-1]
        again, inner = [inf], [0.0]  # `again[q]` = q + inner[q]
        for n in range(1, count + 1):
            best = 0.0 if n <= inside else inf
            if best and room >= one.output + one.dropped:
                best = min(map(add, again[1:n], turned[count - n + 1 : count]), default=inf)
            inner.append(best)
            again.append(n + best)
        outer = [0.0 if last >= 0 else inf]
        for n in range(1, count + 1):
            best = 0.0 if n <= last else inf
            if best and room >= one.dropped:
                best = min(map(add, again[1 : n + 1], turned_outer[count - n + 1 : count + 1]), default=inf)
            outer.append(best)
        self.inner.append(inner)
        self.outer.append(outer)

    def schedule(self) -> Parts | None:
        """The schedule of the whole chain."""
        chain = self.chain
        if not self.outer or self.outer[0][chain.count] == inf:
            return None
        inside = self._parts(chain.head, chain.count, 0, self.outer)
        front = (Segment(0, chain.head),) if chain.head else ()
        stop = chain.head + chain.count
        return (*front, *inside, *((Segment(stop, chain.length),) if stop < chain.length else ()))

    def _parts(self, first: int, count: int, level: int, table: list[list[float]]) -> Parts:
        parts: list[Segment] = []
        while count:
            if table[level][count] == 0:
                return (*parts, Segment(first, first + count))
            for size in range(1, count + (table is self.outer)):
                total = size + self.inner[level][size] + table[level + 1][count - size]
                if total == table[level][count]:
                    break
            parts.append(Segment(first, first + size, again=True, parts=_bare(self._parts(first, size, level, self.inner))))
            first, count, level = first + size, count - size, level + 1
        return tuple(parts)


def _bare(parts: Parts) -> Parts:
    """Nothing inside where all is stored when it is run again."""
    return () if len(parts) == 1 and not parts[0].again else parts


def grouped(layers: Sequence[Layer]) -> list[tuple[int, int]]:
    """Neighbours put together, about equal in what they save, until few enough stretches are different."""
    groups, wanted = [(place, place + 1) for place in range(len(layers))], len(layers)
    while _work([tuple(layer.kind for layer in layers[first:stop]) for first, stop in groups]) > _WORK:
        wanted = wanted * 9 // 10
        groups = _cut(layers, wanted)
    return groups


def _work(kinds: Sequence[object]) -> int:
    """Divisions of all stretches of different content."""
    names: dict[object, int] = {}
    numbers = [names.setdefault(kind, len(names)) for kind in kinds]
    total = 0
    for length in range(2, len(numbers) + 1):
        total += length * len({tuple(numbers[place : place + length]) for place in range(len(numbers) - length + 1)})
        if total > _WORK:
            break
    return total


def _cut(layers: Sequence[Layer], wanted: int) -> list[tuple[int, int]]:
    free = [place for place, layer in enumerate(layers) if not layer.pinned]
    saved = [0, *accumulate(layers[place].saved + 1 for place in free)]
    ends = {free[0], free[-1] + 1, *(place + one for place, layer in enumerate(layers) if layer.pinned for one in (0, 1))}
    for number in range(1, wanted):
        at = next(index for index, sum_ in enumerate(saved) if sum_ >= saved[-1] * number / wanted)
        ends.add(free[min(at, len(free) - 1)])
    marks = sorted(ends | {0, len(layers)})
    return list(pairwise(marks))


def _merged(layers: Sequence[Layer]) -> Layer:
    """Neighbours as one layer."""
    if len(layers) == 1:
        return layers[0]
    kept = forward = backward = dropped = 0
    for layer in layers:
        forward, backward = max(forward, kept + layer.forward), max(backward, kept + layer.backward)
        dropped, kept = max(dropped, layer.dropped), kept + layer.saved
    first, last = layers[0], layers[-1]
    cost = sum(layer.cost for layer in layers)
    name, keeps, pinned = f"{first.name} to {last.name}", first.keeps_input, first.pinned
    return Layer(name, first.input, last.output, kept, forward, dropped, backward, keeps, cost, pinned)


def _widened(part: Segment, groups: Sequence[tuple[int, int]]) -> Segment:
    """A segment of groups as one of layers."""
    inner = tuple(_widened(one, groups) for one in part.parts)
    return Segment(groups[part.first][0], groups[part.stop - 1][1], again=part.again, parts=inner)


class _Stretches:
    """Unequal layers: for each stretch, the least extra cost by room, 0 to SLOTS slots."""

    def __init__(self, layers: Sequence[Layer], budget: int) -> None:
        self.layers, self.slot = layers, max(1, -(-budget // SLOTS))
        self.rooms = budget // self.slot
        names: dict[object, int] = {}
        self.kinds = [names.setdefault(layer.kind, len(names)) for layer in layers]
        self.found: dict[tuple[bool, tuple[int, ...]], list[float]] = {}

    def _slots(self, size: int) -> int:
        return min(-(-size // self.slot), self.rooms + 1)

    def _moved(self, costs: list[float], slots: int, needs: int, more: float = 0.0) -> list[float]:
        """What costs are where `slots` are taken away first and there must be `needs` of them."""
        least = max(slots, needs)
        kept = costs[least - slots : len(costs) - slots] if slots < len(costs) else []
        return [inf] * min(least, self.rooms + 1) + ([cost + more for cost in kept] if more else kept)

    def costs(self, first: int, stop: int, *, last: bool) -> list[float]:
        """Least extra cost of layers first to stop - 1, by room; `last`: not run again themselves, so no gradient is there yet."""
        if first == stop:
            return [0.0] * (self.rooms + 1)
        key = (last, tuple(self.kinds[first:stop]))
        if key not in self.found:
            best = [inf] * (self.rooms + 1)
            for option, _ in self._options(first, stop, last=last):
                best = list(map(min, best, option))
            self.found[key] = best
        return self.found[key]

    def _options(self, first: int, stop: int, *, last: bool) -> Iterator[tuple[list[float], int]]:
        """What comes first: a stored layer (0), or a segment that stops at the number given."""
        layer, gradient = self.layers[first], 0 if last else self.layers[stop - 1].output
        needs = self._slots(max(gradient + layer.forward, layer.backward))
        yield self._moved(self.costs(first + 1, stop, last=last), self._slots(layer.saved), needs), 0
        cost = dropped = 0
        for end in range(first + 1, stop + last):
            one = self.layers[end - 1]
            if one.pinned:
                return
            cost, dropped = cost + one.cost, max(dropped, one.dropped)
            inside = self._moved(self.costs(first, end, last=False), self._slots(layer.apart), 0, cost)
            after = self._moved(self.costs(end, stop, last=last), self._slots(layer.input), self._slots(gradient + dropped))
            yield list(map(add, inside, after)), end

    def schedule(self) -> Parts | None:
        """The schedule of the whole chain."""
        for length in range(1, len(self.layers)):  # short stretches first: no deep recursion
            for first in range(len(self.layers) - length + 1):
                self.costs(first, first + length, last=False)
        if self.costs(0, len(self.layers), last=True)[self.rooms] == inf:
            return None
        return self._parts(0, len(self.layers), self.rooms, last=True)

    def _parts(self, first: int, stop: int, room: int, *, last: bool) -> Parts:
        parts: list[Segment] = []
        while first < stop:
            wanted = self.costs(first, stop, last=last)[room]
            end = next(end for option, end in self._options(first, stop, last=last) if option[room] == wanted)
            layer = self.layers[first]
            if end == 0:
                before = parts.pop() if parts and not parts[-1].again else Segment(first, first)
                parts.append(Segment(before.first, first + 1))
                first, room = first + 1, room - self._slots(layer.saved)
                continue
            inside = self._parts(first, end, room - self._slots(layer.apart), last=False)
            parts.append(Segment(first, end, again=True, parts=_bare(inside)))
            first, room = end, room - self._slots(layer.input)
        return tuple(parts)
