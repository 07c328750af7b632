"""The mathematics: pure functions of plain numbers, one file a topic. Never imports torch."""

from torchstone.laws import autodiff, initialization, loss, optimization

__all__ = ["autodiff", "initialization", "loss", "optimization"]
