"""LogLU(x) = log(relu(x)): where it is infinite, what its gradient is, and where what is not a number is born.

Axis letters: i units of LogLU, k units of the dense layer behind it.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


def _check(numbers: Sequence[float]) -> None:
    if not all(math.isfinite(one) for one in numbers):
        message = f"the poles of log(relu(x)) are counted among finite inputs; {list(numbers)} came"
        raise InvariantError(message)


@law(
    "activation.log_relu_poles",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("finite inputs", "IEEE 754: log 0 is -inf"),
    sources=("IEEE 754-2019, section 9.2.1: logB of zero is minus infinity, with divideByZero",),
)
def log_relu_poles(inputs: Sequence[float]) -> tuple[int, int]:
    """Forward, log(relu(x)) is -inf once for every x <= 0, and never NaN: the counts of -inf and of NaN.

    Breaks when: the order is turned, relu(log(x)) is NaN for every x < 0.

    >>> log_relu_poles([-1.0, 0.0, 2.0])
    (2, 0)
    """
    _check(inputs)
    return sum(x <= 0 for x in inputs), 0


@law(
    "activation.log_relu_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("the derivative of relu is applied as a selection, as torch does, not as a product",),
    sources=("the chain rule for x > 0; torch's threshold_backward: the incoming gradient where x > 0, else 0",),
)
def log_relu_gradient(inputs: Sequence[float]) -> list[float]:
    """The gradient of log(relu(x)) in torch is 1/x for x > 0 and 0 for x <= 0: finite at every pole.

    >>> log_relu_gradient([-1.0, 0.0, 4.0])
    [0.0, 0.0, 0.25]
    """
    _check(inputs)
    return [1 / x if x > 0 else 0.0 for x in inputs]


@law(
    "activation.log_relu_chain_rule",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("the chain rule as a product of numbers, H(x) times 1/relu(x)", "H(0) = 1/2"),
    sources=("IEEE 754-2019, section 7.2: 0 times infinity is invalid", "H(0)/0 is infinite"),
)
def log_relu_chain_rule(inputs: Sequence[float]) -> tuple[int, int]:
    """The closed form H(x) / relu(x) of the derivative is NaN for every x < 0 and inf at 0: the counts of NaN and of inf.

    Below zero it is 0 times 1/0. No program that selects instead of multiplying meets it.

    >>> log_relu_chain_rule([-1.0, -2.0, 0.0, 4.0])
    (2, 1)
    """
    _check(inputs)
    return sum(x < 0 for x in inputs), sum(x == 0 for x in inputs)


@law(
    "activation.not_numbers_behind_log_relu",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("finite inputs and weights", "one row of inputs", "a dense layer behind LogLU"),
    sources=("IEEE 754-2019, section 7.2: inf - inf and 0 times inf are invalid",),
)
def not_numbers_behind_log_relu(inputs: Sequence[float], weight: Sequence[Sequence[float]]) -> int:
    """A dense layer behind LogLU gives NaN in every unit whose weights on the poles are not all of one sign.

    There w_ki times -inf is +inf and -inf in one sum (inf - inf), or a weight of 0 meets -inf. One sign only gives an infinity.

    `inputs` are LogLU's, `weight` is (units, inputs).

    >>> not_numbers_behind_log_relu([-1.0, -2.0, 3.0], [[1.0, -1.0, 1.0], [1.0, 1.0, -1.0], [0.0, 1.0, 1.0]])
    2
    """
    _check(inputs)
    for row in weight:
        if len(row) != len(inputs):
            message = f"a row of the weight has one number an input, {len(inputs)}; {len(row)} came"
            raise InvariantError(message)
        _check(row)
    signs = [{(w > 0) - (w < 0) for w, x in zip(row, inputs, strict=True) if x <= 0} for row in weight]
    return sum(0 in found or len(found) > 1 for found in signs)
