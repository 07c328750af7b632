"""A schedule at work: a chain's modules called through torch.utils.checkpoint, segment by segment, nested ones inside."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
        return moved_once(self.buffers)


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


def moved_once(buffers: Sequence[tuple[nn.Module, str]]) -> Contexts:
    """What surrounds a forward pass that moves buffers, and what surrounds it when it runs again.

    The second time it finds them as it did at first, and leaves them as they then are.
    """
    began = _Began(buffers)
    return began, _Anew(began)


class _Began:
    """Remembers how buffers were."""

    def __init__(self, buffers: Sequence[tuple[nn.Module, str]]) -> None:
        self.buffers = buffers
        self.values: list[Tensor | None] = []

    def __enter__(self) -> None:
        self.values = [None if one is None else one.clone() for one in self.now()]

    def now(self) -> list[Tensor | None]:
        """The buffers themselves."""
        return [module._buffers[name] for module, name in self.buffers]  # noqa: SLF001

    def put(self, values: Sequence[Tensor | None]) -> None:
        """Other tensors in their places."""
        for (module, name), value in zip(self.buffers, values, strict=True):
            module._buffers[name] = value  # noqa: SLF001 - past registration hooks: nobody is to see it

    def __exit__(self, *_: object) -> None:
        """They stay as they have moved."""


class _Anew:
    """Copies in place of the buffers; may be entered again, as a graph that is retained is."""

    def __init__(self, began: _Began) -> None:
        self.began = began
        self.before: list[list[Tensor | None]] = []

    def __enter__(self) -> None:
        self.before.append(self.began.now())
        self.began.put([None if one is None else one.clone() for one in self.began.values])

    def __exit__(self, *_: object) -> None:
        self.began.put(self.before.pop())


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
