"""Descent on a quadratic as a linear map: what one step does to the error, and what many do.

Along an eigenvector of the Hessian with eigenvalue (curvature) l, the gradient at error e = x - x* is g = l e, and every optimizer
here does, from V_0 = 0,

    V_t = beta V_{t-1} + c g_t,    x_t = x_{t-1} - eta (a V_t + b g_t),    g_t = the gradient at x_{t-1}

| optimizer | c | a | b | in torch.optim.SGD |
|---|---|---|---|---|
| gradient | 1 | 1 | 0 | momentum = 0 |
| momentum (heavy ball) | 1 | 1 | 0 | momentum = beta |
| averaged | 1 - beta | 1 | 0 | momentum = dampening = beta, buffer begun as zeros (else V_1 = g_1) |
| nesterov | 1 | beta | 1 | momentum = beta, nesterov = True: the parameter is the extrapolated point |

eta is the learning rate, beta the momentum. Formulas use arithmetic and powers only, so exact numbers give exact answers.
"""

import cmath
import math
from collections.abc import Sequence
from fractions import Fraction

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

OPTIMIZERS = ("gradient", "momentum", "averaged", "nesterov")
HALF = Fraction(1, 2)  # x ** HALF is a float for a float and a radical for a symbol
_QUADRATIC = "a quadratic with this curvature, its exact gradient"


def coefficients(optimizer: str, momentum: float) -> tuple[float, float, float]:
    """The (c, a, b) of an optimizer: V = beta V + c g, x = x - eta (a V + b g). Raises InvariantError for an unknown one.

    >>> coefficients("averaged", 0.75), coefficients("nesterov", 0.75)
    ((0.25, 1, 0), (1, 0.75, 1))
    """
    if optimizer not in OPTIMIZERS:
        message = f"an optimizer is one of {', '.join(OPTIMIZERS)}; {optimizer!r} came"
        raise InvariantError(message)
    if optimizer == "gradient" and momentum != 0:
        message = f"gradient descent has no momentum; {momentum} came: name the optimizer momentum, averaged or nesterov"
        raise InvariantError(message)
    return {"averaged": (1 - momentum, 1, 0), "nesterov": (1, momentum, 1)}.get(optimizer, (1, 1, 0))


def _finite(**numbers: float) -> None:
    wrong = {name: number for name, number in numbers.items() if not math.isfinite(number)}
    if wrong:
        message = f"finite numbers are needed; {', '.join(f'{name} = {number}' for name, number in wrong.items())} came"
        raise InvariantError(message)


def _steps(steps: int) -> None:
    if steps < 0:
        message = f"steps are counted from zero; {steps} came"
        raise InvariantError(message)


@law(
    "optimization.step_map",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=(_QUADRATIC, "one learning rate and momentum for all steps"),
    sources=("Polyak 1964, section 2 (heavy ball)", "Sutskever et al. 2013, appendix A.1 (Nesterov's, extrapolated)", "derivation"),
)
def step_map(optimizer: str, learning_rate: float, momentum: float, curvature: float) -> tuple[tuple[float, ...], ...]:
    """A step maps (error, V) linearly: ((1 - eta l (ac + b), -eta a beta), (c l, beta)), whatever the start.

    Gradient descent ignores V: its error is multiplied by 1 - eta l. (a, b, c) as in the module's table.

    >>> step_map("momentum", 0.5, 0.25, 1.0)
    ((0.5, -0.125), (1.0, 0.25))
    """
    _finite(learning_rate=learning_rate, momentum=momentum, curvature=curvature)
    c, a, b = coefficients(optimizer, momentum)
    return (
        (1 - learning_rate * curvature * (a * c + b), -learning_rate * a * momentum),
        (c * curvature, momentum),
    )


def _invariants(optimizer: str, learning_rate: float, momentum: float, curvature: float) -> tuple[float, float]:
    """Trace and determinant of the step's map: the sum and the product of its eigenvalues."""
    _finite(learning_rate=learning_rate, momentum=momentum, curvature=curvature)
    c, a, b = coefficients(optimizer, momentum)
    product = learning_rate * curvature
    return 1 + momentum - product * (a * c + b), momentum * (1 - product * b)


@law(
    "optimization.spectral_radius",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=(_QUADRATIC, "many steps: at a double eigenvalue the error is t times the radius to the t"),
    sources=("Polyak 1964, theorem 9", "Goh 2017, 'Why momentum really works'", "Gelfand 1941: the norm of M^t to the power 1/t"),
)
def spectral_radius(optimizer: str, learning_rate: float, momentum: float, curvatures: Sequence[float]) -> float:
    """A step shrinks the error by the spectral radius: (|s| + sqrt(s^2 - 4d))/2, or sqrt(d) where the root is imaginary.

    Trace s = 1 + beta - eta l (ac + b), determinant d = beta (1 - eta l b); the worst over all curvatures l. Gradient descent:
    max |1 - eta l|. Above 1 the descent diverges.

    >>> spectral_radius("gradient", 0.25, 0.0, [1.0, 10.0])
    1.5
    >>> spectral_radius("momentum", 0.25, 0.25, [1.0, 9.0])
    0.5
    """
    if not curvatures:
        message = "a spectral radius is the worst over one curvature or more; none came"
        raise InvariantError(message)
    return max(_radius(*_invariants(optimizer, learning_rate, momentum, curvature)) for curvature in curvatures)


def _radius(trace: float, determinant: float) -> float:
    discriminant = trace * trace - 4 * determinant
    return determinant**HALF if discriminant < 0 else (abs(trace) + discriminant**HALF) / 2


@law(
    "optimization.error_after",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=(_QUADRATIC, "V_0 = 0"),
    sources=("Cayley-Hamilton: M^t = U_t M - d U_{t-1} with U_t the complete homogeneous polynomial of M's eigenvalues",),
)
def error_after(optimizer: str, learning_rate: float, momentum: float, curvature: float, steps: int) -> float:
    """After t steps the share U_t (1 - eta l (ac + b)) - d U_{t-1} of the error is left, U_t = (p^t - q^t) / (p - q).

    p and q are the eigenvalues of the step's map, d = pq; gradient descent: (1 - eta l)^t. Negative beyond the minimum, 0 on it.

    >>> error_after("gradient", 2.0, 0.0, 0.5, 1), error_after("momentum", 1.0, 0.5, 0.5, 2)
    (0.0, 0.0)
    """
    _steps(steps)
    trace, determinant = _invariants(optimizer, learning_rate, momentum, curvature)
    if steps == 0:
        return 1.0
    (factor, _), _ = step_map(optimizer, learning_rate, momentum, curvature)
    root = cmath.sqrt(trace * trace - 4 * determinant)
    p, q = (trace + root) / 2, (trace - root) / 2
    return _homogeneous(p, q, steps) * factor - determinant * _homogeneous(p, q, steps - 1)


def _homogeneous(p: complex, q: complex, steps: int) -> float:
    """(p^t - q^t) / (p - q) as the sum that it is: no division by zero where p = q."""
    return sum(p**k * q ** (steps - 1 - k) for k in range(steps)).real


@law(
    "optimization.scheduled_error",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=(_QUADRATIC, "gradient descent, a learning rate for every step"),
    sources=("Richardson 1911, section 3.2: the error is multiplied by 1 - eta_t l in turn",),
)
def scheduled_error(learning_rates: Sequence[float], curvature: float) -> float:
    """Gradient descent with a rate for each step leaves the share (1 - eta_1 l)(1 - eta_2 l)... of the error.

    Rates that are the inverses of the curvatures, in any order, reach the minimum of any quadratic in as many steps as it has
    distinct curvatures. Fewer steps cannot, from a start that has a component along each.

    >>> scheduled_error([1.0, 0.25], 4.0), scheduled_error([1.0, 0.25], 1.0)
    (-0.0, 0.0)
    """
    _finite(curvature=curvature, **{f"rate {t}": rate for t, rate in enumerate(learning_rates, 1)})
    return math.prod(1 - rate * curvature for rate in learning_rates)


@law(
    "optimization.steps_to_tolerance",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("each step multiplies the error by the radius exactly: gradient descent along its slowest eigenvector",),
    sources=("radius^t <= tolerance solved for t; Nocedal and Wright 2006, section 3.3",),
)
def steps_to_tolerance(radius: float, tolerance: float) -> int:
    """The error falls to a share of itself in ln(tolerance) / ln(radius) steps, rounded up.

    Momentum at its best settings has a double eigenvalue: a few steps more. Raises InvariantError unless 0 <= radius < 1.

    >>> steps_to_tolerance(0.5, 1e-6), steps_to_tolerance(0.0, 1e-6), steps_to_tolerance(0.5, 0.25)
    (20, 1, 2)
    """
    if not (0 <= radius < 1 and 0 < tolerance < 1):
        message = f"a radius in [0, 1) and a tolerance in (0, 1) are needed; {radius}, {tolerance} came"
        raise InvariantError(message)
    if radius == 0:
        return 1
    steps = math.ceil(math.log(tolerance) / math.log(radius))
    # The quotient of two rounded logarithms can lie on the wrong side of a whole number.
    while steps > 1 and radius ** (steps - 1) <= tolerance:
        steps -= 1
    return steps + 1 if radius**steps > tolerance else steps
