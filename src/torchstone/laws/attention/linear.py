"""Attention with a kernel f(q)·f(k) in place of exp(q·k): D⁻¹ A V and what it costs in the right order.

Matrices are nested sequences: features of queries (t, m) and of keys (s, m), values (s, e).
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Matrix = Sequence[Sequence[float]]
_KATHAROPOULOS = "Katharopoulos et al. 2020, section 3.2: linearised attention"


def _counted(**counts: int) -> None:
    wrong = {name: count for name, count in counts.items() if count < 1}
    if wrong:
        message = f"sizes are 1 or more; {wrong} came"
        raise InvariantError(message)


@law(
    "attention.kernel_attention",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("every row sum of A is not 0: so it is for positive features",),
    sources=(_KATHAROPOULOS, "associativity: (f(Q) f(K)ᵀ) V = f(Q) (f(K)ᵀ V)"),
)
def kernel_attention(query_features: Matrix, key_features: Matrix, value: Matrix, *, is_causal: bool = False) -> list[list[float]]:
    """Attention is D⁻¹ A V with a_ij = f(q_i)·f(k_j) and D the diagonal of A's row sums: row i is sum_j a_ij v_j / sum_j a_ij.

    With `is_causal` the sums are over j <= i. Written with A; the running part never makes it.

    >>> kernel_attention([[1.0]], [[1.0], [3.0]], [[0.0], [8.0]])
    [[6.0]]
    """
    if not key_features or len(key_features) != len(value):
        message = f"each key has a value, and there is one or more; {len(key_features)} keys and {len(value)} values came"
        raise InvariantError(message)
    rows = []
    for i, features in enumerate(query_features):
        seen = key_features[: i + 1] if is_causal else key_features
        weights = [math.fsum(f * g for f, g in zip(features, other, strict=True)) for other in seen]
        total = math.fsum(weights)
        columns = zip(*value[: len(weights)], strict=True)
        rows.append([math.fsum(a * v for a, v in zip(weights, column, strict=True)) / total for column in columns])
    return rows


@law(
    "attention.kernel_attention_flops",
    Kind.COST,
    Unit.FLOP,
    assumes=("features given; matrix products only, a multiply-add is 2",),
    sources=(_KATHAROPOULOS,),
)
def kernel_attention_flops(queries: int, keys: int, features: int, value_width: int) -> int:
    """f(Q) (f(K)ᵀ [V, 1]) costs 2 m (e + 1) (s + t) FLOP a head: linear in the sequence, where A alone costs 2 t s m.

    The column of ones makes the row sums.

    >>> kernel_attention_flops(1000, 1000, 256, 64)
    66560000
    """
    _counted(queries=queries, keys=keys, features=features, value_width=value_width)
    return 2 * features * (value_width + 1) * (queries + keys)


@law(
    "attention.kernel_attention_largest",
    Kind.COUNT,
    Unit.ELEMENTS,
    assumes=("one head; features given; what the computation itself makes",),
    sources=("its tensors: [V, 1], f(K)ᵀ [V, 1], the output with the row sums",),
)
def kernel_attention_largest(queries: int, keys: int, features: int, value_width: int) -> int:
    """The largest tensor that linear attention makes has (e + 1) max(t, s, m) numbers: no t x s matrix is among them.

    >>> kernel_attention_largest(1000, 1000, 256, 64)
    65000
    """
    _counted(queries=queries, keys=keys, features=features, value_width=value_width)
    return (value_width + 1) * max(queries, keys, features)


@law(
    "attention.random_feature_flops",
    Kind.COST,
    Unit.FLOP,
    assumes=("matrix products only; a multiply-add is 2", "positive features, no causal mask"),
    sources=("W K, exp(W K)ᵀ V, W Q and exp(W Q) Z, each of 2 m d or 2 m e FLOP a position",),
)
def random_feature_flops(queries: int, keys: int, features: int, width: int, value_width: int) -> int:
    """One head of positive random features costs 2 m (d + e) (t + s) FLOP, the features included: time O(n m d).

    Attention over all pairs costs 2 t s (d + e): for t = s = n features save where n > 2 m.

    >>> random_feature_flops(16384, 16384, 256, 64, 64)
    2147483648
    """
    _counted(queries=queries, keys=keys, features=features, width=width, value_width=value_width)
    return 2 * features * (width + value_width) * (queries + keys)
