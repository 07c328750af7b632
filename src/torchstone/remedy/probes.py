"""Probes: the same script again, with a torch-function mode over one step, to name an operation and a line.

A function mode sees every operation that Python calls, at the user's own granularity. It is used here only, and
not while watching: torch.compile guards on the stack of modes, so a mode that comes and goes would recompile.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.modules import module as nn_module
from torch.overrides import TorchFunctionMode

from torchstone.core.events import NOWHERE, GradientCut, NonFiniteBorn, Place
from torchstone.record import graph, measure
from torchstone.record.intervention import Intervention
from torchstone.record.source import user_place
from torchstone.record.watcher import StopWatching, Watcher
from torchstone.remedy.births import Births, flat_tensors, name_of

_CUTS = {"detach", "detach_", "data", "item", "tolist", "numpy", "__array__", "tensor", "as_tensor", "asarray"}


class _Mode(TorchFunctionMode):
    def __init__(self, see: Callable[[Callable[..., object], tuple[object, ...], dict[str, object]], object]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Hand every call to the probe."""
        del types
        return self._see(func, args, dict(kwargs or {}))


class _Window(Intervention):
    """A probe over some steps: its mode goes in before the first of them."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = max(first, 0), last
        self._mode: _Mode | None = None

    def see(self, function: Callable[..., object], arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Run one operation and look at it."""
        raise NotImplementedError

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Go in at once if the window begins with the run."""
        stack.callback(self._leave)
        if watcher.step >= self._first:
            self._enter()

    def after_step(self, watcher: Watcher) -> None:
        """Go in when the window begins; stop the run when it is over."""
        if self._mode is None and self._first <= watcher.step <= self._last:
            self._enter()
        if watcher.step > self._last:
            self.finish(watcher)

    def finish(self, watcher: Watcher) -> None:
        """Enough was seen: the run ends at this step."""
        self._leave()
        watcher.step_limit = 0

    def _enter(self) -> None:
        self._mode = _Mode(self.see)
        self._mode.__enter__()  # type: ignore[no-untyped-call]

    def _leave(self) -> None:
        if self._mode is None:
            return
        # The user may have entered modes of their own since: take ours out of the middle, leave theirs as they are.
        mode, self._mode = self._mode, None
        above: list[TorchFunctionMode] = []
        while torch._C._len_torch_function_stack():  # noqa: SLF001 - there is no public way
            top = torch.overrides._pop_mode()  # type: ignore[no-untyped-call] # noqa: SLF001
            if top is mode:
                break
            above.append(top)
        for other in reversed(above):
            torch.overrides._push_mode(other)  # type: ignore[no-untyped-call] # noqa: SLF001


class NonFiniteProbe(_Window):
    """Names the operation whose finite inputs first gave a value that is not, in the step that went wrong."""

    def __init__(self, step: int) -> None:
        super().__init__(step - 1, step)
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


class GradientCutProbe(_Window):
    """Names the calls that take a value, dependent on parameters, out of the graph."""

    def __init__(self, step: int) -> None:
        super().__init__(0, step)
        self._cuts: list[tuple[str, Place, dict[int, Tensor]]] = []
        self._reached: set[int] = set()

    def see(self, function: Callable[..., object], arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Note calls that autograd does not follow."""
        name = name_of(function)
        if name in _CUTS and torch.is_grad_enabled():
            for tensor in flat_tensors((arguments, options)):
                if tensor.requires_grad and len(self._cuts) < 200:  # noqa: PLR2004 - a step has few
                    leaves = graph.leaves(tensor) if tensor.grad_fn is not None else {id(tensor): tensor}
                    self._cuts.append((name, user_place(3), leaves))
        return function(*arguments, **options)

    def before_backward(self, watcher: Watcher) -> None:
        """What this pass reaches is not cut."""
        root = watcher.root
        if root is not None:
            self._reached |= set(graph.leaves(root))

    def after_step(self, watcher: Watcher) -> None:
        """Tell which cuts lie between parameters and the loss."""
        watcher.emit(watcher.models.refresh(watcher.step))
        told: set[int] = set()
        for name, place, leaves in self._cuts:
            lost = {key: leaf for key, leaf in leaves.items() if key not in self._reached and key not in told}
            numbers = [n for leaf in lost.values() if (n := watcher.models.number(leaf)) is not None]
            if numbers and place:
                told |= set(lost)
                watcher.writer.add(GradientCut(name, place, tuple(numbers), (), watcher.step), always=True)
        self._cuts.clear()
        super().after_step(watcher)
