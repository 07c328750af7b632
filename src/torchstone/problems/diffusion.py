"""D10: what is left of the data after some steps, a jump between steps, and a consistent pair at continuous noise levels."""

import math
from collections.abc import Iterator

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Posted
from torchstone.core.quantity import Amount, Tolerance
from torchstone.parts.diffusion import NoiseSchedule, noisy_pair
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, found, generator, rounding, worst

BETAS = (0.1, 0.2, 0.3, 0.25)
ROWS, PAIRS, ERRORS, VALUE = 40_000, 200_000, 4.0, 1.5
RATIOS = (0.7, 3.0)


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def _mean(rows: Tensor) -> tuple[float, Tolerance]:
    """The mean of independent rows with what their number leaves open."""
    error = ERRORS * rows.std().item() / math.sqrt(len(rows))
    return rows.mean().item(), Tolerance(sampling=Amount(error, f"{ERRORS:g} standard errors of {len(rows)} draws"))


def _chain(start: Tensor, betas: tuple[float, ...], seed: int) -> Tensor:
    """The one-step process written down: every step with noise of its own."""
    level = start
    for at, beta in enumerate(betas):
        level = math.sqrt(1 - beta) * level + math.sqrt(beta) * _draw(len(start), seed=seed + at)
    return level


def _chain_moments() -> Iterator[Evidence]:
    """Mean and variance of the chain against sqrt(alpha) z_0 and 1 - alpha of the schedule's table."""
    level, schedule = _chain(torch.full((ROWS,), VALUE, dtype=torch.float64), BETAS, 20), NoiseSchedule(BETAS)
    left = schedule.alpha(len(BETAS) - 1)
    columns = (("mean", math.sqrt(left) * VALUE, level), ("variance", 1 - left, (level - level.mean()).square()))
    for name, predicted, rows in columns:
        measured, tolerance = _mean(rows)
        yield compared("diffusion.marginal", predicted, measured, tolerance, f"{name} of {ROWS} chains, step by step")


def _left_over() -> sympy.Expr:
    """What 1 minus the variance of a chain of three symbolic steps is more than the product, simplified."""
    betas = sympy.symbols("beta1:4")
    variance = sympy.Integer(0)
    for beta in betas:
        variance = (1 - beta) * variance + beta
    return sympy.simplify(1 - variance - math.prod(1 - beta for beta in betas))


@answers("D10a")
def left_of_the_data(_: Posted) -> Answer:
    """alpha_t as a product: unrolled by sympy, and simulated step by step."""
    schedule = NoiseSchedule(BETAS)
    ours = worst(_chain_moments())
    numbers = ", ".join(f"{one:.4g}" for one in schedule.alphas.tolist())
    return Answer(
        says=(
            f"alpha: alpha_t = product over i = 1..t of (1 - beta_i); for beta = {', '.join(map(str, BETAS))}: {numbers}",
            f"three symbolic steps: 1 - variance is (1-beta_1)(1-beta_2)(1-beta_3) + {sympy.sstr(_left_over())}, by sympy",
        ),
        derivation=(
            "z_i = sqrt(1 - beta_i) z_{i-1} + sqrt(beta_i) e_i, e_i independent and standard normal; alpha_0 = 1",
            "sums of normals are normal: mean and variance suffice. Suppose z_{i-1} is N(sqrt(alpha_{i-1}) z_0, 1 - alpha_{i-1})",
            "mean: sqrt(1 - beta_i) sqrt(alpha_{i-1}) z_0 = sqrt(alpha_i) z_0",
            "variance: (1 - beta_i)(1 - alpha_{i-1}) + beta_i = 1 - (1 - beta_i) alpha_{i-1} = 1 - alpha_i",
        ),
        evidence=(*proved("diffusion.alpha", "diffusion.marginal"), ours),
        remarks=(f"{ROWS} chains of {len(BETAS)} steps: {ours.how} {found(ours):.4f}, {ours.predicted.value:.4f} predicted",),
    )


def _jumps() -> Iterator[Evidence]:
    """A chain from z_t on: mean sqrt(gamma) z_t and variance 1 - gamma at every later step."""
    schedule = NoiseSchedule(BETAS)
    for t, tau in ((0, 1), (0, 3), (1, 3)):
        gamma = schedule.jump(t, tau)
        level = _chain(torch.full((ROWS,), VALUE, dtype=torch.float64), BETAS[t + 1 : tau + 1], 30 + 5 * tau + t)
        rows = (("mean", math.sqrt(gamma) * VALUE, level), ("variance", 1 - gamma, (level - level.mean()).square()))
        for name, predicted, row in rows:
            measured, tolerance = _mean(row)
            said = f"{name} of {ROWS} chains from {t + 1} to {tau + 1}"
            yield compared("diffusion.marginal", predicted, measured, tolerance, said)


@answers("D10b")
def jumped(_: Posted) -> Answer:
    """Gamma as the product of the steps between, as a quotient of alphas, and simulated."""
    schedule = NoiseSchedule(BETAS)
    between, quotient = math.prod(1 - beta for beta in BETAS[1:]), schedule.jump(0, len(BETAS) - 1)
    same = compared("diffusion.gamma", between, quotient, rounding(16), "product and quotient")
    return Answer(
        says=(
            "gamma: gamma_{tau,t} = product over i = t+1..tau of (1 - beta_i) = alpha_tau/alpha_t",
            f"beta = {', '.join(map(str, BETAS))}, t = 1, tau = {len(BETAS)}: {between:.6g} as product, {quotient:.6g} as quotient",
        ),
        derivation=(
            "the chain is Markov: from z_t on it is D10a's with z_t for the data and the betas of steps t+1 to tau",
            "its product is alpha_tau over alpha_t, where the common factors go",
            "two jumps in a row agree: gamma_{t,0} gamma_{tau,t} = alpha_tau, and gamma (1 - alpha_t) + 1 - gamma = 1 - alpha_tau",
        ),
        evidence=(*proved("diffusion.gamma"), same, worst(_jumps())),
    )


def _pair_moments() -> tuple[Evidence, str]:
    """Variances and covariance of pairs from one z_0, and what noise of its own at each level would give."""
    first, second = RATIOS
    near, far = 1 / (1 + first), 1 / (1 + second)
    data, one, two = _draw(3, PAIRS, seed=40)
    pair = noisy_pair(data, first, second, one, two)
    wanted = (1.0, math.sqrt(far / near), 1.0)
    evidence = []
    products = (pair[0] ** 2, pair[0] * pair[1], pair[1] ** 2)
    for name, predicted, rows in zip(("var z_1", "cov", "var z_2"), wanted, products, strict=True):
        measured, tolerance = _mean(rows)
        evidence.append(compared("diffusion.covariance", predicted, measured, tolerance, f"{name} of {PAIRS} pairs, var z_0 = 1"))
    apart = [(data + math.sqrt(ratio) * e) / math.sqrt(1 + ratio) for ratio, e in ((first, one), (second, two))]
    alone = (apart[0] * apart[1]).mean().item()
    said = f"{found(evidence[1]):.4f} measured, {wanted[1]:.4f} by the law; with noise of its own at each level {alone:.4f}"
    return worst(evidence), said


@answers("D10c")
def consistent_pair(_: Posted) -> Answer:
    """A pair at eta_1 < eta_2 by one path: variances and covariance measured."""
    ours, said = _pair_moments()
    return Answer(
        says=(
            "pair: sqrt(1+eta_1) z_1 = z_0 + sqrt(eta_1) e_1, sqrt(1+eta_2) z_2 = z_0 + sqrt(eta_1) e_1 + sqrt(eta_2-eta_1) e_2",
            "which is z_2 = sqrt(gamma) z_1 + sqrt(1 - gamma) e_2, gamma = (1 + eta_1)/(1 + eta_2)",
            f"joint law: cov(z_1, z_2) = sqrt(alpha_2/alpha_1) for var(z_0) = 1; eta = {RATIOS[0]:g}, {RATIOS[1]:g}: {said}",
        ),
        derivation=(
            "the formula of eta is read as noise over signal in variance, eta = (1-alpha)/alpha, so alpha = 1/(1 + eta)",
            "z = sqrt(alpha) z_0 + sqrt(1-alpha) e gives sqrt(1 + eta) z = z_0 + sqrt(eta) e: noise of variance eta on top of z_0",
            "consistent: q(z_2 given z_1) is D10b's with gamma = alpha_2/alpha_1 = (1 + eta_1)/(1 + eta_2); times sqrt(1 + eta_2):",
            "sqrt(1 + eta_2) z_2 = sqrt(1 + eta_1) z_1 + sqrt(eta_2 - eta_1) e_2: the larger noise is the smaller one and more",
            "a fresh e at each level: the right marginals, but the covariance sqrt(alpha_1 alpha_2) var(z_0) of the data alone",
        ),
        evidence=(*proved("diffusion.noisy_path", "diffusion.covariance", "diffusion.noise_to_signal"), ours),
    )
