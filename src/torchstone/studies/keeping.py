"""What a long run keeps of itself, so that it can go on after a kill: whole or not at all, and nothing in it is ever executed."""

import pickle
from collections.abc import Callable
from pathlib import Path

import torch

from torchstone.core.files import whole

State = dict[str, object]


def _write(path: Path, state: object) -> None:
    with whole(path) as part:
        torch.save(state, part)


def _read(path: Path) -> State | None:
    try:
        return torch.load(path, weights_only=True)  # type: ignore[no-any-return] # plain tensors and numbers, or refused
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None


class Keeper:
    """One run's state on disk. Its random numbers belong in it: `torch.get_rng_state()`, or a generator's own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> State | None:
        """What was kept last; None where nothing was, or it cannot be read: the run then begins anew."""
        return _read(self.path) if self.path.exists() else None

    def save(self, **state: object) -> None:
        """Keep tensors, numbers, lists and dictionaries of them."""
        _write(self.path, state)

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
