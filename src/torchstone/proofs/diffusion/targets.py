"""Predictions of noise, sample and velocity turned into one another, and what their errors weigh."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.laws.diffusion.targets import PREDICTIONS
from torchstone.parts.diffusion import NoiseSchedule, estimates, min_snr_weights
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Estimating = Callable[[Tensor, Tensor, float, str], tuple[Tensor, ...]]
Weighing = Callable[[Tensor, float, str], Tensor]
Formula = Callable[..., Any]


def _velocity(sample: Tensor, noise: Tensor, alpha: float) -> Tensor:
    return NoiseSchedule.from_alphas([alpha]).velocity(sample[None], noise[None], torch.zeros(1, dtype=torch.long))[0]


def _turning(law: Formula) -> Iterator[Any]:
    """The derivative of z by its angle."""
    sample, noise = sympy.symbols("x e", real=True)
    angle = sympy.Symbol("t", positive=True)
    level = sympy.cos(angle) * sample + sympy.sin(angle) * noise
    yield law(sample, noise, sympy.Rational(9, 25)) - sympy.diff(level, angle).subs(angle, sympy.acos(sympy.Rational(3, 5)))


@experiment(
    "diffusion.velocity",
    part=_velocity,
    mutants={
        "sign": lambda x, e, a: -_velocity(x, e, a),
        "signal and noise exchanged": lambda x, e, a: _velocity(x, e, 1 - a),
        "z itself": lambda x, e, a: math.sqrt(a) * x + math.sqrt(1 - a) * e,
        "not rooted": lambda x, e, a: a * e - (1 - a) * x,
    },
    symbolic=_turning,
)
def velocity(part: Callable[[Tensor, Tensor, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Random samples, noises and levels."""
    for alpha in draws.uniform(0.01, 0.99, 60).tolist():
        sample, noise = draws.normal(2)
        found = part(sample, noise, alpha)
        yield held("diffusion.velocity", {"sample": sample.item(), "noise": noise.item(), "alpha": alpha}, found, rounding(8, 4))


def _round_trips(law: Formula) -> Iterator[Any]:
    """Each kind of prediction gives back the sample and the noise that z was made of."""
    x, e = sympy.symbols("x e", real=True)
    alpha = sympy.Rational(9, 25)
    a, s = sympy.sqrt(alpha), sympy.sqrt(1 - alpha)
    whole = {"epsilon": e, "sample": x, "v_prediction": a * e - s * x}
    for kind, prediction in whole.items():
        for found, wanted in zip(law(prediction, a * x + s * e, alpha, kind), (x, e, a * e - s * x), strict=True):
            yield sympy.expand(found - wanted)


def _misread(reading: dict[str, str]) -> Estimating:
    return lambda prediction, noisy, alpha, kind: estimates(prediction, noisy, alpha, reading.get(kind, kind))


@experiment(
    "diffusion.estimates",
    part=estimates,
    mutants={
        "v read as epsilon": _misread({"v_prediction": "epsilon"}),
        "epsilon read as v": _misread({"epsilon": "v_prediction"}),
        "sample read as epsilon": _misread({"sample": "epsilon"}),
        "alpha of the noise": lambda p, z, a, kind: estimates(p, z, 1 - a, kind),
        "noise's sign": lambda p, z, a, kind: (-estimates(p, z, a, kind).noise).expand(3, 1),
    },
    symbolic=_round_trips,
)
def conversions(part: Estimating, draws: Draws) -> Iterator[Evidence]:
    """Every kind at random levels."""
    for kind in PREDICTIONS * 20:
        alpha = draws.uniform(0.02, 0.98, 1).item()
        prediction, noisy = draws.normal(2, 1)
        found = [one.item() for one in part(prediction, noisy, alpha, kind)]
        arguments = {"prediction": prediction.item(), "noisy": noisy.item(), "alpha": alpha, "kind": kind}
        yield held("diffusion.estimates", arguments, found, rounding(20, 40))


@experiment(
    "diffusion.signal_to_noise",
    part=lambda schedule: schedule.signal_to_noise,
    mutants={
        "rooted": lambda schedule: schedule.signal_to_noise.sqrt(),
        "noise to signal": lambda schedule: 1 / schedule.signal_to_noise.clamp(min=1e-300),
        "before rescaling": lambda schedule: (schedule.unscaled or schedule).signal_to_noise,
        "alpha alone": lambda schedule: schedule.alphas,
    },
)
def signal_to_noise(part: Callable[[NoiseSchedule], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Every step of tables, plain and rescaled to 0 at the end."""
    for _ in range(4):
        plain = NoiseSchedule(draws.uniform(0.02, 0.2, 15))
        for schedule in (plain, plain.zero_terminal_snr()):
            for alpha, found in zip(schedule.alphas.tolist(), part(schedule).tolist(), strict=True):
                yield held("diffusion.signal_to_noise", {"alpha": alpha}, found, rounding(8, 1 + alpha / (1 - alpha) ** 2))


@experiment(
    "diffusion.error_scale",
    part=estimates,
    mutants={
        "v read as epsilon": _misread({"v_prediction": "epsilon"}),
        "epsilon read as v": _misread({"epsilon": "v_prediction"}),
        "sample read as v": _misread({"sample": "v_prediction"}),
    },
    how="float64, finite differences of linear maps",
)
def error_scale(part: Estimating, draws: Draws) -> Iterator[Evidence]:
    """A prediction is moved; what its sample moves by is compared."""
    for kind in PREDICTIONS * 20:
        alpha = draws.uniform(0.05, 0.95, 1).item()
        prediction, noisy = draws.normal(2, 1)
        moved = part(prediction + 1, noisy, alpha, kind)[0] - part(prediction, noisy, alpha, kind)[0]
        yield held("diffusion.error_scale", {"alpha": alpha, "kind": kind}, moved.square().reciprocal(), rounding(800, 400))


def _same_loss(law: Formula) -> Iterator[Any]:
    """Weights of epsilon and v are that of the sample over their error's scale, SNR and SNR + 1."""
    for alpha in (sympy.Rational(1, 7), sympy.Rational(9, 10)):
        ratio = alpha / (1 - alpha)
        for kind, scale in (("epsilon", ratio), ("v_prediction", ratio + 1)):
            yield law(alpha, sympy.Integer(5), kind) * scale - law(alpha, sympy.Integer(5), "sample")


def _as_epsilon(alphas: Tensor, limit: float, _: str) -> Tensor:
    return min_snr_weights(alphas.clamp(min=1e-9), limit, "epsilon")  # epsilon is refused at 0


@experiment(
    "diffusion.min_snr_weight",
    part=min_snr_weights,
    mutants={
        "epsilon's weight for all": _as_epsilon,
        "v's weight for all": lambda alphas, limit, _: min_snr_weights(alphas, limit, "v_prediction"),
        "not capped": lambda alphas, _, kind: min_snr_weights(alphas, 1e9, kind),
        "capped from below": lambda alphas, limit, kind: min_snr_weights(alphas, limit, kind)
        / (alphas / (1 - alphas)).clamp(max=limit)
        * (alphas / (1 - alphas)).clamp(min=limit),
    },
    symbolic=_same_loss,
)
def min_snr_weight(part: Weighing, draws: Draws) -> Iterator[Evidence]:
    """Every kind at random levels and limits; v and sample at SNR 0 too."""
    for kind in PREDICTIONS * 6:
        alphas, limit = draws.uniform(0.01, 0.99, 6), draws.uniform(0.5, 8, 1).item()
        if kind != "epsilon":
            alphas[0] = 0
        for alpha, weight in zip(alphas.tolist(), part(alphas, limit, kind).tolist(), strict=True):
            yield held("diffusion.min_snr_weight", {"alpha": alpha, "limit": limit, "kind": kind}, weight, rounding(100, 10))
