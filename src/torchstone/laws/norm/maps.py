"""The two maps that LayerNorm is made of: demeaning f(x) = x - mean(x) and normalising h(z) = z / sqrt(mean(z^2) + eps).

Vectors are sequences of d numbers. g is the upstream gradient dL/df or dL/dh. Root mean squares, not norms: |h(z)| is sqrt(d).
"""

import math
from collections.abc import Sequence

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

Vector = Sequence[float]
_LAYER_NORM = "Ba, Kiros and Hinton 2016, section 3: equation 3"
_NORMALISE = "Zhang and Sennrich 2019, section 4: equations 4 and 7"


def _checked(gradient: Vector, vector: Vector, eps: float) -> int:
    if len(gradient) != len(vector) or not vector or not eps >= 0:
        message = f"a gradient and a vector of one width, and eps >= 0, are needed; {len(gradient)}, {len(vector)} and {eps} came"
        raise InvariantError(message)
    return len(vector)


def _positive(scale: float) -> None:
    if not 0 < scale < math.inf:
        message = f"the input is scaled by a positive number; {scale} came"
        raise InvariantError(message)


def _demeaned(vector: Vector) -> list[float]:
    mean = math.fsum(vector) / len(vector)
    return [x - mean for x in vector]


def _root_mean_square(vector: Vector, eps: float) -> float:
    root = math.sqrt(math.fsum(z * z for z in vector) / len(vector) + eps)
    if root == 0:
        message = "a vector of zeros has no direction: with eps = 0 it cannot be normalised"
        raise InvariantError(message)
    return root


@law("norm.demean_gradient", Kind.GRADIENT, Unit.VALUE, sources=("df_i/dx_j = [i = j] - 1/d",))
def demean_gradient(gradient: Vector) -> list[float]:
    """Demeaning passes the demeaned gradient on: dL/dx = g - mean(g), whatever x is; the direction 1 cannot pass.

    >>> demean_gradient([1.0, 2.0, 6.0])
    [-2.0, -1.0, 3.0]
    """
    _checked(gradient, gradient, 0.0)
    return _demeaned(gradient)


@law(
    "norm.demean_scale",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=("x' = a x with a > 0", "the same upstream gradient"),
    sources=("f is linear: f(a x) = a f(x), and its Jacobian does not depend on x",),
)
def demean_scale(scale: float) -> tuple[float, float]:
    """For x' = a x demeaning gives a times the norm, and the downstream gradient does not change: the factors (a, 1).

    >>> demean_scale(3.0)
    (3.0, 1.0)
    """
    _positive(scale)
    return scale, 1.0


@law("norm.normalized_norm", Kind.EQUIVALENCE, Unit.NORM, assumes=("z is not 0",), sources=(_NORMALISE,))
def normalized_norm(vector: Vector, eps: float = 0.0) -> float:
    """Normalising gives every vector one length: |h(z)| = sqrt(d), or sqrt(d v / (v + eps)) for v = mean(z^2).

    >>> normalized_norm([3.0, 1.0, 2.0, -5.0])
    2.0
    >>> normalized_norm([1.0, -1.0, 1.0, -1.0], eps=3.0)
    1.0
    """
    width = _checked(vector, vector, eps)
    square = math.fsum(z * z for z in vector) / width
    return math.sqrt(width) * math.sqrt(square) / _root_mean_square(vector, eps)


@law("norm.normalize_gradient", Kind.GRADIENT, Unit.VALUE, assumes=("z is not 0, or eps > 0",), sources=(_NORMALISE,))
def normalize_gradient(vector: Vector, gradient: Vector, eps: float = 0.0) -> list[float]:
    """Normalising passes dL/dz = (g - (g.y) y / d) / sigma, for y = z / sigma and sigma = sqrt(mean(z^2) + eps).

    >>> normalize_gradient([2.0, -2.0], [1.0, 0.0])
    [0.25, 0.25]
    """
    width = _checked(gradient, vector, eps)
    sigma = _root_mean_square(vector, eps)
    output = [z / sigma for z in vector]
    along = math.fsum(g * y for g, y in zip(gradient, output, strict=True)) / width
    return [(g - along * y) / sigma for g, y in zip(gradient, output, strict=True)]


@law(
    "norm.radial_gradient",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("z is not 0, or eps > 0",),
    sources=("norm.normalize_gradient times z: (g.y)(1 - y.y/d), and y.y/d = v / (v + eps)",),
)
def radial_gradient(vector: Vector, gradient: Vector, eps: float = 0.0) -> float:
    """Along z itself nothing passes: dL/dz . z = (g.y) eps / (v + eps) for v = mean(z^2), which is 0 where eps is.

    >>> radial_gradient([3.0, 1.0], [1.0, 5.0])
    0.0
    >>> radial_gradient([1.0, -1.0], [1.0, 0.0], eps=3.0)
    0.375
    """
    width = _checked(gradient, vector, eps)
    sigma = _root_mean_square(vector, eps)
    square = math.fsum(z * z for z in vector) / width
    return math.fsum(g * z for g, z in zip(gradient, vector, strict=True)) / sigma * (eps / (square + eps))


@law(
    "norm.normalize_scale",
    Kind.EQUIVALENCE,
    Unit.RATIO,
    assumes=("z' = a z with a > 0", "the same upstream gradient", "eps = 0"),
    sources=("h(a z) = h(z), so a times its Jacobian at a z is that at z", _NORMALISE),
)
def normalize_scale(scale: float) -> tuple[float, float]:
    """For z' = a z normalising gives the same vector, and 1/a times the downstream gradient: the factors (1, 1/a).

    >>> normalize_scale(4.0)
    (1.0, 0.25)
    """
    _positive(scale)
    return 1.0, 1 / scale


@law("norm.layer_norm_gradient", Kind.GRADIENT, Unit.VALUE, assumes=("no weight, no bias",), sources=(_LAYER_NORM,))
def layer_norm_gradient(vector: Vector, gradient: Vector, eps: float = 0.0) -> list[float]:
    """LayerNorm passes dL/dx = (g - mean(g) - (g.y) y / d) / sigma: demeaning and normalising, one after the other.

    >>> layer_norm_gradient([5.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 0.0], eps=2.0)
    [-0.25, -0.25, 0.75, -0.25]
    """
    return _demeaned(normalize_gradient(_demeaned(vector), gradient, eps))


@law(
    "norm.passing_directions",
    Kind.COUNT,
    Unit.ELEMENTS,
    assumes=("eps = 0", "x is not constant"),
    sources=("norm.demean_gradient and norm.normalize_gradient: projections, off 1 and off z",),
)
def passing_directions(width: int, *, demeans: bool = True, normalizes: bool = True) -> int:
    """Of d directions one cannot pass demeaning (1), one cannot pass normalising (z), and LayerNorm lets d - 2 pass.

    The rank of the map's Jacobian.

    >>> passing_directions(8), passing_directions(8, demeans=False)
    (6, 7)
    """
    blocked = int(demeans) + int(normalizes)
    if width < blocked:
        message = f"a width of {blocked} or more is needed: of fewer numbers nothing is left; {width} came"
        raise InvariantError(message)
    return width - blocked
