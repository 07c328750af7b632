"""Attention: near positions only (local), two soft-maxes apart (separable), a kernel of features (linear), random features."""

from torchstone.laws.attention import cost, features, linear, local, separable

__all__ = ["cost", "features", "linear", "local", "separable"]
