"""Changes of the random numbers that a recomputed forward pass draws."""

from contextlib import ExitStack

from torchstone.core.place import Place
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied
from torchstone.remedy.parts import Generators, follow, generators, restore


class _Restored:
    """A part that draws the same random numbers each time it runs; those around it are as they would be."""

    def __init__(self, change: "PreserveGenerators", watcher: Watcher) -> None:
        self._change, self._watcher = change, watcher
        self._first: Generators | None = None
        self._around: list[Generators] = []

    def begin(self) -> None:
        """Remember, or go back."""
        now = generators()
        if self._first is None:
            self._first = now
            return
        self._around.append(now)
        restore(self._first)
        self._change.applied(self._watcher)

    def end(self) -> None:
        """Go on from where the generators were."""
        if self._around:
            restore(self._around.pop())


class PreserveGenerators(Applied):
    """Let every recomputation draw what the first computation drew, from torch's, Python's and NumPy's shared generators."""

    KIND = "preserve-rng"

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Follow what runs again."""

        def make(by: str, place: Place, preserved: bool, what: object) -> _Restored:  # noqa: FBT001 - as follow() calls it
            del by, place, preserved, what
            return _Restored(self, watcher)

        follow(stack, make)
