"""Where a value that is not finite was born."""

import weakref
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import nn
from torch.nn.modules import module as nn_module

from torchstone.core.looks import NonFiniteBorn
from torchstone.core.place import NOWHERE
from torchstone.record import measure
from torchstone.record.source import user_place
from torchstone.record.watcher import StopWatching, Watcher
from torchstone.remedy.births import Births, name_of
from torchstone.remedy.probes.window import Window


class NonFiniteProbe(Window):
    """Names the operation whose finite inputs first gave a value that is not, in the step that went wrong."""

    KIND = "non-finite"
    BEFORE = 1

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._births = Births()
        self._modules: list[weakref.ref[nn.Module]] = []
        self._watcher: Watcher | None = None
        self._done = False
        self._finite_before = False
        self._update = ("", NOWHERE)

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Follow which module runs, besides the operations."""
        self._watcher = watcher
        enter = nn_module.register_module_forward_pre_hook(lambda module, _: self._modules.append(weakref.ref(module)))
        leave = nn_module.register_module_forward_hook(self._module_left)
        stack.callback(enter.remove)
        stack.callback(leave.remove)
        super().install(watcher, stack)

    def see(self, function: Callable[..., object], arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Look at what goes in, run it, look at what comes out."""
        with measure.unseen():
            before = self._births.look(arguments, options)
        result = function(*arguments, **options)
        with measure.unseen():
            place = user_place(3)
            self._births.note(name_of(function), place, self._module(), before, arguments, result)
        return result

    def _module_left(self, *_: object) -> None:
        if self._modules:
            self._modules.pop()

    def _module(self) -> str:
        module = self._modules[-1]() if self._modules else None
        return self._watcher.models.path_of(module) if module is not None and self._watcher is not None else ""

    def before_backward(self, watcher: Watcher) -> None:
        """If the loss is not finite, its birth lies in this forward pass; else the backward pass is watched."""
        if self._mode is None or self._done:
            return
        root = watcher.root
        if root is None:
            return
        if not bool(torch.isfinite(root.detach()).all()):
            self._tell(watcher, self._births.origin_of(root, watcher.step))
        elif root.grad_fn is not None:
            self._births.watch_backward(root.grad_fn)

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """A gradient may have lost its finiteness on the way back."""
        if self._mode is None or self._done:
            return
        if self._births.born_in_backward is not None:
            self._tell(watcher, self._births.backward_birth(watcher.step))
            return
        self._finite_before = _finite(optimizer)
        self._update = (type(optimizer).__name__, user_place(4))

    def after_step(self, watcher: Watcher) -> None:
        """From finite gradients, the update itself may have overflowed."""
        if self._mode is not None and not self._done and self._finite_before:
            for followed in watcher.optimizers.all():
                optimizer = followed.optimizer()
                if optimizer is not None and not _finite(optimizer):
                    name, place = self._update
                    self._tell(watcher, NonFiniteBorn(watcher.step - 1, "update", name, "NaN or infinite", place))
                    break
        self._births.clear()
        super().after_step(watcher)

    def _tell(self, watcher: Watcher, born: NonFiniteBorn | None) -> None:
        if born is None:
            return
        self._done = True
        watcher.writer.add(born, always=True)
        watcher.stopped = "probed"
        self._leave()
        raise StopWatching


def _finite(optimizer: torch.optim.Optimizer) -> bool:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return all(bool(torch.isfinite(p.detach()).all()) for p in parameters)
