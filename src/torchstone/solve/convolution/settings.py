"""The settings of all axes together: one setting for all of them, or each axis its own."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice

from torchstone.laws.convolution.geometry import AxisSpec
from torchstone.solve.convolution.search import Asked, Search, Unknown

Axes = tuple[AxisSpec, ...]


class SharedSettings:
    """Settings in which whatever is tied is the same along every axis."""

    shared = True

    def __init__(self, asked: Asked) -> None:
        # Axes of one size and one target have the same answer where every setting is shared: it is looked for once.
        unknowns = (asked.kernel, asked.stride, asked.dilation, asked.padding, asked.output_padding)
        lines = [*zip(asked.sizes, asked.targets, strict=True)]
        distinct = [*dict.fromkeys(lines)] if all(unknown.tied for unknown in unknowns) else lines
        self._line = [distinct.index(line) if len(distinct) < len(lines) else axis for axis, line in enumerate(lines)]
        self._search = Search(_first(asked, distinct) if len(distinct) < len(lines) else asked)

    @property
    def count(self) -> int:
        """How many there are."""
        return self._search.count

    def __iter__(self) -> Iterator[Axes]:
        return (tuple(axes[line] for line in self._line) for axes in self._search)


def _first(asked: Asked, lines: list[tuple[int, int]]) -> Asked:
    """The same question with these sizes and targets alone; every setting is tied."""
    count = len(lines)

    def cut(unknown: Unknown) -> Unknown:
        return Unknown(unknown.ranges[:count], unknown.tied)

    return replace(
        asked,
        sizes=tuple(size for size, _ in lines),
        targets=tuple(target for _, target in lines),
        kernel=cut(asked.kernel), stride=cut(asked.stride), dilation=cut(asked.dilation),
        padding=replace(asked.padding, sides=asked.padding.sides[:count]), output_padding=cut(asked.output_padding),
    )  # fmt: skip


class SeparateSettings:
    """Settings in which each axis has its own: every combination of what fits along each."""

    shared = False

    def __init__(self, asked: Asked) -> None:
        self._searches = [Search(asked.along(axis)) for axis in range(len(asked.sizes))]

    @cached_property
    def count(self) -> int:
        """How many there are."""
        return math.prod(search.count for search in self._searches)

    def __iter__(self) -> Iterator[Axes]:
        """Best first: the worst class of any axis decides, then how far down the axes' own lists the settings stand."""
        lists = [_Remembered(search) for search in self._searches]
        first = (0,) * len(lists)
        if any(one.at(0) is None for one in lists):
            return
        waiting, seen = [(0, 0, first)], {first}
        while waiting:
            _, _, places = heapq.heappop(waiting)
            chosen = [one.at(place) for one, place in zip(lists, places, strict=True)]
            yield tuple(found[1][0] for found in chosen if found is not None)
            for axis in range(len(lists)):
                further = tuple(place + (index == axis) for index, place in enumerate(places))
                found = [one.at(place) for one, place in zip(lists, further, strict=True)]
                ranks = [one[0] for one in found if one is not None]
                if further not in seen and len(ranks) == len(lists):
                    seen.add(further)
                    heapq.heappush(waiting, (max(ranks), sum(further), further))


class _Remembered:
    """The ranked settings of one axis, each found when it is first asked for."""

    def __init__(self, search: Search) -> None:
        self._source, self._found = search.ranked(), list[tuple[int, Axes]]()

    def at(self, place: int) -> tuple[int, Axes] | None:
        """The setting in this place, or None after the last."""
        missing = place + 1 - len(self._found)
        if missing > 0:
            self._found += islice(self._source, missing)
        return self._found[place] if place < len(self._found) else None
