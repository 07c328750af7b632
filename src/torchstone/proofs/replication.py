"""Data-parallel training of several ranks, played in one process, and how many different models come of it."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

Average = Callable[[list[nn.Module]], None]
_STEPS = 3


def _average(models: list[nn.Module]) -> None:
    """Every rank's gradients become their mean over the ranks."""
    for same in zip(*(model.parameters() for model in models), strict=True):
        gradients = [parameter.grad for parameter in same if parameter.grad is not None]
        mean = torch.stack(gradients).mean(0)
        for gradient in gradients:
            gradient.copy_(mean)


def _all_but_the_last(models: list[nn.Module]) -> None:
    last = [list(model.parameters())[-1].grad for model in models]
    kept = [gradient.clone() for gradient in last if gradient is not None]
    _average(models)
    for gradient, own in zip(last, kept, strict=True):
        if gradient is not None:
            gradient.copy_(own)


def _one_skips(models: list[nn.Module]) -> None:
    _average(models)
    for parameter in models[-1].parameters():
        parameter.grad = None


def _scaled_by_rank(models: list[nn.Module]) -> None:
    _average(models)
    for rank, model in enumerate(models):
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(2.0**rank)


def _nothing(models: list[nn.Module]) -> None:
    del models


def _flat(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def _trained(average: Average, ranks: int, draws: Draws, *, same_start: bool, averaged: bool) -> int:
    """How many different parameter vectors there are after a few steps, each rank on rows of its own."""
    models: list[nn.Module] = [nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double() for _ in range(ranks)]
    first = draws.normal(len(_flat(models[0])))
    for model in models:
        nn.utils.vector_to_parameters(first.clone() if same_start else draws.normal(len(first)), model.parameters())
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.01) for model in models]
    for _ in range(_STEPS):
        for model in models:
            model.zero_grad()
            model(draws.normal(6, 4)).square().sum().backward()
        (average if averaged else _nothing)(models)
        for optimizer in optimizers:
            optimizer.step()
    return len({tuple(_flat(model).tolist()) for model in models})


@experiment(
    "replication.distinct_models",
    part=_average,
    mutants={
        "gradients are not averaged": _nothing,
        "the last parameter is left out": _all_but_the_last,
        "one rank skips its steps": _one_skips,
        "each rank scales by a factor of its own, under Adam's epsilon": _scaled_by_rank,
    },
    how="exact, 1 to 4 ranks in one process",
)
def distinct_models(part: Average, draws: Draws) -> Iterator[Evidence]:
    """One to four ranks, from one start and from a start each, with gradients averaged or not."""
    for ranks in range(1, 5):
        for same_start in (True, False):
            for averaged in (True, False):
                counted = _trained(part, ranks, draws, same_start=same_start, averaged=averaged)
                arguments = {"ranks": ranks, "same_start": same_start, "averaged": averaged}
                yield held("replication.distinct_models", arguments, counted)
