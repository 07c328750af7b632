"""A model that knows nothing starts far above the loss of guessing.

## What it holds
`loss.uniform_cross_entropy`: a classifier that knows nothing starts at ln K (`loss.uniform_binary_cross_entropy`: ln 2).
`initialization.copied_logit_bound`: in a model whose head shares the input embedding, the token just read keeps a
logit of sqrt(d) at most. Both are held at the first step, on the logits that reach the loss.

## Why it matters
Every nat above ln K is confidence in answers that were never learned. The first steps go into unlearning it, with
gradients that are large and point nowhere else; with warm-up and clipping that can take most of a run.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
vocabulary, width = 1000, 64
embed, head = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary, bias=False)
nn.init.normal_(head.weight, std=1.0)
model = nn.Sequential(embed, nn.LayerNorm(width), head)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(20):
    tokens = torch.randint(0, vocabulary, (32, 17))
    loss = nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 11 held, 0 undecided          example.py · 20 steps · N s · loss 26.34 → 25.17
✗ initial-loss-above-uniform   example.py:7  model.2
  the loss starts far above that of guessing
  predicted  6.908 nats = ln 1000, plus s^2/2 for logits of spread s
  measured   26.34 nats at step 0
  why        logits have a spread of 8.004 = std 0.9993 of model.2.weight x sqrt(64); that alone starts at 26.19 nats
  remedy tried initialise model.2 with std 0.02   26.34 nats → 6.92 nats   law holds   N× time
               nn.init.normal_(model.2.weight, std=0.02)   loss at step 19: 25.17 -> 6.918
  remedy tried initialise model.2 with std 1/sqrt(64) = 0.125   26.34 nats → 7.405 nats   law holds   N× time
               nn.init.normal_(model.2.weight, std=0.125)   loss at step 19: 25.17 -> 7.356
  explain: torchstone explain initial-loss-above-uniform
```

## Remedy
Initialise the matrix that makes the logits with a smaller standard deviation; 0.02 (GPT-2, BERT) is tried first,
1/sqrt(d) second. Both are tried by scaling the weights before the first forward pass, everything else the same.

## Silent when
The loss starts at ln K or below it; weights were loaded before training; the head is tied and what lies above
ln K is the copied token's logit alone (T5 and its like: undecided, with the figure); the logits are spread, but the
softmax is not frozen (s^2 < 2 ln K), as with inputs that were not normalised: undecided; no weights make the logits
directly, as in contrastive losses with a temperature: undecided.

## Limits
A loss inside a compiled region, or written by hand without `torch.nn.functional`, is not seen. Rows are measured up
to 512, evenly spaced; the tolerance names the error that leaves.

## Sources
Derrida 1981, section III (the random energy model); Glorot and Bengio 2010, section 4.2;
Radford et al. 2019, section 2.3 (0.02).
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.core.events import LossComputed, ParameterSeen
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.core.steps import OptimizerSeen, ParametersExamined
from torchstone.laws import initialization, loss

NAME = "initial-loss-above-uniform"
CODE = "TS101"
LAWS = ("loss.uniform_cross_entropy", "loss.uniform_binary_cross_entropy", "initialization.copied_logit_bound")
SINCE = "0.1"

# Unit spread is what 1/sqrt(d) gives a normalised state; a tenth more for the draw. Common inits stay far below it.
_MODEL = Amount(1.1**2 / 2, "logits of spread up to 1.1: s^2/2")
_BINARY = {"binary_cross_entropy", "binary_cross_entropy_with_logits"}
# Below this many nats above uniform a start is never called broken, however few the classes: e^-2 of a chance is left.
_HARMLESS = 2.0
_COPIED_SLACK = 0.1
# A head that gives a normalised input twice the spread of unit logits was drawn too wide, whatever it reads.
_WIDE = 2.0


def hold(recording: Recording) -> Iterator[Evidence]:
    """The first call of each classification loss, against guessing; and the copied token's logit, apart."""
    for event, head in _first_calls(recording):
        binary = event.function in _BINARY
        law = LAWS[1] if binary else LAWS[0]
        uniform = loss.uniform_binary_cross_entropy() if binary else loss.uniform_cross_entropy(event.classes)
        yield Evidence(
            law, _site(event, head), Quantity(uniform, Unit.NATS), Quantity(event.nats or 0.0, Unit.NATS), _tolerance(event),
            Relation.AT_MOST, "loss hook", _undecided(event, head, uniform),
        )
        if event.copied is not None and head is not None and event.copied.embedding == head.parameter:
            yield _copied(event, head)


def _first_calls(recording: Recording) -> Iterator[tuple[LossComputed, ParameterSeen | None]]:
    parameters = {seen.parameter: seen for seen in recording.of(ParameterSeen)}
    seen_sites: set[tuple[str, object]] = set()
    for event in recording.of(LossComputed):
        site = (event.function, event.place)
        if event.nats is None or not math.isfinite(event.nats + event.nats_deviation) or site in seen_sites:
            continue
        seen_sites.add(site)
        head = parameters.get(event.head) if event.head is not None else None
        if event.step == 0 or (head is not None and not _trained(recording, head, event.step)):
            yield event, head


def _trained(recording: Recording, head: ParameterSeen, step: int) -> bool:
    looks = [look for look in recording.of(ParametersExamined) if look.step <= step and head.parameter in look.parameters]
    return any(look.changed[look.parameters.index(head.parameter)] for look in looks)


def _tolerance(event: LossComputed) -> Tolerance:
    error = 3 * event.nats_deviation / math.sqrt(max(event.rows_measured, 1))
    return Tolerance(
        _MODEL, Amount(error, f"3 standard errors of {event.rows_measured} rows"), Amount(1e-3 * abs(event.nats or 0), "float32")
    )


def _undecided(event: LossComputed, head: ParameterSeen | None, uniform: float) -> str:
    """Why a start above uniform is not called broken; nothing where the numbers decide."""
    nats = event.nats if event.nats is not None else math.nan
    excess = nats - uniform
    allowed = _tolerance(event).total
    if excess <= allowed:
        return ""
    start = f"starts {format_number(excess)} nats above uniform"
    if head is not None and head.loaded:
        return f"{start}, but the weights were loaded before training: no untrained head to predict"
    copied = event.copied
    if copied is not None and head is not None and copied.nats_without - uniform <= allowed:
        bound = initialization.copied_logit_bound(_width(head, event))
        if copied.logit <= bound * (1 + _COPIED_SLACK):
            stays = format_number(excess)
            return f"the copied token's logit stays ({format_number(copied.logit)}): it alone adds {stays} nats"
    if head is None:
        return f"{start}, but no matrix of weights was found that makes these logits: a temperature may be meant"
    too_wide = initialization.head_spread(head.deviation, _width(head, event)) > _WIDE
    if excess <= (_HARMLESS if too_wide else max(uniform, _HARMLESS)):
        spread = format_number(event.spread)
        return f"{start}: logits spread by {spread}, less than a frozen softmax would (ln K)"
    return ""


def _copied(event: LossComputed, head: ParameterSeen) -> Evidence:
    width = _width(head, event)
    logit = event.copied.logit if event.copied else 0.0
    bound = initialization.copied_logit_bound(width)
    loaded = "the weights were loaded before training" if head.loaded else ""
    return Evidence(
        LAWS[2], _site(event, head), Quantity(bound, Unit.LOGITS), Quantity(logit, Unit.LOGITS),
        Tolerance(Amount(_COPIED_SLACK * bound, "a spread of the other logits a little above 1")), Relation.AT_MOST,
        "loss hook", loaded,
    )


def _width(head: ParameterSeen, event: LossComputed) -> int:
    """What one logit is a sum over: everything in the head but its classes."""
    size = math.prod(head.shape)
    return max(size // event.classes if event.classes in head.shape else max(head.shape), 1)


def _site(event: LossComputed, head: ParameterSeen | None) -> Site:
    place = (head.initialized or head.constructed if head is not None else None) or event.place
    return Site(_head_name(head), place.file, place.line, event.step, event.phase)


def _head_name(head: ParameterSeen | None) -> str:
    if head is None or not head.names:
        return ""
    paths = [name.removesuffix(".weight") for name in head.names]
    last, others = paths[-1], paths[:-1]
    return f"{last} (tied to {', '.join(others)})" if others else last


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each loss call: its initial loss, and the copied logit where that is broken too."""
    calls = {_site(event, head): (event, head) for event, head in _first_calls(recording)}
    for site, (event, head) in calls.items():
        mine = tuple(evidence for evidence in broken if evidence.site == site)
        if not mine or mine[0].law == LAWS[2]:
            continue
        nats = event.nats or 0.0
        classes = "ln 2" if event.function in _BINARY else f"ln {event.classes}"
        yield Finding(
            NAME, CODE, Severity.ERROR, "the loss starts far above that of guessing", mine,
            message=_why(event, head),
            predicted_as=f"{mine[0].predicted} = {classes}, plus s^2/2 for logits of spread s",
            measured_as=f"{format_number(nats)} nats at step {event.step}",
        )


def _why(event: LossComputed, head: ParameterSeen | None) -> str:
    spread = f"logits have a spread of {format_number(event.spread)}"
    if head is not None:
        width = _width(head, event)
        lawful = initialization.head_spread(head.deviation, width)
        weights = f"std {format_number(head.deviation)} of {head.names[-1]} x sqrt({width})"
        scale = event.spread / lawful if lawful > 0 else 1.0
        if 0.8 <= scale <= 1.25:  # noqa: PLR2004 - agreement worth naming
            spread += f" = {weights}"
        elif scale > 1:
            spread += f", {format_number(scale)} times {weights}: what the head reads is that much larger than a normalised input"
        else:
            spread += f"; {weights} would give a normalised input {format_number(lawful)}"
    sentences = [spread]
    if event.classes > 1 and event.function not in _BINARY:
        alone = initialization.softmax_cross_entropy(event.classes, event.spread)
        sentences.append(f"that alone starts at {format_number(alone)} nats")
    copied = event.copied
    if copied is not None and copied.logit > 3 * event.spread and (event.nats or 0) - copied.nats_without > 1:
        sentences.append(
            f"the input token's own logit is {format_number(copied.logit)}; without it the loss would be"
            f" {format_number(copied.nats_without)}"
        )
    return "; ".join(sentences)


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Smaller weights in the matrix that makes the logits."""
    head = next((h for event, h in _first_calls(recording) if _site(event, h) == finding.main.site and h is not None), None)
    if head is None or head.deviation <= 0:
        return ()
    width = next((_width(head, event) for event, h in _first_calls(recording) if h is head), 1)
    tied = any(item.law == LAWS[2] for item in hold(recording) if item.site == finding.main.site)
    drawn_alike = [head, *(_drawn_alike(recording, head) if tied else ())]
    modules = " and ".join(seen.names[0].removesuffix(".weight") for seen in drawn_alike)
    targets = {0.02: "0.02", 1 / math.sqrt(width): f"1/sqrt({width}) = {format_number(1 / math.sqrt(width))}"}
    return [
        Change(
            "scale-parameters", f"initialise {modules} with std {said}",
            "; ".join(f"nn.init.normal_({seen.names[0]}, std={format_number(std)})" for seen in drawn_alike),
            {
                "numbers": [seen.parameter for seen in drawn_alike],
                "factors": [std / seen.deviation for seen in drawn_alike],
                "places": _places(recording, drawn_alike),
            },
        )
        for std, said in targets.items()
        if std < head.deviation
    ]


def _places(recording: Recording, wanted: Sequence[ParameterSeen]) -> list[int]:
    """Where weights that are in no module stand in the only optimizer; nothing for those of a model."""
    optimizers = {seen.optimizer: seen for seen in recording.of(OptimizerSeen)}
    if len(optimizers) != 1 or any(seen.model >= 0 for seen in wanted):
        return []
    order = [number for seen in optimizers.values() for group in seen.groups for number in group.parameters]
    return [order.index(seen.parameter) for seen in wanted if seen.parameter in order]


def _drawn_alike(recording: Recording, head: ParameterSeen) -> list[ParameterSeen]:
    """Other matrices of the model that were drawn as wide as the head: the tables of a tied model."""
    wide = 3 * _deviation_of_unit_spread(head)
    return [
        seen for seen in recording.of(ParameterSeen)
        if seen is not head and seen.model == head.model and len(seen.shape) == 2 and seen.step == head.step  # noqa: PLR2004
        and seen.deviation > wide and abs(seen.deviation / head.deviation - 1) < 0.2  # noqa: PLR2004 - drawn alike
    ]


def _deviation_of_unit_spread(head: ParameterSeen) -> float:
    """The weight deviation at which logits over a normalised state have spread 1."""
    return 1 / math.sqrt(min(head.shape))


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """For logits whose matrix was not found, or is small already."""
    del finding, recording
    return "no single matrix makes these logits large: normalise the inputs, or what the head reads (LayerNorm)"
