"""A trial: the same script, seed and steps with one change; then the same law held again."""

import dataclasses
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torchstone.checks.check import Check
from torchstone.core.errors import RecordingError
from torchstone.core.events import ChangeApplied, RunEnded, WritesDiverted
from torchstone.core.evidence import Evidence, Site, Verdict
from torchstone.core.finding import Change, Finding, Probe, Remedy
from torchstone.core.quantity import format_number
from torchstone.core.recording import FILE, Recording, read_recording
from torchstone.core.steps import StepTaken
from torchstone.record.launch import PLAN, launch
from torchstone.record.plan import Plan

OUTPUT = "output.log"
FILE_LIMIT = 200_000
INTERRUPTED = {130, 143, 129, -2, -15, -1}
Progress = Callable[[str, int, int], None]
_ORDER = {Verdict.BROKEN: 0, Verdict.UNDECIDED: 1, Verdict.HOLDS: 2}


def run_again(
    watched: Plan, name: str, steps: int, *, change: Change | None = None, probe: Probe | None = None,
    hidden: Sequence[str] = (), seconds: float | None = None, progress: Progress | None = None,
) -> int:
    """Run the watched script again in its own folder under the recording, its output kept in a file."""
    folder = Path(watched.folder) / name
    plan = dataclasses.replace(
        watched, folder=str(folder), steps=steps, seconds=seconds, purpose="trial" if change else "probe",
        changes=(change,) if change else (), probe=probe, hidden=tuple(hidden),
    )
    title = f"trying: {change.title}" if change else "looking closer"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / OUTPUT).open("wb") as output:
        code = launch(plan, output=output, while_waiting=_telling(folder, title, steps, progress))
    if code in INTERRUPTED:
        raise KeyboardInterrupt
    return code


def _telling(folder: Path, title: str, steps: int, progress: Progress | None) -> Callable[[], None] | None:
    if progress is None:
        return None
    told = progress

    def tell() -> None:
        path = folder / FILE
        done = path.read_bytes().count(b'"StepTaken"') if path.exists() else 0
        told(title, done, steps)

    return tell


def stored(folder: Path, kind: str) -> Iterator[tuple[Plan, Recording, Path]]:
    """The trials or probes that lie under a recording, in order."""
    for path in sorted(folder.glob(f"{kind}-*")):
        try:
            plan = Plan.from_json((path / PLAN).read_text(encoding="utf-8"))
            yield plan, read_recording(path), path
        except (OSError, RecordingError, json.JSONDecodeError, TypeError, KeyError):
            continue  # a trial that was cut off before it began has nothing to say


def remedy_from(
    check: Check, finding: Finding, change: Change, watched: Recording, trial: Recording
) -> tuple[Remedy | None, str]:
    """What a trial measured: a remedy, or None and why it measured nothing."""
    ended = trial.first(RunEnded)
    if trial.steps < watched.steps and (ended is None or ended.reason in {"exception", "interrupted", "time"}):
        how = ended.detail or ended.reason if ended is not None else "it was cut off"
        return None, f"{change.title}: the run with it did not get as far as the first ({how})"
    if trial.first(ChangeApplied) is None:
        return None, f"{change.title}: could not be applied from outside"
    after = _worst(list(check.hold(trial)), finding.main)
    if after is None:
        return None, f"{change.title}: the law could not be held again"
    return Remedy(change, finding.main, after, _cost(watched, trial), _losses(watched, trial)), ""


def _worst(evidence: Sequence[Evidence], before: Evidence) -> Evidence | None:
    """The evidence of the same law at the same place, worst verdict first; anywhere, if the place has gone."""
    same_law = [item for item in evidence if item.law == before.law]
    here = [item for item in same_law if _place(item.site) == _place(before.site)]
    return min(here or same_law, key=lambda item: _ORDER[item.verdict], default=None)


def _place(site: Site) -> tuple[str, str, int]:
    return site.module, site.file, site.line


def _cost(watched: Recording, trial: Recording) -> float | None:
    before, after = _seconds_a_step(watched), _seconds_a_step(trial)
    return after / before if before and after else None


def _seconds_a_step(recording: Recording) -> float | None:
    """The lower quartile of the steps' times: others on the machine only ever add to a time."""
    times = [step.seconds for step in recording.of(StepTaken)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return statistics.quantiles(gaps, n=4)[0] if len(gaps) > 1 else None


def _losses(watched: Recording, trial: Recording) -> str:
    steps = {step.step: step.loss for step in watched.of(StepTaken) if step.loss is not None}
    again = {step.step: step.loss for step in trial.of(StepTaken) if step.loss is not None}
    shared = max(set(steps) & set(again), default=None)
    if shared is None:
        return ""
    return f"loss at step {shared}: {format_number(steps[shared])} -> {format_number(again[shared])}"


def diverted_paths(folder: Path) -> tuple[str, ...]:
    """Every path that a trial or probe under this recording wanted to write."""
    found: dict[str, None] = {}
    for kind in ("trial", "probe"):
        for _, recording, _ in stored(folder, kind):
            for event in recording.of(WritesDiverted):
                found.update(dict.fromkeys(event.paths))
    return tuple(found)


def made_since(began: float, roots: Sequence[Path], apart: Path) -> list[str]:
    """Files under the roots that have appeared or changed since a moment: what the watched run wrote."""
    found: list[str] = []
    looked = 0
    for root in dict.fromkeys(root.resolve() for root in roots):
        for path in _walk(root, apart.resolve()):
            looked += 1
            if looked > FILE_LIMIT:
                return found
            try:
                if path.lstat().st_mtime >= began - 0.01:
                    found.append(str(path))
            except OSError:
                continue
    return found


def _walk(root: Path, apart: Path) -> Iterator[Path]:
    skipped = {".git", ".venv", "venv", "node_modules", "__pycache__"}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.name in skipped or entry == apart:
                continue
            if entry.is_dir() and not entry.is_symlink():
                waiting.append(entry)
            elif not entry.is_dir():
                yield entry


def now() -> float:
    """The clock that file times are compared with."""
    return time.time()
