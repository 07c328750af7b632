"""The way back: steps against Bayes' rule, and samples of normal data, whose exact denoiser is known, against their moments."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.diffusion.targets import PREDICTIONS
from torchstone.parts.diffusion import GaussianDiffusion, NoiseSchedule, reverse_step
from torchstone.proofs.diffusion.noising import means
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Moments = Callable[[Tensor, Tensor, float, float], tuple[Tensor, Tensor]]
Stepping = Callable[[Tensor, Tensor, float, float, float], tuple[Tensor, Tensor]]
Formula = Callable[..., Any]
ROWS = 20_000


def levels(draws: Draws) -> tuple[float, float]:
    """A level and a cleaner one."""
    alpha, previous = sorted(draws.uniform(0.02, 0.98, 2).tolist())
    return alpha, previous


def _stepped(sample: Tensor, noisy: Tensor, alpha: float, previous: float, stochasticity: float) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a step, from steps with noise 0 and 1."""
    mean = reverse_step(sample, noisy, alpha, previous, stochasticity, torch.zeros_like(sample))
    return mean, reverse_step(sample, noisy, alpha, previous, stochasticity, torch.ones_like(sample)) - mean


def _posterior(sample: Tensor, noisy: Tensor, alpha: float, previous: float) -> tuple[Tensor, Tensor]:
    mean, deviation = _stepped(sample, noisy, alpha, previous, 1.0)
    return mean, deviation.square()


def _conditioned(law: Formula) -> Iterator[Any]:
    """The mean and the variance of one of two jointly normal numbers, the other given."""
    value, noisy = sympy.symbols("x z", real=True)
    for alpha, previous in ((sympy.Rational(1, 5), sympy.Rational(1, 2)), (sympy.Rational(1, 9), sympy.Rational(8, 9))):
        between = sympy.sqrt(alpha / previous) * (1 - previous)
        mean, variance = law(value, noisy, alpha, previous)
        yield mean - (sympy.sqrt(previous) * value + between / (1 - alpha) * (noisy - sympy.sqrt(alpha) * value))
        yield variance - (1 - previous - between**2 / (1 - alpha))


@experiment(
    "diffusion.posterior",
    part=_posterior,
    mutants={
        "variance of the step forward": lambda x, z, a, p: (_posterior(x, z, a, p)[0], torch.full_like(x, 1 - a / p)),
        "deterministic": lambda x, z, a, p: (_stepped(x, z, a, p, 0.0)[0], torch.zeros_like(x)),
        "deviation for variance": lambda x, z, a, p: _stepped(x, z, a, p, 1.0),
        "sample and noisy exchanged": lambda x, z, a, p: _posterior(z, x, a, p),
        "one-step beta for a jump": lambda x, z, a, p: _posterior(x, z, a, a + 0.1 * (p - a)),
    },
    symbolic=_conditioned,
)
def posterior(part: Moments, draws: Draws) -> Iterator[Evidence]:
    """Random levels, far apart or near."""
    for _ in range(60):
        alpha, previous = levels(draws)
        value, noisy = draws.normal(2)
        found = [one.item() for one in part(value, noisy, alpha, previous)]
        arguments = {"value": value.item(), "noisy": noisy.item(), "alpha": alpha, "previous": previous}
        yield held("diffusion.posterior", arguments, found, rounding(400, 4))


def _marginal_kept(law: Formula) -> Iterator[Any]:
    """Mean sqrt(a') x and variance 1 - a' given x, whatever the stochasticity; the posterior where it is 1."""
    x, e = sympy.symbols("x e", real=True)
    alpha, previous = sympy.Rational(1, 5), sympy.Rational(1, 2)
    noisy = sympy.sqrt(alpha) * x + sympy.sqrt(1 - alpha) * e
    for stochasticity in (sympy.Integer(0), sympy.Rational(1, 3), sympy.Integer(1)):
        mean, deviation = law(x, noisy, alpha, previous, stochasticity)
        yield sympy.diff(mean, x) - sympy.sqrt(previous)
        yield sympy.diff(mean, e) ** 2 + deviation**2 - (1 - previous)


def _unreduced(sample: Tensor, noisy: Tensor, alpha: float, previous: float, stochasticity: float) -> tuple[Tensor, Tensor]:
    mean, _ = _stepped(sample, noisy, alpha, previous, 0.0)
    return mean, _stepped(sample, noisy, alpha, previous, stochasticity)[1]


@experiment(
    "diffusion.reverse_step",
    part=_stepped,
    mutants={
        "noise not reduced by what is drawn": _unreduced,
        "always ancestral": lambda x, z, a, p, _: _stepped(x, z, a, p, 1.0),
        "always deterministic": lambda x, z, a, p, _: _stepped(x, z, a, p, 0.0),
        "to the data at once": lambda x, z, a, p, c: (x, _stepped(x, z, a, p, c)[1]),
        "previous level missed": lambda x, z, a, p, c: _stepped(x, z, a, min(1.0, 1.1 * p), c),
    },
    symbolic=_marginal_kept,
)
def reversing(part: Stepping, draws: Draws) -> Iterator[Evidence]:
    """Stochasticities from 0 to 1; from pure noise and to the data as well."""
    for stochasticity in (0.0, 0.3, 1.0) * 20:
        alpha, previous = levels(draws)
        alpha, previous = (0.0, previous) if draws.integer(0, 5) == 0 else (alpha, 1.0 if draws.integer(0, 5) == 0 else previous)
        sample, noisy = draws.normal(2)
        found = [one.item() for one in part(sample, noisy, alpha, previous, stochasticity)]
        arguments = {"sample": sample.item(), "noisy": noisy.item(), "alpha": alpha, "previous": previous}
        # From pure noise what is left is a root of rounding.
        tolerance = rounding(4, 1 / math.sqrt(torch.finfo(torch.float64).eps)) if alpha == 0 else rounding(400, 8)
        yield held("diffusion.reverse_step", {**arguments, "stochasticity": stochasticity}, found, tolerance)


def _noised(sample: Tensor, noise: Tensor, alpha: float) -> Tensor:
    return NoiseSchedule.from_alphas([alpha]).add_noise(sample, noise, torch.zeros(len(sample), dtype=torch.long))


@experiment(
    "diffusion.gaussian_denoiser",
    part=_noised,
    mutants={
        "signal and noise exchanged": lambda x, e, a: _noised(x, e, 1 - a),
        "noise not rooted": lambda x, e, a: math.sqrt(a) * x + (1 - a) * e,
        "signal not rooted": lambda x, e, a: a * x + math.sqrt(1 - a) * e,
        "without noise": lambda x, e, a: math.sqrt(a) * x + 0 * e,
    },
    how="confidence interval of a regression on 20000 draws",
)
def denoiser(part: Callable[[Tensor, Tensor, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """What the data are expected to be at a noisy value: a line fitted to draws, read at a point."""
    for alpha in (0.1, 0.3, 0.6, 0.8) * 2:
        mean, variance = draws.normal(1).item(), draws.uniform(0.3, 2, 1).item()
        data = mean + math.sqrt(variance) * draws.normal(ROWS)
        noisy = part(data, draws.normal(ROWS), alpha)
        middle, spread = noisy.mean(), noisy.var()
        slope = ((noisy - middle) * (data - data.mean())).mean() / spread
        at = (middle + 1.5 * spread.sqrt() * (1 if draws.integer(0, 1) else -1)).item()
        left = (data - data.mean() - slope * (noisy - middle)).std().item()
        error = 4 * left * math.sqrt((1 + (at - middle.item()) ** 2 / spread.item()) / ROWS)
        found = (data.mean() + slope * (at - middle)).item()
        tolerance = Tolerance(sampling=Amount(error, f"4 standard errors of a line through {ROWS} draws"))
        arguments = {"noisy": at, "alpha": alpha, "mean": mean, "variance": variance}
        yield held("diffusion.gaussian_denoiser", arguments, found, tolerance)


class _Exact:
    """The exact denoiser of normal data, as a prediction of any kind, by the closed form."""

    def __init__(self, schedule: NoiseSchedule, kind: str, mean: float, variance: float) -> None:
        self.schedule, self.kind, self.mean, self.variance = schedule, kind, mean, variance

    def __call__(self, noisy: Tensor, steps: Tensor) -> Tensor:
        """A prediction for rows that are all at one step."""
        alpha = self.schedule.alpha(int(steps[0]))
        a, s = math.sqrt(alpha), math.sqrt(1 - alpha)
        sample = self.mean + self.variance * a / (alpha * self.variance + s * s) * (noisy - a * self.mean)
        noise = (noisy - a * sample) / s
        return {"epsilon": noise, "sample": sample, "v_prediction": a * noise - s * sample}[self.kind]


Network = Callable[..., Tensor]
Sampling = Callable[[GaussianDiffusion, Network, Tensor, int, float, torch.Generator], Tensor]


def _sampled(
    diffusion: GaussianDiffusion, network: Network, noise: Tensor, steps: int, stochasticity: float, source: torch.Generator
) -> Tensor:
    return diffusion.sample(network, noise, steps=steps, stochasticity=stochasticity, generator=source)


def _other_spacing(
    diffusion: GaussianDiffusion, network: Network, noise: Tensor, steps: int, stochasticity: float, source: torch.Generator
) -> Tensor:
    """Levels of leading spacing, while the network is told those of trailing."""
    told = iter(diffusion.levels(steps)[0])
    other = GaussianDiffusion(diffusion.schedule, diffusion.prediction, spacing="leading")

    def misled(noisy: Tensor, labels: Tensor) -> Tensor:
        return network(noisy, torch.full_like(labels, next(told)))

    return other.sample(misled, noise, steps=steps, stochasticity=stochasticity, generator=source)


@experiment(
    "diffusion.sampled_moments",
    part=_sampled,
    mutants={
        "noise at the last step too": lambda d, net, noise, n, c, g: _sampled(d, net, noise, n, c, g)
        + 0.2 * torch.randn(noise.shape, generator=g, dtype=noise.dtype),
        "always deterministic": lambda d, net, noise, n, _, g: _sampled(d, net, noise, n, 0.0, g),
        "always ancestral": lambda d, net, noise, n, _, g: _sampled(d, net, noise, n, 1.0, g),
        "begins with too little noise": lambda d, net, noise, n, c, g: _sampled(d, net, 0.8 * noise, n, c, g),
        "steps and levels of two spacings": _other_spacing,
        "one prediction read as another": lambda d, net, noise, n, c, g: _sampled(
            GaussianDiffusion(d.schedule, "v_prediction" if d.prediction == "sample" else "sample"), net, noise, n, c, g
        ),
    },
    how="confidence interval, 20000 samples",
)
def sampled(part: Sampling, draws: Draws) -> Iterator[Evidence]:
    """Mean and variance of samples by the exact denoiser: every prediction, stochasticities 0 to 1, 4 to 20 of 100 steps."""
    for kind in PREDICTIONS:
        schedule = NoiseSchedule.linear(100, 1e-3, 0.1)
        schedule = schedule if kind == "epsilon" else schedule.zero_terminal_snr()
        diffusion = GaussianDiffusion(schedule, kind)
        for stochasticity, steps in ((0.0, 4), (0.5, 10), (1.0, 20)):
            mean, variance = draws.normal(1).item(), draws.uniform(0.3, 2, 1).item()
            noise = draws.normal(ROWS, 1)
            came = part(diffusion, _Exact(schedule, kind, mean, variance), noise, steps, stochasticity, draws.generator).squeeze(1)
            found, tolerance = means(came, (came - came.mean()).square())
            arguments = {"alphas": diffusion.levels(steps)[1][:-1], "mean": mean, "variance": variance}
            yield held("diffusion.sampled_moments", {**arguments, "stochasticity": stochasticity}, found, tolerance)
