"""A sample's loss depends on other samples of its batch, because an axis is taken for another.

## What it holds
`autodiff.other_samples`: the loss of one sample has no gradient at any other sample. Held on a few rows of the loss, where
attention or recurrent layers are at work. BatchNorm runs on its running statistics meanwhile.

## Why it matters
Nothing fails: the shapes fit. But sequences run through the batch, so a prediction depends on which samples happen to lie
beside it, and most of each sample is never read.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 10, 6)
y = (x[:, -1, 0] > 0).long()
lstm, head = nn.LSTM(6, 16), nn.Linear(16, 2)
optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=0.01)
for _ in range(40):
    states, _ = lstm(x)
    loss = nn.functional.cross_entropy(head(states[:, -1]), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 15 held, 0 undecided          example.py · 40 steps · N s · loss 0.6984 → 0.07481
✗ batch-rows-mixed   example.py:10  lstm
  the loss of a sample depends on other samples
  predicted  the loss of a sample depends on 0 of the 63 other samples
  measured   it depends on 42 of 63 (4 rows of cross_entropy at example.py:11 looked at)
  why        LSTM has batch_first=False and runs along the first axis of (64, 10, ...), which holds the samples (every row reads index 9 alone of the other axis)
  remedy tried set batch_first=True   42 → 0   law holds   N× time
               nn.LSTM(..., batch_first=True)  # lstm   loss at step 39: 0.07481 -> 0.01526
  explain: torchstone explain batch-rows-mixed
```

## Remedy
`batch_first=True` on a layer that reads its samples as a sequence; `transpose` where a `view` exchanged the sizes of two axes
without moving anything. Tried on that layer, or at that line.

## Silent when
Rows are meant to read each other (contrastive losses, attention within the batch, statistics of the batch, routing with a
capacity, graphs): no layer and no view is then found that mixes them by mistake, and the law is undecided.

## Limits
Named are views that exchange the two leading sizes, and torch's own recurrent and attention layers. For a layer something
must say which axis holds the samples: a DataLoader, picking by an index, targets that follow the tokens, a code of positions,
or one position alone that is used. Undecided otherwise.

## Sources
torch.nn.LSTM and torch.nn.TransformerEncoderLayer, batch_first; github.com/yunjey/pytorch-tutorial issues 89 and 196;
github.com/timbmg/Sentence-VAE issue 15.
"""

from collections.abc import Iterator, Sequence

from torchstone.checks.sequences import by_reader, dependence_evidence, event_of, look_at_dependence, plural
from torchstone.core.evidence import Evidence
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import DependenceRead, Reader
from torchstone.core.recording import Recording
from torchstone.laws import autodiff

NAME = "batch-rows-mixed"
CODE = "TS122"
LAWS = ("autodiff.other_samples",)
SINCE = "0.2"

_WHAT = "samples"


def look(recording: Recording) -> Probe | None:
    """Differentiate rows of the loss by every sample."""
    return look_at_dependence(recording)


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every loss over sequences, by every tensor that the program reads."""
    yield from dependence_evidence(recording, _WHAT, LAWS[0], autodiff.other_samples(1))


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each operation that mixes samples."""
    for mine, event in by_reader(broken, recording, _WHAT):
        yield Finding(
            NAME, CODE, Severity.ERROR, "the loss of a sample depends on other samples", mine,
            message=_story(event, event.readers[0]),
            predicted_as=f"the loss of a sample depends on 0 of the {plural(event.of, 'other sample')}",
            measured_as=f"it depends on {event.read} of {event.of}"
            f" ({plural(event.rows, 'row')} of {event.function} at {event.place} looked at)",
        )


def _story(event: DependenceRead, reader: Reader) -> str:
    given, into = _sizes(reader.sizes), _sizes(reader.into)
    if reader.kind == "view":
        what = f"{reader.operation} at {reader.place} reads {given} as {into} without moving anything: values of several samples"
        return f"{what} come to lie in one"
    axis = "second" if reader.batch_first else "first"
    verb = "runs along" if reader.kind == "recurrent" else "attends along"
    return f"{reader.operation} has batch_first={reader.batch_first} and {verb} the {axis} axis of {given}, which holds the samples ({event.known_by})"


def _sizes(sizes: tuple[int, ...]) -> str:
    return "(" + ", ".join([*map(str, sizes), "..."]) + ")"


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Say which axis holds the samples, or exchange the axes for real."""
    event = event_of(finding.main, recording, _WHAT)
    if event is None or not event.readers:
        return ()
    reader = event.readers[0]
    if reader.kind == "view":
        patch = f".transpose(0, 1) instead of .{reader.operation}(...)  # at {reader.place}"
        arguments: dict[str, object] = {"place": str(reader.place), "sizes": list(reader.sizes)}
        return (Change("transpose-for-view", "exchange the axes instead of their sizes", patch, arguments),)
    value = not reader.batch_first
    patch = f"nn.{reader.operation}(..., batch_first={value})  # {reader.module}"
    return (Change("batch-first", f"set batch_first={value}", patch, {"layers": list(reader.layers), "value": value}),)


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """There is always a change to try."""
    del finding, recording
    return "the operation that mixes them was not seen again"
