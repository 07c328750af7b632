"""The variational bottleneck: its divergence in closed form, its draws, its gradients, and which of them reach what."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sympy
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from torchstone.core.evidence import Evidence, Relation
from torchstone.laws.bottleneck import GROUPS, TERMS
from torchstone.parts.bottleneck import (
    BetaSchedule,
    StochasticEncoder,
    VariationalBottleneck,
    deviation_of,
    gaussian_kl,
    in_bits,
    reached,
    reparameterise,
)
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

Divergence = Callable[[Tensor, Tensor, float, float], Tensor]
Drawing = Callable[[Tensor, Tensor, Tensor], Tensor]
Formula = Callable[..., Any]
ROWS = 20_000


def codes(draws: Draws, count: int) -> Iterator[tuple[Tensor, Tensor, float, float]]:
    """One-unit codes and priors: mean, deviation, prior mean, prior deviation."""
    for _ in range(count):
        deviations = (10 ** draws.uniform(-1, 0.5, 2)).tolist()
        yield draws.normal(1), torch.tensor(deviations[:1], dtype=torch.float64), draws.normal(1).item(), deviations[1]


def _named(mean: Tensor, deviation: Tensor, prior_mean: float, prior_deviation: float) -> dict[str, float]:
    return {"mean": mean.item(), "deviation": deviation.item(), "prior_mean": prior_mean, "prior_deviation": prior_deviation}


def _torch(mean: Tensor, deviation: Tensor, prior_mean: float, prior_deviation: float) -> Tensor:
    """torch.distributions' own."""
    prior = Normal(torch.full_like(mean, prior_mean), torch.full_like(mean, prior_deviation))
    return kl_divergence(Normal(mean, deviation), prior).sum(-1)


def _integrated(law: Formula) -> Iterator[Any]:
    """E over q of ln q - ln p, with the moments of V in z = mu + sigma V: E V = 0, E V² = 1."""
    mu, m = sympy.symbols("mu m", real=True)
    sigma, s = sympy.symbols("sigma s", positive=True)
    v = sympy.Symbol("v", real=True)
    difference = sympy.expand(-sympy.log(sigma) - v**2 / 2 + sympy.log(s) + (mu + sigma * v - m) ** 2 / (2 * s**2))
    moments = {2: 1, 1: 0, 0: 1}
    expected = sum(difference.coeff(v, power) * moment for power, moment in moments.items())
    yield sympy.expand(law(mu, sigma, m, s) - expected, log=True)


WRONG: dict[str, Divergence] = {
    "the other way round": lambda mean, deviation, m, s: gaussian_kl(
        torch.full_like(mean, m), torch.full_like(mean, s), mean.item(), deviation.item()
    ),
    "N(0, 1) whatever the prior": lambda mean, deviation, *_: gaussian_kl(mean, deviation),
    "variance for deviation": lambda mean, deviation, m, s: gaussian_kl(mean, deviation.square(), m, s),
    "logarithm doubled": lambda mean, deviation, m, s: gaussian_kl(mean, deviation, m, s) - (deviation / s).log().sum(-1),
    "without the half": lambda mean, deviation, m, s: gaussian_kl(mean, deviation, m, s) + 0.5,
}


@experiment("bottleneck.kl", part=gaussian_kl, mutants=WRONG, symbolic=_integrated)
def divergence(part: Divergence, draws: Draws) -> Iterator[Evidence]:
    """Random codes and priors; torch.distributions beside our part."""
    for code in codes(draws, 60):
        for function in (part, _torch) if part is gaussian_kl else (part,):
            yield held("bottleneck.kl", _named(*code), function(*code), rounding(40, 1 + 20 / code[3] ** 2))


def _ratios(mean: Tensor, deviation: Tensor, prior_mean: float, prior_deviation: float, noise: Tensor) -> Tensor:
    """Of every draw of a code ln q - ln p."""
    z = reparameterise(mean, deviation, noise)
    prior = Normal(torch.full_like(mean, prior_mean), torch.full_like(mean, prior_deviation))
    ratios: Tensor = Normal(mean, deviation).log_prob(z) - prior.log_prob(z)  # type: ignore[no-untyped-call]
    return ratios.squeeze(1)


@experiment(
    "bottleneck.sampled_kl",
    part=_ratios,
    mutants={
        "drawn from the prior": lambda mean, deviation, m, s, noise: -_ratios(
            torch.full_like(mean, m), torch.full_like(mean, s), mean.item(), deviation.item(), noise
        ),
        "N(0, 1) whatever the prior": lambda mean, deviation, _, __, noise: _ratios(mean, deviation, 0.0, 1.0, noise),
        "sign": lambda mean, deviation, m, s, noise: -_ratios(mean, deviation, m, s, noise),
        "without the mean": lambda mean, deviation, m, s, noise: _ratios(torch.full_like(mean, m), deviation, m, s, noise),
    },
    how="confidence interval, 20000 draws",
)
def sampled_kl(part: Callable[[Tensor, Tensor, float, float, Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """The mean of ln q - ln p over draws."""
    for code in codes(draws, 12):
        yield held("bottleneck.sampled_kl", _named(*code), *sampling(part(*code, draws.normal(ROWS, 1))))


@experiment(
    "bottleneck.bits",
    part=in_bits,
    mutants={
        "times ln 2": lambda nats: nats * math.log(2),
        "nats": lambda nats: nats,
        "decimal digits": lambda nats: nats / math.log(10),
    },
)
def bits(part: Callable[[Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Random divergences."""
    for nats in draws.uniform(0.1, 100, 20):
        yield held("bottleneck.bits", {"nats": nats.item()}, part(nats), rounding(4, 150))


def _by(which: int, part: Divergence, code: tuple[Tensor, Tensor, float, float]) -> Tensor:
    """The derivative by the mean (0) or the deviation (1), by autograd."""
    leaves = [one.clone().requires_grad_() for one in code[:2]]
    (found,) = torch.autograd.grad(part(leaves[0], leaves[1], *code[2:]).sum(), leaves[which])
    return found


DETACHED: dict[str, Divergence] = {
    "half of the square left out": lambda mean, deviation, m, s: 2 * gaussian_kl(mean, deviation, m, s),
    "N(0, 1) whatever the prior": WRONG["N(0, 1) whatever the prior"],
    "prior's deviation not squared": lambda mean, deviation, m, s: gaussian_kl(mean, deviation, m, math.sqrt(s)),
}


@experiment("bottleneck.kl_mean_gradient", part=gaussian_kl, mutants=DETACHED, how="autograd, float64")
def kl_mean_gradient(part: Divergence, draws: Draws) -> Iterator[Evidence]:
    """Random codes and priors."""
    for code in codes(draws, 60):
        arguments = {"mean": code[0].item(), "prior_mean": code[2], "prior_deviation": code[3]}
        yield held("bottleneck.kl_mean_gradient", arguments, _by(0, part, code), rounding(20, 4 / code[3] ** 2))


@experiment(
    "bottleneck.kl_deviation_gradient",
    part=gaussian_kl,
    mutants={**DETACHED, "variance for deviation": WRONG["variance for deviation"]},
    how="autograd, float64",
)
def kl_deviation_gradient(part: Divergence, draws: Draws) -> Iterator[Evidence]:
    """Random codes and priors."""
    for code in codes(draws, 60):
        arguments = {"deviation": code[1].item(), "prior_deviation": code[3]}
        yield held("bottleneck.kl_deviation_gradient", arguments, _by(1, part, code), rounding(40, 20 + 4 / code[3] ** 2))


@experiment(
    "bottleneck.deviation",
    part=deviation_of,
    mutants={
        "not shifted": lambda raw, how: deviation_of(raw + 5 * (how == "softplus"), how),
        "rectified": lambda raw, how: functional.relu(raw - 5) if how == "softplus" else deviation_of(raw, how),
        "variance for deviation": lambda raw, how: deviation_of(raw, how).square(),
        "logarithm of the deviation": lambda raw, how: raw.exp() if how == "log_variance" else deviation_of(raw, how),
    },
)
def deviation(part: Callable[[Tensor, str], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Numbers from -5 to 15."""
    for raw in draws.uniform(-5, 15, 40):
        for how in ("softplus", "log_variance"):
            arguments = {"raw": raw.item(), "parameterisation": how}
            yield held("bottleneck.deviation", arguments, part(raw, how), rounding(40, math.exp(raw.item() / 2) + 10))


@experiment(
    "bottleneck.latent_moments",
    part=reparameterise,
    mutants={
        "variance for deviation": lambda mean, deviation, noise: reparameterise(mean, deviation.square(), noise),
        "mean scaled too": lambda mean, deviation, noise: (mean + noise) * deviation,
        "uniform noise": lambda mean, deviation, noise: mean + deviation * (torch.erf(noise / math.sqrt(2)) + 0.5),
        "without noise": lambda mean, _, noise: mean + 0 * noise,
    },
    how="confidence interval, 20000 draws",
)
def latent_moments(part: Drawing, draws: Draws) -> Iterator[Evidence]:
    """Mean and variance of draws."""
    for mean, deviation, *_ in codes(draws, 12):
        z = part(mean, deviation, draws.normal(ROWS, 1)).squeeze(1)
        (middle, one), (spread, other) = sampling(z), sampling((z - z.mean()).square())
        arguments = {"mean": mean.item(), "deviation": deviation.item()}
        yield held("bottleneck.latent_moments", arguments, [middle, spread], max(one, other, key=lambda found: found.total))


@experiment(
    "bottleneck.pathwise_gradient",
    part=reparameterise,
    mutants={
        "deviation detached": lambda mean, deviation, noise: reparameterise(mean, deviation.detach(), noise) + 0 * deviation,
        "mean detached": lambda mean, deviation, noise: reparameterise(mean.detach(), deviation, noise) + 0 * mean,
        "noise of one sign": lambda mean, deviation, noise: reparameterise(mean, deviation, noise.abs()),
        "no path (sample for rsample)": lambda mean, deviation, noise: reparameterise(mean, deviation, noise).detach()
        + 0 * mean
        + 0 * deviation,
    },
    how="confidence interval, gradients of 20000 draws",
)
def pathwise_gradient(part: Drawing, draws: Draws) -> Iterator[Evidence]:
    """The mean over draws of the gradients of a z² + b z by mu and sigma."""
    for mean, deviation, *_ in codes(draws, 12):
        square, slope = draws.normal(2).tolist()
        leaves = [one.expand(ROWS, 1).clone().requires_grad_() for one in (mean, deviation)]
        z = part(leaves[0], leaves[1], draws.normal(ROWS, 1))
        found = [sampling(one.squeeze(1)) for one in torch.autograd.grad((square * z.square() + slope * z).sum(), leaves)]
        arguments = {"mean": mean.item(), "deviation": deviation.item(), "square": square, "slope": slope}
        tolerance = max((one for _, one in found), key=lambda one: one.total)
        yield held("bottleneck.pathwise_gradient", arguments, [value for value, _ in found], tolerance)


def network(draws: Draws, parameterisation: str = "softplus") -> VariationalBottleneck:
    """A small bottleneck in float64, its parameters drawn."""
    sizes = draws.integers(2, 5, 2)
    encoder = StochasticEncoder(nn.Sequential(nn.Linear(3, sizes[0]), nn.Tanh()), sizes[0], sizes[1], parameterisation)
    model = VariationalBottleneck(encoder, nn.Linear(sizes[1], 4)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(draws.normal(*parameter.shape))
    return model


def _reached(model: VariationalBottleneck, rows: Tensor, targets: Tensor, noise: Tensor) -> Mapping[str, Mapping[str, bool]]:
    """Of each term, whether a path of its graph leads to every parameter of a group."""
    terms = model.terms(rows, targets, noise)
    found = {name: reached(term, encoder=model.encoder, decoder=model.decoder) for name, term in terms._asdict().items()}
    every = {"encoder": set(dict(model.encoder.named_parameters())), "decoder": set(dict(model.decoder.named_parameters()))}
    return {term: {group: names == every[group] for group, names in groups.items()} for term, groups in found.items()}


def _numerically(model: VariationalBottleneck, rows: Tensor, targets: Tensor, noise: Tensor) -> Mapping[str, Mapping[str, bool]]:
    """The same by gradients that are not 0."""
    found: dict[str, dict[str, bool]] = {}
    for name, term in model.terms(rows, targets, noise)._asdict().items():
        found[name] = {}
        for group, module in (("encoder", model.encoder), ("decoder", model.decoder)):
            gradients = torch.autograd.grad(term, list(module.parameters()), retain_graph=True, allow_unused=True)
            found[name][group] = any(one is not None and bool(one.any()) for one in gradients)
    return found


Reaching = Callable[[VariationalBottleneck, Tensor, Tensor, Tensor], Mapping[str, Mapping[str, bool]]]


def _of_decoded(model: VariationalBottleneck, rows: Tensor, targets: Tensor, noise: Tensor) -> Mapping[str, Mapping[str, bool]]:
    """A regulariser of the decoder's output for the code."""
    mean, deviation = model.encoder(rows)
    output = model.decoder(reparameterise(mean, deviation, noise))
    terms = {"task": functional.cross_entropy(output, targets), "regulariser": gaussian_kl(output, torch.ones_like(output)).mean()}
    found = {name: reached(term, encoder=model.encoder, decoder=model.decoder) for name, term in terms.items()}
    return {term: {group: bool(names) for group, names in groups.items()} for term, groups in found.items()}


def _detached(model: VariationalBottleneck, rows: Tensor, targets: Tensor, noise: Tensor) -> Mapping[str, Mapping[str, bool]]:
    """A code drawn without a path: the task does not reach the encoder."""
    found = {term: dict(groups) for term, groups in _reached(model, rows, targets, noise).items()}
    mean, deviation = model.encoder(rows)
    task = functional.cross_entropy(model.decoder(reparameterise(mean, deviation, noise).detach()), targets)
    found["task"] = {group: bool(names) for group, names in reached(task, encoder=model.encoder, decoder=model.decoder).items()}
    return found


@experiment(
    "bottleneck.reached",
    part=_reached,
    mutants={
        "code drawn without a path": _detached,
        "regulariser of the decoder's output": _of_decoded,
        "terms exchanged": lambda *run: dict(zip(TERMS, reversed([_reached(*run)[term] for term in TERMS]), strict=True)),
    },
    how="exact: autograd's graph walked, and gradients beside it",
)
def reaching(part: Reaching, draws: Draws) -> Iterator[Evidence]:
    """Random small networks of both parameterisations."""
    for parameterisation in ("softplus", "log_variance") * 2:
        model = network(draws, parameterisation)
        rows, targets, noise = draws.normal(6, 3), torch.arange(6) % 4, draws.normal(6, model.encoder.latent)
        for run in (part, _numerically) if part is _reached else (part,):
            found = run(model, rows, targets, noise)
            for term in TERMS:
                for group in GROUPS:
                    yield held("bottleneck.reached", {"term": term, "group": group}, int(found[term][group]))


SAMPLES = (1, 2, 12)
Predicting = Callable[[VariationalBottleneck, Tensor, int, torch.Generator], Tensor]


def _predicted(model: VariationalBottleneck, rows: Tensor, samples: int, source: torch.Generator) -> Tensor:
    return model.predict(rows, samples, generator=source)


@experiment(
    "bottleneck.ensemble_loss",
    part=_predicted,
    mutants={
        "not summing up to 1": lambda model, rows, n, g: _predicted(model, rows, n, g) - 0.1,
        "divided by the samples twice": lambda model, rows, n, g: _predicted(model, rows, n, g) - math.log(n),
        "normalised twice": lambda model, rows, n, g: functional.log_softmax(_predicted(model, rows, n, g).exp(), -1),
        "probabilities for their logarithms": lambda model, rows, n, g: -_predicted(model, rows, n, g).exp(),
    },
    how="random networks; single samples, where both sides are one",
)
def ensemble_loss(part: Predicting, draws: Draws) -> Iterator[Evidence]:
    """Against the cross-entropies of the same draws, one by one."""
    for number, samples in enumerate(SAMPLES * 3):
        model, rows = network(draws, "log_variance"), draws.normal(8, 3)
        targets = torch.arange(8) % 4
        source = torch.Generator().manual_seed(number)
        found = part(model, rows, samples, source)[torch.arange(8), targets].neg()
        noise = torch.randn(samples, 8, model.encoder.latent, generator=source.manual_seed(number), dtype=torch.float64)
        losses = [functional.cross_entropy(model(rows, one), targets, reduction="none") for one in noise]
        for row, one in zip(torch.stack(losses, 1).tolist(), found.tolist(), strict=True):
            yield held("bottleneck.ensemble_loss", {"losses": row}, one, rounding(60, 10), Relation.AT_MOST)


@experiment(
    "bottleneck.weight",
    part=lambda step, beta, warmup, cycle: BetaSchedule(beta, warmup, cycle)(step),
    mutants={
        "at once": lambda step, beta, *_: BetaSchedule(beta)(step),
        "one cycle": lambda step, beta, warmup, _: BetaSchedule(beta, warmup)(step),
        "one step early": lambda step, beta, warmup, cycle: BetaSchedule(beta, warmup, cycle)(step + 1),
        "falling": lambda step, beta, warmup, cycle: beta - BetaSchedule(beta, warmup, cycle)(step),
    },
)
def weight(part: Callable[[int, float, int, int], float], draws: Draws) -> Iterator[Evidence]:
    """Random schedules with and without cycles."""
    for number in range(60):
        warmup, beta = draws.integer(0, 8), draws.uniform(0.1, 2, 1).item()
        step, cycle = draws.integer(0, 40), warmup + 3 if number % 2 else 0
        arguments = {"step": step, "beta": beta, "warmup": warmup, "cycle": cycle}
        yield held("bottleneck.weight", arguments, part(step, beta, warmup, cycle), rounding(4, beta))
