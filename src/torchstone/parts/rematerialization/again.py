"""A module's calls run again: its forward through torch.utils.checkpoint, whatever goes in and comes out."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint

from torchstone.parts.rematerialization.executing import moved_once

Buffers = Sequence[tuple[nn.Module, str]]


class Again:
    """In place of a module's forward: keeps what comes in, and runs the module again in the backward pass.

    `buffers` are those that its forward moves (running statistics), which then must not move twice; `training` is the mode that
    they were seen in: in the other one all are put back. Copies and pickles with its model.
    """

    def __init__(self, module: nn.Module, buffers: Buffers, *, training: bool) -> None:
        self.module = module
        self.buffers = list(buffers)
        self.training = training

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module's own forward gives; without gradients nothing is kept anyway."""
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        leaves, form = tree_flatten((args, kwargs))
        # A tensor that comes twice is one tensor the second time too: modules ask whether one is the other (attention does).
        given = {id(leaf): leaf for leaf in leaves if isinstance(leaf, Tensor)}
        order = {which: place for place, which in enumerate(given)}
        places = [order.get(id(leaf)) for leaf in leaves]
        others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]  # tensors are the checkpoint's alone to keep

        def inside(*tensors: Tensor) -> Any:
            pairs = zip(places, others, strict=True)
            args, kwargs = tree_unflatten([other if place is None else tensors[place] for place, other in pairs], form)
            return self.forward(*args, **kwargs)

        around = self.contexts
        return checkpoint(self.watched(inside), *given.values(), use_reentrant=False, preserve_rng_state=True, context_fn=around)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The forward of the module's class."""
        return type(self.module).forward(self.module, *args, **kwargs)

    def watched(self, inside: Callable[..., Any]) -> Callable[..., Any]:
        """What one call runs, twice; whoever measures puts something around it."""
        return inside

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What surrounds the module when it runs, and when it runs again."""
        return moved_once(self.moving())

    def moving(self) -> Buffers:
        """The buffers to put back."""
        if self.module.training == self.training:
            return self.buffers
        return [(one, name) for one in self.module.modules() for name in one._buffers]  # noqa: SLF001


Make = Callable[[nn.Module, Buffers], Again]


def put(model: nn.Module, names: Sequence[str], buffers: Sequence[str], make: Make) -> None:
    """The calls of these modules run again."""
    for name in names:
        module = model.get_submodule(name)
        inside = [one for one in buffers if one.startswith(f"{name}.")]
        owners = [one.rpartition(".") for one in inside]
        module.__dict__["forward"] = make(module, [(model.get_submodule(path), own) for path, _, own in owners])


def taken_off(model: nn.Module, names: Sequence[str]) -> None:
    """Each module's own forward."""
    for name in names:
        module = model.get_submodule(name)
        if isinstance(module.__dict__.get("forward"), Again):
            del module.__dict__["forward"]
