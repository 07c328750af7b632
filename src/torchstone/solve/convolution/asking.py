"""The library's twin of `torchstone solve conv`."""

from torchstone.solve.convolution.layer import Layer, solve_layer
from torchstone.solve.convolution.solutions import ConvSolutions
from torchstone.solve.convolution.words import Setting, Shape


def conv(  # noqa: PLR0913 - torch's own arguments
    input: Shape,  # noqa: A002 - torch's own word
    output: Shape | None = None,
    *,
    kernel: Setting = None,
    stride: Setting = None,
    padding: Setting = None,
    dilation: Setting = None,
    output_padding: Setting = None,
    channels: int | None = None,
    groups: int = 1,
    bias: bool = True,
    transposed: bool = False,
    maximum: int = 64,
) -> ConvSolutions:
    """Every kernel, stride, padding and dilation (up to `maximum`) with which a convolution turns one shape into the other.

    Shapes are channels and 1 to 3 sizes, (3, 64, 64) or "3x64x64". A setting that is known is a number, a range, one for each
    axis, or text that says so ("8", "1..7", "8x5"); a padding may be (before, after) for each axis ("1,2"). Without an output it is
    calculated: then the kernel must be given, and what is not is as torch has it by default. Raises UsageError for what cannot be.

    The order: first what reads every input with a padding smaller than the kernel and the least dilation; then what reads
    every input but some at the borders, with a padding smaller than the kernel; then what reads every input, a padding smaller than
    the dilated kernel covers before a larger one; then the rest. Within each by dilation, kernel, stride, padding. With one tap a
    dilation has no effect: only the least that is allowed is listed (but for a transposed convolution, whose output_padding it
    bounds).

    Dumoulin and Visin 2016, A guide to convolution arithmetic for deep learning.

    >>> found = conv("3x64x64", "64x32x32", kernel=8, dilation=1)
    >>> len(found), found[0].stride, found[0].padding, found[0].unread
    (6, 2, 3, 0)
    >>> conv((3, 256, 256), kernel=8, stride=2, channels=64).output
    (64, 125, 125)
    """
    kind = "transposed" if transposed else "conv"
    layer = Layer(kind, kernel, stride, padding, dilation, output_padding, channels, output, groups, bias)
    return solve_layer(input, layer, maximum)
