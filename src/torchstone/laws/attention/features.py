"""Random features of exp(q·k): what they estimate, with what variance, and how many an error needs.

Vectors are sequences of width d; the queries and keys are those that the root of attention's scale has multiplied.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Vector = Sequence[float]
_CHOROMANSKI = "Choromanski et al. 2021 (Performer)"
_GAUSSIAN = "E exp(w·u) = exp(|u|²/2) for w ~ N(0, I): complete the square"


def _square(u: Vector) -> float:
    return math.fsum(x * x for x in u)


def _added(u: Vector, v: Vector, sign: int = 1) -> list[float]:
    if len(u) != len(v) or not u:
        message = f"query and key have one width, one or more; {len(u)} and {len(v)} came"
        raise InvariantError(message)
    return [x + sign * y for x, y in zip(u, v, strict=True)]


def _dot(u: Vector, v: Vector) -> float:
    _added(u, v)
    return math.fsum(x * y for x, y in zip(u, v, strict=True))


def _counted(**counts: int) -> None:
    wrong = {name: count for name, count in counts.items() if count < 1}
    if wrong:
        message = f"numbers of features and directions are 1 or more; {wrong} came"
        raise InvariantError(message)


@law(
    "attention.exponential_kernel",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("x ~ N(0, I); rows at right angles to one another are each N(0, I) too",),
    sources=(f"{_CHOROMANSKI}, lemma 1", _GAUSSIAN),
)
def exponential_kernel(query: Vector, key: Vector) -> float:
    """exp(-|q|²/2) E[exp(x·q) exp(x·k)] exp(-|k|²/2) is exp(q·k), attention's own kernel: (|q + k|² - |q|² - |k|²)/2 = q·k.

    >>> exponential_kernel([1.0, 0.0], [0.0, 1.0])
    1.0
    """
    return math.exp(_dot(query, key))


@law(
    "attention.random_features",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("kinds: positive, hyperbolic, trigonometric",),
    sources=(f"{_CHOROMANSKI}, lemma 1", "Rahimi and Recht 2007 (trigonometric)"),
)
def random_features(inputs: Vector, directions: Sequence[Vector], kind: str = "positive") -> list[float]:
    """Positive random features are f(u)_r = exp(w_r·u - |u|²/2) / sqrt(m), r = 1 to m: f(q)·f(k) has the mean exp(q·k).

    hyperbolic: exp(w·u) and exp(-w·u) of m / 2 directions, times exp(-|u|²/2) / sqrt(m). trigonometric: cos(w·u) and sin(w·u) of
    m / 2 directions, times exp(+|u|²/2) sqrt(2 / m). First all cos, then all sin; likewise the exponentials.

    >>> random_features([0.0, 0.0], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    [0.5, 0.5, 0.5, 0.5]
    """
    along, half = [_dot(row, inputs) for row in directions], _square(inputs) / 2
    _counted(directions=len(along))
    kinds = {
        "positive": ([math.exp], 1.0, -half),
        "hyperbolic": ([math.exp, lambda x: math.exp(-x)], math.sqrt(1 / 2), -half),
        "trigonometric": ([math.cos, math.sin], 1.0, half),
    }
    if kind not in kinds:
        message = f"kinds of features are {', '.join(kinds)}; {kind!r} came"
        raise InvariantError(message)
    functions, factor, exponent = kinds[kind]
    scale = factor * math.exp(exponent) / math.sqrt(len(along))
    return [scale * function(x) for function in functions for x in along]


@law(
    "attention.positive_feature_variance",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("r independent directions",),
    sources=(f"{_CHOROMANSKI}, lemma 2", "E exp(2 w·z) = exp(2 |z|²), z = q + k"),
)
def positive_feature_variance(query: Vector, key: Vector, directions: int) -> float:
    """The squared error of r positive features is exp(q·k)² (exp(|q + k|²) - 1) / r: relative to the kernel it grows with |q + k|.

    >>> round(positive_feature_variance([0.5], [0.5], directions=10), 6)
    0.283297
    """
    _counted(directions=directions)
    return math.exp(2 * _dot(query, key)) * math.expm1(_square(_added(query, key))) / directions


@law(
    "attention.hyperbolic_feature_variance",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("r independent directions, two features each",),
    sources=(f"{_CHOROMANSKI}, lemma 2", "E cosh(w·z)² = (exp(2 |z|²) + 1) / 2"),
)
def hyperbolic_feature_variance(query: Vector, key: Vector, directions: int) -> float:
    """The squared error of r hyperbolic pairs is exp(q·k)² exp(|q + k|²) (1 - exp(-|q + k|²))² / (2 r).

    That is (1 - exp(-|q + k|²)) / 2 of the error of r positive features, for twice the features: never worse at one cost.

    >>> round(hyperbolic_feature_variance([0.5], [0.5], directions=10), 6)
    0.089539
    """
    _counted(directions=directions)
    square = _square(_added(query, key))
    return math.exp(2 * _dot(query, key) + square) * math.expm1(-square) ** 2 / (2 * directions)


@law(
    "attention.trigonometric_feature_variance",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("r independent directions, two features each",),
    sources=(f"{_CHOROMANSKI}, lemma 2", "E cos(w·y)² = (1 + exp(-2 |y|²)) / 2, y = q - k"),
)
def trigonometric_feature_variance(query: Vector, key: Vector, directions: int) -> float:
    """The squared error of r trigonometric pairs is exp(|q + k|²) exp(-2 q·k) (1 - exp(-|q - k|²))² / (2 r).

    Small where q is near k, and relative to the kernel large where exp(q·k) is small: the opposite of positive features.

    >>> trigonometric_feature_variance([0.5], [0.5], directions=10)
    0.0
    """
    _counted(directions=directions)
    apart = _square(_added(query, key, -1))
    return math.exp(_square(_added(query, key)) - 2 * _dot(query, key)) * math.expm1(-apart) ** 2 / (2 * directions)


@law(
    "attention.orthogonal_feature_variance",
    Kind.BOUND,
    Unit.VALUE,
    assumes=("r <= d directions at right angles, of lengths of independent Gaussian vectors",),
    sources=(f"{_CHOROMANSKI}, theorem 2",),
)
def orthogonal_feature_variance(query: Vector, key: Vector, directions: int) -> float:
    """Directions at right angles lower the squared error by 2 (r - 1) / (r (d + 2)) (exp(q·k) - exp(-(|q|² + |k|²)/2))² or more.

    An upper bound on the squared error of r positive features, r <= d.

    >>> orthogonal_feature_variance([0.5, 0.0], [0.5, 0.0], 2) < positive_feature_variance([0.5, 0.0], [0.5, 0.0], 2)
    True
    """
    width = len(query)
    if directions > width:
        message = f"no more than {width} directions of width {width} stand at right angles; {directions} came"
        raise InvariantError(message)
    independent = positive_feature_variance(query, key, directions)
    gap = math.exp(_dot(query, key)) - math.exp(-(_square(query) + _square(key)) / 2)
    return independent - 2 * (directions - 1) / (directions * (width + 2)) * gap**2


@law(
    "attention.feature_output_error",
    Kind.EXPECTATION,
    Unit.VALUE,
    assumes=("m independent directions, m well above exp(|q + k|²): the first order of a ratio of means",),
    sources=("the variance of a ratio of means: E |sum_j c_j exp(w·(q + k_j) - ...)|² with c_j = p_j (v_j - o)", _GAUSSIAN),
)
def feature_output_error(query: Vector, keys: Sequence[Vector], values: Sequence[Vector], features: int) -> float:
    """The output o errs by |error|² = 1/m sum over i, j of p_i p_j exp((q + k_i)·(q + k_j)) (v_i - o)·(v_j - o), positive features.

    p are the exact soft-max weights exp(q·k_j) / sum, o = sum_j p_j v_j; the mean over directions. Equal values have no error.

    >>> feature_output_error([0.0], [[0.0], [0.0]], [[1.0], [-1.0]], features=5)
    0.0
    >>> round(feature_output_error([0.0], [[1.0], [-1.0]], [[1.0], [-1.0]], features=100), 6)
    0.011752
    """
    _counted(features=features)
    scores = [_dot(query, key) for key in keys]
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    weights = [power / math.fsum(powers) for power in powers]
    output = [math.fsum(p * x for p, x in zip(weights, column, strict=True)) for column in zip(*values, strict=True)]
    apart = [_added(value, output, -1) for value in values]
    shifted = [_added(query, key) for key in keys]
    return math.fsum(
        weights[i] * weights[j] * math.exp(_dot(shifted[i], shifted[j])) * _dot(apart[i], apart[j])
        for i in range(len(keys)) for j in range(len(keys))
    ) / features  # fmt: skip


@law(
    "attention.features_needed",
    Kind.EXPECTATION,
    Unit.COUNT,
    assumes=("`variance` is that of one feature, relative to the square of what is estimated",),
    sources=("relative variance / m = error²", _CHOROMANSKI),
)
def features_needed(variance: float, error: float) -> int:
    """For a relative error e (root of the mean square) m = variance / e² features are needed, rounded up; one at least.

    One pair's kernel has the variance exp(|q + k|²) - 1: exp(2 sqrt(d)) - 1 at unit-variance q and k and scale 1 / sqrt(d).

    >>> features_needed(math.expm1(2 * math.sqrt(64)), error=1.0)
    8886110
    """
    if not (error > 0 and variance >= 0 and math.isfinite(variance / error**2)):
        message = f"a finite relative variance, zero or more, and an error above zero are needed; {variance} and {error} came"
        raise InvariantError(message)
    return max(1, math.ceil(variance / error**2))


@law(
    "attention.feature_error_slope",
    Kind.TREND,
    Unit.RATIO,
    assumes=("m well above exp(|q + k|²): before that no single run shows the mean",),
    sources=("the mean of m independent terms has 1 / m of their variance",),
)
def feature_error_slope(first: int, last: int) -> float:
    """Between two numbers of features the error falls as m to the power -1/2: log-log slope -1/2, four times m for half the error.

    >>> feature_error_slope(64, 4096)
    -0.5
    """
    if not 0 < first < last:
        message = f"a slope is between two numbers of features, the first smaller; {first} and {last} came"
        raise InvariantError(message)
    return math.log(math.sqrt(first / last)) / math.log(last / first)
