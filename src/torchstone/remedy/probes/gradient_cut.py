"""Which calls take a value out of the graph."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchstone.core.looks import GradientCut
from torchstone.record import graph
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.births import flat_tensors, name_of
from torchstone.remedy.probes.window import Window

if TYPE_CHECKING:
    from torchstone.core.place import Place

_CUTS = {"detach", "detach_", "data", "item", "tolist", "numpy", "__array__", "tensor", "as_tensor", "asarray"}


class GradientCutProbe(Window):
    """Names the calls that take a value, dependent on parameters, out of the graph."""

    KIND = "gradient-cut"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._first = 0
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
