"""Changes of how much the divergence of codes from N(0, 1) counts: less, later, or only above a free amount."""

import functools
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchstone.record import graph
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, Arguments, number, optional, whole
from torchstone.remedy.probes.codes import Code, CodesWindow
from torchstone.remedy.probes.draws import Draws

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

_ALWAYS = 2**62


class _WholeRun(CodesWindow):
    """A window over every step."""

    BEFORE = _ALWAYS


class WeighDivergence(Applied):
    """Take a share of the divergence out of every gradient: the loss itself is left as the script computes it.

    factor: what the divergence counts. warmup: the steps in which that grows from 0. free: nats a unit, a mean over the batch,
    below which the divergence does not count. rest: what the loss was besides the divergence at the run's end without the change.
    """

    KIND = "weigh-divergence"

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._window = _WholeRun(_ALWAYS, ends=False)
        self._hooks: list[RemovableHandle] = []

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Follow the draws of every step."""
        self._window.install(watcher, stack)

    def before_backward(self, watcher: Watcher) -> None:
        """Take the share out where the gradients reach the parameters, each of them once a backward pass."""
        self._take_hooks_out()
        if watcher.root is None or watcher.root.numel() != 1:
            return
        with torch._C.DisableTorchFunction(), torch.enable_grad():  # noqa: SLF001 - no operations of the user's
            less = [self._surplus(code, watcher.step) for code in self._window.take(watcher.root) if code.weight > 0]
            if not less:
                return
            surplus = torch.stack([one.sum() for one in less]).sum()
            leaves = list(graph.leaves(surplus).values()) if surplus.requires_grad else []
            found = torch.autograd.grad(surplus, leaves, retain_graph=True, allow_unused=True) if leaves else ()
        for leaf, gradient in zip(leaves, found, strict=True):
            if gradient is not None:
                hook = leaf.register_hook(functools.partial(_less, gradient))  # type: ignore[no-untyped-call]
                self._hooks.append(hook)
        self.applied(watcher, str(self.arguments.get("rest", "")))

    def _surplus(self, code: Code, step: int) -> Tensor:
        """The part of the divergence, weighed as the loss weighs it, that is not to count."""
        divergences, given = code.divergences(), self.arguments
        warmup = whole(given.get("warmup", 0))
        counts = number(given.get("factor", 1.0)) * (min(1.0, step / warmup) if warmup else 1.0)
        free = optional(given.get("free"))
        if free is not None:
            return code.weight * divergences * (divergences.mean(0, keepdim=True) < free)
        return code.weight * (1 - counts) * divergences

    def after_step(self, watcher: Watcher) -> None:
        """What was drawn in a step is done with."""
        del watcher
        self._take_hooks_out()
        self._window.draws = Draws()

    def _take_hooks_out(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()


def _less(share: Tensor, gradient: Tensor) -> Tensor:
    return gradient - share
