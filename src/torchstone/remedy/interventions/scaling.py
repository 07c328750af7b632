"""Changes of how much one loss, at one line of the user's, counts."""

import functools
from contextlib import ExitStack

import torch
from torch import Tensor

from torchstone.core.place import Place
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, Arguments, number, whole


class ScaleLoss(Applied):
    """Multiply what a loss function returns at one line."""

    KIND = "scale-loss"

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._inside = False

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap the function; modules of losses call it too."""
        replace(stack, torch.nn.functional, str(self.arguments["function"]), functools.partial(self._wrapped, watcher))

    def _wrapped(self, watcher: Watcher, original: Function) -> Function:
        wanted = Place(str(self.arguments["file"]), whole(self.arguments["line"]))

        def scaled(*arguments: object, **options: object) -> object:
            # A probe's function mode calls the function again, from inside: it counts once.
            if torch.compiler.is_compiling() or self._inside or user_place(2) != wanted:
                return original(*arguments, **options)
            self._inside = True
            try:
                result = original(*arguments, **options)
            finally:
                self._inside = False
            if isinstance(result, Tensor):
                self.applied(watcher, str(wanted))
                return result * number(self.arguments["factor"])
            return result

        return scaled
