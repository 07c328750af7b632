"""Attention: near positions only (local), two soft-maxes apart (separable), a kernel of features (linear), random features.

And what it must not read: later tokens, and padding (dependence).
"""

from torchstone.laws.attention import cost, dependence, features, linear, local, separable

__all__ = ["cost", "dependence", "features", "linear", "local", "separable"]
