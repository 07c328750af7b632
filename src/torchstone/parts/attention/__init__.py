"""Attention whose cost is linear in the sequence: near positions only, two soft-maxes apart, features of a kernel."""

from torchstone.parts.attention.features import feature_directions, random_features
from torchstone.parts.attention.forecast import FeatureForecast, forecast_features
from torchstone.parts.attention.linear import linear_attention, random_feature_attention, separable_attention
from torchstone.parts.attention.local import local_attention
from torchstone.parts.attention.modules import RandomFeatureSelfAttention, SeparableSelfAttention
from torchstone.parts.attention.self_attention import LocalSelfAttention

__all__ = [
    "FeatureForecast",
    "LocalSelfAttention",
    "RandomFeatureSelfAttention",
    "SeparableSelfAttention",
    "feature_directions",
    "forecast_features",
    "linear_attention",
    "local_attention",
    "random_feature_attention",
    "random_features",
    "separable_attention",
]
