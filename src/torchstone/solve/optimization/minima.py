"""Minima of functions that are no quadratic: every one of a polynomial in one variable, else those that a search finds."""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

from torchstone.core.errors import UsageError
from torchstone.solve.optimization.kinks import sides
from torchstone.solve.optimization.numbers import DIGITS, digits, rational
from torchstone.solve.optimization.quadratic import Quadratic, from_hessian
from torchstone.solve.optimization.running import Objective

_ROUNDS = 60
_HALVINGS = 30
_SIMPLE = 1000  # the largest denominator that a decimal is recognised by
_WIDTHS = 24
_BEGUN = ((1, 1), (2, -1), (1000, 1))  # where a search begins without a start: scale and sign of unlike coordinates


def minima(objective: Objective, start: Sequence[Any] | None) -> list[tuple[Any, ...]]:
    """Points with a zero gradient from which the function rises, the lowest first; in radicals or Rationals where they have such.

    Raises UsageError if none is found: a function without one, or one that no search from the start (by default 0) reaches.
    """
    import sympy

    if len(objective.variables) == 1:
        slope, variable = objective.gradient[0], objective.variables[0]
        if slope == 0:
            message = "the function is constant: every point is a minimum and no step moves; give one with a quadratic term"
            raise UsageError(message)
        polynomial = slope.is_polynomial(variable) and all(c.is_Rational for c in sympy.Poly(slope, variable).coeffs())
        points = list(_turning(slope, variable) if polynomial else _scanned(objective, start))
    else:
        points = _descended(objective, start)
    found = sorted(points, key=lambda point: objective.at(objective.expression, [digits(x) for x in point]))
    if not found:
        begun = "0" if start is None else ", ".join(str(x) for x in start)
        message = (
            f"no minimum of {objective.text} was found from the start {begun}: it has none, or none that is curved; if it has, "
            "start near it"
        )
        raise UsageError(message)
    return found


def local(objective: Objective, point: Sequence[Any]) -> Quadratic:
    """The quadratic with the function's Hessian at a minimum. Raises UsageError where the curvature there is zero."""
    import sympy

    names = objective.variables
    rows = sides(objective, point)
    hessian = sympy.Matrix([[rational(entry) for entry in row] for row in rows])
    where = sympy.Matrix([rational(x) for x in point])
    known = all(entry.is_Rational for row in rows for entry in row)
    if all(entry == 0 for entry in hessian):
        message = f"the curvature of {objective.text} is 0 at its minimum: descent slows down without end there, no rate is best"
        raise UsageError(message)
    slope = -(hessian * where)
    value = rational(objective.at(objective.expression, point)) + (where.T * hessian * where)[0] / 2
    return from_hessian((hessian + hessian.T) / 2, slope, value, names, known=known)


def slope_or_none(objective: Objective, point: Sequence[Any]) -> list[Any] | None:
    """The gradient, or None where the function has none."""
    try:
        return objective.slope(point)
    except UsageError:
        return None


def closed_in(objective: Objective, low: Any, high: Any) -> tuple[Any, ...] | None:
    """The minimum of a function of one variable between a falling and a rising place; None for a pole or a jump."""
    found = _halved(objective, digits(low), digits(high)) if slope_or_none(objective, [low]) else None
    return None if found is None else tuple(_recognised(objective, [found]))


def polished(objective: Objective, point: Sequence[Any]) -> tuple[Any, ...] | None:
    """The minimum that Newton's steps reach from a point near it, or None."""
    import sympy

    names = objective.variables
    hessian = [[sympy.diff(part, name) for name in names] for part in objective.gradient]
    try:
        return _newton(objective, hessian, [digits(x) for x in point])
    except UsageError:  # a kink, or out of the domain
        return None


def complete(objective: Objective) -> bool:
    """Whether `minima` finds every one: the function is a polynomial with rational coefficients in one variable."""
    return len(objective.variables) == 1 and objective.rational


def _turning(slope: Any, variable: Any) -> Iterator[tuple[Any, ...]]:
    """Roots of a polynomial's derivative at which it changes from falling to rising: of odd multiplicity, rising beyond."""
    import sympy

    polynomial = sympy.Poly(slope, variable)
    roots = polynomial.real_roots()
    places = sorted(set(roots))
    for index, root in enumerate(places):
        if roots.count(root) % 2 == 0:
            continue
        beyond = (root + places[index + 1]) / 2 if index + 1 < len(places) else sympy.ceiling(root) + 1
        if polynomial.eval(rational(beyond)) > 0:
            yield (root,)


def _scanned(objective: Objective, start: Sequence[Any] | None) -> Iterator[tuple[Any, ...]]:
    """Sign changes of the derivative on a grid that widens from the start, closed in on by halving: the nearest on either side."""
    import sympy

    centre = rational(start[0]) if start else sympy.Integer(0)
    reaches = [sympy.Rational(1, 8) * sympy.Rational(3, 2) ** k for k in range(_WIDTHS)]
    places = [centre - reach for reach in reversed(reaches)] + [centre] + [centre + reach for reach in reaches]
    known = [(place, _slope(objective, place)) for place in map(digits, places)]
    known += [pair for first, second in pairwise(known) for pair in _border(objective, first, second)]
    rising = [
        (low, high)
        for (low, below), (high, above) in pairwise(sorted(known))
        if below is not None and above is not None and below < 0 <= above
    ]
    for side in ([pair for pair in reversed(rising) if pair[1] <= centre], [pair for pair in rising if pair[1] > centre]):
        closed = (_halved(objective, *pair) for pair in side)
        yield from (tuple(_recognised(objective, [x])) for x in islice((x for x in closed if x is not None), 1))


def _border(objective: Objective, first: tuple[Any, Any], second: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Places ever nearer to where the function begins to be defined, if it does between these two."""
    if (first[1] is None) == (second[1] is None):
        return
    inside, outside = (first, second) if second[1] is None else (second, first)
    for _ in range(_WIDTHS):
        middle = (inside[0] + outside[0]) / 2
        slope = _slope(objective, middle)
        if slope is None:
            outside = (middle, None)
        else:
            inside = (middle, slope)
            yield inside


def _slope(objective: Objective, place: Any) -> Any:
    try:
        return objective.slope([place])[0]
    except UsageError:  # not defined there
        return None


def _halved(objective: Objective, low: Any, high: Any) -> Any:
    """Between a falling and a rising place: a zero of the derivative, or a kink; None for a pole or a jump."""
    import sympy

    size = max(abs(objective.slope([low])[0]), abs(objective.slope([high])[0]))
    for _ in range(3 * DIGITS):
        middle = (low + high) / 2
        slope = _slope(objective, middle)
        if slope is None:
            return None
        low, high = (middle, high) if slope < 0 else (low, middle)
    jump = abs(objective.at(objective.expression, [high]) - objective.at(objective.expression, [low]))
    steep = max(abs(objective.slope([low])[0]), abs(objective.slope([high])[0]))
    return high if steep <= 2 * size and jump <= sympy.Float(10) ** (15 - DIGITS) else None


def _descended(objective: Objective, start: Sequence[Any] | None) -> list[tuple[Any, ...]]:
    """Newton's method with a Hessian made positive, each step halved until the function falls; then to all digits."""
    import sympy

    names = objective.variables
    hessian = [[sympy.diff(part, name) for name in names] for part in objective.gradient]
    begun = [list(start)] if start else [[sympy.Rational(sign**k, scale + k) for k in range(len(names))] for scale, sign in _BEGUN]
    tried = (_newton(objective, hessian, [digits(x) for x in point]) for point in begun)
    return next(([point] for point in tried if point is not None), [])


def _newton(objective: Objective, hessian: Sequence[Sequence[Any]], point: list[Any]) -> tuple[Any, ...] | None:
    """Where Newton's steps end, if they shrink to nothing and the curvatures there are positive."""
    import sympy

    for _ in range(_ROUNDS):
        slope = sympy.Matrix(objective.slope(point))
        if max(map(abs, slope)) < sympy.Float(10) ** (5 - DIGITS):
            break
        matrix = sympy.Matrix([[objective.at(entry, point) for entry in row] for row in hessian])
        following = _fallen(objective, point, slope, matrix)
        if following is None:
            break
        point = following
    curved = sympy.Matrix([[objective.at(entry, point) for entry in row] for row in hessian])
    slope = sympy.Matrix(objective.slope(point))
    if _shift(curved) != 0 or max(map(abs, slope)) > sympy.Float(10) ** (15 - DIGITS):
        return None
    onward = max(map(abs, curved.LUsolve(slope)))  # 1 for exp, whose slope vanishes only at infinity
    return tuple(_recognised(objective, point)) if onward < sympy.Float(10) ** (20 - DIGITS) else None


def _fallen(objective: Objective, point: Sequence[Any], slope: Any, matrix: Any) -> list[Any] | None:
    """One Newton step, halved until the function falls; None if it does not."""
    import sympy

    move = (matrix + _shift(matrix) * sympy.eye(matrix.rows)).LUsolve(slope)
    here = objective.at(objective.expression, point)
    for halving in range(_HALVINGS):
        tried = [digits(x - m / 2**halving) for x, m in zip(point, move, strict=True)]
        try:
            if objective.at(objective.expression, tried) <= here:
                return tried
        except UsageError:  # out of the function's domain: a shorter step
            continue
    return None


def _shift(matrix: Any) -> Any:
    """What must be added to the diagonal for positive eigenvalues: nothing if the pivots are, else by Gershgorin's circles."""
    import sympy

    try:
        if all(pivot > 0 for pivot in matrix.LDLdecomposition(hermitian=False)[1].diagonal()):
            return 0
    except (ValueError, ZeroDivisionError):
        pass
    rows = range(matrix.rows)
    lowest = min(matrix[i, i] - sum(abs(matrix[i, j]) for j in rows if j != i) for i in rows)
    return max(-lowest, 0) + sympy.Rational(1, 1000) + abs(lowest) / 1000


def _recognised(objective: Objective, point: Sequence[Any]) -> list[Any]:
    """The simple rational point that a decimal one is, if the gradient there is exactly zero; else the decimal one."""
    import sympy

    near = [sympy.Rational(str(x)).limit_denominator(_SIMPLE) for x in point]
    if any(abs(x - y) > sympy.Float(10) ** -12 for x, y in zip(near, point, strict=True)):
        return list(point)
    at = dict(zip(objective.variables, near, strict=True))
    return near if all(sympy.simplify(part.subs(at)) == 0 for part in objective.gradient) else list(point)
