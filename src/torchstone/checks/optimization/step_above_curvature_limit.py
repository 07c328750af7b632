"""The learning rate is above what the loss's curvature allows, and the loss grows.

## What it holds
`optimization.divergence_threshold`: descent converges below lr = 2 (1 + momentum) / λ and diverges above, λ the largest eigenvalue of
the Hessian. Held where the loss rose to twice its start and stayed bad, on the batch of the step before it rose.

## Why it matters
Along the sharpest direction every step overshoots by more than it corrects. The run ends in NaN, in dead units or in a loss that swings
at a height where nothing is learned; a smaller rate is all it takes.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(128, 10)
inputs[:, 0] *= 4
targets = inputs.sum(1, keepdim=True)
model = nn.Linear(10, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.07)
for _ in range(25):
    loss = nn.functional.mse_loss(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 8 held, 0 undecided          example.py · 25 steps · N s · loss 31.96 → 40225500
✗ step-above-curvature-limit   example.py:9  optimizer 0
  the learning rate is above what the curvature allows, and the loss grows
  predicted  lr x λ of at most 2: with λ = 33.55 a learning rate of at most 0.05962
  measured   lr x λ = 2.348 at step 0, λ the largest eigenvalue of the batch's Hessian
  why        with lr 0.07 the error along the sharpest direction grows at every step; the loss was 31.96 at the start, 40225500 at its highest and 5.188e+06 (median) at the end
  remedy tried a learning rate of 0.03 at step 0, half of the limit   2.348 value → 1.01 value   law holds   N× time
               lr = 0.43 * lr  # 0.07 at step 0, which diverges above 0.06   loss at step 24: 40225500 -> 0.6622
  remedy tried clip the gradient norm at 1   2.348 value → 2.348 value   law not restored: the loss goes on falling: the edge of stability   N× time
               nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # before step()   loss at step 24: 40225500 -> 4.189
  explain: torchstone explain step-above-curvature-limit
```

## Remedy
Half of the limit as the learning rate; or gradients clipped at norm 1. Both are tried, and the same law held at the same step.

## Silent when
The loss falls, however large the rate (training at the edge of stability, a catapult that lands); it never rises to twice its start;
the loss begins at or below 0; several optimizers step (players of a game); the optimizer adapts its step (Adam);
a value is not finite (`non-finite-value` speaks).

## Limits
The curvature is that of one batch at one step, found from below by 16 products with the Hessian. What cannot be differentiated twice
(own autograd functions, some fused kernels), or trains under a gradient scaler, is not held.

## Sources
Polyak 1964, theorem 9; Cohen et al. 2021 (edge of stability); Lewkowycz et al. 2020 (catapult).
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchstone.core.events import LossComputed, NonFiniteSeen
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import CurvatureSeen
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import OptimizerSeen, StepTaken
from torchstone.laws import optimization

NAME = "step-above-curvature-limit"
CODE = "TS162"
LAWS = ("optimization.divergence_threshold",)
SINCE = "0.1"

_FEW = 6
_RISEN = 2.0  # times the loss at the start: no noise of a batch, for losses that begin where they are highest
_NO_BETTER = 0.8  # of the loss at the start, at the run's end


@dataclass(frozen=True, slots=True)
class _Rise:
    """How a loss rose: the step it was lowest at before, its highest value, and its median at the end."""

    lowest_at: int
    lowest: float
    highest: float
    end: float


def _rise(recording: Recording) -> _Rise | None:
    losses = [taken.loss for taken in recording.of(StepTaken)]
    values = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if len(values) != len(losses) or len(values) < _FEW or values[0] <= 0 or recording.first(NonFiniteSeen) is not None:
        return None
    end = statistics.median(values[-max(3, len(values) // 3) :])
    risen = next((step for step, value in enumerate(values) if value > _RISEN * values[0]), None)
    if risen is None or end < _NO_BETTER * values[0]:
        return None
    lowest = min(range(risen), key=values.__getitem__)
    return _Rise(lowest, values[lowest], max(values), end)


def _optimizer(recording: Recording) -> OptimizerSeen | None:
    """The one optimizer that steps, if it is torch's SGD."""
    stepped = {taken.optimizer for taken in recording.of(StepTaken)}
    seen = next((seen for seen in recording.of(OptimizerSeen) if seen.optimizer in stepped), None)
    plain = seen is not None and seen.class_name == "SGD" and all(group.decay for group in seen.groups)
    return seen if len(stepped) == 1 and plain else None


def look(recording: Recording) -> Probe | None:
    """The curvature at the step before the loss rose: asked for only where it did, under plain descent."""
    rise = _rise(recording)
    if rise is None or _optimizer(recording) is None:
        return None
    return Probe("curvature", rise.lowest_at)


def hold(recording: Recording) -> Iterator[Evidence]:
    """The step that was looked at."""
    optimizer = _optimizer(recording)
    for seen in recording.of(CurvatureSeen) if optimizer is not None else ():
        kind = _descent(seen)
        if optimizer is None or seen.optimizer != optimizer.optimizer or recording.first(NonFiniteSeen) is not None:
            continue
        limit = optimization.divergence_threshold(kind or "momentum", seen.momentum if kind else 0.0, 1.0)
        reason = "" if kind else "momentum with this dampening has no threshold here"
        if _rise(recording) is None:
            reason = "the loss goes on falling: the edge of stability" if seen.product > limit else ""
        place = optimizer.built or optimizer.place
        yield Evidence(
            LAWS[0], Site(f"optimizer {seen.optimizer}", place.file, place.line, seen.step, "train"), Quantity(limit, Unit.VALUE),
            Quantity(seen.product, Unit.VALUE), _tolerance(recording, limit), Relation.AT_MOST, "Hessian-vector products", reason,
        )


def _descent(seen: CurvatureSeen) -> str:
    if seen.momentum == 0:
        return "gradient"
    if seen.nesterov:
        return "nesterov"
    return {0.0: "momentum", seen.momentum: "averaged"}.get(seen.dampening, "")


def _tolerance(recording: Recording, limit: float) -> Tolerance:
    rows = max((loss.rows for loss in recording.of(LossComputed)), default=0)
    if rows == 0:
        return Tolerance(sampling=Amount(limit, "one batch of a number of rows that is not known"))
    return Tolerance(sampling=Amount(limit / math.sqrt(rows), f"the curvature of one batch of {rows} rows"))


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding: the learning rate, the curvature and what the loss did."""
    rise, seen, optimizer = _rise(recording), recording.first(CurvatureSeen), _optimizer(recording)
    if rise is None or seen is None or optimizer is None:
        return
    limit = broken[0].predicted.value
    sharpest = seen.product / seen.learning_rate
    momentum = f" and momentum {seen.momentum:g}" if seen.momentum else ""
    losses = [taken.loss for taken in recording.of(StepTaken) if taken.loss is not None]
    yield Finding(
        NAME, CODE, Severity.ERROR, "the learning rate is above what the curvature allows, and the loss grows", tuple(broken),
        message=f"with lr {seen.learning_rate:g}{momentum} the error along the sharpest direction grows at every step; the loss was"
        f" {format_number(losses[0])} at the start, {format_number(rise.highest)} at its highest and {format_number(rise.end)} (median)"
        " at the end",
        predicted_as=f"lr x λ of at most {format_number(limit)}: with λ = {format_number(sharpest)} a learning rate of at most"
        f" {format_number(limit / sharpest)}",
        measured_as=f"lr x λ = {format_number(seen.product)} at step {seen.step}, λ the largest eigenvalue of the batch's Hessian",
    )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Half of the limit; or clipped gradients."""
    seen = recording.first(CurvatureSeen)
    if seen is None:
        return ()
    factor = float(f"{finding.main.predicted.value / 2 / seen.product:.1e}")
    rate = seen.learning_rate * factor
    return (
        Change(
            "scale-learning-rate", f"a learning rate of {rate:.2g} at step {seen.step}, half of the limit",
            f"lr = {factor:g} * lr  # {seen.learning_rate:g} at step {seen.step}, which diverges above {2 * rate:.2g}", {"factor": factor},
        ),
        Change(
            "clip-gradients", "clip the gradient norm at 1", "nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # before step()",
            {"norm": 1.0},
        ),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a rate to try."""
    del finding, recording
    return "trials were switched off"
