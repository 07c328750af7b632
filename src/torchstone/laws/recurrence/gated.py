"""The gated recurrent network c = sigmoid(Wc x + Wh h_{t-1}), h = c * h_{t-1} + (1 - c) * Wx x: its gradients and their growth.

Axis letters: t time, n input features, m hidden features.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.recurrence.matrices import Matrix, Vector, added, check, same_length, times, transposed

_E12 = "homework E, question E1.2"


@law("recurrence.gate_size", Kind.SHAPE, Unit.ELEMENTS, sources=("Wh is m x m and c multiplies h, which has m units", _E12))
def gate_size(input_size: int, hidden_size: int) -> int:
    """The gate c[t] has m numbers, one for each hidden unit, whatever the size n of the input.

    >>> gate_size(input_size=5, hidden_size=7)
    7
    """
    if min(input_size, hidden_size) < 1:
        message = f"sizes are 1 or more; {input_size} and {hidden_size} came"
        raise InvariantError(message)
    return hidden_size


@law("recurrence.gated_state", Kind.EQUIVALENCE, Unit.VALUE, sources=("the definition", _E12))
def gated_state(drive: Vector, values: Vector, state: Vector, weight: Matrix) -> list[float]:
    """h[t] = c * h[t-1] + (1 - c) * Wx x[t] with c = sigmoid(Wc x[t] + Wh h[t-1]): every unit keeps the share c of its state.

    `drive` is Wc x[t], `values` Wx x[t], `state` h[t-1], each (m); `weight` is Wh (m, m).

    >>> gated_state(drive=[-2.0], values=[4.0], state=[1.0], weight=[[2.0]])
    [2.5]
    """
    check([drive, values, state, *weight], len(state))
    gates = [(1 + math.tanh(into / 2)) / 2 for into in added(drive, times(weight, state))]
    return [c * h + (1 - c) * v for c, h, v in zip(gates, state, values, strict=True)]


@law(
    "recurrence.gated_jacobian",
    Kind.GRADIENT,
    Unit.VALUE,
    sources=("the product rule, with c' = c (1 - c) Wh", _E12),
)
def gated_jacobian(gates: Vector, state: Vector, values: Vector, weight: Matrix) -> list[list[float]]:
    """dh[t]/dh[t-1] = diag(c) + diag((h[t-1] - Wx x[t]) c (1 - c)) Wh, an m x m matrix.

    `gates` are c[t], `state` is h[t-1], `values` are Wx x[t], each (m); `weight` is Wh (m, m).

    >>> gated_jacobian(gates=[0.5], state=[3.0], values=[-1.0], weight=[[2.0]])
    [[2.5]]
    """
    check([gates, state, values, *weight], len(gates))
    slopes = [(h - v) * c * (1 - c) for c, h, v in zip(gates, state, values, strict=True)]
    rows = zip(gates, slopes, weight, strict=True)
    return [[c * (i == j) + slope * w for j, w in enumerate(row)] for i, (c, slope, row) in enumerate(rows)]


@law(
    "recurrence.gated_weight_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("h[0] does not depend on Wx",),
    sources=("backpropagation through time: Werbos 1990", _E12),
)
def gated_weight_gradient(
    gradients: Sequence[Vector],
    inputs: Sequence[Vector],
    gates: Sequence[Vector],
    states: Sequence[Vector],
    values: Sequence[Vector],
    weight: Matrix,
) -> list[list[float]]:
    """dl/dWx is the sum over t of ((1 - c[t]) * e[t]) x[t]', m x n, with e[t] = dl/dh[t] + (dh[t+1]/dh[t])' e[t+1], e[K+1] = 0.

    e[t] is the whole gradient by h[t]: it runs backwards as h runs forwards, through transposed Jacobians. `gradients` (K, m) are
    dl/dh[t] of the loss at t alone; `inputs` x[1..K] (K, n); `gates` c[1..K], `values` Wx x[1..K] (K, m); `states` h[0..K-1]
    (K, m); `weight` is Wh (m, m).

    >>> gated_weight_gradient([[0.0], [1.0]], [[3.0], [0.0]], [[0.5], [0.5]], [[0.0], [1.5]], [[3.0], [0.0]], weight=[[0.0]])
    [[0.75]]
    """
    same_length(gradients=gradients, inputs=inputs, gates=gates, states=states, values=values)
    whole = [0.0] * len(weight)
    total = [[0.0] * len(inputs[0]) for _ in weight]
    for gradient, x, c, h, v in zip(*(reversed(rows) for rows in (gradients, inputs, gates, states, values)), strict=True):
        whole = added(gradient, whole)
        total = [[old + (1 - gate) * unit * entry for old, entry in zip(row, x, strict=True)]
                 for row, gate, unit in zip(total, c, whole, strict=True)]  # fmt: skip
        whole = times(transposed(gated_jacobian(c, h, v, weight)), whole)
    return total


@law(
    "recurrence.gated_gain",
    Kind.BOUND,
    Unit.NORM,
    assumes=("every unit of h[0] and of every Wx x[t] is at most R in size",),
    sources=("h is an average of h and Wx x, so abs(h - Wx x) <= 2 R; c (1 - c) <= 1/4", _E12),
)
def gated_gain(largest_gate: float, largest_value: float, weight_norm: float, steps: int) -> float:
    """The norm of dh[T]/dh[0] is at most (c + R norm(Wh) / 2)^T, c the largest gate, R the largest value mixed or begun with.

    It vanishes where c + R norm(Wh) / 2 < 1, and grows past 1 only where R norm(Wh) > 0: not without a gate that reads the state.

    >>> gated_gain(largest_gate=0.5, largest_value=2.0, weight_norm=0.25, steps=2)
    0.5625
    """
    if not 0 <= largest_gate <= 1 or min(largest_value, weight_norm, steps) < 0:
        came = f"{largest_gate}, {largest_value}, {weight_norm} and {steps} came"
        message = f"a gate from 0 to 1, R, norm and steps of 0 or more are needed; {came}"
        raise InvariantError(message)
    return float((largest_gate + largest_value * weight_norm / 2) ** steps)


@law(
    "recurrence.gated_growth",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("one unit, h[0] = -A/3", "Wx x[t] = A, -A, A, ..", "Wc x[t] = -w h[t-1], so that every gate is 1/2"),
    sources=("h[t] = -h[t-1] = A/3 at odd t, so h[t-1] - Wx x[t] is -4A/3 at odd t and 4A/3 at even t", _E12),
)
def gated_growth(weight: float, amplitude: float, steps: int) -> float:
    """A gated network can explode: inputs A, -A, .. give dh[T]/dh[0] the factors 1/2 - w A/3 and 1/2 + w A/3 in turn.

    Two steps multiply it by 1/4 - (w A/3)², more than 1 in size where abs(w A) > 3 sqrt(5)/2 = 3.35; w is Wh.

    >>> gated_growth(weight=3.0, amplitude=2.0, steps=4)
    14.0625
    """
    if steps < 0 or not (math.isfinite(weight) and math.isfinite(amplitude)):
        message = f"finite numbers and 0 steps or more are needed; {weight}, {amplitude} and {steps} came"
        raise InvariantError(message)
    share = weight * amplitude / 3
    return (0.5 - share) ** ((steps + 1) // 2) * (0.5 + share) ** (steps // 2)
