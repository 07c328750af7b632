"""Depthwise separable convolution: the ordinary kernel that it is, and what an ordinary one loses as such.

Axis letters: o output channels, c input channels, k taps, r rank (filters for each input channel).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "convolution.separable_kernel",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("no activation between the halves", "filter j of channel c is number c r + j"),
    sources=("Sifre 2014, section 6.2", "Chollet 2017, section 3: an ordinary convolution's kernel factorised"),
)
def separable_kernel(depthwise: Sequence[Any], pointwise: Sequence[Any], rank: int = 1) -> tuple[Any, ...]:
    """A depthwise convolution and a pointwise one are one with kernel W[o, c, k] = sum over j < r of P[o, c r + j] D[c r + j, k].

    `depthwise` is D (c r, taps in a row), `pointwise` P (o, c r).

    >>> separable_kernel([[1, 2], [3, 4]], [[1, 10]])
    (((1, 2), (30, 40)),)
    >>> separable_kernel([[1, 2], [3, 4]], [[1, 10]], rank=2)
    (((31, 42),),)
    """
    filters = len(depthwise)
    if rank < 1 or not filters or filters % rank or any(len(row) != filters for row in pointwise):
        came = f"{filters} filters, rank {rank}, mixtures of {[*map(len, pointwise)]} came"
        message = f"every output mixes all c r depthwise filters; {came}"
        raise InvariantError(message)
    return tuple(
        tuple(
            tuple(sum(row[j] * depthwise[j][k] for j in range(first, first + rank)) for k in range(len(depthwise[0])))
            for first in range(0, filters, rank)
        )
        for row in pointwise
    )


@law(
    "convolution.separable_error",
    Kind.BOUND,
    Unit.NORM,
    assumes=("Frobenius norm over the whole kernel", "r filters for each input channel"),
    sources=("Eckart and Young 1936: the best approximation of lower rank", "Mirsky 1960: in every unitarily invariant norm"),
)
def separable_error(singular_values: Sequence[Sequence[float]], rank: int) -> float:
    """No separable kernel of rank r comes closer to W than the root of the squares of all singular values beyond the r-th.

    `singular_values` are those of each W[:, c] as a matrix (o, taps), one row for each input channel, falling. Attained by keeping
    the r largest of each channel.

    >>> separable_error([[4.0, 3.0], [5.0, 0.0]], rank=1), separable_error([[4.0, 3.0], [5.0, 0.0]], rank=2)
    (3.0, 0.0)
    """
    if rank < 0 or any(sooner < later for row in singular_values for sooner, later in itertools.pairwise([*row, 0.0])):
        message = f"falling singular values, none negative, and a rank of 0 or more are needed; {singular_values}, {rank} came"
        raise InvariantError(message)
    return math.sqrt(math.fsum(value**2 for row in singular_values for value in row[rank:]))
