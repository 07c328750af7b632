"""What the weight beta of a bottleneck does: codes brought to a minimum of task + beta KL, and linear codes of noisy data."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import sympy
import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.quantity import Amount, Tolerance
from torchstone.parts.bottleneck import deviation_of, gaussian_kl, reparameterise
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

CLASSES, LATENT, NODES, FRESH, STRENGTH = 3, 2, 64, 20_000, 1.5
BETAS = (0.03, 0.1, 0.3, 1.0)
Divergence = Callable[[Tensor, Tensor], Tensor]


class Minimum(NamedTuple):
    """A code of every class, (classes, k) each, and the divergence at them, a mean over classes."""

    mean: Tensor
    deviation: Tensor
    divergence: float


def _scores(codes: Tensor) -> Tensor:
    """A linear decoder that is not trained: one direction a class, at equal angles."""
    angles = torch.arange(CLASSES, dtype=codes.dtype) * (2 * math.pi / CLASSES)
    return STRENGTH * functional.linear(codes, torch.stack([angles.cos(), angles.sin()], 1))


def _minimum(beta: float, draws: Draws, regulariser: Divergence = gaussian_kl, task: float = 1.0) -> Minimum:
    """The least of task + beta KL over codes, by LBFGS; the noise is drawn once, with its mirror image."""
    noise = draws.normal(NODES, CLASSES, LATENT)
    noise, targets = torch.cat([noise, -noise]), torch.arange(CLASSES).repeat(2 * NODES)
    leaves = [(0.1 * draws.normal(CLASSES, LATENT)).requires_grad_() for _ in range(2)]
    optimizer = torch.optim.LBFGS(leaves, max_iter=40, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        mean, deviation = leaves[0], deviation_of(leaves[1], "log_variance")
        scores = _scores(reparameterise(mean, deviation, noise))
        loss = task * functional.cross_entropy(scores.flatten(0, 1), targets) + beta * regulariser(mean, deviation).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    mean, deviation = leaves[0].detach(), deviation_of(leaves[1].detach(), "log_variance")
    return Minimum(mean, deviation, gaussian_kl(mean, deviation).mean().item())


Finding = Callable[[float, Draws], Minimum]
MUTANTS: dict[str, Finding] = {
    "weight inverted": lambda beta, draws: _minimum(1 / beta, draws),
    "task weighted for the regulariser": lambda beta, draws: _minimum(0.3, draws, task=beta),
    "weights exchanged": lambda beta, draws: _minimum(BETAS[0] * BETAS[-1] / beta, draws),
}
LOCAL = Tolerance(model=Amount(0.1, "an expectation over noise that is drawn once; neighbours are 0.5 nats apart"))


def _wrong(found: Minimum, draws: Draws, samples: int = 1) -> Tensor:
    """Of fresh rows of every class, 1 where the likeliest class is another, after averaging over that many drawn codes."""
    noise = draws.normal(samples, FRESH, CLASSES, LATENT)
    likeliest = _scores(reparameterise(found.mean, found.deviation, noise)).softmax(-1).mean(0).argmax(-1)
    return (likeliest != torch.arange(CLASSES)).double().mean(1)


@experiment(
    "bottleneck.scale",
    part=_minimum,
    mutants={
        "means left out of the regulariser": lambda beta, draws: _minimum(
            beta, draws, lambda mean, deviation: gaussian_kl(torch.zeros_like(mean), deviation)
        ),
        "a prior far away": lambda beta, draws: _minimum(beta, draws, lambda mean, deviation: gaussian_kl(mean, deviation, 9.0)),
        "a tenth of the weight": lambda beta, draws: _minimum(beta / 10, draws),
    },
    how="minima found by LBFGS",
)
def scale(part: Finding, draws: Draws) -> Iterator[Evidence]:
    """Three classes at weights from small to large."""
    for beta in BETAS[1:]:
        square = part(beta, draws).mean.square().sum(1).mean()
        yield held("bottleneck.scale", {"beta": beta, "classes": CLASSES}, square, rounding(20, 100), Relation.AT_MOST)


@experiment(
    "bottleneck.divergence_falls",
    part=_minimum,
    mutants=MUTANTS,
    how="minima found by LBFGS",
)
def divergence_falls(part: Finding, draws: Draws) -> Iterator[Evidence]:
    """Minima at growing weights."""
    found = [part(beta, draws).divergence for beta in BETAS]
    for smaller, larger in itertools.pairwise(found):
        yield held("bottleneck.divergence_falls", {"smaller": smaller}, larger, LOCAL, Relation.AT_MOST)


@experiment(
    "bottleneck.error_rises",
    part=_minimum,
    mutants=MUTANTS,
    how=f"minima found by LBFGS, {FRESH} fresh draws",
)
def error_rises(part: Finding, draws: Draws) -> Iterator[Evidence]:
    """From a weight that leaves the classes apart to one that does not."""
    (smaller, one), (larger, other) = (sampling(_wrong(part(beta, draws), draws)) for beta in (BETAS[0], BETAS[-1]))
    allowed = max(one, other, key=lambda tolerance: tolerance.total)
    yield held("bottleneck.error_rises", {"smaller": smaller}, larger, allowed, Relation.AT_LEAST)


Measuring = Callable[[Minimum, Draws], tuple[float, Tensor]]


def _measured(found: Minimum, draws: Draws) -> tuple[float, Tensor]:
    """Divergence, and the errors of one drawn code."""
    return found.divergence, _wrong(found, draws)


@experiment(
    "bottleneck.least_error",
    part=_measured,
    mutants={
        "the mean for a drawn code": lambda found, draws: (
            found.divergence, _wrong(found._replace(deviation=0 * found.deviation), draws)
        ),
        "thirty draws for one": lambda found, draws: (found.divergence, _wrong(found, draws, 30)),
        "a quarter of the divergence": lambda found, draws: (found.divergence / 4, _wrong(found, draws)),
    },
    how=f"minima found by LBFGS, {FRESH} fresh draws",
)
def least_error(part: Measuring, draws: Draws) -> Iterator[Evidence]:
    """At weights that leave less than the classes need."""
    for beta in BETAS[1:]:
        nats, wrong = part(_minimum(beta, draws), draws)
        found, allowed = sampling(wrong)
        yield held("bottleneck.least_error", {"nats": nats, "classes": CLASSES}, found, allowed, Relation.AT_LEAST)


@experiment(
    "bottleneck.nats_needed",
    part=_measured,
    mutants={
        "the mean for a drawn code": lambda found, draws: (
            found.divergence, _wrong(found._replace(deviation=0 * found.deviation), draws)
        ),
        "thirty draws for one": lambda found, draws: (found.divergence, _wrong(found, draws, 30)),
        "a quarter of the divergence": lambda found, draws: (found.divergence / 4, _wrong(found, draws)),
    },
    how=f"minima found by LBFGS, {FRESH} fresh draws",
)
def nats_needed(part: Measuring, draws: Draws) -> Iterator[Evidence]:
    """The errors that are measured, less what their number leaves open, and the divergence that they were reached with."""
    for beta in BETAS[1:]:
        nats, wrong = part(_minimum(beta, draws), draws)
        error, open_ = sampling(wrong)
        arguments = {"error": error + open_.total, "classes": CLASSES}
        yield held("bottleneck.nats_needed", arguments, nats, rounding(100, 1.0), Relation.AT_LEAST)


def _answered(slopes: Tensor, beta: float, regulariser: Divergence = gaussian_kl) -> float:
    """The divergence of the code that a linear decoder makes the best: the least of a z + beta KL, over means and deviations."""
    leaves = [torch.zeros_like(slopes).requires_grad_() for _ in range(2)]
    optimizer = torch.optim.LBFGS(leaves, max_iter=60, tolerance_grad=1e-12, tolerance_change=0.0, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = (slopes * leaves[0]).sum() + beta * regulariser(leaves[0], deviation_of(leaves[1], "log_variance"))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return gaussian_kl(leaves[0].detach(), deviation_of(leaves[1].detach(), "log_variance")).item()


def _at_the_best_mean(law: Callable[..., Any]) -> Iterator[Any]:
    """The zero of the derivative of a mu + beta mu²/2, put into mu²/2."""
    slope, mu = sympy.symbols("a mu", real=True)
    beta = sympy.Symbol("beta", positive=True)
    (best,) = sympy.solve(sympy.diff(slope * mu + beta * mu**2 / 2, mu), mu)
    yield law(slope, beta) - best**2 / 2


@experiment(
    "bottleneck.best_divergence",
    part=_answered,
    mutants={
        "weight inverted": lambda slopes, beta: _answered(slopes, 1 / beta),
        "a prior far away": lambda slopes, beta: _answered(slopes, beta, lambda mean, deviation: gaussian_kl(mean, deviation, 3.0)),
        "one unit of many": lambda slopes, beta: _answered(slopes[:1], beta),
        "divergence without the half": lambda slopes, beta: _answered(slopes, 2 * beta),
    },
    symbolic=_at_the_best_mean,
    how="minima found by LBFGS, linear decoders",
)
def best_divergence(part: Callable[[Tensor, float], float], draws: Draws) -> Iterator[Evidence]:
    """Random slopes of several units."""
    found_to = Tolerance(model=Amount(1e-6, "a minimum found by LBFGS"))
    for beta in (0.5, 1.0, 4.0):
        slopes = draws.normal(4)
        arguments = {"slope": slopes.norm().item(), "beta": beta}
        yield held("bottleneck.best_divergence", arguments, part(slopes, beta), found_to)


TRIALS, POINTS = 4000, 5
Fitting = Callable[[Tensor, Tensor, float], Tensor]


def _fitted(rows: Tensor, targets: Tensor, beta: float, prior: float = 0.0) -> Tensor:
    """Slopes a of linear codes N(a x, 1) at the least of squared error / 2 + beta KL, one a trial: a square, so one Newton step."""
    slope = torch.zeros(len(rows), 1, dtype=rows.dtype, requires_grad=True)
    mean = slope * rows
    divergence = gaussian_kl(mean.unsqueeze(-1), torch.ones_like(mean).unsqueeze(-1), prior)
    loss = ((targets - mean).square() / 2 + beta * divergence).mean(1).sum()
    (first,) = torch.autograd.grad(loss, slope, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), slope)
    return (slope - first / second).detach()


@experiment(
    "bottleneck.dip",
    part=_fitted,
    mutants={
        "reward for divergence": lambda rows, targets, beta: _fitted(rows, targets, -beta),
        "a prior far away": lambda rows, targets, beta: _fitted(rows, targets, beta, prior=9.0),
        "weight inverted": lambda rows, targets, beta: _fitted(rows, targets, 1 / beta if beta else 0.0),
    },
    how=f"{TRIALS} noisy data sets of {POINTS} rows, a linear code",
)
def dip(part: Fitting, draws: Draws) -> Iterator[Evidence]:
    """Slope 1, noise of variance 1: the best weight is near the variance of a fitted slope over its square."""
    rows = draws.normal(TRIALS, POINTS)
    targets = rows + draws.normal(TRIALS, POINTS)
    errors = [(part(rows, targets, beta) - 1).square().squeeze(1) for beta in (0.0, 1 / POINTS)]
    _, allowed = sampling(errors[1] - errors[0])
    unregularised, regularised = (one.mean().item() for one in errors)
    if not math.isfinite(regularised):
        regularised = math.nan
    yield held("bottleneck.dip", {"unregularised": unregularised}, regularised, allowed, Relation.AT_MOST)
