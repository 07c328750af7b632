"""An encoder-decoder that writes the first lines of docstrings: examples/summarizer.py's, of parts, and able to go on after a kill.

Axis letters: b batch, s source positions, t target positions, v vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.study import Curve
from torchstone.parts import EncoderDecoder
from torchstone.studies.data.docstrings import PAD
from torchstone.studies.keeping import State
from torchstone.studies.study import Tools

HEADS, LAYERS, POSITIONS, DROPOUT = 4, 2, 96, 0.1
RATE, WARM_UP, LONGEST_GRADIENT = 5e-4, 50, 1.0
_AT_ONCE = 64  # pairs evaluated together: their logits are what takes memory


@dataclass(frozen=True)
class Plan:
    """How long to train, on how many pairs a step, when to validate, and after how many steps to keep the state."""

    steps: int
    batch: int
    looks: tuple[int, ...]
    every: int = 25


class Summarizer(nn.Module):
    """A tied transformer whose logits are multiplied by `scale` (T5: 1/sqrt(d))."""

    def __init__(self, vocabulary: int, width: int, deviation: float, scale: float = 1.0) -> None:
        super().__init__()
        self.transformer = EncoderDecoder(
            vocabulary, width, HEADS, LAYERS, LAYERS, 4 * width, DROPOUT, max_positions=POSITIONS, padding_idx=PAD
        )
        self.transformer.reset_embeddings(deviation)
        self.scale = scale

    def states(self, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """What the head reads."""
        padding = self.transformer.padding(source)
        return self.transformer.decode(target, self.transformer.encode(source, padding), padding)

    def head(self, states: Float[Tensor, "b t d"]) -> Float[Tensor, "b t v"]:
        """Logits by the word embedding."""
        return functional.linear(states * self.scale, self.transformer.embedding.weight)


def drawn(vocabulary: int, width: int, deviation: float, scale: float, seed: int) -> Summarizer:
    """An untrained model of that seed: the same numbers whatever the deviation. The caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Summarizer(vocabulary, width, deviation, scale)


def loss_of(model: Summarizer, source: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Teacher forcing: how surprising each next token is, in nats."""
    logits = model.head(model.states(source, target[:, :-1]))
    return functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD, reduction=reduction)


def _trimmed(tokens: Tensor) -> Tensor:
    return tokens[:, : int((tokens != PAD).sum(1).max())].long()


def _chunks(sources: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.arange(len(sources)).chunk(-(-len(sources) // _AT_ONCE)):
        source, target = sources[rows], targets[rows]
        yield _trimmed(source), _trimmed(target)


@torch.no_grad()
def validate(model: Summarizer, sources: Tensor, targets: Tensor) -> float:
    """The loss a token without dropout."""
    model.eval()
    total = sum(loss_of(model, *chunk, reduction="sum").item() for chunk in _chunks(sources, targets))
    model.train()
    return total / int((targets[:, 1:] != PAD).sum())


@torch.no_grad()
def alignment(model: Summarizer, sources: Tensor, targets: Tensor) -> float:
    """The mean cosine of the decoder's state and the embedding of the token that it has just read."""
    model.eval()
    cosines = []
    for source, target in _chunks(sources, targets):
        read = target[:, :-1]
        found = functional.cosine_similarity(model.states(source, read), model.transformer.embedding(read), dim=-1)
        cosines.append(found[target[:, 1:] != PAD])
    model.train()
    return torch.cat(cosines).mean().item()


def train(model: Summarizer, pairs: dict[str, Tensor], held: tuple[Tensor, Tensor], plan: Plan, seed: int, tools: Tools) -> Curve:
    """AdamW with a warm-up and clipped gradients; the validation loss at every look. Goes on where a killed run was kept.

    The order of the data is the seed's alone, so that models of one seed differ in their start only.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    source = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        begun, seen = _resumed(tools.keep.load(), model, optimizer, source)
        for step in range(begun, plan.steps):
            if step in plan.looks:
                seen.append((float(step), validate(model, *held)))
            if step % plan.every == 0 and step > begun:
                _keep(tools, model, optimizer, source, step, seen)
            _step(model, optimizer, _batch(pairs, plan.batch, source), step)
            tools.tell(step + 1, plan.steps)
    seen.append((float(plan.steps), validate(model, *held)))
    return tuple(seen)


def _batch(pairs: dict[str, Tensor], size: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    rows = torch.randint(len(pairs["train_sources"]), (size,), generator=source)
    return _trimmed(pairs["train_sources"][rows]), _trimmed(pairs["train_targets"][rows])


def _step(model: Summarizer, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP)
    optimizer.zero_grad()
    torch.autograd.backward(loss_of(model, *batch))
    nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
    optimizer.step()


def _keep(
    tools: Tools, model: Summarizer, optimizer: torch.optim.Optimizer, source: torch.Generator, step: int,
    seen: Sequence[tuple[float, float]],
) -> None:  # fmt: skip
    looks = [list(look) for look in seen]
    tools.keep.save(
        model=model.state_dict(), optimizer=optimizer.state_dict(), source=source.get_state(), global_source=torch.get_rng_state(),
        step=step, seen=looks,
    )  # fmt: skip


def _resumed(
    kept: State | None, model: Summarizer, optimizer: torch.optim.Optimizer, source: torch.Generator
) -> tuple[int, list[tuple[float, float]]]:
    if kept is None:
        return 0, []
    model.load_state_dict(cast("dict[str, Tensor]", kept["model"]))
    optimizer.load_state_dict(cast("dict[str, object]", kept["optimizer"]))
    source.set_state(cast("Tensor", kept["source"]))
    torch.set_rng_state(cast("Tensor", kept["global_source"]))
    step = cast("int", kept["step"])
    return step, [(x, y) for x, y in cast("list[list[float]]", kept["seen"]) if x < step]
