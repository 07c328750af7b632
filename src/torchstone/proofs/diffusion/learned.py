"""Denoisers that are known exactly in place of trained ones: of normal data, of two points, of smoothed training points."""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence, Relation
from torchstone.parts.diffusion import GaussianDiffusion, NoiseSchedule, estimates
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, sampling

STEPS, ROWS, BATCHES, FEATURES = 20, 400, 40, 3
Denoiser = Callable[[Tensor, Tensor], Tensor]
Expected = Callable[[Tensor, Tensor, Tensor], Tensor]  # the sample that is expected, of z, alpha and variances


def _of_normal(noisy: Tensor, alpha: Tensor, variances: Tensor) -> Tensor:
    return variances * alpha.sqrt() / (alpha * variances + 1 - alpha) * noisy


def _of_two_points(noisy: Tensor, alpha: Tensor, variances: Tensor) -> Tensor:
    """Of data that are sqrt(v) or -sqrt(v) with even chances."""
    return variances.sqrt() * torch.tanh((alpha * variances).sqrt() * noisy / (1 - alpha))


def _losses(expected: Expected, draws: Draws, variances: Tensor, *, normal: bool) -> Tensor:
    """Losses of many batches, noise predicted from the sample that is expected."""
    diffusion = GaussianDiffusion(NoiseSchedule.cosine(STEPS))

    def denoiser(noisy: Tensor, timesteps: Tensor) -> Tensor:
        alpha = diffusion.schedule.alphas[timesteps]
        return estimates(expected(noisy, alpha.unsqueeze(1), variances), noisy, alpha, "sample").noise

    found = []
    for _ in range(BATCHES):
        rows = draws.normal(ROWS, FEATURES)
        rows = (rows if normal else rows.sign()) * variances.sqrt()
        found.append(diffusion.loss(denoiser, rows, generator=draws.generator))
    return torch.stack(found)


Losing = Callable[[Expected, Draws, Tensor, bool], Tensor]


@experiment(
    "diffusion.linear_noise_loss",
    part=lambda expected, draws, variances, normal: _losses(expected, draws, variances, normal=normal),
    mutants={
        "variance for deviation": lambda expected, draws, variances, normal: _losses(
            lambda noisy, alpha, v: expected(noisy, alpha, v.square()), draws, variances, normal=normal
        ),
        "features added up": lambda expected, draws, variances, normal: FEATURES
        * _losses(expected, draws, variances, normal=normal),
        "alpha not rooted": lambda expected, draws, variances, normal: _losses(
            lambda noisy, alpha, v: expected(noisy, alpha, v) * alpha.sqrt(), draws, variances, normal=normal
        ),
        "z taken for the sample": lambda _, draws, variances, normal: _losses(
            lambda noisy, *_: noisy, draws, variances, normal=normal
        ),
    },
    how=f"confidence interval, {BATCHES} batches; normal data reach it",
)
def linear_noise_loss(part: Losing, draws: Draws) -> Iterator[Evidence]:
    """Normal data, where the best estimate is linear, and two points a feature, where it is not."""
    alphas = NoiseSchedule.cosine(STEPS).alphas.tolist()
    for _ in range(3):
        variances = draws.uniform(0.05, 3, FEATURES)
        arguments = {"alphas": alphas, "variances": variances.tolist()}
        for expected, normal in ((_of_normal, True), (_of_two_points, False)):
            found, allowed = sampling(part(expected, draws, variances, normal))
            yield held("diffusion.linear_noise_loss", arguments, found, allowed, Relation.AT_MOST)


def _nearest(rows: Tensor, training: Tensor) -> Tensor:
    """Distances to the nearest training point."""
    return torch.cdist(rows, training).min(1).values


SAMPLES, TRAINING = 400, 60
Copying = Callable[[float, Draws, Tensor], Tensor]


def _smoothed(width: float, draws: Draws, training: Tensor) -> Tensor:
    """Samples of training points smoothed by a normal of that width, by their exact denoiser."""
    diffusion = GaussianDiffusion(NoiseSchedule.cosine(50), "sample")

    def denoiser(noisy: Tensor, timesteps: Tensor) -> Tensor:
        alpha = diffusion.schedule.alphas[timesteps].unsqueeze(1)
        left = alpha * width**2 + 1 - alpha
        share = (-torch.cdist(noisy, alpha[0].sqrt() * training).square() / (2 * left)).softmax(1)
        centre = share @ training
        return centre + alpha.sqrt() * width**2 / left * (noisy - alpha.sqrt() * centre)

    return diffusion.sample(denoiser, draws.normal(SAMPLES, training.shape[1]), stochasticity=0.0)


@experiment(
    "diffusion.memorising",
    part=_smoothed,
    mutants={
        "width inverted": lambda width, draws, training: _smoothed(0.1 / width, draws, training),
        "noise left in at the end": lambda width, draws, training: _smoothed(width, draws, training)
        + draws.normal(SAMPLES, 2) / (10 * width),
        "only noise": lambda width, draws, _: draws.normal(SAMPLES, 2) / width,
    },
    how="training points smoothed less and less, exact denoisers",
)
def memorising(part: Copying, draws: Draws) -> Iterator[Evidence]:
    """From widely smoothed training points to nearly bare ones."""
    training = draws.normal(TRAINING, 2)
    found = [sampling(_nearest(part(width, draws, training), training)) for width in (0.5, 0.2, 0.05)]
    for (before, one), (after, other) in itertools.pairwise(found):
        allowed = max(one, other, key=lambda tolerance: tolerance.total)
        yield held("diffusion.memorising", {"before": before}, after, allowed, Relation.AT_MOST)
