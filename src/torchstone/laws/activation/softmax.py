"""Softmax: what it depends on (differences of logits), and what a factor on the logits does to it.

Axis letters: k classes.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


def _exponential(x: float) -> float:
    """The exponential, infinite where float64 ends: a share of 1/inf is 0."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _softmax(logits: Sequence[float]) -> list[float]:
    """Each share as 1 / sum_j exp(x_j - x_i): by differences only, so that no height of the logits overflows."""
    return [1 / sum(_exponential(other - own) for other in logits) for own in logits]


def _check(logits: Sequence[float]) -> None:
    if not logits or not all(math.isfinite(one) for one in logits):
        message = f"softmax needs one finite logit or more; {list(logits)} came"
        raise InvariantError(message)


def _extremes(logits: Sequence[float], scale: float) -> tuple[float, list[float]]:
    """The logit that a growing factor of this sign favours, and how far each logit lies behind it."""
    best = max(logits) if scale > 0 else min(logits)
    return best, [abs(best - one) for one in logits]


@law(
    "activation.two_class_logit",
    Kind.EQUIVALENCE,
    Unit.LOGITS,
    assumes=("finite logits",),
    sources=("division of softmax by exp(z0): 1 / (1 + exp(z1 - z0))",),
)
def two_class_logit(z0: float, z1: float) -> float:
    """Softmax over two logits gives class 0 the probability sigmoid(z0 - z1), and class 1 sigmoid(z1 - z0).

    Breaks when: the sign is turned; the difference then belongs to the other class.

    >>> two_class_logit(3.0, 1.0)
    2.0
    """
    _check([z0, z1])
    return z0 - z1


@law(
    "activation.softmax_of_differences",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("finite logits",),
    sources=("division of softmax by exp(x_1)", "McCullagh and Nelder 1989, section 5.2: the baseline-category logit"),
)
def softmax_of_differences(logits: Sequence[float]) -> list[float]:
    """Softmax over k logits needs k-1 parameters, y_i = x_{i+1} - x_1: it is exp((0, y)) / (1 + sum exp(y)).

    >>> [round(share, 4) for share in softmax_of_differences([1.0, 2.0, 3.0])]
    [0.09, 0.2447, 0.6652]
    """
    _check(logits)
    return _softmax([0.0, *(one - logits[0] for one in logits[1:])])


@law(
    "activation.translated_softmax",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("finite logits", "one shift for all logits of a row"),
    sources=("exp(x_i + c) / sum exp(x_j + c): the factor exp(c) cancels",),
)
def translated_softmax(logits: Sequence[float], shift: float) -> list[float]:
    """Softmax is translation invariant: softmax(x + c) is softmax(x).

    >>> translated_softmax([0.0, 0.0], shift=1e6)
    [0.5, 0.5]
    """
    _check([*logits[:1], shift])
    _check(logits)
    return _softmax(logits)


@law(
    "activation.scaled_log_odds",
    Kind.EQUIVALENCE,
    Unit.LOGITS,
    assumes=("finite logits",),
    sources=("log(p_i / p_j) = c (x_i - x_j): the sum over classes cancels",),
)
def scaled_log_odds(first: float, second: float, scale: float) -> float:
    """A factor c on the logits multiplies every log-odds by c: softmax(c x) is softmax(x) only if c = 1 or all x are equal.

    >>> scaled_log_odds(3.0, 1.0, scale=10.0)
    20.0
    >>> scaled_log_odds(2.0, 2.0, scale=10.0)
    0.0
    """
    _check([first, second, scale])
    return scale * (first - second)


@law(
    "activation.softmax_scale_limit",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("finite logits",),
    sources=("the derivation in softmax_limit_error",),
)
def softmax_scale_limit(logits: Sequence[float], scale: float) -> list[float]:
    """Softmax(c x) is uniform at c = 0, and as c grows without bound it tends to 1/r on the r tied maxima and 0 elsewhere.

    `scale` is 0, inf or -inf (then the minima take the place of the maxima).

    >>> softmax_scale_limit([1.0, 5.0, 5.0], scale=math.inf)
    [0.0, 0.5, 0.5]
    >>> softmax_scale_limit([1.0, 5.0], scale=0.0)
    [0.5, 0.5]
    """
    _check(logits)
    if scale != 0 and not math.isinf(scale):
        message = f"a limit is taken at scale 0, inf or -inf; {scale} came"
        raise InvariantError(message)
    if scale == 0:
        return [1 / len(logits)] * len(logits)
    best, _ = _extremes(logits, scale)
    return [1 / logits.count(best) if one == best else 0.0 for one in logits]


@law(
    "activation.softmax_limit_error",
    Kind.BOUND,
    Unit.VALUE,
    assumes=("finite logits", "c > 0"),
    sources=(
        "with s = sum of exp(-c d) over the k-r others: on a maximum 1/r - 1/(r+s) <= s/r² <= (k-r)/r² exp(-c gap)",
        "elsewhere exp(-c d)/(r+s) <= exp(-c gap)/r",
    ),
)
def softmax_limit_error(logits: Sequence[float], scale: float) -> float:
    """No share of softmax(c x) is further from its limit than max((k-r)/r², 1/r) exp(-c gap).

    r is the number of tied maxima and the gap is from them to the next logit. Without a next one the error is 0.

    >>> round(softmax_limit_error([0.0, 2.0], scale=5.0), 8) == round(math.exp(-10), 8)
    True
    >>> softmax_limit_error([2.0, 2.0], scale=5.0)
    0.0
    """
    _check(logits)
    if not 0 < scale < math.inf:
        message = f"the error is bounded for a finite scale above 0; {scale} came"
        raise InvariantError(message)
    _, behind = _extremes(logits, scale)
    others = [distance for distance in behind if distance > 0]
    tied = len(behind) - len(others)
    return max(len(others) / tied**2, 1 / tied) * math.exp(-scale * min(others)) if others else 0.0
