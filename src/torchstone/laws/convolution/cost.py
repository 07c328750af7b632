"""What a convolution holds and works: parameters and floating-point operations. A multiply-add is 2.

Axis letters: c channels, k kernel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind, shape_after


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """A windowed layer: one AxisSpec for each axis, channels, groups, and whether every output channel has a bias."""

    axes: tuple[AxisSpec, ...]
    in_channels: int
    out_channels: int
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        if len({axis.kind for axis in self.axes}) != 1:
            message = f"a layer has one axis or more, all of one kind; {[str(axis.kind) for axis in self.axes]} came"
            raise InvariantError(message)
        if min(self.in_channels, self.out_channels, self.groups) < 1:
            message = f"channels and groups are 1 or more; {self.in_channels}, {self.out_channels}, {self.groups} came"
            raise InvariantError(message)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            message = f"groups divide the channels in and out; {self.in_channels} and {self.out_channels} by {self.groups} came"
            raise InvariantError(message)
        if self.kind is LayerKind.POOL and self.in_channels != self.out_channels:
            message = f"a pooling keeps its channels; {self.in_channels} in and {self.out_channels} out came"
            raise InvariantError(message)

    @property
    def kind(self) -> LayerKind:
        """Convolution, pooling or transposed convolution."""
        return self.axes[0].kind

    @property
    def taps(self) -> int:
        """Positions of one kernel: the product of its sizes."""
        return math.prod(axis.kernel for axis in self.axes)


@law(
    "convolution.parameters",
    Kind.COUNT,
    Unit.PARAMETERS,
    subject=ConvSpec,
    assumes=("a pooling has none",),
    sources=("torch.nn.Conv2d, section Variables: weight is (out, in / groups, *kernel), bias is (out)",),
)
def parameters(spec: ConvSpec) -> int:
    """A convolution, transposed or not, has c_in c_out prod(k) / groups weights and, if it has a bias, c_out more.

    >>> parameters(ConvSpec((AxisSpec(4), AxisSpec(4)), 64, 128, bias=False))
    131072
    """
    if spec.kind is LayerKind.POOL:
        return 0
    return spec.in_channels * spec.out_channels * spec.taps // spec.groups + spec.bias * spec.out_channels


@law(
    "convolution.flops",
    Kind.COST,
    Unit.FLOP,
    subject=ConvSpec,
    assumes=(
        "forward, the direct algorithm; a multiply-add is 2, also where it multiplies a zero of the padding",
        "adding the bias is not counted, nor are the comparisons of a pooling (as torch.utils.flop_counter)",
    ),
    sources=("one multiply-add for each output, tap and input channel of its group", "torch.utils.flop_counter.conv_flop_count"),
)
def flops(spec: ConvSpec, shape: Sequence[int], batch: int = 1) -> int:
    """A convolution costs 2 c_in c_out prod(k) / groups for each output position, a transposed one for each input position.

    >>> flops(ConvSpec((AxisSpec(8, 2), AxisSpec(8, 2)), 3, 64), (256, 256))
    384000000
    """
    after = shape_after(shape, spec.axes)
    if batch < 0:
        message = f"a batch has 0 rows or more; {batch} came"
        raise InvariantError(message)
    if spec.kind is LayerKind.POOL:
        return 0
    positions = math.prod(shape if spec.kind is LayerKind.TRANSPOSED else after)
    return 2 * batch * positions * spec.taps * spec.in_channels * spec.out_channels // spec.groups


def _check_separable(channels: Sequence[int], kernel: Sequence[int]) -> None:
    if not kernel or min(*channels, *kernel) < 1:
        message = f"channels and kernel sizes are 1 or more; {tuple(channels)} and {tuple(kernel)} came"
        raise InvariantError(message)


@law(
    "convolution.separable_parameters",
    Kind.COUNT,
    Unit.PARAMETERS,
    assumes=("one depthwise filter a channel, then a pointwise convolution; with biases, both have them",),
    sources=("Howard et al. 2017, MobileNets, section 3.1", "Chollet 2017, Xception, section 3"),
)
def separable_parameters(in_channels: int, out_channels: int, kernel: Sequence[int], *, bias: bool = False) -> int:
    """A depthwise convolution followed by a pointwise one has c_in prod(k) + c_in c_out weights, and c_in + c_out biases if any.

    >>> separable_parameters(3, 4, (3, 3))
    39
    """
    _check_separable((in_channels, out_channels), kernel)
    return in_channels * (math.prod(kernel) + out_channels) + bias * (in_channels + out_channels)


@law(
    "convolution.separable_share",
    Kind.COUNT,
    Unit.RATIO,
    assumes=("no biases; the same share of parameters and, at stride 1, of FLOPs",),
    sources=("Howard et al. 2017, MobileNets, section 3.1: the reduction in computation",),
)
def separable_share(out_channels: int, kernel: Sequence[int]) -> float:
    """A depthwise separable convolution has the share 1/c_out + 1/prod(k) of an ordinary one's weights.

    >>> round(separable_share(4, (3, 3)), 4) == round(39 / 108, 4)
    True
    """
    _check_separable((out_channels,), kernel)
    return 1 / out_channels + 1 / math.prod(kernel)
