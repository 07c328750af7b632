"""A checkpointed part of the forward pass gives other values when the backward pass runs it again.

## What it holds
`autodiff.recomputed_share`: run again from the same inputs, state and random numbers, a part of the forward pass gives the same
values bit for bit. Held on every result of every part that one step runs again.

## Why it matters
The loss is that of one network, the gradient that of another: with dropout, of one with other units dropped. Nothing fails,
and the loss still falls, to a worse level.

## Example
```python
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(0)
block = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 16))
head = nn.Linear(16, 3)
optimizer = torch.optim.Adam([*block.parameters(), *head.parameters()], lr=1e-3)
inputs = torch.randn(256, 16)
labels = inputs[:, :3].argmax(1)
for _ in range(30):
    hidden = checkpoint(block, inputs, use_reentrant=False, preserve_rng_state=False)
    loss = nn.functional.cross_entropy(head(hidden), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 14 held, 0 undecided          example.py · 30 steps · N s · loss 1.091 → 0.8584
✗ recomputation-differs   example.py:12  block
  the backward pass recomputes other values than the forward pass had
  predicted  0 % of the values differ when the backward pass computes them again
  measured   15.87 % of those of dropout differ, by up to 2.675 where the largest is 2.682 (1 part looked at)
  why        checkpoint does not restore the generator of torch (preserve_rng_state=False), from which the part draws: it drew other numbers; the two runs part first at dropout (example.py:12), so the gradient is not that of the loss
  remedy tried restore the generators for the recomputation   15.87 % → 0 %   law holds   N× time
               checkpoint(..., preserve_rng_state=True)  # at example.py:12   loss at step 29: 0.8584 -> 0.8722
  explain: torchstone explain recomputation-differs
```

## Remedy
`preserve_rng_state=True`, which is the default, or torch's checkpoint in place of one written by hand. It is tried by putting the
generators of torch, Python and NumPy back for each recomputation.

## Silent when
Nothing is drawn inside the part, or the generators are restored; running statistics of batch normalisation move twice (its
output does not use them); a part stops early, having computed all that is needed; reversible networks reconstruct
inputs up to rounding.

## Limits
Held on one step, run eagerly (torch.compile restores generators by itself). Up to 64 roundings' difference is undecided: kernels
on a GPU may sum in any order. State that moves with every call (a counter) is a warning; undecided up to 1 % of the largest value
(spectral norm). Of large results 4096 elements measure the share; all of them are compared. Checkpoints written by hand are
seen where the backward pass repeats the forward pass's operations one after the other.

## Sources
torch.utils.checkpoint, preserve_rng_state; Chen et al. 2016, section 4; github.com/allenai/OLMo-core pull request 828;
github.com/openai/guided-diffusion issue 167.
"""

from collections.abc import Iterator, Sequence

from torchstone.core.events import BackwardCalled, RecomputedSeen
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import RecomputationSeen
from torchstone.core.quantity import Quantity, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.laws import autodiff

NAME = "recomputation-differs"
CODE = "TS168"
LAWS = ("autodiff.recomputed_share",)
SINCE = "0.2"

_ROUNDINGS = 64  # of one sum in another order
_MATERIAL = 0.01  # of the largest value: gradients of small batches differ by more from step to step
_TORCHS = {"torch", "torch.cuda"}


def look(recording: Recording) -> Probe | None:
    """Where a checkpoint is at work: compare what it computes twice."""
    entered = (
        event.step for event in recording.of(BackwardCalled)
        if any(one.operation == "checkpointfunction" for one in event.operations)
    )
    step = min((*(event.step for event in recording.of(RecomputedSeen)), *entered), default=None)
    return None if step is None else Probe("recomputation", step)


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every line that has a part of the forward pass run again."""
    for event in recording.of(RecomputationSeen):
        yield Evidence(
            LAWS[0], _site(event), Quantity(autodiff.recomputed_share(0.0), Unit.RATIO), Quantity(event.share, Unit.RATIO),
            how="every result twice, in one step", reason=_undecided(event),
        )


def _undecided(event: RecomputationSeen) -> str:
    if not event.share or event.instead:
        return ""
    if event.difference <= _ROUNDINGS * event.resolution * event.largest:
        return "no more than a sum in another order would differ by"
    if not event.generators and event.difference <= _MATERIAL * event.largest:
        return "what it depends on moves a little with every call (as spectral norm does): by less than 1 % of the largest value"
    return ""


def _site(event: RecomputationSeen) -> Site:
    return Site(event.module or event.by, event.place.file, event.place.line, event.step, "train")


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each such line."""
    for event in recording.of(RecomputationSeen):
        mine = tuple(evidence for evidence in broken if evidence.site == _site(event))
        if not mine:
            continue
        severity = Severity.ERROR if event.generators or event.instead else Severity.WARNING
        parts = f"{event.parts} part{'s' if event.parts > 1 else ''}"
        yield Finding(
            NAME, CODE, severity, "the backward pass recomputes other values than the forward pass had", mine,
            message=_story(event),
            predicted_as="0 % of the values differ when the backward pass computes them again",
            measured_as=f"{format_number(100 * event.share)} % of those of {event.operation} differ, by up to"
            f" {format_number(event.difference)} where the largest is {format_number(event.largest)} ({parts} looked at)",
        )


def _story(event: RecomputationSeen) -> str:
    who = "checkpoint" if event.by == "checkpoint" else f"{event.by}.apply"
    if event.generators:
        names = " and ".join(event.generators)
        asked = " (preserve_rng_state=False)" if event.by == "checkpoint" and not event.preserved else ""
        cause = f"{who} does not restore the generator of {names}{asked}, from which the part draws: it drew other numbers"
    else:
        cause = f"no shared generator explains it: what {who} runs depends on something that changed in between"
    where = f"first at {event.operation} ({event.at})" if event.at else f"first at {event.operation}"
    then = f", where {event.instead} ran instead" if event.instead else ""
    return f"{cause}; the two runs part {where}{then}, so the gradient is not that of the loss"


def _event_of(finding: Finding, recording: Recording) -> RecomputationSeen | None:
    return next((event for event in recording.of(RecomputationSeen) if _site(event) == finding.main.site), None)


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Restore the generators, where they are the cause."""
    event = _event_of(finding, recording)
    if event is None or not event.generators:
        return ()
    where = f"{finding.main.site.file}:{finding.main.site.line}"
    if event.by != "checkpoint":
        patch = f"torch.utils.checkpoint.checkpoint(function, *inputs, use_reentrant=False)  # for {event.by}.apply at {where}"
    elif set(event.generators) <= _TORCHS:
        patch = f"checkpoint(..., preserve_rng_state=True)  # at {where}"
    else:
        patch = f"draw before checkpoint(...) at {where} and hand the numbers in, or draw with torch inside"
    return (Change("preserve-rng", "restore the generators for the recomputation", patch),)


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to look for where no generator is the cause."""
    event = _event_of(finding, recording)
    what = f" at {event.at}" if event is not None and event.at else ""
    return f"keep what it depends on{what} the same until the backward pass is over: counters, buffers, generators of its own, parameters"
