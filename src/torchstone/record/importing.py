"""Runs a function right after a module has been imported, and leaves no trace in the module.

The hooks go in when the script itself imports torch, not before: a script may set OMP_NUM_THREADS or
CUDA_VISIBLE_DEVICES first, and torch must find what it would have found.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class AfterImport:
    """A finder that finds nothing itself: it lets the others find, and adds calls after execution."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acts: list[Callable[[ModuleType], None]] = []
        self._searching = False

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec that the other finders give, with its loader's exec_module followed by our calls, once."""
        del path, target
        if name != self.name or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader
        original = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # the instance attribute: the loader is as it was
            self.remove()
            original(module)
            for act in self.acts:
                act(module)

        loader.exec_module = exec_module  # type: ignore[method-assign] # on this one instance
        return spec

    def remove(self) -> None:
        """Leave the list of finders."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)


def after_import(name: str, act: Callable[[ModuleType], None]) -> None:
    """Call `act(module)` as soon as the module `name` has been executed; now, if it already has."""
    if name in sys.modules:
        act(sys.modules[name])
        return
    finder = next((f for f in sys.meta_path if isinstance(f, AfterImport) and f.name == name), None)
    if finder is None:
        finder = AfterImport(name)
        sys.meta_path.insert(0, finder)
    finder.acts.append(act)
