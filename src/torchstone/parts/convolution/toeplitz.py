"""The matrix of a convolution, sparse: Toeplitz in 1-D, doubly block Toeplitz in 2-D; strided, dilated and grouped alike.

Axis letters: o output channels, c input channels, r output positions, i input positions, k taps.
"""

import math
import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchstone.core.errors import UsageError
from torchstone.parts.convolution.axes import Axis, axes_of, per_axis, reads

ConvolutionModule = nn.Conv1d | nn.Conv2d | nn.Conv3d
TransposedModule = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def toeplitz(
    conv: nn.Module | Float[Tensor, "o c *k"],
    input_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: torch.layout = torch.sparse_csr,
) -> Float[Tensor, "rows columns"]:
    """The sparse matrix T of a convolution: T @ x.flatten() == conv(x).flatten(), the bias apart (see `affine_part`).

    conv: an nn.Conv1d, 2d, 3d or nn.ConvTranspose1d, 2d, 3d, which brings its own arguments, or a weight (o, c / groups, *k) with
    the arguments of torch.nn.functional.conv1d, 2d, 3d. input_shape: (c, *i), no batch axis. Result: (o * R) x (c * I) for R output
    and I input positions, in the weight's type and device; torch.sparse_csr, or torch.sparse_coo (coalesced) by `layout`.

    Taps on zero padding are absent, so the number of stored entries is the law convolution.toeplitz_nonzeros. A padding mode that
    copies positions adds up the taps that read one position. Gradients flow to the weight. No loop over positions.
    The meaning is MATLAB's convmtx2 (with torch's unflipped kernel and row-major order); torch issue 26781 asks for it.
    Raises UsageError where conv itself would refuse the shape, and for arguments beside a module.
    Source: Dumoulin and Visin 2016, section 4.1.

    >>> toeplitz(torch.tensor([[[1.0, 10.0]]]), (1, 4)).to_dense().tolist()
    [[1.0, 10.0, 0.0, 0.0], [0.0, 1.0, 10.0, 0.0], [0.0, 0.0, 1.0, 10.0]]
    """
    if isinstance(conv, nn.Module):
        if (stride, padding, dilation, groups, padding_mode) != (1, 0, 1, 1, "zeros"):
            message = f"{type(conv).__name__} brings its own stride, padding, dilation, groups and padding_mode: leave them out"
            raise UsageError(message)
        form = _form_of_module(conv, input_shape)
    else:
        form = _form(_tensor(conv), _whole(input_shape), stride, padding, dilation, groups, padding_mode)
    if layout not in {torch.sparse_csr, torch.sparse_coo}:
        message = f"layout is torch.sparse_csr or torch.sparse_coo; {layout} came"
        raise UsageError(message)
    return _assemble(form, layout)


def affine_part(conv: nn.Module, input_shape: Sequence[int]) -> Float[Tensor, "rows"]:
    """What a convolution adds to its linear part: each channel's bias, once for every output position; zeros without a bias.

    conv(x).flatten() == toeplitz(conv, input_shape) @ x.flatten() + affine_part(conv, input_shape). Takes modules as `toeplitz`
    does, and raises as it does.
    """
    form = _form_of_module(conv, input_shape)
    bias = conv.bias if isinstance(conv.bias, Tensor) else form.weight.new_zeros(form.weight.shape[0])
    return bias.repeat_interleave(math.prod(form.outputs))


@dataclass(frozen=True, slots=True)
class _Form:
    """A convolution in one form: weight (o, c / groups * taps) and, for each axis, reads (output position, tap, input position)."""

    weight: Tensor
    groups: int
    channels: int  # input channels of one group
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...]
    entries: tuple[tuple[Tensor, Tensor, Tensor], ...]
    merged: bool  # whether several taps may read one position


def _tensor(weight: object) -> Tensor:
    if not isinstance(weight, Tensor):
        message = f"toeplitz takes a convolution module or its weight, a tensor; {type(weight).__name__} came: give one of them"
        raise UsageError(message)
    return weight


def _whole(input_shape: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(map(operator.index, input_shape))
    except TypeError:
        message = f"input_shape is (channels, *sizes) in whole numbers; {input_shape!r} came"
        raise UsageError(message) from None


def _form_of_module(conv: nn.Module, given: Sequence[int]) -> _Form:
    input_shape = _whole(given)
    if isinstance(conv, TransposedModule | ConvolutionModule) and is_lazy(conv.weight):
        message = f"{type(conv).__name__} has no weight yet: call it once on an input, then ask for its matrix"
        raise UsageError(message)
    if isinstance(conv, TransposedModule):
        return _transposed_form(conv, input_shape)
    if isinstance(conv, ConvolutionModule):
        return _form(conv.weight, input_shape, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    message = f"toeplitz takes torch.nn.Conv1d, 2d, 3d, their ConvTranspose twins, or a weight; {type(conv).__name__} came"
    raise UsageError(message)


def _form(
    weight: Tensor,
    input_shape: Sequence[int],
    stride: int | Sequence[int],
    padding: str | int | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
    padding_mode: str,
) -> _Form:
    _check(weight, input_shape, groups, expected=weight.shape[1] * groups if weight.ndim > 1 else 0)
    kernel = tuple(weight.shape[2:])
    axes = axes_of(input_shape[1:], kernel, stride, padding, dilation)
    entries = tuple(reads(axis, axis.output, padding_mode, weight.device) for axis in axes)
    outputs = tuple(axis.output for axis in axes)
    channels = weight.shape[1]
    return _Form(weight.flatten(1), groups, channels, tuple(input_shape[1:]), outputs, kernel, entries, padding_mode != "zeros")


def _transposed_form(conv: TransposedModule, input_shape: Sequence[int]) -> _Form:
    """The convolution that it transposes, read from its outputs to its inputs."""
    weight, groups = conv.weight, conv.groups
    _check(weight, input_shape, groups, expected=weight.shape[0])
    kernel, inputs = tuple(weight.shape[2:]), tuple(input_shape[1:])
    count = len(kernel)
    given = (conv.stride, conv.dilation, conv.padding, conv.output_padding)
    numbers = [per_axis(cast("tuple[int, ...]", one), count, "an argument", 0) for one in given]
    outputs, entries = [], []
    for size, taps, step, spread, end, extra in zip(inputs, kernel, *numbers, strict=True):
        output = (size - 1) * step - 2 * end + spread * (taps - 1) + 1 + extra
        if output < 1:
            message = f"{type(conv).__name__} would give {output} positions from {size}: padding {end} takes all of them away"
            raise UsageError(message)
        r, k, i = reads(Axis(output, taps, step, spread, end, end), size, "zeros", weight.device)
        outputs.append(output)
        entries.append((i, k, r))
    channels = weight.shape[0] // groups
    by_output = weight.reshape(groups, channels, -1, math.prod(kernel)).transpose(1, 2).reshape(-1, channels * math.prod(kernel))
    return _Form(by_output, groups, channels, inputs, tuple(outputs), kernel, tuple(entries), merged=False)


def _check(weight: Tensor, input_shape: Sequence[int], groups: int, expected: int) -> None:
    axes = weight.ndim - 2
    if not 1 <= axes <= 3 or len(input_shape) != axes + 1 or min(input_shape) < 1:  # noqa: PLR2004 - torch has 1-D to 3-D
        came = f"weight {tuple(weight.shape)}, input_shape {tuple(input_shape)} came"
        message = f"input_shape is (channels, *sizes), one size for each kernel axis, without a batch axis; {came}"
        raise UsageError(message)
    if groups < 1 or weight.shape[0] % groups or input_shape[0] != expected:
        needed = f"weight {tuple(weight.shape)} with groups={groups} takes {expected} channels in whole groups"
        message = f"{needed}; input_shape {tuple(input_shape)} came"
        raise UsageError(message)


def _pattern(form: _Form) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and weight column of every entry for one output channel of the first group, sorted by row, then column."""
    channel = torch.arange(form.channels, device=form.weight.device)
    row, column, tap = torch.zeros_like(channel), channel, channel
    for (r, k, i), outputs, inputs, taps in zip(form.entries, form.outputs, form.inputs, form.kernel, strict=True):
        row = (row[:, None] * outputs + r).flatten()
        column = (column[:, None] * inputs + i).flatten()
        tap = (tap[:, None] * taps + k).flatten()
    order = torch.argsort(row * (form.channels * math.prod(form.inputs)) + column, stable=True)
    return row[order], column[order], tap[order]


def _assemble(form: _Form, layout: torch.layout) -> Tensor:
    """The pattern once for every output channel, shifted to the channels of its group, with the channel's own weights."""
    row, column, tap = _pattern(form)
    values = form.weight.index_select(1, tap)  # (o, entries)
    if form.merged:
        width = form.channels * math.prod(form.inputs)
        keys, place = torch.unique_consecutive(row * width + column, return_inverse=True)
        values = values.new_zeros(values.shape[0], len(keys)).index_add(1, place, values)
        row, column = keys // width, keys % width
    filters, positions = form.weight.shape[0], math.prod(form.outputs)
    width = form.channels * math.prod(form.inputs)
    group = torch.arange(form.groups, device=row.device).repeat_interleave(filters // form.groups)
    columns = (group[:, None] * width + column).flatten()
    size = (filters * positions, form.groups * width)
    if layout is torch.sparse_coo:
        rows = (torch.arange(filters, device=row.device)[:, None] * positions + row).flatten()
        indices = torch.stack([rows, columns])
        return torch.sparse_coo_tensor(indices, values.flatten(), size, is_coalesced=True, check_invariants=False)
    ends = torch.bincount(row, minlength=positions).repeat(filters).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends])
    with warnings.catch_warnings():
        # torch says once a process that CSR is in beta; whoever asks for the matrix cannot act on it.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(starts, columns, values.flatten(), size, check_invariants=False)
