"""The variational bottleneck as PyTorch objects: stochastic encoder, closed-form divergence, draws with gradients, its graph."""

from torchstone.parts.bottleneck.bottleneck import StochasticEncoder, Terms, VariationalBottleneck
from torchstone.parts.bottleneck.gaussian import deviation_of, gaussian_kl, in_bits, reparameterise
from torchstone.parts.bottleneck.graph import reached
from torchstone.parts.bottleneck.weights import BetaSchedule

__all__ = [
    "BetaSchedule",
    "StochasticEncoder",
    "Terms",
    "VariationalBottleneck",
    "deviation_of",
    "gaussian_kl",
    "in_bits",
    "reached",
    "reparameterise",
]
