"""Separable attention, softmax_row(Q) softmax_col(K)ᵀ V: its weights, what they cost, and what they cannot be.

Matrices are nested sequences: queries (t, d), keys (s, d), values (s, e); n where t = s.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Vector = Sequence[float]
Matrix = Sequence[Vector]
_SHEN = "Shen et al. 2021 (efficient attention), section 3"
_ECKART = "Eckart and Young 1936: the nearest matrix of rank r leaves the singular values beyond r"


def _softmax(row: Vector) -> list[float]:
    top = max(row)
    powers = [math.exp(x - top) for x in row]
    total = math.fsum(powers)
    return [power / total for power in powers]


def _checked(*matrices: Matrix) -> None:
    widths = sorted({len(row) for matrix in matrices for row in matrix})
    if not all(matrices) or len(widths) != 1 or widths[0] < 1:
        message = f"queries and keys are rows of one width, one or more; widths {widths} came"
        raise InvariantError(message)


def _counted(**counts: int) -> None:
    wrong = {name: count for name, count in counts.items() if count < 1}
    if wrong:
        message = f"sizes are 1 or more; {wrong} came"
        raise InvariantError(message)


@law(
    "attention.separable_weights",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("no scale: the definition has none",),
    sources=(_SHEN,),
)
def separable_weights(query: Matrix, key: Matrix) -> list[list[float]]:
    """Separable attention has the weights softmax_row(Q) softmax_col(K)ᵀ: each query mixes d distributions over the keys.

    Rows for queries, columns for keys; the columns of softmax_col(K) are those d distributions, which all queries share.

    >>> separable_weights([[0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    [[0.5, 0.5]]
    """
    _checked(query, key)
    columns = [_softmax(column) for column in zip(*key, strict=True)]
    shares = [_softmax(row) for row in query]
    return [[math.fsum(p * column[j] for p, column in zip(row, columns, strict=True)) for j in range(len(key))] for row in shares]


@law(
    "attention.separable_row_sums",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=("sum over j and c of p_ic s_jc = sum over c of p_ic = 1", _SHEN),
)
def separable_row_sums(queries: int) -> tuple[float, ...]:
    """The weights of each query sum to 1: shares of d distributions that sum to 1 each. One sum for every query.

    >>> separable_row_sums(3)
    (1.0, 1.0, 1.0)
    """
    _counted(queries=queries)
    return (1.0,) * queries


@law(
    "attention.separable_least_weights",
    Kind.BOUND,
    Unit.VALUE,
    sources=("sum over c of p_ic s_jc is a mean of the s_jc, so at least the least of them, which is positive",),
)
def separable_least_weights(key: Matrix) -> list[float]:
    """No weight on key j is below its least share in a column of softmax_col(K): so none is negative. One bound for every key.

    >>> separable_least_weights([[0.0, 0.0], [0.0, math.log(3)]])
    [0.25, 0.5]
    """
    _checked(key)
    columns = [_softmax(column) for column in zip(*key, strict=True)]
    return [min(shares) for shares in zip(*columns, strict=True)]


@law(
    "attention.separable_rank",
    Kind.BOUND,
    Unit.COUNT,
    sources=("the rank of a product is at most that of either factor, t x d and d x s",),
)
def separable_rank(queries: int, keys: int, width: int) -> int:
    """The t x s matrix of separable weights has rank min(t, s, d) at most.

    >>> separable_rank(1000, 1000, 64)
    64
    """
    _counted(queries=queries, keys=keys, width=width)
    return min(queries, keys, width)


@law(
    "attention.identity_distance",
    Kind.BOUND,
    Unit.NORM,
    assumes=("n queries, n keys, each query asks for its own position",),
    sources=(_ECKART,),
)
def identity_distance(positions: int, rank: int) -> float:
    """A matrix of rank r is at least sqrt(n - r) in Frobenius norm from the n x n identity: so are separable weights with r = d.

    Of n queries that each ask for one position of their own, as a copy does, separable attention of width d can serve d.

    >>> identity_distance(100, 64)
    6.0
    """
    _counted(positions=positions, rank=rank)
    return math.sqrt(max(0, positions - rank))


@law(
    "attention.sharp_identity_distance",
    Kind.BOUND,
    Unit.NORM,
    assumes=("q_i = k_i on a circle, n equal steps apart; `sharpness` is the scale times the squared radius",),
    sources=(
        "off the diagonal soft-max leaves e = sum over j of exp(-c (1 - cos(2 pi j / n))) at most, a row is off by sqrt(2) e",
    ),
)
def sharp_identity_distance(positions: int, sharpness: float) -> float:
    """Soft-max attention of width 2 comes within sqrt(2 n) sum over j of exp(-c (1 - cos(2 pi j / n))) of the identity: to zero.

    The sum is over j = 1 to n - 1; c, the sharpness, is the scale times the squared norm of queries and keys.

    >>> sharp_identity_distance(8, 100.0) < 1e-11
    True
    """
    _counted(positions=positions)
    if not sharpness >= 0:
        message = f"the sharpness is a scale times a square, zero or more; {sharpness} came"
        raise InvariantError(message)
    gaps = (1 - math.cos(2 * math.pi * j / positions) for j in range(1, positions))
    return math.sqrt(2 * positions) * math.fsum(math.exp(-sharpness * gap) for gap in gaps)


@law(
    "attention.separable_flops",
    Kind.COST,
    Unit.FLOP,
    assumes=("matrix products only; a multiply-add is 2",),
    sources=(_SHEN,),
)
def separable_flops(queries: int, keys: int, width: int, value_width: int) -> int:
    """One head of separable attention costs 2 d e (s + t) FLOP: softmax_col(K)ᵀ V, then softmax_row(Q) times that.

    >>> separable_flops(1000, 1000, 64, 64)
    16384000
    """
    _counted(queries=queries, keys=keys, width=width, value_width=value_width)
    return 2 * width * value_width * (keys + queries)


@law(
    "attention.separable_saving",
    Kind.COST,
    Unit.RATIO,
    assumes=("n queries and keys; values as wide as keys", "matrix products only"),
    sources=("4 n² d over attention.separable_flops = 4 n d²",),
)
def separable_saving(positions: int, width: int) -> float:
    """Attention over all pairs costs n / d times as many FLOP as separable attention: the latter is cheaper where n exceeds d.

    >>> separable_saving(16384, 64)
    256.0
    """
    _counted(positions=positions, width=width)
    return positions / width
