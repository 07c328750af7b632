"""What no schedule can do without: the least work that is run again in a backward pass with so much memory.

What is never run again is in memory when the backward pass begins, all of it at once. So the storages that it needs are a knapsack:
each takes its bytes and saves the work that made it.
"""

from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

_DANTZIG = "Dantzig 1957: the fractional knapsack is filled by value over size"


@law(
    "rematerialization.least_rerun",
    Kind.BOUND,
    Unit.VALUE,
    assumes=(
        "a storage is kept whole from the forward pass on, or all work that made it is run again",
        "one backward pass, after the forward pass",
    ),
    sources=("the derivation: what is kept is in memory at once when the backward pass begins", _DANTZIG),
)
def least_rerun(sizes: Sequence[int], costs: Sequence[int], room: int) -> int:
    """Any schedule runs at least the work again that is left over when a fractional knapsack is filled with the costliest bytes.

    `sizes`: bytes of the storages that the backward pass needs. `costs`: the work that made each, whole numbers of any unit.
    `room`: bytes for them. Rounded up, as every schedule's work is a whole number.

    >>> least_rerun([10, 10, 20], [100, 30, 40], 25)
    30
    """
    if len(sizes) != len(costs) or min((*sizes, *costs), default=0) < 0:
        message = f"as many sizes as costs, zero or more; {len(sizes)} and {len(costs)} came"
        raise InvariantError(message)
    left, kept = max(room, 0), 0
    worth = (pair for pair in zip(sizes, costs, strict=True) if pair[1])
    for size, cost in sorted(worth, key=lambda pair: pair[0] / pair[1]):
        if size <= left:
            kept += cost
            left -= size
        elif left:
            kept += left * cost // size
            left = 0
    return sum(costs) - kept
