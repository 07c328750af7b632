"""Dropout that does not rescale, by sampling its masks, and the dense layer that takes its place."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.laws.noise import mask_moments as formula
from torchstone.parts.noise import UnscaledDropout, fold_dropout, unscaled_dropout
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
    """The weight that `fold_dropout` gives the layer of a real network."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    linear.weight = nn.Parameter(weight)
    return fold_dropout(nn.Sequential(UnscaledDropout(p), nn.Flatten(), linear)).get_parameter("2.weight")


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
    """Every weight of networks that were folded, for p from 0 to 1."""
    for p in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0):
        weight = draws.normal(3, 4)
        for before, after in zip(weight.flatten().tolist(), part(weight, p).flatten().tolist(), strict=True):
            yield held("noise.inference_weight", {"weight": before, "p": p}, after, rounding(4, abs(before)))


Mask = Callable[[Tensor, float, bool], Tensor]


def _masked(ones: Tensor, p: float, rescaled: bool) -> Tensor:  # noqa: FBT001 - as the law has it
    return nn.functional.dropout(ones, p) if rescaled else unscaled_dropout(ones, p)


@experiment(
    "noise.mask_moments",
    part=_masked,
    mutants={
        "always rescaled": lambda ones, p, _: nn.functional.dropout(ones, p),
        "kept with probability p": lambda ones, p, rescaled: _masked(ones, 1 - p, rescaled),
        "Gaussian, its variance the mask's standard deviation": lambda ones, p, rescaled: (
            _masked(ones, p, rescaled).mean() + (p * (1 - p)) ** 0.25 * torch.randn_like(ones)
        ),
    },
    how="confidence intervals, 100000 entries",
)
def mask_moments(part: Mask, draws: Draws) -> Iterator[Evidence]:
    """Mean and variance of the masks of torch's dropout and of the unscaled one; the variance about the law's own mean."""
    ones = torch.ones(100_000, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draws.integer(0, 2**31))
        for rescaled in (False, True):
            for p in (0.1, 0.4, 0.75):
                mask = part(ones, p, rescaled)
                mean, _ = formula(p, rescaled=rescaled)
                for moment, rows in enumerate((mask, (mask - mean).square())):
                    measured, tolerance = sampling(rows)
                    pair = list(formula(p, rescaled=rescaled))
                    pair[moment] = measured
                    yield held("noise.mask_moments", {"p": p, "rescaled": rescaled}, pair, tolerance)
