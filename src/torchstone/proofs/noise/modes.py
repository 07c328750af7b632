"""Training loops with dropout and BatchNorm, and which of their passes are noisy."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

# (the model; how many training passes; how many evaluation passes after each few of them)
Loop = Callable[[nn.Module, list[Tensor], list[Tensor]], None]


def _train(model: nn.Module, batches: list[Tensor]) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for batch in batches:
        optimizer.zero_grad()
        torch.autograd.backward(model(batch).square().mean())
        optimizer.step()


@torch.no_grad()
def _evaluate(model: nn.Module, batches: list[Tensor]) -> None:
    for batch in batches:
        model(batch)


def _loop(model: nn.Module, training: list[Tensor], evaluation: list[Tensor]) -> None:
    """Two epochs, each with its validation."""
    for epoch in range(2):
        model.train()
        _train(model, training[epoch::2])
        model.eval()
        _evaluate(model, evaluation[epoch::2])


def _forgotten_train(model: nn.Module, training: list[Tensor], evaluation: list[Tensor]) -> None:
    model.train()
    for epoch in range(2):
        _train(model, training[epoch::2])
        model.eval()
        _evaluate(model, evaluation[epoch::2])


def _forgotten_eval(model: nn.Module, training: list[Tensor], evaluation: list[Tensor]) -> None:
    model.train()
    for epoch in range(2):
        _train(model, training[epoch::2])
        _evaluate(model, evaluation[epoch::2])


class _Masks(nn.Module):
    """Dropout that counts the masks which differ from all ones."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = 0

    def forward(self, values: Tensor) -> Tensor:
        """(b f) to (b f)."""
        dropped = nn.functional.dropout(values, 0.5, self.training)
        self.drawn += int(not torch.equal(dropped, values))
        return dropped


@experiment(
    "noise.noisy_passes",
    part=_loop,
    mutants={"train() forgotten after validation": _forgotten_train, "eval() forgotten before validation": _forgotten_eval},
    how="exact: BatchNorm's own count of batches, and the masks that dropout drew",
)
def noisy_passes(part: Loop, draws: Draws) -> Iterator[Evidence]:
    """Batches that BatchNorm tracked and masks that dropout drew, in loops of two epochs."""
    for training, evaluation in ((2, 2), (6, 4), (5, 8), (9, 3)):
        norm, masks = nn.BatchNorm1d(8), _Masks()
        model = nn.Sequential(nn.Linear(4, 8), norm, masks, nn.Linear(8, 1)).double()
        part(model, [draws.normal(16, 4) for _ in range(training)], [draws.normal(16, 4) for _ in range(evaluation)])
        given = {"training": training, "evaluation": evaluation}
        tracked = norm.num_batches_tracked
        yield held("noise.noisy_passes", given, int(tracked.item()) if tracked is not None else -1)
        yield held("noise.noisy_passes", given, masks.drawn)
