"""Recurrence: the linear recurrent network h_t = Wx x_t + Wh h_{t-1} in closed form, and its gradient by Wh.

Axis letters: t time, d width.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.recurrence.matrices import Matrix, Vector, check, identity, product


@law(
    "recurrence.cumulative_state",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("Wx = Wh = I, no bias, no nonlinearity",),
    sources=("induction: h_t = x_t + h_{t-1}",),
)
def cumulative_state(inputs: Sequence[Vector], initial: Vector) -> list[list[float]]:
    """A linear recurrence with identity weights adds up: h_t = h_0 + x_1 + ... + x_t. The states h_1 to h_T.

    `inputs` are (time, width), `initial` is h_0.

    >>> cumulative_state([[1.0], [2.0], [3.0]], initial=[10.0])
    [[11.0], [13.0], [16.0]]
    """
    check(inputs, len(initial))
    states = accumulate(inputs, lambda state, row: [s + x for s, x in zip(state, row, strict=True)], initial=list(initial))
    return [list(state) for state in states][1:]


@law(
    "recurrence.identity_weight_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("Wh = I, no nonlinearity", "h_0 does not depend on Wh"),
    sources=("dh_t = dWh h_{t-1} + Wh dh_{t-1}, unrolled at Wh = I",),
)
def identity_weight_gradient(states: Sequence[Vector]) -> list[list[list[float]]]:
    """At Wh = I, dh_t[i]/dWh[j,k] is the sum of h_0[k] to h_{t-1}[k] where i = j, else 0: d x d x d numbers.

    `states` are h_0 to h_{t-1}, each of width d.

    >>> identity_weight_gradient([[1.0, 10.0], [2.0, 20.0]])
    [[[3.0, 30.0], [0.0, 0.0]], [[0.0, 0.0], [3.0, 30.0]]]
    """
    width = len(states[0]) if states else 0
    check(states, width)
    sums = [math.fsum(column) for column in zip(*states, strict=True)]
    return [[list(sums) if i == j else [0.0] * width for j in range(width)] for i in range(width)]


@law(
    "recurrence.recurrent_weight_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("no nonlinearity", "h_0 does not depend on Wh"),
    sources=("dh_t = dWh h_{t-1} + Wh dh_{t-1}, unrolled", "Pascanu et al. 2013, equation 5, with sigma the identity"),
)
def recurrent_weight_gradient(states: Sequence[Vector], weight: Matrix) -> list[list[list[float]]]:
    """In a linear recurrence dh_t[i]/dWh[j,k] is the sum over s < t of (Wh to the power t-1-s)[i,j] h_s[k].

    `states` are h_0 to h_{t-1}, each of width d; `weight` is Wh, d x d.

    >>> recurrent_weight_gradient([[1.0], [3.0]], weight=[[2.0]])
    [[[5.0]]]
    """
    width = len(weight)
    check([*states, *weight], width)
    if not states:
        message = "the gradient after no step is 0 and needs no law; give h_0 to h_{t-1}, one state or more"
        raise InvariantError(message)
    powers = list(accumulate(states[1:], lambda power, _: product(weight, power), initial=identity(width)))[::-1]
    terms = list(zip(powers, states, strict=True))
    axis = range(width)
    return [[[math.fsum(power[i][j] * state[k] for power, state in terms) for k in axis] for j in axis] for i in axis]
