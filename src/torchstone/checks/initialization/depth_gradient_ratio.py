"""A deep network whose gradient shrinks, or grows, by nearly the same factor in every layer, so that its ends do not train together.

## What it holds
`initialization.lost_layer`: the gradient by the output of every layer is at least sqrt(eps)/2 of that of any other. Held on the
longest chain of layers, in the backward pass of one step of a second run, where the loss of the first stood still (or a step
overwrote layers).

## Why it matters
A step's fall of the loss is a sum of squared gradients, one term a layer. A layer below sqrt(eps)/2 of another does not show in it,
not even in its last digit: the first layers stay as they were drawn, and everything behind them sees noise.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
layers = [nn.Linear(10, 32), nn.Sigmoid()]
for _ in range(8):
    layers += [nn.Linear(32, 32), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(32, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
inputs = torch.randn(512, 10)
labels = inputs[:, :3].argmax(1)
for step in range(100):
    rows = torch.randint(0, 512, (64,))
    loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 30 held, 0 undecided          example.py · 100 steps · N s · loss 1.105 → 1.108
✗ depth-gradient-ratio   example.py:5  model.0
  the gradient fades by a factor in every layer
  predicted  at least 0.0001726 of the largest layer's gradient (sqrt(eps)/2)
  measured   1.342e-08 between model.0.weight and model.18.weight
  why        at step 64 each of 10 layers passes the gradient back times 0.1334 (1 with the right gain): 0.1035 at the last, 1.388e-09 at the first; weights of model.10.weight have std 0.102 = 0.5771/sqrt(32); the loss is 1.116 at first and 1.122 at last, guessing costs 1.099
  remedy tried begin with the weights of 9 layers times 7.494   1.342e-06 % → 3.084 %   law holds   N× time
               for layer in layers[1:]: layer.weight.mul_(7.494)  # under no_grad, before training   loss at step 99: 1.108 -> 1.059
  explain: torchstone explain depth-gradient-ratio
```

## Remedy
Scale the layers' first weights by the measured factor, so that each passes the gradient on with its size unchanged (He, Glorot or
LSUV initialisation do it from the start); tried as the script's first values. Else normalisation, residual connections, or an
activation whose slope is near 1.

## Silent when
The loss falls, also slowly; the network is residual or normalised, so that the gradient keeps its size; one layer alone stands out
(a zero-initialised branch, a bottleneck); units are dead, which is no constant factor; layers are used again and again (recurrent).

## Limits
Five layers or more that follow each other; 24 losses or more of one optimizer. Growth is told only where the probed step overwrote
layers and the run stayed finite; the first loss of a softmax head that is too large is told by initial-loss-above-uniform.

## Sources
Glorot and Bengio 2010, section 4.2; He et al. 2015, section 2.2; Saxe, McClelland and Ganguli 2014; Mishkin and Matas 2016.
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.checks.progress import progress
from torchstone.checks.recurrences import deep_steps, overwriting_step, places_in_optimizer, seen_by_number
from torchstone.core.events import NonFiniteSeen, ParameterSeen
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import DepthSeen
from torchstone.core.quantity import Quantity, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import ParametersExamined
from torchstone.laws import initialization

NAME = "depth-gradient-ratio"
CODE = "TS140"
LAWS = ("initialization.lost_layer",)
SINCE = "0.2"

_FEWEST = 5  # layers: fewer have no factor that repeats
_FLOAT32 = 2.0**-23


def look(recording: Recording) -> Probe | None:
    """At the last step that was looked at in depth where the loss stands; else at the step that overwrote weights."""
    if len(_trained(recording)) < _FEWEST:
        return None
    seen, steps = progress(recording), deep_steps(recording)
    if seen is not None and seen.stands and steps:
        return Probe("depth", steps[-1])
    first = overwriting_step(recording)
    return Probe("depth", first) if first is not None and recording.first(NonFiniteSeen) is None else None


def _trained(recording: Recording) -> list[ParameterSeen]:
    """Weights with two axes or more that got gradients."""
    known = seen_by_number(recording)
    reached = {
        number for seen in recording.of(ParametersExamined)
        for number, gradient in zip(seen.parameters, seen.gradient, strict=True) if gradient
    }
    return [known[number] for number in sorted(reached) if number in known and len(known[number].shape) > 1]


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every chain of layers that was looked at: the smallest of its gradients against the largest."""
    for event in recording.of(DepthSeen):
        gradients = event.gradients
        if len(gradients) < _FEWEST or max(gradients) <= 0:
            continue
        least = initialization.lost_layer(min(event.resolution, _FLOAT32))
        share = min(gradients[0], gradients[-1]) / max(gradients[0], gradients[-1]) if min(gradients) > 0 else 0.0
        reason = _why_not(event, least, recording) if share < least else ""
        yield Evidence(
            LAWS[0], _site(event, recording), Quantity(least, Unit.RATIO), Quantity(share, Unit.RATIO), relation=Relation.AT_LEAST,
            how="backward hook, second run", reason=reason,
        )


def _why_not(event: DepthSeen, least: float, recording: Recording) -> str:
    """Why layers that far apart are not called broken; nothing where they are."""
    if min(event.gradients) == 0:
        return "some layers get no gradient at all: cut or dead, not faded by a factor a layer"
    if not _repeats(event, least):
        return "one layer alone makes the difference: no factor that repeats over the depth"
    said = f"the first layer's gradient is {format_number(event.gradients[0] / event.gradients[-1])} of the last one's, but"
    if event.gradients[0] > event.gradients[-1]:
        if recording.first(NonFiniteSeen) is not None:
            return f"{said} the run ended in values that are not finite: those are told first"
        return "" if max(event.moved, default=0.0) > 1 else f"{said} no step overwrote a layer"
    seen = progress(recording)
    if seen is None:
        return f"{said} whether the loss falls cannot be told: too few losses, or of several optimizers"
    return "" if seen.stands else f"{said} the loss does not stand where guessing does ({seen})"


def _steps(event: DepthSeen) -> list[float]:
    """The logarithm of what each layer makes of the gradient, from a layer to the one before it."""
    return [math.log(before / after) for before, after in zip(event.gradients, event.gradients[1:], strict=False)]


def _repeats(event: DepthSeen, least: float) -> bool:
    """Whether the layers but the steepest one would reach as far, were there as many of them."""
    steps = sorted(_steps(event), key=abs)[:-1]
    return abs(math.fsum(steps)) / len(steps) > abs(math.log(least)) / (len(steps) + 1)


def _site(event: DepthSeen, recording: Recording) -> Site:
    known = seen_by_number(recording)
    first = known.get(event.parameters[0])
    place = (first.initialized or first.constructed if first is not None else event.place) or event.place
    name = first.names[0].removesuffix(".weight") if first is not None and first.names else ""
    return Site(name, place.file, place.line, event.step, "train")


def _event(site: Site, recording: Recording) -> DepthSeen:
    return next(event for event in recording.of(DepthSeen) if _site(event, recording) == site)


def _factor(event: DepthSeen) -> float:
    """What a layer multiplies the gradient by on its way back: the geometric mean."""
    return math.exp(math.fsum(_steps(event)) / len(_steps(event)))


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each chain."""
    for evidence in broken:
        event = _event(evidence.site, recording)
        first, last, factor = event.gradients[0], event.gradients[-1], _factor(event)
        fades = first < last
        seen = progress(recording)
        so = str(seen) if fades else f"the step moved a layer by {format_number(max(event.moved))} times its norm"
        yield Finding(
            NAME, CODE, Severity.ERROR, f"the gradient {'fades' if fades else 'grows'} by a factor in every layer", (evidence,),
            message=f"at step {event.step} each of {len(event.gradients)} layers passes the gradient back times {format_number(factor)}"
            f" (1 with the right gain): {format_number(last)} at the last, {format_number(first)} at the first{_weights(event, recording)};"
            f" {so}",
            predicted_as=f"at least {format_number(evidence.predicted.value)} of the largest layer's gradient (sqrt(eps)/2)",
            measured_as=f"{format_number(evidence.measured.value if evidence.measured else 0.0)} between"
            f" {_name(event.parameters[0], recording)} and {_name(event.parameters[-1], recording)}",
        )


def _name(number: int, recording: Recording) -> str:
    seen = seen_by_number(recording).get(number)
    return seen.names[0] if seen is not None and seen.names else f"weight {number}"


def _weights(event: DepthSeen, recording: Recording) -> str:
    """How the middle layer was drawn, beside what keeps the size of the gradient."""
    seen = seen_by_number(recording).get(event.parameters[len(event.parameters) // 2])
    if seen is None or seen.deviation <= 0:
        return ""
    fan = math.prod(seen.shape[:1] + seen.shape[2:])
    name = seen.names[0] if seen.names else "a layer"
    scaled = format_number(seen.deviation * math.sqrt(fan))
    return f"; weights of {name} have std {format_number(seen.deviation)} = {scaled}/sqrt({fan})"


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Each layer behind the first, scaled by what it took from the gradient."""
    event = _event(finding.main.site, recording)
    known = seen_by_number(recording)
    inner = [known[number] for number in event.parameters[1:] if number in known]
    if len(inner) != len(event.parameters) - 1:
        return ()
    common = 1 / _factor(event)
    return [
        Change(
            "scale-parameters", f"begin with the weights of {len(inner)} layers times {format_number(common)}",
            f"for layer in layers[1:]: layer.weight.mul_({format_number(common)})  # under no_grad, before training",
            {
                "numbers": [seen.parameter for seen in inner], "factors": [common] * len(inner),
                "places": places_in_optimizer(recording, inner),
            },
        ),
    ]


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """For layers that cannot be scaled from outside."""
    del finding, recording
    return "initialise each layer with its activation's gain (He, Glorot), normalise between layers, or add residual connections"
