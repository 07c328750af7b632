"""The variational bottleneck as modules: a stochastic encoder, a decoder behind it, and the two terms of the loss.

b batch, n features of the encoder's body, k units of the code.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.errors import UsageError
from torchstone.parts.bottleneck.gaussian import check_prior, deviation_of, gaussian_kl, reparameterise
from torchstone.parts.bottleneck.graph import diagram
from torchstone.parts.bottleneck.weights import check_beta
from torchstone.parts.recurrence.diagram import Diagram


class Terms(NamedTuple):
    """The two terms of the loss, each a mean over rows in nats."""

    task: Tensor
    regulariser: Tensor

    def loss(self, beta: float) -> Tensor:
        """The task's term and beta times the regulariser. Raises UsageError for beta < 0."""
        check_beta(beta)
        return self.task + beta * self.regulariser


class StochasticEncoder(nn.Module):
    """A normal code for every input: `body` (b, ..) to (b, n), then one linear layer to mean and deviation, (b, k) each.

    parameterisation: "softplus", sigma = softplus(s - 5), which begins near 0.007, or "log_variance", sigma = e^(s/2), near 1.
    Raises UsageError for sizes below 1 and another parameterisation. Sources: Alemi et al. 2017; Kingma and Welling 2014.
    """

    def __init__(self, body: nn.Module, features: int, latent: int, parameterisation: str = "softplus") -> None:
        super().__init__()
        if features < 1 or latent < 1:
            message = f"features and latent are whole numbers above 0; {features} and {latent} came"
            raise UsageError(message)
        deviation_of(torch.zeros(1), parameterisation)
        self.body, self.head = body, nn.Linear(features, 2 * latent)
        self.latent, self.parameterisation = latent, parameterisation

    def forward(
        self, input: Float[Tensor, "b *shape"]  # noqa: A002 - torch.nn's name
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
        """Mean and deviation of every input's code."""
        mean, raw = self.head(self.body(input)).chunk(2, -1)
        return mean, deviation_of(raw, self.parameterisation)


class VariationalBottleneck(nn.Module):
    """An encoder whose code is drawn, and a decoder that sees the draw alone: (b, k) to (b, classes) logits or whatever it gives.

    The prior of each unit is N(prior_mean, prior_deviation²). In training forward draws a code, in evaluation it is the mean;
    `predict` averages over draws. Raises UsageError for a prior deviation that is not above 0.
    Source: Alemi et al. 2017; final exam, question D11.
    """

    def __init__(
        self, encoder: StochasticEncoder, decoder: nn.Module, prior_mean: float = 0.0, prior_deviation: float = 1.0
    ) -> None:
        super().__init__()
        check_prior(prior_deviation)
        self.encoder, self.decoder = encoder, decoder
        self.prior_mean, self.prior_deviation = prior_mean, prior_deviation

    def forward(
        self,
        input: Float[Tensor, "b *shape"],  # noqa: A002 - torch.nn's name
        noise: Float[Tensor, "b k"] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "b *outputs"]:
        """The decoder's output for a drawn code, or for the mean in evaluation; `noise` (b, k) is what to draw with, if given."""
        mean, deviation = self.encoder(input)
        output: Tensor = self.decoder(self._code(mean, deviation, noise, generator))
        return output

    def _code(self, mean: Tensor, deviation: Tensor, noise: Tensor | None, generator: torch.Generator | None) -> Tensor:
        if noise is None:
            if not self.training:
                return mean
            noise = standard(mean.shape, mean, generator)
        return reparameterise(mean, deviation, noise)

    def terms(
        self,
        input: Float[Tensor, "b *shape"],  # noqa: A002 - torch.nn's name
        target: Int[Tensor, " b"],
        noise: Float[Tensor, "b k"] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Terms:
        """Cross-entropy of the decoder's logits, and the divergence of the codes from the prior: both means over rows, in nats.

        One sums over the units of a row as the other takes one target a row: beta then means the same at every batch and code size.
        """
        mean, deviation = self.encoder(input)
        logits = self.decoder(self._code(mean, deviation, noise, generator))
        divergence = gaussian_kl(mean, deviation, self.prior_mean, self.prior_deviation)
        return Terms(functional.cross_entropy(logits, target), divergence.mean())

    @torch.no_grad()
    def predict(
        self, input: Float[Tensor, "b *shape"], samples: int = 12, *, generator: torch.Generator | None = None  # noqa: A002
    ) -> Float[Tensor, "b classes"]:
        """Logarithms of class probabilities averaged over that many drawn codes, (b, classes).

        Raises UsageError for fewer than one sample. Source: Alemi et al. 2017, section 4.1: 12 samples.
        """
        if samples < 1:
            message = f"probabilities are averaged over one drawn code or more; samples={samples} came"
            raise UsageError(message)
        mean, deviation = self.encoder(input)
        codes = reparameterise(mean, deviation, standard((samples, *mean.shape), mean, generator))
        logits = self.decoder(codes.flatten(0, 1)).unflatten(0, (samples, len(mean)))
        return functional.log_softmax(logits, -1).logsumexp(0) - math.log(samples)

    def diagram(self) -> Diagram:
        """A block diagram of one scalar unit of the code, drawn from the graph of a draw that is really made."""
        numbers = {label: torch.ones(1, requires_grad=True) for label in ("mu", "sigma", "V ~ N(0, 1)")}
        mean, deviation, noise = numbers.values()
        code = self._code(mean, deviation, noise, None)
        return diagram("VariationalBottleneck, one unit of the code", code, numbers, "x: encoder", "decoder")


def standard(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal draws, drawn where the generator lives and moved to the device of `like`, in its type."""
    where = like.device if generator is None else generator.device
    return torch.randn(shape, generator=generator, device=where, dtype=like.dtype).to(like.device)
