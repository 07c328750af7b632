"""Second derivatives at a minimum where the pieces of relu, abs, max, min or where may meet: one for each side."""

from collections.abc import Sequence
from typing import Any

from torchstone.core.errors import UsageError
from torchstone.core.quantity import format_number
from torchstone.solve.optimization.numbers import DIGITS, digits, rational
from torchstone.solve.optimization.running import Objective

_BESIDE = DIGITS // 2  # digits: a side's place lies 1e-25 away, where a smooth second derivative differs by roundings
_EQUAL = 1e-10  # of the larger one: far above that difference, far below a jump that anybody means


def sides(objective: Objective, point: Sequence[Any]) -> list[list[Any]]:
    """The Hessian at a point of a smooth function, or of one whose pieces agree there; raises UsageError where they do not."""
    import sympy

    names = objective.variables
    hessian = [[sympy.diff(part, name) for name in names] for part in objective.gradient]
    pieces = (sympy.Abs, sympy.Max, sympy.Min, sympy.Piecewise, sympy.sign, sympy.Heaviside)
    if not objective.expression.has(*pieces):
        return [[objective.at(entry, point) for entry in row] for row in hessian]
    found = [(place, objective.slope(place), _entries(objective, hessian, place)) for place in _beside(point)]
    largest = max((abs(entry) for _, _, entries in found for row in entries for entry in row), default=0)
    slopes = [max(map(abs, slope)) for _, slope, _ in found]
    if max(slopes) > _EQUAL * max(1, largest):
        message = (
            f"{objective.text} has a kink at its minimum {objective.place(point)}, where {_slopes(found)}: it has no curvature, "
            "and no fixed rate settles there; nearest: the rate of one step (steps 1, with a start)"
        )
        raise UsageError(message)
    first = found[0][2]
    gap = max(abs(x - y) for _, _, entries in found for a, b in zip(first, entries, strict=True) for x, y in zip(a, b, strict=True))
    if gap > _EQUAL * largest:
        raise UsageError(_jump(objective, point, [entries for _, _, entries in found]))
    return first


def _beside(point: Sequence[Any]) -> list[list[Any]]:
    """A place on either side mostly along every coordinate, and on no border that is parallel to one."""
    import sympy

    width = sympy.Rational(1, 10**_BESIDE) * max(1, sympy.ceiling(max(abs(rational(x)) for x in point)))
    moved = range(len(point))
    shares = [[sympy.Rational(1, 1 if k == i else 3 + k) for k in moved] for i in moved]
    return [[rational(x) + sign * width * share for x, share in zip(point, row, strict=True)] for row in shares for sign in (-1, 1)]


def _entries(objective: Objective, hessian: Sequence[Sequence[Any]], place: Sequence[Any]) -> list[list[Any]]:
    return [[objective.at(entry, place) for entry in row] for row in hessian]


def _slopes(found: Sequence[tuple[Any, Any, Any]]) -> str:
    low, high = (format_number(float(found[k][1][0])) for k in (0, 1))
    return f"its slope jumps from {low} to {high}" if len(found) == 2 else "its gradient jumps"  # noqa: PLR2004 - one variable's sides


def _jump(objective: Objective, point: Sequence[Any], found: Sequence[Any]) -> str:
    """The curvature of each side, and for which of them a setting is safe."""
    import sympy

    place = objective.place(point)
    if len(point) == 1:
        left, right = (format_number(float(digits(entries[0][0]))) for entries in found)
        largest = max(float(digits(entries[0][0])) for entries in found)
        said = f"jumps at its minimum {place}, from {left} on the left to {right} on the right"
    else:
        largest = max(float(max(sympy.Matrix(entries).evalf().eigenvals(multiple=True), key=sympy.re)) for entries in found)
        said = f"jumps at its minimum {place}"
    near = f"nearest: gradient descent with a rate below 2/λ for the larger one, λ = {format_number(largest)}"
    return f"the curvature of {objective.text} {said}: no one rate is best; {near}"
