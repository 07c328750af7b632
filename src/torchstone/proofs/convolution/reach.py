"""Receptive field, jump, start and unread inputs against what running layers of torch answer to."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind
from torchstone.proofs.convolution.geometry import broken
from torchstone.proofs.convolution.running import Layer, answers, draw_axis, gradient_support, run_layer
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

_PLAIN = (LayerKind.CONV, LayerKind.POOL)
_HOW = "exact, response to each single input"
_SLIPS = {
    "stride left out": broken(lambda axis: replace(axis, stride=1, output_padding=0)),
    "dilation left out": broken(lambda axis: replace(axis, dilation=1, output_padding=0)),
    "one tap more": broken(lambda axis: replace(axis, kernel=axis.kernel + 1)),
}


def _draw_chain(draws: Draws, kinds: Sequence[LayerKind], most: int = 3) -> list[AxisSpec]:
    """Small layers; a transposed one without holes, so that every output reads something."""
    drawn = [kinds[draws.integer(0, len(kinds) - 1)] for _ in range(draws.integer(1, most))]
    chain = [draw_axis(draws, kind, kernel=3, stride=3, padding=1, dilation=2) for kind in drawn]
    return [
        replace(axis, kernel=axis.stride + 1, dilation=1, output_padding=0) if axis.kind is LayerKind.TRANSPOSED else axis
        for axis in chain
    ]


def _ends(answered: Tensor) -> tuple[Tensor, Tensor]:
    """First and last input that each output (columns) answers to."""
    reads = answered.int()
    return reads.argmax(0), len(reads) - 1 - reads.flip(0).argmax(0)


@experiment("convolution.receptive_field", part=run_layer, mutants=_SLIPS, how=_HOW)
def receptive_field(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """Random chains with every kind of layer, on an input larger than the field of any."""
    for _ in range(40):
        chain = _draw_chain(draws, tuple(LayerKind))
        answered = answers(part, (150,), [[axis] for axis in chain])
        first, last = _ends(answered[:, answered.any(0)])
        yield held("convolution.receptive_field", {"chain": chain}, int((last - first).max()) + 1)


@experiment("convolution.jump", part=run_layer, mutants={"stride left out": _SLIPS["stride left out"]}, how=_HOW)
def jump(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """How much later outputs of the same phase begin to read, in the middle of the input."""
    for _ in range(40):
        chain = _draw_chain(draws, tuple(LayerKind))
        phases = math.prod(axis.stride for axis in chain if axis.kind is LayerKind.TRANSPOSED)
        first, _ = _ends(answers(part, (150,), [[axis] for axis in chain]))
        middle = len(first) // 2
        moved = int(first[middle + phases] - first[middle]) / phases
        yield held("convolution.jump", {"chain": chain}, moved, rounding(2, moved))


@experiment(
    "convolution.receptive_start",
    part=run_layer,
    mutants={
        "padding left out": broken(lambda axis: replace(axis, padding=(0, 0))),
        "padding before and after exchanged": broken(lambda axis: replace(axis, padding=axis.padding[::-1])),
    },
    how=_HOW,
)
def receptive_start(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """Where an output in the middle begins, walked back to the first one in the jumps that were measured."""
    for _ in range(40):
        chain = _draw_chain(draws, _PLAIN)
        first, _ = _ends(answers(part, (150,), [[axis] for axis in chain]))
        middle = len(first) // 2
        start = int(first[middle] - middle * (first[middle + 1] - first[middle]))
        yield held("convolution.receptive_start", {"chain": chain}, start)


@experiment("convolution.read_share", part=run_layer, mutants=_SLIPS, how="the gradient's support, away from the borders")
def read_share(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """One period of the windows in the middle of a plane; ordinary convolutions read it, the transposed one's adjoint as well."""
    for _ in range(40):
        axes = [draw_axis(draws, LayerKind.CONV, stride=6, padding=2, dilation=4) for _ in range(2)]
        # Two extents and three periods: every window that could read the middle period is there.
        shape = [2 * axis.extent + 3 * axis.stride for axis in axes]
        support = gradient_support(part, shape, [axes])
        period = support[tuple(slice(axis.extent, axis.extent + axis.stride) for axis in axes)]
        yield held("convolution.read_share", {"axes": axes}, period.double().mean(), rounding(4))


def _shape_for(draws: Draws, layers: Sequence[Sequence[AxisSpec]]) -> list[int]:
    """Room for the kernels, and for the wider ones of broken parts; the first of two layers shrinks a line by up to 4."""
    least = 36 if len(layers) > 1 else 8
    return [least + draws.integer(0, 6) for _ in layers[0]]


def _draw_layers(draws: Draws, axes: int, kinds: Sequence[LayerKind]) -> list[list[AxisSpec]]:
    """One or two layers on a line, one on a plane."""
    drawn = [kinds[draws.integer(0, len(kinds) - 1)] for _ in range(draws.integer(1, 2) if axes == 1 else 1)]
    layers = [[draw_axis(draws, kind, kernel=3, stride=4, padding=2, dilation=2) for _ in range(axes)] for kind in drawn]
    return [[_leaving_some(axis) for axis in layer] for layer in layers]


def _leaving_some(axis: AxisSpec) -> AxisSpec:
    """A transposed convolution that crops less than one kernel's extent has outputs left of any input."""
    if axis.kind is not LayerKind.TRANSPOSED:
        return axis
    before = min(axis.padding[0], axis.extent - 1)
    return replace(axis, padding=(before, min(axis.padding[1], axis.extent - 1 - before)))


@experiment(
    "convolution.unread_inputs",
    part=run_layer,
    mutants={**_SLIPS, "padding before and after exchanged": broken(lambda axis: replace(axis, padding=axis.padding[::-1]))},
    how="exact, single inputs and the gradient's support",
)
def unread_inputs(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """One or two layers on a line, one on a plane."""
    for count in range(50):
        pooled = count % 2 == 0
        kinds = tuple(LayerKind) if pooled else (LayerKind.CONV, LayerKind.TRANSPOSED)
        layers = _draw_layers(draws, 1 + count % 3 % 2, kinds)
        shape = _shape_for(draws, layers)
        read = answers(part, shape, layers).any(1) if pooled else gradient_support(part, shape, layers)
        chains = [list(chain) for chain in zip(*layers, strict=True)]
        yield held("convolution.unread_inputs", {"shape": shape, "chains": chains}, int((~read).sum()))


@experiment("convolution.uninformed_outputs", part=run_layer, mutants=_SLIPS, how=_HOW)
def uninformed_outputs(part: Layer, draws: Draws) -> Iterator[Evidence]:
    """One or two layers on a line, one on a plane; transposed ones leave holes, wide padding makes idle windows."""
    for count in range(30):
        layers = _draw_layers(draws, 1 + count % 2, tuple(LayerKind))
        shape = _shape_for(draws, layers)
        informed = answers(part, shape, layers).any(0)
        chains = [list(chain) for chain in zip(*layers, strict=True)]
        yield held("convolution.uninformed_outputs", {"shape": shape, "chains": chains}, int(torch.logical_not(informed).sum()))
