"""The mathematics: pure functions of plain numbers, one file a topic. Never imports torch."""

from torchstone.laws import (
    activation,
    attention,
    autodiff,
    convolution,
    initialization,
    loss,
    noise,
    norm,
    optimization,
    recurrence,
    transformer,
)

__all__ = [
    "activation",
    "attention",
    "autodiff",
    "convolution",
    "initialization",
    "loss",
    "noise",
    "norm",
    "optimization",
    "recurrence",
    "transformer",
]
