"""Parameters and FLOPs against the tensors of torch's modules, torch's own counter, and counting products one by one."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from torchstone.core.evidence import Evidence
from torchstone.laws.convolution.cost import ConvSpec
from torchstone.laws.convolution.geometry import LayerKind
from torchstone.proofs.convolution.running import draw_axis
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

_CONVS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: tuple[type[nn.Module], ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_POOLS: tuple[type[nn.Module], ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


def module(spec: ConvSpec) -> nn.Module:
    """Torch's module of a spec with like padding on both sides, on the meta device: shapes, no numbers."""
    axes = spec.axes
    window: dict[str, Any] = {name: tuple(getattr(axis, name) for axis in axes) for name in ("stride", "dilation")}
    window |= {"kernel_size": tuple(axis.kernel for axis in axes), "padding": tuple(axis.padding[0] for axis in axes)}
    if spec.kind is LayerKind.POOL:
        return _POOLS[len(axes) - 1](**window)
    window |= {"groups": spec.groups, "bias": spec.bias, "device": "meta"}
    if spec.kind is LayerKind.TRANSPOSED:
        window["output_padding"] = tuple(axis.output_padding for axis in axes)
        return _TRANSPOSED[len(axes) - 1](spec.in_channels, spec.out_channels, **window)
    return _CONVS[len(axes) - 1](spec.in_channels, spec.out_channels, **window)


def _draw_spec(draws: Draws, axes: int, *kinds: LayerKind) -> ConvSpec:
    kind = kinds[draws.integer(0, len(kinds) - 1)]
    groups = draws.integer(1, 3)
    channels = [groups * draws.integer(1, 4) for _ in range(2)]
    if kind is LayerKind.POOL:
        groups, channels = 1, channels[:1] * 2
    drawn = [draw_axis(draws, kind, kernel=4, padding=1) for _ in range(axes)]
    alike = tuple(replace(axis, padding=(axis.padding[0],) * 2) for axis in drawn)
    return ConvSpec(alike, channels[0], channels[1], groups, bias=bool(draws.integer(0, 1)))


def count_parameters(spec: ConvSpec) -> int:
    """Elements of every parameter of torch's module."""
    return sum(parameter.numel() for parameter in module(spec).parameters())


@experiment(
    "convolution.parameters",
    part=count_parameters,
    mutants={
        "groups left out": lambda spec: count_parameters(replace(spec, groups=1)),
        "always a bias": lambda spec: count_parameters(replace(spec, bias=True)),
        "one axis only": lambda spec: count_parameters(replace(spec, axes=spec.axes[:1])),
    },
)
def parameters(part: Callable[[ConvSpec], int], draws: Draws) -> Iterator[Evidence]:
    """Random modules of every kind, 1 to 3 axes."""
    for count in range(90):
        spec = _draw_spec(draws, 1 + count % 3, *LayerKind)
        yield held("convolution.parameters", {"spec": spec}, part(spec))


Counts = Callable[[ConvSpec, Sequence[int], int], tuple[int, ...]]


def count_flops(spec: ConvSpec, shape: Sequence[int], batch: int) -> tuple[int, ...]:
    """Twice the products, as torch's counter has them and, for layers with weights, one by one."""
    with FlopCounterMode(display=False) as counter:
        module(spec)(torch.zeros(batch, spec.in_channels, *shape, device="meta"))
    if spec.kind is LayerKind.POOL:
        return (counter.get_total_flops(),)
    return counter.get_total_flops(), 2 * _products(spec, shape, batch)


def _products(spec: ConvSpec, shape: Sequence[int], batch: int) -> int:
    """Every product is 1 where inputs, padding and weights are 1: the sum of the outputs counts them."""
    x = torch.ones(batch, spec.in_channels, *shape, dtype=torch.float64)
    taps = [axis.kernel for axis in spec.axes]
    dimensions, stride, dilation = len(taps), [axis.stride for axis in spec.axes], [axis.dilation for axis in spec.axes]
    if spec.kind is LayerKind.TRANSPOSED:
        weight = torch.ones(spec.in_channels, spec.out_channels // spec.groups, *taps, dtype=torch.float64)
        scatter = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[dimensions - 1]
        return int(scatter(x, weight, None, stride, 0, 0, spec.groups, dilation).sum().item())
    weight = torch.ones(spec.out_channels, spec.in_channels // spec.groups, *taps, dtype=torch.float64)
    gather = (functional.conv1d, functional.conv2d, functional.conv3d)[dimensions - 1]
    padded = functional.pad(x, [side for axis in reversed(spec.axes) for side in axis.padding], value=1.0)
    return int(gather(padded, weight, None, stride, 0, dilation, spec.groups).sum().item())


@experiment(
    "convolution.flops",
    part=count_flops,
    mutants={
        "a multiply-add is 1": lambda spec, shape, batch: tuple(n // 2 for n in count_flops(spec, shape, batch)),
        "groups left out": lambda spec, shape, batch: count_flops(replace(spec, groups=1), shape, batch),
        "one row only": lambda spec, shape, _: count_flops(spec, shape, 1),
    },
    how="exact, torch's counter and by counting",
)
def flops(part: Counts, draws: Draws) -> Iterator[Evidence]:
    """Random layers of every kind, 1 to 3 axes."""
    for count in range(24):
        spec = _draw_spec(draws, 1 + count % 3, *LayerKind)
        shape = tuple(axis.extent + draws.integer(2, 4) for axis in spec.axes)  # a transposed one crops up to 2
        batch = draws.integer(1, 3)
        for found in part(spec, shape, batch):
            yield held("convolution.flops", {"spec": spec, "shape": shape, "batch": batch}, found)


def separable(channels: int, out: int, kernel: Sequence[int], *, bias: bool) -> nn.Module:
    """Torch's own two modules on the meta device."""
    made: Any = _CONVS[len(kernel) - 1]
    pointwise = (1,) * len(kernel)
    return nn.Sequential(
        made(channels, channels, tuple(kernel), groups=channels, bias=bias, device="meta"),
        made(channels, out, pointwise, bias=bias, device="meta"),
    )


Separable = Callable[..., nn.Module]
# A depthwise convolution whose groups were forgotten, the likeliest slip, and a pointwise one with the whole kernel.
_SLIPS: dict[str, Separable] = {
    "depthwise without groups": lambda c, o, kernel, bias: nn.Sequential(
        _CONVS[len(kernel) - 1](c, c, tuple(kernel), bias=bias, device="meta"),
        _CONVS[len(kernel) - 1](c, o, 1, bias=bias, device="meta"),
    ),
    "pointwise with the whole kernel": lambda c, o, kernel, bias: nn.Sequential(
        separable(c, o, kernel, bias=bias),
        _CONVS[len(kernel) - 1](c, o, tuple(kernel), bias=False, device="meta"),
    ),
}


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _draw_kernel(draws: Draws, axes: int) -> tuple[int, ...]:
    return tuple(draws.integers(1, 7, axes))


@experiment("convolution.separable_parameters", part=separable, mutants=_SLIPS)
def separable_parameters(part: Separable, draws: Draws) -> Iterator[Evidence]:
    """Random channels and kernels, 1 to 3 axes, with and without biases."""
    for count in range(60):
        kernel, bias = _draw_kernel(draws, 1 + count % 3), bool(count % 2)
        channels, out = draws.integers(1, 64, 2)
        arguments = {"in_channels": channels, "out_channels": out, "kernel": kernel, "bias": bias}
        yield held("convolution.separable_parameters", arguments, _count(part(channels, out, kernel, bias=bias)))


@experiment("convolution.separable_share", part=separable, mutants=_SLIPS, how="counted, one division")
def separable_share(part: Separable, draws: Draws) -> Iterator[Evidence]:
    """Counted parameters of both; the share does not depend on the input channels."""
    for count in range(60):
        kernel = _draw_kernel(draws, 1 + count % 3)
        channels, out = draws.integers(1, 64, 2)
        share = _count(part(channels, out, kernel, bias=False)) / (channels * out * math.prod(kernel))
        yield held("convolution.separable_share", {"out_channels": out, "kernel": kernel}, share, rounding(4, max(1.0, share)))
