"""What Lanczos' iteration finds of a Hessian's eigenvalues from products with vectors alone."""

from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

_SYMMETRIC = "a symmetric matrix, exact products"


@law(
    "optimization.ritz_range",
    Kind.BOUND,
    Unit.VALUE,
    assumes=(_SYMMETRIC,),
    sources=("Golub and Van Loan 2013, section 10.1.2: Ritz values are Rayleigh quotients", "Courant-Fischer"),
)
def ritz_range(eigenvalues: Sequence[float]) -> tuple[float, float]:
    """No Ritz value lies above the largest eigenvalue, and none below the smallest: (largest, minus the smallest) are upper bounds.

    So 2 over the largest Ritz value is never below the true divergence threshold 2 / lambda_max.

    >>> ritz_range([3.0, -1.0, 2.0])
    (3.0, 1.0)
    """
    if not eigenvalues:
        message = "a matrix has one eigenvalue or more; none came"
        raise InvariantError(message)
    return max(eigenvalues), -min(eigenvalues)


@law(
    "optimization.ritz_error",
    Kind.BOUND,
    Unit.VALUE,
    assumes=(_SYMMETRIC,),
    sources=("Golub and Van Loan 2013, theorem 10.1.2", "Parlett 1998, section 13.2"),
)
def ritz_error(coupling: float, last_component: float) -> float:
    """Within |beta_k s_k| of a Ritz value lies an eigenvalue: s_k ends its eigenvector of the tridiagonal matrix.

    `coupling` is beta_k, the norm that is left to go on with after k iterations.

    >>> ritz_error(0.5, -0.25)
    0.125
    """
    return abs(coupling * last_component)


@law(
    "optimization.lanczos_iterations",
    Kind.COUNT,
    Unit.COUNT,
    assumes=(_SYMMETRIC, "a start with a component along every eigenvalue, as random ones have"),
    sources=("Golub and Van Loan 2013, theorem 10.1.1: the Krylov space has the dimension of the start's minimal polynomial",),
)
def lanczos_iterations(eigenvalues: Sequence[float]) -> int:
    """Lanczos' iteration ends after as many iterations as the matrix has distinct eigenvalues, and has found them all.

    >>> lanczos_iterations([2.0, 2.0, 0.0, 5.0])
    3
    """
    return len(set(eigenvalues))
