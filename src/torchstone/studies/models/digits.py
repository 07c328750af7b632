"""A small network that Adam trains on few of scikit-learn's digits, with every form of decay.

Axis letters: n digits, p pixels, k steps, w all weights together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.parts import Adam
from torchstone.parts.optimization.adaptive import Form
from torchstone.studies.data.images import digits

CLASSES, HIDDEN, BATCH, RATE = 10, 64, 50, 1e-3
LEARNED, HELD = 300, 600  # few to learn from, so that decay has something to do; as many to choose by as there are
TESTED = 360  # every fifth of scikit-learn's 1,797 digits


@dataclass(frozen=True)
class Split:
    """Digits to learn from, to choose by, and to report on: three sets that share none."""

    train: Float[Tensor, "n p"]
    train_labels: Int[Tensor, "n"]
    validation: Float[Tensor, "n p"]
    validation_labels: Int[Tensor, "n"]
    test: Float[Tensor, "n p"]
    test_labels: Int[Tensor, "n"]


def split(seed: int) -> Split:
    """Another part to learn from and to choose by for every seed; the test set is always the same."""
    found = digits()
    order = torch.randperm(len(found.train), generator=torch.Generator().manual_seed(seed))
    every, labels = found.train.flatten(1).double() / 255, found.train_labels
    learned, held = order[:LEARNED], order[LEARNED : LEARNED + HELD]
    return Split(
        every[learned], labels[learned], every[held], labels[held], found.test.flatten(1).double() / 255, found.test_labels
    )


def network(pixels: int, seed: int) -> nn.Sequential:
    """An untrained network of that seed, float64; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(pixels, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES)).double()


def losses(model: nn.Module, data: Split, steps: int, seed: int) -> Iterator[Tensor]:
    """The loss of a batch a step; batches depend on the seed alone."""
    source = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(data.train), (BATCH,), generator=source)
        yield functional.cross_entropy(model(data.train[rows]), data.train_labels[rows])


def fit(
    data: Split, seed: int, steps: int, decay: float = 0.0, form: Form = "decoupled", factor: float = 1.0,
    each: Callable[[nn.Module], None] = lambda _: None,
) -> nn.Sequential:  # fmt: skip
    """A network trained by Adam on the loss times a factor; `each` is called between the gradients and the step."""
    model = network(data.train.shape[1], seed)
    optimizer = Adam(model.parameters(), lr=RATE, weight_decay=decay, decay=form)
    for loss in losses(model, data, steps, seed):
        optimizer.zero_grad()
        torch.autograd.backward(factor * loss)
        each(model)
        optimizer.step()
    return model


def gradients(data: Split, seed: int, steps: int) -> tuple[Float[Tensor, "k w"], Float[Tensor, "w"]]:
    """Every gradient of a training without decay, and the weights that it began with."""
    seen: list[Tensor] = []

    def note(model: nn.Module) -> None:
        seen.append(torch.cat([cast("Tensor", weight.grad).flatten() for weight in model.parameters()]))

    fit(data, seed, steps, each=note)
    begun = network(data.train.shape[1], seed)
    return torch.stack(seen), torch.cat([weight.detach().flatten() for weight in begun.parameters()])


@torch.no_grad()
def error(model: nn.Module, pictures: Float[Tensor, "n p"], labels: Int[Tensor, "n"]) -> tuple[float, float]:
    """The share of wrong answers, and the loss."""
    logits = model(pictures)
    return (logits.argmax(1) != labels).double().mean().item(), functional.cross_entropy(logits, labels).item()


def norm(model: nn.Module) -> float:
    """The length of all weights together."""
    found: Tensor = nn.utils.parameters_to_vector(model.parameters()).norm()
    return found.item()
