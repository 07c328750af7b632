"""The minimum in whose basin a point lies: downhill in steps too short to pass over it, then closed in on to all digits."""

import math
from collections.abc import Sequence
from typing import Any

from torchstone.solve.optimization.minima import closed_in, polished, slope_or_none
from torchstone.solve.optimization.numbers import digits, exact
from torchstone.solve.optimization.running import Objective
from torchstone.traces.sweep import sweep

_STEPS = 3000
_TURNED = 0.5  # the share by which one step may change the gradient: along a line it cannot change its sign
_SHORTEST = 2.0**-48  # of a point's size: shorter steps are float64's roundings
_WIDENINGS = 60


def basin(
    objective: Objective, point: Sequence[Any], known: Sequence[tuple[Any, ...]], *, complete: bool
) -> tuple[Any, ...] | None:
    """Where the way downhill from a point ends: one of the minima that are known, or another; None if it ends nowhere.

    `complete` says that the known ones are all that a function of one variable has: then the next one downhill is it.
    """
    slope = slope_or_none(objective, point)
    if slope is None or not any(slope):
        return next((one for one in known if _same(one, point)), None)
    if complete:
        ahead = [one for one in known if (one[0] > point[0]) == bool(slope[0] < 0)]
        return min(ahead, key=lambda one: abs(digits(one[0]) - point[0]), default=None)
    low = downhill(objective, [exact(x).value for x in point])
    if low is None:
        return None
    place = [digits(exactly) for exactly in map(_number, low)]
    found = _bracketed(objective, place) if len(place) == 1 else polished(objective, place)
    if found is None:
        return None
    return next((one for one in known if _same(one, found)), found)


def _number(value: float) -> Any:
    import sympy

    return sympy.Rational(value)


def _same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Equal to float64's precision."""
    return all(abs(digits(x) - digits(y)) <= 1e-12 * (1 + abs(digits(x))) for x, y in zip(first, second, strict=True))


def downhill(objective: Objective, point: list[float]) -> list[float] | None:
    """Where gradient descent with steps that change the gradient by at most half of it ends, in float64; None if it is lost."""
    slope = _gradient(objective, point)
    if slope is None:
        return None
    size = math.hypot(*slope)
    rate = (1 + math.hypot(*point)) / 64 / size if size else 0.0
    for _ in range(_STEPS):
        if size == 0:
            break
        tried = [x - rate * g for x, g in zip(point, slope, strict=True)]
        turned = _gradient(objective, tried)
        if turned is not None and math.dist(turned, slope) <= _TURNED * size:
            point, slope, rate = tried, turned, rate * 2
            size = math.hypot(*slope)
        else:
            rate /= 2
        if rate * size <= _SHORTEST * (math.hypot(*point) + _SHORTEST):
            break
    return point


def _gradient(objective: Objective, point: Sequence[float]) -> list[float] | None:
    """In float64, by the tape of the formula; None where it is not finite."""
    formula = objective.formula
    tape = sweep(formula, point)
    numbers = [tape.tangents([float(k == i) for k in range(len(point))])[formula.result] for i in range(len(point))]
    finite = math.isfinite(tape.numbers[formula.result]) and all(map(math.isfinite, numbers))
    return numbers if finite else None


def _bracketed(objective: Objective, point: Sequence[Any]) -> tuple[Any, ...] | None:
    """In one variable: from a place next to the minimum to both of its sides, then halved."""
    import sympy

    (place,) = point
    slope = slope_or_none(objective, point)
    if slope is None:
        return None
    width = (abs(place) + 1) * sympy.Rational(1, 2**50)
    direction = -1 if slope[0] > 0 else 1
    if slope[0] == 0:
        return closed_in(objective, place - width, place + width)
    for _ in range(_WIDENINGS):
        other = place + direction * width
        beyond = slope_or_none(objective, [other])
        if beyond is None:
            return None
        if beyond[0] == 0 or (beyond[0] > 0) != (slope[0] > 0):
            return closed_in(objective, *sorted((place, digits(other))))
        width *= 2
    return None

