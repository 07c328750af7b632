"""Noise: dropout (dropout), features of a regression multiplied by noise (regression), and when it is drawn (modes)."""

from torchstone.laws.noise import dropout, modes, regression
from torchstone.laws.noise.dropout import dropped_expectation, inference_weight, mask_moments
from torchstone.laws.noise.modes import noisy_passes
from torchstone.laws.noise.regression import noisy_loss, noisy_solution

__all__ = [
    "dropout", "dropped_expectation", "inference_weight", "mask_moments", "modes", "noisy_loss", "noisy_passes", "noisy_solution",
    "regression",
]  # fmt: skip
