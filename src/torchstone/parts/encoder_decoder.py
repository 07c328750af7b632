"""An encoder-decoder whose head is its word embedding, drawn so that it starts near the loss of knowing nothing.

Axis letters: b batch, s source positions, t target positions, d d_model, v num_embeddings.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.laws.initialization import tied_deviation
from torchstone.parts.transformer import Activation, TransformerDecoderLayer, TransformerEncoderLayer

__all__ = ["EncoderDecoder"]


class EncoderDecoder(nn.Module):
    """The transformer that reads one sequence of tokens and writes another; one matrix embeds the words and is the head.

    Word and position embeddings are drawn from N(0, sigma²) with sigma = initialization.tied_deviation(v, d), the widest for which
    the law of tied heads promises a first loss of at most ln v + 0.1 nats; `reset_embeddings` draws them anew, with another sigma.
    Sums of both embeddings enter unscaled.

    num_embeddings: v, the vocabulary. max_positions: of the longer of source and target. padding_idx: the token that pads both, or
    None. The other arguments are nn.Transformer's; layers are batch first, and with `norm_first` each stack ends in a
    LayerNorm. source (b, s) and target (b, t) are tokens, the output (b, t, v) the logits of each next token.
    Raises UsageError for sizes that do not fit and sequences longer than max_positions.
    Sources: Vaswani et al. 2017, sections 3.1 and 3.4; Press and Wolf 2017.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - nn.Transformer's arguments
        self,
        num_embeddings: int,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = "relu",
        layer_norm_eps: float = 1e-5,
        *,
        norm_first: bool = False,
        bias: bool = True,
        max_positions: int = 512,
        padding_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_embeddings < 2 or max_positions < 1:  # noqa: PLR2004 - one word tells nothing
            message = f"two words and one position at least are needed; {num_embeddings=} and {max_positions=} came"
            raise UsageError(message)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        layer: dict[str, Any] = {
            "d_model": d_model, "nhead": nhead, "dim_feedforward": dim_feedforward, "dropout": dropout, "activation": activation,
            "layer_norm_eps": layer_norm_eps, "batch_first": True, "norm_first": norm_first, "bias": bias, **place,
        }  # fmt: skip
        self.padding_idx = padding_idx
        self.encoder = nn.ModuleList(TransformerEncoderLayer(**layer) for _ in range(num_encoder_layers))
        self.decoder = nn.ModuleList(TransformerDecoderLayer(**layer) for _ in range(num_decoder_layers))
        norms = (nn.LayerNorm(d_model, layer_norm_eps, bias=bias, **place) if norm_first else nn.Identity() for _ in range(2))
        self.encoder_norm, self.decoder_norm = norms
        self.embedding = nn.Embedding(num_embeddings, d_model, **place)
        self.position = nn.Embedding(max_positions, d_model, **place)
        self.dropout = nn.Dropout(dropout)
        self.reset_embeddings()

    def reset_embeddings(self, deviation: float | None = None) -> None:
        """Draw both embeddings from N(0, deviation²); by default the deviation that the law of tied heads gives."""
        if deviation is None:
            deviation = tied_deviation(self.embedding.num_embeddings, self.embedding.embedding_dim)
        nn.init.normal_(self.embedding.weight, std=deviation)
        nn.init.normal_(self.position.weight, std=deviation)

    def forward(self, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        """The logits of each next token of `target`, given `source`."""
        padding = self.padding(source)
        return functional.linear(self.decode(target, self.encode(source, padding), padding), self.embedding.weight)

    def padding(self, tokens: Int[Tensor, "b s"]) -> Bool[Tensor, "b s"] | None:
        """Where a sequence is padded: what attention must not read."""
        return None if self.padding_idx is None else tokens == self.padding_idx

    def encode(self, source: Int[Tensor, "b s"], padding: Bool[Tensor, "b s"] | None = None) -> Float[Tensor, "b s d"]:
        """What each token of `source` means among the others."""
        x = self._embedded(source)
        for layer in self.encoder:
            x = layer(x, src_key_padding_mask=padding)
        normalised: Tensor = self.encoder_norm(x)
        return normalised

    def decode(
        self, target: Int[Tensor, "b t"], memory: Float[Tensor, "b s d"], padding: Bool[Tensor, "b s"] | None = None
    ) -> Float[Tensor, "b t d"]:
        """The states that the head reads. Padding ends a target, so that hiding the future hides it too."""
        x = self._embedded(target)
        for layer in self.decoder:
            x = layer(x, memory, memory_key_padding_mask=padding, tgt_is_causal=True)
        normalised: Tensor = self.decoder_norm(x)
        return normalised

    def _embedded(self, tokens: Tensor) -> Tensor:
        length, longest = tokens.shape[1], self.position.num_embeddings
        if length > longest:
            message = f"sequences of up to max_positions={longest} tokens are read; {length} came"
            raise UsageError(message)
        embedded: Tensor = self.dropout(self.embedding(tokens) + self.position.weight[:length])
        return embedded
