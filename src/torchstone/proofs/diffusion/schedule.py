"""Tables of `NoiseSchedule` and the steps of a sampler against their formulas."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import EXACT
from torchstone.laws.diffusion.schedule import SPACINGS
from torchstone.parts.diffusion import NoiseSchedule, visited_steps
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Table = Callable[[Tensor], Tensor]
Ends = Callable[[int, float, float], Tensor]
Formula = Callable[..., Any]
LENGTHS = (1, 2, 7, 50)


def _alphas(betas: Tensor) -> Tensor:
    return NoiseSchedule(betas).alphas


def _chained(law: Formula) -> Iterator[Any]:
    """The variance of a chain of three steps, one after the other, is 1 - alpha."""
    betas = [sympy.Rational(1, 3), sympy.Rational(2, 7), sympy.Rational(3, 5)]
    variance = sympy.Integer(0)
    for beta in betas:
        variance = (1 - beta) * variance + beta
    yield 1 - law(betas) - variance


@experiment(
    "diffusion.alpha",
    part=_alphas,
    mutants={
        "sums for products": lambda betas: 1 - betas.cumsum(0),
        "products of betas": lambda betas: betas.cumprod(0),
        "one step late": lambda betas: torch.cat([betas.new_ones(1), (1 - betas).cumprod(0)[:-1]]),
        "not multiplied up": lambda betas: 1 - betas,
        "rooted": lambda betas: (1 - betas).cumprod(0).sqrt(),
    },
    symbolic=_chained,
)
def alpha(part: Table, draws: Draws) -> Iterator[Evidence]:
    """Every entry of tables of 1 to 50 random betas."""
    for length in LENGTHS:
        betas = draws.uniform(0.001, 0.5, length)
        for at, one in enumerate(part(betas).tolist()):
            yield held("diffusion.alpha", {"betas": betas[: at + 1].tolist()}, one, rounding(2 * length))


def _uneven(steps: int, start: float, end: float, power: float) -> Tensor:
    ends = start**power, end**power
    return torch.linspace(*ends, steps, dtype=torch.float64).pow(1 / power)


def _ends(name: str, part: Ends, draws: Draws) -> Iterator[Evidence]:
    for length in (2, 7, 50, 200):
        start, end = sorted(draws.uniform(1e-4, 0.1, 2).tolist())
        arguments = {"steps": length, "start": start, "end": end}
        yield held(name, arguments, part(length, start, end), rounding(16))


@experiment(
    "diffusion.linear_betas",
    part=lambda steps, start, end: NoiseSchedule.linear(steps, start, end).betas,
    mutants={
        "roots spaced evenly": lambda steps, start, end: NoiseSchedule.scaled_linear(steps, start, end).betas,
        "end left out": lambda steps, start, end: NoiseSchedule.linear(steps + 1, start, end).betas[:-1],
        "reversed": lambda steps, start, end: NoiseSchedule.linear(steps, start, end).betas.flip(0),
        "tables in float32": lambda steps, start, end: torch.linspace(start, end, steps),
    },
)
def linear_betas(part: Ends, draws: Draws) -> Iterator[Evidence]:
    """Random ends, 2 to 200 steps."""
    yield from _ends("diffusion.linear_betas", part, draws)


@experiment(
    "diffusion.scaled_linear_betas",
    part=lambda steps, start, end: NoiseSchedule.scaled_linear(steps, start, end).betas,
    mutants={
        "not rooted": lambda steps, start, end: NoiseSchedule.linear(steps, start, end).betas,
        "cubic roots": lambda steps, start, end: _uneven(steps, start, end, 1 / 3),
        "end left out": lambda steps, start, end: NoiseSchedule.scaled_linear(steps + 1, start, end).betas[:-1],
    },
)
def scaled_linear_betas(part: Ends, draws: Draws) -> Iterator[Evidence]:
    """Random ends, 2 to 200 steps."""
    yield from _ends("diffusion.scaled_linear_betas", part, draws)


@experiment(
    "diffusion.sigmoid_betas",
    part=lambda steps, start, end: NoiseSchedule.sigmoid(steps, start, end).betas,
    mutants={
        "linear": lambda steps, start, end: NoiseSchedule.linear(steps, start, end).betas,
        "over [-3, 3]": lambda steps, start, end: start
        + (end - start) * torch.sigmoid(torch.linspace(-3, 3, steps, dtype=torch.float64)),
        "start left out": lambda steps, start, end: NoiseSchedule.sigmoid(steps, start, end).betas - start,
    },
)
def sigmoid_betas(part: Ends, draws: Draws) -> Iterator[Evidence]:
    """Random ends, 2 to 200 steps."""
    yield from _ends("diffusion.sigmoid_betas", part, draws)


def _cosine(steps: int, offset: float, limit: float) -> Tensor:
    return NoiseSchedule.cosine(steps, offset, limit).betas


@experiment(
    "diffusion.cosine_betas",
    part=_cosine,
    mutants={
        "without offset": lambda steps, _, limit: _cosine(steps, 0.0, limit),
        "not capped": lambda steps, offset, _: _cosine(steps, offset, 1 - 1e-12),
        "cosine not squared": lambda steps, offset, limit: (1 - (1 - _cosine(steps, offset, 1 - 1e-12)).sqrt()).clamp(max=limit),
        "linear": lambda steps, _, limit: NoiseSchedule.linear(steps, 1e-4, limit).betas,
    },
)
def cosine_betas(part: Callable[[int, float, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Random offsets and limits, 2 to 200 steps."""
    for length in (2, 7, 50, 200):
        offset, limit = draws.uniform(0.001, 0.02, 1).item(), draws.uniform(0.9, 0.999, 1).item()
        # Next to the end cos² is a small difference of large numbers: (pi/2T)² of it is left.
        tolerance = rounding(16 + length)
        arguments = {"steps": length, "offset": offset, "limit": limit}
        yield held("diffusion.cosine_betas", arguments, part(length, offset, limit), tolerance)


def _rescaled(alphas: Tensor) -> Tensor:
    return NoiseSchedule.from_alphas(alphas).zero_terminal_snr().alphas


def _shifted(alphas: Tensor) -> Tensor:
    return (alphas - alphas[-1]) * alphas[0] / (alphas[0] - alphas[-1])


@experiment(
    "diffusion.zero_terminal_alphas",
    part=_rescaled,
    mutants={
        "not rescaled": lambda alphas: alphas,
        "alpha shifted for its root": _shifted,
        "not stretched": lambda alphas: (alphas.sqrt() - alphas[-1].sqrt()).square(),
        "only the last set to 0": lambda alphas: torch.cat([alphas[:-1], alphas.new_zeros(1)]),
        "nearly 0 (2^-24)": lambda alphas: _rescaled(alphas).clamp(min=2**-24),
    },
)
def zero_terminal_alphas(part: Table, draws: Draws) -> Iterator[Evidence]:
    """Tables of 2 to 200 steps; the last alpha must be 0 exactly."""
    for length in (2, 7, 50, 200):
        alphas = _alphas(draws.uniform(0.001, 0.1, length))
        came = part(alphas)
        tolerance = rounding(32) if came[-1] == 0 else EXACT
        yield held("diffusion.zero_terminal_alphas", {"alphas": alphas.tolist()}, came, tolerance)


def _visited(table: int, steps: int, spacing: str, offset: int) -> Sequence[int]:
    return visited_steps(NoiseSchedule([0.001] * table), steps, spacing, offset)


def _moved(by: int) -> Callable[[int, int, str, int], Sequence[int]]:
    return lambda table, steps, spacing, offset: [at + by for at in _visited(table, steps, spacing, offset)]


@experiment(
    "diffusion.timesteps",
    part=_visited,
    mutants={
        "one late": _moved(1),
        "leading for all": lambda table, steps, _, offset: _visited(table, steps, "leading", offset),
        "trailing for all": lambda table, steps, *_: _visited(table, steps, "trailing", 0),
        "from clean to noisy": lambda *arguments: _visited(*arguments)[::-1],
        "offset forgotten": lambda table, steps, spacing, _: _visited(table, steps, spacing, 0),
        "truncated": lambda table, steps, *_: [int(table - i * table / steps) - 1 for i in range(steps)],
    },
)
def timesteps(part: Callable[[int, int, str, int], Sequence[int]], draws: Draws) -> Iterator[Evidence]:
    """Random tables and numbers of steps, most of which do not divide them."""
    for spacing in SPACINGS[:3] * 8:
        table = draws.integer(5, 300)
        steps = draws.integer(2, table - 1)
        offset = int(spacing == "leading" and table // steps > 1)
        arguments = {"table": table, "steps": steps, "spacing": spacing, "offset": offset}
        yield held("diffusion.timesteps", arguments, list(part(table, steps, spacing, offset)))
