"""Trainable parameters, counted on real modules, on the meta device where they are large."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from torchstone.core.evidence import Evidence
from torchstone.laws.adaptation import Decoder
from torchstone.parts.adaptation import SoftPrompt, add_lora
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held


def trainable(model: nn.Module) -> int:
    """How many numbers an optimiser would be given."""
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def decoder_modules(decoder: Decoder) -> nn.Module:
    """A decoder's modules as such models name them, on the meta device: no storage, whatever its size."""
    with torch.device("meta"):
        blocks = []
        for _ in range(decoder.layers):
            linear = {name: nn.Linear(inside, outside, bias=decoder.bias) for name, (inside, outside) in decoder.matrices.items()}
            norms = {name: _norm(decoder) for name in ("attention_norm", "feedforward_norm")}
            blocks.append(nn.ModuleDict({**linear, **norms}))
        model = nn.Module()
        model.embedding, model.blocks = nn.Embedding(decoder.vocabulary, decoder.hidden), nn.ModuleList(blocks)
        model.norm = _norm(decoder)
        model.head = nn.Linear(decoder.hidden, decoder.vocabulary, bias=False)
        if decoder.positions:
            model.positions = nn.Embedding(decoder.positions, decoder.hidden)
        if decoder.tied:
            model.head.weight = model.embedding.weight
    return model


def _norm(decoder: Decoder) -> nn.Module:
    return nn.LayerNorm(decoder.hidden) if decoder.bias else nn.RMSNorm(decoder.hidden)


def _prompt(tokens: int, hidden: int) -> int:
    return trainable(SoftPrompt(tokens, hidden, device="meta"))


@experiment(
    "adaptation.soft_prompt_parameters",
    part=_prompt,
    mutants={
        "one token more": lambda tokens, hidden: _prompt(tokens + 1, hidden),
        "in every one of 2 layers": lambda tokens, hidden: 2 * _prompt(tokens, hidden),
        "made by a linear layer": lambda tokens, hidden: _prompt(tokens, hidden) + hidden**2,
    },
    how="exact: counted on modules",
)
def soft_prompt_parameters(part: Callable[[int, int], int], draws: Draws) -> Iterator[Evidence]:
    """Prompts of 1 to 100 tokens, and D7's."""
    sizes = [(draws.integer(1, 100), draws.integer(1, 5000)) for _ in range(10)]
    for tokens, hidden in [(5, 5120), *sizes]:
        yield held("adaptation.soft_prompt_parameters", {"tokens": tokens, "hidden": hidden}, part(tokens, hidden))


def _adapters(matrices: list[tuple[int, int]], rank: int) -> int:
    layers = [nn.Linear(inside, outside, device="meta") for inside, outside in matrices]
    return trainable(add_lora(nn.Sequential(*layers), "all-linear", rank))


def _with_bias(matrices: list[tuple[int, int]], rank: int) -> int:
    return _adapters(matrices, rank) + sum(outside for _, outside in matrices)


@experiment(
    "adaptation.lora_parameters",
    part=_adapters,
    mutants={
        "biases trained too": _with_bias,
        "the last layer left out": lambda matrices, rank: _adapters(matrices[:-1], rank),
        "weights not frozen": lambda matrices, rank: _adapters(matrices, rank) + sum(i * o for i, o in matrices),
        "rank 1 always": lambda matrices, _: _adapters(matrices, 1),
    },
    how="exact: counted on modules",
)
def lora_parameters(part: Callable[[list[tuple[int, int]], int], int], draws: Draws) -> Iterator[Evidence]:
    """Two to six layers of other sizes each, ranks above and below them, and D7's."""
    drawn = []
    for _ in range(8):
        sizes = [(draws.integer(1, 500), draws.integer(1, 500)) for _ in range(draws.integer(2, 6))]
        drawn.append((sizes, draws.integer(2, 64)))
    for matrices, rank in [([(5120, 5120)] * 12, 8), *drawn]:
        yield held("adaptation.lora_parameters", {"matrices": matrices, "rank": rank}, part(matrices, rank))


LLAMA_13B = Decoder(layers=40, hidden=5120, intermediate=13824, vocabulary=32000)
GPT2 = Decoder(layers=12, hidden=768, intermediate=3072, vocabulary=50257, positions=1024, gated=False, bias=True, tied=True)
GROUPED = Decoder(layers=2, hidden=256, intermediate=512, vocabulary=1000, key_value=64)


def _count(decoder: Decoder) -> int:
    return trainable(decoder_modules(decoder))


@experiment(
    "adaptation.full_parameters",
    part=_count,
    mutants={
        "never tied": lambda one: _count(replace(one, tied=False)),
        "always tied": lambda one: _count(replace(one, tied=True)),
        "keys as wide as queries": lambda one: _count(replace(one, key_value=0)),
        "two matrices in every feed-forward block": lambda one: _count(replace(one, gated=False)),
        "norms forgotten": lambda one: _count(one) - (2 * one.layers + 1) * one.hidden,
        "positions forgotten": lambda one: _count(replace(one, positions=0)),
    },
    how="exact: counted on the meta device",
)
def full_parameters(part: Callable[[Decoder], int], draws: Draws) -> Iterator[Evidence]:
    """LLaMA's 13B, GPT-2, grouped keys, and decoders drawn at random."""
    drawn = [_drawn(draws) for _ in range(6)]
    for decoder in (LLAMA_13B, GPT2, GROUPED, *drawn):
        yield held("adaptation.full_parameters", {"decoder": decoder}, part(decoder))


def _drawn(draws: Draws) -> Decoder:
    layers, hidden, intermediate, vocabulary, key_value, positions = (draws.integer(1, high) for high in (4, 200, 300, 500, 50, 90))
    gated, bias, tied = (bool(bit) for bit in draws.integers(0, 1, 3))
    return Decoder(layers, hidden, intermediate, vocabulary, key_value, positions, gated, bias, tied)
