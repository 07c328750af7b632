"""The mathematics: pure functions of plain numbers, one file a topic. Never imports torch."""

from torchstone.laws import activation, autodiff, convolution, initialization, loss, noise, optimization, recurrence

__all__ = ["activation", "autodiff", "convolution", "initialization", "loss", "noise", "optimization", "recurrence"]
