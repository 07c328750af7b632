"""D7b: how many parameters a soft prompt, adapters and full tuning of a 13B model train, counted on modules without storage."""

from collections.abc import Iterator

import torch
from torch import nn

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Posted
from torchstone.laws.adaptation import Decoder
from torchstone.laws.adaptation.size import full_parameters, lora_parameters, soft_prompt_parameters
from torchstone.parts import SoftPrompt, add_lora
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, worst

TOKENS, TOP, RANKS = 5, 4, (1, 8, 64)
MODEL = Decoder(layers=40, hidden=5120, intermediate=13824, vocabulary=32000)  # LLaMA's 13B
_PROMPT, _ADAPTERS, _FULL = "adaptation.soft_prompt_parameters", "adaptation.lora_parameters", "adaptation.full_parameters"
_ADAPTED = ("query", "key", "value")


def _network() -> nn.Module:
    """The model's modules on the meta device: names and shapes, no numbers."""
    with torch.device("meta"):
        blocks = []
        for _ in range(MODEL.layers):
            linear = {name: nn.Linear(*sizes, bias=False) for name, sizes in MODEL.matrices.items()}
            norms = {name: nn.RMSNorm(MODEL.hidden) for name in ("first_norm", "second_norm")}
            blocks.append(nn.ModuleDict({**linear, **norms}))
        ends = {"embedding": nn.Embedding(MODEL.vocabulary, MODEL.hidden), "norm": nn.RMSNorm(MODEL.hidden)}
        head = nn.Linear(MODEL.hidden, MODEL.vocabulary, bias=False)
        return nn.ModuleDict({**ends, "head": head, "layers": nn.ModuleList(blocks)})


def _trainable(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def _adapted(rank: int) -> int:
    """Trainable parameters of the network with adapters beside query, key and value of its top layers."""
    top = list(range(MODEL.layers - TOP, MODEL.layers))
    return _trainable(add_lora(_network(), list(_ADAPTED), rank, layers_to_transform=top))


def _matrices() -> list[tuple[int, int]]:
    return [MODEL.matrices[name] for name in _ADAPTED] * TOP


def _counted() -> Iterator[Evidence]:
    how = "counted on modules on the meta device"
    prompt = SoftPrompt(TOKENS, MODEL.hidden, device="meta")
    yield compared(_PROMPT, soft_prompt_parameters(TOKENS, MODEL.hidden), _trainable(prompt), how=how)
    for rank in RANKS:
        yield compared(_ADAPTERS, lora_parameters(_matrices(), rank), _adapted(rank), how=f"{how}, r = {rank}")
    yield compared(_FULL, full_parameters(MODEL), _trainable(_network()), how=how)


@answers("D7b")
def trained_parameters(_: Posted) -> Answer:
    """Three counts from the configuration, and the same on modules."""
    prompt, full = soft_prompt_parameters(TOKENS, MODEL.hidden), full_parameters(MODEL)
    by_rank = {rank: lora_parameters(_matrices(), rank) for rank in RANKS}
    each = lora_parameters(_matrices(), 1)
    counted = list(_counted())
    modules = [worst(one for one in counted if one.law == law) for law in (_PROMPT, _ADAPTERS, _FULL)]
    return Answer(
        says=(
            f"the soft prompt has {TOKENS} x {MODEL.hidden} = {prompt:,} parameters",
            f"rank-r adapters on query, key and value of the top {TOP} layers have {each:,} r: "
            + ", ".join(f"{count:,} at r = {rank}" for rank, count in by_rank.items()),
            f"full tuning trains all {full:,}: {full / prompt:,.0f} times the prompt, {full / by_rank[8]:,.0f} times r = 8",
        ),
        derivation=(
            "each of the prompt's tokens is one trained vector as wide as the model",
            f"an adapter of a d x d weight has r x d and d x r: 2 d r = {2 * MODEL.hidden:,} r, for 3 weights in {TOP} layers",
            f"a block has 4 d² + 3 d m + 2 d, m = {MODEL.intermediate:,}; {MODEL.layers} of them, 2 x {MODEL.vocabulary:,} d, d",
        ),
        evidence=(*proved(_PROMPT, _ADAPTERS, _FULL), *modules),
        remarks=(f"the question gives no rank; the 13B model is LLaMA's configuration, {full / 1e9:.2f} billion",),
    )
