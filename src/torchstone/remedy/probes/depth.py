"""Gradients over the depth of a network: by the output of each layer of its longest chain."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from torchstone.core.looks import DepthSeen
from torchstone.core.place import Place
from torchstone.record import graph, measure
from torchstone.record.watcher import Watcher
from torchstone.remedy.probes.products import Arguments, Options, Products, follows, place

_SHORTEST = 5  # layers
_CHAINS = 32


@dataclass
class Chain:
    """Layers that follow each other."""

    place: Place
    weights: list[Tensor] = field(default_factory=list)
    gradients: dict[int, float] = field(default_factory=dict)
    last: graph.Node | None = None

    def add(self, weight: Tensor, result: Tensor) -> None:
        """One more layer, and what its output is told by the backward pass."""
        index = len(self.weights)
        self.weights.append(weight)
        self.last = result.grad_fn

        def came(gradient: Tensor) -> None:
            with measure.unseen():
                self.gradients[index] = max(self.gradients.get(index, 0.0), measure.norms([gradient.detach()])[0])

        result.register_hook(came)  # type: ignore[no-untyped-call]


class DepthProbe(Products):
    """Measures, in the user's own backward pass, how the gradient changes from the last layer to the first."""

    KIND = "depth"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._chains: list[Chain] = []

    def product(
        self, function: Callable[..., object], arguments: Arguments, options: Options, value: Tensor, weight: Tensor
    ) -> object:
        """One more layer of the longest chain that it follows; another use of a weight is no more depth."""
        result = function(*arguments, **options)
        if isinstance(result, Tensor) and result.grad_fn is not None:
            before = [chain for chain in self._chains if chain.last is not None and follows(value, chain.last)]
            chain = max(before, key=lambda one: len(one.weights), default=None)
            if chain is None and len(self._chains) < _CHAINS:
                chain = Chain(place())
                self._chains.append(chain)
            if chain is not None and not any(weight is known for known in chain.weights):
                chain.add(weight, result)
        return result

    def _whole(self) -> Chain | None:
        """The longest chain that gradients came back through."""
        whole = [chain for chain in self._chains if len(chain.gradients) == len(chain.weights) >= _SHORTEST]
        return max(whole, key=lambda chain: len(chain.weights), default=None)

    def weights(self) -> Iterator[Tensor]:
        """Those of the longest chain."""
        chain = self._whole()
        yield from chain.weights if chain is not None else ()

    def tell(self, watcher: Watcher) -> None:
        """The longest chain, if it has its numbers."""
        chain = self._whole()
        if chain is not None:
            numbers = [watcher.models.number(weight) for weight in chain.weights]
            gradients = tuple(chain.gradients[index] for index in range(len(numbers)))
            known = tuple(number for number in numbers if number is not None)
            if len(known) == len(numbers) and all(norm - norm == 0 for norm in gradients):
                resolution = max(torch.finfo(weight.dtype).eps for weight in chain.weights)
                moved = tuple(map(self.moved, chain.weights))
                event = DepthSeen(watcher.step - 1, known, gradients, moved, resolution, chain.place)
                watcher.writer.add(event, always=True)
        self._chains.clear()
