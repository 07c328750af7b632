"""A small language model, and how it is trained and adapted.

Axis letters: b batch, t positions, d width, v vocabulary.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.parts import SoftPrompt
from torchstone.studies.data.texts import corpora, windows
from torchstone.studies.study import Tools

HEADS, EXPANSION, LONGEST_GRADIENT, DEVIATION = 4, 4, 1.0, 0.02
_AT_ONCE = 32
_EVERY = 20  # steps between two states kept


class Block(nn.Module):
    """Causal self-attention and a feed-forward network, normalised before; each matrix a layer of its own, for adapters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(width, EXPANSION * width), nn.Linear(EXPANSION * width, width)

    def forward(self, x: Float[Tensor, "b t d"], *, last: bool = False) -> Float[Tensor, "b t2 d"]:
        """The stream behind the block; `last`: at the last position alone, which is all that a task's answer needs."""
        y = self.norm1(x)
        x, asking = (x[:, -1:], y[:, -1:]) if last else (x, y)
        read = (self.query(asking), self.key(y), self.value(y))
        query, key, value = (one.unflatten(-1, (HEADS, -1)).transpose(1, 2) for one in read)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=not last)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return cast("Tensor", x + self.down(functional.gelu(self.up(self.norm2(x)))))


class LanguageModel(nn.Module):
    """A decoder with learned positions and a head that shares the embedding."""

    def __init__(self, vocabulary: int, width: int, layers: int, positions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for one in (self.embedding, self.position):
            nn.init.normal_(one.weight, std=DEVIATION)

    def embedded(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """What enters the first block: a soft prompt stands in front of it, beyond all positions."""
        return cast("Tensor", self.embedding(tokens) + self.position.weight[: tokens.shape[1]])

    def entering(self, tokens: Int[Tensor, "*b t"]) -> Float[Tensor, "*b t d"]:
        """What enters the last block."""
        x = self.embedded(tokens.flatten(0, -2))
        for block in self.blocks[:-1]:
            x = block(x)
        return x.reshape(*tokens.shape[:-1], *x.shape[1:])

    def logits(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t v"]:
        """The head."""
        return functional.linear(self.norm(x), self.embedding.weight)

    def forward(self, tokens: Int[Tensor, "b t"], prompt: SoftPrompt | None = None) -> Float[Tensor, "b t v"]:
        """Logits of what follows each token; those of a prompt are left out."""
        x = self.embedded(tokens)
        if prompt is not None:
            x = prompt(x)
        for block in self.blocks:
            x = block(x)
        return self.logits(x[:, -tokens.shape[1] :])


def drawn(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A module whose random numbers are that seed's. The caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def loss_of(model: LanguageModel, rows: Int[Tensor, "b t"], prompt: SoftPrompt | None = None) -> Float[Tensor, ""]:
    """How surprising each next token is, in nats a token."""
    return functional.cross_entropy(model(rows[:, :-1], prompt).flatten(0, 1), rows[:, 1:].flatten())


@torch.no_grad()
def held_out(model: LanguageModel, rows: Int[Tensor, "b t"], prompt: SoftPrompt | None = None) -> float:
    """The same over rows in parts, no graph kept."""
    parts = torch.split(rows, _AT_ONCE)
    return sum(loss_of(model, part, prompt).item() * len(part) for part in parts) / len(rows)


def train(
    trained: nn.Module, descend: Callable[[torch.Generator], None], look: Callable[[], list[float]] | None, looks: Iterable[int],
    rate: float, seed: int, tools: Tools, name: str,
) -> list[list[float]]:  # fmt: skip
    """AdamW on whatever requires a gradient; what `look` sees at each step of `looks`, the last of which is the end.

    `descend` fills the gradients from data that it draws with the generator, which is that seed's. A row is the step, the CPU
    seconds of training so far, and what was seen. A killed run goes on.
    """
    parameters = [one for one in trained.parameters() if one.requires_grad]
    optimizer, source, looks = torch.optim.AdamW(parameters, lr=rate), torch.Generator().manual_seed(seed), set(looks)
    begun, seconds, seen, steps = 0, 0.0, cast("list[list[float]]", []), max(looks)
    kept = tools.keep.load()
    if kept is not None and kept["name"] == name:
        trained.load_state_dict(cast("dict[str, Tensor]", kept["trained"]))
        optimizer.load_state_dict(cast("dict[str, object]", kept["optimizer"]))
        source.set_state(cast("Tensor", kept["source"]))
        begun, seconds = cast("int", kept["step"]), cast("float", kept["seconds"])
        seen = cast("list[list[float]]", kept["seen"])
    for step in range(begun, steps):
        if step % _EVERY == 0 and step > begun:
            tools.keep.save(
                name=name, trained=trained.state_dict(), optimizer=optimizer.state_dict(), source=source.get_state(), step=step,
                seconds=seconds, seen=seen,
            )  # fmt: skip
        if step in looks and look is not None:
            seen = [*seen, [float(step), seconds, *look()]]
        began = time.process_time()
        optimizer.zero_grad()
        descend(source)
        nn.utils.clip_grad_norm_(parameters, LONGEST_GRADIENT)
        optimizer.step()
        seconds += time.process_time() - began
        tools.tell(step + 1, steps)
    return seen if look is None else [*seen, [float(steps), seconds, *look()]]


@dataclass(frozen=True)
class Base:
    """How a base model is made: its sizes and how long it trains."""

    steps: int
    width: int = 128
    layers: int = 4
    vocabulary: int = 1024
    length: int = 64
    batch: int = 16
    rate: float = 2e-3
    tokens: int = 1024  # of each new file


def prepared(base: Base, seed: int, tools: Tools) -> tuple[dict[str, Tensor], LanguageModel]:
    """Both corpora, made once for all seeds, and that seed's model, trained on the original once for all settings."""
    texts = tools.shared("texts", lambda: corpora(base.vocabulary, base.tokens))
    model = cast(
        "LanguageModel", drawn(lambda: LanguageModel(int(texts["tokens"]), base.width, base.layers, base.length), seed)
    )

    def descend(source: torch.Generator) -> None:
        torch.autograd.backward(loss_of(model, windows(texts["original_train"], base.length + 1, base.batch, source)))

    def make() -> dict[str, Tensor]:
        train(model, descend, None, [base.steps], base.rate, seed, tools, "base")
        return {name: one.clone() for name, one in model.state_dict().items()}

    model.load_state_dict(tools.shared(f"base-{seed}", make))
    return texts, model
