"""`torchstone check` and `torchstone report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from torchstone.checking import Options, assemble, check_script
from torchstone.cli.app import app, errors, progress, writable, write
from torchstone.core.errors import UsageError
from torchstone.core.finding import Severity
from torchstone.core.report import Report
from torchstone.record.plan import Script

_TAKING = {"--steps", "--time", "--json", "--record", "--select", "--ignore", "--fail-on"}


def separated(words: list[str]) -> list[str]:
    """Like `python`: everything after the script, or after `-m module`, is the script's own. Puts `--` before it.

    >>> separated(["check", "--steps", "5", "train.py", "--lr", "1"])
    ['check', '--steps', '5', '--', 'train.py', '--lr', '1']
    >>> separated(["check", "-m", "package.train", "--help"])
    ['check', '--as-module', '--', 'package.train', '--help']
    """
    if words[:1] != ["check"]:
        return words
    position = 1
    while position < len(words):
        word = words[position]
        if word == "-m":
            return [*words[:position], "--as-module", "--", *words[position + 1 :]]
        if word == "--":
            return words
        if not word.startswith("-"):
            return [*words[:position], "--", *words[position:]]
        position += 2 if word in _TAKING else 1
    return words


@app.command(
    epilog="Examples:  torchstone check train.py  ·  torchstone check --steps 50 train.py --lr 0.1  ·  "
    "torchstone check -m package.train  ·  torchstone check --json report.json --no-trial train.py",
)
def check(  # noqa: PLR0913 - one parameter an option
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="The training script (or -m MODULE), then its own arguments.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Handed to the script unchanged.")] = None,
    *,
    as_module: Annotated[bool, typer.Option("--as-module", "-m", help="SCRIPT is a module, as in `python -m`.")] = False,
    steps: Annotated[str, typer.Option(help="Stop the script after this many optimizer steps, or 'all'.")] = "200",
    time: Annotated[float | None, typer.Option(help="Stop the script after this many seconds.")] = None,
    trial: Annotated[bool, typer.Option("--trial/--no-trial", help="Run the script again to try remedies.")] = True,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file as JSON.")] = None,
    record: Annotated[Path | None, typer.Option(help="Keep the recording in this folder, for `torchstone report`.")] = None,
    select: Annotated[list[str] | None, typer.Option(help="Hold only this finding; may be repeated.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Leave this finding out; may be repeated.")] = None,
    fail_on: Annotated[Severity, typer.Option(help="What makes the exit code 1.")] = Severity.WARNING,
) -> None:
    """Run a training script unchanged, and report what is broken, where, why, and which remedy works.

    Exit code: the script's own if it failed; else 0 with nothing found, 1 with findings, 2 if torchstone could not work.
    """
    with errors():
        options = Options(_steps(steps), time, trial, record, tuple(select or ()), tuple(ignore or ()), fail_on)
        writable(json)
        with progress() as shown:
            report = check_script(Script(script, tuple(arguments or ()), as_module), options, shown)
        if report.run.rank:  # rank 0 reports for all
            raise typer.Exit(report.exit_code)
        _show(report, json)


@app.command(epilog="Example:  torchstone check --record runs/1 train.py; torchstone report runs/1")
def report(
    folder: Annotated[Path, typer.Argument(help="A folder made by `check --record`.")],
    *,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file as JSON.")] = None,
    select: Annotated[list[str] | None, typer.Option(help="Hold only this finding; may be repeated.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Leave this finding out; may be repeated.")] = None,
    fail_on: Annotated[Severity, typer.Option(help="What makes the exit code 1.")] = Severity.WARNING,
) -> None:
    """Report a stored recording again; the script is not run, torch is not imported."""
    with errors():
        options = Options(select=tuple(select or ()), ignore=tuple(ignore or ()), fail_on=fail_on)
        checks = options.validate()
        writable(json)
        _show(assemble(folder, checks, options), json)


def _steps(text: str) -> int | None:
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        message = f"--steps needs a whole number of at least 1, or 'all'; {text!r} came"
        raise UsageError(message) from None


def _show(shown: Report, json: Path | None) -> None:
    from torchstone.report.json import to_json
    from torchstone.report.text import print_report

    console = Console(highlight=False)
    console.print()
    print_report(shown, console)
    write(json, to_json(shown))
    raise typer.Exit(shown.exit_code)
