"""Losses: what an untrained model starts at, and what a bounded input can never get below. In nats.

Axis letters: k classes. All logarithms are natural.
"""

import math
from dataclasses import dataclass

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@dataclass(frozen=True, slots=True)
class LossSpec:
    """The plain numbers of a loss: its function's name and the number of classes (0 for regression)."""

    function: str
    classes: int = 0


def _classes(classes: int) -> None:
    if classes < 1:
        message = f"a classification loss needs one class or more; {classes} came"
        raise InvariantError(message)


@law(
    "loss.uniform_cross_entropy",
    Kind.BOUND,
    Unit.NATS,
    subject=LossSpec,
    assumes=("every class gets the probability 1/k", "mean over rows, no class weights"),
    sources=("Shannon 1948, section 6: the entropy of k equal chances",),
)
def uniform_cross_entropy(classes: int) -> float:
    """The cross-entropy of a prediction that knows nothing is ln k, whatever the targets are.

    Breaks when: the initial prediction is not uniform (see initialization.softmax_cross_entropy).

    >>> round(uniform_cross_entropy(8000), 4)
    8.9872
    """
    _classes(classes)
    return math.log(classes)


@law(
    "loss.uniform_accuracy",
    Kind.EXPECTATION,
    Unit.RATIO,
    subject=LossSpec,
    assumes=("as many rows of each class", "predictions drawn independently of the targets"),
    sources=("derivation: the sum over classes of P(predicted = c) / k, whatever the predictions favour",),
)
def uniform_accuracy(classes: int) -> float:
    """Predictions that know nothing of the targets hit 1/k of them, on average over draws, where classes are equally frequent.

    A single untrained network's may lie off it: what its features happen to tell of the classes differs from draw to draw.

    >>> uniform_accuracy(4)
    0.25
    """
    _classes(classes)
    return 1 / classes


@law(
    "loss.uniform_binary_cross_entropy",
    Kind.BOUND,
    Unit.NATS,
    subject=LossSpec,
    assumes=("the probability 1/2 for every label", "no positive weights"),
    sources=("Shannon 1948, section 6, with k = 2",),
)
def uniform_binary_cross_entropy() -> float:
    """The binary cross-entropy of the probability 1/2 is ln 2, whatever the share of positives.

    >>> round(uniform_binary_cross_entropy(), 4)
    0.6931
    """
    return math.log(2)


@law(
    "loss.constant_squared_error",
    Kind.BOUND,
    Unit.RATIO,
    subject=LossSpec,
    assumes=("mean over elements",),
    sources=("the bias-variance identity E(y - c)^2 = Var y + (E y - c)^2",),
)
def constant_squared_error(variance: float, mean: float = 0.0, prediction: float = 0.0) -> float:
    """The squared error of predicting c for every y is Var(y) + (mean(y) - c)^2; at best Var(y).

    >>> constant_squared_error(4.0, mean=3.0, prediction=3.0)
    4.0
    >>> constant_squared_error(4.0, mean=3.0)
    13.0
    """
    if not variance >= 0:
        message = f"a variance is zero or more; {variance} came"
        raise InvariantError(message)
    return variance + (mean - prediction) ** 2


@law(
    "loss.gaussian_negative_log_likelihood",
    Kind.BOUND,
    Unit.NATS,
    subject=LossSpec,
    assumes=("a Gaussian with mean and variance fitted to the targets",),
    sources=("Cover and Thomas 2006, theorem 8.4.1: the differential entropy of a Gaussian",),
)
def gaussian_negative_log_likelihood(variance: float) -> float:
    """The best constant Gaussian has the negative log-likelihood 1/2 ln(2 pi e Var(y)).

    >>> round(gaussian_negative_log_likelihood(1.0), 4)
    1.4189
    """
    if not variance > 0:
        message = f"the fitted variance must be positive; {variance} came"
        raise InvariantError(message)
    return 0.5 * math.log(2 * math.pi * math.e * variance)


@law(
    "loss.reachable_cross_entropy",
    Kind.BOUND,
    Unit.NATS,
    subject=LossSpec,
    assumes=("every input of a row lies in an interval of the given length", "one target class a row"),
    sources=("the softmax of (r, 0, ..., 0) at its first entry, the largest that the interval allows",),
)
def reachable_cross_entropy(classes: int, interval: float) -> float:
    """Inputs confined to an interval of length r cannot bring cross-entropy below ln(1 + (k-1) e^-r).

    Probabilities have r = 1: the floor is ln(e + k - 1) - 1. Logits have no limit: the floor is 0.

    >>> round(reachable_cross_entropy(10, 1.0), 4), round(math.log(math.e + 9) - 1, 4)
    (1.4612, 1.4612)
    >>> reachable_cross_entropy(10, math.inf)
    0.0
    """
    _classes(classes)
    if not interval >= 0:
        message = f"the length of an interval is zero or more; {interval} came"
        raise InvariantError(message)
    return math.log1p((classes - 1) * math.exp(-interval))


@law(
    "loss.reachable_binary_cross_entropy",
    Kind.BOUND,
    Unit.NATS,
    subject=LossSpec,
    assumes=("every input lies in [low, high]", "targets are 0 or 1"),
    sources=("softplus is monotone: its minimum over an interval is at an end",),
)
def reachable_binary_cross_entropy(positives: float, low: float, high: float) -> float:
    """Inputs in [low, high] cannot bring binary cross-entropy below p ln(1+e^-high) + (1-p) ln(1+e^low).

    p is the share of positive targets. Probabilities have low = 0 and high = 1.

    >>> round(reachable_binary_cross_entropy(0.5, 0.0, 1.0), 4)
    0.5032
    >>> reachable_binary_cross_entropy(0.5, -math.inf, math.inf)
    0.0
    """
    if not 0 <= positives <= 1 or not low <= high:
        message = f"a share of positives in [0, 1] and low <= high are needed; {positives}, {low}, {high} came"
        raise InvariantError(message)
    return positives * _softplus(-high) + (1 - positives) * _softplus(low)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
