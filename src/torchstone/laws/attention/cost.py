"""What dot-product attention costs in time and in space.

Axis letters: n positions, d features of a head, h heads.
"""

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


def _check(*sizes: int) -> None:
    if min(sizes) < 1:
        message = f"sizes are 1 or more; {sizes} came"
        raise InvariantError(message)


@law(
    "attention.dot_product_flops",
    Kind.COST,
    Unit.FLOP,
    assumes=("a multiply-add is 2 FLOP", "exponentials, of which there are h n², not counted"),
    sources=("Vaswani et al. 2017, section 3.2.1 and table 1: O(n² d)", "two n x d by d x n products a head"),
)
def dot_product_flops(positions: int, features: int, heads: int = 1) -> int:
    """Dot-product attention of h heads costs 4 h n² d FLOP: 2 n² d for the scores and 2 n² d for the weighted values of each.

    In terms of n and d O(n² d), h times that for h heads; side by side or in sequence does not matter.

    >>> dot_product_flops(4096, 64, heads=8) == 4 * 8 * 4096**2 * 64
    True
    """
    _check(positions, features, heads)
    return 4 * heads * positions**2 * features


@law(
    "attention.dot_product_space",
    Kind.COST,
    Unit.ELEMENTS,
    assumes=("scores and weights are written out, not in place", "heads one after the other, each with its own q, k, v of n x d"),
    sources=("Rabe and Staats 2021, section 1: O(n²) memory", "the numbers alive at the last head's soft-max and product"),
)
def dot_product_space(positions: int, features: int, heads: int = 1) -> int:
    """Dot-product attention, head after head, holds 4 h n d - n d + 2 n² numbers at its soft-max at most, or 4 h n d + n².

    Inputs are 3 h n d. At the last head's soft-max (h - 1) n d outputs are there, its scores and its weights; at its product h n d
    outputs and the weights. O(n² + h n d): the n² is not multiplied by h, since a head's scores go before the next come.

    >>> dot_product_space(1024, 64) == 3 * 1024 * 64 + 2 * 1024**2
    True
    """
    _check(positions, features, heads)
    apart = positions * features
    return max((4 * heads - 1) * apart + 2 * positions**2, 4 * heads * apart + positions**2)
