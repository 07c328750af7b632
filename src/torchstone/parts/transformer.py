"""The transformer's layers: attention and a feed-forward network, each with a residual sum, normalised before or after.

The state of every layer has torch.nn's names and shapes, so that weights load either way. Masks are torch.nn's too: a boolean one
is True where a position is NOT read, a floating one is added to the scores. Axis letters: b batch, t positions of the target (of
the source, in an encoder layer), s positions of the memory, d d_model, f dim_feedforward, h nhead.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.errors import UsageError

__all__ = ["TransformerDecoderLayer", "TransformerEncoderLayer", "residual"]

Activation = Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Activation] = {"relu": functional.relu, "gelu": functional.gelu}


def residual(x: Tensor, branch: Activation, norm: Activation, *, norm_first: bool) -> Tensor:
    """One residual sum: x + branch(norm(x)) with `norm_first` (pre-normalisation), else norm(x + branch(x)) (post)."""
    return x + branch(norm(x)) if norm_first else norm(x + branch(x))


class _Attention(nn.Module):
    """Multi-head attention with nn.MultiheadAttention's parameters, on scaled_dot_product_attention; batch first throughout."""

    def __init__(self, d_model: int, nhead: int, dropout: float, *, bias: bool, **place: Any) -> None:
        super().__init__()
        self.nhead, self.dropout = nhead, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * d_model, d_model, **place))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * d_model, **place)) if bias else None
        self.out_proj = nn.Linear(d_model, d_model, bias=bias, **place)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform over the three input matrices together, zero biases: nn.MultiheadAttention's choice."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor, memory: Tensor, masks: tuple[Tensor | None, Tensor | None], *, is_causal: bool) -> Tensor:
        """Queries of x (b, t, d) over the memory (b, s, d), which may be x itself; masks (t, s) or (b h, t, s), and (b, s)."""
        query, key, value = (self._by_head(part) for part in self._projected(x, memory))
        allowed, is_causal = self._allowed(masks, query, key, is_causal=is_causal)
        rate = self.dropout if self.training else 0.0
        output = functional.scaled_dot_product_attention(query, key, value, allowed, rate, is_causal)
        mixed: Tensor = self.out_proj(output.transpose(1, 2).flatten(2))
        return mixed

    def _projected(self, x: Tensor, memory: Tensor) -> tuple[Tensor, ...]:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if memory is x:  # one product for all three
            return functional.linear(x, weight, bias).chunk(3, -1)
        width = x.shape[-1]
        first, others = (None, None) if bias is None else (bias[:width], bias[width:])
        query = functional.linear(x, weight[:width], first)
        return query, *functional.linear(memory, weight[width:], others).chunk(2, -1)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.nhead, x.shape[2] // self.nhead).transpose(1, 2)  # (b, h, t, d / h)

    def _allowed(
        self, masks: tuple[Tensor | None, Tensor | None], query: Tensor, key: Tensor, *, is_causal: bool
    ) -> tuple[Tensor | None, bool]:
        """scaled_dot_product_attention's attn_mask and is_causal, which exclude each other, from torch.nn's masks and its hint."""
        mask, padding = masks
        if is_causal and padding is None:  # the mask, if there is one, says the same: the kernel without a mask is the fast one
            return None, True
        if is_causal and mask is None:
            mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).triu(1)
        if mask is not None and mask.dim() == 3:  # noqa: PLR2004 - one for each head
            mask = mask.reshape(-1, self.nhead, *mask.shape[1:])
        if padding is not None:
            padding = padding[:, None, None, :]
        given = [one for one in (mask, padding) if one is not None]
        if all(one.dtype == torch.bool for one in given):
            hidden = [~one for one in given]
            return (hidden[0] & hidden[-1] if hidden else None), False
        added = [_added(one, query.dtype) for one in given]
        return sum(added[1:], added[0]), False


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)


class _Layer(nn.Module):
    """What encoder and decoder layers have in common: nn.TransformerEncoderLayer's arguments and the feed-forward network."""

    def __init__(  # noqa: PLR0913, PLR0917 - nn.TransformerEncoderLayer's arguments
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,  # noqa: FBT001, FBT002
        norm_first: bool = False,  # noqa: FBT001, FBT002
        bias: bool = True,  # noqa: FBT001, FBT002
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if min(d_model, nhead, dim_feedforward) < 1 or d_model % nhead:
            message = f"sizes are 1 or more and nhead divides d_model; d_model={d_model}, nhead={nhead}, {dim_feedforward=} came"
            raise UsageError(message)
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            message = f"activation is a function, or one of {', '.join(_ACTIVATIONS)}; {activation!r} came"
            raise UsageError(message)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.batch_first, self.norm_first = batch_first, norm_first
        self.self_attn = _Attention(d_model, nhead, dropout, bias=bias, **place)
        self.linear1 = nn.Linear(d_model, dim_feedforward, bias=bias, **place)
        self.linear2 = nn.Linear(dim_feedforward, d_model, bias=bias, **place)
        # torch's fused kernel; parts.LayerNorm is the same function taken apart, and loads the same state.
        self.norm1 = nn.LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.norm2 = nn.LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.dropout = nn.Dropout(dropout)

    def _batch_first(self, x: Tensor) -> Tensor:
        """(b, t, d), of whatever layout."""
        if x.dim() not in {2, 3} or x.shape[-1] != self.linear1.in_features:
            message = f"an input of two or three axes, the last of {self.linear1.in_features}, is needed; {tuple(x.shape)} came"
            raise UsageError(message)
        if x.dim() == 2:  # noqa: PLR2004 - without a batch
            return x.unsqueeze(0)
        return x if self.batch_first else x.transpose(0, 1)

    def _as_came(self, output: Tensor, x: Tensor) -> Tensor:
        if x.dim() == 2:  # noqa: PLR2004 - without a batch
            return output.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1)

    def _sum(self, x: Tensor, branch: Activation, norm: Activation) -> Tensor:
        return residual(x, lambda y: self.dropout(branch(y)), norm, norm_first=self.norm_first)

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return hidden

    def extra_repr(self) -> str:
        """What the sub-modules do not say."""
        return f"batch_first={self.batch_first}, norm_first={self.norm_first}"


def _paddings(padding: Tensor | None, x: Tensor) -> Tensor | None:
    """A padding mask (b, t), also for an input without a batch."""
    return padding if padding is None or x.dim() == 3 else padding.unsqueeze(0)  # noqa: PLR2004


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a feed-forward network: nn.TransformerEncoderLayer's arguments, state and numbers.

    d_model .. dtype: as nn.TransformerEncoderLayer's. With `norm_first` each sub-layer reads a normalised stream (pre: the stack
    needs one more LayerNorm behind it), else each sum is normalised (post). Input and output: (t, b, d), (b, t, d) if
    `batch_first`, or (t, d). A position that may read none adds out_proj.bias alone.
    Raises UsageError for sizes that do not fit. Sources: Vaswani et al. 2017, section 3.1; Xiong et al. 2020, figure 1.
    """

    def forward(
        self,
        src: Float[Tensor, "*bt d"],
        src_mask: Bool[Tensor, "*h t t"] | Float[Tensor, "*h t t"] | None = None,
        src_key_padding_mask: Bool[Tensor, "*b t"] | Float[Tensor, "*b t"] | None = None,
        is_causal: bool = False,  # noqa: FBT001, FBT002 - torch's arguments
    ) -> Float[Tensor, "*bt d"]:
        """The layer's output. `is_causal` alone is enough for a causal mask; with `src_mask` it says that this is one."""
        masks = (src_mask, _paddings(src_key_padding_mask, src))

        def attend(y: Tensor) -> Tensor:
            attended: Tensor = self.self_attn(y, y, masks, is_causal=is_causal)
            return attended

        x = self._sum(self._batch_first(src), attend, self.norm1)
        return self._as_came(self._sum(x, self._feed_forward, self.norm2), src)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention over a memory, feed-forward network: nn.TransformerDecoderLayer's arguments, state and numbers.

    Everything as in TransformerEncoderLayer, with `multihead_attn` and `norm3` besides. The self-attention is causal only if
    `tgt_is_causal` or `tgt_mask` says so. Raises UsageError for sizes that do not fit.
    Source: Vaswani et al. 2017, section 3.1.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - nn.TransformerDecoderLayer's arguments
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,  # noqa: FBT001, FBT002
        norm_first: bool = False,  # noqa: FBT001, FBT002
        bias: bool = True,  # noqa: FBT001, FBT002
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype
        )
        self.multihead_attn = _Attention(d_model, nhead, dropout, bias=bias, device=device, dtype=dtype)
        self.norm3 = nn.LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

    def forward(
        self,
        tgt: Float[Tensor, "*bt d"],
        memory: Float[Tensor, "*bs d"],
        tgt_mask: Bool[Tensor, "*h t t"] | Float[Tensor, "*h t t"] | None = None,
        memory_mask: Bool[Tensor, "*h t s"] | Float[Tensor, "*h t s"] | None = None,
        tgt_key_padding_mask: Bool[Tensor, "*b t"] | Float[Tensor, "*b t"] | None = None,
        memory_key_padding_mask: Bool[Tensor, "*b s"] | Float[Tensor, "*b s"] | None = None,
        tgt_is_causal: bool = False,  # noqa: FBT001, FBT002
        memory_is_causal: bool = False,  # noqa: FBT001, FBT002
    ) -> Float[Tensor, "*bt d"]:
        """The layer's output; `memory` comes in the layout of `tgt`."""
        encoded = self._batch_first(memory)
        own = (tgt_mask, _paddings(tgt_key_padding_mask, tgt))
        others = (memory_mask, _paddings(memory_key_padding_mask, memory))

        def attend(y: Tensor) -> Tensor:
            attended: Tensor = self.self_attn(y, y, own, is_causal=tgt_is_causal)
            return attended

        def read(y: Tensor) -> Tensor:
            attended: Tensor = self.multihead_attn(y, encoded, others, is_causal=memory_is_causal)
            return attended

        x = self._sum(self._batch_first(tgt), attend, self.norm1)
        x = self._sum(x, read, self.norm2)
        return self._as_came(self._sum(x, self._feed_forward, self.norm3), tgt)
