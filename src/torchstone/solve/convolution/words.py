"""What people write for a shape, a setting or a range of them, read into numbers; refused in one line that says what to write."""

import operator
from collections.abc import Sequence
from typing import NoReturn, SupportsIndex, TypeVar

from torchstone.core.errors import UsageError
from torchstone.solve.convolution.search import Paddings, Pair, Unknown

Shape = str | Sequence[int]
# A number, a range, one of them for each axis, or text that says so; a padding may be a pair (before, after) for each axis.
Setting = int | range | str | Sequence[int] | Sequence[range] | Sequence[Sequence[int]] | None
Value = TypeVar("Value")
_MOST_AXES = 3
# Of what is looked for; a number that is given may exceed it.
LIMIT = 256
# Of any size or setting: positions are kept one by one.
LONGEST = 10_000_000
_SIDES = 2


def read_shape(given: Shape, what: str = "the input") -> tuple[int, ...]:
    """Channels, then one to three sizes.

    >>> read_shape("3x64x64"), read_shape((3, 64))
    ((3, 64, 64), (3, 64))
    """
    repair = "; write channels, then 1 to 3 sizes, as in 3x64x64"
    try:
        shape = tuple(_whole(word) for word in (_parts(given) if isinstance(given, str) else given))
    except (TypeError, ValueError):
        message = f"{what} is a shape of whole numbers; {given!r} came{repair}"
        raise UsageError(message) from None
    if not 1 < len(shape) <= 1 + _MOST_AXES:
        message = f"{what} has channels and 1 to 3 sizes; {given!r} has {_count(len(shape), 'number')}{repair}"
        raise UsageError(message)
    if min(shape) < 1:
        message = f"{what} has 1 or more of everything; {given!r} came{repair}"
        raise UsageError(message)
    if max(shape) > LONGEST:
        message = f"{what} has at most {LONGEST:,} of anything; {given!r} came: ask about a part of it"
        raise UsageError(message)
    return shape


def _parts(text: str) -> list[str]:
    return text.replace("×", "x").replace("X", "x").split("x")


def _whole(word: str | SupportsIndex) -> int:
    if isinstance(word, bool):
        message = "a truth value is no number"
        raise TypeError(message)
    return int(word) if isinstance(word, str) else operator.index(word)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + "s" * (number != 1)


def written(values: Sequence[int]) -> str:
    """A shape as it is written.

    >>> written((3, 64, 64))
    '3x64x64'
    """
    return "x".join(map(str, values))


def read_unknown(name: str, given: Setting, axes: int, allowed: range) -> Unknown:
    """A setting for each axis: fixed, a range, or (None) whatever is allowed.

    >>> read_unknown("kernel", "1..7", 2, range(1, 65))
    Unknown(ranges=(range(1, 8), range(1, 8)), tied=True)
    >>> read_unknown("kernel", (8, 5), 2, range(1, 65))
    Unknown(ranges=(range(8, 9), range(5, 6)), tied=False)
    """
    parts = _each(name, given, axes)
    if parts is None:
        return Unknown((allowed,) * axes, tied=True)
    ranges = tuple(_range(name, part, allowed.start) for part in parts)
    # One range for all axes is the same choice along all; a value for each axis that happens to be equal is too.
    tied = len(parts) == 1 or (len(set(ranges)) == 1 and len(ranges[0]) == 1)
    return Unknown(_spread(name, ranges, axes), tied)


def read_padding(given: Setting, axes: int, allowed: range) -> Paddings:
    """A padding for each axis: the same on both sides (a number or a range), or before and after.

    >>> read_padding("1,2", 2, range(65)).sides
    ((1, 2), (1, 2))
    """
    parts = _each("padding", given, axes)
    if parts is None:
        return Paddings((allowed,) * axes, tied=True)
    sides = tuple(_side(part) for part in parts)
    tied = len(sides) == 1 or (len(set(sides)) == 1 and not (isinstance(sides[0], range) and len(sides[0]) > 1))
    return Paddings(_spread("padding", sides, axes), tied)


def _each(name: str, given: Setting, axes: int) -> list[object] | None:
    """What was given for each axis, or once for all of them."""
    if given is None:
        return None
    if isinstance(given, str):
        return list(_parts(given))
    if isinstance(given, Sequence) and not isinstance(given, range):
        if not 1 <= len(given) <= _MOST_AXES:
            _refuse(name, given, f"one for all axes or one for each of the {axes}")
        return list(given)
    return [given]


def _spread(name: str, values: tuple[Value, ...], axes: int) -> tuple[Value, ...]:
    if len(values) not in {1, axes}:
        size = _count(axes, "size")
        message = f"{name} has {_count(len(values), 'value')} and the input {size} after its channels; give one, or one for each"
        raise UsageError(message)
    return values * axes if len(values) == 1 else values


def _side(part: object) -> range | Pair:
    pair = part.split(",") if isinstance(part, str) and "," in part else part
    if isinstance(pair, Sequence) and not isinstance(pair, str | range):
        if len(pair) != _SIDES:
            _refuse("padding", part, "a number, or before and after, as in 1,2")
        before, after = (_range("padding", side, 0) for side in pair)
        if len(before) != 1 or len(after) != 1:
            _refuse("padding", part, "numbers, not ranges, where before and after differ")
        return (before[0], after[0]) if before != after else before
    return _range("padding", pair, 0)


def _range(name: str, part: object, least: int) -> range:
    repair = "a whole number, a range as in 1..7, or one for each axis as in 8x5"
    try:
        if isinstance(part, range):
            found = part
        elif isinstance(part, str) and ".." in part:
            first, last = map(int, part.split(".."))
            found = range(first, last + 1)
        else:
            value = _whole(part)  # type: ignore[arg-type]
            found = range(value, value + 1)
    except (TypeError, ValueError):
        _refuse(name, part, repair)
    if len(found) == 0 or found.step != 1:
        _refuse(name, part, "a range that rises by 1, as in 1..7")
    if found.start < least:
        _refuse(name, part, f"{least} or more")
    if found.stop - 1 > LONGEST:
        _refuse(name, part, f"at most {LONGEST:,}")
    return found


def _refuse(name: str, given: object, repair: str) -> NoReturn:
    message = f"{name} must be {repair}; {given!r} came"
    raise UsageError(message)


def limits(maximum: int) -> tuple[range, range]:
    """What an unknown kernel, stride or dilation may be, and what an unknown padding may be, up to a limit."""
    try:
        most = _whole(maximum)
    except (TypeError, ValueError):
        most = 0
    if not 1 <= most <= LIMIT:
        message = f"the limit of the search is a whole number from 1 to {LIMIT}; {maximum!r} came"
        raise UsageError(message)
    return range(1, most + 1), range(most + 1)
