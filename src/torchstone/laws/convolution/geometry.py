"""Sizes of windowed layers: convolution, pooling, transposed convolution. In elements along one axis.

Axis letters: n input size, o output size, k kernel, s stride, p padding (before and after, each its own number), d dilation;
e = d (k - 1) + 1 is the extent that a kernel covers. An axis knows nothing of the others: a layer is one AxisSpec for each axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


class LayerKind(StrEnum):
    """What a layer does with its windows."""

    CONV = "conv"
    POOL = "pool"
    TRANSPOSED = "transposed"


@dataclass(frozen=True, slots=True)
class AxisSpec:
    """One axis of a windowed layer. `padding` is what is added before and after; a transposed convolution crops that much."""

    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    kind: LayerKind = LayerKind.CONV
    output_padding: int = 0
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation"):
            if getattr(self, name) < 1:
                message = f"a {name} is a whole number of 1 or more; {getattr(self, name)} came"
                raise InvariantError(message)
        if len(self.padding) != 2 or min(self.padding) < 0:  # noqa: PLR2004 - before and after
            message = f"a padding is two numbers of 0 or more, before and after; {self.padding} came"
            raise InvariantError(message)
        if self.kind is LayerKind.POOL and max(self.padding) > self.kernel // 2:
            message = f"torch pads a pooling by at most half of its kernel {self.kernel}; {self.padding} came"
            raise InvariantError(message)
        if self.ceil_mode and self.kind is not LayerKind.POOL:
            message = f"only a pooling has ceil_mode; a {self.kind} came"
            raise InvariantError(message)
        self._check_output_padding()

    def _check_output_padding(self) -> None:
        if self.kind is LayerKind.TRANSPOSED:
            limit, allowed = max(self.stride, self.dilation), "is smaller than the stride or the dilation"
        else:
            limit, allowed = 1, "belongs to a transposed convolution"
        if not 0 <= self.output_padding < limit:
            message = f"an output_padding {allowed}; {self.output_padding} came"
            raise InvariantError(message)

    @property
    def extent(self) -> int:
        """How many positions the kernel spans, holes of its dilation included: e = d (k - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1


def _room(size: int, axis: AxisSpec, *kinds: LayerKind) -> int:
    """What the padded input has beyond one kernel, which must fit into it; refuses an axis of another kind.

    With ceil_mode a kernel may stand over the end by less than a stride.
    """
    if axis.kind not in kinds:
        message = f"this law speaks of {' and '.join(kinds)}; a {axis.kind} came"
        raise InvariantError(message)
    if size < 1:
        message = f"an input has 1 element or more; {size} came"
        raise InvariantError(message)
    padded = size + sum(axis.padding)
    if padded < axis.extent - (axis.stride - 1) * axis.ceil_mode:
        before, after = axis.padding
        message = f"the kernel covers {axis.extent}, more than the padded input {size} + {before} + {after} = {padded}"
        raise InvariantError(message)
    return padded - axis.extent


@law(
    "convolution.output_size",
    Kind.SHAPE,
    Unit.ELEMENTS,
    subject=AxisSpec,
    assumes=("every window lies wholly in the padded input",),
    sources=("Dumoulin and Visin 2016, A guide to convolution arithmetic, relationships 6 and 15",),
)
def output_size(size: int, axis: AxisSpec) -> int:
    """A convolution has floor((n + p_before + p_after - d (k - 1) - 1) / s) + 1 outputs along an axis.

    Breaks when: padding is given as the sum of both sides and doubled again, or the kernel does not fit.

    >>> output_size(64, AxisSpec(8, 2, (3, 3)))
    32
    >>> output_size(64, AxisSpec(3, 2, (7, 7), 7))
    32
    >>> output_size(5, AxisSpec(2, padding=(0, 1)))  # as padding='same' pads an even kernel
    5
    """
    return _room(size, axis, LayerKind.CONV, LayerKind.POOL) // axis.stride + 1


@law(
    "convolution.pooled_size",
    Kind.SHAPE,
    Unit.ELEMENTS,
    subject=AxisSpec,
    assumes=("padding is at most half of the kernel", "with ceil_mode, what a window has beyond the padding is left out"),
    sources=("torch.nn.MaxPool2d, section Shape and the note on ceil_mode", "torch: ATen/native/Pool.h, pooling_output_shape"),
)
def pooled_size(size: int, axis: AxisSpec) -> int:
    """A pooling rounds down, or with ceil_mode up, less a last window that would start beyond the input and its left padding.

    >>> pooled_size(125, AxisSpec(5, 5, kind=LayerKind.POOL)), pooled_size(5, AxisSpec(2, 2, kind=LayerKind.POOL, ceil_mode=True))
    (25, 3)
    >>> pooled_size(3, AxisSpec(2, 4, (1, 1), kind=LayerKind.POOL, ceil_mode=True))  # a second would start in the padding after
    1
    """
    room = _room(size, axis, LayerKind.POOL)
    if not axis.ceil_mode:
        return room // axis.stride + 1
    windows = -(-room // axis.stride) + 1
    starts_outside = (windows - 1) * axis.stride >= size + axis.padding[0]
    return windows - starts_outside


@law(
    "convolution.transposed_size",
    Kind.SHAPE,
    Unit.ELEMENTS,
    subject=AxisSpec,
    assumes=("output_padding is smaller than the stride or the dilation", "one output or more is left"),
    sources=("Dumoulin and Visin 2016, relationship 14", "torch.nn.ConvTranspose2d, section Shape"),
)
def transposed_size(size: int, axis: AxisSpec) -> int:
    """A transposed convolution has (n - 1) s - p_before - p_after + d (k - 1) + output_padding + 1 outputs along an axis.

    >>> transposed_size(32, AxisSpec(3, 2, (1, 1), kind=LayerKind.TRANSPOSED, output_padding=1))
    64
    """
    if axis.kind is not LayerKind.TRANSPOSED or size < 1:
        message = f"a transposed convolution of 1 element or more is needed; a {axis.kind} of {size} came"
        raise InvariantError(message)
    found = (size - 1) * axis.stride - sum(axis.padding) + axis.extent + axis.output_padding
    if found < 1:
        message = f"padding {axis.padding} crops all of the {found + sum(axis.padding)} outputs"
        raise InvariantError(message)
    return found


_SIZES = {LayerKind.CONV: output_size, LayerKind.POOL: pooled_size, LayerKind.TRANSPOSED: transposed_size}


def size_after(size: int, axis: AxisSpec) -> int:
    """The output size along one axis of a layer of any kind."""
    return _SIZES[axis.kind](size, axis)


def shape_after(shape: Sequence[int], axes: Sequence[AxisSpec]) -> tuple[int, ...]:
    """The output sizes of a layer, one for each axis of the input; channels are not among them."""
    return tuple(size_after(size, axis) for size, axis in zip(shape, axes, strict=True))
