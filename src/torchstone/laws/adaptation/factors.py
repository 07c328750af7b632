"""Low-rank factors beside a frozen weight: what they add to it, at the start and later, and what gradients reach them.

Axis letters: i in features, o out features, r rank. `down` is A (r x i), random at the start; `up` is B (o x r), zero at the start.
A document that writes W + AB with A = 0 means by A what is called B here, in the paper and in peft.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Matrix = Sequence[Sequence[float]]


def _check(rank: int, alpha: float) -> None:
    if rank < 1 or not math.isfinite(alpha):
        message = f"a rank of 1 or more and a finite alpha are needed; {rank} and {alpha} came"
        raise InvariantError(message)


def _product(one: Matrix, other: Matrix) -> list[list[float]]:
    if any(len(row) != len(other) for row in one):
        message = f"rows as long as the other matrix is high are multiplied; {len(one[0])} and {len(other)} came"
        raise InvariantError(message)
    columns = list(zip(*other, strict=True))
    return [[math.fsum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in one]


def _transposed(matrix: Matrix) -> Matrix:
    return list(zip(*matrix, strict=True))


@law(
    "adaptation.update_scale",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    sources=("Hu et al. 2022, section 4.1: alpha / r", "Kalajdzievski 2023: alpha / sqrt(r)"),
)
def update_scale(alpha: float, rank: int, *, stabilized: bool = False) -> float:
    """The product of the factors is added alpha / r times, or alpha / sqrt(r) times if rank-stabilised.

    >>> update_scale(16.0, rank=8), update_scale(16.0, rank=16, stabilized=True)
    (2.0, 4.0)
    """
    _check(rank, alpha)
    return alpha / (math.sqrt(rank) if stabilized else rank)


@law(
    "adaptation.adapted_weight",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("no dropout in front of the adapter",),
    sources=("Hu et al. 2022, section 4.1, equation 3: W x + B A x = (W + B A) x",),
)
def adapted_weight(weight: Matrix, down: Matrix, up: Matrix, scale: float) -> list[list[float]]:
    """A linear layer with factors beside it is the linear layer of weight W + s B A: merged equals unmerged.

    >>> adapted_weight([[1.0, 2.0]], down=[[3.0, 4.0]], up=[[0.5]], scale=2.0)
    [[4.0, 6.0]]
    """
    added = _product(up, down)
    return [[w + scale * x for w, x in zip(row, more, strict=True)] for row, more in zip(weight, added, strict=True)]


@law(
    "adaptation.fresh_output",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("the other factor and the inputs are finite",),
    sources=("Hu et al. 2022, section 4.1: B = 0 at the beginning of training, so that B A is zero",),
)
def fresh_output(output: Sequence[float]) -> list[float]:
    """A fresh adapter, one factor zero, gives exactly the output of the layer without it.

    Not nearly: y + s (0) is y in every floating-point type.

    >>> fresh_output([0.1, -3.0])
    [0.1, -3.0]
    """
    return list(output)


@law(
    "adaptation.update_rank",
    Kind.BOUND,
    Unit.COUNT,
    sources=("rank(B A) is at most the rank of each factor", "Hu et al. 2022, section 4.1"),
)
def update_rank(in_features: int, out_features: int, rank: int) -> int:
    """What an adapter adds to a weight has rank min(r, in, out) at most, however long it is trained.

    >>> update_rank(1024, 512, rank=8), update_rank(4, 512, rank=8)
    (8, 4)
    """
    if min(in_features, out_features, rank) < 1:
        message = f"sizes are 1 or more; {in_features}, {out_features} and {rank} came"
        raise InvariantError(message)
    return min(in_features, out_features, rank)


@law(
    "adaptation.factor_gradients",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("no dropout in front of the adapter",),
    sources=("chain rule for W + s B A",),
)
def factor_gradients(gradient: Matrix, down: Matrix, up: Matrix, scale: float) -> tuple[list[list[float]], list[list[float]]]:
    """With G the gradient by the whole weight, the gradient by A is s Bᵀ G and that by B is s G Aᵀ: at B = 0 that by A is zero.

    So A's gradient is zero at the first step, as it must be: a check that calls A untrained raises a false alarm. B moves first.

    >>> factor_gradients([[1.0, 2.0]], down=[[3.0, 4.0]], up=[[0.0]], scale=2.0)
    ([[0.0, 0.0]], [[22.0]])
    """
    by_down = [[scale * x for x in row] for row in _product(_transposed(up), gradient)]
    by_up = [[scale * x for x in row] for row in _product(gradient, _transposed(down))]
    return by_down, by_up


@law(
    "adaptation.factor_updates",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("both factors are in the optimizer and the loss depends on them", "no weight decay", "no gradient is zero by chance"),
    sources=("adaptation.factor_gradients at B = 0: A has no gradient until B has moved",),
)
def factor_updates(steps: int) -> tuple[int, int]:
    """Of a fresh pair the zero factor moves at every step from the first on, the other from the second on: (steps, steps - 1).

    Breaks when: both factors are zero; then neither has a gradient, ever.

    >>> factor_updates(0), factor_updates(1), factor_updates(60)
    ((0, 0), (1, 0), (60, 59))
    """
    if steps < 0:
        message = f"steps are counted from zero; {steps} came"
        raise InvariantError(message)
    return steps, max(steps - 1, 0)
