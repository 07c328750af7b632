"""The way back: the levels that a sampler visits, and one step between two of them."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from torchstone.core.errors import UsageError, meant
from torchstone.laws.diffusion import schedule as laws
from torchstone.parts.diffusion.schedule import NoiseSchedule

SPACINGS = laws.SPACINGS


def visited_steps(schedule: NoiseSchedule, steps: int, spacing: str = "leading", offset: int = 0) -> list[int]:
    """The table's steps that a sampler of that many steps visits, from noisy to clean; each one's previous step is the next here.

    spacing: "leading", "trailing" or "linspace" as in diffusers, or "noise_to_signal": steps whose log eta lie evenly, the ends
    included. `offset` is diffusers' steps_offset, of leading only.
    Raises UsageError for more steps than the table has, another spacing and an offset that leads outside.
    Sources: Lin et al. 2024, table 2; Karras et al. 2022, section 3, for levels by noise.
    """
    if spacing not in SPACINGS:
        message = f"a spacing is one of {', '.join(SPACINGS)}; {spacing!r} came{meant(str(spacing), SPACINGS)}"
        raise UsageError(message)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= len(schedule):
        message = f"a sampler visits 1 to {len(schedule)} steps of this table; {steps!r} came"
        raise UsageError(message)
    if spacing == "noise_to_signal":
        return _by_ratio(schedule, steps)
    if spacing == "leading" and not 0 <= offset <= len(schedule) - 1 - (steps - 1) * (len(schedule) // steps):
        message = f"{steps} leading steps with an offset of {offset} leave the table of {len(schedule)}: take fewer, or trailing"
        raise UsageError(message)
    return laws.timesteps(len(schedule), steps, spacing, offset if spacing == "leading" else 0)


def _by_ratio(schedule: NoiseSchedule, steps: int) -> list[int]:
    """Steps nearest to log eta that lie evenly, no step twice: where the table is too coarse the next cleaner one is taken."""
    levels = schedule.noise_to_signal.log().tolist()
    last = len(schedule) - 1
    high = levels[last] if math.isfinite(levels[last]) or last == 0 else levels[last - 1]
    found: list[int] = []
    for number in range(steps):
        wanted = high + (levels[0] - high) * number / max(1, steps - 1)
        nearest = min(range(len(levels)), key=lambda at: abs(levels[at] - wanted)) if number else last
        ceiling = found[-1] - 1 if found else last
        found.append(max(steps - 1 - number, min(nearest, ceiling)))
    return found


def step_weights(alpha: float, previous: float, stochasticity: float = 0.0) -> tuple[float, float, float]:
    """A step from alpha to the cleaner `previous` is w_x x + w_z z + d e: its weights of sample and noisy input, and its deviation.

    stochasticity 0 is DDIM, 1 the ancestral step. previous = 1 is the data, alpha = 0 noise alone. On the host, in float64.
    Raises UsageError unless 0 <= alpha < previous <= 1 and stochasticity lies in [0, 1].
    Sources: Song et al. 2021, equations 12 and 16; Ho et al. 2020, equation 7.

    >>> step_weights(0.2, 1.0)
    (1.0, 0.0, 0.0)
    """
    if not 0 <= alpha < previous <= 1:
        message = f"a step back goes to a cleaner level, 0 <= alpha < previous <= 1; alpha={alpha} and previous={previous} came"
        raise UsageError(message)
    if not 0 <= stochasticity <= 1:
        message = f"stochasticity lies in [0, 1], 0 for DDIM and 1 for DDPM; {stochasticity} came"
        raise UsageError(message)
    deviation = stochasticity * math.sqrt((1 - previous) / (1 - alpha) * (1 - alpha / previous))
    by_noise = math.sqrt(max(1 - previous - deviation**2, 0.0) / (1 - alpha))
    return math.sqrt(previous) - by_noise * math.sqrt(alpha), by_noise, deviation


def reverse_step(
    sample: Float[Tensor, "*shape"],
    noisy: Float[Tensor, "*shape"],
    alpha: float,
    previous: float,
    stochasticity: float = 0.0,
    noise: Float[Tensor, "*shape"] | None = None,
) -> Float[Tensor, "*shape"]:
    """One step of a sampler from z = `noisy` at alpha to `previous`, with the sample that was estimated; all of one shape.

    `noise` are standard normal draws, needed where the step has a deviation above 0. Other arguments, errors and sources as in
    `step_weights`; also UsageError for shapes that differ and a noise that is missing.
    """
    of_sample, of_noisy, deviation = step_weights(alpha, previous, stochasticity)
    if sample.shape != noisy.shape or (noise is not None and noise.shape != noisy.shape):
        shapes = [tuple(one.shape) for one in (sample, noisy, noise) if one is not None]
        message = f"sample, noisy and noise have one shape; {shapes} came"
        raise UsageError(message)
    if deviation and noise is None:
        message = f"a step with stochasticity {stochasticity} needs noise: give standard normal draws of shape {tuple(noisy.shape)}"
        raise UsageError(message)
    reached = torch.add(sample * of_sample, noisy, alpha=of_noisy)
    return torch.add(reached, noise, alpha=deviation) if deviation and noise is not None else reached


def check_levels(alphas: Sequence[float]) -> None:
    """Raise UsageError unless alphas of visited levels grow from 0 or above to below 1."""
    if not alphas or not all(0 <= one < 1 for one in alphas) or sorted(set(alphas)) != list(alphas):
        message = f"levels of a sampler go from noisy to clean: alphas in [0, 1) that grow; {list(alphas)[:5]} came"
        raise UsageError(message)
