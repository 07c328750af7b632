"""Self-attention layers around the linear forms, with nn.MultiheadAttention's parameters."""

from typing import Any

import torch
from torch import Tensor

from torchstone.core.errors import UsageError
from torchstone.parts.attention.features import FeatureKind, direction_count, feature_directions
from torchstone.parts.attention.linear import random_feature_attention, separable_attention
from torchstone.parts.attention.self_attention import SelfAttention


class SeparableSelfAttention(SelfAttention):
    """nn.MultiheadAttention of a sequence with itself, with `separable_attention` in place of the soft-max over pairs.

    embed_dim .. dtype: nn.MultiheadAttention's, without dropout: there are no weights of pairs to drop; its state dict loads. There
    is no causal form. Raises UsageError where num_heads does not divide embed_dim, and for is_causal. Source: Shen et al. 2021.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, bias=bias, batch_first=batch_first, device=device, dtype=dtype)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None, *, is_causal: bool) -> Tensor:
        """Separable attention of the heads."""
        if is_causal:
            message = "separable attention has no causal form: each column's soft-max is over all keys; is_causal=True came"
            raise UsageError(message)
        found: Tensor = separable_attention(query, key, value, key_padding_mask=ignored)
        return found


class RandomFeatureSelfAttention(SelfAttention):
    """nn.MultiheadAttention of a sequence with itself, with `random_feature_attention` in place of the soft-max.

    embed_dim .. dtype: nn.MultiheadAttention's, without dropout; its state dict loads with strict=False, as only the directions are
    not in it. features, kind, orthogonal: random_feature_attention's. generator (of `device`) draws the directions, a buffer that
    the state dict has; `redraw(generator)` draws others, as one does from time to time in training.
    Raises UsageError where num_heads does not divide embed_dim, and for features that the kind cannot have.
    Source: Choromanski et al. 2021.
    """

    directions: Tensor

    def __init__(  # noqa: PLR0913 - nn.MultiheadAttention's arguments, and what draws the features
        self,
        embed_dim: int,
        num_heads: int,
        *,
        features: int = 256,
        kind: FeatureKind = "positive",
        orthogonal: bool = True,
        generator: torch.Generator | None = None,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, bias=bias, batch_first=batch_first, device=device, dtype=dtype)
        self.features, self.kind, self.orthogonal = features, kind, orthogonal
        count, place = direction_count(features, kind), {"device": device, "dtype": dtype}
        drawn = feature_directions(count, embed_dim // num_heads, orthogonal=orthogonal, generator=generator, **place)  # type: ignore[arg-type]
        self.register_buffer("directions", drawn)

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Draw new directions in place; `generator` is of their device."""
        count, width = self.directions.shape
        place: dict[str, Any] = {"device": self.directions.device, "dtype": self.directions.dtype}
        self.directions.copy_(feature_directions(count, width, orthogonal=self.orthogonal, generator=generator, **place))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None, *, is_causal: bool) -> Tensor:
        """Random-feature attention of the heads."""
        found: Tensor = random_feature_attention(
            query, key, value,
            features=self.features, kind=self.kind, is_causal=is_causal, key_padding_mask=ignored, directions=self.directions,
        )  # fmt: skip
        return found

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"{super().extra_repr()}, features={self.features}, kind={self.kind!r}"
