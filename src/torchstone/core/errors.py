"""What torchstone raises. Every message says what was wrong, what came, and what to do."""

import difflib
from collections.abc import Iterable


class TorchstoneError(Exception):
    """Any error that torchstone itself raises on purpose."""


class UsageError(TorchstoneError):
    """The user's input cannot be worked with. Ends a command with one line and exit code 2."""


class RecordingError(UsageError):
    """A stored recording cannot be read."""


class InvariantError(TorchstoneError, ValueError):
    """A core type was given values that its invariants forbid: a fault of the caller, not of the user."""


def told(error: Exception) -> str:
    r"""An exception's type and message in one line.

    >>> told(ValueError("two\nlines"))
    'ValueError: two lines'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def meant(typed: str, known: Iterable[str]) -> str:
    """The end of an error's line: the known name nearest to what was typed, or nothing if none is near.

    >>> meant("Loss", ["loss", "noise"]), meant("quux", ["loss"])
    ("; did you mean 'loss'?", '')
    """
    names = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(typed.casefold(), names, n=1)
    return f"; did you mean {names[near[0]]!r}?" if near else ""
