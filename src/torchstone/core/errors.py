"""What torchstone raises. Every message says what was wrong, what came, and what to do."""


class TorchstoneError(Exception):
    """Any error that torchstone itself raises on purpose."""


class UsageError(TorchstoneError):
    """The user's input cannot be worked with. Ends a command with one line and exit code 2."""


class RecordingError(UsageError):
    """A stored recording cannot be read."""


class InvariantError(TorchstoneError, ValueError):
    """A core type was given values that its invariants forbid: a fault of the caller, not of the user."""
