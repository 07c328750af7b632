"""Convolution: sizes (geometry), cost, inputs read (reach), the map with its adjoints (operator), its cheap form (separable)."""

from torchstone.laws.convolution import cost, geometry, operator, reach, separable

__all__ = ["cost", "geometry", "operator", "reach", "separable"]
