"""Changes of what one operation, at one line of the user's, is given."""

import functools
from contextlib import ExitStack

import torch
from torch import Tensor

from torchstone.core.place import Place
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, number, optional, whole


class PassLogits(Applied):
    """Hand a loss the logarithm of the probabilities it was given: logits, up to a constant of each row."""

    KIND = "pass-logits"

    _watcher: Watcher | None = None

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Remember whom to tell."""
        del stack
        self._watcher = watcher

    def loss_input(self, function: str, value: Tensor, place: Place) -> Tensor:
        """The logits, at the call that the finding names."""
        wanted = Place(str(self.arguments["file"]), whole(self.arguments["line"]))
        if function != self.arguments["function"] or place != wanted:
            return value
        if self._watcher is not None:
            self.applied(self._watcher, str(place))
        tiny = torch.finfo(value.dtype).eps ** 2 if value.dtype in {torch.float32, torch.float64} else 1e-7
        return torch.logit(value, eps=1e-6) if function == "binary_cross_entropy_with_logits" else value.clamp_min(tiny).log()


class GuardInput(Applied):
    """Keep the input of one operation, at one line of the user's, off its pole or out of overflow."""

    KIND = "guard-input"

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap every spelling of the operation."""
        name = str(self.arguments["operation"])
        for holder, attribute in spellings(name):
            replace(stack, holder, attribute, functools.partial(self._wrapped, watcher))

    def _wrapped(self, watcher: Watcher, original: Function) -> Function:
        wanted = Place(str(self.arguments["file"]), whole(self.arguments["line"]))

        def guarded(*arguments: object, **options: object) -> object:
            if torch.compiler.is_compiling() or user_place(2) != wanted:
                return original(*arguments, **options)
            self.applied(watcher, str(wanted))
            return self._call(original, arguments, options)

        return guarded

    def _call(self, original: Function, arguments: tuple[object, ...], options: dict[str, object]) -> object:
        given = self.arguments
        first, *rest = arguments
        if isinstance(first, Tensor):
            if "low" in given or "high" in given:
                first = first.clamp(min=optional(given.get("low")), max=optional(given.get("high")))
            if "offset" in given:
                first = first + number(given["offset"])
        if "divisor" in given and rest and isinstance(rest[0], Tensor):
            rest[0] = rest[0] + number(given["divisor"])
        result = original(first, *rest, **options)
        return torch.nan_to_num(result) if "finite_rows" in given and isinstance(result, Tensor) else result


def spellings(name: str) -> list[tuple[object, str]]:
    """Every attribute by which a script may call an operation."""
    special = {"div": ["div", "true_divide", "__truediv__"], "reciprocal": ["reciprocal", "__rtruediv__"]}
    names = special.get(name, [name])
    holders: list[object] = [torch, torch.Tensor, torch.nn.functional, torch.linalg]
    return [(holder, spelled) for spelled in names for holder in holders if hasattr(holder, spelled)]
