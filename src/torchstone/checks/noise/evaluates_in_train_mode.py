"""A model is evaluated while its dropout and BatchNorm are in training mode.

## What it holds
`noise.noisy_passes`: no evaluation pass draws dropout or takes in batch statistics. Held on models with such layers that
are called without gradients between the steps of their training.

## Why it matters
The numbers of such an evaluation are those of a thinned network, and with BatchNorm of one that normalises by the
batch it is given: they differ from run to run and with the batch size. Worse, BatchNorm's statistics take in the validation data.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
inputs = torch.randn(192, 8)
labels = inputs[:, :3].argmax(1)
for epoch in range(5):
    for start in range(0, 128, 16):
        optimizer.zero_grad()
        logits = model(inputs[start : start + 16])
        nn.functional.cross_entropy(logits, labels[start : start + 16]).backward()
        optimizer.step()
    with torch.no_grad():
        right = 0
        for start in range(128, 192, 16):
            right += (model(inputs[start : start + 16]).argmax(1) == labels[start : start + 16]).sum()
```

## Report
```text
1 finding: 1 law broken, 15 held, 0 undecided          example.py · 40 steps · N s · loss 1.094 → 0.5055
✗ evaluates-in-train-mode   example.py:18  model
  the model is evaluated in training mode
  predicted  0 of 4 evaluation passes draw dropout or take in batch statistics
  measured   4 of 4 do, after step 8
  why        model is called without gradients, its output is compared, and it is never in evaluation mode: 1 (BatchNorm1d), 3 (Dropout) are at work as in training; so in 20 passes between 5 pairs of steps
  remedy tried evaluate in evaluation mode   4 → 0   law holds   N× time
               model.eval()  # before example.py:18, and model.train() after it   loss at step 39: 0.5055 -> 0.37
  explain: torchstone explain evaluates-in-train-mode
```

## Remedy
`model.eval()` before the evaluation and `model.train()` after it. It is tried by doing so around every call of the model
without gradients.

## Silent when
The model runs in evaluation mode anywhere (the script knows of it); its output is not held against anything; one input
is given again and again to the same weights (dropout left on to sample), or is one that it trains on; several optimizers step in
turn (models that train against each other).

## Limits
The script is run again, and calls between two steps are looked at: what is compared after it became Python numbers is not seen. A
model that is given targets, and gives a loss, compares by itself.
Evaluation with gradients on cannot be told from training.

## Sources
torch.nn.Module.eval; Srivastava et al. 2014, section 4; Ioffe and Szegedy 2015, algorithm 2.
"""

import itertools
from collections.abc import Iterator, Sequence

from torchstone.core.events import ModelSeen, PhaseSeen
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import EvaluationSeen
from torchstone.core.place import NOWHERE
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording
from torchstone.core.steps import ModesSeen, OptimizerSeen, StepTaken
from torchstone.laws import noise

NAME = "evaluates-in-train-mode"
CODE = "TS167"
LAWS = ("noise.noisy_passes",)
SINCE = "0.1"

_FEW = 2


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every model with noise that trains and is called without gradients."""
    for mode in _last(recording):
        if not mode.layers or not _trains(mode.model, recording):
            continue
        seen = next((event for event in recording.of(EvaluationSeen) if event.model == mode.model), None)
        if not mode.unguarded_passes and mode.evaluated_at < 0:
            continue
        noisy = 0 if not mode.unguarded_passes else seen.noisy if seen is not None else mode.unguarded_most
        yield Evidence(
            LAWS[0], _site(mode, recording), Quantity(noise.noisy_passes(0, max(mode.unguarded_most, 1)), Unit.COUNT),
            Quantity(noisy, Unit.COUNT), relation=Relation.AT_MOST, how="second run",
            reason=_reason(mode, seen, recording) if noisy else "",
        )


def _last(recording: Recording) -> Sequence[ModesSeen]:
    return tuple({event.model: event for event in recording.of(ModesSeen)}.values())


def _trains(model: int, recording: Recording) -> bool:
    return any(seen.model == model and seen.training and seen.gradients for seen in recording.of(PhaseSeen))


def _reason(mode: ModesSeen, seen: EvaluationSeen | None, recording: Recording) -> str:
    """Why noise without gradients may be meant."""
    if meant := _meant(mode, recording):
        return meant
    if seen is None:
        return "whether these calls are an evaluation has not been looked at"
    if seen.repeated:
        return "inputs are given to it more than once: taken as sampling, or as part of training"
    if seen.compared < seen.passes:
        return "nothing is seen to be held against what it gives: it need not be an evaluation"
    return ""


def _meant(mode: ModesSeen, recording: Recording) -> str:
    """What speaks against an evaluation before a second look."""
    if mode.switches or not mode.training:
        return "the script puts it into evaluation mode elsewhere: taken as meant here"
    if _take_turns(recording):
        return "several optimizers are at work: its output may train another model"
    if mode.unguarded_passes < _FEW:
        return "it was called once without gradients"
    # An evaluation comes after many steps. What comes before each of them is part of the training.
    if 2 * mode.unguarded_gaps > recording.steps:
        return "it is called so before most steps: taken as part of the training"
    return ""


def _take_turns(recording: Recording) -> bool:
    """Whether several optimizers step in turn: not where one begins when the other has ended (training, then fine-tuning)."""
    order = [taken.optimizer for taken in recording.of(StepTaken)]
    stages = 1 + sum(one != other for one, other in itertools.pairwise(order))
    known = {seen.optimizer for seen in recording.of(OptimizerSeen)}
    return len(known) > 1 and not (known == set(order) and stages == len(known))


def _site(mode: ModesSeen, recording: Recording) -> Site:
    model = next((seen for seen in recording.of(ModelSeen) if seen.model == mode.model), None)
    place = mode.unguarded_place or (model.place if model is not None else NOWHERE)
    return Site(model.name if model is not None else f"model {mode.model}", place.file, place.line, max(mode.unguarded_step, 0))


def look(recording: Recording) -> Probe | None:
    """See whether what the model gives is held against something, and whether its layers are at work."""
    for mode in _last(recording):
        if mode.layers and mode.unguarded_passes and _trains(mode.model, recording) and not _meant(mode, recording):
            return Probe("evaluation", mode.unguarded_step)
    return None


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each model."""
    for item in broken:
        mode = next(mode for mode in _last(recording) if _site(mode, recording) == item.site)
        seen = next(event for event in recording.of(EvaluationSeen) if event.model == mode.model)
        layers = ", ".join(mode.layers)
        yield Finding(
            NAME, CODE, Severity.ERROR, "the model is evaluated in training mode", (item,),
            message=f"{item.site.module} is called without gradients, its output is compared, and it is never in evaluation mode:"
            f" {layers} {'is' if len(mode.layers) == 1 else 'are'} at work as in training; so in {mode.unguarded_passes} passes"
            f" between {mode.unguarded_gaps} pairs of steps",
            predicted_as=f"0 of {seen.passes} evaluation passes draw dropout or take in batch statistics",
            measured_as=f"{seen.noisy} of {seen.passes} do, after step {mode.unguarded_step}",
        )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Evaluate in evaluation mode."""
    mode = next(mode for mode in _last(recording) if _site(mode, recording) == finding.main.site)
    name, where = finding.main.site.module, f"{finding.main.site.file}:{finding.main.site.line}"
    return (
        Change(
            "evaluation-mode", "evaluate in evaluation mode", f"{name}.eval()  # before {where}, and {name}.train() after it", {"model": mode.model},
        ),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
