"""Normalisation in a stack of residual layers: before the sub-layer (pre, `norm_first`) or after the sum (post).

Pre-normalisation: x <- x + s(LN(x)), and one LN after the last layer. Post-normalisation: x <- LN(x + s(x)). A transformer layer
has two such sub-layers s, attention and feed-forward. Axis letters: d width, L layers, l a layer's number, from 0.
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Vector = Sequence[float]
_XIONG = "Xiong et al. 2020, section 3.3"
_STREAM = "induction over residual sums: LN((k + 1) x0) = x0 for a normalised x0"


def _checked(layers: int, layer: int, residuals: int) -> None:
    if not 0 <= layer <= layers or residuals < 1:
        message = f"layer 0 to {layers} of a stack, with a residual sum or more each, is needed; {layer} and {residuals} came"
        raise InvariantError(message)


def _checked_share(attended: float) -> None:
    if not 0 <= attended <= 1:
        message = f"attention reads a mean of values: its mean square is between 0 and 1 of theirs; {attended} came"
        raise InvariantError(message)


@law(
    "norm.identity_stream",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=("sub-layers are identities", "x0 is normalised: mean 0, mean square 1", "eps = 0, no weight, no bias"),
    sources=(_STREAM,),
)
def identity_stream(layer: int, residuals: int = 2, *, norm_first: bool = True) -> int:
    """With identity sub-layers the stream after l layers is (2 l + 1) x0 with pre-normalisation, and x0 with post.

    `residuals` is the number of residual sums a layer, each of which adds x0 once.

    >>> [identity_stream(layer) for layer in range(4)]
    [1, 3, 5, 7]
    """
    _checked(layer, layer, residuals)
    return residuals * layer + 1 if norm_first else 1


@law(
    "norm.identity_gradient",
    Kind.GRADIENT,
    Unit.VALUE,
    assumes=("as norm.identity_stream", "g is the gradient by the stream after layer L, before the last normalisation"),
    sources=(
        "sum k's Jacobian is I + P/k where the stream is k x0 (pre) and P (post), with P = I - 1 1'/d - x0 x0'/d",
        "the factors 1 + 1/k telescope",
    ),
)
def identity_gradient(
    start: Vector, gradient: Vector, layers: int, layer: int, residuals: int = 2, *, norm_first: bool = True
) -> list[float]:
    """With identity sub-layers what is orthogonal to 1 and x0 grows (2 L + 1)/(2 l + 1) times on its way down; the rest stays.

    That is with pre-normalisation; with post-normalisation the first is passed as it is and the rest not at all. `start` is x0,
    `gradient` that by the stream after layer L; the result that by the stream after layer l.

    >>> identity_gradient([1.0, -1.0, 1.0, -1.0], [1.0, 0.0, -1.0, 0.0], layers=3, layer=0)
    [7.0, 0.0, -7.0, 0.0]
    """
    _checked(layers, layer, residuals)
    width = len(start)
    if not width or width != len(gradient):
        message = f"x0 and a gradient of one width are needed; {width} and {len(gradient)} came"
        raise InvariantError(message)
    mean = math.fsum(gradient) / width
    along = math.fsum(g * x for g, x in zip(gradient, start, strict=True)) / width
    blocked = [mean + along * x for x in start]
    if layer == layers:
        return list(gradient)
    kept = 1.0 if norm_first else 0.0
    growth = _growth(layers, layer, residuals) if norm_first else 1.0
    return [growth * (g - b) + kept * b for g, b in zip(gradient, blocked, strict=True)]


def _growth(layers: int, layer: int, residuals: int) -> float:
    return (residuals * layers + 1) / (residuals * layer + 1)


@law(
    "norm.identity_gradient_bound",
    Kind.BOUND,
    Unit.NORM,
    assumes=("as norm.identity_gradient, with pre-normalisation", "|g_L| = sqrt(d)"),
    sources=("norm.identity_gradient: no part grows by more; attained by a g orthogonal to 1 and x0",),
)
def identity_gradient_bound(width: int, layers: int, layer: int, residuals: int = 2) -> float:
    """With identity sub-layers |g_l| <= sqrt(d) (2 L + 1)/(2 l + 1): the lower the layer, the larger its gradient may be.

    >>> [round(identity_gradient_bound(1, 6, layer), 2) for layer in range(7)]
    [13.0, 4.33, 2.6, 1.86, 1.44, 1.18, 1.0]
    """
    _checked(layers, layer, residuals)
    if width < 1:
        message = f"a width of 1 or more is needed; {width} came"
        raise InvariantError(message)
    return math.sqrt(width) * _growth(layers, layer, residuals)


@law(
    "norm.stream_variance",
    Kind.EXPECTATION,
    Unit.RATIO,
    assumes=(
        "pre-normalisation at initialisation, an input of mean square 1",
        "Xavier weights, all d x d, without biases; ReLU",
        "the mean over inputs and weights",
    ),
    sources=(f"{_XIONG}: lemma 2: feed-forward adds 1/2, attention the square of a mean of values, 0 to 1",),
)
def stream_variance(layers: int, attended: float = 1.0) -> float:
    """At initialisation a pre-normalised stream has a mean square of 1 + (1/2 + a) L after L layers: from 1 + L/2 to 1 + 3L/2.

    a (`attended`) is the mean square of what attention reads: 1 where all positions are alike, 1/t of t unlike ones.

    >>> stream_variance(12, 0.0), stream_variance(12)
    (7.0, 19.0)
    """
    _checked(layers, 0, 1)
    _checked_share(attended)
    return 1 + (1 / 2 + attended) * layers


@law(
    "norm.depth_gradient",
    Kind.TREND,
    Unit.RATIO,
    assumes=("initialisation as in norm.stream_variance", "the same gradient by the stack's normalised output"),
    sources=(
        f"{_XIONG}: theorem 1: O(1) after, O(1/sqrt(L)) before",
        "norm.normalize_scale: the last LN divides by the stream's spread",
    ),
)
def depth_gradient(shallow: int, deep: int, attended: float = 1.0, *, norm_first: bool = True) -> float:
    """The last feed-forward weight's gradient falls as 1/sqrt(1 + v L) over depth with pre-normalisation, not at all with post.

    v = 1/2 + a is what each layer adds to norm.stream_variance; a (`attended`) is 1 where all positions are alike. The ratio of the
    gradient's norm at depth `deep` to that at depth `shallow`.

    >>> [round(depth_gradient(2, layers), 3) for layers in (2, 6, 12)]
    [1.0, 0.632, 0.459]
    >>> depth_gradient(2, 12, norm_first=False)
    1.0
    """
    shares = (stream_variance(shallow, attended), stream_variance(deep, attended))
    return math.sqrt(shares[0] / shares[1]) if norm_first else 1.0
