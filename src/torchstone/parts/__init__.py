"""The systems as PyTorch objects, one file a topic."""

from torchstone.parts.activation import Affine, LogLU, sigmoid_to_tanh
from torchstone.parts.attention import (
    FeatureForecast,
    LocalSelfAttention,
    RandomFeatureSelfAttention,
    SeparableSelfAttention,
    feature_directions,
    forecast_features,
    linear_attention,
    local_attention,
    random_feature_attention,
    random_features,
    separable_attention,
)
from torchstone.parts.convolution import (
    DepthwiseSeparableConv2d,
    affine_part,
    convolve,
    input_gradient,
    separable_errors,
    toeplitz,
    weight_gradient,
)
from torchstone.parts.encoder_decoder import EncoderDecoder
from torchstone.parts.noise import UnscaledDropout, unscaled_dropout, weight_scaling_inference
from torchstone.parts.norm import Demean, LayerNorm, Normalize, demean, normalize
from torchstone.parts.optimization import Curvature, HessianProduct, Lanczos, curvature, lanczos
from torchstone.parts.recurrence import RNN, AttentionRNN, GatedRNN, LinearRNN
from torchstone.parts.transformer import TransformerDecoderLayer, TransformerEncoderLayer, residual

__all__ = [
    "RNN",
    "Affine",
    "AttentionRNN",
    "Curvature",
    "Demean",
    "DepthwiseSeparableConv2d",
    "EncoderDecoder",
    "FeatureForecast",
    "GatedRNN",
    "HessianProduct",
    "Lanczos",
    "LayerNorm",
    "LinearRNN",
    "LocalSelfAttention",
    "LogLU",
    "Normalize",
    "RandomFeatureSelfAttention",
    "SeparableSelfAttention",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "UnscaledDropout",
    "affine_part",
    "convolve",
    "curvature",
    "demean",
    "feature_directions",
    "forecast_features",
    "input_gradient",
    "lanczos",
    "linear_attention",
    "local_attention",
    "normalize",
    "random_feature_attention",
    "random_features",
    "residual",
    "separable_attention",
    "separable_errors",
    "sigmoid_to_tanh",
    "toeplitz",
    "unscaled_dropout",
    "weight_gradient",
    "weight_scaling_inference",
]
