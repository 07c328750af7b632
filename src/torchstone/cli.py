"""The command line: arguments to the verbs, exit codes. No traceback of ours reaches a user."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from torchstone.checking import Options, assemble, check_script
from torchstone.core.errors import UsageError
from torchstone.core.finding import Severity
from torchstone.core.report import Report
from torchstone.record.plan import Script

app = typer.Typer(
    name="torchstone",
    help="Holds PyTorch code against the laws of deep learning.",
    epilog="Examples:  torchstone check train.py --lr 0.1  ·  torchstone explain initial-loss-above-uniform",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
FAILED = 2


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


def _version(*, value: bool) -> None:
    if value:
        typer.echo(f"torchstone {version('torchstone')}")
        raise typer.Exit


@app.callback()
def face(
    *, show: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")] = False
) -> None:
    """Holds PyTorch code against the laws of deep learning."""
    del show


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
    with _errors():
        options = Options(_steps(steps), time, trial, record, tuple(select or ()), tuple(ignore or ()), fail_on)
        _writable(json)
        with _progress() as progress:
            report = check_script(Script(script, tuple(arguments or ()), as_module), options, progress)
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
    with _errors():
        options = Options(select=tuple(select or ()), ignore=tuple(ignore or ()), fail_on=fail_on)
        checks = options.validate()
        _writable(json)
        _show(assemble(folder, checks, options), json)


@app.command(epilog="Examples:  torchstone explain  ·  torchstone explain TS101  ·  torchstone explain loss.uniform_cross_entropy")
def explain(name: Annotated[str | None, typer.Argument(help="A finding, its code, or a law; nothing lists them.")] = None) -> None:
    """Print the page of a finding or a law."""
    from torchstone.explaining import explain as page
    from torchstone.explaining import summary

    with _errors():
        console = Console(highlight=False)
        if name is None:
            console.print(summary(), soft_wrap=True, markup=False)
        elif console.is_terminal:
            console.print(Markdown(page(name)))
        else:
            console.print(page(name), soft_wrap=True, markup=False)


@contextmanager
def _errors() -> Iterator[None]:
    """Ours end in one line and exit code 2; a reader that went away ends quietly."""
    try:
        yield
    except UsageError as error:
        _say(str(error))
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except typer.Exit:
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        _say(f"a fault of torchstone itself: {type(error).__name__}: {error}; please report it with the command that you ran")
        raise typer.Exit(FAILED) from None


def _say(message: str) -> None:
    Console(stderr=True, highlight=False).print(f"torchstone: {message}", soft_wrap=True, markup=False)


def _steps(text: str) -> int | None:
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        message = f"--steps needs a whole number of at least 1, or 'all'; {text!r} came"
        raise UsageError(message) from None


def _writable(json: Path | None) -> None:
    """Find out that a file cannot be written before a long run, not after it."""
    if json is None:
        return
    existed = json.exists()
    try:
        with json.open("a"):
            pass
    except OSError as error:
        message = f"--json {json} cannot be written: {error.strerror or error}; name another file"
        raise UsageError(message) from error
    if not existed:
        json.unlink()


def _show(shown: Report, json: Path | None) -> None:
    from torchstone.report.json import to_json
    from torchstone.report.text import print_report

    console = Console(highlight=False)
    console.print()
    print_report(shown, console)
    if json is not None:
        part = json.with_name(json.name + ".part")
        part.write_text(to_json(shown), encoding="utf-8")
        part.replace(json)
    raise typer.Exit(shown.exit_code)


class _Bar:
    """One progress line on standard error while the script runs again; nothing at all in a pipe."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeElapsedColumn())
        self.bar = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, title: str, done: int, steps: int) -> None:
        """Show how far the run with this title is."""
        if title not in self._tasks:
            for task in self._tasks.values():
                self.bar.update(task, visible=False)
            if not self.bar.live.is_started:
                self.bar.start()
            self._tasks[title] = self.bar.add_task(title, total=steps)
        self.bar.update(self._tasks[title], completed=done)


@contextmanager
def _progress() -> Iterator[_Bar | None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    shown = _Bar(console)
    try:
        yield shown
    finally:
        shown.bar.stop()


def main() -> None:
    """The entry point."""
    app(args=separated(sys.argv[1:]))
