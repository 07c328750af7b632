"""A gradient that a step has already used is used again by the next.

## What it holds
`optimization.carried_gradient`: of the gradient that a step consumed, nothing is left in the buffers once every
backward pass for the next step has begun.

## Why it matters
Without clearing, every step follows the sum of all gradients since the start: a momentum of 1 that never forgets.
Adam hides it for a while, because it divides by the same growing size; the direction is stale all the same.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
inputs = torch.randn(256, 8)
labels = inputs[:, :3].argmax(1)
for _ in range(40):
    loss = nn.functional.cross_entropy(model(inputs), labels)
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 6 laws broken, 7 held, 0 undecided          example.py · 40 steps · N s · loss 1.176 → 0.06411
✗ gradients-accumulated-across-steps   example.py:11  optimizer 0
  gradients of earlier steps are still in the buffers
  predicted  0 % of the gradient that a step used is left when the next step's backward passes begin
  measured   100 % is left at step 1, in 6 of 6 borders looked at
  why        SGD stepped at example.py:12 and nothing cleared its gradients before the next backward pass; by step 32 the step follows a gradient of norm 6.578, of which 6.559 is old
  remedy tried clear the gradients once in each step   100 % → 0 %   law holds   N× time
               optimizer.zero_grad()  # before backward() at example.py:11; the summed gradients acted as a larger learning rate   loss at step 39: 0.06411 -> 0.8938
  explain: torchstone explain gradients-accumulated-across-steps
```

## Remedy
`optimizer.zero_grad()` once in each step, before the first backward pass. It is tried by clearing the optimizer's
gradients at that moment.

## Silent when
Several backward passes add up within one step and the sum is cleared after it (gradient accumulation); another
loss leaves gradients that are cleared before the optimizer's own backward pass (the discriminator of a GAN);
gradients are shrunk between steps on purpose (undecided).

## Limits
Held at the border of sampled steps (0-1, 1-2, 3-4, 7-8, ...). Optimizers that step without a backward pass are not held.

## Sources
torch.optim.Optimizer.zero_grad; stackoverflow.com 60335387.
"""

from collections.abc import Iterator, Sequence

from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import GradientCarried, OptimizerSeen
from torchstone.laws import optimization

NAME = "gradients-accumulated-across-steps"
CODE = "TS103"
LAWS = ("optimization.carried_gradient",)
SINCE = "0.1"

_ROUNDING = Tolerance(rounding=Amount(1e-4, "norms of half-precision gradients"))


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every border between steps that was looked at."""
    for event in recording.of(GradientCarried):
        if event.consumed <= 0:
            continue
        share = event.carried / event.consumed
        altered = event.altered / event.consumed
        intended = altered > share and altered > _ROUNDING.total
        reason = "what lies in the buffers was changed between the steps: taken as meant" if intended else ""
        yield Evidence(
            LAWS[0], _site(event), Quantity(optimization.carried_gradient(0.0), Unit.RATIO),
            Quantity(share, Unit.RATIO), _ROUNDING, how="optimizer hook", reason=reason,
        )


def _site(event: GradientCarried) -> Site:
    return Site(f"optimizer {event.optimizer}", event.place.file, event.place.line, event.step, "train")


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each optimizer."""
    names = {seen.optimizer: seen.class_name for seen in recording.of(OptimizerSeen)}
    events = {_site(event): event for event in recording.of(GradientCarried)}
    for module in dict.fromkeys(evidence.site.module for evidence in broken):
        mine = tuple(evidence for evidence in broken if evidence.site.module == module)
        first, last = events[mine[0].site], events[mine[-1].site]
        share = 100 * first.carried / first.consumed
        growth = (
            f"; by step {last.step} the step follows a gradient of norm {format_number(last.used)}, of which"
            f" {format_number(last.carried)} is old"
        )
        yield Finding(
            NAME, CODE, Severity.ERROR, "gradients of earlier steps are still in the buffers", mine,
            message=f"{names.get(first.optimizer, 'the optimizer')} stepped at {first.step_place} and nothing cleared its"
            f" gradients before the next backward pass{growth}",
            predicted_as="0 % of the gradient that a step used is left when the next step's backward passes begin",
            measured_as=f"{format_number(share)} % is left at step {first.step}, in {len(mine)} of"
            f" {_looked(recording, first.optimizer)} borders looked at",
        )


def _looked(recording: Recording, optimizer: int) -> int:
    return sum(event.optimizer == optimizer for event in recording.of(GradientCarried))


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Clear the gradients where `zero_grad` belongs."""
    del recording
    number = int(finding.main.site.module.removeprefix("optimizer "))
    where = f"{finding.main.site.file}:{finding.main.site.line}"
    return (
        Change(
            "clear-gradients", "clear the gradients once in each step", f"optimizer.zero_grad()  # before backward() at {where}; the summed gradients acted as a larger learning rate",
            {"optimizer": number},
        ),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
