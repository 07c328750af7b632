"""The suite of every part, for adapters and soft prompts."""

import torch
from torch import nn

from suites.part_suite import Row, part_tests
from torchstone import parts
from torchstone.laws.adaptation.size import lora_parameters, soft_prompt_parameters


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def lora(cls):
    layer = cls(nn.Linear(6, 5), 3, 4.0, init_lora_weights=False)
    layer.requires_grad_(True)
    return layer


def by_weight(layer):
    return lambda x: x @ (layer.base_layer.weight + 4 / 3 * layer.lora_B @ layer.lora_A).T + layer.base_layer.bias


ROWS = [
    Row(
        "lora", parts.LoRA, lora, by_weight, lambda batch: [normal(batch, 6)], lambda x: (x[0], 5),
        parameters=6 * 5 + 5 + lora_parameters([(6, 5)], 3), flops=2 * 2 * (6 * 5 + 3 * (6 + 5)),
    ),
    Row(
        "lora-of-rows", parts.LoRA, lora, by_weight, lambda batch: [normal(batch, 4, 6)], lambda x: (*x[:2], 5),
        parameters=6 * 5 + 5 + lora_parameters([(6, 5)], 3), flops=4 * 2 * 2 * (6 * 5 + 3 * (6 + 5)),
    ),
    Row(
        "soft-prompt", parts.SoftPrompt, lambda cls: cls(3, 6), lambda one: lambda x: torch.cat([one.prompt.expand(len(x), 3, 6), x], 1),
        lambda batch: [normal(batch, 4, 6)], lambda x: (x[0], x[1] + 3, x[2]), parameters=soft_prompt_parameters(3, 6), flops=0,
    ),
]  # fmt: skip

test_part = part_tests(ROWS)
