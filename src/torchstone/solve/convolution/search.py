"""Every setting of a windowed layer that turns one size into another: found by arithmetic, simplest first.

Along an axis an output of o from an input of n fixes s (o - 1) <= n + 2 p - e <= s o - 1 with e = d (k - 1) + 1. For each kernel,
dilation and stride that leaves one run of paddings, so nothing has to be tried out: the settings are runs, and their number a sum.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

from torchstone.core.errors import InvariantError
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind, pooled_size, shape_after
from torchstone.laws.convolution.reach import everything, spaced, tapped

Pair = tuple[int, int]
Values = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a setting may be along each axis: runs of whole numbers. Tied, it is the same along all axes."""

    ranges: tuple[range, ...]
    tied: bool

    def choices(self) -> Iterator[Values]:
        """Every combination of values, one an axis, smallest first."""
        if self.tied:
            return ((value,) * len(self.ranges) for value in self.ranges[0])
        return product(*self.ranges)

    def along(self, axis: int) -> "Unknown":
        """What it may be along one axis alone."""
        return Unknown((self.ranges[axis],), tied=True)

    @property
    def fixed(self) -> bool:
        """Whether there is nothing left to choose."""
        return all(len(values) == 1 for values in self.ranges)


@dataclass(frozen=True, slots=True)
class Paddings:
    """What the padding may be along each axis: a run, the same before and after, or one pair."""

    sides: tuple[range | Pair, ...]
    tied: bool

    def totals(self, axis: int) -> tuple[int, int]:
        """Least and most of before and after together; the least exceeds the most where a run is empty."""
        side = self.sides[axis]
        return (2 * side.start, 2 * (side.stop - 1)) if isinstance(side, range) else (sum(side), sum(side))

    def along(self, axis: int) -> "Paddings":
        """What it may be along one axis alone."""
        return Paddings((self.sides[axis],), tied=True)

    @property
    def fixed(self) -> bool:
        """Whether there is nothing left to choose."""
        return all(len(side) == 1 if isinstance(side, range) else True for side in self.sides)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: sizes before and after along each axis, and what each setting may be."""

    kind: LayerKind
    sizes: Values
    targets: Values
    kernel: Unknown
    stride: Unknown
    dilation: Unknown
    padding: Paddings
    output_padding: Unknown
    ceil_mode: bool = False
    maximum: int = 64

    @property
    def fixed(self) -> bool:
        """Whether there is nothing left to choose."""
        asked = (self.kernel, self.stride, self.dilation, self.padding, self.output_padding)
        return all(unknown.fixed for unknown in asked)

    def allows(self, axes: Sequence[AxisSpec], *, tied: bool) -> bool:
        """Whether every setting is one of those asked for; tied, whatever is tied is the same along all axes."""
        named = {name: [getattr(axis, name) for axis in axes] for name in ("kernel", "stride", "dilation")}
        if self.kind is LayerKind.TRANSPOSED:
            named["output_padding"] = [axis.output_padding for axis in axes]
        sides = [axis.padding for axis in axes]
        unknowns = {name: getattr(self, name) for name in named}
        within = all(value in values for name in named for value, values in zip(named[name], unknowns[name].ranges, strict=True))
        alike = all(len(set(named[name])) == 1 for name in named if unknowns[name].tied)
        alike = alike and (len(set(sides)) == 1 or not self.padding.tied)
        padded = all(_among(pair, side) for pair, side in zip(sides, self.padding.sides, strict=True))
        kernels, dilations = (tuple(named[name]) for name in ("kernel", "dilation"))
        alike = alike and not self.idle(dilations, kernels, tied=True)
        within = within and (tied or not self.idle(dilations, kernels, tied=False))
        return within and padded and (alike or not tied) and all(axis.ceil_mode == self.ceil_mode for axis in axes)

    def idle(self, dilation: Values, kernel: Values, *, tied: bool) -> bool:
        """Whether a smaller dilation that is allowed is the same layer: with one tap there is nothing to spread.

        Not of a transposed convolution, whose output_padding may be as large as its dilation allows.
        """
        if 1 not in kernel or self.kind is LayerKind.TRANSPOSED:
            return False
        spread = [d > values[0] for d, values in zip(dilation, self.dilation.ranges, strict=True)]
        if tied and self.dilation.tied:
            return spread[0] and max(kernel) == 1
        return any(more and k == 1 for more, k in zip(spread, kernel, strict=True))

    def reaches(self, axes: Sequence[AxisSpec]) -> bool:
        """Whether these settings turn the sizes into the targets."""
        try:
            return shape_after(self.sizes, axes) == self.targets
        except InvariantError:
            return False

    def along(self, axis: int) -> "Asked":
        """The same question about one axis alone."""
        one = slice(axis, axis + 1)
        kernel, stride, dilation = (unknown.along(axis) for unknown in (self.kernel, self.stride, self.dilation))
        padding, output_padding = self.padding.along(axis), self.output_padding.along(axis)
        return replace(
            self, sizes=self.sizes[one], targets=self.targets[one], kernel=kernel, stride=stride, dilation=dilation,
            padding=padding, output_padding=output_padding,
        )  # fmt: skip


def _among(pair: Pair, side: range | Pair) -> bool:
    return pair == side or (isinstance(side, range) and pair[0] == pair[1] and pair[0] in side)


class Group(NamedTuple):
    """Settings that differ by their padding only: a run of paddings alike on all sides, or one pair for each axis."""

    dilation: Values
    kernel: Values
    stride: Values
    padding: range | tuple[Pair, ...]

    @property
    def settings(self) -> int:
        """How many settings these are."""
        return len(self.padding) if isinstance(self.padding, range) else 1

    def pair(self, line: int, index: int = 0) -> Pair:
        """Before and after along an axis, of one of these settings."""
        return (self.padding[index],) * 2 if isinstance(self.padding, range) else self.padding[line]


def groups(asked: Asked) -> Iterator[Group]:
    """Every group that fits, by dilation, kernel and stride, smallest first. One tap has the least dilation only."""
    lines = range(len(asked.sizes))
    for dilation in asked.dilation.choices():
        for kernel in asked.kernel.choices():
            if asked.idle(dilation, kernel, tied=True):
                continue
            extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
            runs = [_strides(asked, line, extents[line], dilation[line]) for line in lines]
            if not all(runs):
                if _outgrown(asked, extents):
                    break
                continue
            strides = Unknown((_common(runs),) * len(runs), tied=True) if asked.stride.tied else Unknown(tuple(runs), tied=False)
            for stride in strides.choices():
                yield from _groups(asked, dilation, kernel, stride)


def _outgrown(asked: Asked, extents: list[int]) -> bool:
    """Whether a kernel no longer fits into the most padded input, so that the larger ones that follow will not either."""
    if not asked.kernel.tied or asked.kind is LayerKind.TRANSPOSED or asked.ceil_mode:
        return False
    return any(size + asked.padding.totals(line)[1] < extents[line] for line, size in enumerate(asked.sizes))


def _common(runs: Iterable[range]) -> range:
    listed = list(runs)
    return range(max(run.start for run in listed), min(run.stop for run in listed))


def _strides(asked: Asked, line: int, extent: int, dilation: int) -> range:
    """The strides for which some padding may fit along an axis; a few of them may still fit none."""
    size, target, allowed = asked.sizes[line], asked.targets[line], asked.stride.ranges[line]
    least, most = asked.padding.totals(line)
    if asked.kind is LayerKind.TRANSPOSED:
        first, last = -(-(target - extent + least - dilation + 1) // size), allowed.stop - 1
        if size > 1:
            last = min(last, (target - extent + most) // (size - 1))
        return range(max(first, allowed.start), last + 1)
    low, high = max(0, size + least - extent), size + most - extent
    if high < 0:
        # Only with ceil_mode may a kernel stand over the end, by less than a stride: then there is one window.
        return range(max(1 - high, allowed.start), allowed.stop if asked.ceil_mode and target == 1 else 0)
    if asked.ceil_mode:
        first, steps, room = -(-low // target), target - 2, high - 1
    else:
        first, steps, room = -(-(low + 1) // target), target - 1, high
    last = allowed.stop - 1 if steps <= 0 else min(allowed.stop - 1, room // steps)
    return range(max(first, allowed.start), last + 1)


def _groups(asked: Asked, dilation: Values, kernel: Values, stride: Values) -> Iterator[Group]:
    axes = [*zip(dilation, kernel, stride, strict=True)]
    runs = [_paddings(asked, line, *axis) for line, axis in enumerate(axes)]
    if not all(runs):
        return
    if not asked.padding.tied:
        for pairs in product(*(_pairs(run) for run in runs)):
            if _agree(asked, dilation, kernel, stride, pairs):
                yield Group(dilation, kernel, stride, pairs)
        return
    alike = [run for run in runs if isinstance(run, range)]
    common = _common(alike) if alike else runs[0]
    if len(common) == 0 or not _agree(asked, dilation, kernel, stride, ((0, 0),) * len(axes)):
        return
    if isinstance(common, tuple) or asked.ceil_mode:
        for pair in _pairs(common):
            pairs = (pair,) * len(axes)
            if not asked.ceil_mode or _rounds_up(asked, dilation, kernel, stride, pairs):
                yield Group(dilation, kernel, stride, pairs)
    else:
        yield Group(dilation, kernel, stride, common)


def _pairs(run: range | Pair) -> Iterable[Pair]:
    return ((value, value) for value in run) if isinstance(run, range) else (run,)


def _rounds_up(asked: Asked, dilation: Values, kernel: Values, stride: Values, pairs: tuple[Pair, ...]) -> bool:
    """With ceil_mode the last window counts only where it starts: the law decides."""
    return all(
        pooled_size(size, AxisSpec(k, s, pair, d, LayerKind.POOL, ceil_mode=True)) == target
        for size, target, d, k, s, pair in zip(asked.sizes, asked.targets, dilation, kernel, stride, pairs, strict=True)
    )


def surplus(size: int, target: int, extent: int, stride: int) -> int:
    """Of a transposed convolution: how much more than the target comes out before it is cropped and output_padding added."""
    return (size - 1) * stride + extent - target


def _agree(asked: Asked, dilation: Values, kernel: Values, stride: Values, pairs: tuple[Pair, ...]) -> bool:
    """Whether a tied output_padding is the same along every axis; with ceil_mode, whether untied paddings fit."""
    if asked.kind is not LayerKind.TRANSPOSED:
        return asked.padding.tied or not asked.ceil_mode or _rounds_up(asked, dilation, kernel, stride, pairs)
    lines = zip(asked.sizes, asked.targets, dilation, kernel, stride, pairs, strict=True)
    extra = {sum(pair) - surplus(size, target, d * (k - 1) + 1, s) for size, target, d, k, s, pair in lines}
    return len(extra) == 1 or not asked.output_padding.tied


def _paddings(asked: Asked, line: int, dilation: int, kernel: int, stride: int) -> range | Pair:
    """The paddings that fit along an axis: a run, or the pair that was given; empty if there is none."""
    size, target, side = asked.sizes[line], asked.targets[line], asked.padding.sides[line]
    extent = dilation * (kernel - 1) + 1
    if asked.kind is LayerKind.TRANSPOSED:
        allowed, more = asked.output_padding.ranges[line], surplus(size, target, extent, stride)
        low = more + allowed.start
        high = more + min(allowed.stop - 1, max(stride, dilation) - 1)
    elif asked.ceil_mode:
        low, high = stride * (target - 2) + 1 - size + extent, stride * target - size + extent
    else:
        low, high = stride * (target - 1) - size + extent, stride * target - 1 - size + extent
    if not isinstance(side, range):
        fits = low <= sum(side) <= high and (asked.kind is not LayerKind.POOL or max(side) <= kernel // 2)
        return side if fits else range(0)
    last = side.stop - 1 if asked.kind is not LayerKind.POOL else min(side.stop - 1, kernel // 2)
    return range(max(side.start, -(-low // 2)), min(last, high // 2) + 1)


CLASSES = 6


def ranked(asked: Asked, group: Group) -> tuple[int, ...]:
    """A group's paddings, as bits, by how sensible they are: each in the first class that it belongs to.

    0: everything is read, the padding is smaller than the kernel and the dilation the least; 1: everything but at the borders is
    read, and the padding is smaller than the kernel; 2: everything is read, and the padding is smaller than what the dilated kernel
    covers; 3: everything is read; 4: the padding is smaller than what it covers; 5: the rest. Of a transposed convolution: what is
    written, not read.
    """
    whole = everything(group.settings)
    reads = covers = small = modest = whole
    for line, (size, target) in enumerate(zip(asked.sizes, asked.targets, strict=True)):
        windows, positions = (size, target) if asked.kind is LayerKind.TRANSPOSED else (target, size)
        d, k, s, pair = group.dilation[line], group.kernel[line], group.stride[line], group.pair(line)
        furthest = max(pair) if isinstance(group.padding, tuple) else group.padding[-1]
        read = _reading(windows, positions, (d, k, s), furthest) >> pair[0]
        reads &= read
        # Windows that overlap somewhere, their taps on every remainder by the stride, leave nothing out between the borders.
        if k < s or math.gcd(s, d) > 1 or (windows - 1) * s < d * (k - 1):
            covers &= read
        small &= everything(max(0, k - max(pair)))
        modest &= everything(max(0, d * (k - 1) + 1 - max(pair)))
    least = all(d == values[0] for d, values in zip(group.dilation, asked.dilation.ranges, strict=True))
    found = []
    for bits in (reads & small if least else 0, covers & small, reads & modest, reads, modest, whole):
        found.append(bits & whole)
        whole &= ~bits
    return tuple(found)


def _reading(windows: int, positions: int, axis: tuple[int, int, int], furthest: int) -> int:
    """The paddings before the input, as bits up to the furthest, with which every position is read."""
    dilation, kernel, stride = axis
    if windows * kernel < positions or (positions > 1 and math.gcd(stride, dilation) > 1):
        return 0
    # Between the borders the windows repeat: what is true of a short input with both borders is true of a long one.
    border = max(dilation * (kernel - 1), furthest) // stride + 2
    repeated = max(0, windows - 2 * border - 2)
    windows, positions = windows - repeated, positions - repeated * stride
    runs, length = tapped(spaced(windows, stride), kernel, dilation), 1
    while length < positions:
        step = min(length, positions - length)
        runs &= runs >> step
        length += step
    return runs


class Search:
    """The settings of a question: their number at once, the settings in order as they are needed."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Every group, by dilation, kernel and stride."""
        return tuple(groups(self.asked))

    @cached_property
    def count(self) -> int:
        """How many settings there are."""
        return sum(group.settings for group in self.groups)

    def __iter__(self) -> Iterator[tuple[AxisSpec, ...]]:
        return (axes for _, axes in self.ranked())

    def ranked(self) -> Iterator[tuple[int, tuple[AxisSpec, ...]]]:
        """Class and axes of every setting, simplest first: by class, dilation, kernel, stride, padding."""
        classes: list[tuple[int, ...]] = []
        for group in self.groups:
            classes.append(ranked(self.asked, group))
            yield from ((0, axes) for axes in self._settings(group, classes[-1][0]))
        for rank in range(1, CLASSES):
            for group, bits in zip(self.groups, classes, strict=True):
                yield from ((rank, axes) for axes in self._settings(group, bits[rank]))

    def _settings(self, group: Group, bits: int) -> Iterator[tuple[AxisSpec, ...]]:
        while bits:
            low = bits & -bits
            bits ^= low
            yield self.setting(group, low.bit_length() - 1)

    def setting(self, group: Group, index: int) -> tuple[AxisSpec, ...]:
        """The axes of one setting of a group."""
        asked = self.asked
        made = []
        for line, (size, target) in enumerate(zip(asked.sizes, asked.targets, strict=True)):
            d, k, s = group.dilation[line], group.kernel[line], group.stride[line]
            pair = group.pair(line, index)
            extra = sum(pair) - surplus(size, target, d * (k - 1) + 1, s) if asked.kind is LayerKind.TRANSPOSED else 0
            made.append(AxisSpec(k, s, pair, d, asked.kind, extra, asked.ceil_mode))
        return tuple(made)
