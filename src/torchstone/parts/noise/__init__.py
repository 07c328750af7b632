"""Noise as PyTorch objects: dropout that does not rescale, Gaussian noise, what takes their place, and regression under both."""

from torchstone.parts.noise.dropout import UnscaledDropout, unscaled_dropout, weight_scaling_inference
from torchstone.parts.noise.folding import fold_dropout
from torchstone.parts.noise.gaussian import GaussianNoise, gaussian_noise
from torchstone.parts.noise.regression import noisy_regression_loss, noisy_regression_solution

__all__ = [
    "GaussianNoise", "UnscaledDropout", "fold_dropout", "gaussian_noise", "noisy_regression_loss", "noisy_regression_solution",
    "unscaled_dropout", "weight_scaling_inference",
]  # fmt: skip
