"""Changes of which axis holds the samples."""

import functools
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from torchstone.record.models import clean
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, items, whole


class BatchFirst(Applied):
    """Set `batch_first` on layers before their model runs; a first state of zeros, made for the other axis, is left out."""

    KIND = "batch-first"

    def model_seen(self, watcher: Watcher) -> None:
        """As soon as the model is known."""
        wanted = {str(layer) for layer in items(self.arguments["layers"])}
        for model, name, _ in watcher.models.live():
            for path, module in model.named_modules():
                if clean(f"{name}.{path}").rstrip(".") in wanted and hasattr(module, "batch_first"):
                    module.batch_first = bool(self.arguments["value"])
                    if isinstance(module, nn.RNNBase) and not self.said:
                        module.register_forward_pre_hook(_without_zeros, with_kwargs=True)
                    self.applied(watcher, f"{len(wanted)} layers")


def _without_zeros(
    module: nn.Module, arguments: tuple[object, ...], options: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """A call without the first state that it was given, if that is 0 throughout, as it is without one."""
    del module
    given = arguments[1] if len(arguments) > 1 else options.get("hx")
    states = [state for state in (given if isinstance(given, tuple) else (given,)) if isinstance(state, Tensor)]
    if states and not any(bool(state.any()) for state in states):
        return arguments[:1], {key: value for key, value in options.items() if key != "hx"}
    return arguments, options


class TransposeForView(Applied):
    """Exchange the first two axes where a view only exchanged their sizes."""

    KIND = "transpose-for-view"

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap every spelling of a view."""
        for holder, name in ((Tensor, "view"), (Tensor, "reshape"), (torch, "reshape")):
            replace(stack, holder, name, functools.partial(self._wrapped, watcher))

    def _wrapped(self, watcher: Watcher, original: Function) -> Function:
        sizes = tuple(map(whole, items(self.arguments["sizes"])))
        wanted = str(self.arguments["place"])

        def view(*arguments: object, **options: object) -> object:
            result = original(*arguments, **options)
            if torch.compiler.is_compiling() or not isinstance(result, Tensor) or result.dim() < 2:  # noqa: PLR2004
                return result
            given = arguments[0] if arguments else options.get("input")
            if not isinstance(given, Tensor) or str(user_place(2)) != wanted:
                return result
            # The sizes of the batch may differ at the end of an epoch; which axes were exchanged stays.
            exchanged = given.shape[:2] == result.shape[:2][::-1] and (given.shape[0] == sizes[0] or given.shape[1] == sizes[1])
            if not exchanged:
                return result
            self.applied(watcher, wanted)
            return original(given.transpose(0, 1).contiguous(), *result.shape)

        return view
