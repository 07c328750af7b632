"""Attention computes all scores and a mask throws nearly all of them away: a window that saves nothing.

## What it holds
`attention.local_scores`: a window of left keys before and right keys after each of T queries has
T (left + 1 + right) - left (left + 1)/2 - right (right + 1)/2 scores. Dense attention computes T² and hides the rest.

## Why it matters
A sliding window is chosen to make long sequences cheap. As a mask it costs what full attention costs, in time and in
memory, and a little more for the mask: the model gives up context and gets nothing for it.

## Example
```python
import torch
from torch import nn
from torch.nn import functional

torch.manual_seed(0)
length, window = 1024, 16
tokens = torch.randint(50, (1, length + 1))
embed, project, head = nn.Embedding(50, 32), nn.Linear(32, 96), nn.Linear(32, 50)
optimizer = torch.optim.Adam([*embed.parameters(), *project.parameters(), *head.parameters()], lr=3e-3)
distance = torch.arange(length)[:, None] - torch.arange(length)
mask = (distance >= 0) & (distance <= window)
for _ in range(10):
    x = embed(tokens[:, :-1])
    q, k, v = project(x).view(1, length, 3, 4, 8).permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    logits = head(x + mixed.transpose(1, 2).flatten(2))
    loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 13 held, 0 undecided          example.py · 10 steps · N s · loss 4.088 → 3.877
! band-mask-on-dense-attention   example.py:15
  a mask throws away nearly all the scores that attention computes
  predicted  17272 scores a head: 1024 queries that see itself and 16 before, less what the ends cut
  measured   1048576 scores a head computed, 60.71 times as many
  why        a query sees 17 of 1024 keys at most (itself and 16 before), and F.scaled_dot_product_attention computes them all: the mask hides 98.35 % of the scores after they were computed, in 1 call a step of 4 heads
  remedy tried compute the window only   1048576 → 48640   law holds   N× time
               local_attention(q, k, v, window=16, is_causal=True)  # from torchstone.parts, without the mask, at example.py:15   loss at step 9: 3.877 -> 3.877
  explain: torchstone explain band-mask-on-dense-attention
```

## Remedy
`torchstone.parts.local_attention` takes the arguments of F.scaled_dot_product_attention and a window in place of the
mask, and gives the same numbers at the cost of the window; `LocalSelfAttention` stands for nn.MultiheadAttention and
loads its weights. It is tried by computing the same calls so, padded keys left out as the mask did: the loss must stay,
the time a step takes should fall. Where the script computes scores and softmax by itself, the scores exist before the
mask is met: nothing can be tried from outside.

## Silent when
The mask is causal without a window, padding, blocks (packed documents), a pattern with holes, or different for every
head; when it adds a bias to the scores that stay (ALiBi), which local attention does not know; when a quarter or more of
the scores are needed or the sequence has no more than 384 positions, where dense kernels are about as fast (undecided where
the attention is less than a tenth of the model's arithmetic).

## Limits
Looked at in the first step with gradients, for self-attention (as many keys as queries). A mask multiplied onto the
weights after the softmax is not seen. A model that torch.compile compiled is looked at uncompiled, and the change is
not tried on it. Times are of this machine and these lengths.

## Sources
Beltagy, Peters and Cohan 2020, section 3.1 (sliding window attention); Child et al. 2019.
"""

import re
from collections.abc import Iterator, Sequence

from torchstone.core.events import BackwardCalled, ParameterSeen
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import AttentionMasked
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.laws.attention.cost import dot_product_flops
from torchstone.laws.attention.local import local_scores

NAME = "band-mask-on-dense-attention"
CODE = "TS150"
LAWS = ("attention.local_scores",)
SINCE = "0.2"

# Measured on a CPU, forward and backward, heads of 16 and 64: at four times the scores windows are 1.5 to 5 times faster from 512
# positions on and as fast at 256. Dense kernels are simple and well tuned: up to here they are worth their scores.
_TIMES = 4
_SHORT = 384
_BLOCK = 32  # see laws.attention.local.block_overhang: what a window of one key costs all the same
_WORTH = 0.1  # of the forward pass's arithmetic: less than that nobody notices
_SOFTMAXES, _PRODUCTS = {"softmax", "safesoftmax"}, {"bmm", "baddbmm"}
_ATTENTION = re.compile(r"attn|attention|qkv|in_proj|query|(^|[._])(q_proj|to_q|w_?q)([._]|$)", re.IGNORECASE)


def look(recording: Recording) -> Probe | None:
    """At the first step, where its graph shows attention: torch's own, or a softmax between batched products."""
    operations = {counted.operation for event in recording.of(BackwardCalled) for counted in event.operations}
    fused = any(operation.startswith("scaleddotproduct") for operation in operations)
    by_hand = bool(operations & _SOFTMAXES) and bool(operations & _PRODUCTS)
    names = (name for seen in recording.of(ParameterSeen) for name in seen.names)
    compiled = "compiledfunction" in operations and any(_ATTENTION.search(name) for name in names)
    return Probe("attention-masks", 0) if fused or by_hand or compiled else None


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every line that attends under a band."""
    for event in recording.of(AttentionMasked):
        if not event.banded:
            continue
        needed = local_scores(event.length, event.left, event.right)
        yield Evidence(
            LAWS[0], _site(event), Quantity(needed, Unit.COUNT), Quantity(event.computed, Unit.COUNT), _tolerance(event, needed),
            Relation.AT_MOST, f"function wrapper, {event.function}", _why_not(event, needed, recording),
        )


def _tolerance(event: AttentionMasked, needed: int) -> Tolerance:
    worth = max((_TIMES - 1) * needed, _SHORT**2 - needed, 0)
    return Tolerance(
        Amount(worth, f"dense kernels are as fast up to {_TIMES} times the scores, and up to {_SHORT} positions"),
        rounding=Amount((_BLOCK - 1) * event.length, f"windows are computed in blocks of {_BLOCK} queries"),
    )


def _why_not(event: AttentionMasked, needed: int, recording: Recording) -> str:
    """Why scores thrown away are not called broken: the model spends its time elsewhere."""
    if event.computed <= needed + _tolerance(event, needed).total:
        return ""
    share = _attending(event) * (1 - needed / event.computed) / max(_arithmetic(recording), 1)
    if event.features and share < _WORTH:
        return f"the scores thrown away are {format_number(100 * share)} % of the forward pass's arithmetic: little to win"
    return ""


def _attending(event: AttentionMasked) -> int:
    return event.calls * dot_product_flops(event.length, max(event.features, 1), event.heads)


def _arithmetic(recording: Recording) -> int:
    """FLOP of the forward passes that were looked at: products with weights, and attention under masks."""
    events = recording.of(AttentionMasked)
    return max((event.weighted for event in events), default=0) + sum(map(_attending, events))


def _site(event: AttentionMasked) -> Site:
    return Site("", event.place.file, event.place.line, event.step, "train")


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for each window and length, at however many lines."""
    events = _broken_events(broken, recording)
    for kind in dict.fromkeys(_kind(event) for _, event in events):
        mine = [(evidence, event) for evidence, event in events if _kind(event) == kind]
        evidence, event = mine[0]
        needed = round(evidence.predicted.value)
        times = format_number(event.computed / needed)
        keys = event.left + 1 + event.right
        calls = sum(one.calls for _, one in mine)
        yield Finding(
            NAME, CODE, Severity.WARNING, "a mask throws away nearly all the scores that attention computes",
            tuple(one for one, _ in mine),
            message=f"a query sees {min(keys, event.length)} of {event.length} keys at most ({_window(event)}), and {_computer(event)}"
            f" computes them all: the mask hides {_hidden(event, needed)} % of the scores after they were computed, in {calls}"
            f" call{'s' if calls > 1 else ''} a step of {event.heads} heads",
            predicted_as=f"{needed} scores a head: {event.length} queries that see {_window(event)}, less what the ends cut",
            measured_as=f"{event.computed} scores a head computed, {times} times as many",
        )


def _broken_events(broken: Sequence[Evidence], recording: Recording) -> list[tuple[Evidence, AttentionMasked]]:
    """Each broken evidence with the event that it was held on."""
    pairs = []
    for event in recording.of(AttentionMasked):
        for evidence in broken:
            needed = local_scores(event.length, event.left, event.right) if event.banded else -1
            if evidence.site == _site(event) and evidence.predicted.value == needed and evidence.how.endswith(event.function):
                pairs.append((evidence, event))
                break
    return pairs


def _kind(event: AttentionMasked) -> tuple[int, int, int]:
    return event.length, event.left, event.right


def _hidden(event: AttentionMasked, needed: int) -> str:
    return format_number(100 * (1 - needed / event.computed))


def _window(event: AttentionMasked) -> str:
    sides = ((event.left, "before"), (event.right, "after"))
    seen = [f"{'all' if count >= event.length - 1 else count} {name}" for count, name in sides if count]
    return " and ".join([", ".join(["itself", *seen[:-1]]), *seen[-1:]])


def _computer(event: AttentionMasked) -> str:
    by = "a softmax over all scores" if event.function == "softmax" else f"F.{event.function}"
    return f"{by} in {event.through}" if event.through else by


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Local attention at the same lines, where torch's own function is called."""
    events = [event for _, event in _broken_events(finding.evidence, recording)]
    fused = [event for event in events if event.function == "scaled_dot_product_attention"]
    compiled = any(counted.operation == "compiledfunction" for seen in recording.of(BackwardCalled) for counted in seen.operations)
    if not fused or compiled:
        return ()
    first = fused[0]
    places = list(dict.fromkeys((event.place.file, event.place.line) for event in fused))
    return (
        Change(
            "local-attention", "compute the window only", _patch(first),
            {"places": [list(place) for place in places], "left": first.left, "right": first.right},
        ),
    )


def _argument(event: AttentionMasked) -> str:
    """The window as local_attention takes it."""
    if event.right == 0:
        return f"window={event.left}, is_causal=True"
    return f"window={event.left}" if event.left == event.right else f"window=({event.left}, {event.right})"


def _patch(event: AttentionMasked) -> str:
    if event.through:
        window = f"window=({event.left}, {event.right})"
        return f"LocalSelfAttention(embed_dim, num_heads, {window}) in place of nn.MultiheadAttention  # torchstone.parts; called at {event.place}, loads its weights"
    return f"local_attention(q, k, v, {_argument(event)})  # from torchstone.parts, without the mask, at {event.place}"


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """For scores that the script computes itself, and for compiled models."""
    events = [event for _, event in _broken_events(finding.evidence, recording)]
    patch = _patch(events[0]) if events else "local_attention(q, k, v, window)  # from torchstone.parts"
    if any(event.function == "scaled_dot_product_attention" for event in events):
        return f"not tried on a compiled model; write {patch}"
    return f"the scores are computed before the mask is met, so nothing can be tried from outside; write {patch}"
