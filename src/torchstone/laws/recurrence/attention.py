"""The recurrent network with attention: h[t] = sum of a_i v_i, a = softmax(q_i . k_i), over the input and past states.

Axis letters: t time, n input features, m hidden features, k past states, i how many steps ago, 0 for the input.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.recurrence.matrices import Matrix, Vector, added, dot, same_length, times, transposed

_E13 = "homework E, question E1.3"
_VASWANI = "Vaswani et al. 2017, section 3.2: dot-product attention"


@law("recurrence.attention_size", Kind.SHAPE, Unit.ELEMENTS, sources=("one score w_i for each i = 0..k", _E13))
def attention_size(window: int) -> int:
    """a[t] of AttentionRNN(k) has k + 1 numbers, one for the input and one for each past state; none for a unit of either.

    >>> attention_size(window=2)
    3
    """
    return _checked(window) + 1


@law(
    "recurrence.attention_memory",
    Kind.COUNT,
    Unit.ELEMENTS,
    assumes=("an infinite window has tied parameters, and its scores do not depend on t",),
    sources=("a running softmax: Milakov and Gimelshein 2018, section 3", _E13),
)
def attention_memory(hidden_size: int, window: float) -> int:
    """AttentionRNN(k) carries k m numbers from step to step, AttentionRNN(infinity) only 1 + m: a log-sum-exp and a mean value.

    >>> attention_memory(hidden_size=128, window=8), attention_memory(hidden_size=128, window=math.inf)
    (1024, 129)
    """
    return 1 + hidden_size if window == math.inf else _checked(int(window)) * hidden_size


@law(
    "recurrence.attention_state",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=(_E13, _VASWANI),
)
def attention_state(
    sources: Sequence[Vector], queries: Sequence[Matrix], keys: Sequence[Matrix], values: Sequence[Matrix]
) -> list[float]:
    """h[t] = sum over i = 0..k of a_i V_i s_i with a = softmax(w), w_i = (Q_i s_i) . (K_i s_i), s_0 = x[t] and s_i = h[t-i].

    `sources` are s_0 (n), s_1 .. s_k (m); queries, keys and values one matrix for each of them.

    >>> attention_state([[1.0], [2.0]], queries=[[[0.0]], [[0.0]]], keys=[[[1.0]], [[1.0]]], values=[[[3.0]], [[4.0]]])
    [5.5]
    """
    same_length(sources=sources, queries=queries, keys=keys, values=values)
    rows = list(zip(sources, queries, keys, values, strict=True))
    scores = [dot(times(query, one), times(key, one)) for one, query, key, _ in rows]
    return _average(scores, [times(value, one) for one, _, _, value in rows])


@law(
    "recurrence.infinite_attention",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("one Q, K and V for every past state",),
    sources=("recurrence.attention_state with k = t and tied parameters", _E13),
)
def infinite_attention(
    inputs: Sequence[Vector],
    initial: Vector,
    outer: tuple[Matrix, Matrix, Matrix],
    inner: tuple[Matrix, Matrix, Matrix],
) -> list[list[float]]:
    """AttentionRNN(infinity): h[t] = sum over i = 0..t of a_i v_i, the softmax over x[t] and every past state down to h[0].

    `inputs` x[1..T] (T, n); `initial` h[0] (m); `outer` Q_0, K_0, V_0 (m, n) of the input, `inner` Q, K, V (m, m) of the states.

    >>> one, two = [[1.0]], [[2.0]]
    >>> infinite_attention([[0.0], [0.0]], initial=[0.0], outer=(one, one, one), inner=(two, two, two))
    [[0.0], [0.0]]
    """
    states = [list(initial)]
    for row in inputs:
        past = states[::-1]
        count = len(past)
        tables = [[first, *[rest] * count] for first, rest in zip(outer, inner, strict=True)]
        states.append(attention_state([row, *past], *tables))
    return states[1:]


@law(
    "recurrence.attention_jacobian",
    Kind.GRADIENT,
    Unit.VALUE,
    sources=("dh/dw_i = a_i (v_i - h), dw_i/dh[t-i] = Ki'q_i + Qi'k_i", _E13),
)
def attention_jacobian(
    share: float, value: Vector, state: Vector, past: Vector, query: Matrix, key: Matrix, weight: Matrix
) -> list[list[float]]:
    """dh[t]/dh[t-i] = a_i (V_i + (v_i - h[t]) (Ki'q_i + Qi'k_i)'), m x m: through the value, and through the score.

    `share` is a_i, `value` v_i, `state` h[t], `past` h[t-i]; `query`, `key` and `weight` are Q_i, K_i and V_i (m, m).

    >>> attention_jacobian(0.5, [4.0], [1.0], past=[2.0], query=[[1.0]], key=[[3.0]], weight=[[2.0]])
    [[19.0]]
    """
    by_state = added(times(transposed(key), times(query, past)), times(transposed(query), times(key, past)))
    rows = zip(weight, value, state, strict=True)
    return [[share * (w + (v - h) * g) for w, g in zip(row, by_state, strict=True)] for row, v, h in rows]


@law(
    "recurrence.attention_loss_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    sources=("the chain rule over every step that reads h[T]: T+1 to T+k", _E13),
)
def attention_loss_gradient(gradients: Sequence[Vector], jacobians: Sequence[Sequence[Matrix]]) -> list[float]:
    """dl/dh[T] = (the loss at T by h[T]) + sum over i = 1..k of (dh[T+i]/dh[T])' dl/dh[T+i], each of which is such a sum.

    `gradients` are of the loss at T, T+1, .. to the end by the state of that step alone, (.., m); `jacobians`[s-1][i-1] is
    dh[T+s]/dh[T+s-i] for i = 1..k, as far as T.

    >>> attention_loss_gradient([[1.0], [10.0], [100.0]], [[[[2.0]]], [[[3.0]], [[5.0]]]])
    [1121.0]
    """
    if len(jacobians) != len(gradients) - 1:
        message = f"Jacobians of every step but the first are needed; {len(jacobians)} came for {len(gradients)} steps"
        raise InvariantError(message)
    whole = [list(gradient) for gradient in gradients]
    for step in range(len(jacobians), 0, -1):
        for ago, jacobian in enumerate(jacobians[step - 1], start=1):
            if ago <= step:
                whole[step - ago] = added(whole[step - ago], times(transposed(jacobian), whole[step]))
    return whole[0]


def _average(scores: Vector, values: Sequence[Vector]) -> list[float]:
    """Values averaged with the softmax of their scores."""
    largest = max(scores)
    shares = [math.exp(score - largest) for score in scores]
    total = math.fsum(shares)
    return [dot(shares, column) / total for column in zip(*values, strict=True)]


def _checked(window: int) -> int:
    if window < 1:
        message = f"a window is 1 past state or more; {window} came"
        raise InvariantError(message)
    return window
