"""After the first validation a model goes on training in evaluation mode.

## What it holds
`noise.noisy_passes`: dropout draws masks, and BatchNorm takes in batch statistics, in every training pass. Held on models
with such layers that begin in training mode and are evaluated in between: every later step comes from training mode again.

## Why it matters
`model.eval()` stays until `model.train()` is called. Where that is forgotten, all but the first epoch trains without
dropout and with the statistics that BatchNorm happened to have then: it overfits, or the statistics fall ever further behind the weights.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
inputs = torch.randn(192, 8)
labels = inputs[:, :3].argmax(1)
model.train()
for epoch in range(5):
    for start in range(0, 128, 16):
        optimizer.zero_grad()
        logits = model(inputs[start : start + 16])
        nn.functional.cross_entropy(logits, labels[start : start + 16]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = model(inputs[128:]).argmax(1) == labels[128:]
```

## Report
```text
1 finding: 1 law broken, 17 held, 0 undecided          example.py · 40 steps · N s · loss 1.094 → 0.2313
✗ trains-in-eval-mode   example.py:13  model
  training goes on in evaluation mode
  predicted  40 of 40 steps in training mode
  measured   8 of 40, none since step 8
  why        model was put into evaluation mode after step 8, evaluated at example.py:18, and never put back: 1 (BatchNorm1d), 3 (Dropout) are switched off in every step since
  remedy tried put the model back into training mode   8 → 40   law holds   N× time
               model.train()  # before the steps at example.py:13   loss at step 39: 0.2313 -> 0.37
  explain: torchstone explain trains-in-eval-mode
```

## Remedy
`model.train()` at the beginning of every epoch. It is tried by putting the model, before each call with gradients, back
into the modes that its parts had while it trained.

## Silent when
The model has nothing that differs between the modes; it is in evaluation mode from the start, in parts only, or in some
steps only (undecided); the steps in evaluation are another optimizer's (calibration, an attack on the inputs).

## Limits
Layers called as functions count only if their module's `forward` reads `self.training`.

## Sources
torch.nn.Module.train; Ioffe and Szegedy 2015, section 3.1; Srivastava et al. 2014, section 4.
"""

from collections.abc import Iterator, Sequence

from torchstone.core.events import ModelSeen, ParameterSeen, PhaseSeen
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.place import NOWHERE, Place
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording
from torchstone.core.steps import ModesSeen, OptimizerSeen, StepTaken
from torchstone.laws import noise

NAME = "trains-in-eval-mode"
CODE = "TS166"
LAWS = ("noise.noisy_passes",)
SINCE = "0.1"

_FEW = 3


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every model with noise that trains in training mode at first, and is evaluated."""
    for mode in _last(recording):
        after = [step for step in _steps(mode.model, recording) if step.step >= mode.left_training_at]
        total = len(_steps(mode.model, recording))
        if not mode.layers or mode.left_training_at < 0 or mode.evaluated_at < 0 or not total:
            continue
        quiet = min(mode.steps_in_evaluation, len(after))
        yield Evidence(
            LAWS[0], _site(mode, recording), Quantity(noise.noisy_passes(total, 0), Unit.COUNT), Quantity(total - quiet, Unit.COUNT),
            how="forward hook", reason=_reason(mode, after, total, recording) if quiet else "",
        )


def _last(recording: Recording) -> Sequence[ModesSeen]:
    return tuple({event.model: event for event in recording.of(ModesSeen)}.values())


def _steps(model: int, recording: Recording) -> list[StepTaken]:
    """Steps of optimizers that hold parameters of a model."""
    mine = {seen.parameter for seen in recording.of(ParameterSeen) if seen.model == model}
    holding = {seen.optimizer for seen in recording.of(OptimizerSeen) if any(mine & set(group.parameters) for group in seen.groups)}
    return [step for step in recording.of(StepTaken) if step.optimizer in holding]


def _reason(mode: ModesSeen, after: Sequence[StepTaken], total: int, recording: Recording) -> str:
    """Why steps in evaluation mode may be meant."""
    if mode.training or mode.switches > 1:
        return "it runs in training mode in some steps and in evaluation mode in others: taken as meant"
    if len(after) == total:
        return "it never trained in training mode: taken as meant"
    before = {step.optimizer for step in _steps(mode.model, recording) if step.step < mode.left_training_at}
    if any(step.optimizer not in before for step in after):
        return "another optimizer steps in evaluation mode: taken as a stage of its own"
    quiet = _phase(mode.model, recording, gradients=True)
    if quiet is None or mode.evaluated_at > quiet.step:
        return "it was put into evaluation mode without an evaluation: taken as frozen on purpose"
    if len(after) < _FEW or mode.steps_in_evaluation < len(after) - 1:
        return f"only {mode.steps_in_evaluation} steps in evaluation mode were seen"
    return ""


def _phase(model: int, recording: Recording, *, gradients: bool) -> PhaseSeen | None:
    seen = (event for event in recording.of(PhaseSeen) if event.model == model and not event.training)
    return next((event for event in seen if event.gradients is gradients), None)


def _site(mode: ModesSeen, recording: Recording) -> Site:
    phase = _phase(mode.model, recording, gradients=True)
    seen = _model(mode.model, recording)
    place: Place = phase.place if phase is not None else seen.place if seen is not None else NOWHERE
    return Site(seen.name if seen is not None else f"model {mode.model}", place.file, place.line, max(mode.left_training_at, 0), "eval")


def _model(number: int, recording: Recording) -> ModelSeen | None:
    return next((seen for seen in recording.of(ModelSeen) if seen.model == number), None)


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each model."""
    for item in broken:
        mode = next(mode for mode in _last(recording) if _site(mode, recording) == item.site)
        evaluated = _phase(mode.model, recording, gradients=False)
        total = len(_steps(mode.model, recording))
        named = ", ".join(mode.layers)
        yield Finding(
            NAME, CODE, Severity.ERROR, "training goes on in evaluation mode", (item,),
            message=f"{item.site.module} was put into evaluation mode after step {mode.left_training_at}, evaluated at"
            f" {evaluated.place if evaluated else '(unknown place)'}, and never put back: {named} {'is' if len(mode.layers) == 1 else 'are'}"
            f" switched off in every step since",
            predicted_as=f"{total} of {total} steps in training mode",
            measured_as=f"{int(item.measured.value) if item.measured else 0} of {total}, none since step {mode.left_training_at}",
        )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Put it back before every call with gradients."""
    mode = next(mode for mode in _last(recording) if _site(mode, recording) == finding.main.site)
    where = f"{finding.main.site.file}:{finding.main.site.line}"
    return (
        Change(
            "train-mode", "put the model back into training mode", f"{finding.main.site.module}.train()  # before the steps at {where}",
            {"model": mode.model},
        ),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
