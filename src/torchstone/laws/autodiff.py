"""Automatic differentiation: when values and gradients stay finite."""

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "autodiff.non_finite_values",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("finite inputs", "no constant infinity was put in on purpose (attention masks)"),
    sources=("Griewank and Walther 2008, section 2.1: elemental functions on their open domains", "IEEE 754, section 7"),
)
def non_finite_values(poles: int, overflows: int = 0) -> int:
    """Finite inputs give finite values, except where an operation meets a pole or overflows: one each.

    >>> non_finite_values(0)
    0
    >>> non_finite_values(poles=1)
    1
    """
    if poles < 0 or overflows < 0:
        message = f"poles and overflows are counted from zero; {poles}, {overflows} came"
        raise InvariantError(message)
    return poles + overflows
