"""A formula cut into tokens, and errors that point at the place."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from torchstone.core.errors import UsageError

MAX_LENGTH = 100_000
_AROUND = 36
_SIGNS = {"×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "[": "(", "]": ")"}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_PATTERN = re.compile(
    r"(?P<space>\s+)|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<raised>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
    r"|(?P<name>[^\W\d](?:(?![⁰¹²³⁴⁵⁶⁷⁸⁹])\w)*)|(?P<sign>\*\*|[-+*/^(),×·⋅÷−–\[\]])"
)
_ALLOWED = "numbers, names, + - * / ** and parentheses"


@dataclass(frozen=True, slots=True)
class Token:
    """A number, a name or a sign, and where it begins. `text` is normalised: ^ is **, × is *, ² is ** and 2."""

    kind: str
    text: str
    position: int


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a formula; raises UsageError at a sign that no formula has."""
    if len(text) > MAX_LENGTH:
        message = f"the formula has {len(text):,} characters, at most {MAX_LENGTH:,} are read: trace a Python function instead"
        raise UsageError(message)
    position = 0
    while position < len(text):
        found = _PATTERN.match(text, position)
        if found is None:
            _unreadable(text, position)
        kind, word = str(found.lastgroup), found.group()
        if kind == "raised":
            yield Token("sign", "**", position)
            yield Token("number", word.translate(_RAISED), position)
        elif kind != "space":
            if kind == "number" and not math.isfinite(float(word)):
                fail(text, position, f"the number {word} is too large for float64: write a smaller one")
            yield Token(kind, _SIGNS.get(word, word), position)
        position = found.end()


def _unreadable(text: str, position: int) -> NoReturn:
    sign = text[position]
    if sign in "=<>!":
        fail(text, position, f"{sign!r} has no meaning here: give one formula, the right side of y = ...")
    fail(text, position, f"{sign!r} is no part of a formula, which is made of {_ALLOWED}")


def fail(text: str, position: int, message: str) -> NoReturn:
    """Raise UsageError with the place shown: the message, the text around the position, and a caret below it."""
    begin, end = max(0, position - _AROUND), position + _AROUND
    before = ("… " if begin else "") + text[begin:position]
    after = text[position:end] + (" …" if end < len(text) else "")
    shown = re.sub(r"\s", " ", before + after)
    complete = f"{message}\n  {shown}\n  {' ' * len(before)}^"
    raise UsageError(complete)
