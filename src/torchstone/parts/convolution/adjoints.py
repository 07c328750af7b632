"""The adjoints of a convolution: its gradients, which are convolutions themselves.

The gradient by the weight is a convolution of the input with the output's gradient in which stride and dilation exchange roles; the
gradient by the input is the transposed convolution. Both take the arguments of torch.nn.grad in its order.

Axis letters: b batch, o output channels, c input channels, i input positions, r output positions, k taps.
"""

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.parts.convolution.axes import Axis, axes_of
from torchstone.parts.convolution.linear import CORRELATIONS

TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def weight_gradient(
    input: Float[Tensor, "*input"],  # noqa: A002 - torch.nn.grad's name
    weight_size: Sequence[int],
    grad_output: Float[Tensor, "*output"],
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Float[Tensor, "o c *k"]:
    """dl/dW of a convolution, dl/dW[o, c, k] = sum over r of dl/df[o, r] x[c, k * dilation + r * stride - padding].

    A convolution of the input with dl/df whose stride is the forward dilation and whose dilation is the forward stride: one call of
    torch.nn.functional.conv1d, 2d or 3d. input: (b, c, *i) or (c, *i); weight_size: (o, c / groups, *k); grad_output: (b, o, *r) or
    (o, *r). Result: weight_size, summed over the batch. Raises UsageError where the shapes are of no convolution.
    Source: Dumoulin and Visin 2016, section 4.

    >>> from torch import ones
    >>> weight_gradient(ones(1, 7), (1, 1, 3), ones(1, 3), stride=2).tolist()
    [[[3.0, 3.0, 3.0]]]
    """
    axes, x, gradient = _batched(input, tuple(weight_size), grad_output, (stride, padding, dilation), groups)
    batch, channels = x.shape[0], weight_size[1]
    if batch == 0:  # sums over nothing; torch's convolutions refuse to have no channels
        return (input.sum() * grad_output.sum()).expand(tuple(weight_size)).clone()
    if _lopsided(axes):
        x = functional.pad(x, [end for axis in reversed(axes) for end in (axis.left, axis.right)])
        axes = _padded(axes)
    # The batch is summed over: it becomes the channels of the new convolution, one group of them for each group of the old.
    by_channel = x.reshape(batch, groups, channels, *x.shape[2:]).movedim(2, 0).transpose(1, 2)
    found = CORRELATIONS[len(axes)](
        by_channel.reshape(channels, groups * batch, *x.shape[2:]),
        gradient.transpose(0, 1),
        stride=[axis.dilation for axis in axes],
        padding=[axis.left for axis in axes],
        dilation=[axis.stride for axis in axes],
        groups=groups,
    )
    # A stride that leaves input unread leaves room for positions that the kernel does not have.
    for number, axis in enumerate(axes):
        found = found.narrow(2 + number, 0, axis.kernel)
    return found.transpose(0, 1)


def input_gradient(
    input_size: Sequence[int],
    weight: Float[Tensor, "o c *k"],
    grad_output: Float[Tensor, "*output"],
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Float[Tensor, "*input"]:
    """dl/dx of a convolution, dl/dx[c, i] = sum of W[o, c, k] dl/df[o, r] over r * stride + k * dilation - padding = i.

    The transposed convolution with the same weight and arguments: one call of torch.nn.functional.conv_transpose1d, 2d or 3d.
    input_size: (b, c, *i) or (c, *i); weight: (o, c / groups, *k); grad_output: (b, o, *r) or (o, *r). Result: input_size.
    Raises UsageError where the shapes are of no convolution. Source: Dumoulin and Visin 2016, section 4.

    >>> from torch import ones
    >>> input_gradient((1, 7), ones(1, 1, 3), ones(1, 3), stride=2).tolist()
    [[1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 1.0]]
    """
    like_input = weight.new_empty(tuple(input_size), device="meta")
    axes, _, gradient = _batched(like_input, tuple(weight.shape), grad_output, (stride, padding, dilation), groups)
    whole = _padded(axes) if _lopsided(axes) else axes
    found = TRANSPOSED[len(axes)](
        gradient,
        weight,
        stride=[axis.stride for axis in axes],
        padding=[axis.left for axis in whole],
        # Positions that no output reads: the transposed convolution does not know of them.
        output_padding=[axis.size - ((axis.output - 1) * axis.stride - 2 * axis.left + axis.extent) for axis in whole],
        groups=groups,
        dilation=[axis.dilation for axis in axes],
    )
    if whole is not axes:
        for number, axis in enumerate(axes):
            found = found.narrow(2 + number, axis.left, axis.size)
    return found.reshape(tuple(input_size))


def _lopsided(axes: Sequence[Axis]) -> bool:
    """Whether an axis is padded more at one end, as 'same' does for an even extent: torch's functions cannot say it."""
    return any(axis.left != axis.right for axis in axes)


def _padded(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The same axes with their padding counted as input."""
    return tuple(replace(axis, size=axis.size + axis.left + axis.right, left=0, right=0) for axis in axes)


def _batched(
    x: Tensor,
    weight_size: tuple[int, ...],
    gradient: Tensor,
    arguments: tuple[int | Sequence[int], str | int | Sequence[int], int | Sequence[int]],
    groups: int,
) -> tuple[tuple[Axis, ...], Tensor, Tensor]:
    """The axes, and input and output gradient with a batch axis. Raises UsageError where they are of no convolution."""
    count = len(weight_size) - 2
    if count not in CORRELATIONS or x.ndim not in {count + 1, count + 2} or x.ndim != gradient.ndim:
        needed = "weight (o, c, *k) with 1 to 3 kernel axes, input and grad_output with as many and one batch axis at most"
        message = f"{needed}, are needed; {_came(x, weight_size, gradient)}"
        raise UsageError(message)
    axes = axes_of(x.shape[-count:], weight_size[2:], *arguments)
    batch = tuple(x.shape[: x.ndim - count - 1])
    expected = (*batch, weight_size[0], *(axis.output for axis in axes))
    if groups < 1 or weight_size[0] % groups or x.shape[len(batch)] != weight_size[1] * groups or tuple(gradient.shape) != expected:
        needed = f"with groups={groups} the input has {weight_size[1] * groups} channels and grad_output is {expected}"
        message = f"{needed}; {_came(x, weight_size, gradient)}"
        raise UsageError(message)
    return axes, (x if batch else x[None]), (gradient if batch else gradient[None])


def _came(x: Tensor, weight_size: tuple[int, ...], gradient: Tensor) -> str:
    return f"input {tuple(x.shape)}, weight {weight_size}, grad_output {tuple(gradient.shape)} came"
