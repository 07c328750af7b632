"""Optimisation: the curvature of a loss, momentum in two forms, Adam in two forms (adaptive), and decay's conventions."""

from torchstone.parts.optimization.adaptive import Adam, AdamByLine
from torchstone.parts.optimization.curvature import Curvature, HessianProduct, Lanczos, curvature, lanczos
from torchstone.parts.optimization.decay import WeightDecay
from torchstone.parts.optimization.momentum import Momentum, RunningAverage, to_momentum, to_running_average

__all__ = [
    "Adam", "AdamByLine", "Curvature", "HessianProduct", "Lanczos", "Momentum", "RunningAverage", "WeightDecay", "curvature",
    "lanczos", "to_momentum", "to_running_average",
]  # fmt: skip
