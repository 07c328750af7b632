"""A layer of specs run by torch, and which inputs its outputs answer to: what the laws of geometry are held against."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.laws.convolution.geometry import AxisSpec, LayerKind
from torchstone.proofs.draws import Draws

Axes = Sequence[AxisSpec]
Layer = Callable[[Tensor, Axes], Tensor]
_CONVS = (functional.conv1d, functional.conv2d, functional.conv3d)
_POOLS = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


def run_layer(x: Tensor, axes: Axes) -> Tensor:
    """Signals (b 1 *n) through torch's layer of these axes, weights all 1; what torch has no argument for is padded or cropped."""
    settings = {name: tuple(getattr(axis, name) for axis in axes) for name in ("kernel", "stride", "dilation", "output_padding")}
    before = tuple(axis.padding[0] for axis in axes)
    stride, dilation, kind = settings["stride"], settings["dilation"], axes[0].kind
    symmetric = all(axis.padding[0] == axis.padding[1] for axis in axes)
    if kind is LayerKind.POOL:
        pool = _POOLS[len(axes) - 1]
        return pool(x, settings["kernel"], stride, before, dilation, ceil_mode=axes[0].ceil_mode)
    weight = torch.ones(1, 1, *settings["kernel"], dtype=x.dtype, device=x.device)
    inside = before if symmetric else (0,) * len(axes)
    if kind is LayerKind.TRANSPOSED:
        transposed = _TRANSPOSED[len(axes) - 1]
        whole = transposed(x, weight, None, stride, inside, settings["output_padding"], 1, dilation)
        return whole if symmetric else _crop(whole, axes)
    padded = x if symmetric else functional.pad(x, [side for axis in reversed(axes) for side in axis.padding])
    convolve = _CONVS[len(axes) - 1]
    return convolve(padded, weight, None, stride, inside, dilation)


def _crop(x: Tensor, axes: Axes) -> Tensor:
    for dimension, axis in enumerate(axes, start=2):
        x = x.narrow(dimension, axis.padding[0], x.shape[dimension] - sum(axis.padding))
    return x


def answers(layer: Layer, shape: Sequence[int], chain: Sequence[Axes]) -> Tensor:
    """Whether each output (columns) of a chain answers to each single input (rows), a signal of 1 there and 0 elsewhere.

    Weights are positive, so nothing cancels, and the answer of a linear layer is its derivative.
    """
    inputs = math.prod(shape)
    x = torch.eye(inputs).reshape(inputs, 1, *shape)
    for axes in chain:
        x = layer(x, axes)
    return x.reshape(inputs, -1) > 0


def gradient_support(layer: Layer, shape: Sequence[int], chain: Sequence[Axes]) -> Tensor:
    """Where the gradient of the sum of all outputs is not zero: the inputs (*n) that a chain without pooling reads."""
    x = torch.ones(1, 1, *shape, requires_grad=True)
    y = x
    for axes in chain:
        y = layer(y, axes)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    return gradient[0, 0] != 0


def draw_axis(draws: Draws, kind: LayerKind, *, kernel: int = 5, stride: int = 4, padding: int = 4, dilation: int = 3) -> AxisSpec:
    """An axis with settings up to these."""
    k, s, d = draws.integer(1, kernel), draws.integer(1, stride), draws.integer(1, dilation)
    before, after = draws.integers(0, padding, 2)
    if kind is LayerKind.POOL:
        before = after = min(before, k // 2)
    extra = draws.integer(0, max(s, d) - 1) if kind is LayerKind.TRANSPOSED else 0
    return AxisSpec(k, s, (before, after), d, kind, extra)
