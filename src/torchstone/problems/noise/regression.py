"""D5: linear regression on features that noise multiplies: a penalty in expectation."""

from collections.abc import Callable, Iterator

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Posted
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.noise import mask_moments
from torchstone.parts import GaussianNoise, gaussian_noise, noisy_regression_loss, noisy_regression_solution, unscaled_dropout
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, generator, rounding, worst

_LOSS, _SOLUTION = "noise.noisy_loss", "noise.noisy_solution"
MEAN, STD, CHANCE, DRAWS, ERRORS = 0.7, 0.6, 0.3, 40_000, 4.0
Noise = Callable[[Tensor], Tensor]


def _coefficients() -> tuple[sympy.Expr, sympy.Expr]:
    """A and B, read off the expected square of one row with two features, its noise written out."""
    mu, sigma = sympy.symbols("mu sigma", positive=True)
    y, (x1, x2), (w1, w2), (n1, n2) = sympy.Symbol("y"), sympy.symbols("x1:3"), sympy.symbols("w1:3"), sympy.symbols("n1:3")
    square = sympy.expand((y - n1 * x1 * w1 - n2 * x2 * w2) ** 2)
    expected = sympy.expand(square.subs({n1**2: mu**2 + sigma**2, n2**2: mu**2 + sigma**2}).subs({n1: mu, n2: mu}))
    a = sympy.cancel(expected.coeff(y * x1 * w1) / -2)
    return a, sympy.expand(expected.coeff(x1**2 * w1**2) - a**2)


def _data() -> tuple[Tensor, Tensor, Tensor]:
    source = generator(12)
    features = torch.randn(6, 3, generator=source, dtype=torch.float64) * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    return features, torch.randn(6, generator=source, dtype=torch.float64), torch.randn(3, generator=source, dtype=torch.float64)


def _sampled() -> Iterator[Evidence]:
    """The mean of the squared error over draws of running noise, and what the identity says."""
    features, targets, weights = _data()
    source = generator(13)
    rows: tuple[tuple[str, tuple[float, float], Noise], ...] = (
        (f"N({MEAN}, {STD}²)", (MEAN, STD**2), lambda x: gaussian_noise(x, MEAN, STD, generator=source)),
        (f"dropout, p = {CHANCE}", mask_moments(CHANCE), lambda x: unscaled_dropout(x, CHANCE, generator=source)),
    )
    for name, (mean, variance), noise in rows:
        losses = (targets - noise(features.expand(DRAWS, 6, 3)) @ weights).square().sum(-1)
        error = losses.std().item() / DRAWS**0.5
        allowed = Tolerance(sampling=Amount(ERRORS * error, f"{ERRORS:g} standard errors of {DRAWS} draws"))
        said = noisy_regression_loss(features, targets, weights, mean, variance).item()
        yield compared(_LOSS, said, losses.mean().item(), allowed, f"the mean loss over draws of {name}")


def _least() -> Evidence:
    """The gradient of the expected loss at the ridge solution, by autograd."""
    features, targets, _ = _data()
    weights = noisy_regression_solution(features, targets, MEAN, STD**2).requires_grad_()
    (slope,) = torch.autograd.grad(noisy_regression_loss(features, targets, weights, MEAN, STD**2), weights)
    return compared(_SOLUTION, 0.0, slope.abs().max().item(), rounding(1e4, 10.0), "the gradient at the ridge's weights")


@answers("D5")
def noise_as_penalty(_: Posted) -> Answer:
    """The square's expectation, expanded: means where noises differ, a second moment where they are one."""
    a, b = _coefficients()
    mean, variance = mask_moments(CHANCE)
    layer = GaussianNoise(MEAN, STD)
    return Answer(
        says=(f"A = {a}, B = {b}",),
        derivation=(
            "a row's error is y - sum of n_j x_j w_j; E n_j = mu, E n_j n_k = mu² for j ≠ k, E n_j² = mu² + sigma²",
            f"its expected square is (y - mu x·w)² + {b} sum of x_j² w_j²: only the squares have a variance",
            "over all rows, sum of x_ij² over i is the j-th entry of the diagonal of XᵀX: the second term is sigma² ‖Gamma w‖²",
            f"so the best weights are a ridge's: ({a}² XᵀX + {b} Gamma²) w = {a} Xᵀy",
        ),
        evidence=(*proved(_LOSS, _SOLUTION, "noise.mask_moments"), worst(_sampled()), _least()),
        remarks=(
            f"dropout is such noise: A = 1-p, B = p(1-p), at p = {CHANCE} {mean:g} and {variance:g}; rescaled: 1 and p/(1-p)",
            "one draw a feature, shared by all rows, has the same expectation",
            f"as a layer in front of a regression: {layer}",
        ),
    )
