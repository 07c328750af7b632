"""One windowed layer asked about: what is known of it, and every setting that fits what is not."""

from dataclasses import dataclass, replace

from torchstone.core.errors import InvariantError, UsageError
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind, shape_after
from torchstone.solve.convolution.search import Asked, Paddings, Unknown
from torchstone.solve.convolution.solutions import ConvSolutions
from torchstone.solve.convolution.words import LONGEST, Setting, Shape, limits, read_padding, read_shape, read_unknown, written


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it is asked about: what is None is looked for if `output` is given, else as torch has it by default.

    `kind` is conv, pool or transposed. A setting is a number, a range (range(1, 8) or "1..7"), one of them for each axis, or
    text that says so; a padding may be a pair (before, after) for each axis. `channels` are those after the layer.
    """

    kind: str = "conv"
    kernel: Setting = None
    stride: Setting = None
    padding: Setting = None
    dilation: Setting = None
    output_padding: Setting = None
    channels: int | None = None
    output: Shape | None = None
    groups: int = 1
    bias: bool = True
    ceil_mode: bool = False


def solve_layer(given: Shape, layer: Layer, maximum: int = 64) -> ConvSolutions:
    """Every setting of a layer that turns an input (channels, sizes) into its output; one setting where there is no output given.

    Raises UsageError for what cannot be: shapes, settings, groups, or a kernel that fits nowhere.
    """
    shape, kind = read_shape(given), _kind(layer.kind)
    output = None if layer.output is None else read_shape(layer.output, "the output")
    if output is not None and len(output) != len(shape):
        message = f"input {written(shape)} and output {written(output)} differ in their number of axes; give both the same"
        raise UsageError(message)
    channels = _channels(shape, output, layer, kind)
    asked = _asked(shape, output, layer, kind, maximum)
    _check_extra(layer, kind)
    _check_kernel(asked)
    if output is None:
        asked = _calculated(asked, shape)
    return ConvSolutions(shape, asked, (channels, layer.groups, layer.bias))


def _kind(word: str) -> LayerKind:
    try:
        return LayerKind(word)
    except ValueError:
        message = f"a layer is {', '.join(LayerKind)}; {word!r} came"
        raise UsageError(message) from None


def _channels(shape: tuple[int, ...], output: tuple[int, ...] | None, layer: Layer, kind: LayerKind) -> int:
    """Channels after the layer; refuses what contradicts itself, or does not go into groups."""
    given = layer.channels
    if output is not None and given is not None and given != output[0]:
        message = f"channels {given} contradict the output {written(output)}; give one of them"
        raise UsageError(message)
    channels = output[0] if output is not None else given
    if kind is LayerKind.POOL and channels not in {None, shape[0]}:
        message = f"a pooling keeps its {shape[0]} channels; {channels} were asked for: leave them out, or use a convolution"
        raise UsageError(message)
    channels = shape[0] if channels is None else channels
    for name, number in (("channels", channels), ("groups", layer.groups)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            message = f"{name} must be a whole number of 1 or more; {number!r} came"
            raise UsageError(message)
    if shape[0] % layer.groups or channels % layer.groups:
        message = f"groups must divide the {shape[0]} channels in and the {channels} out; {layer.groups} came"
        raise UsageError(message)
    return channels


def _check_extra(layer: Layer, kind: LayerKind) -> None:
    if layer.output_padding is not None and kind is not LayerKind.TRANSPOSED:
        message = f"only a transposed convolution has output_padding; this is a {kind}: leave it out, or make it transposed"
        raise UsageError(message)
    if layer.ceil_mode and kind is not LayerKind.POOL:
        message = f"only a pooling has ceil_mode; this is a {kind}: leave it out"
        raise UsageError(message)


def _asked(shape: tuple[int, ...], output: tuple[int, ...] | None, layer: Layer, kind: LayerKind, maximum: int) -> Asked:
    axes = len(shape) - 1
    positive, paddings = limits(maximum)
    default = {name: getattr(layer, name) for name in ("kernel", "stride", "padding", "dilation", "output_padding")}
    if output is None:
        if layer.kernel is None:
            message = "without an output there is nothing to look for: give the output (--out), or the kernel to calculate it"
            raise UsageError(message)
        usual = {"stride": layer.kernel if kind is LayerKind.POOL else 1, "padding": 0, "dilation": 1, "output_padding": 0}
        default |= {name: value for name, value in usual.items() if default[name] is None}
    elif kind is not LayerKind.TRANSPOSED:
        default["output_padding"] = 0
    kernel, stride, dilation = (read_unknown(name, default[name], axes, positive) for name in ("kernel", "stride", "dilation"))
    return Asked(
        kind, shape[1:], (1,) * axes if output is None else output[1:], kernel, stride, dilation,
        read_padding(default["padding"], axes, paddings), read_unknown("output_padding", default["output_padding"], axes, paddings),
        layer.ceil_mode, maximum,
    )  # fmt: skip


def _check_kernel(asked: Asked) -> None:
    """A kernel that fits into no padded input is an error of the question, not a lack of answers."""
    for axis, size in enumerate(asked.sizes):
        kernel, dilation = asked.kernel.ranges[axis][0], asked.dilation.ranges[axis][0]
        extent, most = dilation * (kernel - 1) + 1, asked.padding.totals(axis)[1]
        if asked.kind is not LayerKind.TRANSPOSED and not asked.ceil_mode and size + most < extent:
            fits = (size + most - 1) // dilation + 1
            message = (
                f"kernel {kernel} with dilation {dilation} covers {extent}, more than the padded input {size} + {most}; "
                f"a kernel of at most {fits} fits, or a padding of {-(-(extent - size) // 2)} on both sides"
            )
            raise UsageError(message)


def _calculated(asked: Asked, shape: tuple[int, ...]) -> Asked:
    """The question whose answer is the one setting that was given."""
    named: dict[str, Unknown | Paddings] = {
        "kernel": asked.kernel, "stride": asked.stride, "padding": asked.padding, "dilation": asked.dilation,
        "output_padding": asked.output_padding,
    }  # fmt: skip
    for name, unknown in named.items():
        if not unknown.fixed:
            message = f"{name} is a range, and there is no output to choose it by: give one number, or the output (--out)"
            raise UsageError(message)
    axes = []
    try:
        for axis in range(len(asked.sizes)):
            side = asked.padding.sides[axis]
            pair = (side[0], side[0]) if isinstance(side, range) else side
            kernel, stride, dilation = asked.kernel.ranges[axis][0], asked.stride.ranges[axis][0], asked.dilation.ranges[axis][0]
            extra = asked.output_padding.ranges[axis][0]
            axes.append(AxisSpec(kernel, stride, pair, dilation, asked.kind, extra, asked.ceil_mode))
        targets = shape_after(shape[1:], axes)
    except InvariantError as error:
        message = f"these settings cannot be: {error}; change the padding or the kernel"
        raise UsageError(message) from None
    if max(targets) > LONGEST:
        message = f"{max(targets):,} come out along an axis, more than {LONGEST:,}; take a smaller input or stride"
        raise UsageError(message)
    return replace(asked, targets=targets)
