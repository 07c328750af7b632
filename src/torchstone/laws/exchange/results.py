"""What every worker holds after an all-reduce."""

from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "exchange.average",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("rounding aside: a scheme adds in an order of its own",),
    sources=("the mean of n buffers, number by number", "Li et al. 2020, PyTorch Distributed, section 3.2: DDP averages gradients"),
)
def average(buffers: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """After an all-reduce with the mean, every worker holds the mean of all workers' buffers: a row for each worker.

    >>> average([[1.0, 2.0], [3.0, 6.0]])
    ((2.0, 4.0), (2.0, 4.0))
    """
    if not buffers or len({len(one) for one in buffers}) > 1:
        message = f"one buffer or more, all of one length, have a mean; lengths {[len(one) for one in buffers]} came"
        raise InvariantError(message)
    mean = tuple(sum(column) / len(buffers) for column in zip(*buffers, strict=True))
    return (mean,) * len(buffers)


@law(
    "exchange.distinct_results",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("each number is summed on one worker and then copied, or by everyone in the same order of workers",),
    sources=("floating-point addition does not associate: Goldberg 1991, section 1.2", "the schedule of each scheme"),
)
def distinct_results(workers: int) -> int:
    """All workers end with the same bits: one distinct result, though the scheme decides which. Else replicas drift apart.

    >>> distinct_results(8)
    1
    """
    if workers < 1:
        message = f"an exchange has 1 worker or more; {workers} came"
        raise InvariantError(message)
    return 1
