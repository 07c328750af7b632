"""A quadratic function: its Hessian, eigenvalues and minimum, exactly where its coefficients are rational."""

from dataclasses import dataclass
from typing import Any

from torchstone.core.errors import UsageError
from torchstone.solve.optimization.numbers import DIGITS, exact, rational
from torchstone.solve.optimization.solution import Minimum

MAX_VARIABLES = 12
_LARGEST = 10**100


@dataclass(frozen=True)
class Quadratic:
    """x'Hx/2 + b'x + c with a minimum: H symmetric without negative eigenvalues, b in its range. Entries are sympy Rationals.

    `eigenvalues` ascend, each as often as it occurs; those that are 0 are counted by `flat`. `minimiser` is one of the minima.
    `known` says that the entries are the function's own, not rounded to 50 digits.
    """

    matrix: Any
    linear: Any
    eigenvalues: tuple[Any, ...]
    minimiser: Any
    value: Any
    known: bool

    @property
    def flat(self) -> int:
        """How many directions have no curvature."""
        return sum(eigenvalue == 0 for eigenvalue in self.eigenvalues)

    @property
    def curvatures(self) -> tuple[Any, ...]:
        """The positive eigenvalues, ascending."""
        return tuple(eigenvalue for eigenvalue in self.eigenvalues if eigenvalue != 0)

    def minimum(self) -> Minimum:
        """As plain numbers."""
        low, high = self.curvatures[0], self.curvatures[-1]
        return Minimum(tuple(exact(x) for x in self.minimiser), exact(self.value), exact(low), exact(high), self.flat)


def quadratic(expression: Any, variables: tuple[Any, ...]) -> Quadratic | None:
    """The quadratic that an expression is, or None. Raises UsageError for one without a minimum, or a constant."""
    import sympy

    if not expression.is_polynomial(*variables):
        return None
    polynomial = sympy.Poly(expression, *variables)
    if polynomial.total_degree() > 2:  # noqa: PLR2004 - a quadratic's
        return None
    coefficients = polynomial.coeffs()
    known = all(coefficient.is_Rational for coefficient in coefficients)
    origin = dict.fromkeys(variables, 0)
    hessian = sympy.Matrix([[rational(sympy.diff(expression, x, y)) for x in variables] for y in variables])
    slope = sympy.Matrix([rational(sympy.diff(expression, x).subs(origin)) for x in variables])
    return from_hessian(hessian, slope, rational(expression.subs(origin)), variables, known=known)


def from_hessian(hessian: Any, slope: Any, constant: Any, variables: tuple[Any, ...], *, known: bool) -> Quadratic:
    """The quadratic of a Hessian, a gradient and a value at 0; raises UsageError if it has no minimum."""
    eigenvalues = _eigenvalues(hessian, known=known)
    if eigenvalues[0] < 0:
        _curved_down(hessian, slope, eigenvalues, variables)
    if max(map(abs, eigenvalues)) > _LARGEST or min((abs(x) for x in eigenvalues if x != 0), default=1) < 1 / _LARGEST:
        message = f"curvatures lie between 1e-100 and 1e100; {_listed(eigenvalues)} came: change the scale of the variables"
        raise UsageError(message)
    minimiser = _stationary(hessian, slope)
    if minimiser is None:
        message = (
            f"the function has no minimum: it falls without end along a direction in which it is linear (curvatures "
            f"{_listed(eigenvalues)}); nearest: the same with {' + '.join(f'{x}**2/2' for x in map(str, variables))} added has one"
        )
        raise UsageError(message)
    if eigenvalues[-1] == 0:
        message = "the function is constant: every point is a minimum and no step moves; give one with a quadratic term"
        raise UsageError(message)
    value = constant + (slope.T * minimiser)[0] / 2
    if max(map(abs, (*minimiser, value))) > _LARGEST:
        place = ", ".join(str(exact(x)) for x in minimiser)
        message = f"a minimum and its value lie within 1e100; it is at {place}: change the scale of the variables or the function"
        raise UsageError(message)
    return Quadratic(hessian, slope, eigenvalues, tuple(minimiser), value, known)


def _eigenvalues(hessian: Any, *, known: bool) -> tuple[Any, ...]:
    """Real roots of the characteristic polynomial, in radicals where they are linear or quadratic, else to 50 digits."""
    import sympy

    if hessian.rows > MAX_VARIABLES:
        message = (
            f"exact eigenvalues are found for up to {MAX_VARIABLES} variables; {hessian.rows} came: "
            "torchstone.parts.optimization.curvature takes any number"
        )
        raise UsageError(message)
    roots = sympy.Poly(hessian.charpoly().as_expr(), domain="QQ").real_roots()
    found = [root.evalf(DIGITS) if root.has(sympy.polys.rootoftools.ComplexRootOf) else root for root in roots]
    if not known:  # entries were rounded: what is nothing but that rounding is zero
        size = max(abs(root) for root in found)
        found = [sympy.Integer(0) if abs(root) < size * sympy.Float(10) ** (10 - DIGITS) else root.evalf(DIGITS) for root in found]
    return tuple(sorted(found))


def _stationary(hessian: Any, slope: Any) -> Any:
    """One solution of H x = -b with zeros in what is free, or None."""
    try:
        solution, free = hessian.gauss_jordan_solve(-slope)
    except ValueError:
        return None
    return solution.subs(dict.fromkeys(free, 0))


def _curved_down(hessian: Any, slope: Any, eigenvalues: tuple[Any, ...], variables: tuple[Any, ...]) -> None:
    """Say that there is no minimum, and how far the function is from having one."""
    import sympy

    lowest = exact(eigenvalues[0])
    point = _stationary(hessian, slope)
    place = f" at ({', '.join(str(exact(x)) for x in point)})" if point is not None else ""
    what = f"a saddle{place}" if eigenvalues[-1] > 0 else f"a maximum{place}"
    needed = sympy.floor(-eigenvalues[0] / 2) + 1
    added = " + ".join(f"{needed}*{variable}**2" for variable in map(str, variables))
    message = (
        f"the function has no minimum but {what}: it falls without end along a direction of curvature {lowest}; nearest: the same "
        f"with {added} added has one"
    )
    raise UsageError(message)


def _listed(numbers: tuple[Any, ...]) -> str:
    return ", ".join(str(exact(number)) for number in numbers)
