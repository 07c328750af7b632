"""Changes of a model's mode: training where gradients are on, evaluation where they are off."""

import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn.modules import module as nn_module

from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, whole

if TYPE_CHECKING:
    from collections import OrderedDict


class _ModeChanged(Applied):
    """Sees a model before and after each call from outside, before the watcher does."""

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Put the hooks in; the first of them goes before all others."""

        def before(module: nn.Module, _: object) -> None:
            if not torch.compiler.is_compiling() and self._is_it(watcher, module):
                self.enter(watcher, module)

        def after(module: nn.Module, _: object, __: object) -> None:
            if not torch.compiler.is_compiling() and self._is_it(watcher, module):
                self.leave(module)

        handle = nn_module.register_module_forward_pre_hook(before)
        hooks = cast("OrderedDict[int, object]", nn_module._global_forward_pre_hooks)  # noqa: SLF001 - there is no public way
        hooks.move_to_end(handle.id, last=False)
        stack.callback(handle.remove)
        stack.callback(nn_module.register_module_forward_hook(after, always_call=True).remove)

    def _is_it(self, watcher: Watcher, module: nn.Module) -> bool:
        models = watcher.models
        return models.number_of(module) == whole(self.arguments["model"]) and models.top(module) is module

    def enter(self, watcher: Watcher, model: nn.Module) -> None:
        """Before a call."""

    def leave(self, model: nn.Module) -> None:
        """After a call."""


class TrainMode(_ModeChanged):
    """Put a model back into training mode, with its parts as they were in it, before a call with gradients."""

    KIND = "train-mode"

    def __init__(self, arguments: dict[str, object]) -> None:
        super().__init__(arguments)
        self._modes: list[tuple[weakref.ref[nn.Module], bool]] = []

    def enter(self, watcher: Watcher, model: nn.Module) -> None:
        """Remember the parts' modes while it trains; go back to them."""
        if not torch.is_grad_enabled():
            return
        if model.training:
            self._modes = [(weakref.ref(part), part.training) for part in model.modules()]
            return
        for reference, training in self._modes:
            part = reference()
            if part is not None:
                part.training = training
        self.applied(watcher)


class EvaluationMode(_ModeChanged):
    """Evaluate a model during calls without gradients, and put its parts back as they were."""

    KIND = "evaluation-mode"

    def __init__(self, arguments: dict[str, object]) -> None:
        super().__init__(arguments)
        self._modes: list[tuple[nn.Module, bool]] = []

    def enter(self, watcher: Watcher, model: nn.Module) -> None:
        """Evaluate."""
        if model.training and not torch.is_grad_enabled():
            self._modes = [(part, part.training) for part in model.modules()]
            for part, _ in self._modes:
                part.training = False
            self.applied(watcher)

    def leave(self, model: nn.Module) -> None:
        """Go on as before."""
        del model
        for part, training in self._modes:
            part.training = training
        self._modes.clear()
