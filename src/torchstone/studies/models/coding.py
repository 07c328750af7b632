"""A classifier of pictures through a code that is drawn: built, trained so that it goes on after a kill, and evaluated.

b batch, p pixels, n pictures.
"""

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.parts.bottleneck import StochasticEncoder, VariationalBottleneck, gaussian_kl, in_bits
from torchstone.parts.bottleneck.weights import check_beta
from torchstone.studies.data.mnist import Images
from torchstone.studies.study import Tools

CHUNK = 1000  # pictures evaluated at once
_KEPT_EVERY, _TOLD_EVERY = 10.0, 50  # seconds; steps


@dataclass(frozen=True)
class Split:
    """Grey pictures as rows in [-1, 1] (n, p) and their classes (n,); validation is taken from training, not from test."""

    train: Float[Tensor, "n p"]
    train_labels: Int[Tensor, "n"]
    validation: Float[Tensor, "m p"]
    validation_labels: Int[Tensor, "m"]
    test: Float[Tensor, "k p"]
    test_labels: Int[Tensor, "k"]


def split(found: Images, share: int | None, classes: tuple[int, ...] | None = None) -> Split:
    """Every `share`-th training picture becomes validation, none if None; of all classes, or of those named, numbered from 0."""
    sides = []
    for pictures, labels in ((found.train, found.train_labels), (found.test, found.test_labels)):
        chosen = torch.arange(len(labels)) if classes is None else torch.isin(labels, torch.tensor(classes)).nonzero().squeeze(1)
        numbered = labels[chosen] if classes is None else torch.bucketize(labels[chosen], torch.tensor(sorted(classes)))
        sides.append((pictures[chosen].flatten(1).float().div(127.5).sub(1), numbered))
    (rows, labels), (test, test_labels) = sides
    held = torch.zeros(len(rows), dtype=torch.bool)
    if share is not None:
        held[::share] = True
    return Split(rows[~held], labels[~held], rows[held], labels[held], test, test_labels)


@dataclass(frozen=True)
class Recipe:
    """How one network is trained. beta: the regulariser's weight, None for a deterministic code; rates fall along a cosine."""

    beta: float | None
    hidden: int
    latent: int
    classes: int
    steps: int
    batch: int = 100
    rate: float = 5e-4

    def __post_init__(self) -> None:
        if self.beta is not None:
            check_beta(self.beta)


def network(pixels: int, recipe: Recipe, seed: int) -> VariationalBottleneck:
    """Two hidden layers, a code, and a linear decoder, as in Alemi et al. 2017, section 4.1; parameters drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Linear(pixels, recipe.hidden), nn.ReLU(), nn.Linear(recipe.hidden, recipe.hidden), nn.ReLU())
        encoder = StochasticEncoder(body, recipe.hidden, recipe.latent)
        return VariationalBottleneck(encoder, nn.Linear(recipe.latent, recipe.classes))


def train(recipe: Recipe, data: Split, seed: int, tools: Tools) -> VariationalBottleneck:
    """A trained network, in evaluation mode; what was kept of an earlier start is gone on with, bit for bit."""
    model = network(data.train.shape[1], recipe, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.rate, betas=(0.5, 0.999), fused=True)
    source, start = torch.Generator().manual_seed(seed), 0
    kept = tools.keep.load()
    if kept is not None:
        model.load_state_dict(kept["model"])  # type: ignore[arg-type] # as saved below
        optimizer.load_state_dict(kept["optimizer"])  # type: ignore[arg-type]
        source.set_state(kept["source"])  # type: ignore[arg-type]
        start = int(kept["step"])  # type: ignore[call-overload]
    saved = time.monotonic()
    for step in range(start, recipe.steps):
        _learn(model, optimizer, recipe, data, seed, step, source)
        if (step + 1) % _TOLD_EVERY == 0:
            tools.tell(step + 1, recipe.steps)
            if time.monotonic() - saved > _KEPT_EVERY:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "source": source.get_state()}
                tools.keep.save(step=step + 1, **state)
                saved = time.monotonic()
    return model.eval()


def _learn(
    model: VariationalBottleneck, optimizer: torch.optim.Optimizer, recipe: Recipe, data: Split, seed: int, step: int,
    source: torch.Generator,
) -> None:
    """One step on the next rows of an epoch's order, which the seed and the epoch alone decide."""
    rate = recipe.rate * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    for group in optimizer.param_groups:
        group["lr"] = rate
    rows = _rows(len(data.train), recipe.batch, seed, step)
    inputs, targets = data.train[rows], data.train_labels[rows]
    if recipe.beta is None:
        model.eval()  # the code is the mean
        loss = functional.cross_entropy(model(inputs), targets)
    else:
        model.train()
        loss = model.terms(inputs, targets, generator=source).loss(recipe.beta)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


_ORDERS: dict[tuple[int, int, int], Tensor] = {}


def _rows(count: int, batch: int, seed: int, step: int) -> Tensor:
    """The rows of a step: epochs go through all pictures, each in an order of its own."""
    batches = max(1, count // batch)
    epoch, place = divmod(step, batches)
    key = (count, seed, epoch)
    if key not in _ORDERS:
        _ORDERS.clear()
        _ORDERS[key] = torch.randperm(count, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))
    return _ORDERS[key][place * batch : (place + 1) * batch]


def errors(
    model: VariationalBottleneck, rows: Float[Tensor, "n p"], labels: Int[Tensor, "n"], seed: int, samples: int = 12
) -> float:
    """Percent of rows whose class is not the likeliest, probabilities averaged over that many drawn codes; 0: the mean code."""
    source = torch.Generator().manual_seed(seed)
    wrong = 0
    with torch.no_grad():
        for some, classes in zip(torch.split(rows, CHUNK), torch.split(labels, CHUNK), strict=True):
            scores = model.predict(some, samples, generator=source) if samples else model(some)
            wrong += int((scores.argmax(1) != classes).sum())
    return 100 * wrong / len(rows)


def codes(model: VariationalBottleneck, rows: Float[Tensor, "n p"]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
    """Means and deviations of the rows' codes."""
    with torch.no_grad():
        pairs = [model.encoder(some) for some in torch.split(rows, CHUNK)]
    return torch.cat([mean for mean, _ in pairs]), torch.cat([deviation for _, deviation in pairs])


def bits(mean: Float[Tensor, "n k"], deviation: Float[Tensor, "n k"]) -> float:
    """The mean divergence of codes from N(0, 1), in bits."""
    return in_bits(gaussian_kl(mean, deviation).mean()).item()
