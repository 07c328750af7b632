"""A trainable parameter takes part in training and never moves.

## What it holds
`optimization.updates_received`: a trainable parameter receives one update a step if an optimizer holds it and a gradient
arrives. Held on every parameter of every model, and on tensors that the gradient reaches without being registered.

## Why it matters
The layer keeps its random start. The others learn around it, so the loss falls and nothing looks wrong, only worse.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
model[2] = nn.Linear(32, 3)
inputs = torch.randn(256, 8)
labels = inputs[:, :3].argmax(1)
for _ in range(40):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), labels).backward()
    optimizer.step()
```

## Report
```text
1 finding: 4 laws broken, 11 held, 0 undecided          example.py · 40 steps · N s · loss 1.066 → 0.6128
✗ parameter-never-updated   example.py:7  model.2.weight 3x32
  parameters get gradients, but no optimizer holds them
  predicted  40 updates in 40 steps
  measured   0 updates of 2 parameter tensors
  why        model.2.weight 3x32, model.2.bias 3: the optimizer was built without them; it holds 2 tensors of a module that is no longer in the model
  remedy tried give the optimizer these parameters   0 → 40   law holds   N× time
               build the optimizer after the model is complete: torch.optim.X(model.parameters())   loss at step 39: 0.6128 -> 0.1014
  explain: torchstone explain parameter-never-updated
```

## Remedy
Not in the optimizer: build the optimizer after the model is complete; tried by adding the parameters to it. Not registered: keep
layers in nn.ModuleList, tensors in nn.Parameter; tried likewise. No gradient: the line that cuts the graph is looked for by
running again.

## Silent when
`requires_grad` is off or it is updated by other means (averaged copies, updates by hand); the learning rate of its group is 0;
its module runs under `no_grad`; it belongs to a model that no optimizer holds at all and that runs in evaluation mode, or after those that train
(a fixed judge of their output); others of its module, or of its kind, are used (experts chosen by the data); its weights were loaded and it
was left out of the optimizer; fewer than 3 steps were seen; it is a factor of a fresh adapter
(`adapter-never-trains` holds those). All but the first two are counted as undecided.

## Limits
Gradients are looked at in sampled steps: a parameter that takes part in rare steps only may be called unused (a warning).

## Sources
discuss.pytorch.org 84911; pytorch issues 715, 1053, 59925; torch.nn.ModuleList.
"""

import re
from collections.abc import Iterator, Sequence

from torchstone.checks import adapters
from torchstone.checks.lives import Life, lives_of
from torchstone.core.events import ModelSeen, ParameterSeen
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import GradientCut
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording
from torchstone.laws import optimization

NAME = "parameter-never-updated"
CODE = "TS105"
LAWS = ("optimization.updates_received",)
SINCE = "0.1"

_FEW = 3
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)|\[\d+\]")
_SHOWN = 4
_RAN_WITH_GRADIENTS = 2


def _cause(life: Life, recording: Recording, models_with_optimizer: set[int], used: set[str]) -> tuple[str, str]:
    """Why a parameter did not move: (cause, '') if broken, ('', reason) if undecided, ('', '') if nothing is wrong."""
    updated = life.changed or (life.in_optimizer and (life.has_gradient or not life.held_to_move))
    if updated or not life.trainable or life.seen.origin == "free":
        return "", ""
    if not life.has_gradient:
        return _without_gradient(life, recording, used)
    if life.seen.origin in {"unregistered-module", "attribute"}:
        # A tensor that a module keeps for a moment (an input, a cached activation) is gone at the next look.
        passing = life.seen.origin == "attribute" and not (life.looks >= _FEW and life.final)
        return ("" if passing else "not registered"), ""
    reason = ""
    if life.seen.loaded:
        reason = "its weights were loaded and no optimizer holds it: taken as frozen on purpose"
    elif life.seen.model not in models_with_optimizer:
        reason = _fixed_model(life.seen.model, models_with_optimizer, recording)
    return ("", reason) if reason else ("not in the optimizer", "")


def _fixed_model(model: int, trained: set[int], recording: Recording) -> str:
    """Why a model that is in no optimizer at all may be meant to be fixed."""
    if not _trains(model, recording):
        return "its whole model is in no optimizer and runs in evaluation mode: taken as fixed on purpose"
    # Models are numbered in the order of their first call: one that runs after all that train judges their output.
    if all(model > other for other in trained):
        return "its whole model is in no optimizer and runs after those that are: taken as a fixed judge of their output"
    return ""


def _without_gradient(life: Life, recording: Recording, used: set[str]) -> tuple[str, str]:
    if not life.in_optimizer:
        return "", ""
    if life.seen.origin == "optimizer":
        return "in the optimizer only", ""
    reason = _meant_without_gradient(life, recording, used)
    if reason:
        return "", reason
    if life.reached:
        return "cleared", ""
    cut = any(life.seen.parameter in event.parameters for event in recording.of(GradientCut))
    return ("cut" if cut else "unused" if life.ran == 0 else "no gradient"), ""


def _meant_without_gradient(life: Life, recording: Recording, used: set[str]) -> str:
    """Why a parameter that an optimizer holds may be meant to get no gradient."""
    if life.reached:
        return "its gradient is taken away before every step, others' are not: taken as frozen on purpose" if used else ""
    if life.ran == 1:
        return "its module ran without gradients only: taken as frozen on purpose"
    if life.ran == 0 and (ended := recording.ended) is not None and ended.reason in {"steps", "time"}:
        return f"its module was not called in the {recording.steps} steps watched; the script was stopped before its end"
    if _module(life.seen) in used:
        return "its module's other parameters get gradients: the loss does not depend on this one"
    if _kind(life.seen) in used:
        return "others of its kind are used: taken as chosen by the data (experts, optional branches)"
    return ""


def _module(seen: ParameterSeen) -> str:
    """The path of the module that holds a parameter."""
    return f"{seen.model} {seen.names[0].rpartition('.')[0]}" if seen.names and "." in seen.names[0] else f"{seen.parameter}"


def _kind(seen: ParameterSeen) -> str:
    """A parameter's name without the numbers in it: `experts.3.weight` is of a kind with `experts.0.weight`."""
    name = seen.names[0] if seen.names else ""
    return f"{seen.model} {_NUMBER.sub('#', name)} {seen.shape}" if _NUMBER.search(name) else f"{seen.parameter}"


def _trains(model: int, recording: Recording) -> bool:
    return any(seen.model == model and seen.training for seen in recording.of(ModelSeen))


def _judged(recording: Recording) -> Iterator[tuple[Life, str, str]]:
    lives = [life for life in lives_of(recording) if life.looks]
    with_optimizer = {life.seen.model for life in lives if life.in_optimizer and life.seen.model >= 0}
    used = {name for life in lives if life.has_gradient for name in (_kind(life.seen), _module(life.seen))}
    orphans = any(life.seen.origin == "optimizer" and not life.has_gradient and life.in_optimizer for life in lives)
    replaced = orphans and any(life.has_gradient and not life.in_optimizer and not life.changed for life in lives)
    factors = adapters.factors_held_apart(recording)
    for life in lives:
        cause, reason = _cause(life, recording, with_optimizer, used)
        if cause and life.seen.parameter in factors:
            yield life, "", "a factor of a fresh adapter: adapter-never-trains says what becomes of it"
        elif cause == "in the optimizer only" and not replaced:
            yield life, "", "no model that ran holds it"
        elif cause and recording.steps < _FEW:
            yield life, "", f"only {recording.steps} steps were seen"
        else:
            yield life, cause, reason


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every trainable parameter."""
    return (evidence for evidence, _, _ in _held(recording))


def _held(recording: Recording) -> Iterator[tuple[Evidence, Life, str]]:
    """Evidence with the life that it is about and the cause, if it is broken: names alone may not be unique."""
    steps = recording.steps
    for life, cause, reason in _judged(recording) if steps else ():
        if not life.trainable:
            continue
        expected = optimization.updates_received(steps, in_optimizer=True, has_gradient=True)
        received = optimization.updates_received(steps, in_optimizer=not cause, has_gradient=not cause)
        evidence = Evidence(
            LAWS[0], _site(life), Quantity(expected, Unit.COUNT), None if reason else Quantity(received, Unit.COUNT),
            how="optimizer hook", reason=reason,
        )
        yield evidence, life, cause


def _site(life: Life) -> Site:
    place = life.seen.constructed
    return Site(_name(life.seen), place.file, place.line, life.seen.step, "train")


def _name(seen: ParameterSeen) -> str:
    name = seen.names[0] if seen.names else f"parameter {seen.parameter}"
    return f"{name} {'x'.join(map(str, seen.shape)) or 'scalar'}"


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each cause."""
    by_cause: dict[str, list[tuple[Evidence, Life]]] = {}
    for evidence, life, cause in _held(recording):
        if cause and evidence in broken:
            by_cause.setdefault(cause, []).append((evidence, life))
    orphans = by_cause.pop("in the optimizer only", [])
    for cause, rows in by_cause.items():
        everything = rows + (orphans if cause == "not in the optimizer" else [])
        yield _finding(cause, everything, orphans, recording)


_TITLES = {
    "not in the optimizer": "parameters get gradients, but no optimizer holds them",
    "not registered": "parameters get gradients, but no model has registered them",
    "unused": "parameters are in the optimizer, but their module is never called",
    "no gradient": "parameters run in the forward pass, but no gradient comes back",
    "cleared": "gradients arrive, and are gone before the step",
    "cut": "the gradient is cut before it reaches parameters",
}


def _finding(
    cause: str, rows: Sequence[tuple[Evidence, Life]], orphans: Sequence[tuple[Evidence, Life]], recording: Recording
) -> Finding:
    rows = sorted(rows, key=lambda row: (not row[0].site.file, -len(row[1].seen.shape), row[1].seen.parameter))
    lives = [life for _, life in rows if life.seen.origin != "optimizer"]
    names = [_name(life.seen) for life in lives]
    listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    severity = Severity.WARNING if cause in {"unused", "no gradient"} else Severity.ERROR
    steps = recording.steps
    return Finding(
        NAME, CODE, severity, _TITLES[cause], tuple(evidence for evidence, _ in rows),
        message=f"{listed}: {_why(cause, lives, orphans, recording)}",
        predicted_as=f"{steps} updates in {steps} steps",
        measured_as=f"0 updates of {len(lives)} parameter tensor{'s' if len(lives) > 1 else ''}",
    )


def _why(cause: str, lives: Sequence[Life], orphans: Sequence[tuple[Evidence, Life]], recording: Recording) -> str:
    if cause == "not in the optimizer":
        tensors = f"{len(orphans)} tensor{'s' if len(orphans) > 1 else ''}"
        old = f"; it holds {tensors} of a module that is no longer in the model" if orphans else ""
        return f"the optimizer was built without them{old}"
    if cause == "not registered":
        return "kept in a plain list, dict or attribute, so parameters(), .to() and state_dict() do not see them"
    if cause == "unused":
        return f"the module was not called in any of the {recording.steps} steps"
    if cause == "cleared":
        return "backward() reaches them, and at step() they have no gradient: it is cleared in between"
    if cause == "no gradient":
        return "their output never reaches the loss that backward() starts from"
    mine = {life.seen.parameter for life in lives}
    cut = next(event for event in recording.of(GradientCut) if mine & set(event.parameters))
    return f"{cut.operation} at {cut.place} takes the value out of the graph"


def probe(finding: Finding, recording: Recording) -> Probe | None:
    """Look for the line that cuts the graph."""
    wanted = finding.title == _TITLES["no gradient"] and recording.first(GradientCut) is None
    return Probe("gradient-cut", 1) if wanted else None


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Add the parameters to the optimizer."""
    if finding.title not in {_TITLES["not in the optimizer"], _TITLES["not registered"]}:
        return ()
    mine = [life.seen for _, life, cause in _held(recording) if _TITLES.get(cause) == finding.title]
    registered = finding.title == _TITLES["not in the optimizer"]
    title = "give the optimizer these parameters" if registered else "register them, and give them to the optimizer"
    patch = (
        "build the optimizer after the model is complete: torch.optim.X(model.parameters())" if registered
        else "keep layers in nn.ModuleList (or ModuleDict) and tensors in nn.Parameter"
    )
    return (Change("add-parameters", title, patch, {"numbers": [seen.parameter for seen in mine]}),)


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to do by hand."""
    del recording
    if finding.title == _TITLES["unused"]:
        return "call the module, or delete it; a change of the model's code cannot be tried from outside"
    if finding.title == _TITLES["cleared"]:
        return "call zero_grad() before backward() or after step(), not between the two"
    if finding.title == _TITLES["cut"]:
        return "let the gradient pass there, give them a loss of their own, or freeze them with requires_grad_(False)"
    return "use their output in the loss, or freeze them; a change of the model's code cannot be tried from outside"
