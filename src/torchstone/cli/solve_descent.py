"""`torchstone solve descent`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from torchstone.cli.app import apart, errors, solving, writable, write

_START = "Where the run begins: 1, pi/2, x=1,y=2, or 1,2 in the order of the variables."
_OPTIMIZER = "gradient, momentum (V = βV + g), averaged (V = βV + (1−β)g) or nesterov (torch's)."


def complete_optimizer(typed: str) -> list[str]:
    """Optimizers that begin as typed, for the shell."""
    from torchstone.laws.optimization.dynamics import OPTIMIZERS

    return [name for name in OPTIMIZERS if name.startswith(typed)]


@solving.command(
    "descent",
    epilog="Examples:  torchstone solve descent --function 'x**2/4' --start 1 --steps 1  ·  torchstone solve descent "
    "--function 'x**2/4' --start 1 --steps 2 --optimizer momentum --learning-rate 1  ·  torchstone solve descent "
    "--function 'x**2 + 10*y**2 - x'",
)
def descent(  # noqa: PLR0913 - one parameter an option
    function: Annotated[str, typer.Option(help="What is minimised: a formula in any variables, such as 'x**2/4'.")],
    *,
    start: Annotated[str | None, typer.Option(help=_START)] = None,
    steps: Annotated[int | None, typer.Option(help="In how many steps to arrive; without, the best fixed settings.")] = None,
    optimizer: Annotated[str, typer.Option(help=_OPTIMIZER, autocompletion=complete_optimizer)] = "gradient",
    learning_rate: Annotated[str | None, typer.Option(help="The learning rate η, if given: 0.1 or 1/10.")] = None,
    momentum: Annotated[str | None, typer.Option(help="The momentum β, if given.")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draw the run on the graph of a function of one variable.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Write the drawing to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the solution to this file as JSON.")] = None,
) -> None:
    """Find the learning rate or momentum that reaches a minimum in so many steps, or the best; with all given, run them.

    What is not given is solved for, exactly, and every answer is run. Exit code: 0, or 2 for a question without an answer.
    """
    from torchstone.report.descent import print_descent, to_json
    from torchstone.solve import descent as solve

    with errors():
        apart(json, svg)
        writable(json)
        writable(svg, "--svg")
        solution = solve(function, read_start(start), steps, optimizer, learning_rate, momentum)
        drawn = solution.drawing().svg if svg else ""
        print_descent(solution, Console(highlight=False), draw=draw)
        write(json, to_json(solution))
        write(svg, drawn)


def read_start(text: str | None) -> str | list[str] | dict[str, str] | None:
    """A number, numbers in order, or numbers by name: what `solve.descent` takes. Raises UsageError for a name that is given twice.

    >>> read_start("1/2"), read_start("1, 2"), read_start("x=1, y=2")
    ('1/2', ['1', '2'], {'x': '1', 'y': '2'})
    """
    from torchstone.core.errors import UsageError

    if text is None or "=" not in text:
        return text if text is None or "," not in text else [part.strip() for part in text.split(",")]
    pairs = [part.partition("=") for part in text.split(",")]
    names = [name.strip() for name, _, _ in pairs]
    if len(set(names)) < len(names) or not all(sign for _, sign, _ in pairs):
        message = f"--start is a number, or one value for each variable, such as x=1,y=2; {text!r} came"
        raise UsageError(message)
    return {name: value.strip() for name, (_, _, value) in zip(names, pairs, strict=True)}
