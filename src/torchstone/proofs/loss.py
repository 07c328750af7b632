"""Losses of torch against what an uninformed or a confined prediction must give. Axis letters: b rows, k classes."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.quantity import Tolerance
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

Loss = Callable[[Tensor, Tensor], Tensor]
Likelihood = Callable[[Tensor, Tensor, Tensor], Tensor]
Formula = Callable[..., Any]
ROWS = 32


def uniform_symbols(law: Formula) -> Iterator[Any]:
    """Together k chances of e^-loss make one."""
    k = sympy.Symbol("k", integer=True, positive=True)
    yield k * sympy.exp(-law(k)) - 1


@experiment(
    "loss.uniform_cross_entropy",
    part=functional.cross_entropy,
    mutants={
        "summed over rows": lambda x, t: functional.cross_entropy(x, t, reduction="sum"),
        "base 2": lambda x, t: functional.cross_entropy(x, t) / math.log(2),
        "a class too many": lambda x, t: functional.cross_entropy(functional.pad(x, (0, 1)), t),
        "softmax over rows": lambda x, t: functional.nll_loss(x.log_softmax(0), t),
    },
    how="float64, any height and targets",
    symbolic=uniform_symbols,
)
def uniform_cross_entropy(part: Loss, draws: Draws) -> Iterator[Evidence]:
    """Equal logits of any height, any targets."""
    for classes in [1, 2, *draws.integers(3, 5000, 30)]:
        logits = draws.normal(1, 1).expand(ROWS, classes)
        targets = torch.randint(classes, (ROWS,), generator=draws.generator)
        yield held("loss.uniform_cross_entropy", {"classes": classes}, part(logits, targets), entropy_rounding(logits))


def entropy_rounding(logits: Tensor) -> Tolerance:
    """A sum of exponentials over classes, and a mean over rows of numbers as large as the largest loss."""
    classes = logits.shape[1] if logits.ndim > 1 else 2
    largest = 1 + math.log(classes) + 2 * logits.abs().max().item()
    return rounding(classes + len(logits) + 10, largest)


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Which rows' largest logit is that of the target."""
    return (logits.argmax(1) == targets).double()


@experiment(
    "loss.uniform_accuracy",
    part=accuracy,
    mutants={
        "one of the best two": lambda x, t: (x.topk(2, 1).indices == t[:, None]).any(1).double(),
        "ties count as hits": lambda x, t: (x.gather(1, t[:, None])[:, 0] >= x.max(1).values - 1).double(),
        "class 0 is never counted": lambda x, t: accuracy(x, t) * (t > 0),
        "over the classes, not the rows": lambda x, t: (x.argmax(0)[t % x.shape[1]] == t).double(),
    },
    how="4 standard errors of 1200 draws or more; heads that favour classes at random",
)
def uniform_accuracy(part: Loss, draws: Draws) -> Iterator[Evidence]:
    """Logits independent of balanced targets, some heads favouring a class, or answering always the same."""
    for classes in [2, 3, 4, 10, *draws.integers(5, 40, 4)]:
        for favour in (0.0, 1.0, 100.0):
            targets = torch.arange(1200).remainder(classes)[: 1200 // classes * classes]
            logits = draws.normal(len(targets), classes) + favour * draws.normal(1, classes)
            _, tolerance = sampling(draws.uniform(0, 1, len(targets)).lt(1 / classes).double())
            yield held("loss.uniform_accuracy", {"classes": classes}, part(logits, targets).mean(), tolerance)


@experiment(
    "loss.uniform_binary_cross_entropy",
    part=functional.binary_cross_entropy_with_logits,
    mutants={
        "positives weigh 3": lambda x, t: functional.binary_cross_entropy_with_logits(x, t, pos_weight=torch.tensor(3.0)),
        "base 2": lambda x, t: functional.binary_cross_entropy_with_logits(x, t) / math.log(2),
        "sigmoid twice": lambda x, t: functional.binary_cross_entropy_with_logits(x.sigmoid(), t),
        "summed over labels": lambda x, t: functional.binary_cross_entropy_with_logits(x, t, reduction="sum"),
    },
    how="float64, any share of positives",
    symbolic=lambda law: [2 * sympy.exp(-law()) - 1],
)
def uniform_binary_cross_entropy(part: Loss, draws: Draws) -> Iterator[Evidence]:
    """Logits of zero, any share of positives: none, all, soft targets too."""
    for share in [0.0, 1.0, *draws.uniform(0, 1, 30).tolist()]:
        logits = torch.zeros(ROWS, dtype=torch.float64)
        hard = (draws.uniform(0, 1, ROWS) < share).double()
        for targets in (hard, draws.uniform(0, 1, ROWS)):
            yield held("loss.uniform_binary_cross_entropy", {}, part(logits, targets), entropy_rounding(logits))


def squared_symbols(law: Formula) -> Iterator[Any]:
    """Targets m - a and m + a have the mean m and the variance a^2."""
    a = sympy.Symbol("a", positive=True)
    m, c = sympy.symbols("m c", real=True)
    yield law(a**2, m, c) - ((m + a - c) ** 2 + (m - a - c) ** 2) / 2


@experiment(
    "loss.constant_squared_error",
    part=functional.mse_loss,
    mutants={
        "halved": lambda x, y: functional.mse_loss(x, y) / 2,
        "summed": lambda x, y: functional.mse_loss(x, y, reduction="sum"),
        "root": lambda x, y: functional.mse_loss(x, y).sqrt(),
        "absolute": functional.l1_loss,
        "over b - 1": lambda x, y: functional.mse_loss(x, y) * len(y) / (len(y) - 1),
        "targets centred": lambda x, y: functional.mse_loss(x, y - y.mean()),
    },
    symbolic=squared_symbols,
)
def constant_squared_error(part: Loss, draws: Draws) -> Iterator[Evidence]:
    """Constants against targets of any mean and spread; no constant that descent finds does better than the variance."""
    for _ in range(25):
        targets = draws.uniform(0.01, 9, 1) * draws.normal(ROWS) + draws.normal(1)
        variance, mean = targets.var(correction=0).item(), targets.mean().item()
        prediction = 3 * draws.normal(1)
        scale = (targets.abs().max() + prediction.abs()).square().item()
        arguments = {"variance": variance, "mean": mean, "prediction": prediction.item()}
        measured = part(prediction.expand(ROWS), targets)
        yield held("loss.constant_squared_error", arguments, measured, rounding(4 * ROWS, scale))
    best = adversarial(lambda c: -part(c.expand(ROWS), targets), prediction)
    least = {"variance": variance, "mean": mean, "prediction": mean}
    yield held("loss.constant_squared_error", least, part(best.expand(ROWS), targets), rounding(4 * ROWS, scale), Relation.AT_LEAST)


def likelihood(mean: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """The Gaussian negative log-likelihood of torch with its constant term."""
    return functional.gaussian_nll_loss(mean, targets, variance, full=True, eps=1e-12)


def gaussian_symbols(law: Formula) -> Iterator[Any]:
    """The likelihood of variance w where the targets have v: the law at w = v, and no slope there."""
    v, w = sympy.symbols("v w", positive=True)
    average = sympy.log(2 * sympy.pi * w) / 2 + v / (2 * w)
    yield average.subs(w, v) - law(v)
    yield average.diff(w).subs(w, v)


@experiment(
    "loss.gaussian_negative_log_likelihood",
    part=likelihood,
    mutants={
        "2 pi left out": lambda m, y, v: functional.gaussian_nll_loss(m, y, v, full=False, eps=1e-12),
        "deviation for variance": lambda m, y, v: likelihood(m, y, v.sqrt()),
        "variance over b - 1": lambda m, y, v: likelihood(m, y, v * len(y) / (len(y) - 1)),
        "mean left out": lambda m, y, v: likelihood(0 * m, y, v),
        "summed": lambda m, y, v: likelihood(m, y, v) * len(y),
    },
    symbolic=gaussian_symbols,
)
def gaussian_negative_log_likelihood(part: Likelihood, draws: Draws) -> Iterator[Evidence]:
    """The fitted Gaussian, and the best that descent on mean and variance finds, from starts of its own."""
    name = "loss.gaussian_negative_log_likelihood"
    for position in range(25):
        targets = draws.uniform(0.1, 30, 1) * draws.normal(ROWS) + draws.normal(1)
        mean, variance = targets.mean(), targets.var(correction=0)
        # Errors of the squares are over the variance: what counts is how far the targets lie off zero in deviations.
        tolerance = rounding(8 * ROWS, 10 + (targets.abs().max() ** 2 / variance).item())
        fitted = part(mean.expand(ROWS), targets, variance.expand(ROWS))
        yield held(name, {"variance": variance.item()}, fitted, tolerance)
        if position % 5 == 0:
            found = best_gaussian(part, targets, draws.normal(2))
            yield held(name, {"variance": variance.item()}, found, tolerance, Relation.AT_LEAST)


def best_gaussian(part: Likelihood, targets: Tensor, start: Tensor) -> Tensor:
    """The lowest loss that descent finds over the Gaussian's mean and logarithmic variance, from a start in units of the fit."""
    mean, variance = targets.mean(), targets.var(correction=0)

    def loss(at: Tensor) -> Tensor:
        return part((mean + at[0] * variance.sqrt()).expand(ROWS), targets, (variance * at[1].exp()).expand(ROWS))

    return loss(adversarial(lambda at: -loss(at), start, steps=30))


def confined(x: Tensor, low: float, interval: float) -> Tensor:
    """Any numbers brought into [low, low + interval]."""
    return low + interval * x.sigmoid()


def best_confined(part: Loss, targets: Tensor, start: Tensor, low: float, interval: float) -> Tensor:
    """The inputs of an interval with the lowest loss that descent finds."""
    found = adversarial(lambda x: -part(confined(x, low, interval), targets), start, steps=15, rate=20.0)
    return confined(found, low, interval)


def reachable_symbols(law: Formula) -> Iterator[Any]:
    """The softmax of (r, 0, ..., 0) at its first entry."""
    k, r = sympy.Symbol("k", integer=True, positive=True), sympy.Symbol("r", positive=True)
    yield sympy.exp(-law(k, r)) - sympy.exp(r) / (sympy.exp(r) + k - 1)


@experiment(
    "loss.reachable_cross_entropy",
    part=functional.cross_entropy,
    mutants={
        "temperature 1/2": lambda x, t: functional.cross_entropy(2 * x, t),
        "a margin for the target": lambda x, t: functional.cross_entropy(x + functional.one_hot(t, x.shape[1]), t),
        "base 2": lambda x, t: functional.cross_entropy(x, t) / math.log(2),
        "smoothed targets": lambda x, t: functional.cross_entropy(x, t, label_smoothing=0.1),
        "softmax over rows": lambda x, t: functional.nll_loss(x.log_softmax(0), t),
    },
    symbolic=reachable_symbols,
)
def reachable_cross_entropy(part: Loss, draws: Draws) -> Iterator[Evidence]:
    """Inputs of an interval: random, the best that descent finds, and the corner, where the floor is reached."""
    name = "loss.reachable_cross_entropy"
    for classes in [1, 2, 10, *draws.integers(3, 200, 6)]:
        low, interval = draws.normal(1).item(), draws.uniform(0, 8, 1).item()
        targets = torch.randint(classes, (ROWS,), generator=draws.generator)
        floor = {"classes": classes, "interval": interval}

        start = draws.normal(ROWS, classes)
        for inputs in (confined(start, low, interval), best_confined(part, targets, start, low, interval)):
            yield held(name, floor, part(inputs, targets), entropy_rounding(inputs), Relation.AT_LEAST)
        corner = low + interval * functional.one_hot(targets, classes).double()
        yield held(name, floor, part(corner, targets), entropy_rounding(corner))


def reachable_binary_symbols(law: Formula) -> Iterator[Any]:
    """One row of either label at its best end: probabilities 1/(1 + e^low) and 1/(1 + e^-high), whatever the ends' signs."""
    a, b = sympy.symbols("a b", positive=True)
    for low, high in ((a, a + b), (-a, b), (-a - b, -a)):
        yield sympy.exp(law(0, low, high)) - 1 - sympy.exp(low)
        yield sympy.exp(law(1, low, high)) - 1 - sympy.exp(-high)


@experiment(
    "loss.reachable_binary_cross_entropy",
    part=functional.binary_cross_entropy_with_logits,
    mutants={
        "temperature 1/2": lambda x, t: functional.binary_cross_entropy_with_logits(2 * x, t),
        "positives weigh 1/2": lambda x, t: functional.binary_cross_entropy_with_logits(x, t, pos_weight=torch.tensor(0.5)),
        "probabilities": lambda x, t: functional.binary_cross_entropy(x.clamp(0, 1), t),
        "sign of the logit": lambda x, t: functional.binary_cross_entropy_with_logits(-x, t),
        "smoothed targets": lambda x, t: functional.binary_cross_entropy_with_logits(x, 0.9 * t + 0.05),
    },
    symbolic=reachable_binary_symbols,
)
def reachable_binary_cross_entropy(part: Loss, draws: Draws) -> Iterator[Evidence]:
    """Inputs of an interval: random, the best that descent finds, and each label's end, where the floor is reached."""
    name = "loss.reachable_binary_cross_entropy"
    for share in [0.0, 1.0, *draws.uniform(0, 1, 8).tolist()]:
        low, interval = 2 * draws.normal(1).item(), draws.uniform(0, 5, 1).item()
        targets = (draws.uniform(0, 1, ROWS) < share).double()
        floor = {"positives": targets.mean().item(), "low": low, "high": low + interval}

        start = draws.normal(ROWS)
        for inputs in (confined(start, low, interval), best_confined(part, targets, start, low, interval)):
            yield held(name, floor, part(inputs, targets), entropy_rounding(inputs), Relation.AT_LEAST)
        best = low + interval * targets
        yield held(name, floor, part(best, targets), entropy_rounding(best))
