"""What torch's convolution arguments mean, axis by axis: which input position each output position reads.

Axis letters: i input positions, r output positions, k taps of the kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchstone.core.errors import UsageError

MODES = ("zeros", "circular", "reflect", "replicate")


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a convolution: output position r reads the input positions r * stride + k * dilation - left.

    `left` and `right` are the padding at either end.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    left: int
    right: int

    @property
    def extent(self) -> int:
        """How many positions the dilated kernel spans."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def output(self) -> int:
        """How many output positions there are."""
        return (self.size + self.left + self.right - self.extent) // self.stride + 1


def per_axis(value: int | Sequence[int], axes: int, name: str, least: int) -> tuple[int, ...]:
    """One whole number for each axis; torch takes a single one for all. Raises UsageError below `least` or at a wrong count."""
    numbers = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(numbers) != axes or any(number < least for number in numbers):
        message = f"{name} takes one whole number of {least} or more, or {axes} of them; {value!r} came"
        raise UsageError(message)
    return numbers


def axes_of(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> tuple[Axis, ...]:
    """The axes of a convolution over inputs of these sizes.

    Raises UsageError where a kernel is larger than the padded input, and for what torch.nn.Conv refuses.
    """
    count = len(sizes)
    strides, dilations = per_axis(stride, count, "stride", 1), per_axis(dilation, count, "dilation", 1)
    if padding == "same" and any(number > 1 for number in strides):
        message = f"padding='same' keeps the size only with stride 1; stride {stride!r} came: give the padding in numbers"
        raise UsageError(message)
    ends = _ends(padding, per_axis(kernel, count, "kernel_size", 1), dilations)
    rows = zip(sizes, kernel, strides, dilations, ends, strict=True)
    axes = tuple(Axis(size, taps, step, spread, *end) for size, taps, step, spread, end in rows)
    for number, axis in enumerate(axes):
        if axis.output < 1:
            padded = axis.size + axis.left + axis.right
            spans = f"axis {number}: the kernel spans {axis.extent} positions and the padded input has {padded}"
            message = f"{spans}; pad more, or take a smaller kernel or dilation"
            raise UsageError(message)
    return axes


def _ends(padding: str | int | Sequence[int], kernel: Sequence[int], dilations: Sequence[int]) -> list[tuple[int, int]]:
    """Padding at the left and right end of each axis. Of an odd total torch's 'same' puts the one more at the right end."""
    if isinstance(padding, str):
        totals = {"same": [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)], "valid": [0] * len(kernel)}
        if padding not in totals:
            message = f"padding is 'same', 'valid' or whole numbers; {padding!r} came"
            raise UsageError(message)
        return [(total // 2, total - total // 2) for total in totals[padding]]
    return [(end, end) for end in per_axis(padding, len(kernel), "padding", 0)]


def reads(axis: Axis, outputs: int, padding_mode: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Every read of a real input position along one axis: output position, tap, input position; three vectors of one length.

    A tap that falls on zero padding reads nothing; on other padding it reads the position that the padding copies.
    """
    r = torch.arange(outputs, device=device)[:, None].expand(outputs, axis.kernel)
    k = torch.arange(axis.kernel, device=device).expand(outputs, axis.kernel)
    i = _real(r * axis.stride + k * axis.dilation - axis.left, axis, padding_mode)
    kept = (i >= 0) & (i < axis.size)
    return r[kept], k[kept], i[kept]


def _real(position: Tensor, axis: Axis, padding_mode: str) -> Tensor:
    """The input position that a padded position is a copy of; out of range for zeros."""
    if padding_mode == "zeros":
        return position
    if padding_mode not in MODES:
        message = f"padding_mode is one of {', '.join(MODES)}; {padding_mode!r} came"
        raise UsageError(message)
    longest = axis.size - 1 if padding_mode == "reflect" else axis.size
    if padding_mode != "replicate" and max(axis.left, axis.right) > longest:
        came = f"padding {axis.left}, {axis.right} came"
        message = f"padding_mode {padding_mode!r} copies at most {longest} of {axis.size} positions; {came}"
        raise UsageError(message)
    if padding_mode == "circular":
        return position % axis.size
    if padding_mode == "replicate":
        return position.clamp(0, axis.size - 1)
    inside = position.abs()
    return torch.where(inside < axis.size, inside, 2 * (axis.size - 1) - inside)
