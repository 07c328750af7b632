"""The noise that is mixed in, and where sampling starts: draws, pairs of draws, and the divergence of the last level."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from torchstone.core.evidence import Evidence
from torchstone.proofs.diffusion.noising import means
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Noise = Callable[[Tensor], Tensor]
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Divergence = Callable[[float], Tensor]
SAMPLES, NUMBERS = 2, 20_000


@experiment(
    "diffusion.noise_moments",
    part=torch.randn_like,
    mutants={
        "uniform": torch.rand_like,
        "a tenth of it": lambda like: 0.1 * torch.randn_like(like),
        "one draw for the batch": lambda like: torch.randn_like(like[:1]).expand_as(like),
        "shifted": lambda like: torch.randn_like(like) + 0.1,
    },
    how="confidence interval, 40000 draws",
)
def noise_moments(part: Noise, draws: Draws) -> Iterator[Evidence]:
    """Two samples of 20000 numbers each: means, squares, and products of one sample's numbers with the other's."""
    seed = int(draws.uniform(0, 2**31, 1).item())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        came = part(torch.empty(SAMPLES, NUMBERS, dtype=torch.float64))
    found, tolerance = means(came[0], (came[0] - came[0].mean()).square(), came[0] * came[1])
    yield held("diffusion.noise_moments", {}, found, tolerance)


def _one_draw(like: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    return 0.6 * like + 0.8 * noise, noise


@experiment(
    "diffusion.noise_agreement",
    part=_one_draw,
    mutants={
        "drawn again for the loss": lambda x, e: (0.6 * x + 0.8 * e, e.roll(1)),
        "the sign turned": lambda x, e: (0.6 * x + 0.8 * e, -e),
        "the noisy input itself": lambda x, e: (0.6 * x + 0.8 * e, 0.6 * x + 0.8 * e),
    },
)
def noise_agreement(part: Step, draws: Draws) -> Iterator[Evidence]:
    """What the noisy value holds beside the data, against what the loss is given."""
    for _ in range(4):
        sample = draws.normal(500)
        noisy, target = part(sample, draws.normal(500))
        correlation = torch.corrcoef(torch.stack([noisy - 0.6 * sample, target]))[0, 1]
        yield held("diffusion.noise_agreement", {}, correlation, rounding(1000))


def _divergence(alpha: float) -> Tensor:
    """Of the level that a value of 1 reaches, by torch's own formula."""
    level = Normal(torch.tensor(math.sqrt(alpha), dtype=torch.float64), torch.tensor(math.sqrt(1 - alpha), dtype=torch.float64))
    prior = Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
    return kl_divergence(level, prior)


@experiment(
    "diffusion.start_divergence",
    part=_divergence,
    mutants={
        "mean left out": lambda alpha: _divergence(alpha) - alpha / 2,
        "not halved": lambda alpha: 2 * _divergence(alpha),
        "alpha for its root": lambda alpha: _divergence(alpha) + (alpha**2 - alpha) / 2,
        "in bits": lambda alpha: _divergence(alpha) / math.log(2),
    },
)
def start_divergence(part: Divergence, draws: Draws) -> Iterator[Evidence]:
    """Random alphas in (0, 0.99)."""
    for alpha in draws.uniform(0.01, 0.99, 20).tolist():
        yield held("diffusion.start_divergence", {"alpha": alpha}, part(alpha), rounding(64, 3.0))
