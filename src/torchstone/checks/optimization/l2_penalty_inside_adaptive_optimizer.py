"""A weight decay that was meant to be decoupled acts as an L2 penalty inside Adam, and takes the weights away.

## What it holds
`optimization.decay_share`: a decay that is decoupled leaves the share 1 - lr weight_decay of the weights at every step. Held on matrices
under adaptive optimizers that add the decay to the gradient, at sampled steps; what the data's gradients may have moved is allowed for.

## Why it matters
Adam divides the penalty by the gradient's own size. Where gradients are small the penalty is all that is left, each weight then shrinks by
the learning rate at every step, and a weight_decay of 0.1, mild for AdamW, takes half of the weights in a hundred steps.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(512, 20)
labels = (inputs @ torch.randn(20, 4)).argmax(1)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=0.1)
for step in range(80):
    rows = torch.randint(0, 512, (64,))
    loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 16 held, 0 undecided          example.py · 80 steps · N s · loss 1.411 → 1.325
! l2-penalty-inside-adaptive-optimizer   example.py:8  optimizer 0
  weight decay acts as an L2 penalty that outweighs the data
  predicted  99.2 % of the matrices' norm is left at step 80 by a decoupled decay of 0.1 at lr 0.001 (26.48 % more or less by the data)
  measured   47.06 % is left
  why        Adam adds weight_decay x w to the gradient and divides both by the gradient's size; the penalty was up to 2.694 times the data's gradient, so that most of each step only shrinks the weights
  remedy tried decouple the decay   47.06 % → 99.97 %   law holds   N× time
               torch.optim.AdamW(..., weight_decay=...)   loss at step 79: 1.325 -> 0.5422
  explain: torchstone explain l2-penalty-inside-adaptive-optimizer
```

## Remedy
`AdamW`, or `decoupled_weight_decay=True`, with the same number. Tried by taking the share lr x weight_decay off the weights themselves
and keeping the decay out of the gradient.

## Silent when
The data's gradients outweigh the penalty (the usual 1e-5 to 1e-2 of Adam as an L2 penalty); the decay is decoupled or 0; the optimizer
does not adapt (SGD: there the two are one). A weight_decay below 0.01 is taken as meant for a penalty whatever it does (undecided).

## Limits
Embeddings are not held (rows that no batch looks up shrink by design), nor optimizers of the user's own. Gradients are seen at sampled
steps, with those of a scaler still scaled.

## Sources
Loshchilov and Hutter 2019, sections 2 and 4; torch.optim.Adam and AdamW, documented pseudocode.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchstone.core.events import ParameterSeen
from torchstone.core.evidence import Evidence, Relation, Site, Verdict
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import GroupSeen, OptimizerSeen, ParametersExamined
from torchstone.laws import optimization

NAME = "l2-penalty-inside-adaptive-optimizer"
CODE = "TS160"
LAWS = ("optimization.decay_share",)
SINCE = "0.1"

_ADAPTIVE = {"Adam", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta"}
_WITH_FLAG = {"Adam", "NAdam", "RAdam"}  # that take decoupled_weight_decay=True
_DECOUPLED_FROM = 0.01  # AdamW's default: smaller numbers are what people give Adam as a penalty
_MATRIX = 2
_ROUNDING = Amount(1e-4, "norms of half-precision weights")
_SMALL = "a weight_decay below 0.01 inside the gradient is taken as meant: an L2 penalty"


@dataclass(frozen=True, slots=True)
class _State:
    """A group's matrices at one look: their norm together, and how far a step of data alone may carry them."""

    step: int
    norm: float
    group: GroupSeen
    reach: float  # share of a full step (learning rate x root of the elements) that is the data's, all matrices together
    penalty: float
    gradient: float


@dataclass(frozen=True, slots=True)
class _Kept:
    """How much of the norm was kept up to a step, against what decoupled decay would have left, and what data may have moved."""

    step: int
    kept: float
    expected: float
    moved: float
    penalty_over_gradient: float

    @property
    def excess(self) -> float:
        return self.expected - self.kept - self.moved


def _matrices(group: GroupSeen, seen: dict[int, ParameterSeen]) -> list[int]:
    known = [seen[number] for number in group.parameters if number in seen]
    return [p.parameter for p in known if len(p.shape) >= _MATRIX and not p.owner.startswith("Embedding")]


def _state(look: ParametersExamined, group: GroupSeen, seen: dict[int, ParameterSeen], numbers: Sequence[int]) -> _State | None:
    norms = dict(zip(look.parameters, look.norm, strict=False))
    gradients = dict(zip(look.parameters, look.gradient, strict=True))
    if not numbers or any(not math.isfinite(norms.get(number, math.nan)) for number in numbers):
        return None
    if not look.final and any(gradients.get(number) is None for number in numbers):
        return None  # what has no gradient is not stepped, and does not decay
    reach = []
    for number in numbers:
        gradient, penalty = gradients.get(number) or 0.0, group.weight_decay * norms[number]
        # Decoupled, all of a step is the data's; inside the gradient, the part that it has of the sum.
        share = 1.0 if group.decay == "decoupled" else gradient / (gradient + penalty) if gradient > 0 else 0.0
        reach.append(share * math.sqrt(math.prod(seen[number].shape)))
    norm = math.hypot(*(norms[number] for number in numbers))
    data = math.hypot(*(gradients.get(number) or 0.0 for number in numbers))
    return _State(look.step, norm, group, math.hypot(*reach), group.weight_decay * norm, data)


def _worst(states: Sequence[_State]) -> _Kept | None:
    """The look at which the most is missing beyond what decay and data explain."""
    first, expected, moved, found = states[0], 1.0, 0.0, list[_Kept]()
    ratio = 0.0
    for before, now in itertools.pairwise(states):
        steps, rates = now.step - before.step, (before.group.learning_rate, now.group.learning_rate)
        expected *= (1 - optimization.decay_share(before.group.weight_decay, min(rates))) ** steps
        moved += steps * max(rates) * before.reach / first.norm
        ratio = max(ratio, before.penalty / before.gradient if before.gradient else 0.0)
        found.append(_Kept(now.step, now.norm / first.norm, expected, moved, ratio))
    return max(found, key=lambda kept: kept.excess, default=None)


def _held(recording: Recording) -> Iterator[tuple[Evidence, OptimizerSeen, GroupSeen, _Kept]]:
    seen = {event.parameter: event for event in recording.of(ParameterSeen)}
    for number in dict.fromkeys(event.optimizer for event in recording.of(OptimizerSeen)):
        optimizer = next(event for event in recording.of(OptimizerSeen) if event.optimizer == number)
        for index, group in enumerate(optimizer.groups if optimizer.class_name in _ADAPTIVE else ()):
            states = _states(recording, number, index, seen) if group.weight_decay > 0 and group.decay else []
            worst = _worst(states) if len(states) > 1 and states[0].norm > 0 else None
            if worst is not None:
                name = f"optimizer {number}" + (f" group {index}" if len(optimizer.groups) > 1 else "")
                yield _evidence(name, optimizer, group, worst), optimizer, group, worst


def _states(recording: Recording, optimizer: int, index: int, seen: dict[int, ParameterSeen]) -> list[_State]:
    """A group's matrices at every look since the optimizer was seen first."""
    states: list[_State] = []
    numbers: list[int] | None = None
    group: GroupSeen | None = None
    for event in recording.events:
        if isinstance(event, OptimizerSeen) and event.optimizer == optimizer:
            group = event.groups[index] if index < len(event.groups) else None
            if numbers is None and group is not None:
                numbers = _matrices(group, seen)
        elif isinstance(event, ParametersExamined) and group is not None and numbers is not None:
            state = _state(event, group, seen, numbers)
            if state is None:
                break
            states.append(state)
    return states


def _evidence(name: str, optimizer: OptimizerSeen, group: GroupSeen, worst: _Kept) -> Evidence:
    place = optimizer.built or optimizer.place
    allowed = Tolerance(sampling=Amount(worst.moved, "what the data's part of the steps may have moved"), rounding=_ROUNDING)
    found = Evidence(
        LAWS[0], Site(name, place.file, place.line, worst.step, "train"), Quantity(worst.expected, Unit.RATIO),
        Quantity(worst.kept, Unit.RATIO), allowed, Relation.AT_LEAST, "optimizer hook",
    )
    small = found.verdict is Verdict.BROKEN and group.weight_decay < _DECOUPLED_FROM
    if not small:
        return found
    return Evidence(found.law, found.site, found.predicted, found.measured, allowed, found.relation, found.how, _SMALL)


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every group of an adaptive optimizer that decays."""
    return (evidence for evidence, *_ in _held(recording))


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each optimizer."""
    rows = [row for row in _held(recording) if row[0] in broken]
    for number in dict.fromkeys(row[1].optimizer for row in rows):
        mine = [row for row in rows if row[1].optimizer == number]
        _, optimizer, group, worst = mine[0]
        events = [event for event in recording.of(OptimizerSeen) if event.optimizer == number]
        rate = max(one.learning_rate for event in events for one in event.groups)
        yield Finding(
            NAME, CODE, Severity.WARNING, "weight decay acts as an L2 penalty that outweighs the data", tuple(row[0] for row in mine),
            message=f"{optimizer.class_name} adds weight_decay x w to the gradient and divides both by the gradient's size; the penalty was"
            f" up to {format_number(worst.penalty_over_gradient)} times the data's gradient, so that most of each step only shrinks the weights",
            predicted_as=f"{_percent(worst.expected)} of the matrices' norm is left at step {worst.step} by a decoupled decay of"
            f" {group.weight_decay:g} at lr {rate:g} ({_percent(worst.moved)} more or less by the data)",
            measured_as=f"{_percent(worst.kept)} is left",
        )


def _percent(share: float) -> str:
    return f"{format_number(100 * share)} %"


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Decouple the decay."""
    optimizer = next(row[1] for row in _held(recording) if row[0] in finding.evidence)
    flag = optimizer.class_name in _WITH_FLAG
    name = "AdamW" if optimizer.class_name == "Adam" else optimizer.class_name
    patch = (
        f"torch.optim.{name}(..., weight_decay=...)" if name == "AdamW"
        else f"torch.optim.{name}(..., decoupled_weight_decay=True)" if flag
        else "weight_decay=0, and w.mul_(1 - lr * weight_decay) under no_grad before each step"
    )
    return (Change("decouple-decay", "decouple the decay", patch, {"optimizer": optimizer.optimizer}),)


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
