"""A low-rank adapter's zero factor never leaves zero: the adapted model is the frozen one.

## What it holds
`adaptation.factor_updates`: the zero factor of a fresh pair moves at every step from the first on. Held on pairs of
matrices that share a low rank, one of them exactly zero at the start, known by name (lora_A, lora_B) or by a frozen weight beside them.

## Why it matters
The product of the factors stays zero, so every step trains nothing of the adapters. The loss may still fall: a head or a norm learns.

## Example
```python
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

class LoRALinear(nn.Module):
    def __init__(self, base, rank=2):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features) / rank)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T

torch.manual_seed(0)
layer, head = LoRALinear(nn.Linear(8, 16)), nn.Linear(16, 4)
optimizer = torch.optim.Adam([layer.lora_A, layer.lora_B, *head.parameters()], lr=1e-2)
for x in torch.randn(30, 64, 8):
    optimizer.zero_grad()
    nn.functional.cross_entropy(head(checkpoint(layer, x, use_reentrant=True)), x[:, :4].argmax(1)).backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 10 held, 2 undecided          example.py · 30 steps · N s · loss 1.485 → 0.8731
✗ adapter-never-trains   example.py:10  layer.lora_B 16x2
  no gradient reaches the adapters inside a checkpoint
  predicted  30 updates of each zero factor in 30 steps
  measured   1 of 1 adapters are still exactly zero
  why        layer.lora_B 16x2: no input of the reentrant checkpoint at example.py:19 requires a gradient (what feeds it is frozen), so nothing inside it gets one
  remedy tried let the checkpoint's input require a gradient   0 → 30   law holds   N× time
               x.requires_grad_() on what enters the first checkpoint (transformers: model.enable_input_require_grads())   loss at step 29: 0.8731 -> 0.6241
  remedy tried checkpoint without reentrance   0 → 30   law holds   N× time
               checkpoint(..., use_reentrant=False)   loss at step 29: 0.8731 -> 0.6241
  explain: torchstone explain adapter-never-trains
? undecided: its module ran without gradients only: taken as frozen on purpose   example.py:9  layer.lora_A 2x8 and 1 more
```

## Remedy
Not in the optimizer: give it the factors. A reentrant checkpoint whose inputs ask for no gradient (frozen embeddings): let the input
ask for one, or checkpoint without reentrance. A frozen zero factor: train it. Both factors zero: draw one. Each is tried.

## Silent when
The other factor has no gradient at the first step (that is right), or is frozen on purpose; both factors are frozen; the
learning rate is 0; other adapters of its kind are trained (experts); weights were loaded into the adapter, so that it is not zero.

## Limits
Adapters whose factors are no registered matrices (functional code, convolutions by shape alone) are held by parameter-never-updated.

## Sources
Hu et al. 2022, section 4.1; torch.utils.checkpoint (use_reentrant); transformers issue 26334 and pull requests 25846, 23990.
"""

from collections.abc import Iterator, Sequence

from torchstone.checks.adapters import Pair, judged
from torchstone.core.events import CheckpointWithoutGradient
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Severity
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording
from torchstone.laws.adaptation.factors import factor_updates

NAME = "adapter-never-trains"
CODE = "TS170"
LAWS = ("adaptation.factor_updates",)
SINCE = "0.1"

_SHOWN = 3
_TITLES = {
    "not in the optimizer": "the adapters get gradients, but no optimizer holds them",
    "checkpoint": "no gradient reaches the adapters inside a checkpoint",
    "frozen": "the adapters' zero factor does not require a gradient",
    "both zero": "both factors of the adapters are zero: neither ever gets a gradient",
    "zero gradient": "the adapters' gradients are exactly zero",
    "without gradients": "the adapters run without gradients only",
    "never called": "the adapters are in the optimizer, but never called",
    "no gradient": "the adapters run in the forward pass, but no gradient comes back",
}


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every fresh adapter."""
    return (evidence for evidence, _, _ in _held(recording))


def _held(recording: Recording) -> Iterator[tuple[Evidence, Pair, str]]:
    steps = recording.steps
    for pair, cause, reason in judged(recording) if steps else ():
        received = 0 if cause else steps
        yield Evidence(
            LAWS[0], _site(pair), Quantity(factor_updates(steps)[0], Unit.COUNT),
            None if reason else Quantity(received, Unit.COUNT), how="optimizer hook", reason=reason,
        ), pair, cause  # fmt: skip


def _site(pair: Pair) -> Site:
    place = pair.zero.seen.constructed
    return Site(_name(pair), place.file, place.line, pair.zero.seen.step, "train")


def _name(pair: Pair) -> str:
    return f"{pair.zero.seen.names[0]} {'x'.join(map(str, pair.zero.seen.shape))}"


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each cause."""
    by_cause: dict[str, list[tuple[Evidence, Pair]]] = {}
    everything = list(_held(recording))
    for evidence, pair, cause in everything:
        if cause and evidence in broken:
            by_cause.setdefault(cause, []).append((evidence, pair))
    for cause, rows in by_cause.items():
        names = [_name(pair) for _, pair in rows]
        listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        yield Finding(
            NAME, CODE, Severity.ERROR, _TITLES[cause], tuple(evidence for evidence, _ in rows),
            message=f"{listed}: {_why(cause, recording)}",
            predicted_as=f"{recording.steps} updates of each zero factor in {recording.steps} steps",
            measured_as=f"{len(rows)} of {len(everything)} adapters are still exactly zero",
        )


def _why(cause: str, recording: Recording) -> str:
    if cause == "checkpoint":
        seen = recording.first(CheckpointWithoutGradient)
        where = f" at {seen.place}" if seen is not None and seen.place else ""
        return f"no input of the reentrant checkpoint{where} requires a gradient (what feeds it is frozen), so nothing inside it gets one"
    return {
        "not in the optimizer": "the optimizer was built without them",
        "frozen": "requires_grad is off for it, while its partner is trained: the product of the two stays zero",
        "both zero": "each factor's gradient is a product with the other factor",
        "zero gradient": "the factors' product is multiplied by 0 (alpha // rank of whole numbers, or a gate that is closed)",
        "without gradients": "every call of their modules was under no_grad, or inside a checkpoint that cuts the gradient",
        "never called": "the module that holds them was not called in any step: its layer is bypassed, or its weight is read instead",
        "no gradient": "their output never reaches the loss that backward() starts from",
    }[cause]


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """What makes the zero factor move, for each cause that can be changed from outside."""
    mine = [pair for _, pair, cause in _held(recording) if _TITLES.get(cause) == finding.title]
    numbers: dict[str, object] = {"numbers": [life.seen.parameter for pair in mine for life in (pair.zero, pair.other)]}
    if finding.title == _TITLES["not in the optimizer"]:
        patch = "build the optimizer after the adapters are in: torch.optim.X(p for p in model.parameters() if p.requires_grad)"
        return (Change("add-parameters", "give the optimizer the adapters", patch, numbers),)
    if finding.title == _TITLES["checkpoint"]:
        asks = "x.requires_grad_() on what enters the first checkpoint (transformers: model.enable_input_require_grads())"
        return (
            Change("input-requires-gradient", "let the checkpoint's input require a gradient", asks),
            Change("checkpoint-without-reentrance", "checkpoint without reentrance", "checkpoint(..., use_reentrant=False)"),
        )
    if finding.title == _TITLES["frozen"]:
        patch = "requires_grad_(True) on both factors, before the optimizer is built"
        return (Change("train-parameters", "train the zero factor too", patch, numbers),)
    if finding.title == _TITLES["both zero"]:
        drawn: dict[str, object] = {"numbers": [pair.zero.seen.parameter for pair in mine]}
        patch = f"nn.init.kaiming_uniform_({mine[0].zero.seen.names[0]}, a=math.sqrt(5))  # and so for each pair; the other factor stays zero"
        return (Change("draw-parameters", "draw one of the factors", patch, drawn),)
    return ()


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to do by hand."""
    del recording
    if finding.title == _TITLES["zero gradient"]:
        return "scale the product by alpha / rank, not by 0; a change of the model's code cannot be tried from outside"
    if finding.title == _TITLES["without gradients"]:
        return "run the adapted layers with gradients on, or leave the adapters out of the optimizer"
    return "call the adapted layer, and use its output in the loss; a change of the model's code cannot be tried from outside"
