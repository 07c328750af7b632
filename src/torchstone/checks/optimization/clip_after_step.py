"""Gradients are clipped where no step uses what is left of them.

## What it holds
`optimization.clipped_norm`: a step uses a gradient whose norm is at most the limit that the script clips at. Held on
the very tensors that a call of `clip_grad_norm_` or `clip_grad_value_` was given, when the optimizer that holds them steps.

## Why it matters
Clipping changes the gradient that lies in the buffers at that moment. After the step, or before the backward pass, that
is a gradient which nothing uses any more: the run trains without the protection that the script asks for, and says nothing.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
inputs = torch.randn(256, 8)
targets = 20 * inputs[:, :1]
for _ in range(40):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
```

## Report
```text
1 finding: 6 laws broken, 11 held, 0 undecided          example.py · 40 steps · N s · loss 430.7 → 20.44
✗ clip-after-step   example.py:14  optimizer 0
  gradients are clipped where no step uses them
  predicted  a norm of at most 5 at every step
  measured   63.94 at step 2, above the limit in 6 of 6 steps looked at
  why        example.py:14 clips at 5 and finds gradients that the step before had used; a backward pass then makes new ones, and SGD steps with them, unclipped, at example.py:13
  remedy tried clip at 5 right before the step   57.46 norm → 5 norm   law holds   N× time
               clip_grad_norm_(...)  # between backward() and step() at example.py:13, instead of example.py:14   loss at step 39: 20.44 -> 20.85
  explain: torchstone explain clip-after-step
```

## Remedy
Clip between the last backward pass and the step. It is tried by clipping the same tensors, at the same limit, right
before every step of the optimizer.

## Silent when
The gradient is below the limit anyway; micro-batches are clipped one by one and add up; noise or a factor comes onto a
clipped gradient (undecided); the call only reads the norm (an infinite limit); another optimizer's gradients are clipped.

## Limits
Looked at in sampled steps (0, 1, 2, 4, 8, ...). Clipping written by hand is not seen, nor are steps with a closure.

## Sources
Pascanu et al. 2013, section 3.2; torch.nn.utils.clip_grad_norm_.
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import GradientsClipped, OptimizerSeen
from torchstone.laws import optimization

NAME = "clip-after-step"
CODE = "TS163"
LAWS = ("optimization.clipped_norm",)
SINCE = "0.1"

_HALF = 2.0**-8  # the spacing of bfloat16 numbers: what a gradient kept in it may be off by
_FEW = 2


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every clip that was followed to a step."""
    for event in recording.of(GradientsClipped):
        if not event.max_norm > 0 or math.isinf(event.max_norm) or not math.isfinite(event.used):
            continue
        yield Evidence(
            LAWS[0], _site(event), Quantity(optimization.clipped_norm(event.max_norm, event.max_norm), Unit.NORM),
            Quantity(event.used, Unit.NORM),
            Tolerance(rounding=Amount(_HALF * event.max_norm, "gradients in half precision")), Relation.AT_MOST,
            how="optimizer hook", reason=_reason(event, recording),
        )


def _reason(event: GradientsClipped, recording: Recording) -> str:
    """Why a norm above the limit may be meant."""
    if event.used <= event.max_norm * (1 + _HALF):
        return ""
    if event.fresh is None:
        return "what the call saw was not followed back to the step before"
    if event.fresh > 0:
        added = "more was added to it" if event.passes else "it was changed"
        return f"a fresh gradient was clipped and {added} before the step: taken as meant"
    if not event.passes:
        return "no backward pass came between the call and the step: the gradient was put there by hand"
    if _useless(event, recording) < _FEW:
        return "it was seen once only"
    return ""


def _useless(event: GradientsClipped, recording: Recording) -> int:
    """In how many steps this line clipped nothing of use to this optimizer."""
    alike = (other for other in recording.of(GradientsClipped) if _site(other).module == _site(event).module)
    return sum(other.fresh == 0 and other.place == event.place for other in alike)


def _site(event: GradientsClipped) -> Site:
    return Site(f"optimizer {event.optimizer}", event.place.file, event.place.line, event.step, "train")


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each line that clips, whatever optimizers there are."""
    names = {seen.optimizer: seen.class_name for seen in recording.of(OptimizerSeen)}
    events = {_site(event): event for event in recording.of(GradientsClipped)}
    for line in dict.fromkeys((item.site.file, item.site.line) for item in broken):
        mine = tuple(item for item in broken if (item.site.file, item.site.line) == line)
        shown = [events[item.site] for item in mine]
        first, largest = shown[0], max(shown, key=lambda event: event.used)
        found = "gradients that the step before had used" if any(event.total for event in shown) else "no gradient at all"
        every = {event.step for event in recording.of(GradientsClipped) if event.place == first.place}
        yield Finding(
            NAME, CODE, Severity.ERROR, "gradients are clipped where no step uses them", mine,
            message=f"{first.place} clips at {format_number(first.max_norm)} and finds {found};"
            f" a backward pass then makes new ones, and {names.get(first.optimizer, 'the optimizer')} steps with them, unclipped, at"
            f" {first.step_place}",
            predicted_as=f"a norm of at most {format_number(first.max_norm)} at every step",
            measured_as=f"{format_number(largest.used)} at step {largest.step}, above the limit in {len({event.step for event in shown})} of {len(every)} steps looked at",
        )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Clip where it has an effect."""
    site = finding.main.site
    event = next(event for event in recording.of(GradientsClipped) if _site(event) == site)
    call = "clip_grad_value_" if event.by_value else "clip_grad_norm_"
    return (
        Change(
            "clip-before-step", f"clip at {format_number(event.max_norm)} right before the step",
            f"{call}(...)  # between backward() and step() at {event.step_place}, instead of {event.place}",
            {
                "file": site.file, "line": site.line, "limit": event.max_norm, "by_value": event.by_value,
                "norm_type": "inf" if math.isinf(event.norm) else event.norm,
            },
        ),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
