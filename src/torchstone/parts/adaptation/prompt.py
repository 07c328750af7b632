"""Soft prompts: trainable vectors in front of embedded inputs."""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from torchstone.core.errors import UsageError


class SoftPrompt(nn.Module):
    """n trainable vectors of width d in front of embedded inputs: (b, t, d) to (b, n + t, d), for any model that takes them.

        prompt = SoftPrompt(5, model.config.hidden_size)
        embedded = prompt(model.get_input_embeddings()(tokens))
        model(inputs_embeds=embedded, attention_mask=prompt.extend(mask, 1), labels=prompt.extend(labels, -100))

    The vectors are drawn from N(0, std²); `from_embedding` begins with embeddings of tokens. Freezing the model is its owner's:
    `model.requires_grad_(False)`. Raises UsageError for sizes below 1 and an std below 0.
    Source: Lester, Al-Rfou and Constant 2021, section 2.

    >>> SoftPrompt(5, 16)(torch.zeros(2, 7, 16)).shape
    torch.Size([2, 12, 16])
    """

    def __init__(
        self,
        tokens: int,
        hidden: int,
        std: float = 0.02,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in (tokens, hidden)):
            message = f"a soft prompt has one vector or more, of width 1 or more; {tokens!r} and {hidden!r} came"
            raise UsageError(message)
        if not 0 <= std < math.inf:
            message = f"a soft prompt is drawn with a finite standard deviation of 0 or more; std={std!r} came"
            raise UsageError(message)
        self.prompt = nn.Parameter(torch.empty(tokens, hidden, device=device, dtype=dtype).normal_(0.0, std))

    @classmethod
    def from_embedding(cls, embedding: nn.Embedding, tokens: Shaped[Tensor, "n"] | list[int]) -> "SoftPrompt":
        """A soft prompt that begins as copies of these tokens' embeddings (n whole numbers), in the embedding's dtype and device.

        Raises UsageError for no token, and for one that the embedding does not have.
        """
        chosen = torch.as_tensor(tokens)
        least, most = (int(chosen.min()), int(chosen.max())) if chosen.dim() == 1 and len(chosen) else (-1, -1)
        if chosen.is_floating_point() or least < 0 or most >= embedding.num_embeddings:
            message = f"tokens are whole numbers from 0 to {embedding.num_embeddings - 1}, one or more; {chosen.tolist()} came"
            raise UsageError(message)
        weight = embedding.weight.detach()
        made = cls(len(chosen), embedding.embedding_dim, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            made.prompt.copy_(weight[chosen.to(weight.device)])
        return made

    def forward(self, embedded: Float[Tensor, "b t d"]) -> Float[Tensor, "b t_with_prompt d"]:
        """The prompt, then the embedded inputs. Raises UsageError for inputs of another width."""
        if embedded.dim() != 3 or embedded.shape[-1] != self.prompt.shape[1]:  # noqa: PLR2004 - batch, positions, width
            message = f"embedded inputs are (batch, positions, {self.prompt.shape[1]}); {tuple(embedded.shape)} came"
            raise UsageError(message)
        return torch.cat([self.prompt.to(embedded.dtype).expand(len(embedded), -1, -1), embedded], 1)

    def extend(self, rows: Shaped[Tensor, "b t"], fill: float) -> Shaped[Tensor, "b t_with_prompt"]:
        """Masks or labels for the longer inputs: `fill` for the prompt's positions, then what came.

        fill: 1 (or True) for a mask of positions to see, False for nn.MultiheadAttention's key_padding_mask (True = ignore), and
        -100 for labels of a cross-entropy.
        """
        return torch.cat([rows.new_full((len(rows), len(self.prompt)), fill), rows], 1)

    def extra_repr(self) -> str:
        """The sizes, for printing the network."""
        return f"tokens={self.prompt.shape[0]}, hidden={self.prompt.shape[1]}"
