"""Changes of how checkpoints are called."""

from contextlib import ExitStack

import torch
from torch.utils import checkpoint

from torchstone.record.replacing import Function, replace
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied


class InputRequiresGradient(Applied):
    """Let the first floating-point input of every reentrant checkpoint ask for a gradient, where none of them does."""

    KIND = "input-requires-gradient"

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap the autograd function that a reentrant checkpoint is."""

        def wrapped(original: Function) -> Function:
            def apply(*arguments: object, **options: object) -> object:
                tensors = [value for value in arguments if isinstance(value, torch.Tensor)]
                if not torch.is_grad_enabled() or any(tensor.requires_grad for tensor in tensors):
                    return original(*arguments, **options)
                first = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
                if first is None:
                    return original(*arguments, **options)
                self.applied(watcher)
                return original(*(first.detach().requires_grad_() if value is first else value for value in arguments), **options)

            return apply

        replace(stack, checkpoint.CheckpointFunction, "apply", wrapped)


class CheckpointWithoutReentrance(Applied):
    """Checkpoint with saved-tensor hooks, whose inputs need not ask for a gradient."""

    KIND = "checkpoint-without-reentrance"

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap the function that scripts import: they do it after us."""

        def wrapped(original: Function) -> Function:
            def without(*arguments: object, **options: object) -> object:
                self.applied(watcher)
                return original(*arguments, **{**options, "use_reentrant": False})

            return without

        replace(stack, checkpoint, "checkpoint", wrapped)
