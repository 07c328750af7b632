"""What every verb shares on the command line: the application, errors, files, the progress line. No traceback reaches a user."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from torchstone.core.errors import UsageError, told
from torchstone.core.files import whole

app = typer.Typer(
    name="torchstone",
    help="Holds PyTorch code against the laws of deep learning.",
    epilog="Examples:  torchstone check train.py --lr 0.1  ·  torchstone explain initial-loss-above-uniform  ·  "
    "torchstone solve conv --in 3x64x64 --out 64x32x32  ·  torchstone trace 'x*sin(y)' --at x=1,y=2",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
solving = typer.Typer(help="The inverse questions: what to choose so that a law gives what you want.", no_args_is_help=True)
app.add_typer(solving, name="solve")
FAILED = 2
INTERRUPTED = 130
CLOSED = 141  # as of any program whose reader went away: 128 + SIGPIPE


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


@contextmanager
def errors() -> Iterator[None]:
    """Ours end in one line and exit code 2; a reader that went away ends quietly."""
    try:
        yield
    except UsageError as error:
        say(str(error))
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:
        _drop_output()
        raise typer.Exit(CLOSED) from None
    except SystemExit:  # how rich ends where the reader went away; nothing of ours raises it
        raise typer.Exit(CLOSED) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except typer.Exit:
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full:
            _drop_output()
        fault = f"a fault of torchstone itself: {told(error)}; please report it with the command that you ran"
        say("there is no room for the output: make some, or write it elsewhere" if full else fault)
        raise typer.Exit(FAILED) from None


def _drop_output() -> None:
    """What still lies in the buffer goes nowhere: Python's own flush at the end would fail again, with exit code 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """One line to standard error."""
    Console(stderr=True, highlight=False).print(f"torchstone: {message}", soft_wrap=True, markup=False)


def writable(path: Path | None, option: str = "--json") -> None:
    """Find out that a file cannot be written before a long run, not after it. Pipes wait for what is to be said."""
    if path is None or path.is_fifo() or path.is_char_device():
        return
    existed = path.exists()
    try:
        with path.open("a"):
            pass
    except OSError as error:
        message = f"{option} {path} cannot be written: {error.strerror or error}; name another file"
        raise UsageError(message) from error
    if not existed:
        path.unlink()


def apart(*paths: Path | None) -> None:
    """Refuse two outputs into one file: the second would replace the first."""
    named = [path.resolve() for path in paths if path is not None]
    if len(set(named)) < len(named):
        message = f"two outputs go to {named[0]}; name a file for each"
        raise UsageError(message)


def write(path: Path | None, text: str) -> None:
    """Write a whole file or none of it; a link stays a link, and a pipe or a device is written to as it is."""
    if path is None:
        return
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        with whole(path.resolve()) as part:
            part.write_text(text, encoding="utf-8")
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}; name another file"
        raise UsageError(message) from error


class Bar:
    """One progress line on standard error while something long runs; nothing at all in a pipe."""

    def __init__(self, console: Console, unit: str) -> None:
        counted = (MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn())
        shares = (TaskProgressColumn(), TimeElapsedColumn(), TextColumn("·"), TimeRemainingColumn(), TextColumn("left"))
        # What takes minutes has a slow and uneven pace: the time left is told from all of the last half hour.
        columns = (TextColumn("{task.description}"), BarColumn(), *(counted if unit else shares))
        self.bar = Progress(*columns, console=console, transient=True, speed_estimate_period=1800)
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
def progress(unit: str = "steps") -> Iterator[Bar | None]:
    """The progress line while the block runs, or None where nobody would see it; without a unit, percent and the time left."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    shown = Bar(console, unit)
    try:
        yield shown
    finally:
        shown.bar.stop()
