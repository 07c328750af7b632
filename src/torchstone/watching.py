"""`check` and `watch` as Python: the same laws inside a notebook, a test, or a program."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torchstone.checking import Options, check_script, report_of
from torchstone.checks.check import Check
from torchstone.checks.engine import examine
from torchstone.core.errors import UsageError
from torchstone.core.events import RunStarted
from torchstone.core.finding import Severity
from torchstone.core.recording import Recording, decode
from torchstone.core.report import Report
from torchstone.record.plan import DEFAULT_STEPS, Script

_IN_PROCESS = "watched inside a running program, where it cannot be run again; `torchstone check SCRIPT` tries remedies"


@dataclass
class Watched:
    """A block that is or was watched. `report` is complete once the block has ended."""

    checks: tuple[Check, ...]
    fail_on: Severity = Severity.WARNING
    _lines: list[str] = field(default_factory=list, repr=False)

    @property
    def recording(self) -> Recording:
        """What has been recorded so far."""
        events = (decode(line) for line in self._lines)
        return Recording(tuple(event for event in events if event is not None))

    @property
    def report(self) -> Report:
        """The laws held against what has been recorded so far."""
        recording = self.recording
        examination = examine(recording, self.checks)
        findings = tuple(finding.with_remedies((), _IN_PROCESS) for _, finding in examination.findings)
        return report_of(recording, examination, findings, self.fail_on, 0)

    def __str__(self) -> str:
        from torchstone.report.text import report_lines

        return "\n".join(line.plain for line in report_lines(self.report))

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:  # noqa: FBT001 - IPython's own signature
        del cycle
        printer.text(str(self))  # type: ignore[attr-defined]


_watching: list[Watched] = []


@contextmanager
def watch(*, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> Iterator[Watched]:
    """Watch the training inside the block; afterwards `run.report` holds findings and evidence.

        with torchstone.watch() as run:
            train(model, data)
        assert not run.report.findings, run

    The block runs as it would alone: same random numbers, same results. Build the model inside the block
    to have findings name the lines that made it.
    """
    from torchstone.record.hooks import hooked
    from torchstone.record.watcher import Watcher
    from torchstone.record.writer import Collector

    if _watching:
        message = "a block is being watched already; leave it before another watch() begins"
        raise UsageError(message)
    collector = Collector()
    collector.add(RunStarted("(this program)", purpose="watch"), always=True)
    run = Watched(Options(select=tuple(select), ignore=tuple(ignore)).validate(), _lines=collector.lines)
    watcher = Watcher(collector)
    _watching.append(run)
    reason, detail = "finished", ""
    try:
        with ExitStack() as stack:
            stack.enter_context(hooked(watcher))
            yield run
    except BaseException as error:
        reason, detail = "exception", f"{type(error).__name__}: {error}"
        raise
    finally:
        _watching.clear()
        watcher.end(reason, 0, detail)


def check(
    what: str | Path | Callable[[], object],
    arguments: Sequence[str] = (),
    *,
    steps: int | None = DEFAULT_STEPS,
    seconds: float | None = None,
    trial: bool = True,
    record: str | Path | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Report:
    """Check a training script (a path) or a function that trains, and return the report.

    A script runs in a process of its own and its findings come with remedies that were tried; its output goes where this
    program's does. A function runs here and now, to its end, and nothing is tried. UsageError names what cannot be checked.
    """
    if callable(what):
        with watch(select=select, ignore=ignore) as run:
            what()
        return run.report
    options = Options(
        steps, seconds, trial, Path(record) if record is not None else None, tuple(select), tuple(ignore)
    )
    return check_script(Script(str(what), tuple(arguments)), options)
