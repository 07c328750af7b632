"""Untrained softmax heads of torch against the laws of the first loss. Axis letters: b rows, v classes, d width."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.quantity import EXACT, Amount, Tolerance
from torchstone.laws.initialization import copied_logit as copied_logit_law
from torchstone.laws.initialization import freezing_spread as freezing
from torchstone.laws.initialization import softmax_cross_entropy as first_loss
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling
from torchstone.proofs.symbols import symbolically

Head = Callable[[Tensor, Tensor], Tensor]
Formula = Callable[..., Any]


def normalised_head(state: Tensor, weight: Tensor) -> Tensor:
    """Logits of a head that reads a normalised state: (b, d), (v, d) -> (b, v)."""
    return functional.linear(functional.layer_norm(state, state.shape[-1:]), weight)


@experiment(
    "initialization.head_spread",
    part=normalised_head,
    mutants={
        "state not normalised": functional.linear,
        "over sqrt(d)": lambda x, w: normalised_head(x, w) / math.sqrt(w.shape[1]),
        "half the width": lambda x, w: normalised_head(x[:, ::2], w[:, ::2]),
        "dropout before the head": lambda x, w: normalised_head(x, 2 * w * (w.roll(1) > 0)),
        "weights normalised too": lambda x, w: normalised_head(x, functional.normalize(w)),
    },
)
def head_spread(part: Head, draws: Draws) -> Iterator[Evidence]:
    """Classes are the independent draws: each one's logits over all rows, squared, are a sample of the variance."""
    for width in [64, 256, *draws.integers(32, 512, 6)]:
        deviation = draws.uniform(0.01, 2, 1).item()
        states = draws.uniform(1.5, 4, 1) * draws.normal(16, width)
        logits = part(states, deviation * draws.normal(600, width))
        variance, drawn = sampling(logits.square().mean(0))
        spread = math.sqrt(variance)
        tolerance = Tolerance(sampling=Amount(drawn.total / (2 * spread), f"{drawn.sampling.reason}, of the variance, over 2 s"))
        yield held("initialization.head_spread", {"deviation": deviation, "width": width}, spread, tolerance)


def picked(draws: Tensor, spread: float) -> Tensor:
    """The logit that the softmax itself picks, over the spread, a row: (b, v) draws of spread 1 -> (b,)."""
    return ((spread * draws).softmax(1) * draws).sum(1)


def largest_lies_lower(classes: int) -> Amount:
    """By how much, in spreads, the mean of the largest of v Gaussians misses sqrt(2 ln v), at most."""
    below = (math.log(math.log(classes)) + math.log(4 * math.pi)) / (2 * freezing(classes))
    return Amount(below, "finite v: (ln ln v + ln 4 pi) / 2 sqrt(2 ln v); Cramer 1946, 28.6")


@experiment(
    "initialization.freezing_spread",
    part=picked,
    mutants={
        "softmax over rows": lambda z, s: ((s * z).softmax(0) * z).sum(1),
        "no softmax": lambda z, s: z.mean(1) + 0 * s,
        "smallest logit": lambda z, s: ((-s * z).softmax(1) * z).sum(1),
        "spread divided out": lambda z, s: picked(z, s / s),
        "heavy tails": lambda z, s: picked(z**3, s),
    },
    how="many spreads, reached at the largest",
)
def freezing_spread(part: Callable[[Tensor, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """The slope of the free energy never passes the freezing spread, and nears it once the softmax is frozen."""
    name = "initialization.freezing_spread"
    for classes in [100, 1000, *draws.integers(50, 3000, 2)]:
        z = draws.normal(200, classes)
        for share in (0.1, 0.5, 1.0, 2.0, 8.0):
            mean, drawn = sampling(part(z, share * freezing(classes)))
            yield held(name, {"classes": classes}, mean, drawn, Relation.AT_MOST)
        near = Tolerance(largest_lies_lower(classes), drawn.sampling)
        yield held(name, {"classes": classes}, mean, near)


# What the law's own docstring allows its two branches, by the share of the freezing spread: nats below it, a part beyond it.
BEFORE = Amount(0.11, "ln v + s^2/2 up to half the freezing spread, in nats")
BEYOND = 0.05


def branches(share: float, law: float) -> Amount:
    """The model error of softmax_cross_entropy at a share of the freezing spread where its docstring bounds it."""
    return BEFORE if share <= 0.5 else Amount(BEYOND * law, "5 %: the largest logit alone, from twice the freezing spread")  # noqa: PLR2004


def entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy a row."""
    return functional.cross_entropy(logits, targets, reduction="none")


@experiment(
    "initialization.softmax_cross_entropy",
    part=entropies,
    mutants={
        "temperature 1/2": lambda x, t: entropies(2 * x, t),
        "probabilities as logits": lambda x, t: entropies(x.softmax(1), t),
        "base 2": lambda x, t: entropies(x, t) / math.log(2),
        "targets from the logits": lambda x, t: entropies(x, x.argmax(1)) + 0 * t,
        "logits normalised": lambda x, t: entropies(functional.layer_norm(x, x.shape[1:]), t),
    },
)
def softmax_cross_entropy(part: Head, draws: Draws) -> Iterator[Evidence]:
    """Gaussian logits on either side of freezing, where the law says how near it is: not between one and two."""
    name = "initialization.softmax_cross_entropy"
    for classes in [10, 1000, *draws.integers(20, 2000, 2)]:
        for share in [0.0, 0.25, 0.5, 2.0, draws.uniform(2, 4, 1).item()]:
            spread = share * freezing(classes)
            targets = torch.randint(classes, (400,), generator=draws.generator)
            mean, drawn = sampling(part(spread * draws.normal(400, classes), targets))
            tolerance = Tolerance(branches(share, first_loss(classes, spread)), drawn.sampling)
            yield held(name, {"classes": classes, "spread": spread}, mean, tolerance)


@experiment(
    "initialization.gaussian_free_energy",
    part=torch.logsumexp,
    mutants={
        "mean for sum": lambda x, d: x.logsumexp(d) - math.log(x.shape[d]),
        "largest alone": lambda x, d: x.amax(d),
        "without the largest": lambda x, d: x.sort(d).values[:, :-1].logsumexp(d),
        "over rows": lambda x, d: x.logsumexp(1 - d),
    },
)
def gaussian_free_energy(part: Callable[[Tensor, int], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Gaussian logits of every spread: the quadrature is to be right where softmax_cross_entropy is not, too."""
    for classes, share in [(10, 0.5), (200, 1.0), (1000, 1.5), (100, 4.0)]:
        # Half the points: a quadrature of smooth functions has converged by then, far below the sampling error.
        spread = share * freezing(classes)
        drawn = sampling(part(spread * draws.normal(800, classes), 1))
        yield held("initialization.gaussian_free_energy", {"classes": classes, "spread": spread, "points": 200}, *drawn)


Tied = Callable[[Tensor, Tensor, Tensor], Tensor]


def tied_head(embedding: Tensor, tokens: Tensor, block: Tensor) -> Tensor:
    """A residual model whose head is its embedding: (v, d), (b), (b, d) -> (b, v) logits."""
    state = functional.embedding(tokens, embedding) + block
    return functional.linear(functional.rms_norm(state, state.shape[-1:]), embedding)


def own(logits: Tensor, tokens: Tensor) -> Tensor:
    """The logit of the token just read, a row."""
    return logits.gather(1, tokens[:, None]).squeeze(1)


TIED = {
    "untied": lambda e, t, x: functional.linear(functional.rms_norm(e[t] + x, e.shape[1:]), e.flip(0)),
    "state not normalised": lambda e, t, x: functional.linear(2 * (e[t] + x), e),
    "head over sqrt(d)": lambda e, t, x: tied_head(e, t, x) / math.sqrt(e.shape[1]),
    "no residual": lambda e, t, x: tied_head(e, 0 * t, x),
    "rows one off": lambda e, t, x: tied_head(e, (t + 1) % len(e), x),
}


@experiment("initialization.copied_logit", part=tied_head, mutants=TIED)
def copied_logit(part: Tied, draws: Draws) -> Iterator[Evidence]:
    """Embeddings of every deviation, blocks from nothing to four times the embedding."""
    for width in [64, 128, *draws.integers(48, 256, 4)]:
        deviation, share = draws.uniform(0.02, 1, 1).item(), draws.uniform(0, 4, 1).item()
        embedding, tokens = deviation * draws.normal(300, width), torch.arange(200)
        block = share * deviation * draws.normal(200, width)
        alignment = functional.cosine_similarity(embedding[:200] + block, embedding[:200]).mean().item()
        mean, drawn = sampling(own(part(embedding, tokens, block), tokens))
        norms = Amount(deviation, "the norm of a row is sigma sqrt(d) to a part of 1/d, and so is its share in the cosine")
        arguments = {"alignment": alignment, "deviation": deviation, "width": width}
        yield held("initialization.copied_logit", arguments, mean, Tolerance(norms, drawn.sampling))


def aligned_symbols(law: Formula) -> Iterator[Any]:
    """The copied logit of a state along its own embedding, where the others have spread 1."""
    d = sympy.Symbol("d", integer=True, positive=True)
    yield law(d) - symbolically(copied_logit_law)(1, 1 / law(d), d)


@experiment("initialization.copied_logit_bound", part=tied_head, mutants=TIED, symbolic=aligned_symbols)
def copied_logit_bound(part: Tied, draws: Draws) -> Iterator[Evidence]:
    """Rows of norm 1 (the other logits have spread 1): random blocks, blocks that ascent has chosen, and none, which reaches it."""
    name = "initialization.copied_logit_bound"
    for width in [16, 64, *draws.integers(8, 128, 8)]:
        embedding, tokens = functional.normalize(draws.normal(40, width)), torch.arange(30)
        tolerance = rounding(2 * width + 10, math.sqrt(width))
        start = draws.normal(30, width) / math.sqrt(width)
        for block in (start, most_copied(part, embedding, tokens, start)):
            largest = own(part(embedding, tokens, block), tokens).amax()
            yield held(name, {"width": width}, largest, tolerance, Relation.AT_MOST)
        yield held(name, {"width": width}, own(part(embedding, tokens, 0 * start), tokens).amin(), tolerance)


def most_copied(part: Tied, embedding: Tensor, tokens: Tensor, start: Tensor) -> Tensor:
    """The block outputs that ascent finds to copy one of the tokens most."""
    return adversarial(lambda block: own(part(embedding, tokens, block), tokens).amax(), start, steps=15, rate=0.5)


def copying_symbols(law: Formula) -> Iterator[Any]:
    """On either side of ln 8 + 1/2, where a head of eight classes and spread 1 starts."""
    gap, spread = sympy.Symbol("g", positive=True), sympy.Integer(1)
    apart = sympy.log(8) + spread / 2
    for copied in (apart - gap, apart + gap):
        yield sympy.exp(law(8, spread, copied)) - sympy.exp(copied) - sympy.exp(apart)


@experiment(
    "initialization.copying_cross_entropy",
    part=entropies,
    mutants={
        "temperature 1/2": lambda x, t: entropies(2 * x, t),
        "token just read masked out": lambda x, t: entropies(x[:, 1:], t - 1),
        "token just read as target": lambda x, t: entropies(x, 0 * t),
        "base 2": lambda x, t: entropies(x, t) / math.log(2),
        "token just read counted twice": lambda x, t: entropies(torch.cat([x, x[:, :1]], 1), t),
    },
    symbolic=copying_symbols,
)
def copying_cross_entropy(part: Head, draws: Draws) -> Iterator[Evidence]:
    """Class 0 is the token just read, and never the target: below, at and above all others together."""
    name = "initialization.copying_cross_entropy"
    for classes in [1000, *draws.integers(100, 2000, 3)]:
        for above in (-2.0, 0.0, 2.0, 10.0):
            spread = draws.uniform(0, 0.5, 1).item() * freezing(classes)
            copied = first_loss(classes, spread) + above
            logits = torch.cat([torch.full((300, 1), copied, dtype=torch.float64), spread * draws.normal(300, classes)], 1)
            mean, drawn = sampling(part(logits, torch.randint(1, classes + 1, (300,), generator=draws.generator)))
            arguments = {"classes": classes, "spread": spread, "copied": copied}
            yield held(name, arguments, mean, Tolerance(BEFORE, drawn.sampling))


def widest(part: Tied, draws: Draws, classes: int, width: int, excess: float) -> float:
    """The largest deviation, to a thousandth, at which copied states start at most `excess` above ln v: by halving, on one draw."""
    drawn, tokens = draws.normal(classes, width), torch.arange(min(classes, 100))
    low, high = 0.0, 4 / math.sqrt(width)
    while high - low > high / 1000:
        middle = (low + high) / 2
        logits = part(middle * drawn, tokens, torch.zeros(len(tokens), width, dtype=drawn.dtype))
        # The mean over targets that know nothing of the logits.
        above = (logits.logsumexp(1) - logits.mean(1)).mean().item() - math.log(classes)
        low, high = (middle, high) if above <= excess else (low, middle)
    return high


@experiment(
    "initialization.tied_deviation",
    part=tied_head,
    mutants={
        "state not normalised": lambda e, t, x: functional.linear(e[t] + x, e) * e.shape[1],
        "temperature 1/2": lambda e, t, x: 2 * tied_head(e, t, x),
        "head times sqrt(d)": lambda e, t, x: tied_head(e, t, x) * math.sqrt(e.shape[1]),
    },
    how="random + worst state",
)
def tied_deviation(part: Tied, draws: Draws) -> Iterator[Evidence]:
    """The state that copies most is the embedding itself: even so no less than the law's deviation stays within the excess."""
    name = "initialization.tied_deviation"
    drawn = zip(draws.integers(50, 1000, 2), draws.integers(16, 256, 2), strict=True)
    for classes, width in [(446, 64), (2000, 32), (30, 16), (1000, 256), *drawn]:
        for excess in (0.1, 0.5):
            arguments = {"classes": classes, "width": width, "excess": excess}
            found = widest(part, draws, classes, width, excess)
            yield held(name, arguments, found, EXACT, Relation.AT_LEAST)


def fall(gradients: Tensor) -> Tensor:
    """What the layers' gradients promise a step of size 1, added up in the gradients' own format: (l,) -> ()."""
    total: Tensor = torch.dot(gradients, gradients)
    return total


def least_seen(part: Callable[[Tensor], Tensor], large: Tensor) -> float:
    """The least share of another layer's gradient that changes the fall at all."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        both = torch.stack([large, middle * large])
        low, high = (low, middle) if bool(part(both) != part(both * torch.tensor([1, 0]))) else (middle, high)
    return high


@experiment(
    "initialization.lost_layer",
    part=fall,
    mutants={
        "absolute values": lambda g: g.abs().sum(),
        "in float64": lambda g: g.double().square().sum(),
        "cubes' root": lambda g: (g.double() ** 3).sum() ** (1 / 3),
    },
    how="bisection, random gradients",
)
def lost_layer(part: Callable[[Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """The fall of the loss, in float32, by two layers: the smaller must have sqrt(eps)/2 of the larger to be seen in it."""
    resolution = torch.finfo(torch.float32).eps
    for number in [torch.tensor(1.0), *draws.uniform(0.1, 8.0, 12)]:
        share = least_seen(part, number.float())
        yield held("initialization.lost_layer", {"resolution": resolution}, share, rounding(1, resolution), Relation.AT_LEAST)
