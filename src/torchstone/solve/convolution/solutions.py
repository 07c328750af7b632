"""The answers to an inverse question about a windowed layer: a sequence that knows its length and finds its members in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

from torchstone.laws.convolution.cost import ConvSpec, flops, parameters
from torchstone.laws.convolution.geometry import AxisSpec, shape_after
from torchstone.laws.convolution.reach import (
    everything,
    informed_positions,
    read_of_period,
    read_positions,
    uninformed_outputs,
    unread_inputs,
)
from torchstone.solve.convolution.obstacle import obstacles, setting_words
from torchstone.solve.convolution.search import Asked, Pair
from torchstone.solve.convolution.settings import SeparateSettings, SharedSettings
from torchstone.solve.convolution.words import written

Value = int | tuple[int, ...]
# Of the settings that are printed.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ConvSolution:
    """A setting that fits: the input it was found for (channels, sizes) and the layer as a ConvSpec.

    A property such as `kernel` is one number where all axes agree, else one for each axis.
    """

    input: tuple[int, ...]
    spec: ConvSpec

    def __str__(self) -> str:
        """Its setting in words, for each axis where they differ."""
        return " | ".join(dict.fromkeys(map(setting_words, self.spec.axes)))

    @property
    def output(self) -> tuple[int, ...]:
        """Channels and sizes after the layer."""
        return (self.spec.out_channels, *shape_after(self.input[1:], self.spec.axes))

    @property
    def kernel(self) -> Value:
        """Taps of the window."""
        return _plain([axis.kernel for axis in self.spec.axes])

    @property
    def stride(self) -> Value:
        """Positions from one window to the next; of a transposed convolution, from one input's outputs to the next one's."""
        return _plain([axis.stride for axis in self.spec.axes])

    @property
    def padding(self) -> Value | tuple[Pair, ...]:
        """What is added on both sides; (before, after) for each axis where the sides differ."""
        pairs = tuple(axis.padding for axis in self.spec.axes)
        return _plain([before for before, _ in pairs]) if all(before == after for before, after in pairs) else pairs

    @property
    def dilation(self) -> Value:
        """Positions from one tap to the next."""
        return _plain([axis.dilation for axis in self.spec.axes])

    @property
    def output_padding(self) -> Value:
        """Outputs that a transposed convolution adds at the end."""
        return _plain([axis.output_padding for axis in self.spec.axes])

    @property
    def overlapping(self) -> bool:
        """Whether neighbouring windows share positions along some axis."""
        return any(axis.extent > axis.stride for axis in self.spec.axes)

    @property
    def unread(self) -> int:
        """Inputs of one channel that no output reads."""
        return unread_inputs(self.input[1:], [[axis] for axis in self.spec.axes])

    @property
    def unread_positions(self) -> tuple[tuple[int, ...], ...]:
        """Along each axis, the positions that no output reads: with the products over the axes, all that is unread."""
        lines = zip(self.input[1:], self.spec.axes, strict=True)
        return tuple(_missing(size, read_positions(size, [axis])) for size, axis in lines)

    @property
    def uninformed(self) -> int:
        """Outputs of one channel that read no input: windows in the padding, holes of a transposed convolution."""
        return uninformed_outputs(self.input[1:], [[axis] for axis in self.spec.axes])

    @property
    def uninformed_positions(self) -> tuple[tuple[int, ...], ...]:
        """Along each axis, the outputs that read no input."""
        lines = zip(self.input[1:], self.output[1:], self.spec.axes, strict=True)
        return tuple(_missing(after, informed_positions(size, [axis])) for size, after, axis in lines)

    @property
    def read_of_period(self) -> tuple[int, int]:
        """Away from the borders: how many inputs of one period of the windows are read, and how many it has (9 of 16)."""
        read, period = 1, 1
        for some, of in map(read_of_period, self.spec.axes):
            read, period = read * some, period * of
        return read, period

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return parameters(self.spec)

    @property
    def flops(self) -> int:
        """Forward, for one row of a batch; a multiply-add is 2, the bias is not counted."""
        return flops(self.spec, self.input[1:])


def _plain(values: list[int]) -> Value:
    return values[0] if len(set(values)) == 1 else tuple(values)


def _missing(size: int, positions: int) -> tuple[int, ...]:
    bits = f"{positions ^ everything(size):b}"[::-1]
    return tuple(place for place, bit in enumerate(bits) if bit == "1")


class ConvSolutions(Sequence[ConvSolution]):
    """Every setting that fits, simplest first. The length is exact at once; members are found as they are asked for.

    `conv` tells the order: small paddings and dilations that read the input come first.
    `shared` says whether one setting serves all axes; only where none does are the axes' own settings combined. `why` says
    in a few lines what stands against it where nothing fits, with the nearest questions that have an answer.
    """

    def __init__(self, shape: tuple[int, ...], asked: Asked, channels: tuple[int, int, bool]) -> None:
        self.input, self.asked, self._channels = shape, asked, channels
        self._settings = _settings(asked)
        self._found: list[ConvSolution] = []
        self._source = map(self._solution, self._settings)

    @property
    def output(self) -> tuple[int, ...]:
        """Channels and sizes that every member gives."""
        return (self._channels[0], *self.asked.targets)

    @property
    def shared(self) -> bool:
        """Whether one setting serves all axes."""
        return self._settings.shared

    @property
    def total(self) -> int:
        """How many there are; as `len`, and exact where that many do not fit into `len`."""
        return self._settings.count

    @property
    def why(self) -> tuple[str, ...]:
        """Where nothing fits: what stands against it, and what would fit."""
        return obstacles(self.asked) if self.total == 0 else ()

    def _solution(self, axes: tuple[AxisSpec, ...]) -> ConvSolution:
        out, groups, bias = self._channels
        return ConvSolution(self.input, ConvSpec(axes, self.input[0], out, groups, bias=bias))

    def __len__(self) -> int:
        return self.total

    @overload
    def __getitem__(self, index: int) -> ConvSolution: ...
    @overload
    def __getitem__(self, index: slice) -> list[ConvSolution]: ...

    def __getitem__(self, index: int | slice) -> ConvSolution | list[ConvSolution]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.total))]
        place = index + self.total if index < 0 else index
        if not 0 <= place < self.total:
            message = f"there are {self.total} solutions; number {index} was asked for"
            raise IndexError(message)
        self._found += islice(self._source, max(0, place + 1 - len(self._found)))
        return self._found[place]

    def __iter__(self) -> Iterator[ConvSolution]:
        return map(self._solution, self._settings)

    def __contains__(self, one: object) -> bool:
        """Whether a ConvSolution, or a ConvSpec, is among them; by the law, without a search."""
        spec = one.spec if isinstance(one, ConvSolution) else one
        if not isinstance(spec, ConvSpec) or (isinstance(one, ConvSolution) and one.input != self.input):
            return False
        out, groups, bias = self._channels
        layer = (spec.in_channels, spec.out_channels, spec.groups, spec.bias, spec.kind, len(spec.axes))
        if layer != (self.input[0], out, groups, bias, self.asked.kind, len(self.asked.sizes)):
            return False
        return self.asked.allows(spec.axes, tied=self.shared) and self.asked.reaches(spec.axes)

    def __str__(self) -> str:
        """The simplest settings, one a line; where nothing fits, why."""
        title = f"{written(self.input)} → {written(self.output)}"
        if not self.total:
            return "\n".join([f"{title}: no {self.asked.kind} fits", *(f"  {line}" for line in self.why)])
        shown = [f"  {one}" for one in self[:_SHOWN]]
        more = [f"  … {self.total - _SHOWN:,} more"] if self.total > _SHOWN else []
        title += f": {self.total:,} {self.asked.kind} setting{'s' * (self.total > 1)}, simplest first"
        return "\n".join([title, *shown, *more])

    def __repr__(self) -> str:
        return f"<{self.total} settings of a {self.asked.kind} from {self.input} to {self.output}>"


def _settings(asked: Asked) -> SharedSettings | SeparateSettings:
    """One setting for all axes where there is one, else each axis its own."""
    shared = SharedSettings(asked)
    if shared.count or len(asked.sizes) == 1:
        return shared
    separate = SeparateSettings(asked)
    return separate if separate.count else shared

