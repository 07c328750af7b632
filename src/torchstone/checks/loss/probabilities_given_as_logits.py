"""A loss that applies a softmax or sigmoid itself is fed probabilities.

## What it holds
`loss.reachable_cross_entropy` and `loss.reachable_binary_cross_entropy`: inputs confined to an interval cannot bring
the loss below a floor. Logits have no interval, so the floor is 0; probabilities lie in [0, 1].

## Why it matters
The loss sticks just under ln K and gradients pass through two saturating functions instead of one. Training runs,
the accuracy may even rise, and the loss never reaches what the data allows.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(dim=1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
inputs = torch.randn(256, 8)
labels = inputs.argmax(1)
for _ in range(100):
    optimizer.zero_grad()
    nn.CrossEntropyLoss()(model(inputs), labels).backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 13 held, 0 undecided          example.py · 100 steps · N s · loss 2.31 → 1.489
✗ probabilities-given-as-logits   example.py:11  cross_entropy
  cross_entropy is fed probabilities where it takes logits
  predicted  0 nats can be reached by logits, which have no bounds
  measured   1.461 nats at least = ln(e + 9) - 1: the lowest that inputs in [0, 1] allow
  why        its input is the output of a softmax: all of it lies in [2.941e-17, 1], and cross_entropy applies its own on top; the loss stood at 1.489 after 100 steps
  remedy tried pass the logits to the loss   1.461 nats → 0 nats   law holds   N× time
               remove the softmax before cross_entropy; apply it only to read predictions   loss at step 99: 1.489 -> 0.06954
  explain: torchstone explain probabilities-given-as-logits
```

## Remedy
Give the loss what went into the softmax or sigmoid. It is tried by handing the loss the logarithm of the
probabilities (or their log-odds), which is the same thing up to a constant of each row.

## Silent when
The input of cross-entropy is a log-softmax (taking it twice changes nothing); values lie in (0, 1) by chance and
no sigmoid made them; the call is made without gradients.

## Limits
For binary losses the autograd graph must show the sigmoid or softmax; where it does not (compiled models, hand-written
sigmoids) values that stay in [0, 1] are undecided.

## Sources
torch.nn.CrossEntropyLoss and torch.nn.BCEWithLogitsLoss (documentation, "input");
discuss.pytorch.org 43814; focal-loss-pytorch pull request 5.
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.core.events import LossComputed
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Quantity, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import StepTaken
from torchstone.laws import loss

NAME = "probabilities-given-as-logits"
CODE = "TS102"
LAWS = ("loss.reachable_cross_entropy", "loss.reachable_binary_cross_entropy")
SINCE = "0.1"

_BINARY = "binary_cross_entropy_with_logits"
_ENOUGH_LOOKS = 4
_MADE_BY = {"softmax", "sigmoid"}


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every call site of a loss that takes logits, over all sampled steps together."""
    for events in _sites(recording).values():
        binary = events[0].function == _BINARY
        floor = _floor(events[-1])
        verdicts = [_are_probabilities(event) for event in events]
        certain = all(verdicts)
        possible = len(events) >= _ENOUGH_LOOKS and all(verdict is not False for verdict in verdicts)
        measured = floor if certain or possible else 0.0
        reason = f"all inputs lay in [0, 1] at {len(events)} steps, but no sigmoid or softmax was seen to make them"
        yield Evidence(
            LAWS[1] if binary else LAWS[0], _site(events[0]), Quantity(0.0, Unit.NATS), Quantity(measured, Unit.NATS),
            relation=Relation.AT_MOST, how="loss hook", reason=reason if possible and not certain else "",
        )


def _sites(recording: Recording) -> dict[Site, list[LossComputed]]:
    sites: dict[Site, list[LossComputed]] = {}
    for event in recording.of(LossComputed):
        if event.function in {"cross_entropy", _BINARY} and event.rows_measured:
            sites.setdefault(_site(event), []).append(event)
    return sites


def _site(event: LossComputed) -> Site:
    return Site(event.function, event.place.file, event.place.line, 0, event.phase)


def _are_probabilities(event: LossComputed) -> bool | None:
    """True: probabilities. False: not. None: they may be, and nothing shows it."""
    slack = 4 * event.resolution
    if event.lowest < -slack or event.highest > 1 + slack:
        return False
    made = set(event.produced_by.split(",")) - {""}
    if made and made <= _MADE_BY:
        return True
    if event.function == _BINARY:
        return None if made - {"logsoftmax"} else False
    several = event.classes > 1 and event.rows_measured > 1
    sums_to_one = event.row_sum_error is not None and event.row_sum_error <= event.classes * slack + 1e-5
    return several and sums_to_one


def _floor(event: LossComputed) -> float:
    if event.function == _BINARY:
        return loss.reachable_binary_cross_entropy(event.positives if event.positives is not None else 0.5, 0.0, 1.0)
    return loss.reachable_cross_entropy(event.classes, 1.0)


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each call site."""
    sites = _sites(recording)
    for evidence in broken:
        last = sites[evidence.site][-1]
        floor = format_number(_floor(last))
        formula = (
            "p ln(1+1/e) + (1-p) ln 2" if last.function == _BINARY else f"ln(e + {last.classes - 1}) - 1"
        )
        made = last.produced_by if set(last.produced_by.split(",")) <= _MADE_BY else "softmax (rows sum to 1)"
        low, high = format_number(last.lowest), format_number(last.highest)
        yield Finding(
            NAME, CODE, Severity.ERROR, f"{last.function} is fed probabilities where it takes logits", (evidence,),
            message=f"its input is the output of a {made}: all of it lies in [{low}, {high}], and {last.function} applies"
            f" its own on top{_stuck(recording)}",
            predicted_as="0 nats can be reached by logits, which have no bounds",
            measured_as=f"{floor} nats at least = {formula}: the lowest that inputs in [0, 1] allow",
        )


def _stuck(recording: Recording) -> str:
    losses = [step.loss for step in recording.of(StepTaken) if step.loss is not None and math.isfinite(step.loss)]
    if not losses:
        return ""
    return f"; the loss stood at {format_number(losses[-1])} after {len(losses)} steps"


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Hand the loss logits."""
    site = finding.main.site
    function = _sites(recording)[site][-1].function
    inner = "sigmoid" if function == _BINARY else "softmax"
    return (
        Change(
            "pass-logits", "pass the logits to the loss",
            f"remove the {inner} before {function}; apply it only to read predictions",
            {"function": function, "file": site.file, "line": site.line},
        ),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
