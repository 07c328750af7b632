"""A class-conditional denoiser of small pictures: trained past the minimum of its loss on validation, both states kept.

n pictures, p pixels.
"""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchstone.parts.diffusion import DenoisingMLP, GaussianDiffusion, NoiseSchedule
from torchstone.studies.study import Tensors, Tools

LEVELS = 200
DRAWS = 16  # noises and levels of every held-out picture: the same ones at every look
_KEPT_EVERY, _AVERAGED = 10.0, 0.998  # seconds; how much of the running mean of weights each step leaves


@dataclass(frozen=True)
class Digits:
    """Pictures as rows in [-1, 1] (n, p) and their classes (n,)."""

    rows: Float[Tensor, "n p"]
    labels: Int[Tensor, "n"]


@dataclass(frozen=True)
class Plan:
    """How a denoiser is trained; `look` is how many steps lie between looks at the validation loss."""

    hidden: int
    layers: int
    steps: int
    batch: int
    rate: float
    look: int


def diffusion() -> GaussianDiffusion:
    """A cosine schedule of 200 levels, noise predicted, samples within the range of pixels."""
    return GaussianDiffusion(NoiseSchedule.cosine(LEVELS), clip=1.0)


def network(plan: Plan, pixels: int, classes: int, seed: int) -> DenoisingMLP:
    """An untrained denoiser, its parameters drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DenoisingMLP(pixels, plan.hidden, plan.layers, classes)


def held_out_loss(model: DenoisingMLP, held: Digits, seed: int = 0) -> float:
    """The loss on pictures that were not trained on, over fixed noises and levels."""
    source = torch.Generator().manual_seed(seed)
    rows, labels = held.rows.repeat(DRAWS, 1), held.labels.repeat(DRAWS)
    with torch.no_grad():
        return diffusion().loss(model, rows, labels, generator=source).item()


class Training:
    """A denoiser in training: its running mean, the best mean so far, and everything that going on after a kill needs."""

    def __init__(self, plan: Plan, train: Digits, validation: Digits, classes: int, seed: int) -> None:
        self.plan, self.train, self.validation = plan, train, validation
        pixels = train.rows.shape[1]
        self.model, self.mean = (network(plan, pixels, classes, seed) for _ in range(2))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=plan.rate, fused=True)
        self.source = torch.Generator().manual_seed(seed)
        self.step, self.curve, self.best = 0, [], self._weights()
        self.process = diffusion()

    curve: list[list[float]]

    def _weights(self) -> Tensors:
        return {name: value.clone() for name, value in self.mean.state_dict().items()}

    def state(self) -> dict[str, object]:
        """Tensors, numbers and lists."""
        parts = {"model": self.model.state_dict(), "mean": self.mean.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**parts, "source": self.source.get_state(), "step": self.step, "curve": self.curve, "best": self.best}

    def restore(self, kept: dict[str, object]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(kept["model"])  # type: ignore[arg-type] # as `state` gave it
        self.mean.load_state_dict(kept["mean"])  # type: ignore[arg-type]
        self.optimizer.load_state_dict(kept["optimizer"])  # type: ignore[arg-type]
        self.source.set_state(kept["source"])  # type: ignore[arg-type]
        self.step, self.curve, self.best = kept["step"], kept["curve"], kept["best"]  # type: ignore[assignment]

    def learn(self) -> None:
        """One step, and a look at the validation loss where one is due."""
        rows = torch.randint(len(self.train.rows), (self.plan.batch,), generator=self.source)
        loss = self.process.loss(self.model, self.train.rows[rows], self.train.labels[rows], generator=self.source)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        share = 1 - min(_AVERAGED, self.step / (self.step + 10))  # at first the mean must follow fast
        with torch.no_grad():
            for mean, value in zip(self.mean.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, share)
        self.step += 1
        if self.step % self.plan.look == 0:
            found = [held_out_loss(self.mean, self.validation), held_out_loss(self.mean, self.train_part())]
            if all(found[0] < one[1] for one in self.curve):
                self.best = self._weights()
            self.curve.append([float(self.step), *found])

    def train_part(self) -> Digits:
        """As many trained pictures as there are for validation."""
        count = len(self.validation.rows)
        return Digits(self.train.rows[:count], self.train.labels[:count])


def trained(plan: Plan, train: Digits, validation: Digits, classes: int, seed: int, tools: Tools) -> Tensors:
    """Weights at the least validation loss (best.*) and at the end (last.*); curve: (step, validation, training loss) a look."""
    training = Training(plan, train, validation, classes, seed)
    kept = tools.keep.load()
    if kept is not None:
        training.restore(kept)
    saved = time.monotonic()
    while training.step < plan.steps:
        training.learn()
        if training.step % plan.look == 0:
            tools.tell(training.step, plan.steps)
            if time.monotonic() - saved > _KEPT_EVERY:
                tools.keep.save(**training.state())
                saved = time.monotonic()
    best = {f"best.{name}": value for name, value in training.best.items()}
    last = {f"last.{name}": value.clone() for name, value in training.mean.state_dict().items()}
    return {**best, **last, "curve": torch.tensor(training.curve, dtype=torch.float64)}


def restored(plan: Plan, pixels: int, classes: int, kept: Tensors, which: str) -> DenoisingMLP:
    """The denoiser with the weights of `which`, best or last."""
    model = network(plan, pixels, classes, 0)
    head = f"{which}."
    model.load_state_dict({name.removeprefix(head): value for name, value in kept.items() if name.startswith(head)})
    return model.eval()
