"""One level of checkpointed segments over a chain: the division that runs the fewest layers again within a budget, proven so.

A schedule of this class is a path over the layers' borders: each step stores one layer (and keeps its saved bytes) or checkpoints a
segment (and keeps its input). What is kept at a border decides what is possible after it, so of two ways to a border with equal
cost the one that keeps less is at least as good (Bellman): the search keeps the others out and so finds an optimum. A lower bound
(what cannot be stored any more, by the fractional knapsack) cuts off ways that cannot beat the best one found.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from torchstone.laws.rematerialization.alike import alike
from torchstone.laws.rematerialization.chain import Layer, Parts, Segment, peak, stored


def optimum(layers: Sequence[Layer], budget: int) -> Parts | None:
    """The schedule of least extra cost among those of one level with a peak of at most `budget` bytes; None if there is none.

    Layers that are all alike (pinned ones before and after aside) are divided in closed form.
    """
    same = alike(layers)
    if same is not None:
        return same.divided(budget)
    return _search(layers, budget)


def least_peak(layers: Sequence[Layer]) -> tuple[int, Parts]:
    """The least peak that one level of segments can have, in bytes, and a schedule with it."""
    same = alike(layers)
    low, best = _unavoidable(layers), stored(layers)
    high = peak(layers, best)
    while low < high:
        middle = (low + high) // 2
        found = same.divided(middle) if same is not None else _fitting(layers, middle)
        if found is None:
            low = middle + 1
        else:
            best, high = found, min(peak(layers, found), middle)
    return high, best


def _unavoidable(layers: Sequence[Layer]) -> int:
    """What each layer needs when it works alone."""
    return max((min(layer.alone, layer.dropped) for layer in layers), default=0)


class _Way(NamedTuple):
    """A way to a border: what it cost, what it keeps, its last step (from `first` on, run again or stored), the way before."""

    cost: int
    kept: int
    first: int
    again: bool
    before: "_Way | None"

    def parts(self, stop: int) -> Parts:
        """All its steps up to a border, layers stored next to each other as one."""
        steps: list[Segment] = []
        way: _Way | None = self
        while way is not None and way.first >= 0:
            if steps and not way.again and not steps[-1].again:
                steps[-1] = replace(steps[-1], first=way.first)
            else:
                steps.append(Segment(way.first, stop, again=way.again))
            stop, way = way.first, way.before
        return tuple(reversed(steps))


_START = _Way(0, 0, -1, again=False, before=None)


def _segments(layers: Sequence[Layer], first: int, room: int) -> Iterator[tuple[int, int, int]]:
    """Segments that begin here and fit: where they stop, the room that they need, their cost."""
    kept = layers[first].apart
    forward = backward = dropped = cost = 0
    for place in range(first, len(layers)):
        layer = layers[place]
        if layer.pinned or kept > room:
            return
        forward, backward = max(forward, kept + layer.forward), max(backward, kept + layer.backward)
        dropped, cost, kept = max(dropped, layer.dropped), cost + layer.cost, kept + layer.saved
        if max(backward, forward, dropped) > room:
            return
        needs = max(backward, layer.output + forward, dropped)
        if needs <= room:
            yield place + 1, needs, cost


def _fitting(layers: Sequence[Layer], budget: int) -> Parts | None:
    """Any schedule within the budget: to every border the way that keeps least."""
    ways: list[_Way | None] = [_START, *[None] * len(layers)]
    for place, layer in enumerate(layers):
        way = ways[place]
        if way is None:
            continue
        steps = [(place + 1, way.kept + layer.saved, False)] if way.kept + layer.alone <= budget else []
        steps += [(stop, way.kept + layer.input, True) for stop, _, _ in _segments(layers, place, budget - way.kept)]
        for stop, kept, again in steps:
            there = ways[stop]
            if there is None or kept < there.kept:
                ways[stop] = _Way(0, kept, place, again, way)
    end = ways[-1]
    return None if end is None else end.parts(len(layers))


class _Storable:
    """For every border: the least cost that ways from there must still pay, given the room that is left."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.suffixes: list[tuple[list[int], list[int], int]] = []
        for place in range(len(layers) + 1):
            rest = sorted(layers[place:], key=lambda layer: layer.saved / max(layer.cost, 1))
            saved = list(accumulate((layer.saved for layer in rest), initial=0))
            costs = list(accumulate((layer.cost for layer in rest), initial=0))
            self.suffixes.append((saved, costs, costs[-1]))

    def bound(self, place: int, room: int) -> int:
        """The fractional knapsack: what does not fit must be run again."""
        saved, costs, total = self.suffixes[place]
        fits = bisect_right(saved, room) - 1
        if fits + 1 >= len(saved):
            return 0
        part = (room - saved[fits]) * (costs[fits + 1] - costs[fits]) // (saved[fits + 1] - saved[fits])
        return total - costs[fits] - part


def _search(layers: Sequence[Layer], budget: int) -> Parts | None:
    """Every way that could be best, border by border."""
    bounds, needs, best = _Storable(layers), _needs(layers), None
    limit, count = float("inf"), len(layers)
    ways: list[dict[int, _Way]] = [{0: _START}, *({} for _ in layers)]
    for place, layer in enumerate(layers):
        fits = _all_segments(layers, place, ways[place], budget)
        for way in _undominated(ways[place]):
            cost, kept, room = way.cost, way.kept, budget - way.kept
            if cost + bounds.bound(place, room) >= limit:
                continue
            if needs[place] <= room:
                best, limit = _Way(cost, kept, place, again=False, before=way), cost
                break  # the others here cost more
            there = ways[place + 1].get(cost)
            if layer.alone <= room and (there is None or kept + layer.saved < there.kept):
                ways[place + 1][cost] = _Way(cost, kept + layer.saved, place, again=False, before=way)
            _step(ways, way, kept + layer.input, place, [one for one in fits if one[1] <= room and cost + one[2] < limit])
    for way in _undominated(ways[-1]):
        if way.cost < limit:
            best, limit = way, way.cost
    return None if best is None else best.parts(count)


def _step(ways: list[dict[int, _Way]], way: _Way, kept: int, place: int, fits: list[tuple[int, int, int]]) -> None:
    """Every checkpointed segment that can come next, where no way as cheap keeps less."""
    for stop, _, more in fits:
        cost = way.cost + more
        there = ways[stop].get(cost)
        if there is None or kept < there.kept:
            ways[stop][cost] = _Way(cost, kept, place, again=True, before=way)


def _needs(layers: Sequence[Layer]) -> list[int]:
    """For every border, the room for storing all that follows."""
    needs = [0]
    for layer in reversed(layers):
        needs.append(max(layer.alone, layer.saved + needs[-1]))
    return needs[::-1]


def _all_segments(layers: Sequence[Layer], place: int, ways: dict[int, _Way], budget: int) -> list[tuple[int, int, int]]:
    """Segments from here that fit after the way that keeps least."""
    return list(_segments(layers, place, budget - min(way.kept for way in ways.values()))) if ways else []


def _undominated(ways: dict[int, _Way]) -> Iterator[_Way]:
    """Ways by cost, each of which keeps less than all before it."""
    least: int | None = None
    for cost in sorted(ways):
        if least is None or ways[cost].kept < least:
            least = ways[cost].kept
            yield ways[cost]
