"""Why nothing fits, and the nearest questions that have an answer: other sizes, or one setting changed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count, takewhile

from torchstone.laws.convolution.geometry import AxisSpec, LayerKind
from torchstone.solve.convolution.search import Asked, Paddings, Search, Unknown, groups

_NAMES = ("kernel", "stride", "padding", "dilation", "output_padding")
# How far from the wanted size the search for one that can be had goes.
_FAR = 256


def setting_words(axis: AxisSpec) -> str:
    """An axis's setting in words; what is as torch has it by default is left out.

    >>> setting_words(AxisSpec(3, 2, (1, 1)))
    'kernel 3, stride 2, padding 1'
    """
    before, after = axis.padding
    padding = f"padding {before}" if before == after else f"padding {before} before and {after} after"
    said = [f"kernel {axis.kernel}", f"stride {axis.stride}", padding]
    said += [f"dilation {axis.dilation}"] if axis.dilation > 1 else []
    return ", ".join(said + ([f"output_padding {axis.output_padding}"] if axis.output_padding else []))


def obstacles(asked: Asked) -> tuple[str, ...]:
    """Lines that say what stands against an answer along each axis that has none, and what comes nearest."""
    lines = [(size, target, axis) for axis, (size, target) in enumerate(zip(asked.sizes, asked.targets, strict=True))]
    empty = [(size, target, asked.along(axis)) for size, target, axis in lines if not _fits(asked.along(axis))]
    said: dict[str, None] = {}
    for size, target, one in empty:
        for line in _lines(one):
            said[f"{size} → {target}: {line}"] = None
    return tuple(said) or ("each axis can be had alone, but not with the settings that the axes must share",)


def _fits(asked: Asked) -> bool:
    return next(groups(asked), None) is not None


def _lines(one: Asked) -> Iterator[str]:
    (target,) = one.targets
    lowest, highest = extremes(one)
    if lowest > highest:
        yield "no kernel in range fits into the padded input"
    elif target > highest:
        more = "" if one.kind is LayerKind.TRANSPOSED else "; a transposed convolution gives more"
        yield f"at most {highest} can come out{_given(one)}{more}"
    elif target < lowest:
        yield f"at least {lowest} come out{_given(one)}"
    else:
        yield _parity(one) or f"no setting in range gives exactly that{_given(one)}"
    near = list(_nearest_targets(one, lowest, highest))
    if near:
        yield "nearest sizes: " + ", ".join(f"{size} ({setting_words(axis)})" for size, axis in near)
    changed = list(_nearest_settings(one))
    if changed:
        yield "nearest settings: " + "; ".join(changed)


def _given(one: Asked) -> str:
    """The settings that were fixed or confined, in words."""
    said = []
    for name in ("kernel", "stride", "dilation"):
        (values,) = getattr(one, name).ranges
        if len(values) == 1:
            said.append(f"{name} {values[0]}")
        elif len(values) < one.maximum:
            said.append(f"{name} {values[0]} to {values[-1]}")
    (side,) = one.padding.sides
    if not isinstance(side, range):
        said.append(f"padding {side[0]} before and {side[1]} after")
    else:
        said.append(f"padding {side[0]}" if len(side) == 1 else f"padding {side[0]} to {side[-1]}")
    return f" with {', '.join(said)}"


def extremes(one: Asked) -> tuple[int, int]:
    """Least and most that can come out along one axis; the least exceeds the most where no kernel fits."""
    (size,), (strides,) = one.sizes, one.stride.ranges
    least, most = one.padding.totals(0)
    found = []
    for kernel in one.kernel.ranges[0]:
        for dilation in one.dilation.ranges[0]:
            extent = dilation * (kernel - 1) + 1
            if one.kind is LayerKind.TRANSPOSED:
                found += _transposed_extremes(one, extent, dilation)
                continue
            pad = min(most, 2 * (kernel // 2)) if one.kind is LayerKind.POOL else most
            low, high = size + least - extent, size + pad - extent
            if one.ceil_mode and high > -strides[-1]:
                found += [max(1, -(-low // strides[-1])), max(1, -(-high // strides[0]) + 1)]
            elif high >= 0:
                found += [max(0, low) // strides[-1] + 1, high // strides[0] + 1]
    return (min(found), max(found)) if found else (1, 0)


def _transposed_extremes(one: Asked, extent: int, dilation: int) -> list[int]:
    (size,), (strides,), (extra,) = one.sizes, one.stride.ranges, one.output_padding.ranges
    least, most = one.padding.totals(0)
    low = (size - 1) * strides[0] - most + extent + extra[0]
    high = (size - 1) * strides[-1] - least + extent + min(extra[-1], max(strides[-1], dilation) - 1)
    return [max(1, low), high] if high > 0 else []


def _parity(one: Asked) -> str:
    """What stands against it where padding on both sides can only move the size by two."""
    (size,), (target,), (kernel,), (dilation,) = one.sizes, one.targets, one.kernel.ranges, one.dilation.ranges
    steady = one.stride.ranges[0] == range(1, 2) and isinstance(one.padding.sides[0], range) and not one.ceil_mode
    extents = {(d * (k - 1) + 1) % 2 for k in (kernel[0], kernel[-1], *kernel[:2]) for d in dilation[:2]}
    if not steady or len(extents) != 1 or one.kind is LayerKind.TRANSPOSED:
        return ""
    gives = (size - extents.pop() + 1) % 2
    if gives == target % 2:
        return ""
    said = f"kernel {kernel[0]}" if len(kernel) == 1 else "the kernels in range"
    return f"at stride 1, padding on both sides moves the size by two, so {said} can give {'odd' if gives else 'even'} sizes only"


def _nearest_targets(one: Asked, lowest: int, highest: int) -> Iterator[tuple[int, AxisSpec]]:
    """The largest size below and the smallest above that can be had, each with its simplest setting."""
    (target,) = one.targets
    below = range(min(target - 1, highest), max(lowest, target - _FAR) - 1, -1)
    above = range(max(target + 1, lowest), min(highest, target + _FAR) + 1)
    if target > highest:
        below = range(highest, max(lowest, highest - _FAR) - 1, -1)
    if target < lowest:
        above = range(lowest, min(highest, lowest + _FAR) + 1)
    for sizes in (below, above):
        asked = (replace(one, targets=(size,)) for size in sizes)
        found = next((nearer for nearer in asked if _fits(nearer)), None)
        if found is not None:
            yield found.targets[0], next(iter(Search(found)))[0]


def _nearest_settings(one: Asked) -> Iterator[str]:
    """For each setting that was confined: the nearest value with which there is an answer, the others as they were."""
    for name in _NAMES:
        if name == "output_padding" and one.kind is not LayerKind.TRANSPOSED:
            continue
        values = one.padding.sides[0] if name == "padding" else getattr(one, name).ranges[0]
        given = range(values[0], values[0] + 1) if not isinstance(values, range) else values
        least = 0 if "padding" in name else 1
        lower, higher = count(given[0] - 1, -1), count(given[-1] + 1)
        downwards = takewhile(lambda value, least=least: value >= least, lower)  # type: ignore[misc]
        upwards = takewhile(lambda value: value <= one.maximum, higher)
        tries = sorted(chain(downwards, upwards), key=lambda value, given=given: min(abs(value - given[0]), abs(value - given[-1])))  # type: ignore[misc]
        changed = ((value, _with(one, name, value)) for value in tries)
        found = next(((value, nearer) for value, nearer in changed if _fits(nearer)), None)
        if found is not None:
            yield f"{name} {found[0]} ({setting_words(next(iter(Search(found[1])))[0])})"


def _with(one: Asked, name: str, value: int) -> Asked:
    fixed = range(value, value + 1)
    if name == "padding":
        return replace(one, padding=Paddings((fixed,), tied=True))
    changed = Unknown((fixed,), tied=True)
    if name == "kernel":
        return replace(one, kernel=changed)
    if name == "stride":
        return replace(one, stride=changed)
    return replace(one, dilation=changed) if name == "dilation" else replace(one, output_padding=changed)
