"""Linear regression on features multiplied by noise: its expected loss and the weights that make it least, on tensors."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torchstone.core.errors import UsageError


def _check(features: Tensor, targets: Tensor, mean: float, variance: float) -> None:
    if features.dim() != 2 or targets.dim() < 1 or len(targets) != len(features):  # noqa: PLR2004 - rows and features
        came = f"{tuple(features.shape)} and {tuple(targets.shape)}"
        message = f"features are (rows, features) and targets (rows, ...), of the same rows; {came} came"
        raise UsageError(message)
    if not (math.isfinite(mean) and math.isfinite(variance) and variance >= 0):
        message = f"noise has a finite mean and a finite variance of 0 or more; mean={mean}, variance={variance} came"
        raise UsageError(message)


def noisy_regression_loss(
    features: Float[Tensor, "rows features"],
    targets: Float[Tensor, "rows *outputs"],
    weights: Float[Tensor, "features *outputs"],
    mean: float,
    variance: float,
) -> Float[Tensor, ""]:
    """The expected sum of squares ‖y - mean X w‖² + variance ‖Gamma w‖² of noise on every feature, Gamma² = diag(XᵀX).

    Differentiable; nothing is drawn. For dropout take mean and variance from `laws.noise.mask_moments`. Several outputs add up.

    Raises UsageError for a variance below 0 and for shapes that do not fit.
    Source: final exam, question D5; law `noise.noisy_loss`.

    >>> noisy_regression_loss(torch.tensor([[1.0], [2.0]]), torch.ones(2), torch.ones(1), mean=0.5, variance=0.25).item()
    1.5
    """
    _check(features, targets, mean, variance)
    if weights.shape != (features.shape[1], *targets.shape[1:]):  # (rows, 1) and (features,) would meet as rows x rows
        wanted, came = (features.shape[1], *targets.shape[1:]), tuple(weights.shape)
        message = f"weights for these features and targets are of shape {wanted}; {came} came: reshape one of them"
        raise UsageError(message)
    sizes = features.square().sum(0)
    return (targets - mean * features @ weights).square().sum() + variance * (sizes @ weights.square()).sum()


def noisy_regression_solution(
    features: Float[Tensor, "rows features"], targets: Float[Tensor, "rows *outputs"], mean: float, variance: float
) -> Float[Tensor, "features *outputs"]:
    """The weights of least expected loss: (mean² XᵀX + variance Gamma²) w = mean Xᵀy, a ridge regression.

    Solved by least squares on X with the penalty's rows below it, which does not square the condition number. Differentiable.

    Raises UsageError for a variance below 0 and where no single solution exists (dependent features without noise, or a feature
    that is 0 throughout). Source: final exam, question D5; law `noise.noisy_solution`.

    >>> noisy_regression_solution(torch.tensor([[1.0], [2.0]]), torch.ones(2), mean=1.0, variance=0.2)
    tensor([0.5000])
    """
    _check(features, targets, mean, variance)
    sizes = features.norm(dim=0)
    if (sizes == 0).any() or mean == 0:
        what = "mean 0" if mean == 0 else f"feature {int((sizes == 0).nonzero()[0])}, which is 0 throughout"
        message = f"the weights of least loss are not determined by {what}: leave it out"
        raise UsageError(message)
    columns = targets if targets.ndim > 1 else targets[:, None]
    # Features of one size each: the system's condition is that of their directions alone.
    stacked = torch.cat([mean * features / sizes, math.sqrt(variance) * torch.eye(len(sizes)).to(features)])
    below = torch.cat([columns.flatten(1), columns.new_zeros(len(sizes), columns.flatten(1).shape[1])])
    if len(stacked) < len(sizes) or torch.linalg.matrix_rank(stacked) < len(sizes):
        message = f"{len(sizes)} features are linearly dependent on {len(features)} rows: many weights are best; add noise or rows"
        raise UsageError(message)
    solution: Tensor = torch.linalg.lstsq(stacked, below).solution / sizes[:, None]
    return solution.reshape(len(sizes), *targets.shape[1:])
