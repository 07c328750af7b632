"""Regressions on features that noise multiplies: the expected loss and its least weights, on draws and on symbols."""

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.laws.noise import mask_moments
from torchstone.parts.noise import gaussian_noise, noisy_regression_loss, noisy_regression_solution, unscaled_dropout
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

Apply = Callable[[Tensor, torch.Generator], Tensor]
# Noise by name, its mean and its variance.
Noise = tuple[str, float, float, Apply]
DRAWS = 20_000


def noises(p: float, mean: float, std: float) -> Iterator[Noise]:
    """Gaussian noise and dropout in both forms, as running parts."""
    yield "gaussian", mean, std**2, lambda x, source: gaussian_noise(x, mean, std, generator=source)
    yield "dropout", *mask_moments(p), lambda x, source: unscaled_dropout(x, p, generator=source)
    yield "rescaled", *mask_moments(p, rescaled=True), lambda x, source: unscaled_dropout(x, p, generator=source) / (1 - p)


def _losses(apply: Apply, features: Tensor, targets: Tensor, weights: Tensor, source: torch.Generator) -> Tensor:
    """The sum of squares of every draw of the noise, draws first."""
    noisy = apply(features.expand(DRAWS, *features.shape), source)
    return (targets - noisy @ weights).square().sum(-1)


def _added(apply: Apply, features: Tensor, targets: Tensor, weights: Tensor, source: torch.Generator) -> Tensor:
    """The noise added, not multiplied."""
    noise = apply(torch.ones(DRAWS, *features.shape, dtype=features.dtype), source) - 1
    return (targets - (features + noise) @ weights).square().sum(-1)


def _per_row(apply: Apply, features: Tensor, targets: Tensor, weights: Tensor, source: torch.Generator) -> Tensor:
    """One draw for all features of a row."""
    noise = apply(torch.ones(DRAWS, len(features), 1, dtype=features.dtype), source)
    return (targets - (noise * features) @ weights).square().sum(-1)


def _expected(law: Callable[..., Any]) -> Iterable[Any]:
    """The expectation over noise written out: E n = mu, E n n' = mu² + (sigma² where the two are one draw)."""
    mu, sigma = sympy.symbols("mu sigma", positive=True)
    x, y, w, n = (sympy.symbols(f"{name}:4", real=True) for name in "xywn")
    fits = [sum(n[2 * row + j] * x[2 * row + j] * w[j] for j in (0, 1)) for row in (0, 1)]
    squares = sympy.expand(sum((y[row] - fit) ** 2 for row, fit in enumerate(fits)))
    expected = squares.subs({one**2: mu**2 + sigma**2 for one in n}).subs(dict.fromkeys(n, mu))
    yield expected - law([x[:2], x[2:]], y[:2], w[:2], mu, sigma**2)


@experiment(
    "noise.noisy_loss",
    part=_losses,
    mutants={
        "noise added, not multiplied": _added,
        "one draw for all features of a row": _per_row,
        "noise twice as strong": lambda apply, x, y, w, source: _losses(lambda a, s: 2 * apply(a, s), x, y, w, source),
        "no noise": lambda _, x, y, w, source: _losses(lambda a, __: a, x, y, w, source),
        "noise on the product": lambda apply, x, y, w, source: (y - apply((x @ w).expand(DRAWS, -1), source)).square().sum(-1),
    },
    how=f"confidence interval, {DRAWS} draws",
    symbolic=_expected,
)
def loss(part: Callable[..., Tensor], draws: Draws) -> Iterator[Evidence]:
    """Random regressions under Gaussian noise and both dropouts; and the closed form on tensors, which draws nothing."""
    for p, mean, std in ((0.2, 1.0, 0.5), (0.5, 0.6, 1.5), (0.7, -0.8, 0.3)):
        features, targets, weights = draws.normal(4, 3), draws.normal(4), draws.normal(3)
        for _, mu, variance, apply in noises(p, mean, std):
            data = {"features": features.tolist(), "targets": targets.tolist(), "weights": weights.tolist()}
            given = {**data, "mean": mu, "variance": variance}
            yield held("noise.noisy_loss", given, *sampling(part(apply, features, targets, weights, draws.generator)))
            closed = noisy_regression_loss(features, targets, weights, mu, variance)
            yield held("noise.noisy_loss", given, closed, rounding(100, closed.item()))


def _gradient(law: Callable[..., Any]) -> Iterable[Any]:
    """The loss's gradient vanishes at the law's weights: one feature of any values; two of given values, all else symbols."""
    mu, variance = sympy.symbols("mu variance", positive=True)
    x, y = sympy.symbols("x:2", positive=True), sympy.symbols("y:2", real=True)
    for rows in ([[x[0]], [x[1]]], [[sympy.Integer(2), sympy.Rational(1, 3)], [sympy.Integer(-1), sympy.Integer(3)]]):
        w = sympy.symbols(f"w:{len(rows[0])}", real=True)
        misfit = sum((target - mu * sum(map(operator.mul, row, w))) ** 2 for row, target in zip(rows, y, strict=True))
        whole = misfit + variance * sum((value * weight) ** 2 for row in rows for value, weight in zip(row, w, strict=True))
        found = dict(zip(w, law(rows, list(y), mu, variance), strict=True))
        for one in w:
            yield sympy.diff(whole, one).subs(found)


@experiment(
    "noise.noisy_solution",
    part=noisy_regression_solution,
    mutants={
        "a ridge that ignores the features' sizes": lambda x, y, mean, variance: torch.linalg.solve(
            mean**2 * x.T @ x + variance * torch.eye(x.shape[1]).to(x), mean * x.T @ y
        ),
        "the mean forgotten on the right": lambda x, y, mean, variance: noisy_regression_solution(x, y, mean, variance) / mean,
        "no penalty": lambda x, y, mean, _: noisy_regression_solution(x, y, mean, 0.0),
        "the standard deviation for the variance": lambda x, y, mean, variance: (
            noisy_regression_solution(x, y, mean, variance**0.5)
        ),
    },
    how="float64, random regressions, and autograd's gradient of the closed loss",
    symbolic=_gradient,
)
def solution(part: Callable[..., Tensor], draws: Draws) -> Iterator[Evidence]:
    """Random regressions: the part's weights against the law's; where autograd's gradient of the closed loss vanishes."""
    for rows, width, mean, variance in ((6, 3, 1.0, 0.3), (9, 4, 0.6, 2.0), (2, 4, 0.8, 0.25), (5, 1, -0.5, 0.1)):
        features, targets = draws.normal(rows, width) * draws.uniform(0.3, 3.0, width), draws.normal(rows)
        found = part(features, targets, mean, variance)
        given = {"features": features.tolist(), "targets": targets.tolist(), "mean": mean, "variance": variance}
        size = max(1.0, found.abs().max().item())
        yield held("noise.noisy_solution", given, found, rounding(1e4, size))
        leaf = found.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(noisy_regression_loss(features, targets, leaf, mean, variance), leaf)
        curvature = 2 * (mean**2 + variance) * features.square().sum(0).min()
        yield held("noise.noisy_solution", given, leaf.detach() - slope / curvature, rounding(1e5, size))
