"""`torchstone explain`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from torchstone.cli.app import app, errors


@app.command(epilog="Examples:  torchstone explain  ·  torchstone explain TS101  ·  torchstone explain loss.uniform_cross_entropy")
def explain(name: Annotated[str | None, typer.Argument(help="A finding, its code, or a law; nothing lists them.")] = None) -> None:
    """Print the page of a finding or a law."""
    from torchstone.explaining import explain as page
    from torchstone.explaining import summary

    with errors():
        console = Console(highlight=False)
        if name is None:
            console.print(summary(), soft_wrap=True, markup=False)
        elif console.is_terminal:
            console.print(Markdown(page(name)))
        else:
            console.print(page(name), soft_wrap=True, markup=False)
