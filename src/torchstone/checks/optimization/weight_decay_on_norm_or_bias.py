"""Some norm weights or biases were exempt from weight decay, and the filter missed others of their kind.

## What it holds
`optimization.decay_share`: a parameter that is exempt from decay loses the share 0 at a step. Held on norm weights, norm biases and
other biases of an optimizer that has a group without decay for such parameters.

## Why it matters
A norm's weight that decays pulls its layer's output towards zero, and the filter was written to prevent that. The loss barely shows it.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
model = nn.Sequential(layer, nn.Linear(16, 4))
no_decay = ["bias", "LayerNorm.weight"]
named = list(model.named_parameters())
groups = [
    {"params": [p for n, p in named if not any(word in n for word in no_decay)], "weight_decay": 0.01},
    {"params": [p for n, p in named if any(word in n for word in no_decay)], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=1e-3)
for x in torch.randn(20, 8, 5, 16):
    optimizer.zero_grad()
    logits = model(x)[:, 0]
    nn.functional.cross_entropy(logits, x[:, 0, :4].argmax(1)).backward()
    optimizer.step()
```

## Report
```text
1 finding: 2 laws broken, 29 held, 0 undecided          example.py · 20 steps · N s · loss 1.249 → 1.153
! weight-decay-on-norm-or-bias   example.py:13  model.0.norm1.weight
  norm weights or biases decay although others are exempt
  predicted  0 norm weights and biases of an exempt kind in a group that decays
  measured   2 in the group of weight_decay 0.01, which takes the share lr x weight_decay of them at every step
  why        AdamW has a group without decay for 7 norm and bias tensors, and decays model.0.norm1.weight, model.0.norm2.weight; the code names 'LayerNorm.weight', which no parameter's name holds
  remedy tried move them to the group without decay   0.001 % → 0 %   law holds   N× time
               no_decay = [p for p in model.parameters() if p.ndim < 2]  # by dimension, not by name   loss at step 19: 1.153 -> 1.153
  explain: torchstone explain weight-decay-on-norm-or-bias
```

## Remedy
Exempt every parameter of fewer than two dimensions, or go by the module's class, not by names. Tried by moving the parameters
that were missed to the group without decay.

## Silent when
One group decays everything, or one number of weight_decay holds for all (sound practice); a kind decays as a whole while another is
exempt (biases exempt, norm weights not), unless the filter names norm layers that the model does not have; the group without decay
holds layers' matrices as well (a split by part); parameters have no gradient. Embeddings are not held.

## Limits
What is a norm is told by its class's name. Filters are read in the code that builds the optimizer, and in functions that it names and
that go through named_parameters; not elsewhere.

## Sources
transformers pull request 35927 and issue 4360; lit-llama issue 254; Loshchilov and Hutter 2019.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torchstone.checks.lives import Life, lives_of
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording
from torchstone.core.steps import GroupSeen, OptimizerSeen
from torchstone.laws import optimization

NAME = "weight-decay-on-norm-or-bias"
CODE = "TS161"
LAWS = ("optimization.decay_share",)
SINCE = "0.1"

_NORM = re.compile(r"norm|^rms|^ln$", re.IGNORECASE)
_LOOKED_UP = re.compile(r"emb|wte|wpe|tok|pos|cls", re.IGNORECASE)
_KINDS = ("norm weight", "norm bias", "bias")
_SHOWN = 3
_BY_PART = "the group without decay holds layers' matrices as well: taken as a split by part of the model"


@dataclass
class _Kind:
    """The parameters of one kind: those without decay, and those that decay, each with its group."""

    exempt: list[Life] = field(default_factory=list)
    decaying: list[tuple[Life, GroupSeen]] = field(default_factory=list)


def _kind(life: Life) -> str:
    """Which kind of exempt parameter this is; empty for any other."""
    names = life.seen.names
    if len(life.seen.shape) != 1 or not names:
        return ""
    bias = "bias" in names[0].rpartition(".")[2].lower()
    if _NORM.search(life.seen.owner):
        return "norm bias" if bias else "norm weight"
    return "bias" if bias else ""


def _is_layer(life: Life) -> bool:
    """A matrix of a linear or convolutional layer: what decay is for."""
    names = life.seen.names
    if len(life.seen.shape) < 2 or len(names) != 1 or not names[0].endswith("weight"):  # noqa: PLR2004 - matrices
        return False
    return not (_NORM.search(life.seen.owner) or life.seen.owner.startswith("Embedding") or _LOOKED_UP.search(names[0]))


@dataclass
class _Held:
    """One optimizer whose groups exempt norms or biases."""

    optimizer: OptimizerSeen
    kinds: dict[str, _Kind]
    by_part: bool
    parts: dict[tuple[float, float], set[str]]
    words: tuple[str, ...]

    def missed(self, kind: str) -> str:
        """Why the decaying ones of a kind are taken as missed: what the others show; empty if nothing does."""
        held = self.kinds[kind]
        if held.decaying and held.exempt:
            return "others"
        return "words" if held.decaying and kind == "norm weight" and self.words and self.kinds["norm bias"].exempt else ""

    def elsewhere(self, life: Life, group: GroupSeen) -> bool:
        """Whether a decaying parameter's group has no layer of a part of the model where anything is exempt."""
        exempt = {_part(other) for kind in self.kinds.values() for other in kind.exempt}
        return _part(life) not in exempt and not self.parts.get((group.learning_rate, group.weight_decay), set()) & exempt


def _part(life: Life) -> str:
    return ".".join(life.seen.names[0].split(".")[:2])


def _optimizers(recording: Recording) -> Iterator[_Held]:
    lives = {life.seen.parameter: life for life in lives_of(recording) if life.seen.names and life.seen.origin == "registered"}
    names = [name.lower() for life in lives.values() for name in life.seen.names]
    for seen in {seen.optimizer: seen for seen in recording.of(OptimizerSeen)}.values():
        kinds = {kind: _Kind() for kind in _KINDS}
        parts: dict[tuple[float, float], set[str]] = {}
        by_part = False
        for group in seen.groups:
            for life in (lives[number] for number in group.parameters if number in lives):
                kind = _kind(life)
                if kind and group.weight_decay == 0:
                    kinds[kind].exempt.append(life)
                elif kind and life.has_gradient:
                    kinds[kind].decaying.append((life, group))
                elif not kind and _is_layer(life):
                    by_part |= group.weight_decay == 0
                    if group.weight_decay:
                        parts.setdefault((group.learning_rate, group.weight_decay), set()).add(_part(life))
        if parts and any(kind.exempt for kind in kinds.values()):
            idle = tuple(word for word in seen.words if not any(word.lower() in name for name in names))
            yield _Held(seen, kinds, by_part, parts, idle)


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every norm weight and bias of a kind that an optimizer exempts."""
    return (evidence for held in _optimizers(recording) for evidence, _ in _rows(held))


def _rows(held: _Held) -> Iterator[tuple[Evidence, Life]]:
    for kind, members in held.kinds.items():
        for life in members.exempt:
            yield _evidence(held, life, 0.0), life
        missed = held.missed(kind)
        for life, group in members.decaying if missed else ():
            reason = _BY_PART if held.by_part else ""
            if not reason and missed == "others" and held.elsewhere(life, group):
                reason = "nothing is exempt in this part of the model: taken as a split by part"
            yield _evidence(held, life, optimization.decay_share(group.weight_decay, group.learning_rate), reason), life


def _evidence(held: _Held, life: Life, share: float, reason: str = "") -> Evidence:
    place = held.optimizer.built or held.optimizer.place
    site = Site(life.seen.names[0], place.file, place.line, held.optimizer.step, "train")
    expected = Quantity(optimization.decay_share(0.0, max(group.learning_rate for group in held.optimizer.groups)), Unit.RATIO)
    return Evidence(LAWS[0], site, expected, Quantity(share, Unit.RATIO), how="optimizer hook", reason=reason)


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each optimizer."""
    for held in _optimizers(recording):
        rows = [(evidence, life) for evidence, life in _rows(held) if evidence in broken]
        if not rows:
            continue
        names = [life.seen.names[0] for _, life in rows]
        listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        exempt = sum(len(kind.exempt) for kind in held.kinds.values())
        decay = max(group.weight_decay for group in held.optimizer.groups)
        words = f"; the code names {', '.join(map(repr, held.words[:_SHOWN]))}, which no parameter's name holds" if held.words else ""
        yield Finding(
            NAME, CODE, Severity.WARNING, "norm weights or biases decay although others are exempt",
            tuple(evidence for evidence, _ in rows),
            message=f"{held.optimizer.class_name} has a group without decay for {exempt} norm and bias tensors, and decays"
            f" {listed}{words}",
            predicted_as="0 norm weights and biases of an exempt kind in a group that decays",
            measured_as=f"{len(rows)} in the group of weight_decay {decay:g}, which takes the share lr x weight_decay of them at every step",
        )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Move them to the group without decay."""
    mine = [life.seen.parameter for held in _optimizers(recording) for evidence, life in _rows(held) if evidence in finding.evidence]
    return (
        Change(
            "exempt-from-decay", "move them to the group without decay",
            "no_decay = [p for p in model.parameters() if p.ndim < 2]  # by dimension, not by name", {"numbers": mine},
        ),
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "trials were switched off"
