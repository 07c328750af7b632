"""Tables of a diffusion: one-step variances beta, what is left of the data alpha, and the steps that a sampler visits.

alpha_t is the product of the 1 - beta_i up to t (`alphas_cumprod` in diffusers), alpha_0 = 1 that of the data.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

SPACINGS = ("leading", "trailing", "linspace", "noise_to_signal")
_DDPM = "Ho et al. 2020, section 4: the linear schedule"
_FLAWED = "Lin et al. 2024, Common Diffusion Noise Schedules and Sample Steps Are Flawed"


def check_betas(betas: Sequence[float]) -> None:
    """Raise InvariantError unless there is a beta and every one lies in (0, 1)."""
    if not len(betas) or any(not bool(beta > 0) or not bool(beta < 1) for beta in betas):
        message = f"one-step variances lie in (0, 1); {list(betas)[:5]} came"
        raise InvariantError(message)


@law(
    "diffusion.alpha",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("z_i = sqrt(1 - beta_i) z_{i-1} + sqrt(beta_i) e_i, every e_i standard normal and independent",),
    sources=("Ho et al. 2020, equation 4", "final exam, question D10a"),
)
def alpha(betas: Sequence[float]) -> float:
    """Of the data's variance alpha_t = (1-beta_1)(1-beta_2)...(1-beta_t) is left after t steps of variances beta_i.

    By induction: z_i has mean sqrt(1-beta_i) sqrt(alpha_{i-1}) z_0 and variance (1-beta_i)(1-alpha_{i-1}) + beta_i = 1 - alpha_i.

    >>> alpha([0.5, 0.2])
    0.4
    """
    if len(betas):
        check_betas(betas)
    return math.prod(1 - beta for beta in betas)


def _between(start: float, end: float, steps: int) -> list[float]:
    return [start + (end - start) * i / (steps - 1) for i in range(steps)] if steps > 1 else [start]


def _check_ends(steps: int, start: float, end: float) -> None:
    if steps < 1 or not 0 < start <= end < 1:
        message = f"a schedule has one step or more and 0 < start <= end < 1; {steps} steps from {start} to {end} came"
        raise InvariantError(message)


@law("diffusion.linear_betas", Kind.EQUIVALENCE, Unit.VALUE, sources=(_DDPM,))
def linear_betas(steps: int, start: float, end: float) -> list[float]:
    """The linear schedule has variances evenly spaced from start to end, both included.

    >>> linear_betas(3, 0.1, 0.3)
    [0.1, 0.2, 0.3]
    """
    _check_ends(steps, start, end)
    return _between(start, end, steps)


@law(
    "diffusion.scaled_linear_betas",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=("Rombach et al. 2022, appendix: the schedule of latent diffusion", "diffusers, beta_schedule='scaled_linear'"),
)
def scaled_linear_betas(steps: int, start: float, end: float) -> list[float]:
    """The scaled linear schedule has deviations sqrt(beta) evenly spaced from sqrt(start) to sqrt(end).

    >>> [round(beta, 4) for beta in scaled_linear_betas(3, 0.01, 0.09)]
    [0.01, 0.04, 0.09]
    """
    _check_ends(steps, start, end)
    return [root**2 for root in _between(math.sqrt(start), math.sqrt(end), steps)]


@law(
    "diffusion.sigmoid_betas",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=("Xu et al. 2022, GeoDiff", "diffusers, beta_schedule='sigmoid'"),
)
def sigmoid_betas(steps: int, start: float, end: float) -> list[float]:
    """The sigmoid schedule has variances start + (end - start) sigmoid(x), x evenly spaced from -6 to 6.

    >>> [round(beta, 4) for beta in sigmoid_betas(3, 0.1, 0.3)]
    [0.1005, 0.2, 0.2995]
    """
    _check_ends(steps, start, end)
    return [start + (end - start) / (1 + math.exp(-x)) for x in _between(-6.0, 6.0, steps)]


@law(
    "diffusion.cosine_betas",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    sources=("Nichol and Dhariwal 2021, section 3.2, equation 17", "diffusers, beta_schedule='squaredcos_cap_v2'"),
)
def cosine_betas(steps: int, offset: float = 0.008, limit: float = 0.999) -> list[float]:
    """The cosine schedule has alpha_t in proportion to cos²((t/T + s)/(1 + s) pi/2), each beta at most a limit.

    >>> [round(beta, 4) for beta in cosine_betas(4, offset=0.0)]
    [0.1464, 0.4142, 0.7071, 0.999]
    """
    if steps < 1 or not offset >= 0 or not 0 < limit < 1:
        message = f"one step or more, an offset of 0 or more and a limit in (0, 1) are needed; {steps}, {offset}, {limit} came"
        raise InvariantError(message)
    left = [math.cos((i / steps + offset) / (1 + offset) * math.pi / 2) ** 2 for i in range(steps + 1)]
    return [min(1 - left[i + 1] / left[i], limit) for i in range(steps)]


@law(
    "diffusion.zero_terminal_alphas",
    Kind.EQUIVALENCE,
    Unit.VALUE,
    assumes=("alphas fall from step to step",),
    sources=(f"{_FLAWED}, algorithm 1",),
)
def zero_terminal_alphas(alphas: Sequence[float]) -> list[float]:
    """Rescaled to zero terminal SNR, sqrt(alpha) is shifted to exactly 0 at the last step and stretched to keep the first.

    sqrt(alpha'_t) = (sqrt(alpha_t) - sqrt(alpha_T)) sqrt(alpha_1) / (sqrt(alpha_1) - sqrt(alpha_T)).

    >>> [round(one, 4) for one in zero_terminal_alphas([0.81, 0.25, 0.01])]
    [0.81, 0.2025, 0.0]
    """
    if len(alphas) < 2 or any(not a > b for a, b in pairwise(alphas)):  # noqa: PLR2004 - a first and a last
        message = f"two alphas or more that fall are needed; {list(alphas)[:5]} came"
        raise InvariantError(message)
    roots = [math.sqrt(one) for one in alphas]
    first, last = roots[0], roots[-1]
    return [((root - last) * first / (first - last)) ** 2 for root in roots]


@law(
    "diffusion.timesteps",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("the table's first step has the number 0, as in diffusers",),
    sources=(f"{_FLAWED}, table 2", "diffusers, timestep_spacing"),
)
def timesteps(table: int, steps: int, spacing: str = "leading", offset: int = 0) -> list[int]:
    """A sampler of n steps visits these of T, from noisy to clean: leading i(T//n) + offset, trailing round(T - iT/n) - 1.

    linspace rounds n evenly spaced numbers from 0 to T - 1, halves to even. Only trailing and linspace (n > 1) begin at the table's
    last step. The step that follows a visited one is the next of this list: t - T//n is right for leading alone.

    >>> timesteps(1000, 4), timesteps(1000, 4, "trailing"), timesteps(1000, 4, "linspace")
    ([750, 500, 250, 0], [999, 749, 499, 249], [999, 666, 333, 0])
    """
    if not 1 <= steps <= table or spacing not in SPACINGS[:3]:
        message = f"1 to {table} steps and a spacing of {', '.join(SPACINGS[:3])} are needed; {steps} and {spacing!r} came"
        raise InvariantError(message)
    if spacing == "leading":
        found = [i * (table // steps) + offset for i in reversed(range(steps))]
    elif spacing == "trailing":
        found = [round(table - i * table / steps) - 1 for i in range(steps)]
    else:
        found = [round(at) for at in reversed(_between(0.0, table - 1.0, steps))]
    if not 0 <= found[-1] <= found[0] < table:
        message = f"an offset of {offset} leads to step {found[0]} of a table of {table}"
        raise InvariantError(message)
    return found
