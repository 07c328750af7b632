"""Answers about windowed layers as tables for people and as JSON."""

import json
import math
from collections.abc import Callable, Sequence
from itertools import islice

from rich.console import Console
from rich.text import Text

from torchstone.laws.convolution.geometry import LayerKind
from torchstone.solve.convolution import Chain, ChainRow, ConvSolution, ConvSolutions

_SHOWN = 3


def print_solutions(found: ConvSolutions, console: Console, limit: int | None = 20) -> None:
    """How many there are, then as many as the limit allows, one a line; or why there is none."""
    for line in solution_lines(found, limit):
        console.print(line, soft_wrap=True, highlight=False)


def solution_lines(found: ConvSolutions, limit: int | None = 20) -> list[Text]:
    """The same, line by line."""
    title = f"{by(found.input)} → {by(found.output)}"
    if not found.total:
        return [Text(f"{title}: no {_word(found)} fits", style="bold"), *(Text(f"  {line}") for line in found.why)]
    shown = list(islice(found, limit))
    lines = [Text(f"{title}: {_counted(found)}", style="bold")]
    if not found.shared:
        lines.append(Text("no single setting fits all axes: each axis has its own", style="yellow"))
    lines += table(*_whole(found, shown))
    if len(shown) < found.total:
        lines.append(Text(f"… {found.total - len(shown):,} more: --all shows them, --limit {2 * len(shown)} some", style="dim"))
    return lines


def by(shape: Sequence[int]) -> str:
    """A shape as it is written, 3x64x64."""
    return "x".join(map(str, shape))


def _word(found: ConvSolutions) -> str:
    names = {LayerKind.CONV: "convolution", LayerKind.POOL: "pooling", LayerKind.TRANSPOSED: "transposed convolution"}
    return names[found.asked.kind]


def _counted(found: ConvSolutions) -> str:
    if found.asked.fixed:
        return f"a {_word(found)} as given"
    number = f"{found.total:,} settings of a {_word(found)} fit" if found.total > 1 else f"one setting of a {_word(found)} fits"
    return f"{number} (each up to {found.asked.maximum}), simplest first"


def _whole(found: ConvSolutions, shown: Sequence[ConvSolution]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows. Outputs that read nothing are told where there are some, and always of a transposed convolution."""
    crossed = found.asked.kind is LayerKind.TRANSPOSED
    columns: dict[str, Callable[[ConvSolution], str]] = {
        "kernel": lambda one: value_words(one.kernel),
        "stride": lambda one: value_words(one.stride),
        "padding": lambda one: value_words(one.padding),
        "dilation": lambda one: value_words(one.dilation),
        **({"output_padding": lambda one: value_words(one.output_padding)} if crossed else {}),
        "parameters": lambda one: f"{one.parameters:,}",
        "FLOPs": lambda one: f"{one.flops:,}",
        "unread inputs": unread_words,
    }
    if crossed or any(one.uninformed for one in shown):
        columns["unwritten outputs" if crossed else "outputs of padding alone"] = uninformed_words
    return list(columns), [[words(one) for words in columns.values()] for one in shown]


def value_words(value: object) -> str:
    """A setting as it can be typed again: 3, 8x5, or 1,2 for before and after.

    >>> value_words(3), value_words((8, 5)), value_words(((1, 2), (0, 0)))
    ('3', '8x5', '1,2x0,0')
    """
    if not isinstance(value, tuple):
        return str(value)
    return "x".join(",".join(map(str, part)) if isinstance(part, tuple) else str(part) for part in value)


def unread_words(one: ConvSolution) -> str:
    """Which inputs nothing reads, along each axis, and the share that windows read away from the borders."""
    if one.unread == 0:
        return "none"
    said = f"{one.unread:,} of {math.prod(one.input[1:]):,}: {_places(one.unread_positions)}"
    read, period = one.read_of_period
    crossed = one.spec.kind is LayerKind.TRANSPOSED
    return said if read == period or crossed or _single(one) else f"{said}; {read} of {period} read"


def uninformed_words(one: ConvSolution) -> str:
    """Which outputs read no input, along each axis: each of them is the bias."""
    if one.uninformed == 0:
        return "none"
    return f"{one.uninformed:,} of {math.prod(one.output[1:]):,}: {_places(one.uninformed_positions)}"


def _single(one: ConvSolution) -> bool:
    """Whether there is one window along every axis: then nothing repeats."""
    return max(one.output[1:]) == 1


def _places(axes: Sequence[Sequence[int]]) -> str:
    words = [runs(places) for places in axes]
    if len(words) > 1 and len(set(words)) == 1:
        return f"{words[0]} along each axis"
    return " and ".join(f"{word} along axis {axis}" if len(words) > 1 else word for axis, word in enumerate(words) if word)


def runs(places: Sequence[int]) -> str:
    """Positions in few words.

    >>> runs([3, 7, 11, 15, 19]), runs([62, 63]), runs([0, 2, 3, 9])
    ('3, 7, …, 19', '62-63', '0, 2-3, 9')
    """
    found: list[list[int]] = []
    for place in places:
        if found and place == found[-1][1] + 1:
            found[-1][1] = place
        else:
            found.append([place, place])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in found]
    return ", ".join(words if len(words) <= _SHOWN else [*words[: _SHOWN - 1], "…", words[-1]])


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Text]:
    """One line a row, as wide as it is."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = []
    for row in (headings, *rows):
        cells = zip(headings, row, widths, strict=True)
        lines.append("  ".join(cell.rjust(width) if heading in _RIGHT else cell.ljust(width) for heading, cell, width in cells))
    return [Text(f"  {line.rstrip()}", style="" if number else "bold") for number, line in enumerate(lines)]


def print_chain(chain: Chain, console: Console) -> None:
    """One line a layer, then the whole chain."""
    for line in chain_lines(chain):
        console.print(line, soft_wrap=True, highlight=False)


_CHAIN = (
    "layer", "setting", "output", "receptive field", "jump", "start", "parameters", "FLOPs", "settings that fit", "unread inputs",
)  # fmt: skip
_RIGHT = {"parameters", "FLOPs", "receptive field", "jump", "start", "settings that fit"}


def chain_lines(chain: Chain) -> list[Text]:
    """The same, line by line."""
    rows = [_layer(number, row) for number, row in enumerate(chain.rows, start=1)]
    unread = f"{chain.unread:,} of {math.prod(chain.input[1:]):,}" if chain.unread else "none"
    field, last = _alike(chain.receptive_field), chain.rows[-1]
    where, cost = (field, _alike(last.jump), _alike(last.start)), (f"{chain.parameters:,}", f"{chain.flops:,}")
    total = ("all", "", by(chain.output), *where, *cost, "", unread)
    return [
        Text(f"{by(chain.input)} → {by(chain.output)}: {len(rows)} layers, {chain.numbers:,} numbers come out", style="bold"),
        *table(_CHAIN, [*rows, total]),
    ]


def _layer(number: int, row: ChainRow) -> tuple[str, ...]:
    one, choices = row.solution, row.choices.total
    spec = one.spec
    settings = {"k": one.kernel, "s": one.stride, "p": one.padding, "d": one.dilation}
    said = " ".join(f"{name}={value_words(value)}" for name, value in settings.items())
    said += f" op={value_words(one.output_padding)}" if spec.kind is LayerKind.TRANSPOSED else ""
    said += f" groups={spec.groups}" if spec.groups > 1 else ""
    said += " ceil" if spec.axes[0].ceil_mode else ""
    where = (_alike(row.receptive_field), _alike(row.jump), _alike(row.start))
    cost = (f"{one.parameters:,}", f"{one.flops:,}", f"{choices:,}", unread_words(one))
    return (f"{number} {spec.kind}", said, by(one.output), *where, *cost)


def _alike(values: Sequence[float] | None) -> str:
    """One number where all axes agree."""
    if values is None:
        return "-"
    words = [f"{value:g}" for value in values]
    return words[0] if len(set(words)) == 1 else "x".join(words)


def solutions_to_json(found: ConvSolutions, limit: int | None = 20) -> str:
    """The question, the number of solutions, and as many of them as the limit allows."""
    plain = {
        "schema": 1, "input": found.input, "output": found.output, "kind": found.asked.kind, "count": found.total,
        "shared": found.shared, "why": list(found.why), "solutions": [_plain(one) for one in islice(found, limit)],
    }  # fmt: skip
    return json.dumps(plain, indent=2) + "\n"


def _plain(one: ConvSolution) -> dict[str, object]:
    axes = one.spec.axes
    return {
        "kernel": [axis.kernel for axis in axes],
        "stride": [axis.stride for axis in axes],
        "padding": [axis.padding for axis in axes],
        "dilation": [axis.dilation for axis in axes],
        "output_padding": [axis.output_padding for axis in axes],
        "groups": one.spec.groups,
        "output": one.output,
        "unread": {"count": one.unread, "of": math.prod(one.input[1:]), "positions": one.unread_positions},
        "uninformed": {"count": one.uninformed, "of": math.prod(one.output[1:]), "positions": one.uninformed_positions},
        "parameters": one.parameters,
        "flops": one.flops,
    }


def chain_to_json(chain: Chain) -> str:
    """Every layer and the totals."""
    layers = [
        {
            "kind": row.spec.kind, **_plain(row.solution), "receptive_field": row.receptive_field, "jump": row.jump,
            "start": row.start, "settings_that_fit": row.choices.total,
        }
        for row in chain.rows
    ]  # fmt: skip
    totals = {
        "output": chain.output, "numbers": chain.numbers, "receptive_field": chain.receptive_field,
        "parameters": chain.parameters, "flops": chain.flops, "unread": chain.unread,
    }  # fmt: skip
    return json.dumps({"schema": 1, "input": chain.input, "layers": layers, "totals": totals}, indent=2) + "\n"
