"""The recursion of an optimizer carried out: in rational numbers, to 50 digits, or in polynomials of what is unknown."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torchstone.core.errors import UsageError
from torchstone.laws.optimization.dynamics import coefficients
from torchstone.solve.optimization.numbers import DIGITS, digits, exact
from torchstone.solve.optimization.quadratic import Quadratic
from torchstone.solve.optimization.solution import Row, Run
from torchstone.traces.expression import Expression, values

SHOWN = 100
MAX_STEPS = 10_000
EXACT_STEPS = 200  # beyond, fractions grow longer than anybody reads
_NEAR = 10.0 ** (20 - DIGITS)
_FAR = 1e100
_STEEP = {"**"}  # exp and the like are cheap wherever float64 sees them finite
_LARGEST_EXPONENT = 1e6


@dataclass(frozen=True)
class Objective:
    """A function of several variables: its formula, sympy's expression, symbols and gradient, and the quadratic that it may be."""

    formula: Expression
    expression: Any
    variables: tuple[Any, ...]
    gradient: tuple[Any, ...]
    quadratic: Quadratic | None

    @property
    def text(self) -> str:
        """The formula as it was written."""
        return self.formula.text

    @property
    def rational(self) -> bool:
        """Whether the function takes rational numbers to rational ones: it is a polynomial with rational coefficients."""
        import sympy

        polynomial = self.expression.is_polynomial(*self.variables)
        return polynomial and all(c.is_Rational for c in sympy.Poly(self.expression, *self.variables).coeffs())

    def slope(self, point: Sequence[Any]) -> list[Any]:
        """The gradient at a point of Rationals or of Floats; raises UsageError where there is none."""
        if self.quadratic is not None:
            return list(times(self.quadratic.matrix, point, self.quadratic.linear))
        return [self.at(part, point) for part in self.gradient]

    def value(self, point: Sequence[Any], slope: Sequence[Any]) -> Any:
        """The function's value where its gradient is `slope`: above a quadratic's minimum, half the error times the gradient."""
        if self.quadratic is None:
            return self.at(self.expression, point)
        errors = zip(point, self.quadratic.minimiser, slope, strict=True)
        return self.quadratic.value + sum((x - y) * g for x, y, g in errors) / 2

    def at(self, expression: Any, point: Sequence[Any]) -> Any:
        """An expression's value at a point: exact at a rational one where it stays rational, else to 50 digits."""
        import sympy

        found = expression.subs(dict(zip(self.variables, point, strict=True))) if self._computable(point) else sympy.nan
        if found.has(sympy.DiracDelta):  # the second derivative of a kink
            found = sympy.nan
        if not found.is_Rational:
            found = digits(found) if found.is_real else sympy.nan
        if not found.is_finite:
            message = f"the function {self.text} or its gradient has no finite value at {self.place(point)}: start elsewhere"
            raise UsageError(message)
        return found


    def place(self, point: Sequence[Any]) -> str:
        """A point in words."""
        return ", ".join(f"{name} = {exact(x)}" for name, x in zip(map(str, self.variables), point, strict=True))

    def _computable(self, point: Sequence[Any]) -> bool:
        """Whether float64 sees finite numbers all the way: arbitrary precision would compute towers of exponents for hours."""
        numbers = values(self.formula, [exact(x).value for x in point])
        last = [row.arguments[-1] for row in self.formula.rows if row.operation in _STEEP]
        exponents = [numbers[at] for at in last if isinstance(at, int)]
        return all(map(math.isfinite, numbers.values())) and all(abs(number) < _LARGEST_EXPONENT for number in exponents)


def times(matrix: Any, vector: Sequence[Any], constant: Sequence[Any]) -> Iterator[Any]:
    """Matrix times vector plus constant, for entries of any kind that multiply with each other."""
    for row, last in zip(range(matrix.rows), constant, strict=True):
        total = last + matrix[row, 0] * vector[0]
        for column in range(1, matrix.cols):
            total += matrix[row, column] * vector[column]
        yield total


def step(
    optimizer: str, rate: Any, momentum: Any, point: Sequence[Any], buffer: Sequence[Any], slope: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """The next point and buffer: V = beta V + c g, x = x - eta (a V + b g) with the laws' own (c, a, b)."""
    c, a, b = coefficients(optimizer, momentum)
    following = [momentum * v + c * g for v, g in zip(buffer, slope, strict=True)]
    moved = [x - rate * (a * v + b * g) for x, v, g in zip(point, following, slope, strict=True)]
    return moved, following


def run(
    objective: Objective, optimizer: str, rate: Any, momentum: Any, start: Sequence[Any], steps: int,
    minima: Sequence[Sequence[Any]] | Callable[[Sequence[Any] | None], Sequence[Sequence[Any]]] = (),
) -> Run:
    """So many steps from a start, or fewer where the next would leave every bound or the function's domain.

    `minima` are those of a function that is no quadratic, or tell them from where the run ends (None if it leaves every bound);
    a quadratic knows its own.
    """  # fmt: skip
    if steps > MAX_STEPS:
        message = f"a run has at most {MAX_STEPS:,} steps; {steps:,} came: leave them out for the long-run rate"
        raise UsageError(message)
    rational = steps <= EXACT_STEPS and all(number.is_Rational for number in (rate, momentum, *start))
    rational = rational and objective.rational and (objective.quadratic is not None or steps == 1)
    exactly = [lambda x: x, digits][not rational]
    rate, point = exactly(rate), [exactly(x) for x in start]
    momentum = exactly(momentum) if momentum != 0 else momentum
    slope, buffer, rows, visited, done = objective.slope(point), [0 * x for x in point], [], [], 0
    for done in range(steps + 1):
        visited.append(point)
        moved, following = (list(map(exactly, new)) for new in step(optimizer, rate, momentum, point, buffer, slope))
        onward = None if done == steps else _slope(objective, moved)
        if done <= SHOWN or onward is None:
            rows.append(_row(objective, done, point, slope, buffer))
        if onward is None:
            break
        point, buffer, slope = moved, following, onward
    known = minima(point if done == steps else None) if callable(minima) else minima
    near = 0 if rational else _NEAR * max(1.0, _distance(objective, visited[0], known))
    arrived = [number for number, place in enumerate(visited) if _distance(objective, place, known) <= near]
    stays = done in arrived and _distance(objective, moved, known) <= near
    beyond = "beyond all bounds" if max(map(abs, moved)) > _FAR else "where the function is not finite"
    ended = "" if done == steps else f"step {done + 1} leads to {objective.place(moved)}, {beyond}"
    return Run(done, rational, tuple(rows), tuple(arrived), stays, _distance(objective, point, known), ended)


def _slope(objective: Objective, point: Sequence[Any]) -> list[Any] | None:
    """The gradient, or None out of every bound and where there is none."""
    try:
        return None if max(map(abs, point)) > _FAR else objective.slope(point)
    except UsageError:
        return None


def _row(objective: Objective, done: int, point: Sequence[Any], slope: Sequence[Any], buffer: Sequence[Any]) -> Row:
    value = exact(objective.value(point, slope))
    shown = ([exact(x) for x in numbers] for numbers in (point, slope, buffer))
    where, gradient, carried = map(tuple, shown)
    return Row(done, where, value, gradient, carried)


def _distance(objective: Objective, point: Sequence[Any], minima: Sequence[Sequence[Any]]) -> float:
    """How far a point is from the nearest minimum; if those extend along flat directions, at most how far."""
    quadratic = objective.quadratic
    if quadratic is not None and quadratic.flat:
        return math.hypot(*map(float, objective.slope(point))) / float(quadratic.curvatures[0])
    known = minima if quadratic is None else (quadratic.minimiser,)
    return min(math.hypot(*(float((x - y).evalf(DIGITS)) for x, y in zip(point, known_one, strict=True))) for known_one in known)


def steps_taken(
    matrix: Sequence[Sequence[float]], optimizer: str, rate: float, momentum: float, error: Sequence[float],
    tolerance: float, horizon: int, *, flat: bool,
) -> int | None:
    """After how many steps a float64 run on x'Hx/2 has its error below this share of the first, and keeps it there; None if never.

    Along flat directions an error stays: there H x is what must shrink.
    """  # fmt: skip

    def product(vector: Sequence[float]) -> list[float]:
        return [sum(h * x for h, x in zip(row, vector, strict=True)) for row in matrix]

    slope = product(error)
    buffer, goal, last = [0.0] * len(error), tolerance * math.hypot(*(slope if flat else error)), 0
    for done in range(1, horizon + 1):
        error, buffer = step(optimizer, rate, momentum, error, buffer, slope)
        slope = product(error)
        if not math.hypot(*(slope if flat else error)) <= goal:
            last = done
    return last + 1 if last < horizon else None
