"""`torchstone trace`."""

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from torchstone.cli.app import app, errors, writable, write
from torchstone.core.errors import UsageError

_FORMULA = "Operators + - * / **, parentheses, pi, e, and functions such as exp log sqrt sin tanh sigmoid relu max(a, b)."
_AT = "The point, x=1,y=pi/2; may be repeated. Its order is the variables' order."
_MODE = "forward, reverse or both. Both by default."
_SEED = "Forward mode's direction: a variable, or x=1,y=-2. Each variable by default."
MOST_DIGITS = 15
_TAKING = {"--at", "--mode", "--seed", "--function", "--precision", "--json", "--latex"}


def formula_last(words: list[str]) -> list[str]:
    """A formula may begin with a minus: it is put at the end, after `--`, or it would be read as an option.

    >>> formula_last(["trace", "-x**2", "--at", "x=-3"])
    ['trace', '--at', 'x=-3', '--', '-x**2']
    >>> formula_last(["trace", "x**2", "--at", "x=3"])
    ['trace', 'x**2', '--at', 'x=3']
    """
    if words[:1] != ["trace"] or "--" in words:
        return words
    position = 1
    while position < len(words):
        word = words[position]
        if word.startswith("-") and word != "-h" and not re.fullmatch(r"--[a-z-]+(=.*)?", word):
            return [*words[:position], *words[position + 1 :], "--", word]
        position += 2 if word in _TAKING else 1
    return words


@app.command(
    epilog="Examples:  torchstone trace '1/(x1+x2) + x2**2 + cos(x1)' --at x1=3,x2=6 --mode forward --seed x1  ·  "
    "torchstone trace 'x*log(x)' --at x=0  ·  torchstone trace --function model.py:energy --at x=1,y=2 --latex trace.tex",
)
def trace(
    formula: Annotated[str | None, typer.Argument(metavar="[FORMULA]", help=_FORMULA)] = None,
    *,
    at: Annotated[list[str] | None, typer.Option(help=_AT)] = None,
    mode: Annotated[str | None, typer.Option(help=_MODE)] = None,
    seed: Annotated[str | None, typer.Option(help=_SEED)] = None,
    function: Annotated[str | None, typer.Option(help="Trace a Python function of torch scalars: file.py:name.")] = None,
    precision: Annotated[int, typer.Option(help="Digits after the point.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write the trace to this file as JSON.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the tables to this file as LaTeX.")] = None,
) -> None:
    """Differentiate a formula at a point: evaluation, derivative and adjoint traces in three-part notation.

    Every row is checked against torch.func.jvp and vjp in float64.
    Exit code: 0, or 1 if a number is not finite or a check fails, 2 for bad input.
    """
    with errors():
        chosen, direction = numbers(at or [], "--at"), None if seed is None else _direction(seed)
        if (formula is None) == (function is None):
            message = "give one of two: a formula, such as 'x**2 + sin(y)', or --function file.py:name"
            raise UsageError(message)
        if not 0 <= precision <= MOST_DIGITS:
            message = f"--precision is a number of digits from 0 to {MOST_DIGITS}; {precision} came"
            raise UsageError(message)
        writable(json)
        writable(latex, "--latex")
        # Imported here: they need torch, and a wrong option should be told at once.
        from torchstone.report.trace import print_trace, to_json, to_latex
        from torchstone.traces.tracing import trace as trace_formula
        from torchstone.traces.tracing import trace_function

        if function is not None:
            from torchstone.traces.function import find_function

            found = trace_function(find_function(function), chosen, mode, direction)
        else:
            found = trace_formula(formula or "", chosen, mode, direction)
        print_trace(found, Console(highlight=False), precision)
        write(json, to_json(found))
        write(latex, to_latex(found, precision))
        raise typer.Exit(found.exit_code)


def numbers(texts: list[str], option: str) -> dict[str, float]:
    """Read 'x=1,y=2'; raises UsageError for what is no number, has no name, or comes twice."""
    found: dict[str, float] = {}
    for part in (piece.strip() for text in texts for piece in text.split(",")):
        name, equals, number = (word.strip() for word in part.partition("="))
        if not equals or not name:
            message = f"{option} needs name=number, such as x=1,y=2; {part!r} came"
            raise UsageError(message)
        if name in found:
            message = f"{option} gives {name} twice: {found[name]:g} and {number}"
            raise UsageError(message)
        found[name] = _number(name, number, option)
    return found


def _number(name: str, text: str, option: str) -> float:
    """A number, or a formula without variables: pi/2, 1/3."""
    from torchstone.traces.expression import evaluate, parse

    try:
        return float(text)
    except ValueError:
        pass
    try:
        return evaluate(parse(f"({text}) + 0*unit"), {"unit": 1.0})
    except UsageError:
        message = f"{option} {name} needs a number, such as 0.5 or pi/2; {text!r} came"
        raise UsageError(message) from None


def _direction(text: str) -> str | dict[str, float]:
    return numbers([text], "--seed") if "=" in text else text.strip()
