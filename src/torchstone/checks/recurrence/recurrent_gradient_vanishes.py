"""A recurrent network whose gradient is gone before it reaches the beginning of the sequence, while the loss stands.

## What it holds
`recurrence.lost_gradient`: the gradient by the first of T steps is at least eps/4 of the largest one. Held on each recurrence,
in the backward pass of one step of a second run, where the loss of the first did not fall.

## Why it matters
The gradient of a recurrent weight is a sum over time. What is smaller than eps/4 of the sum is rounded away, so what stands
early in the sequence cannot be learned from, however long the training. Each step back multiplies the gradient by nearly the
same factor, which makes delta^T of it.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
rnn, head = nn.LSTM(2, 32, batch_first=True), nn.Linear(32, 2)
optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-2)
for _ in range(64):
    signs = torch.randint(0, 2, (64,))
    inputs = 0.3 * torch.randn(64, 150, 2)
    inputs[:, 0, 0] = 2.0 * signs - 1
    states, _ = rnn(inputs)
    loss = nn.functional.cross_entropy(head(states[:, -1]), signs)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 18 held, 0 undecided          example.py · 64 steps · N s · loss 0.6975 → 0.6952
✗ recurrent-gradient-vanishes   example.py:11  rnn
  the gradient fades before it reaches the beginning of the sequence
  predicted  at least 2.98e-08 of the largest gradient at every time step (eps/4)
  measured   3.022e-35 at time step 1 of 150
  why        at step 32 the gradient of time step 1 of 150 is 3.022e-35 of the largest (a factor of 0.5947 a step); 121 of 150 steps are lost in the rounding of the sum over time, and the loss is 0.6935 at first and 0.6944 at last, guessing costs 0.6931
  remedy tried begin with forget gates that remember for up to 150 steps   3.022e-33 % → 12.87 %   law holds   N× time
               rnn.bias_hh_l0[32:64] = torch.empty(32).uniform_(1, 149).log(); rnn.bias_hh_l0[:32] = -rnn.bias_hh_l0[32:64]  # under no_grad   loss at step 63: 0.6952 -> 0.3287
  explain: torchstone explain recurrent-gradient-vanishes
```

## Remedy
LSTM and GRU: begin with forget (update) gates that remember for up to T steps. Plain recurrences: begin with an orthogonal
matrix. Both are tried as the script's first values. Else a shorter way to the loss: attention or pooling over the states.

## Silent when
The loss falls; less than a quarter of the sequence is lost; every step has a loss of its own; states are pooled or attended to;
a bidirectional network hears both ends; the gradient is cut on purpose (truncated backpropagation through time).

## Limits
Needs 24 losses or more of one optimizer, and a script that repeats itself. Labels that do not depend on the input look the same
as a task that cannot be learned: the message is true then too, and no remedy helps. Loops in compiled code are looked at uncompiled.

## Sources
Pascanu, Mikolov and Bengio 2013, section 2; Hochreiter and Schmidhuber 1997, section 3; Tallec and Ollivier 2018, section 3;
Saxe, McClelland and Ganguli 2014 (orthogonal weights).
"""

from collections.abc import Iterator, Sequence

from torchstone.checks.progress import progress
from torchstone.checks.recurrences import (
    carrying,
    deep_steps,
    events_by_site,
    factor_a_step,
    has_recurrence,
    is_overwritten,
    orthogonal,
    resolution_of,
    seen_by_number,
    times,
)
from torchstone.core.evidence import Evidence, Relation
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import RecurrenceSeen
from torchstone.core.quantity import Quantity, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.laws import recurrence

NAME = "recurrent-gradient-vanishes"
CODE = "TS130"
LAWS = ("recurrence.lost_gradient",)
SINCE = "0.2"

# Where less than this share of the sequence is lost, a loss that stands has other causes too.
_MATTERS = 0.25
_GATES = {"lstm": 4, "gru": 3}


def look(recording: Recording) -> Probe | None:
    """At the last step that was looked at in depth, where a recurrent model's loss stands."""
    seen = progress(recording)
    if seen is None or not seen.stands or not has_recurrence(recording):
        return None
    steps = deep_steps(recording)
    return Probe("recurrence", steps[-1]) if steps else None


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every recurrence that was looked at: the first step's gradient against the largest."""
    for site, event in events_by_site(recording).items():
        least = recurrence.lost_gradient(resolution_of(event))
        share = event.gradients[0] / event.largest
        reason = _why_not(event, share, least, recording) if share < least else ""
        yield Evidence(
            LAWS[0], site, Quantity(least, Unit.RATIO), Quantity(share, Unit.RATIO), relation=Relation.AT_LEAST,
            how="backward hook, second run", reason=reason,
        )


def _why_not(event: RecurrenceSeen, share: float, least: float, recording: Recording) -> str:
    """Why a lost gradient is not called broken; nothing where it is."""
    earlier = next((one for one in recording.of(RecurrenceSeen) if is_overwritten(one)), None)
    if earlier is not None:
        return f"the gradient grew over the sequence at step {earlier.step}, and that step overwrote the weights"
    smallest = min(norm for norm in event.gradients if norm > 0) / event.largest
    if share == 0 and smallest >= least:
        return "no gradient at all goes back to the first step, and it does not fade before: cut, as truncated backpropagation does"
    said = f"the gradient of step 1 of {event.length} is {format_number(share)} of the largest, but"
    seen = progress(recording)
    if seen is None:
        return f"{said} whether the loss falls cannot be told: too few losses, or of several optimizers"
    if _lost(event, least) < _MATTERS * event.length:
        return f"{said} only {_lost(event, least)} steps are lost: that the loss stands has other causes too"
    return "" if seen.stands else f"{said} the loss does not stand where guessing does ({seen})"


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding: all recurrences of the run."""
    events = events_by_site(recording)
    mine = tuple(broken)
    if not mine:
        return
    worst = mine[0]
    event = events[worst.site]
    share = worst.measured.value if worst.measured is not None else 0.0
    seen = progress(recording)
    factor = factor_a_step(event)
    by = f" (a factor of {format_number(factor)} a step)" if factor is not None else ""
    yield Finding(
        NAME, CODE, Severity.ERROR, "the gradient fades before it reaches the beginning of the sequence", mine,
        message=f"at step {event.step} the gradient of time step 1 of {event.length} is {format_number(share)} of the largest{by};"
        f" {_lost(event, worst.predicted.value)} of {event.length} steps are lost in the rounding of the sum over time, and {seen}",
        predicted_as=f"at least {format_number(worst.predicted.value)} of the largest gradient at every time step (eps/4)",
        measured_as=f"{format_number(share)} at time step 1 of {event.length}" + _others(mine),
    )


def _others(mine: Sequence[Evidence]) -> str:
    return f", and lost likewise in {len(mine) - 1} more" if len(mine) > 1 else ""


def _lost(event: RecurrenceSeen, least: float) -> int:
    """How many steps from the beginning lie below the least share, as far as the samples tell."""
    heard = [t for t, norm in zip(times(event), event.gradients, strict=True) if norm >= least * event.largest]
    return min(heard, default=event.length)


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Gates that remember, or an orthogonal matrix."""
    broken = {evidence.site for evidence in finding.evidence}
    found = [event for site, event in events_by_site(recording).items() if site in broken]
    gated = [event for event in found if event.kind.removesuffix("_cell") in _GATES]
    changes = [change for event in found if event not in gated and (change := orthogonal(event, recording)) is not None]
    for event in gated[:1]:
        numbers = _gate_biases(gated, event.kind, recording)
        if numbers:
            changes.append(_remember(event, numbers, recording))
    return changes


def _gate_biases(events: Sequence[RecurrenceSeen], kind: str, recording: Recording) -> list[int]:
    """The biases beside the recurrent weights of every recurrence of a kind."""
    names = {name: number for number, seen in seen_by_number(recording).items() for name in seen.names}
    wanted = [seen.names[0] for event in events if event.kind == kind for seen in carrying(event, recording) if seen.names]
    return [names[bias] for name in dict.fromkeys(wanted) if (bias := name.replace("weight_hh", "bias_hh")) in names]


def _remember(event: RecurrenceSeen, numbers: Sequence[int], recording: Recording) -> Change:
    gates = _GATES[event.kind.removesuffix("_cell")]
    size = seen_by_number(recording)[numbers[0]].shape[0] // gates
    name = seen_by_number(recording)[numbers[0]].names[0]
    drawn = f"{name}[{size}:{2 * size}] = torch.empty({size}).uniform_(1, {event.length - 1}).log()"
    slow = f"; {name}[:{size}] = -{name}[{size}:{2 * size}]" if gates == _GATES["lstm"] else ""
    gate = "forget" if slow else "update"
    return Change(
        "remember-longer", f"begin with {gate} gates that remember for up to {event.length} steps", f"{drawn}{slow}  # under no_grad",
        {"numbers": list(numbers), "gates": gates, "length": event.length},
    )


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """For loops whose gates or state columns cannot be told apart from outside."""
    del finding, recording
    return (
        "begin with recurrent weights that preserve length (orthogonal, or forget gates with a bias above 0), use nn.LSTM or nn.GRU,"
        " or shorten the way to the loss (attention or pooling over the states)"
    )
