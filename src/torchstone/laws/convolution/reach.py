"""Which inputs a chain of windowed layers reads: receptive field, jump, start, and what is left unread. In elements.

Along one axis, positions are bits of a whole number: bit i is position i. Shifting it moves every position at once, so that a
thousand positions cost a few operations. A window of several axes reads a position if it does so along each of them.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind, size_after

_SOURCE = "Araujo, Norris and Sim 2019, Computing receptive fields of convolutional neural networks (Distill)"


@law("convolution.jump", Kind.COUNT, Unit.ELEMENTS, subject=AxisSpec, sources=(f"{_SOURCE}, effective stride",))
def jump(chain: Sequence[AxisSpec]) -> float:
    """Neighbouring outputs of a chain lie the product of its strides apart in the input; a transposed layer divides.

    >>> jump([AxisSpec(8, 2), AxisSpec(5, 5), AxisSpec(4)]), jump([AxisSpec(4, 2, (1, 1), kind=LayerKind.TRANSPOSED)])
    (10.0, 0.5)
    """
    return float(math.prod((_step(axis) for axis in chain), start=Fraction(1)))


def _step(axis: AxisSpec) -> Fraction:
    return Fraction(1, axis.stride) if axis.kind is LayerKind.TRANSPOSED else Fraction(axis.stride)


@law(
    "convolution.receptive_field",
    Kind.COUNT,
    Unit.ELEMENTS,
    subject=AxisSpec,
    assumes=("away from the borders", "holes inside the field count; with transposed layers, the output that reads furthest"),
    sources=(f"{_SOURCE}, equation 2", "transposed layers: the taps of one output, walked back"),
)
def receptive_field(chain: Sequence[AxisSpec]) -> int:
    """An output of a chain reaches over 1 + sum of d_l (k_l - 1) times the jump before layer l inputs.

    >>> receptive_field([AxisSpec(8, 2), AxisSpec(5, 5, kind=LayerKind.POOL), AxisSpec(4, padding=(1, 1))])
    46
    >>> receptive_field([AxisSpec(3, 2, (1, 1), kind=LayerKind.TRANSPOSED), AxisSpec(3)])
    3
    """
    phases = math.prod(axis.stride for axis in chain if axis.kind is LayerKind.TRANSPOSED)
    if phases == 1:
        before = [jump(chain[:index]) for index in range(len(chain))]
        return 1 + sum((axis.extent - 1) * int(step) for axis, step in zip(chain, before, strict=True))
    fields = [_inputs_of({output}, chain) for output in range(phases)]
    return max((max(field) - min(field) + 1 for field in fields if field), default=0)


def _inputs_of(outputs: set[int], chain: Sequence[AxisSpec]) -> set[int]:
    """Which inputs these outputs read, borders left out of account."""
    for axis in reversed(chain):
        taps = range(0, axis.extent, axis.dilation)
        if axis.kind is LayerKind.TRANSPOSED:
            shifted = (output + axis.padding[0] - tap for output in outputs for tap in taps)
            outputs = {position // axis.stride for position in shifted if position % axis.stride == 0}
        else:
            outputs = {output * axis.stride - axis.padding[0] + tap for output in outputs for tap in taps}
    return outputs


@law(
    "convolution.receptive_start",
    Kind.COUNT,
    Unit.ELEMENTS,
    subject=AxisSpec,
    assumes=("no transposed layers", "input 0 is the first; what is negative lies in the padding"),
    sources=(f"{_SOURCE}, equation 4",),
)
def receptive_start(chain: Sequence[AxisSpec]) -> int:
    """The first output of a chain begins reading at minus the sum of p_before times the jump before each layer.

    >>> receptive_start([AxisSpec(8, 2), AxisSpec(5, 5, kind=LayerKind.POOL), AxisSpec(4, padding=(1, 1))])
    -10
    """
    if any(axis.kind is LayerKind.TRANSPOSED for axis in chain):
        message = "where the first output starts is defined for chains without transposed layers; one came"
        raise InvariantError(message)
    return -sum(axis.padding[0] * int(jump(chain[:index])) for index, axis in enumerate(chain))


def read_of_period(axis: AxisSpec) -> tuple[int, int]:
    """Of how many neighbouring positions (the stride) how many are read: min(k, s / gcd(s, d)) of s.

    >>> read_of_period(AxisSpec(3, 4)), read_of_period(AxisSpec(8, 4, dilation=2))
    ((3, 4), (2, 4))
    """
    return min(axis.kernel, axis.stride // math.gcd(axis.stride, axis.dilation)), axis.stride


@law(
    "convolution.read_share",
    Kind.COUNT,
    Unit.RATIO,
    subject=AxisSpec,
    assumes=("away from the borders", "for a transposed convolution: the share of outputs that an input reaches"),
    sources=("taps d j for j < k reach min(k, s / gcd(s, d)) of the s residues modulo s",),
)
def read_share(axes: Sequence[AxisSpec]) -> float:
    """Windows read the share min(k, s / gcd(s, d)) / s of the inputs along each axis, and the product over the axes.

    >>> read_share([AxisSpec(3, 4), AxisSpec(3, 4)]) == 9 / 16
    True
    """
    return math.prod(read / period for read, period in map(read_of_period, axes))


def spaced(count: int, step: int) -> int:
    """`count` bits, `step` apart, the first at 0: a geometric sum.

    >>> bin(spaced(3, 2))
    '0b10101'
    """
    return ((1 << step * count) - 1) // ((1 << step) - 1)


def everything(size: int) -> int:
    """Every position of an axis, as bits."""
    return (1 << size) - 1


def tapped(windows: int, kernel: int, dilation: int) -> int:
    """The positions w + d j of windows that begin at bits w, for every tap j; by doubling the number of taps.

    >>> bin(tapped(spaced(2, 4), kernel=3, dilation=1))
    '0b1110111'
    """
    taps = 1
    while taps < kernel:
        added = min(taps, kernel - taps)
        windows |= windows << dilation * added
        taps += added
    return windows


def _spread(bits: int, step: int) -> int:
    """Bit i moved to i times the step."""
    return int(("0" * (step - 1)).join(f"{bits:b}"), 2)


def _every(bits: int, step: int) -> int:
    """Every bit whose position is a multiple of the step, moved to the position divided by it."""
    return int(f"{bits:b}"[::-1][::step][::-1], 2)


def _reaching(windows: int, targets: int, axis: AxisSpec) -> int:
    """Of so many windows, those with a tap on one of the target positions."""
    # Looked at backwards, a window is reached from a target by the taps in reverse.
    span = axis.extent - 1
    begins = tapped(targets << axis.padding[0], axis.kernel, axis.dilation) >> span
    return _every(begins, axis.stride) & everything(windows)


def _reached(positions: int, windows: int, axis: AxisSpec) -> int:
    """Of so many positions, those on which one of the windows (bits) has a tap."""
    taps = tapped(_spread(windows, axis.stride), axis.kernel, axis.dilation)
    return (taps >> axis.padding[0]) & everything(positions)


def read_positions(size: int, chain: Sequence[AxisSpec]) -> int:
    """Which of `size` inputs along an axis some output of the chain reads, as bits."""
    sizes = _sizes(size, chain)
    needed = everything(sizes[-1])
    for before, axis in reversed([*zip(sizes, chain, strict=False)]):
        crossed = axis.kind is LayerKind.TRANSPOSED
        needed = _reaching(before, needed, axis) if crossed else _reached(before, needed, axis)
    return needed


def informed_positions(size: int, chain: Sequence[AxisSpec]) -> int:
    """Which outputs of the chain along an axis read some input, as bits."""
    informed = everything(size)
    for before, axis in zip(_sizes(size, chain), chain, strict=False):
        after = size_after(before, axis)
        crossed = axis.kind is LayerKind.TRANSPOSED
        informed = _reached(after, informed, axis) if crossed else _reaching(after, informed, axis)
    return informed


def _sizes(size: int, chain: Sequence[AxisSpec]) -> list[int]:
    sizes = [size]
    for axis in chain:
        sizes.append(size_after(sizes[-1], axis))
    return sizes


@law(
    "convolution.unread_inputs",
    Kind.COUNT,
    Unit.ELEMENTS,
    subject=AxisSpec,
    assumes=("one channel", "between the windows, beyond the last window, or cropped by a transposed layer"),
    sources=("the positions s i + d j - p of windows i and taps j, counted once each",),
)
def unread_inputs(shape: Sequence[int], chains: Sequence[Sequence[AxisSpec]]) -> int:
    """What no output of a chain reads is all inputs less the product over the axes of those that are read.

    `shape` has one size an axis, `chains` the chain of each axis. Such inputs change nothing and have no gradient.

    >>> unread_inputs((32, 32), [[AxisSpec(3, 4)], [AxisSpec(3, 4)]])  # 24 of 32 along each axis: 9 of 16
    448
    """
    read = [read_positions(size, chain).bit_count() for size, chain in zip(shape, chains, strict=True)]
    return math.prod(shape) - math.prod(read)


@law(
    "convolution.uninformed_outputs",
    Kind.COUNT,
    Unit.ELEMENTS,
    subject=AxisSpec,
    assumes=("one channel", "a window that lies in the padding alone, or a hole that a transposed convolution leaves"),
    sources=("the windows whose every tap lies outside of the input, counted", "Odena et al. 2016 (Distill), on uneven overlap"),
)
def uninformed_outputs(shape: Sequence[int], chains: Sequence[Sequence[AxisSpec]]) -> int:
    """What reads no input at all is all outputs less the product over the axes of those that read one: a constant, the bias.

    >>> uninformed_outputs((4,), [[AxisSpec(1, 2, kind=LayerKind.TRANSPOSED, output_padding=1)]])  # every second of 8
    4
    """
    sizes = [_sizes(size, chain)[-1] for size, chain in zip(shape, chains, strict=True)]
    informed = [informed_positions(size, chain).bit_count() for size, chain in zip(shape, chains, strict=True)]
    return math.prod(sizes) - math.prod(informed)
