"""Convolution: true convolution, the matrix of a convolution, its adjoints, and the depthwise separable layer."""

from torchstone.parts.convolution.adjoints import input_gradient, weight_gradient
from torchstone.parts.convolution.linear import convolve
from torchstone.parts.convolution.separable import DepthwiseSeparableConv2d, separable_errors
from torchstone.parts.convolution.toeplitz import affine_part, toeplitz

__all__ = [
    "DepthwiseSeparableConv2d",
    "affine_part",
    "convolve",
    "input_gradient",
    "separable_errors",
    "toeplitz",
    "weight_gradient",
]
