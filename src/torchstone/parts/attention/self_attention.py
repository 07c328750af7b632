"""Self-attention layers with nn.MultiheadAttention's parameters, whose state dict loads. Only what attends differs.

Axis letters: b batch, t positions, h heads, d features of a head, e = h d features of the layer.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.parts.attention.local import Window, local_attention, read_window


class SelfAttention(nn.Module):
    """Projections, heads and output projection of nn.MultiheadAttention around `attend`, which a subclass gives.

    Parameters, their names and their initialisation are nn.MultiheadAttention's (in_proj_weight (3 e, e), in_proj_bias, out_proj).
    Input (t, b, e), or (b, t, e) if `batch_first`, or (t, e) for one sequence; output the same. key_padding_mask (b, t) or (t,),
    bool, True = ignore. Raises UsageError for sizes that do not fit.
    """

    in_proj_bias: nn.Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        *,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            message = f"embed_dim is a multiple of num_heads, both 1 or more; {embed_dim} and {num_heads} came"
            raise UsageError(message)
        if not 0 <= dropout <= 1:
            message = f"dropout is a probability, 0 to 1; {dropout} came"
            raise UsageError(message)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim, **place))
        self.register_parameter("in_proj_bias", nn.Parameter(torch.empty(3 * embed_dim, **place)) if bias else None)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias, **place)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as nn.MultiheadAttention does; biases zero."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.out_proj.reset_parameters()
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None, *, is_causal: bool) -> Tensor:
        """The attention itself, (b, h, t, d) to (b, h, t, d)."""
        raise NotImplementedError

    def forward(
        self,
        input: Float[Tensor, "*batch_and_time e"],  # noqa: A002 - torch's name
        key_padding_mask: Bool[Tensor, "*batch t"] | None = None,
        is_causal: bool = False,  # noqa: FBT001, FBT002 - nn.MultiheadAttention's argument
    ) -> Float[Tensor, "*batch_and_time e"]:
        """Every position as a mixture of those that it sees."""
        if input.dim() not in {2, 3} or input.shape[-1] != self.embed_dim:
            message = f"an input of two or three axes, the last of {self.embed_dim}, is needed; {tuple(input.shape)} came"
            raise UsageError(message)
        batched = input.dim() == 3  # noqa: PLR2004
        turned = batched and not self.batch_first
        rows = input.transpose(0, 1) if turned else input if batched else input[None]
        ignored = key_padding_mask if batched or key_padding_mask is None else key_padding_mask[None]
        projected = functional.linear(rows, self.in_proj_weight, self.in_proj_bias)
        heads = (self.num_heads, self.embed_dim // self.num_heads)
        query, key, value = (x.view(*x.shape[:2], *heads).transpose(1, 2) for x in projected.chunk(3, -1))
        found = self.attend(query, key, value, ignored, is_causal=is_causal).transpose(1, 2).flatten(2)
        output: Tensor = self.out_proj(found)
        return output.transpose(0, 1) if turned else output if batched else output[0]

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"{self.embed_dim}, {self.num_heads}, dropout={self.dropout}, batch_first={self.batch_first}"


class LocalSelfAttention(SelfAttention):
    """nn.MultiheadAttention of a sequence with itself in which position i sees i - left .. i + right: `local_attention` inside.

    window: k for 2k + 1 positions, or (left, right). The other arguments are nn.MultiheadAttention's (`dropout` acts on the weights
    in training). Where the window covers everything the outputs are nn.MultiheadAttention's; its state dict loads.
    Raises UsageError for a window below 0. Source: Beltagy, Peters and Cohan 2020, section 3.1.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        window: Window,
        dropout: float = 0.0,
        *,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, dropout, bias=bias, batch_first=batch_first, device=device, dtype=dtype)
        self.window = read_window(window)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None, *, is_causal: bool) -> Tensor:
        """Local attention of the heads."""
        share = self.dropout if self.training else 0.0
        found: Tensor = local_attention(
            query, key, value, self.window, dropout_p=share, is_causal=is_causal, key_padding_mask=ignored
        )
        return found

    def extra_repr(self) -> str:
        """The arguments, for printing the network."""
        return f"{super().extra_repr()}, window={self.window}"
