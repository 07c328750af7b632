"""The systems as PyTorch objects, one file a topic."""

from torchstone.parts.activation import Affine, LogLU, sigmoid_to_tanh
from torchstone.parts.convolution import (
    DepthwiseSeparableConv2d,
    affine_part,
    convolve,
    input_gradient,
    separable_errors,
    toeplitz,
    weight_gradient,
)
from torchstone.parts.noise import UnscaledDropout, unscaled_dropout, weight_scaling_inference
from torchstone.parts.optimization import Curvature, HessianProduct, Lanczos, curvature, lanczos
from torchstone.parts.recurrence import LinearRNN

__all__ = [
    "Affine",
    "Curvature",
    "DepthwiseSeparableConv2d",
    "HessianProduct",
    "Lanczos",
    "LinearRNN",
    "LogLU",
    "UnscaledDropout",
    "affine_part",
    "convolve",
    "curvature",
    "input_gradient",
    "lanczos",
    "separable_errors",
    "sigmoid_to_tanh",
    "toeplitz",
    "unscaled_dropout",
    "weight_gradient",
    "weight_scaling_inference",
]
