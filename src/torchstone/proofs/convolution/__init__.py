"""Convolution: geometry and operator."""
