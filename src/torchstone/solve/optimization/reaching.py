"""Which learning rate or momentum ends on a quadratic's minimum after so many steps: all real ones.

The recursion is run on polynomials of the unknown. Every coordinate of the last gradient must vanish, so the solutions are the real
roots of their greatest common divisor: exact, and none is missed.
"""

from collections.abc import Sequence
from typing import Any

from torchstone.core.errors import UsageError
from torchstone.solve.optimization.numbers import exact
from torchstone.solve.optimization.quadratic import Quadratic
from torchstone.solve.optimization.running import step, times

MAX_STEPS = 32
_OTHERS = 4


def roots(
    quadratic: Quadratic, optimizer: str, rate: Any, momentum: Any, start: Sequence[Any] | None, steps: int
) -> list[Any] | None:
    """Real values of the unknown (the one of `rate` and `momentum` that is None), ascending; None if every value does.

    Without a start, those that reach the minimum from every start. Raises UsageError for more than MAX_STEPS steps with momentum.
    """
    import sympy
    from sympy.polys.rings import ring

    if optimizer == "gradient":
        steps = 1  # (1 - eta l)^t vanishes where 1 - eta l does
    if steps > MAX_STEPS:
        message = f"exact settings are found for up to {MAX_STEPS} steps; {steps} came: leave them out for the best fixed one"
        raise UsageError(message)
    domain, unknown = ring("u", sympy.QQ)
    eta = unknown if rate is None else domain(_element(rate))
    beta = unknown if momentum is None else domain(_element(momentum))
    hessian = _Hessian(quadratic.matrix)
    common = domain(0)
    for error in _errors(quadratic, start):
        point, buffer = [domain(_element(x)) for x in error], [domain(0) for _ in error]
        for _ in range(steps):
            point, buffer = step(optimizer, eta, beta, point, buffer, hessian.times(point))
        for part in hessian.times(point):
            common = common.gcd(part)
    if common == 0:
        return None
    if common.degree() <= 0:
        return []
    return list(sympy.Poly(common.as_expr(), sympy.Symbol("u"), domain="QQ").sqf_part().real_roots())


class _Hessian:
    """The matrix with entries of sympy's rational field, which multiply with polynomials."""

    def __init__(self, matrix: Any) -> None:
        self.rows = [[_element(entry) for entry in row] for row in matrix.tolist()]

    def times(self, vector: Sequence[Any]) -> list[Any]:
        return [sum((h * x for h, x in zip(row[1:], vector[1:], strict=True)), row[0] * vector[0]) for row in self.rows]


def _element(number: Any) -> Any:
    from sympy import QQ

    return QQ(int(number.p), int(number.q))


def _errors(quadratic: Quadratic, start: Sequence[Any] | None) -> list[list[Any]]:
    """The start's distance to the minimum; without a start, every unit vector: what works for all works for each sum of them."""
    import sympy

    if start is not None:
        return [[x - y for x, y in zip(start, quadratic.minimiser, strict=True)]]
    return sympy.eye(quadratic.matrix.rows).tolist()  # type: ignore[no-any-return]


def curvatures_met(quadratic: Quadratic, start: Sequence[Any] | None) -> list[Any]:
    """The distinct positive curvatures along which the start has a part: the roots of its gradient's minimal polynomial."""
    import sympy

    if start is None:
        return list(dict.fromkeys(quadratic.curvatures))
    vectors = [list(times(quadratic.matrix, start, quadratic.linear))]
    none = [0] * len(vectors[0])
    while sympy.Matrix(vectors).rank() == len(vectors):
        vectors.append(list(times(quadratic.matrix, vectors[-1], none)))
    relation = sympy.Matrix(vectors).T.nullspace()[0]
    unknown = sympy.Symbol("u")
    polynomial = sympy.Poly(sum(c * unknown**k for k, c in enumerate(relation)), unknown, domain="QQ")
    return list(polynomial.real_roots())


def nearest_steps(quadratic: Quadratic, optimizer: str, rate: Any, momentum: Any, start: Sequence[Any] | None, steps: int) -> str:
    """The nearest number of steps for which there is a setting in the usual range, in words; empty if none is near."""
    for distance in range(1, _OTHERS + 1):
        for other in (steps + distance, steps - distance):
            if not 1 <= other <= MAX_STEPS:
                continue
            found = roots(quadratic, optimizer, rate, momentum, start, other)
            usual = [root for root in found or () if (root > 0 if rate is None else 0 <= root < 1)]
            if usual:
                name = "learning rate" if rate is None else "momentum"
                return f"{other} step{'s' * (other > 1)}, where the {name} {exact(usual[0])} does"
    return ""
