"""`torchstone problems`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from torchstone.cli.app import apart, app, errors, progress, writable, write


def complete_question(typed: str) -> list[str]:
    """Ids that begin as typed, for the shell."""
    from torchstone.problems.answering import all_questions

    return [name for name in all_questions() if name.startswith(typed.upper())]


_IDS = "B5, B7.1, or B7 for all of it; none: all questions."
_BRIEF = "A few lines each, or everything. [default: whole for named IDs]"


@app.command(
    epilog="Examples:  torchstone problems B5  ·  torchstone problems --document B --html b.html  ·  torchstone problems A2.1 B7"
)
def problems(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help=_IDS, autocompletion=complete_question)] = None,
    *,
    document: Annotated[str | None, typer.Option(help="Only the questions of this document, A to E.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the answers to this file as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write them to this file as one HTML page.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list the questions, unanswered.")] = False,
    brief: Annotated[bool | None, typer.Option("--brief/--whole", help=_BRIEF)] = None,
) -> None:
    """Answer the documents' questions by computing them, and hold the posted answers against the same evidence.

    Exit code: 0, or 1 if evidence for one of our own answers does not hold or computing one faulted, 2 for bad input.
    """
    with errors():
        apart(json, html)
        writable(json)
        writable(html, "--html")
        from torchstone.problems.answering import answer, choose
        from torchstone.report.page import to_html
        from torchstone.report.problem import exit_code, print_problems, print_questions, to_json

        console = Console(highlight=False)
        if listed:
            print_questions(choose(*(ids or ()), document=document), console)
            return
        with progress("questions") as bar:
            solved = answer(*(ids or ()), document=document, progress=bar)
        # Files first: a reader of the text that goes away (`| head`) does not cost them.
        write(json, to_json(solved))
        write(html, to_html(solved))
        print_problems(solved, console, whole=bool(ids) if brief is None else not brief)
        raise typer.Exit(exit_code(solved))
