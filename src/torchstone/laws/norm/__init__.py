"""Laws of normalisation: the two maps themselves, and what they do to a stack of layers, before or after its sub-layers."""

from torchstone.laws.norm import maps, stack

__all__ = ["maps", "stack"]
