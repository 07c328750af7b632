"""What a long run keeps of itself, so that it can go on after a kill: whole or not at all, and nothing in it is ever executed."""

import pickle
import time
from collections.abc import Callable
from pathlib import Path

import torch

from torchstone.core.errors import UsageError
from torchstone.core.files import whole

State = dict[str, object]
_SECONDS = " seconds"  # the engine's own: no argument of `save` can be named so


def _write(path: Path, state: object) -> None:
    try:
        with whole(path) as part, part.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch's own writer says the second where the first was the cause
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        message = f"{path} cannot be written: {cause.strerror or cause}; make room and run the same command again"
        raise UsageError(message) from error


def _read(path: Path) -> State | None:
    try:
        return torch.load(path, weights_only=True)  # type: ignore[no-any-return] # plain tensors and numbers, or refused
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None


class Keeper:
    """One run's state on disk. Its random numbers belong in it: `torch.get_rng_state()`, or a generator's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began, self._before = time.process_time(), 0.0

    @property
    def seconds(self) -> float:
        """CPU seconds of the run, with those before the state that it went on from."""
        return self._before + time.process_time() - self._began

    def load(self) -> State | None:
        """What was kept last; None where nothing was, or it cannot be read: the run then begins anew."""
        state = _read(self.path) if self.path.exists() else None
        if state is not None:
            self._before = float(state.pop(_SECONDS, 0.0))  # type: ignore[arg-type] # as `save` wrote it
        return state

    def save(self, **state: object) -> None:
        """Keep tensors, numbers, lists and dictionaries of them."""
        _write(self.path, {**state, _SECONDS: self.seconds})

    def drop(self) -> None:
        """The run has ended."""
        self.path.unlink(missing_ok=True)


class Shared:
    """Tensors that several runs have in common, made once and kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, make: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The tensors kept under a name, or made now."""
        path = self.folder / f"shared-{name}.pt"
        kept = _read(path) if path.exists() else None
        if kept is None:
            kept = dict(make())
            _write(path, kept)
        return kept  # type: ignore[return-value] # written by the two lines above, in this process or an earlier one
