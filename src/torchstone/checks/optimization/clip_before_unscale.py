"""Gradients are clipped while the loss scale of mixed precision still multiplies them.

## What it holds
`optimization.clipped_norm`: a step uses a gradient of norm min(norm, max_norm). Clipped while a scale multiplies it, it
has norm min(norm, max_norm / scale) once the scale is divided out. Held where a gradient scaler is at work: no step's
gradient is shorter than the limit allows.

## Why it matters
`scaler.step()` divides by the scale after the clip. With the usual scale of 65,536 a limit of 1 becomes one of 0.000015:
the gradient is shortened in every step, to a length that has nothing to do with the loss, and training all but stands still.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
scaler = torch.amp.GradScaler("cpu")
inputs = torch.randn(256, 8)
labels = inputs[:, :3].argmax(1)
for _ in range(40):
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(model(inputs), labels)
    scaler.scale(loss).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
```

## Report
```text
1 finding: 7 laws broken, 20 held, 0 undecided          example.py · 40 steps · N s · loss 7.708e+04 → 7.708e+04
✗ clip-before-unscale   example.py:15  optimizer 0
  gradients are clipped while a loss scale multiplies them
  predicted  a gradient of norm 0.4646 at step 0
  measured   1.526e-05, 3.045e+04 times too short; in 7 steps looked at
  why        example.py:15 clips at 1 gradients of norm 3.045e+04: they are 65536 times too large, as unscale_ has not been called; the scaler divides by 65536 before SGD steps at example.py:16, so the limit is in truth 1.526e-05
  remedy tried unscale the gradients before they are clipped   1.526e-05 norm → 0.4646 norm   law holds   N× time
               scaler.unscale_(optimizer)  # before example.py:15   loss at step 39: 7.708e+04 -> 1.02e+04
  explain: torchstone explain clip-before-unscale
```

## Remedy
`scaler.unscale_(optimizer)` before the clip; `scaler.step()` then does not divide again. It is tried by doing so.

## Silent when
The scaler is switched off, or `unscale_` came first; the gradient is divided by hand, or nothing is left to clip;
the limit is multiplied by the scale (undecided).

## Limits
Looked at in sampled steps (0, 1, 2, 4, 8, ...). Scales that are multiplied in by hand, without a `GradScaler`, are not seen.

## Sources
torch.amp, "Gradient clipping"; Micikevicius et al. 2018, section 3.2.
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.core.evidence import Evidence, Relation, Site, Verdict
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import GradientsClipped, OptimizerSeen
from torchstone.laws import optimization

NAME = "clip-before-unscale"
CODE = "TS164"
LAWS = ("optimization.clipped_norm",)
SINCE = "0.1"

_HALF = 2.0**-8  # the spacing of bfloat16 numbers: what a gradient kept in it may be off by
_FEW = 2


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every clip under a gradient scaler that was followed to a step."""
    events = [event for event in recording.of(GradientsClipped) if _applies(event)]
    for event in events:
        predicted = _left(event)
        evidence = Evidence(
            LAWS[0], _site(event), Quantity(predicted, Unit.NORM), Quantity(event.used, Unit.NORM),
            Tolerance(rounding=Amount(2 * _HALF * predicted, "gradients in half precision")), Relation.AT_LEAST, how="optimizer hook",
            reason=_reason(event, events) if event.scale != 1 and event.used < predicted else "",
        )
        if event.scale != 1 or evidence.verdict is Verdict.HOLDS:  # without a scale, what else may be wrong is not this law's
            yield evidence


def _applies(event: GradientsClipped) -> bool:
    """A scaler is at work, the call found a fresh gradient, and all numbers can be compared."""
    numbers = (event.total, event.used, event.max_norm, event.scale)
    return event.scaler and bool(event.fresh) and event.max_norm > 0 and event.total > 0 and all(map(math.isfinite, numbers))


def _left(event: GradientsClipped, clip_scale: float = 1.0) -> float:
    """The norm that a clip leaves of one optimizer's tensors: each element by itself, or its share of the whole norm."""
    fresh = event.fresh or 0.0
    if event.by_value:
        return optimization.clipped_norm(fresh / event.scale, event.max_norm, clip_scale)
    share = min(fresh / event.total, 1.0)
    return share * optimization.clipped_norm(event.total / event.scale, event.max_norm, clip_scale)


def _reason(event: GradientsClipped, events: Sequence[GradientsClipped]) -> str:
    """Why too short a gradient may be meant, or may come from elsewhere."""
    as_scaled = _left(event, event.scale)
    if abs(event.used - as_scaled) > 2 * _HALF * as_scaled:
        return "the step's gradient is not that of the clip divided by the scale: it was changed in between"
    if _typed(event.max_norm / event.scale) or not _typed(event.max_norm):
        return "the limit looks like one that was multiplied by the scale: taken as meant"
    if sum(_site(other).module == _site(event).module and other.place == event.place for other in events) < _FEW:
        return "it was seen once only"
    return ""


def _typed(value: float) -> bool:
    """Whether a number has no more digits than a person types for a limit."""
    return math.isclose(float(f"{value:.3g}"), value, rel_tol=1e-6)


def _site(event: GradientsClipped) -> Site:
    return Site(f"optimizer {event.optimizer}", event.place.file, event.place.line, event.step, "train")


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each line that clips, whatever optimizers there are."""
    names = {seen.optimizer: seen.class_name for seen in recording.of(OptimizerSeen)}
    events = {_site(event): event for event in recording.of(GradientsClipped)}
    for line in dict.fromkeys((item.site.file, item.site.line) for item in broken):
        mine = tuple(item for item in broken if (item.site.file, item.site.line) == line)
        first = events[mine[0].site]
        yield Finding(
            NAME, CODE, Severity.ERROR, "gradients are clipped while a loss scale multiplies them", mine,
            message=f"{first.place} clips at {format_number(first.max_norm)} gradients of norm {format_number(first.total)}: they are"
            f" {format_number(first.scale)} times too large, as unscale_ has not been called; the scaler divides by {format_number(first.scale)}"
            f" before {names.get(first.optimizer, 'the optimizer')} steps at {first.step_place}, so the limit is in truth"
            f" {format_number(first.max_norm / first.scale)}",
            predicted_as=f"a gradient of norm {format_number(mine[0].predicted.value)} at step {first.step}",
            measured_as=f"{format_number(first.used)}, {format_number(mine[0].predicted.value / first.used)} times too short; in"
            f" {len({item.site.step for item in mine})} steps looked at",
        )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Unscale first."""
    del recording
    where = f"{finding.main.site.file}:{finding.main.site.line}"
    return (
        Change("unscale-before-clip", "unscale the gradients before they are clipped", f"scaler.unscale_(optimizer)  # before {where}"),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
