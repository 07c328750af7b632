"""A chain of windowed layers: every shape, and what each layer reads, holds and works."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torchstone.core.errors import UsageError
from torchstone.laws.convolution.cost import ConvSpec
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind
from torchstone.laws.convolution.reach import jump, receptive_field, receptive_start, unread_inputs
from torchstone.solve.convolution.layer import Layer, solve_layer
from torchstone.solve.convolution.solutions import ConvSolution, ConvSolutions
from torchstone.solve.convolution.words import Shape, read_shape, written


class NothingFitsError(UsageError):
    """A layer of a chain was asked for an output that no setting gives; the message says why, and what comes nearest."""


@dataclass(frozen=True, slots=True)
class ChainRow:
    """One layer of a chain: its setting, and one output of it seen from the chain's input, along each axis.

    `start` is where the first output begins to read; None behind a transposed convolution, where outputs differ. `choices` are
    all settings that fit the layer; the first is the one that was taken.
    """

    solution: ConvSolution
    choices: ConvSolutions
    receptive_field: tuple[int, ...]
    jump: tuple[float, ...]
    start: tuple[int, ...] | None

    @property
    def spec(self) -> ConvSpec:
        """The layer."""
        return self.solution.spec


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain from its input (channels, sizes) to its output; sums over the layers."""

    input: tuple[int, ...]
    rows: tuple[ChainRow, ...]

    def __str__(self) -> str:
        """Every layer with the shape after it, one a line."""
        layers = [f"  {row.spec.kind} {row.solution} → {written(row.solution.output)}" for row in self.rows]
        title = f"{written(self.input)} → {written(self.output)}, receptive field {written(self.receptive_field)}"
        return "\n".join([title, *layers])

    @property
    def output(self) -> tuple[int, ...]:
        """Channels and sizes at the end."""
        return self.rows[-1].solution.output

    @property
    def numbers(self) -> int:
        """How many numbers the output has."""
        return math.prod(self.output)

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """How many inputs an output reaches over, along each axis."""
        return self.rows[-1].receptive_field

    @property
    def parameters(self) -> int:
        """Weights and biases of all layers."""
        return sum(row.solution.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Forward, for one row of a batch; a multiply-add is 2; biases and comparisons are not counted."""
        return sum(row.solution.flops for row in self.rows)

    @property
    def unread(self) -> int:
        """Inputs of one channel of the chain's input that no output of the whole chain reads."""
        return unread_inputs(self.input[1:], _lines([row.spec for row in self.rows]))


def _lines(specs: Sequence[ConvSpec]) -> list[list[AxisSpec]]:
    """The layers of each axis."""
    return [list(line) for line in zip(*(spec.axes for spec in specs), strict=True)]


def chain(input: Shape, *layers: Layer, maximum: int = 64) -> Chain:  # noqa: A002 - torch's own word
    """Layers one after another. One that names its `output` is an inverse question; its simplest setting is carried on.

    Raises UsageError for what cannot be, naming the layer, and NothingFitsError where a layer has no setting for its output.

    >>> last = Layer(kernel=4, padding=1, channels=128)
    >>> found = chain("3x256x256", Layer(kernel=8, stride=2, channels=64), Layer("pool", 5), last)
    >>> found.output, found.numbers, found.receptive_field
    ((128, 24, 24), 73728, (46, 46))
    """
    if not layers:
        message = "a chain has one layer or more; none came"
        raise UsageError(message)
    shape = read_shape(input)
    rows: list[ChainRow] = []
    for number, layer in enumerate(layers, start=1):
        where = f"layer {number} ({layer.kind}, from {written(shape)}): " if len(layers) > 1 else ""
        choices = _solved(shape, layer, maximum, where)
        rows.append(_row(choices, [row.spec for row in rows]))
        shape = rows[-1].solution.output
    return Chain(rows[0].solution.input, tuple(rows))


def _solved(shape: tuple[int, ...], layer: Layer, maximum: int, where: str) -> ConvSolutions:
    try:
        choices = solve_layer(shape, layer, maximum)
    except UsageError as error:
        message = f"{where}{error}"
        raise UsageError(message) from None
    if choices.total == 0:
        message = f"{where}nothing gives {written(choices.output)}: {'; '.join(choices.why)}"
        raise NothingFitsError(message)
    return choices


def _row(choices: ConvSolutions, before: list[ConvSpec]) -> ChainRow:
    chosen = choices[0]
    lines = _lines([*before, chosen.spec])
    crossed = any(axis.kind is LayerKind.TRANSPOSED for axis in lines[0])
    return ChainRow(
        chosen,
        choices,
        tuple(map(receptive_field, lines)),
        tuple(map(jump, lines)),
        None if crossed else tuple(map(receptive_start, lines)),
    )
