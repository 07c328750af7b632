"""`torchstone solve conv`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from torchstone.cli.app import errors, say, solving, writable, write
from torchstone.core.errors import UsageError, meant

# What belongs to the whole question wherever it stands; everything else after --then belongs to that layer.
_WHOLE = ("--then", "--max", "--limit", "--all", "--draw", "--svg", "--json", "--help", "-h")
_LAYER = ("kernel", "stride", "padding", "dilation", "output_padding", "channels", "groups", "out")
_FLAGS = {"no_bias": ("bias", False), "bias": ("bias", True), "ceil_mode": ("ceil_mode", True)}


def gathered(words: list[str]) -> list[str]:
    """Layers need no quotes: what follows --then is made one word; --draw alone means the first.

    >>> gathered(["solve", "conv", "--in", "3x8", "--then", "pool", "5", "--then", "conv", "4", "--padding", "1", "--all"])
    ['solve', 'conv', '--in', '3x8', '--then', 'pool 5', '--then', 'conv 4 --padding 1', '--all']
    """
    if words[:2] != ["solve", "conv"]:
        return words
    found, rest = words[:2], words[2:]
    while rest:
        word = rest.pop(0)
        found.append(word)
        if word == "--then":
            length = next((place for place, one in enumerate(rest) if one.partition("=")[0] in _WHOLE), len(rest))
            found.append(" ".join(rest[:length]))
            rest = rest[length:]
        elif word == "--draw" and not (rest and rest[0].lstrip("-").isdecimal()):
            found.append("1")
    return found


_NUMBER = "A number, a range (1..7), or one for each axis (8x5). [default: looked for; without --out as in torch]"
_PADDING = "The same, or before,after (1,2)."
_THEN = (
    "A further layer: conv, pool or transposed, its kernel, and its options (--kernel, --stride, --padding, --dilation, "
    "--output-padding, --channels, --groups, --out, --no-bias, --ceil-mode of a pooling); may be repeated, unquoted."
)


@solving.command(
    "conv",
    epilog="Examples:  torchstone solve conv --in 3x64x64 --out 64x32x32 --kernel 8 --dilation 1 --draw  ·  "
    "torchstone solve conv --in 3x256x256 --channels 64 --kernel 8 --stride 2 --then pool 5 --then conv 4 --channels 128",
)
def conv(  # noqa: PLR0913 - one parameter an option
    *,
    shape: Annotated[str, typer.Option("--in", help="The input: channels, then 1 to 3 sizes, as in 3x64x64.")],
    out: Annotated[str | None, typer.Option(help="The output that is wanted, as in 64x32x32; else it is calculated.")] = None,
    kernel: Annotated[str | None, typer.Option(help=_NUMBER)] = None,
    stride: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    padding: Annotated[str | None, typer.Option(help=_PADDING)] = None,
    dilation: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    output_padding: Annotated[str | None, typer.Option(help="Likewise, of a transposed convolution.")] = None,
    channels: Annotated[str | None, typer.Option(help="Channels after the layer, where there is no --out.")] = None,
    groups: Annotated[str | None, typer.Option(help="Groups of channels. [default: 1]")] = None,
    bias: Annotated[bool, typer.Option("--bias/--no-bias", help="Whether parameters count a bias.")] = True,
    transposed: Annotated[bool, typer.Option("--transposed", help="A transposed convolution.")] = False,
    then: Annotated[list[str] | None, typer.Option(metavar="KIND [KERNEL] ...", help=_THEN)] = None,
    maximum: Annotated[int, typer.Option("--max", help="Nothing that is looked for exceeds this.")] = 64,
    limit: Annotated[int, typer.Option(help="How many solutions are shown.", min=1)] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Show all of them.")] = False,
    draw: Annotated[int | None, typer.Option(metavar="[N]", help="Draw solution N, or layer N of a chain. [default N: 1]")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the drawing to this file as SVG.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the solutions to this file as JSON.")] = None,
) -> None:
    """Find every kernel, stride, padding and dilation that turns one shape into another; or calculate what a chain of layers does.

    Simplest first: what reads every input with a padding smaller than the
    kernel and the least dilation; then what leaves only inputs at the borders
    unread, with such a padding; then what reads every input; then the rest.
    Within each by dilation, kernel, stride and padding. With kernel 1 a
    dilation has no effect: the least is listed.

    Exit code: 0, 1 if nothing fits (with the reason and what comes nearest), 2 for bad input.
    """
    from torchstone.solve.convolution import NothingFitsError

    with errors():
        writable(svg, "--svg")
        writable(json)
        words = {
            "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding,
            "channels": channels, "groups": groups, "out": out,
        }  # fmt: skip
        first = _layer("transposed" if transposed else "conv", words, bias=bias)
        layers = [first, *map(_further, then or ())]
        try:
            found = _answer(shape, layers, maximum)
        except NothingFitsError as error:
            say(str(error))
            raise typer.Exit(1) from None
        _show(found, None if everything else limit, draw if draw or not svg else 1, svg, json)


def _layer(kind: str, words: dict[str, str | None], **flags: Any) -> Any:
    """A layer from its options as they were typed."""
    from torchstone.solve.convolution import Layer

    given: dict[str, Any] = {name: value for name, value in words.items() if value is not None}
    for name in ("channels", "groups"):
        if name in given:
            given[name] = _whole(given[name], name)
    if "out" in given:
        given["output"] = given.pop("out")
    return Layer(kind, **given, **flags)


def _whole(word: str, name: str) -> int:
    try:
        return int(word)
    except ValueError:
        message = f"--{name} must be a whole number; {word!r} came"
        raise UsageError(message) from None


def _further(text: str) -> Any:
    """A layer as it stands after --then: kind, kernel if it comes next, options."""
    words = iter(text.split())
    kind = next(words, "")
    if not kind or kind.startswith("-"):
        message = f"--then is followed by conv, pool or transposed, then its kernel and options; {text!r} came"
        raise UsageError(message)
    given: dict[str, str | None] = {}
    flags: dict[str, Any] = {}
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not word.startswith("--"):
            name, value = "kernel", word
        elif name in _FLAGS:
            flags[_FLAGS[name][0]] = _FLAGS[name][1]
            continue
        _put(given, name, value or _next(words, name, kind), kind)
    return _layer(kind, given, **flags)


def _next(words: Iterator[str], name: str, kind: str) -> str:
    value = next(words, "") if name in _LAYER else "unknown"
    if not value or value.startswith("--"):
        message = f"--then {kind}: --{name.replace('_', '-')} needs a value"
        raise UsageError(message)
    return value


def _put(given: dict[str, str | None], name: str, value: str, kind: str) -> None:
    if name not in _LAYER:
        bare = [one.replace("_", "-") for one in (*_LAYER, *_FLAGS)]
        typed, known = name.replace("_", "-"), [f"--{one}" for one in bare]
        near = meant(f"--{typed}", known) if meant(typed, bare) else ""  # without the dashes, which are alike in all
        message = f"--then {kind} has no option --{typed}{near}; a further layer has {', '.join(known)}"
        raise UsageError(message)
    if name in given:
        message = f"--then {kind} has two values for {name}: {given[name]} and {value}; give one"
        raise UsageError(message)
    given[name] = value


def _answer(shape: str, layers: list[Any], maximum: int) -> Any:
    from torchstone.solve.convolution import chain
    from torchstone.solve.convolution.layer import solve_layer

    return chain(shape, *layers, maximum=maximum) if len(layers) > 1 else solve_layer(shape, layers[0], maximum)


def _show(found: Any, limit: int | None, number: int | None, svg: Path | None, json: Path | None) -> None:
    from torchstone.report import convolution as report
    from torchstone.report.convolution_drawing import draw
    from torchstone.solve.convolution import Chain

    console = Console(highlight=False)
    chained = isinstance(found, Chain)
    many = len(found.rows) if chained else found.total
    if number is not None and many and not 1 <= number <= many:
        message = f"--draw {number}: there are {many}; give a number from 1 to {many}"
        raise UsageError(message)
    if chained:
        report.print_chain(found, console)
        write(json, report.chain_to_json(found))
    else:
        report.print_solutions(found, console, limit)
        write(json, report.solutions_to_json(found, limit))
        if not found.total:
            raise typer.Exit(1)
    if number is not None:
        drawn = draw(found.rows[number - 1].solution if chained else found[number - 1])
        console.print()
        console.print(f"{drawn.title}\n{drawn.text}", soft_wrap=True, markup=False)
        write(svg, drawn.svg)
