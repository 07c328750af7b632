"""A schedule at work: a chain's modules called through torch.utils.checkpoint, segment by segment, nested ones inside."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, noop_context_fn

from torchstone.laws.rematerialization.chain import Parts, Segment

Contexts = tuple[AbstractContextManager[None], AbstractContextManager[None]]


class Chained:
    """In place of the forward of a chain's first carrier: runs the chain by its schedule. Copies and pickles with its model."""

    def __init__(self, units: Sequence[Sequence[nn.Module]], parts: Parts, buffers: Sequence[tuple[nn.Module, str]]) -> None:
        self.units = [list(unit) for unit in units]
        self.parts = parts
        self.buffers = list(buffers)

    def __call__(self, x: Tensor) -> Tensor:
        """The chain's output; without gradients nothing is kept anyway."""
        if not torch.is_grad_enabled():
            return self.straight(0, len(self.units), x)
        return self.scheduled(self.parts, x)

    def scheduled(self, parts: Parts, x: Tensor) -> Tensor:
        """Parts in turn."""
        for part in parts:
            if not part.again:
                x = self.straight(part.first, part.stop, x)
                continue
            around = self.contexts if self.buffers else noop_context_fn
            x = checkpoint(_Inside(self, part), x, use_reentrant=False, preserve_rng_state=True, context_fn=around)
        return x

    def straight(self, first: int, stop: int, x: Tensor) -> Tensor:
        """Units in turn, as they are."""
        for unit in self.units[first:stop]:
            x = run_unit(unit, x)
        return x

    def contexts(self) -> Contexts:
        """What surrounds a segment when it runs, and when it runs again: then buffers (running statistics) must not move twice."""
        return nullcontext(), _restored(self.buffers)


class _Inside:
    """A segment's inside as a function of its input."""

    def __init__(self, chain: Chained, part: Segment) -> None:
        self.chain, self.part = chain, part

    def __call__(self, x: Tensor) -> Tensor:
        return self.chain.scheduled(self.part.inner, x)


class Passed:
    """In place of the forward of every other carrier: the first one has run it already."""

    def __call__(self, x: Tensor) -> Tensor:
        """What came."""
        return x


def run_unit(unit: Sequence[nn.Module], x: Tensor) -> Tensor:
    """A unit's modules in turn; of a carrier, its class's own forward."""
    for module in unit:
        replaced = "forward" in module.__dict__
        x = type(module).forward(module, x) if replaced else module(x)
    return x


@contextmanager
def _restored(buffers: Sequence[tuple[nn.Module, str]]) -> Iterator[None]:
    before = [(module._buffers[name], module._buffers[name].clone()) for module, name in buffers]  # type: ignore[union-attr]  # noqa: SLF001
    try:
        yield
    finally:
        for buffer, value in before:
            if buffer is not None:
                buffer.data.copy_(value)  # past the version counter: backward formulas hold these buffers


@contextmanager
def replaced(carriers: Sequence[nn.Module], first: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """For a while: `first` runs in place of the first carrier's forward, the others hand on what comes."""
    try:
        replace(carriers, first)
        yield
    finally:
        restore(carriers)


def replace(carriers: Sequence[nn.Module], first: Callable[[Tensor], Tensor]) -> None:
    """The same for good."""
    for place, module in enumerate(carriers):
        own: Any = Passed() if place else first
        module.__dict__["forward"] = own


def restore(carriers: Sequence[nn.Module]) -> None:
    """Every carrier's own forward again."""
    for module in carriers:
        module.__dict__.pop("forward", None)
