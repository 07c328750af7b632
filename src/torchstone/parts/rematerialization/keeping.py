"""A backward pass that keeps few activations, run and counted: forwards run again, and loads of what was kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.laws.rematerialization.recomputation import REUSES

Forward = Callable[[Tensor], Tensor]
Backward = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Counted:
    """A layer whose calls are counted: `forward(x)`, and `backward(x, gradient)`, which needs its input x and runs no layer."""

    forward: Forward
    backward: Backward
    forwards: int = 0
    backwards: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The layer's output, counted."""
        self.forwards += 1
        return self.forward(x)


@dataclass
class _Kept:
    """Activations that stay in memory, and how often one is read."""

    tensors: dict[int, Tensor] = field(default_factory=dict)
    loads: int = 0
    most: int = 0

    def load(self, place: int) -> Tensor:
        self.loads += 1
        return self.tensors[place]


def backward_from_kept(
    layers: Sequence[Counted], x: Tensor, gradient: Tensor, spacing: int, reuse: str = "nothing"
) -> tuple[Tensor, int, int]:
    """The gradient of the input, how many layers ran again, and how many kept activations were loaded.

    The forward pass keeps `x` and every `spacing`-th activation. `gradient` is that of the output. The backward pass gets each
    layer's input from the nearest kept activation before it; what it computes on the way is dropped (`reuse` = "nothing"), or
    stays until its segment is done ("segment"; with "graph" the segment's last layer runs again too, as autograd makes it).
    """
    if spacing < 1 or not layers or reuse not in REUSES:
        message = f"there must be layers, a spacing of 1 or more, and a reuse of {', '.join(REUSES)}; {spacing}, {reuse!r} came"
        raise UsageError(message)
    kept = _Kept()
    with torch.no_grad():
        y = x
        for place, layer in enumerate(layers):
            if place % spacing == 0:
                kept.tensors[place] = y
            y = layer(y)
        del y
        before = sum(layer.forwards for layer in layers)
        for start in sorted(kept.tensors, reverse=True):
            stop = min(start + spacing, len(layers))
            again = _single if reuse == "nothing" else _whole
            gradient = again(layers, kept, start, stop, gradient, graph=reuse == "graph")
    return gradient, sum(layer.forwards for layer in layers) - before, kept.loads


def _single(layers: Sequence[Counted], kept: _Kept, start: int, stop: int, gradient: Tensor, *, graph: bool) -> Tensor:
    """Each layer's input from the segment's beginning, and nothing else in memory."""
    del graph
    for place in range(stop - 1, start - 1, -1):
        x = kept.load(start)
        for layer in layers[start:place]:
            x = layer(x)
        gradient = _back(layers[place], x, gradient)
    return gradient


def _whole(layers: Sequence[Counted], kept: _Kept, start: int, stop: int, gradient: Tensor, *, graph: bool) -> Tensor:
    """The segment's inputs computed once, then used from last to first."""
    inputs = [kept.load(start)]
    for layer in layers[start : stop - (not graph)]:
        inputs.append(layer(inputs[-1]))
    for place in range(stop - 1, start - 1, -1):
        gradient = _back(layers[place], inputs[place - start], gradient)
    return gradient


def _back(layer: Counted, x: Tensor, gradient: Tensor) -> Tensor:
    layer.backwards += 1
    return layer.backward(x, gradient)
