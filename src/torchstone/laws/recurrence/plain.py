"""The plain recurrent network: its activation inside or outside, and how its gradient over T steps shrinks or grows."""

import math
from collections.abc import Callable, Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.recurrence.matrices import Matrix, Vector, added, check, same_length, times

_PASCANU = "Pascanu, Mikolov and Bengio 2013, section 2.1"
_ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: (1 + math.tanh(x / 2)) / 2,
}


@law(
    "recurrence.inside_state",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("g_0 = sigma(h_0)", "the same W, U and b"),
    sources=("induction: sigma(h_t) = sigma(W sigma(h_{t-1}) + U x_t + b) = sigma(W g_{t-1} + U x_t + b) = g_t", _PASCANU),
)
def inside_state(states: Sequence[Vector], nonlinearity: str) -> list[list[float]]:
    """An activation inside the recurrence gives the activation of what one outside gives: g_t = sigma(h_t) for every t >= 0.

    `states` are those of h_t = W sigma(h_{t-1}) + U x_t + b, (time, width); sigma is tanh, relu or sigmoid.

    >>> inside_state([[0.0, -1.0], [2.0, 3.0]], "relu")
    [[0.0, 0.0], [2.0, 3.0]]
    """
    if nonlinearity not in _ACTIVATIONS:
        message = f"nonlinearity is one of {', '.join(_ACTIVATIONS)}; {nonlinearity!r} came"
        raise InvariantError(message)
    check(states, len(states[0]) if states else 1)
    return [[_ACTIVATIONS[nonlinearity](unit) for unit in state] for state in states]


@law(
    "recurrence.outside_state",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("h_0 with sigma(h_0) = g_0: there is one only if sigma takes that value", "the same W, U and b"),
    sources=("h_t = W sigma(h_{t-1}) + U x_t + b with sigma(h_{t-1}) = g_{t-1}", _PASCANU),
)
def outside_state(
    states: Sequence[Vector], inputs: Sequence[Vector], weight: Matrix, input_weight: Matrix, bias: Vector
) -> list[list[float]]:
    """An activation outside the recurrence gives what goes into one inside: h_t = W g_{t-1} + U x_t + b for every t >= 1.

    `states` are g_0 to g_{T-1} of g_t = sigma(W g_{t-1} + U x_t + b), (T, m); `inputs` x_1 to x_T, (T, n); `weight` W (m, m),
    `input_weight` U (m, n), `bias` b (m). sigma need not be undone.

    >>> outside_state([[1.0]], [[3.0]], weight=[[2.0]], input_weight=[[10.0]], bias=[0.5])
    [[32.5]]
    """
    same_length(states=states, inputs=inputs)
    rows = zip(states, inputs, strict=True)
    return [added(times(weight, state), times(input_weight, row), bias) for state, row in rows]


@law(
    "recurrence.vanishing_gradient",
    Kind.BOUND,
    Unit.NORM,
    assumes=("abs(sigma') <= gamma everywhere",),
    sources=(_PASCANU, "dh_T/dh_0 is a product of T factors W diag(sigma'), each of norm at most sqrt(lambda_1) gamma"),
)
def vanishing_gradient(steepest: float, eigenvalue: float, steps: int) -> float:
    """The norm of dh_T/dh_0 is at most (gamma sqrt(lambda_1))^T, gamma >= abs(sigma'), lambda_1 the largest eigenvalue of W'W.

    With lambda_1 <= delta²/gamma² that is delta^T: it vanishes as T grows where delta < 1. The norm is the spectral one. It holds
    for an activation inside and outside the recurrence.

    >>> vanishing_gradient(steepest=0.25, eigenvalue=4.0, steps=3)
    0.125
    """
    if min(steepest, eigenvalue, steps) < 0:
        message = f"gamma, lambda_1 and T are 0 or more; {steepest}, {eigenvalue} and {steps} came"
        raise InvariantError(message)
    return float((steepest * math.sqrt(eigenvalue)) ** steps)


@law(
    "recurrence.exploding_weight",
    Kind.BOUND,
    Unit.NORM,
    assumes=("abs(sigma') <= gamma everywhere",),
    sources=("recurrence.vanishing_gradient, solved for the norm of W", _PASCANU),
)
def exploding_weight(gain: float, steps: int, steepest: float) -> float:
    """A network whose dh_T/dh_0 has the norm G has a W of norm G^(1/T) / gamma or more: explosion needs sqrt(lambda_1) > 1/gamma.

    The condition is necessary, not sufficient: where the activation saturates, its derivative takes the norm of W back.

    >>> exploding_weight(gain=16.0, steps=2, steepest=0.25)
    16.0
    """
    if gain < 0 or steps < 1 or steepest <= 0:
        message = f"a gain of 0 or more, a step or more and a gamma above 0 are needed; {gain}, {steps} and {steepest} came"
        raise InvariantError(message)
    return float(gain ** (1 / steps)) / steepest
