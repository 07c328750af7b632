"""Dropout that does not rescale, by sampling its masks, and the dense layer that takes its place."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.parts.noise import unscaled_dropout, weight_scaling_inference
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

Dropout = Callable[[Tensor, float, torch.Generator], Tensor]
MASKS = 20_000


def _unscaled(inputs: Tensor, p: float, generator: torch.Generator) -> Tensor:
    return unscaled_dropout(inputs, p, generator=generator)


@experiment(
    "noise.dropped_expectation",
    part=_unscaled,
    mutants={
        "rescaled as nn.Dropout does": lambda x, p, g: unscaled_dropout(x, p, generator=g) / (1 - p),
        "kept with probability p": lambda x, p, g: unscaled_dropout(x, 1 - p, generator=g),
        "switched off": lambda x, p, g: unscaled_dropout(x, p, training=False, generator=g),
    },
    how="confidence interval, 20000 masks",
)
def dropped_expectation(part: Dropout, draws: Draws) -> Iterator[Evidence]:
    """The mean over masks of one dense unit, for p from 0.1 to 0.9; mask and unit are drawn anew each time."""
    for p in (0.1, 0.3, 0.5, 0.7, 0.9) * 4:
        inputs, weights, bias = draws.normal(5), draws.normal(5), draws.normal(1).item()
        outputs = part(inputs.expand(MASKS, 5), p, draws.generator) @ weights + bias
        arguments = {"inputs": inputs.tolist(), "weights": weights.tolist(), "bias": bias, "p": p}
        yield held("noise.dropped_expectation", arguments, *sampling(outputs))


def _weight(weight: Tensor, p: float) -> Tensor:
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(weight[:, 0])
    return weight_scaling_inference(linear, p).weight


@experiment(
    "noise.inference_weight",
    part=_weight,
    mutants={
        "divided by 1-p": lambda w, p: w / (1 - p) if p < 1 else w,
        "multiplied by p": lambda w, p: p * w,
        "unchanged": lambda w, _: w,
        "square root": lambda w, p: (1 - p) ** 0.5 * w,
    },
)
def inference_weight(part: Callable[[Tensor, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Every weight of dense layers that were converted, for p from 0 to 1."""
    for p in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0):
        weight = draws.normal(3, 4)
        for before, after in zip(weight.flatten().tolist(), part(weight, p).flatten().tolist(), strict=True):
            yield held("noise.inference_weight", {"weight": before, "p": p}, after, rounding(4, abs(before)))
