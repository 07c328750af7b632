"""The verb `check`: watch, hold the laws, probe, try remedies, report. Never imports torch: the script runs in a child."""

import contextlib
import functools
import os
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchstone.checks.check import Check, changes_of, chosen, look_of, probe_of
from torchstone.checks.engine import Examination, examine
from torchstone.core.errors import RecordingError, TorchstoneError, UsageError
from torchstone.core.events import FaultRecorded, ReplicaState, RunEnded, TorchLoaded
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.looks import Probed
from torchstone.core.recording import FILE, Recording, read_recording
from torchstone.core.report import Report, RunSummary
from torchstone.core.steps import StepTaken
from torchstone.record.launch import launch
from torchstone.record.plan import DEFAULT_STEPS, Plan, Script
from torchstone.record.ranks import Ranks
from torchstone.remedy import trial as trials
from torchstone.remedy.trial import Progress

_TRIAL_FACTOR, _TRIAL_SLACK = 4.0, 60.0
_LAUNCHERS = {"torchrun", "torch.distributed.run", "torch.distributed.launch"}


@dataclass(frozen=True, slots=True)
class Options:
    """What `check` may be told."""

    steps: int | None = DEFAULT_STEPS
    seconds: float | None = None
    trial: bool = True
    record: Path | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: Severity = Severity.WARNING

    def validate(self) -> tuple[Check, ...]:
        """Refuse what cannot be meant; returns the checks that are left."""
        if self.steps is not None and self.steps < 1:
            message = f"--steps needs a whole number of at least 1, or 'all'; {self.steps} came"
            raise UsageError(message)
        if self.seconds is not None and not self.seconds > 0:
            message = f"--time needs a number of seconds above 0; {self.seconds} came"
            raise UsageError(message)
        return chosen(self.select, self.ignore)


def check_script(script: Script, options: Options, progress: Progress | None = None) -> Report:
    """Check a script from the first run to the report. UsageError for what cannot be checked at all."""
    checks = options.validate()
    script.validate()
    ranks = Ranks.around(os.environ)
    if options.record is not None and (ranks is None or not ranks.rank):
        return _check_in(options.record, script, options, checks, progress)
    with tempfile.TemporaryDirectory(prefix="torchstone-", ignore_cleanup_errors=True) as folder:
        return _check_in(Path(folder), script, options, checks, progress)


def _check_in(folder: Path, script: Script, options: Options, checks: tuple[Check, ...], progress: Progress | None) -> Report:
    _make_room(folder)
    plan = Plan(script, str(folder.resolve()), secrets.randbits(64), options.steps, options.seconds)
    began = trials.now()
    ranks = Ranks.around(os.environ)
    if ranks is not None:
        ranks.announce()
    code = launch(plan)
    exit_code = 128 - code if code < 0 else code
    if not (folder / FILE).exists():
        message = f"the watched process ended (exit code {exit_code}) before it could record anything"
        raise TorchstoneError(message)
    watched = read_recording(folder)
    notes: list[str] = []
    parallel = watched.first(ReplicaState) is not None
    if ranks is not None and not parallel:
        ranks.leave()  # independent runs that were started together
    elif ranks is not None and ranks.rank:
        ranks.hand_in(watched, failed=exit_code != 0)
        return Report(_summary(watched, exit_code, ranks.rank), fail_on=options.fail_on)
    elif ranks is not None:
        ranks.take(folder)
    if options.trial and not parallel and code not in trials.INTERRUPTED and code >= 0 and watched.steps:
        try:
            _probe_and_try(plan, watched, checks, began, progress)
        except KeyboardInterrupt:
            notes.append("interrupted: remedies that are not shown were not tried")
            exit_code = exit_code or 130
    return assemble(folder, checks, options, exit_code, tuple(notes))


def _make_room(folder: Path) -> None:
    """A folder named with --record must be new, empty or an older recording: nothing else of the user's is touched."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = list(folder.iterdir())
        if entries and not (folder / FILE).exists():
            message = f"--record {folder} holds other files; name an empty or new folder"
            raise UsageError(message)
        for old in folder.glob("trial-*/events.jsonl"):
            old.unlink()
        for kind in ("probe", "rank"):
            for old in folder.glob(f"{kind}-*/events.jsonl"):
                old.unlink()
        (folder / FILE).touch()
        (folder / FILE).unlink()
    except OSError as error:
        message = f"--record {folder} cannot be written to: {error.strerror or error}; name another folder"
        raise UsageError(message) from error


def _probe_and_try(plan: Plan, watched: Recording, checks: tuple[Check, ...], began: float, progress: Progress | None) -> None:
    """Probe for places that are not known yet, then try every change of every finding."""
    ended = watched.first(RunEnded)
    seconds = _TRIAL_FACTOR * (ended.seconds if ended else 0) + _TRIAL_SLACK
    folder = Path(plan.folder)
    examination = examine(watched, checks)
    looks = {check.NAME: look for check in checks if (look := look_of(check, watched)) is not None}
    if not examination.findings and not looks:
        return
    roots = (Path.cwd(), Path(plan.script.target).parent)
    again = functools.partial(
        trials.run_again, plan, hidden=trials.made_since(began, roots, folder), seconds=seconds, progress=progress
    )
    wanted = [probe for check, finding in examination.findings if (probe := probe_of(check, finding, watched)) is not None]
    for number, probe in enumerate(dict.fromkeys((*looks.values(), *wanted))):
        again(f"probe-{number}", probe.step + 1, probe=probe)
    watched = _with_probes(watched, folder)
    tried = (
        (look_of(check, watched), change)
        for check, finding in examine(watched, checks).findings
        for change in changes_of(check, finding, watched)[0]
    )
    for number, (look, change) in enumerate(tried):
        again(f"trial-{number:02}", watched.steps, change=change, probe=look)


def _with_probes(watched: Recording, folder: Path) -> Recording:
    found = [event for _, probe, _ in trials.stored(folder, "probe") for event in probe.events]
    return Recording((*watched.events, *(e for e in found if isinstance(e, Probed))), watched.schema)


def assemble(
    folder: Path, checks: Sequence[Check], options: Options, exit_code: int = 0, notes: tuple[str, ...] = ()
) -> Report:
    """The report of everything stored in a folder: the same right after a check and years later."""
    recording = _with_ranks(_with_probes(read_recording(folder), folder), folder)
    examination = examine(recording, checks)
    tried = {_key(plan.changes[0]): recorded for plan, recorded, _ in trials.stored(folder, "trial") if plan.changes}
    findings = tuple(_with_remedies(check, finding, recording, tried, options) for check, finding in examination.findings)
    return report_of(recording, examination, findings, options.fail_on, exit_code, (*notes, *_trial_notes(folder)))


def _with_ranks(watched: Recording, folder: Path) -> Recording:
    """The states of the other ranks of the same run, if they were watched too."""
    found: list[ReplicaState] = []
    for path in sorted(folder.glob("rank-*")):
        with contextlib.suppress(RecordingError):
            found.extend(read_recording(path).of(ReplicaState))
    return Recording((*watched.events, *found), watched.schema)


def _key(change: Change) -> str:
    return f"{change.kind} {change.title} {sorted(change.arguments.items())}"


def _with_remedies(
    check: Check, finding: Finding, recording: Recording, tried: dict[str, Recording], options: Options
) -> Finding:
    changes, why_none = changes_of(check, finding, recording)
    if not changes:
        return finding.with_remedies((), why_none)
    if not options.trial or not tried:
        titles = "; ".join(f"{change.title} ({change.patch})" for change in changes)
        return finding.with_remedies((), f"not tried: {titles}")
    remedies, failures = [], []
    for change in changes:
        recorded = tried.get(_key(change))
        if recorded is None:
            failures.append(f"{change.title}: not tried")
            continue
        remedy, failure = trials.remedy_from(check, finding, change, recording, recorded)
        if remedy is not None:
            remedies.append(remedy)
        else:
            failures.append(failure)
    return finding.with_remedies(tuple(remedies), "; ".join(failures))


def _trial_notes(folder: Path) -> tuple[str, ...]:
    paths = trials.diverted_paths(folder)
    if not paths:
        return ()
    shown = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")  # noqa: PLR2004 - a line's worth
    return (f"trials wrote nothing of yours: writes to {shown} were diverted",)


def report_of(
    recording: Recording, examination: Examination, findings: tuple[Finding, ...], fail_on: Severity,
    exit_code: int, notes: tuple[str, ...] = (),
) -> Report:
    """Run, evidence and findings as one report."""
    faults = tuple(f"{fault.where}: {fault.error}" for fault in recording.of(FaultRecorded))
    run = _summary(recording, exit_code)
    return Report(
        run, examination.evidence, findings, (*faults, *examination.faults), (*_run_notes(recording, run), *notes), fail_on
    )


def _summary(recording: Recording, exit_code: int, rank: int = 0) -> RunSummary:
    ended = recording.first(RunEnded)
    losses = [step.loss for step in recording.of(StepTaken) if step.loss is not None]
    last = recording.of(StepTaken)[-1].seconds if recording.steps else 0.0
    started = recording.started
    return RunSummary(
        started.script, started.arguments, recording.steps, ended.backward_passes if ended else 0,
        ended.seconds if ended else last, ended.reason if ended else "killed", exit_code,
        losses[0] if losses else None, losses[-1] if losses else None, rank,
    )


def _run_notes(recording: Recording, run: RunSummary) -> tuple[str, ...]:
    reasons = {
        "steps": f"the script was stopped after {run.steps} optimizer steps (--steps; --steps all runs it to its end)",
        "time": f"the script was stopped after {run.seconds:.0f} s (--time)",
        "killed": f"the script was killed after step {run.steps}; this is what had been recorded",
        "interrupted": "the script was interrupted; remedies were not tried",
        "exception": f"the script failed with exit code {run.exit_code}",
    }
    notes = [reasons[run.reason]] if run.reason in reasons else []
    ended = recording.first(RunEnded)
    if recording.first(TorchLoaded) is None:
        notes.append(f"nothing to hold: the script never imported torch (it ran {run.seconds:.1f} s)")
    elif not run.steps and not (ended and ended.backward_passes):
        notes.append(f"nothing to hold: no backward pass seen in {run.seconds:.1f} s")
    if Path(run.script).name in _LAUNCHERS or run.script in _LAUNCHERS:
        notes.append("ranks are processes of their own; each is watched with `torchrun ... -m torchstone check SCRIPT`")
    if recording.first(ReplicaState) is not None:
        ranks = len({state.rank for state in recording.of(ReplicaState)})
        notes.append(
            f"rank 0 reports, {ranks} ranks were seen; no second run was made, in which one rank would wait for the others"
        )
    if ended and ended.dropped:
        notes.append(f"{ended.dropped} detailed events were left out to keep the recording small")
    return tuple(notes)

