"""Peaks of one level of segments: which memory a backward pass takes, and what no division into segments can beat.

L layers, each of which saves S bytes for its backward pass (its input of a bytes among them). A segment that is checkpointed keeps
its input alone; the last one is not checkpointed, since its backward pass comes at once.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import sqrt

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

_CHEN = "Chen et al. 2016, section 4.1, with a layer's saved bytes apart from its border's"
_ALIKE = ("layers alike", "one level of segments", "a layer saves at least its input")


def _checked(*numbers: float) -> None:
    if min(numbers) < 0:
        message = f"sizes are zero or more; {numbers} came"
        raise InvariantError(message)


@law("rematerialization.segment_peak", Kind.COST, Unit.BYTES, assumes=_ALIKE[:2], sources=(_CHEN,))
def segment_peak(sizes: Sequence[int], boundary: float, saved: float, work: float = 0.0) -> float:
    """The peak is the maximum over segments i = 0, 1, ... of i a + size_i S, plus a constant w that the layers need at work.

    >>> segment_peak([2] * 16, 0.5, 5.0, 3.5), segment_peak([2] * 10 + [12], 0.5, 5.0, 3.5)
    (21.0, 68.5)
    """
    _checked(boundary, saved, work, *sizes)
    if not sizes or min(sizes) < 1:
        message = f"segments hold one layer or more; {list(sizes)} came"
        raise InvariantError(message)
    return max(place * boundary + size * saved for place, size in enumerate(sizes)) + work


@law(
    "rematerialization.equal_split_bound",
    Kind.BOUND,
    Unit.BYTES,
    assumes=_ALIKE,
    sources=(_CHEN, "k a + S L/k is least at k = √(L S/a)"),
)
def equal_split_bound(layers: int, boundary: float, saved: float) -> float:
    """Equal segments take at least 2 √(L a S) - a, near k = √(L S/a) of them: √L segments are best only if S = a.

    >>> equal_split_bound(32, 0.5, 5.0) < segment_peak([2] * 16, 0.5, 5.0)
    True
    """
    _checked(layers, boundary, saved)
    return 2 * sqrt(layers * boundary * saved) - boundary


@law(
    "rematerialization.uneven_split_bound",
    Kind.BOUND,
    Unit.BYTES,
    assumes=_ALIKE,
    sources=("the derivation: segments of at most (B - i a)/S layers hold B (B + a)/(2 a S) in all",),
)
def uneven_split_bound(layers: int, boundary: float, saved: float) -> float:
    """No division into segments takes less than (√(a² + 8 a S L) - a)/2, about √2 below equal ones: sizes fall from first to last.

    >>> round(uneven_split_bound(32, 0.5, 5.0), 2), round(equal_split_bound(32, 0.5, 5.0), 2)
    (12.4, 17.39)
    """
    _checked(layers, boundary, saved)
    return (sqrt(boundary**2 + 8 * boundary * saved * layers) - boundary) / 2


def even(layers: int, segments: int) -> list[int]:
    """As even as whole layers allow, larger ones first.

    >>> even(32, 11)
    [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2]
    """
    if not 1 <= segments <= layers:
        message = f"there are 1 to {layers} segments of {layers} layers; {segments} came"
        raise InvariantError(message)
    least, more = divmod(layers, segments)
    return [least + 1] * more + [least] * (segments - more)


def borders(sizes: Sequence[int]) -> list[int]:
    """Where segments end.

    >>> borders([3, 2])
    [3, 5]
    """
    return list(accumulate(sizes))
