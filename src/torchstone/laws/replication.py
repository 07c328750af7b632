"""Replication: how many different models the ranks of a data-parallel run hold. Counts."""

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "replication.distinct_models",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("every rank has data of its own", "the same optimizer and settings on every rank", "every parameter is replicated"),
    sources=("Li et al. 2020, PyTorch Distributed, section 3: the same first state, the same averaged gradients",),
)
def distinct_models(ranks: int, *, same_start: bool = True, averaged: bool = True) -> int:
    """Ranks that start equal and step along averaged gradients hold one model at every step; otherwise each its own.

    >>> distinct_models(8), distinct_models(8, averaged=False)
    (1, 8)
    """
    if ranks < 1:
        message = f"at least 1 rank holds a model; {ranks} came"
        raise InvariantError(message)
    return 1 if same_start and averaged else ranks
