"""A recurrent network whose gradient grows over the sequence, so that a step of the optimizer overwrites its weights.

## What it holds
`recurrence.compounded_share`: a step that moves the recurrent weights by more than e^(1/T) - 1 of themselves can multiply what T
steps make of the state by e; broken where it moves them by more than all of themselves. `recurrence.summed_gradient`: without
amplification the first of T steps gets at most T times the gradient of the last. Held on each recurrence, in one step of a second run.

## Why it matters
Such a step follows a gradient that is true for a tiny neighbourhood only, and throws away what was learned: the loss jumps, or
stays on a plateau of saturated units.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
rnn, head = nn.RNN(1, 32, batch_first=True), nn.Linear(32, 2)
nn.init.normal_(rnn.weight_hh_l0, std=0.5)
optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)
for _ in range(40):
    inputs = torch.randn(32, 40, 1)
    states, _ = rnn(inputs)
    loss = nn.functional.cross_entropy(head(states[:, -1]), (inputs.sum((1, 2)) > 0).long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 2 laws broken, 19 held, 1 undecided          example.py · 40 steps · N s · loss 0.7679 → 0.7278
✗ recurrent-gradient-explodes   example.py:10  rnn
  the gradient grows over the sequence and a step overwrites the recurrent weights
  predicted  at most 0.02532 of its norm (e^(1/40) - 1), and surely less than all of it
  measured   477.5 times its norm in step 0
  why        at step 0 the gradient of time step 1 of 40 is 5303 times that of the last steps, a factor of 1.268 a step, where 40 is the most without amplification; the optimizer's step then moved the weights of rnn by 477.5 times its own norm; the loss went from 0.7679 to 0.8887
  remedy tried begin with orthogonal recurrent weights   4.775e+04 % → 2.562 %   law holds   N× time
               nn.init.orthogonal_(rnn.weight_hh_l0)   loss at step 39: 0.7278 -> 0.685
  remedy tried clip the gradient norm at 1   4.775e+04 % → 9.13 %   law holds   N× time
               torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # between backward() and step()   loss at step 39: 0.7278 -> 0.7496
  remedy tried a tenth of the learning rate   4.775e+04 % → 4775 %   law still broken   N× time
               lr=0.1 * lr   loss at step 39: 0.7278 -> 0.7088
  explain: torchstone explain recurrent-gradient-explodes
? undecided: the gradient grew over the sequence at step 0, and that step overwrote the weights   example.py:10  rnn
```

## Remedy
Clip the norm of the gradient before each step (tried at 1), take a tenth of the learning rate, or begin with orthogonal recurrent
weights.

## Silent when
The gradient grows and clipping, a small rate or an optimizer that divides by its size (Adam) keeps the step small; weights move far
without growth over the sequence; losses jump for other reasons.

## Limits
Looked at where a sampled step of plain gradient descent is large, or right before the largest jump of the loss. Where the run
ends in NaN or infinity, that finding (non-finite-value) speaks instead.

## Sources
Pascanu, Mikolov and Bengio 2013, sections 2 and 3.2 (clipping); Saxe, McClelland and Ganguli 2014.
"""

import math
import statistics
from collections.abc import Iterator, Sequence

from torchstone.checks.recurrences import (
    OVERWRITES,
    carrying,
    events_by_site,
    factor_a_step,
    growth_of,
    has_recurrence,
    orthogonal,
    overwriting_step,
)
from torchstone.core.events import NonFiniteSeen
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.quantity import Quantity, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import StepTaken
from torchstone.laws import recurrence

NAME = "recurrent-gradient-explodes"
CODE = "TS131"
LAWS = ("recurrence.compounded_share", "recurrence.summed_gradient")
SINCE = "0.2"

_JUMP = 3.0  # times the largest loss of the steps around: worth a look, no verdict


def look(recording: Recording) -> Probe | None:
    """At the first sampled step of plain descent that is larger than the weights, or right before the largest jump of the loss."""
    if recording.first(NonFiniteSeen) is not None or not has_recurrence(recording):
        return None
    first = overwriting_step(recording)
    if first is not None:
        return Probe("recurrence", first)
    jump = _jump(recording)
    return Probe("recurrence", jump) if jump is not None else None


def _jump(recording: Recording) -> int | None:
    """The step right before the loss was larger than ever, several times over."""
    losses = [(step.step, step.loss) for step in recording.of(StepTaken) if step.loss is not None and math.isfinite(step.loss)]
    if len(losses) < 3:  # noqa: PLR2004 - nothing to jump from
        return None
    usual = statistics.median(abs(loss) for _, loss in losses)
    index = max(range(1, len(losses)), key=lambda i: abs(losses[i][1]) - abs(losses[i - 1][1]))
    before, after = losses[index - 1], losses[index]
    return before[0] if abs(after[1]) > _JUMP * max(usual, abs(before[1]), abs(losses[0][1])) else None


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every recurrence that was looked at: how far the step moved it, and how the gradient grows over the sequence."""
    finite = recording.first(NonFiniteSeen) is None
    for site, event in events_by_site(recording).items():
        growth, most = growth_of(event), recurrence.summed_gradient(1.0, event.length)
        safe = recurrence.compounded_share(event.length)
        reason = "" if finite else "the run ended in values that are not finite: those are told first"
        if growth is None or growth <= most:
            grown = "" if growth is None else f" ({format_number(growth)} from last to first)"
            reason = reason or f"the gradient does not grow over the sequence{grown}"
        moved = event.moved
        yield Evidence(
            LAWS[0], site, Quantity(safe, Unit.RATIO), Quantity(moved, Unit.RATIO), OVERWRITES, Relation.AT_MOST,
            "weights before and after, second run", reason if moved > safe + OVERWRITES.total else "",
        )
        if growth is not None:
            harmless = "" if moved > safe + OVERWRITES.total else f"the step moved the weights by {format_number(moved)} of themselves"
            yield Evidence(
                LAWS[1], site, Quantity(most, Unit.RATIO), Quantity(growth, Unit.RATIO), relation=Relation.AT_MOST,
                how="backward hook, second run", reason=(reason or harmless) if growth > most else "",
            )


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding: the recurrence that was moved furthest leads."""
    events = events_by_site(recording)
    moved = sorted((e for e in broken if e.law == LAWS[0]), key=lambda e: -(e.measured.value if e.measured else 0.0))
    if not moved:
        return
    first = moved[0]
    event = events[first.site]
    rest = tuple(evidence for evidence in broken if evidence is not first)
    factor = factor_a_step(event)
    growth = growth_of(event) or 0.0
    by = f", a factor of {format_number(factor)} a step" if factor is not None else ""
    share = first.measured.value if first.measured else 0.0
    yield Finding(
        NAME, CODE, Severity.ERROR, "the gradient grows over the sequence and a step overwrites the recurrent weights", (first, *rest),
        message=f"at step {event.step} the gradient of time step 1 of {event.length} is {format_number(growth)} times that of the last"
        f" steps{by}, where {event.length} is the most without amplification; the optimizer's step then moved {_named(first.site)} by"
        f" {format_number(share)} times its own norm{_loss_around(event.step, recording)}",
        predicted_as=f"at most {format_number(first.predicted.value)} of its norm (e^(1/{event.length}) - 1), and surely less than all of it",
        measured_as=f"{format_number(share)} times its norm in step {event.step}",
    )


def _named(site: Site) -> str:
    return f"the weights of {site.module}" if site.module else "the weights"


def _loss_around(step: int, recording: Recording) -> str:
    losses = {one.step: one.loss for one in recording.of(StepTaken) if one.loss is not None}
    if step not in losses or step + 1 not in losses:
        return ""
    return f"; the loss went from {format_number(losses[step])} to {format_number(losses[step + 1])}"


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Hold the step back, or begin without amplification."""
    event = events_by_site(recording)[finding.main.site]
    held = [
        Change(
            "clip-gradients", "clip the gradient norm at 1",
            "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # between backward() and step()", {"norm": 1.0},
        ),
        Change("scale-learning-rate", "a tenth of the learning rate", "lr=0.1 * lr", {"factor": 0.1}),
    ]
    if not any("weight_hh" in name and event.kind.startswith(("lstm", "gru")) for s in carrying(event, recording) for name in s.names):
        begun = orthogonal(event, recording)
        held.extend([begun] if begun is not None else [])
    return held


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
