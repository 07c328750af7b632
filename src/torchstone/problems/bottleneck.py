"""D11a and D11b: the reparameterised latent drawn from a running module, and which term of the loss reaches which parameters."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Drawing, Posted
from torchstone.parts.bottleneck import StochasticEncoder, VariationalBottleneck, reached
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, generator, worst

GROUPS = ("encoder", "decoder")


def _network() -> VariationalBottleneck:
    """A small bottleneck in float64 with random parameters."""
    encoder = StochasticEncoder(nn.Sequential(nn.Linear(5, 7), nn.Tanh()), 7, 1)
    model = VariationalBottleneck(encoder, nn.Linear(1, 4)).double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator(number), dtype=torch.float64))
    return model


def _terms() -> tuple[VariationalBottleneck, dict[str, Tensor]]:
    """The two terms of one batch of eight rows."""
    model, source = _network(), generator(50)
    rows, noise = (torch.randn(8, size, generator=source, dtype=torch.float64) for size in (5, 1))
    return model, model.terms(rows, torch.arange(8) % 4, noise)._asdict()


@answers("D11a")
def picture(_: Posted) -> Answer:
    """The graph of a draw that the module makes, as boxes."""
    drawn = _network().diagram()
    return Answer(
        says=("diagram: z = mu + sigma V: mu and sigma from the encoder, V ~ N(0, 1) from outside; drawn from the graph",),
        derivation=(
            "mu + sigma V is normal with mean mu and variance sigma²: the latent that was asked for",
            "the draw V has no parameter in front of it, so dz/dmu = 1 and dz/dsigma = V: gradients pass the sampling",
        ),
        evidence=proved("bottleneck.latent_moments", "bottleneck.pathwise_gradient"),
        drawings=(Drawing(drawn.title, drawn.text, drawn.svg),),
    )


def _gradients(model: VariationalBottleneck, term: Tensor, group: str) -> float:
    """The norm of a term's gradient by a group's parameters; 0 where no path leads there."""
    parameters = list(getattr(model, group).parameters())
    found = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    return float(sum(one.square().sum() for one in found if one is not None) ** 0.5)


def _agreeing() -> Iterator[Evidence]:
    """Whether a path leads there against whether a gradient gets there."""
    model, terms = _terms()
    for name, term in terms.items():
        paths = reached(term, encoder=model.encoder, decoder=model.decoder)
        for group in GROUPS:
            norm = _gradients(model, term, group)
            yield compared("bottleneck.reached", float(bool(paths[group])), float(norm > 0), how=f"{name} to the {group}")


@answers("D11b")
def reaching(_: Posted) -> Answer:
    """Autograd's graph of each term walked, and gradients beside it."""
    model, terms = _terms()
    lines = []
    for group in GROUPS:
        paths = {name: len(reached(term, **{group: getattr(model, group)})[group]) for name, term in terms.items()}
        names = " and ".join(name for name, count in paths.items() if count)
        norms = ", ".join(f"{name} {_gradients(model, term, group):.3g}" for name, term in terms.items())
        lines.append(f"{group}: gradients from {names}; their norms on a random network: {norms}")
    return Answer(
        says=tuple(lines),
        derivation=(
            "task(decoder(z), y), z = mu + sigma V: a path to the decoder's parameters, and through z to mu, sigma and the encoder",
            "KL(N(mu, sigma²) from N(0, 1)) is a function of mu and sigma alone: dKL/dmu = mu, dKL/dsigma = sigma - 1/sigma",
            "mu and sigma do not depend on the decoder, so no path leads from the regulariser to it",
        ),
        evidence=(
            *proved("bottleneck.reached", "bottleneck.kl_mean_gradient", "bottleneck.kl_deviation_gradient"),
            worst(_agreeing()),
        ),
    )
