"""The forward process sampled: one level, jumps, and the joint law of two levels, which noise of its own at each would miss."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Tolerance
from torchstone.parts.diffusion import NoiseSchedule, noisy_pair, noisy_path
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

Noising = Callable[[Tensor, Tensor, Tensor], Tensor]
Pair = Callable[[Tensor, float, float, Tensor, Tensor], tuple[Tensor, Tensor]]
Formula = Callable[..., Any]
ROWS = 20_000


def means(*rows: Tensor) -> tuple[list[float], Tolerance]:
    """Means of several columns of independent rows, and the tolerance of the widest of them."""
    found = [sampling(row) for row in rows]
    return [mean for mean, _ in found], max((tolerance for _, tolerance in found), key=lambda one: one.total)


def _noised(sample: Tensor, noise: Tensor, betas: Tensor) -> Tensor:
    schedule = NoiseSchedule(betas)
    return schedule.add_noise(sample, noise, torch.full((len(sample),), len(schedule) - 1))


def _with(signal: Callable[[float], float], noise: Callable[[float], float]) -> Noising:
    def noised(sample: Tensor, draws: Tensor, betas: Tensor) -> Tensor:
        alpha = (1 - betas).prod().item()
        return signal(alpha) * sample + noise(alpha) * draws

    return noised


@experiment(
    "diffusion.marginal",
    part=_noised,
    mutants={
        "signal not rooted": _with(lambda a: a, lambda a: math.sqrt(1 - a)),
        "noise not rooted": _with(math.sqrt, lambda a: 1 - a),
        "noise of the last step only": lambda x, e, betas: (1 - betas).prod().sqrt() * x + betas[-1].sqrt() * e,
        "signal and noise exchanged": _with(lambda a: math.sqrt(1 - a), math.sqrt),
    },
    how="confidence interval, 20000 draws",
)
def marginal(part: Noising, draws: Draws) -> Iterator[Evidence]:
    """Mean and variance of one level reached in one jump; the law goes step by step."""
    for length in (1, 3, 10, 40) * 2:
        betas, value = draws.uniform(0.01, 0.2, length), draws.normal(1).item()
        came = part(torch.full((ROWS, 1), value, dtype=torch.float64), draws.normal(ROWS, 1), betas).squeeze(1)
        found, tolerance = means(came, (came - came.mean()).square())
        yield held("diffusion.marginal", {"value": value, "betas": betas.tolist()}, found, tolerance)


def _stepwise(law: Formula) -> Iterator[Any]:
    """The product of the steps between, of a chain of four."""
    keep = [sympy.Rational(at, at + 3) for at in range(1, 5)]
    yield law(keep[0] * keep[1], keep[0] * keep[1] * keep[2] * keep[3]) - keep[2] * keep[3]


@experiment(
    "diffusion.gamma",
    part=lambda betas, t, tau: NoiseSchedule(betas).jump(t, tau),
    mutants={
        "step t counted too": lambda betas, t, tau: NoiseSchedule(betas).jump(t - 1, tau),
        "step tau left out": lambda betas, t, tau: NoiseSchedule(betas).jump(t, tau - 1) if tau - 1 > t else 1.0,
        "alpha of tau": lambda betas, _, tau: NoiseSchedule(betas).alpha(tau),
        "rooted": lambda betas, t, tau: math.sqrt(NoiseSchedule(betas).jump(t, tau)),
    },
    symbolic=_stepwise,
)
def gamma(part: Callable[[Tensor, int, int], float], draws: Draws) -> Iterator[Evidence]:
    """Jumps between random steps of a table; the law is given alphas multiplied up apart from it."""
    betas = draws.uniform(0.01, 0.2, 30)
    left = [math.prod(1 - beta for beta in betas[: at + 1].tolist()) for at in range(30)]
    for _ in range(40):
        t, tau = sorted(draws.integers(0, 29, 2))
        if t < tau:
            yield held("diffusion.gamma", {"earlier": left[t], "later": left[tau]}, part(betas, t, tau), rounding(80))


def _independent(sample: Tensor, first: float, second: float, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    return noisy_path(sample, [first], one[None])[0], noisy_path(sample, [second], two[None])[0]


def _added(weight: Callable[[float, float], float]) -> Pair:
    """The second level made from the first by noise of this variance in z_0's scale."""

    def pair(sample: Tensor, first: float, second: float, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        near = sample + math.sqrt(first) * one
        far = near + math.sqrt(weight(first, second)) * two
        return near / math.sqrt(1 + first), far / math.sqrt(1 + second)

    return pair


@experiment(
    "diffusion.covariance",
    part=noisy_pair,
    mutants={
        "noise of its own at each level": _independent,
        "the same noise at both levels": lambda x, first, second, one, _: _independent(x, first, second, one, one),
        "all of the second noise added": _added(lambda _, second: second),
        "difference of deviations": _added(lambda first, second: (math.sqrt(second) - math.sqrt(first)) ** 2),
        "levels exchanged": lambda x, first, second, one, two: noisy_pair(x, first, second, one, two)[::-1],
    },
    how="confidence interval, 20000 pairs: the joint law",
)
def covariance(part: Pair, draws: Draws) -> Iterator[Evidence]:
    """Both variances and the covariance, for data of variance 0 to 2, at random ratios."""
    for variance in (0.0, 0.5, 1.0, 2.0) * 2:
        first = 10 ** draws.uniform(-1, 0.5, 1).item()
        second = first * (1.5 + draws.uniform(0, 4, 1).item())
        sample = math.sqrt(variance) * draws.normal(ROWS)
        near, far = part(sample, first, second, draws.normal(ROWS), draws.normal(ROWS))
        found, tolerance = means(near * near, near * far, far * far)
        arguments = {"earlier": 1 / (1 + first), "later": 1 / (1 + second), "variance": variance}
        yield held("diffusion.covariance", arguments, found, tolerance)


def _ratio_of(power: float, *, inverse: bool = False) -> Callable[[Tensor], Tensor]:
    return lambda betas: NoiseSchedule(betas).noise_to_signal ** (-power if inverse else power)


@experiment(
    "diffusion.noise_to_signal",
    part=_ratio_of(1),
    mutants={
        "of deviations": _ratio_of(0.5),
        "signal to noise": _ratio_of(1, inverse=True),
        "noise alone": lambda betas: 1 - NoiseSchedule(betas).alphas,
        "one too many": lambda betas: 1 / NoiseSchedule(betas).alphas,
    },
)
def noise_to_signal(part: Callable[[Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Every step of random tables."""
    for _ in range(4):
        betas = draws.uniform(0.01, 0.3, 20)
        for one, ratio in zip(NoiseSchedule(betas).alphas.tolist(), part(betas).tolist(), strict=True):
            yield held("diffusion.noise_to_signal", {"alpha": one}, ratio, rounding(8, 1 + 1 / one))


def _joint(law: Formula) -> Iterator[Any]:
    """Covariances of a path of three levels, from the coefficients of its noises, are those of one path."""
    start, noises = sympy.Symbol("z", positive=True), sympy.symbols("e1:4", real=True)
    ratios = [sympy.Rational(1, 2), sympy.Integer(2), sympy.Rational(7, 2)]
    levels = law(start, ratios, noises)
    for i, first in enumerate(ratios):
        yield sympy.diff(levels[i], start) - 1 / sympy.sqrt(1 + first)
        for j, second in enumerate(ratios[i:], i):
            found = sum(sympy.diff(levels[i], e) * sympy.diff(levels[j], e) for e in noises)
            near, far = 1 / (1 + first), 1 / (1 + second)
            yield found - sympy.sqrt(far / near) * (1 - near)


@experiment(
    "diffusion.noisy_path",
    part=noisy_path,
    mutants={
        "noise of its own at each level": lambda x, ratios, e: torch.stack(
            [noisy_path(x, [ratio], one[None])[0] for ratio, one in zip(ratios, e, strict=True)]
        ),
        "ratios not rooted": lambda x, ratios, e: noisy_path(x, [ratio**2 for ratio in ratios], e),
        "not scaled back": lambda x, ratios, e: noisy_path(x, ratios, e) * (1 + torch.tensor(ratios, dtype=x.dtype)).sqrt(),
        "noises in reverse": lambda x, ratios, e: noisy_path(x, ratios, e.flip(0)),
    },
    symbolic=_joint,
)
def path(part: Callable[[Tensor, Sequence[float], Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Paths of 2 to 6 levels."""
    for levels in (2, 3, 6) * 8:
        ratios = draws.uniform(0.05, 3, levels).cumsum(0).tolist()
        sample, noises = draws.normal(1)[0], draws.normal(levels)
        arguments = {"value": sample.item(), "ratios": ratios, "noises": noises.tolist()}
        yield held("diffusion.noisy_path", arguments, part(sample, ratios, noises), rounding(60, 4))
