"""Depthwise separable convolution: one filter a channel, then a 1x1 mixture of channels; and what an ordinary one loses as such.

Axis letters: b batch, c input channels, o output channels, h height, w width, r rank (filters for each input channel).
"""

from typing import Any, Literal, Self, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import skip_init

from torchstone.core.errors import UsageError

Size = int | tuple[int, int]
Layer = TypeVar("Layer", bound=nn.Module)
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class DepthwiseSeparableConv2d(nn.Module):
    """A depthwise convolution followed by a pointwise one; takes nn.Conv2d's arguments and gives its shape.

    It is nn.Conv2d with the kernel W[o, c] = sum over j < r of pointwise[o, c r + j] depthwise[c r + j], at c r k² + c r o
    parameters where that has c o k². Only the pointwise half has a bias: one after the depthwise half would add nothing to it.

    in_channels .. dtype: as nn.Conv2d's, without `groups`. depth_multiplier: r, the filters for each input channel.
    input: (b, c, h, w) or (c, h, w); output: as nn.Conv2d's. State: depthwise.weight (c r, 1, *k), pointwise.weight (o, c r, 1, 1),
    pointwise.bias (o). Raises what nn.Conv2d raises, and UsageError for a depth_multiplier below 1.
    Sources: Sifre 2014, section 6.2; Chollet 2017, section 3; Howard et al. 2017, section 3.1.
    """

    error: float | None = None
    """Relative Frobenius distance to the kernel that this layer was fitted to; None if it was not made by `from_conv2d`."""

    def __init__(  # noqa: PLR0913 - nn.Conv2d's arguments
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        *,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        depth_multiplier: int = 1,
    ) -> None:
        super().__init__()
        if depth_multiplier < 1:
            message = f"depth_multiplier is the number of filters for each input channel, one or more; {depth_multiplier} came"
            raise UsageError(message)
        inner = in_channels * depth_multiplier
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.depthwise = nn.Conv2d(
            in_channels, inner, kernel_size, stride, padding, dilation,
            groups=in_channels, bias=False, padding_mode=padding_mode, **place,
        )  # fmt: skip
        self.pointwise = nn.Conv2d(inner, out_channels, 1, bias=bias, **place)

    def forward(self, input: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b o p q"]:  # noqa: A002 - torch's name
        """Depthwise, then pointwise: (b, c, h, w) to (b, o, p, q)."""
        output: Tensor = self.pointwise(self.depthwise(input))
        return output

    @classmethod
    def from_conv2d(cls, conv: nn.Conv2d, rank: int = 1) -> Self:
        """The separable layer nearest to a trained convolution, with `rank` filters for each input channel; `error` says how near.

        For every input channel c the matrix W[:, c] (o x k²) is replaced by its best approximation of that rank, the truncated
        singular value decomposition (Eckart and Young 1936), so no separable layer of that rank has a kernel nearer to W in
        Frobenius norm. Takes stride, padding, dilation, padding mode and bias over; groups of `conv` are absorbed. The singular
        values are shared equally between the halves. Raises UsageError for a rank that the kernel does not have, and for
        any other layer.
        """
        _check_conv2d(conv)
        kernel = _ungrouped(conv.weight.detach().double(), conv.groups)
        filters, channels, *taps = kernel.shape
        matrices = kernel.flatten(2).transpose(0, 1)  # (c, o, k²)
        longest = min(matrices.shape[1:])
        if not 1 <= rank <= longest:
            message = f"rank is from 1 to {longest}, the rank of a {filters} x {taps[0] * taps[1]} matrix at most; {rank} came"
            raise UsageError(message)
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        shared = values[:, :rank].sqrt()
        layer = _reading_as(conv, cls, channels, filters, bias=conv.bias is not None, depth_multiplier=rank)
        with torch.no_grad():
            layer.depthwise.weight.copy_((shared[..., None] * right[:, :rank]).reshape(channels * rank, 1, *taps))
            layer.pointwise.weight.copy_((left[..., :rank] * shared[:, None]).movedim(1, 0).reshape(filters, channels * rank, 1, 1))
            if conv.bias is not None and layer.pointwise.bias is not None:
                layer.pointwise.bias.copy_(conv.bias)
            layer.error = _relative(layer.kernel().double() - kernel, kernel)
        return layer

    def kernel(self) -> Float[Tensor, "o c kh kw"]:
        """The kernel of the ordinary convolution that this layer is; gradients flow to both halves."""
        depthwise, pointwise = self.depthwise.weight, self.pointwise.weight
        channels = self.depthwise.in_channels
        by_channel = depthwise.reshape(channels, -1, *depthwise.shape[2:])
        return torch.einsum("ocr,crhw->ochw", pointwise.reshape(pointwise.shape[0], channels, -1), by_channel)

    def to_conv2d(self) -> nn.Conv2d:
        """The ordinary convolution that is this layer, exactly."""
        half, weight = self.depthwise, self.kernel()
        conv = _reading_as(half, nn.Conv2d, half.in_channels, weight.shape[0], bias=self.pointwise.bias is not None)
        with torch.no_grad():
            conv.weight.copy_(weight)
            if conv.bias is not None and self.pointwise.bias is not None:
                conv.bias.copy_(self.pointwise.bias)
        return conv

    def extra_repr(self) -> str:
        """What was lost, if it was fitted."""
        return "" if self.error is None else f"error={self.error:.3g}"


def separable_errors(weight: Float[Tensor, "o c kh kw"]) -> Float[Tensor, "r"]:
    """How far a kernel is from separable: relative Frobenius errors of its best fits with 1, 2, ... filters for each input channel.

    weight: an nn.Conv2d's (groups = 1). Result: min(o, kh kw) errors, falling, the last one zero. Zeros for a kernel of zeros.
    Raises UsageError for another number of axes, and for nan or inf.
    Source: Eckart and Young 1936.

    >>> separable_errors(torch.tensor([[[[3.0, 0.0]]], [[[0.0, 4.0]]]])).tolist()
    [0.6000000238418579, 0.0]
    """
    if not isinstance(weight, Tensor) or weight.ndim != 4:  # noqa: PLR2004 - (o, c, kh, kw)
        came = f"shape {tuple(weight.shape)}" if isinstance(weight, Tensor) else type(weight).__name__
        message = f"a kernel is a tensor (o, c, kh, kw); {came} came: give an nn.Conv2d's weight"
        raise UsageError(message)
    if not torch.compiler.is_compiling():  # a question about values: it would break the graph
        _check_finite(weight)
    squares = torch.linalg.svdvals(weight.flatten(2).transpose(0, 1)).square().sum(0)
    tails = squares.flip(0).cumsum(0).flip(0)  # tails[j] leaves out the j largest
    total = tails[:1]
    relative = (tails[1:] / torch.where(total > 0, total, torch.ones_like(total))).sqrt()
    return torch.cat([relative, torch.zeros_like(total)])  # the last by definition: a root at zero has no gradient


def _check_conv2d(conv: nn.Module) -> None:
    if not isinstance(conv, nn.Conv2d):
        message = f"from_conv2d takes an nn.Conv2d; {type(conv).__name__} came: a separable layer has two axes"
        raise UsageError(message)
    if is_lazy(conv.weight):
        message = f"{type(conv).__name__} has no weight yet: call it once on an input, then convert it"
        raise UsageError(message)
    _check_finite(conv.weight)


def _check_finite(weight: Tensor) -> None:
    if not torch.isfinite(weight).all():
        message = "the kernel has nan or inf, which no separable one is near to; give a finite one"
        raise UsageError(message)


def _reading_as(conv: nn.Conv2d, kind: type[Layer], *channels: int, **more: Any) -> Layer:
    """A layer of some kind that reads the positions that `conv` reads, its weights to be filled: nothing is drawn at random."""
    names = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    arguments = {name: getattr(conv, name) for name in names} | {"device": conv.weight.device, "dtype": conv.weight.dtype}
    made: Layer = skip_init(kind, *channels, **arguments, **more)  # type: ignore[no-untyped-call]
    return made


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """The kernel of the same convolution with one group: zeros between the groups."""
    if groups == 1:
        return weight
    filters, channels = weight.shape[:2]
    whole = weight.new_zeros(filters, groups, channels, *weight.shape[2:])
    group = torch.arange(groups, device=weight.device).repeat_interleave(filters // groups)
    whole[torch.arange(filters, device=weight.device), group] = weight
    return whole.flatten(1, 2)


def _relative(difference: Tensor, whole: Tensor) -> float:
    size = whole.norm().item()
    return difference.norm().item() / size if size > 0 else 0.0
