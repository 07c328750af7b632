"""The tanh twin of a sigmoid network: the same outputs for every input, by a map of the parameters.

Weights are (outputs, inputs). Axis letters: i inputs, j hidden units, k outputs.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Vector = Sequence[float]
Matrix = Sequence[Vector]
Layer = tuple[Matrix, Vector]


def _sigmoid(x: float) -> float:
    decay = math.exp(-abs(x))
    return 1 / (1 + decay) if x >= 0 else decay / (1 + decay)


def _check(weight: Matrix, bias: Vector, width: int | None = None) -> None:
    rows = {len(row) for row in weight}
    expected = f"{width} inputs" if width is not None else "one number of inputs"
    if len(weight) != len(bias) or len(rows) != 1 or (width is not None and rows != {width}):
        message = f"a dense layer has one bias an output and rows of {expected}; rows of {sorted(rows)} and {len(bias)} biases came"
        raise InvariantError(message)


def _dense(weight: Matrix, bias: Vector, inputs: Vector) -> list[float]:
    return [b + sum(w * x for w, x in zip(row, inputs, strict=True)) for row, b in zip(weight, bias, strict=True)]


@law(
    "activation.sigmoid_by_tanh",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=("multiplication of 1/(1 + exp(-x)) by exp(x/2)/exp(x/2)",),
)
def sigmoid_by_tanh(x: float) -> float:
    """The sigmoid is a shifted tanh of half the argument: sigmoid(x) = (1 + tanh(x/2)) / 2.

    >>> sigmoid_by_tanh(0.0)
    0.5
    """
    if math.isnan(x):
        message = "sigmoid is held at a number; nan came"
        raise InvariantError(message)
    return (1 + math.tanh(x / 2)) / 2


@law(
    "activation.tanh_twin_layer",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("a stack of dense layers and sigmoids",),
    sources=("sigmoid_by_tanh, put into W sigmoid(u) + b and into sigmoid(W u + b)",),
)
def tanh_twin_layer(weight: Matrix, bias: Vector, *, after_sigmoid: bool, before_sigmoid: bool) -> Layer:
    """In the tanh twin a dense layer fed by a sigmoid has W/2 and b + 1/2 sum_j W_kj; one that feeds a sigmoid is halved.

    A layer between two sigmoids has both: W/4 and b/2 + 1/4 sum_j W_kj.

    >>> tanh_twin_layer([[4.0, 8.0]], [1.0], after_sigmoid=True, before_sigmoid=False)
    ([[2.0, 4.0]], [7.0])
    >>> tanh_twin_layer([[4.0, 8.0]], [1.0], after_sigmoid=True, before_sigmoid=True)
    ([[1.0, 2.0]], [3.5])
    """
    _check(weight, bias)
    scale, offset = (0.5, 0.5) if after_sigmoid else (1.0, 0.0)
    halved = 0.5 if before_sigmoid else 1.0
    new_bias = [halved * (b + offset * sum(row)) for row, b in zip(weight, bias, strict=True)]
    return [[halved * scale * w for w in row] for row in weight], new_bias


@law(
    "activation.tanh_twin",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("dense, sigmoid, dense",),
    sources=("Bishop 2006, exercise 5.1", "sigmoid_by_tanh in W2 sigmoid(W1 x + b1) + b2"),
)
def tanh_twin(first_weight: Matrix, first_bias: Vector, second_weight: Matrix, second_bias: Vector) -> tuple[Layer, Layer]:
    """The tanh twin of a two-layer sigmoid network has all weights and first biases halved, output bias b_k + 1/2 sum_j w_kj.

    >>> tanh_twin([[2.0]], [6.0], [[8.0]], [1.0])
    (([[1.0]], [3.0]), ([[4.0]], [5.0]))
    """
    _check(first_weight, first_bias)
    _check(second_weight, second_bias, len(first_bias))
    first = [[w / 2 for w in row] for row in first_weight], [b / 2 for b in first_bias]
    bias = [b + sum(row) / 2 for row, b in zip(second_weight, second_bias, strict=True)]
    return first, ([[w / 2 for w in row] for row in second_weight], bias)


def _forward(inputs: Vector, layers: Sequence[Layer], *, ends_in_sigmoid: bool) -> tuple[list[float], list[list[float]]]:
    """The outputs, and every sigmoid's values on the way."""
    values, lit = list(inputs), []
    for position, (weight, bias) in enumerate(layers):
        _check(weight, bias, len(values))
        values = _dense(weight, bias, values)
        if ends_in_sigmoid or position + 1 < len(layers):
            values = [_sigmoid(value) for value in values]
            lit.append(values)
    return values, lit


@law(
    "activation.sigmoid_network",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("a sigmoid between every two dense layers, and behind the last if `ends_in_sigmoid`",),
    sources=("induction over the layers with tanh_twin_layer",),
)
def sigmoid_network(inputs: Vector, layers: Sequence[Layer], *, ends_in_sigmoid: bool = False) -> list[float]:
    """A stack of dense layers and sigmoids and its tanh twin have the same outputs for every input.

    `layers` are the sigmoid network's (weight, bias); the formula is its own forward pass.

    >>> sigmoid_network([2.0], [([[1.0]], [-2.0]), ([[8.0]], [1.0])])
    [5.0]
    """
    return _forward(inputs, layers, ends_in_sigmoid=ends_in_sigmoid)[0]


@law(
    "activation.sigmoid_network_jacobian",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("a sigmoid between every two dense layers, and behind the last if `ends_in_sigmoid`",),
    sources=("the chain rule with sigmoid' = sigmoid (1 - sigmoid)",),
)
def sigmoid_network_jacobian(inputs: Vector, layers: Sequence[Layer], *, ends_in_sigmoid: bool = False) -> list[list[float]]:
    """A stack of dense layers and sigmoids and its tanh twin have the same gradient by the input: (outputs, inputs).

    >>> sigmoid_network_jacobian([2.0], [([[1.0]], [-2.0]), ([[8.0]], [1.0])])
    [[2.0]]
    """
    _, lit = _forward(inputs, layers, ends_in_sigmoid=ends_in_sigmoid)
    columns = [[float(row == column) for row in range(len(inputs))] for column in range(len(inputs))]
    for position, (weight, bias) in enumerate(layers):
        columns = [_dense(weight, [0.0] * len(bias), column) for column in columns]
        if position < len(lit):
            columns = [[s * (1 - s) * value for s, value in zip(lit[position], column, strict=True)] for column in columns]
    return [list(row) for row in zip(*columns, strict=True)]


@law(
    "activation.gradients_from_tanh_twin",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("the same loss of the same outputs",),
    sources=("the chain rule through the linear map of tanh_twin_layer",),
)
def gradients_from_tanh_twin(weight: Matrix, bias: Vector, *, after_sigmoid: bool, before_sigmoid: bool) -> Layer:
    """With G, g a tanh twin's gradients by W, b, the sigmoid network's are (G + g 1ᵀ)/2, g behind a sigmoid; halved before one.

    `weight` and `bias` are the gradients G and g of one dense layer of the twin; the sigmoid network's gradients come back.
    A layer that is fed by no sigmoid has G and g themselves, halved if it feeds one.

    >>> gradients_from_tanh_twin([[4.0, 8.0]], [2.0], after_sigmoid=True, before_sigmoid=False)
    ([[3.0, 5.0]], [2.0])
    """
    _check(weight, bias)
    scale, offset = (0.5, 0.5) if after_sigmoid else (1.0, 0.0)
    halved = 0.5 if before_sigmoid else 1.0
    rows = [[halved * (scale * w + offset * b) for w in row] for row, b in zip(weight, bias, strict=True)]
    return rows, [halved * b for b in bias]
