"""The best fixed setting of each optimizer for given curvatures, and what it does."""

from collections.abc import Sequence
from typing import Any

from torchstone.laws import optimization
from torchstone.solve.optimization.numbers import exact, simplest
from torchstone.solve.optimization.quadratic import Quadratic
from torchstone.solve.optimization.running import steps_taken
from torchstone.solve.optimization.solution import Plan

TOLERANCE = 1e-6
_LONGEST = 5000


def plans(quadratic: Quadratic, start: Sequence[Any] | None) -> tuple[Plan, ...]:
    """One for each optimizer; `taken` is counted in a run from the start, None without one."""
    return tuple(plan(optimizer, quadratic, start) for optimizer in optimization.OPTIMIZERS)


def plan(optimizer: str, quadratic: Quadratic, start: Sequence[Any] | None) -> Plan:
    """By the laws' own formulas on exact numbers."""
    low, high = quadratic.curvatures[0], quadratic.curvatures[-1]
    rate, momentum = (simplest(number) for number in optimization.best_hyperparameters(optimizer, low, high))
    convergence = simplest(optimization.best_convergence(optimizer, low, high))
    threshold = simplest(optimization.divergence_threshold(optimizer, momentum, high))
    radius = max(0.0, float(convergence))
    predicted = optimization.steps_to_tolerance(radius, TOLERANCE) if radius < 1 else None
    counted = start is not None and predicted is not None
    taken = _taken(optimizer, quadratic, float(rate), float(momentum), start or (), predicted or 0) if counted else None
    return Plan(optimizer, exact(rate), exact(momentum), exact(convergence), exact(threshold), predicted, taken)


def _taken(
    optimizer: str, quadratic: Quadratic, rate: float, momentum: float, start: Sequence[Any], predicted: int
) -> int | None:
    horizon = 2 * predicted + 50
    if horizon > _LONGEST:
        return None
    matrix = [[float(entry) for entry in row] for row in quadratic.matrix.tolist()]
    error = [float(x - y) for x, y in zip(start, quadratic.minimiser, strict=True)]
    return steps_taken(matrix, optimizer, rate, momentum, error, TOLERANCE, horizon, flat=bool(quadratic.flat))
