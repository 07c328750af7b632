"""Changes of what is drawn at one line of the user's, and of what a table of the signal that is left holds."""

import functools
import math
from contextlib import ExitStack

import torch
from torch import Tensor

from torchstone.core.place import Place
from torchstone.record import measure
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, number, whole


class NormalDraw(Applied):
    """Standard normal numbers in the place of uniform ones, by their quantiles: the stream of random numbers stays the script's."""

    KIND = "normal-draw"

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap the function that draws."""
        name = str(self.arguments["function"])
        for holder, attribute in ((torch, name), (torch.Tensor, f"{name}_")):
            if hasattr(holder, attribute):
                replace(stack, holder, attribute, functools.partial(self._wrapped, watcher))

    def _wrapped(self, watcher: Watcher, original: Function) -> Function:
        wanted = Place(str(self.arguments["file"]), whole(self.arguments["line"]))

        def drawn(*arguments: object, **options: object) -> object:
            result = original(*arguments, **options)
            if torch.compiler.is_compiling() or not isinstance(result, Tensor) or user_place(2) != wanted:
                return result
            with measure.unseen():
                # Into the same numbers, unnoticed by the tensor's version: a probe asks that for writing by the script.
                inside = result.double().clamp(1e-7, 1 - 1e-7)
                result.data.copy_(math.sqrt(2) * torch.erfinv(2 * inside - 1))
            self.applied(watcher, str(wanted))
            return result

        return drawn


class LowerTable(Applied):
    """A table of the signal that is left, raised to a power: as if every step had so many times the noise."""

    KIND = "lower-table"

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap running products."""
        for holder in (torch, torch.Tensor):
            replace(stack, holder, "cumprod", functools.partial(self._wrapped, watcher))

    def _wrapped(self, watcher: Watcher, original: Function) -> Function:
        def product(*arguments: object, **options: object) -> object:
            result = original(*arguments, **options)
            if torch.compiler.is_compiling() or not isinstance(result, Tensor) or result.shape != (whole(self.arguments["steps"]),):
                return result
            if not math.isclose(float(result[-1]), number(self.arguments["terminal"]), rel_tol=1e-3):
                return result
            self.applied(watcher)
            return result.pow(number(self.arguments["power"]))

        return product
