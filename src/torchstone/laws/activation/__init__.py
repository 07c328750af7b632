"""Activations: softmax, steps and their smooth forms, the tanh twin of a sigmoid network, the logarithm of ReLU."""

from torchstone.laws.activation import logarithm, softmax, step, twin

__all__ = ["logarithm", "softmax", "step", "twin"]
