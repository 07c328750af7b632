"""Attention reads positions that only fill up a shorter sequence.

## What it holds
`attention.padding_dependence`: the loss of a sample has no gradient at its padded positions. Held where the program says
what is padding (`padding_idx`, a mask or lengths among the model's arguments), on a few rows of the loss.

## Why it matters
The softmax spreads its weight over tokens that mean nothing, so the same sequence is understood differently depending
on how long its neighbours in the batch are, and differently again alone.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
lengths = torch.randint(3, 11, (64,))
tokens = torch.randint(1, 30, (64, 10)).masked_fill(torch.arange(10) >= lengths[:, None], 0)
labels = tokens[:, 0] % 3
embed, head = nn.Embedding(30, 16, padding_idx=0), nn.Linear(16, 3)
layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
model = nn.ModuleList([embed, layer, head])
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(30):
    read = layer(embed(tokens))
    loss = nn.functional.cross_entropy(head(read[:, 0]), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 24 held, 0 undecided          example.py · 30 steps · N s · loss 1.342 → 0.3574
! attention-reads-padding   example.py:13  model.1.self_attn
  attention reads positions that are padding
  predicted  the loss of a sample depends on 0 of its 6 padded positions
  measured   it depends on 6 of 6, with 14.9 % of its gradient (4 rows of cross_entropy at example.py:14 looked at)
  why        padding_idx=0 says what is padding at example.py:13, and the attention at example.py:13 is not told
  remedy tried mask the padded keys in the attention   6 → 0   law holds   N× time
               key_padding_mask=(tokens == 0)  # in the attention at example.py:13   loss at step 29: 0.3574 -> 0.3325
  explain: torchstone explain attention-reads-padding
```

## Remedy
A key padding mask: `src_key_padding_mask`, `key_padding_mask` or an `attn_mask` made of `tokens == padding_idx`. It is
tried at the attention that the finding names, together with the mask that is there.

## Silent when
Nothing in the program says what is padding; a causal model is padded on the right and does not count those targets;
padding is read by recurrent or convolutional layers or by a pooling, and not by attention.

## Limits
The first padded position of a sequence is not held: it may be an end token of the same number. Padding must lie at one end
of the samples. A mean over all positions goes on reading padding when attention no longer does; the trial says so.

## Sources
Vaswani et al. 2017, section 3.2.3; torch.nn.MultiheadAttention, key_padding_mask.
"""

from collections.abc import Iterator, Sequence

from torchstone.checks.sequences import by_reader, dependence_evidence, event_of, look_at_dependence, plural
from torchstone.core.evidence import Evidence
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import DependenceRead
from torchstone.core.quantity import format_number
from torchstone.core.recording import Recording
from torchstone.laws.attention import dependence

NAME = "attention-reads-padding"
CODE = "TS121"
LAWS = ("attention.padding_dependence",)
SINCE = "0.2"

_WHAT = "padding"
_ELSE = "attention does not read the padding, something behind or before it does (a mean over all positions, a convolution)"
_PATCHES = {
    "scaled_dot_product_attention": "attn_mask=(tokens != {0})[:, None, None, :]",
    "multi_head_attention_forward": "key_padding_mask=(tokens == {0})",
    "softmax": "scores = scores.masked_fill((tokens == {0})[:, None, None, :], float('-inf'))",
}


def look(recording: Recording) -> Probe | None:
    """Differentiate rows of the loss by tokens."""
    return look_at_dependence(recording)


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every loss over sequences of which some are declared to be padded."""
    yield from dependence_evidence(recording, _WHAT, LAWS[0], dependence.padding_dependence(1), _ELSE)


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each attention that reads padding."""
    for mine, event in by_reader(broken, recording, _WHAT):
        yield Finding(
            NAME, CODE, Severity.WARNING, "attention reads positions that are padding", mine,
            message=_story(event),
            predicted_as=f"the loss of a sample depends on 0 of its {plural(event.of, 'padded position')}",
            measured_as=f"it depends on {event.read} of {event.of}, with {format_number(100 * event.share)} % of its gradient"
            f" ({plural(event.rows, 'row')} of {event.function} at {event.place} looked at)",
        )


def _story(event: DependenceRead) -> str:
    places = ", ".join(dict.fromkeys(str(reader.place) for reader in event.readers))
    return f"{event.known_by} says what is padding at {event.source}, and the attention at {places} is not told"


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Mask the keys of padded tokens."""
    event = event_of(finding.main, recording, _WHAT)
    if event is None or event.padding is None:
        return ()
    places = list(dict.fromkeys(str(reader.place) for reader in event.readers))
    patch = f"{_PATCHES[event.readers[0].operation].format(event.padding)}  # in the attention at {', '.join(places)}"
    arguments: dict[str, object] = {
        "places": places, "token": event.padding, "source": str(event.source), "sizes": list(event.sizes),
    }
    return (Change("mask-padding", "mask the padded keys in the attention", patch, arguments),)


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """Padding that is no token cannot be found again from outside."""
    event = event_of(finding.main, recording, _WHAT)
    declared = event.known_by if event is not None else "the padding mask"
    return f"pass {declared} on to the attention at {finding.main.site.file}:{finding.main.site.line} as its key padding mask"
