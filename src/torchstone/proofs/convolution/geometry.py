"""Output sizes against torch's own layers: one to three axes, padding alike and unlike on the two sides, tiny and large inputs."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind
from torchstone.proofs.convolution.running import Axes, Layer, draw_axis, run_layer
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

# So many samples have room for the kernel without its padding: broken parts run on them, and are caught by what they give.
_ROOMY = 75


def _fitting(axis: AxisSpec, roomy: bool) -> int:  # noqa: FBT001 - one of two sizes
    """The smallest input that the kernel fits into, without its padding or with it."""
    return axis.extent if roomy else max(1, axis.extent - sum(axis.padding))


def broken(change: Callable[[AxisSpec], AxisSpec]) -> Layer:
    """Torch's layer with every axis changed first."""
    return lambda x, axes: run_layer(x, [change(axis) for axis in axes])


def sized(law: str, layer: Layer, axes: Axes, sizes: list[int], *, large: bool) -> Iterator[Evidence]:
    """Every axis of one run; a large input has a shape only (torch's meta device)."""
    x = torch.zeros(1, 1, *sizes, device="meta" if large else "cpu")
    found = layer(x, axes).shape[2:]
    for size, axis, measured in zip(sizes, axes, found, strict=True):
        yield held(law, {"size": size, "axis": axis}, measured)


@experiment(
    "convolution.output_size",
    part=run_layer,
    mutants={
        "padding on one side only": broken(lambda axis: replace(axis, padding=(axis.padding[0], 0))),
        "padding of the first side on both": broken(lambda axis: replace(axis, padding=(axis.padding[0],) * 2)),
        "the sum of both paddings on both sides": broken(lambda axis: replace(axis, padding=(sum(axis.padding),) * 2)),
        "dilation left out": broken(lambda axis: replace(axis, dilation=1)),
        "stride left out": broken(lambda axis: replace(axis, stride=1)),
        "rounded up": lambda x, axes: run_layer(
            functional.pad(x, [side for axis in reversed(axes) for side in (0, axis.stride - 1)]), axes
        ),
    },
    how="exact, 1 to 3 axes, tiny and large",
)
def output_size(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """Random settings, inputs up to 300 an axis; in the second half the kernel may need its padding to fit."""
    for count in range(150):
        axes = [draw_axis(draws, LayerKind.CONV) for _ in range(1 + count % 3)]
        large = count % 2 == 1
        sizes = [_fitting(axis, count < _ROOMY) + draws.integer(0, 300 if large else 3) for axis in axes]
        yield from sized("convolution.output_size", part, axes, sizes, large=large)


def _always_up(x: Tensor, axes: Axes) -> Tensor:
    """Rounded up with no regard to where the last window starts."""
    margin = [side for axis in reversed(axes) for side in (0, axis.stride - 1)]
    return run_layer(functional.pad(x, margin), [replace(axis, ceil_mode=False) for axis in axes])


@experiment(
    "convolution.pooled_size",
    part=run_layer,
    mutants={
        "always rounded down": broken(lambda axis: replace(axis, ceil_mode=False)),
        "a window that starts in the padding after is kept": _always_up,
        "padding left out": broken(lambda axis: replace(axis, padding=(0, 0))),
    },
    how="exact, 1 to 3 axes, tiny and large",
)
def pooled_size(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """Random settings, half of them with ceil_mode; in the second half the kernel may need its padding to fit."""
    for count in range(150):
        up = bool(count % 2)
        drawn = [draw_axis(draws, LayerKind.POOL) for _ in range(1 + count % 3)]
        axes = [replace(axis, ceil_mode=up) for axis in drawn]
        sizes = [_fitting(axis, count < _ROOMY) + draws.integer(0, 6) for axis in axes]
        yield from sized("convolution.pooled_size", part, axes, sizes, large=count % 4 > 1)


@experiment(
    "convolution.transposed_size",
    part=run_layer,
    mutants={
        "output_padding left out": broken(lambda axis: replace(axis, output_padding=0)),
        "padding left out": broken(lambda axis: replace(axis, padding=(0, 0))),
        "dilation left out": broken(lambda axis: replace(axis, dilation=1, output_padding=0)),
    },
    how="exact, 1 to 3 axes, tiny and large",
)
def transposed_size(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """Random settings, cropping that leaves one output or more."""
    for count in range(150):
        axes = [draw_axis(draws, LayerKind.TRANSPOSED, padding=3) for _ in range(1 + count % 3)]
        large = count % 2 == 1
        sizes = [draws.integer(8, 200 if large else 10) for _ in axes]
        yield from sized("convolution.transposed_size", part, axes, sizes, large=large)
