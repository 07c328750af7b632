"""A model that is trained to predict the next token reads it.

## What it holds
`attention.future_dependence`: where the targets are the tokens read one position later, the loss at a position has no
gradient at any later token. Held on a few rows of the loss, by differentiating each by itself.

## Why it matters
The answer stands in the input. The loss falls to almost nothing, validation with the same model confirms it, and
generation, where there is no later token to read, gives nonsense.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
text = torch.randint(0, 20, (16, 13))
embed, head = nn.Embedding(20, 32), nn.Linear(32, 20)
layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
model = nn.Sequential(embed, layer, head)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(30):
    logits = model(text[:, :-1])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 24 held, 0 undecided          example.py · 30 steps · N s · loss 3.173 → 1.841
✗ attention-sees-the-future   example.py:11  model.1.self_attn
  the model reads the tokens that it has to predict
  predicted  the loss at a position depends on 0 of the 11 later tokens
  measured   it depends on 11 of 11, with 24.79 % of its gradient (6 rows of cross_entropy at example.py:12 looked at)
  why        the targets are the tokens read 1 position later (example.py:11); the multi-head attention at example.py:11 lets positions attend to later ones
  remedy tried mask later positions in the attention   11 → 0   law holds   N× time
               mask=nn.Transformer.generate_square_subsequent_mask(length)  # at example.py:11   loss at step 29: 1.841 -> 1.736
  explain: torchstone explain attention-sees-the-future
```

## Remedy
A causal mask: `is_causal=True`, or minus infinity above the diagonal of the scores. It is tried at the attention that the
finding names; a square mask that is there (inverted, off by one) is taken out, a mask of padding stays.

## Silent when
Targets are no later tokens (masked language models, encoders, tagging, sequence to sequence); one of several inputs holds
the law (a decoder beside an encoder); a prefix without targets is read both ways; the sequence first becomes one code.

## Limits
Held at one step, on a few rows. Losses that torch.nn.functional does not compute are seen where they gather from a
log_softmax. A recurrent layer that runs both ways is named, without a remedy to try: its later layers have the width of both.

## Sources
Vaswani et al. 2017, section 3.2.3; github.com/huggingface/transformers issue 31673; github.com/rasbt/LLMs-from-scratch pull 1061.
"""

from collections.abc import Iterator, Sequence

from torchstone.checks.sequences import by_reader, dependence_evidence, event_of, look_at_dependence, plural
from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import DependenceRead
from torchstone.core.quantity import format_number
from torchstone.core.recording import Recording
from torchstone.laws.attention import dependence

NAME = "attention-sees-the-future"
CODE = "TS120"
LAWS = ("attention.future_dependence",)
SINCE = "0.2"

_WHAT = "future"
_PATCHES = {
    "scaled_dot_product_attention": "F.scaled_dot_product_attention(q, k, v, is_causal=True)",
    "multi_head_attention_forward": "mask=nn.Transformer.generate_square_subsequent_mask(length)",
    "softmax": "scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float('-inf'))",
}


def look(recording: Recording) -> Probe | None:
    """Differentiate rows of the loss by tokens."""
    return look_at_dependence(recording)


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every loss over tokens; where several inputs hold the targets, one that is read causally is enough."""
    held = list(dependence_evidence(recording, _WHAT, LAWS[0], dependence.future_dependence(2, 0)))
    if any(evidence.verdict is Verdict.HOLDS for evidence in held):
        held = [evidence for evidence in held if evidence.verdict is Verdict.HOLDS]
    yield from held


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each operation that lets later positions through."""
    for mine, event in by_reader(broken, recording, _WHAT):
        yield Finding(
            NAME, CODE, Severity.ERROR, "the model reads the tokens that it has to predict", mine,
            message=_story(event),
            predicted_as=f"the loss at a position depends on 0 of the {plural(event.of, 'later token')}",
            measured_as=f"it depends on {event.read} of {event.of}, with {format_number(100 * event.share)} % of its gradient"
            f" ({plural(event.rows, 'row')} of {event.function} at {event.place} looked at)",
        )


def _story(event: DependenceRead) -> str:
    reader = event.readers[0]
    if reader.kind == "recurrent":
        what = f"{reader.operation} ({reader.module}) runs both ways at {reader.place}, so every position has read the rest"
    else:
        what = f"{_spoken(reader.operation)} at {reader.place} lets positions attend to later ones"
    return f"{event.known_by} ({event.source}); {what}"


def _spoken(operation: str) -> str:
    names = {"softmax": "the attention's softmax", "multi_head_attention_forward": "the multi-head attention"}
    return names.get(operation, operation)


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Mask later positions where the attention is."""
    event = event_of(finding.main, recording, _WHAT)
    readers = [reader for reader in event.readers if reader.kind == "attention"] if event is not None else []
    if not readers:
        return ()
    places = list(dict.fromkeys(str(reader.place) for reader in readers))
    patch = f"{_PATCHES[readers[0].operation]}  # at {', '.join(places)}"
    return (Change("mask-future", "mask later positions in the attention", patch, {"places": places}),)


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """A recurrent layer cannot be changed under way."""
    del recording
    return f"give {finding.main.site.module} bidirectional=False, and what follows half as many features: its weights change their shape"
