"""A learning rate schedule moves several times for each step of its optimizer.

## What it holds
`optimization.schedule_moves`: a schedule moves once for each optimizer step, or more rarely (once an epoch). Held on
how far every schedule of `torch.optim.lr_scheduler` has come between the steps of its optimizer.

## Why it matters
With gradients accumulated over k micro-batches, a schedule that moves in each of them runs k times too fast: warm-up is over
k times too early, and a decay laid out for the whole run ends after a k-th of it. The rest trains at the last rate.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
steps, accumulate = 40, 4
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)
for step in range(steps):
    optimizer.zero_grad()
    for _ in range(accumulate):
        inputs = torch.randn(16, 8)
        loss = nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(1))
        (loss / accumulate).backward()
        if _ == accumulate - 1:
            optimizer.step()
        schedule.step()
```

## Report
```text
1 finding: 1 law broken, 13 held, 0 undecided          example.py · 40 steps · N s · loss 0.2942 → 0.2226
✗ scheduler-steps-per-batch   example.py:17  schedule 0 of optimizer 0
  the schedule runs ahead of its optimizer's steps
  predicted  at most 39 moves in 39 steps of SGD
  measured   156 moves, 4 for each step
  why        LinearLR moves 4 times for each step of SGD, at example.py:17; its 40 moves were over after about 10 of the 39 steps
  remedy tried move the schedule only after a step of its optimizer   156 → 39   law holds   N× time
               scheduler.step()  # right after optimizer.step(), under the same `if`, instead of example.py:17   loss at step 39: 0.2226 -> 0.06763
  explain: torchstone explain scheduler-steps-per-batch
```

## Remedy
`scheduler.step()` right after `optimizer.step()`, under the same condition. It is tried by letting only those moves
through that follow a step of the optimizer.

## Silent when
The schedule moves once an epoch; steps are skipped now and then (a gradient scaler's overflow); the schedule is as long as
the micro-batches are many, or is set to a position (`step(epoch + i / n)`); another optimizer steps in between (undecided).

## Limits
Schedules that are no `LRScheduler`, or that override `step`, are not seen. Whether a schedule was laid out in steps or in
micro-batches shows only where it has an end; one without (`ExponentialLR`) is taken to be laid out in steps.

## Sources
torch.optim, "How to adjust learning rate"; accelerate #963; diffusers #3954.
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import ScheduleCalled
from torchstone.core.place import Place
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording
from torchstone.core.steps import OptimizerSeen, ScheduleFollowed
from torchstone.laws import optimization

NAME = "scheduler-steps-per-batch"
CODE = "TS165"
LAWS = ("optimization.schedule_moves",)
SINCE = "0.1"

_FEW = 3
_MOST = 0.75  # skipped steps are the exception where a schedule moves with the steps; moves of more than one are the rule here
_LAMBDA = "LambdaLR"


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every schedule, over all that was seen of it."""
    for event in _last(recording):
        yield Evidence(
            LAWS[0], _site(event, recording), Quantity(optimization.schedule_moves(event.moved), Unit.COUNT),
            Quantity(event.advanced, Unit.COUNT), relation=Relation.AT_MOST, how="optimizer hook", reason=_reason(event, recording),
        )


def _last(recording: Recording) -> Sequence[ScheduleFollowed]:
    return tuple({event.schedule: event for event in recording.of(ScheduleFollowed)}.values())


def _reason(event: ScheduleFollowed, recording: Recording) -> str:
    """Why a schedule may be meant to move so often."""
    if event.advanced <= event.moved:
        return ""
    if doubt := _doubt(event):
        return doubt
    called = _called(event, recording)
    if event.class_name == _LAMBDA and called is None:
        return "how long the schedule is has not been looked at"
    return _laid_out(event, _horizon(event, recording), recording)


def _doubt(event: ScheduleFollowed) -> str:
    doubts = (
        (event.jumps > 0, "the schedule is set to positions of the script's own"),
        (event.doubled < _MOST * event.moved, "it mostly moves once for each step: taken as steps that were skipped"),
        (event.moved < _FEW, f"only {event.moved} of its moves were seen"),
        (event.shared > event.moved / 2, "another optimizer steps in between: taken as a clock that they share"),
    )
    return next((reason for applies, reason in doubts if applies), "")


def _horizon(event: ScheduleFollowed, recording: Recording) -> int:
    called = _called(event, recording)
    return called.horizon if called is not None and called.horizon >= 0 else event.horizon


def _laid_out(event: ScheduleFollowed, horizon: int, recording: Recording) -> str:
    """Whether a schedule with an end may be laid out in micro-batches: it is then as long as they are many."""
    if horizon < 0:
        return ""
    cut = recording.ended is None or recording.ended.reason not in {"finished", "exit", "exception"}
    if cut and horizon >= event.advanced:
        return f"watching ended before the schedule did: its {horizon} moves may be meant for micro-batches"
    # Nearer to the number of all moves than to that of the steps, by the factor that lies between.
    if not cut and horizon > math.sqrt(event.moved * event.advanced):
        return f"its length of {horizon} fits the {event.advanced} moves: taken as laid out in micro-batches"
    return ""


def _called(event: ScheduleFollowed, recording: Recording) -> ScheduleCalled | None:
    return next((called for called in recording.of(ScheduleCalled) if called.schedule == event.schedule), None)


def _place(event: ScheduleFollowed, recording: Recording) -> Place:
    called = _called(event, recording)
    return called.place if called is not None and called.place else event.place


def _site(event: ScheduleFollowed, recording: Recording) -> Site:
    place = _place(event, recording)
    return Site(f"schedule {event.schedule} of optimizer {event.optimizer}", place.file, place.line, event.step, "train")


def look(recording: Recording) -> Probe | None:
    """Find the line, and how long a schedule is that does not say."""
    ahead = [event for event in _last(recording) if event.advanced > event.moved and not _doubt(event)]
    return Probe("schedule", 3) if any(not _laid_out(event, event.horizon, recording) for event in ahead) else None


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each schedule."""
    names = {seen.optimizer: seen.class_name for seen in recording.of(OptimizerSeen)}
    events = {_site(event, recording): event for event in _last(recording)}
    for item in broken:
        event = events[item.site]
        called = _called(event, recording)
        horizon = _horizon(event, recording)
        optimizer = names.get(event.optimizer, "the optimizer")
        end = (
            f"; its {horizon} moves were over after about {max(horizon // event.usual, 1)} of the {event.moved} steps"
            if 0 <= horizon < event.advanced else ""
        )
        where = f"at {called.place}" if called is not None else f"built at {event.place}"
        yield Finding(
            NAME, CODE, Severity.ERROR if end else Severity.WARNING, "the schedule runs ahead of its optimizer's steps", (item,),
            message=f"{event.class_name} moves {event.usual} times for each step of {optimizer}, {where}{end}",
            predicted_as=f"at most {event.moved} moves in {event.moved} steps of {optimizer}",
            measured_as=f"{event.advanced} moves, {event.usual} for each step",
        )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Let it move after a step only."""
    event = next(event for event in _last(recording) if _site(event, recording) == finding.main.site)
    return (
        Change(
            "step-schedule-once", "move the schedule only after a step of its optimizer",
            f"scheduler.step()  # right after optimizer.step(), under the same `if`, instead of {_place(event, recording)}",
            {"schedule": event.schedule},
        ),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
