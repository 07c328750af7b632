"""Torch's softmax against what depends on differences only, and against its limits."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence, Relation
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Softmax = Callable[[Tensor], Tensor]
Scaled = Callable[[Tensor, float], Tensor]
SIZES = (1, 2, 3, 7, 30)


def torch_softmax(logits: Tensor) -> Tensor:
    """Over the last axis."""
    return functional.softmax(logits, dim=-1)


def scaled_softmax(logits: Tensor, scale: float) -> Tensor:
    """The softmax of scale times the logits."""
    return functional.softmax(scale * logits, dim=-1)


def _shares(logits: list[Any], shift: Any = 0) -> list[Any]:
    return [sympy.exp(one + shift) / sum(sympy.exp(other + shift) for other in logits) for one in logits]


def _two_class_identity(formula: Callable[..., Any]) -> Iterator[Any]:
    z0, z1 = sympy.symbols("z0 z1", real=True)
    yield 1 / (1 + sympy.exp(-formula(z0, z1))) - _shares([z0, z1])[0]


@experiment(
    "activation.two_class_logit",
    part=torch_softmax,
    mutants={
        "probability of class 1": lambda z: torch_softmax(z).flip(-1),
        "temperature 2": lambda z: torch_softmax(z / 2),
        "each class by its own sigmoid": torch.sigmoid,
    },
    symbolic=_two_class_identity,
)
def two_class_logit(part: Softmax, draws: Draws) -> Iterator[Evidence]:
    """The logit of the probability that softmax gives class 0."""
    for logits in [*(3 * draws.normal(100, 2)), torch.zeros(2, dtype=torch.float64)]:
        z0, z1 = logits.tolist()
        # 1 - p loses digits where p is close to 1
        tolerance = rounding(8, 1 + abs(z0) + abs(z1) + math.exp(abs(z0 - z1)))
        yield held("activation.two_class_logit", {"z0": z0, "z1": z1}, torch.logit(part(logits)[0]), tolerance)


def _differences_identity(formula: Callable[..., Any]) -> Iterator[Any]:
    logits = list(sympy.symbols("x1:4", real=True))
    for ours, share in zip(formula(logits), _shares(logits), strict=True):
        yield ours - share


@experiment(
    "activation.softmax_of_differences",
    part=torch_softmax,
    mutants={
        "sums instead of shares": torch.exp,
        "differences halved": lambda x: torch_softmax((x - x[:1]) / 2),
        "the first class left out": lambda x: torch_softmax(x - x[:1]).index_fill(0, torch.tensor(0), 0.0),
    },
    symbolic=_differences_identity,
)
def softmax_of_differences(part: Softmax, draws: Draws) -> Iterator[Evidence]:
    """Rows of 1 to 30 logits."""
    for classes in SIZES * 10:
        logits = 3 * draws.normal(classes)
        tolerance = rounding(8 + classes, 1 + logits.abs().max().item())
        yield held("activation.softmax_of_differences", {"logits": logits.tolist()}, part(logits), tolerance)


def _translated_identity(formula: Callable[..., Any]) -> Iterator[Any]:
    logits, shift = list(sympy.symbols("x1:4", real=True)), sympy.Symbol("c", real=True)
    for ours, share in zip(formula(logits, shift), _shares(logits, shift), strict=True):
        yield ours - share


@experiment(
    "activation.translated_softmax",
    part=torch_softmax,
    mutants={
        "the maximum not subtracted": lambda x: x.exp() / x.exp().sum(),
        "the mean instead of the exponential": lambda x: x / x.sum(),
        "a class of logit 0 beside": lambda x: torch_softmax(torch.cat([x, x.new_zeros(1)]))[:-1],
        "single precision": lambda x: torch_softmax(x.float()),
    },
    symbolic=_translated_identity,
)
def translated_softmax(part: Softmax, draws: Draws) -> Iterator[Evidence]:
    """Shifts of every size up to a thousand, where a bare exponential overflows."""
    for classes in SIZES * 10:
        logits, shift = draws.normal(classes), draws.uniform(-1000, 1000, 1).item()
        arguments = {"logits": logits.tolist(), "shift": shift}
        yield held("activation.translated_softmax", arguments, part(logits + shift), rounding(8 + classes, 10 + abs(shift)))


def _odds_identity(formula: Callable[..., Any]) -> Iterator[Any]:
    x, y, z, c = sympy.symbols("x y z c", real=True)
    first, second, _ = _shares([c * x, c * y, c * z])
    yield sympy.expand_log(sympy.log(sympy.simplify(first / second)), force=True) - formula(x, y, c)


@experiment(
    "activation.scaled_log_odds",
    part=scaled_softmax,
    mutants={
        "the scale forgotten": lambda x, _: torch_softmax(x),
        "the scale as a shift": lambda x, c: torch_softmax(x + c),
        "the scale as a temperature": lambda x, c: torch_softmax(x / c),
    },
    symbolic=_odds_identity,
)
def scaled_log_odds(part: Scaled, draws: Draws) -> Iterator[Evidence]:
    """Two of three classes, both signs of the scale, equal logits among them."""
    for logits in [*draws.normal(60, 3), torch.ones(3, dtype=torch.float64)]:
        scale = draws.uniform(-4, 4, 1).item()
        first, second, _ = logits.tolist()
        odds = part(logits, scale).log()
        tolerance = rounding(16, 1 + 4 * logits.abs().max().item() + odds.abs().max().item())
        yield held("activation.scaled_log_odds", {"first": first, "second": second, "scale": scale}, odds[0] - odds[1], tolerance)


def _tied(draws: Draws, tied: int, others: int) -> Tensor:
    """Logits of which the first `tied` are the maxima, at any height."""
    lower = -draws.normal(others).abs() - 0.01
    return torch.cat([torch.zeros(tied, dtype=torch.float64), lower]) + draws.normal(1)


@experiment(
    "activation.softmax_scale_limit",
    part=scaled_softmax,
    mutants={
        "the first of the tied maxima takes all": lambda x, c: functional.one_hot((c * x).argmax(), len(x)).double(),
        "every tied maximum takes all": lambda x, c: (c * x == (c * x).max()).double(),
        "only so steep": lambda x, c: torch_softmax(x * max(-20.0, min(20.0, c))),
        "the sign of the scale lost": lambda x, c: torch_softmax(x * abs(c)),
    },
    how="float64, scale beyond the bound",
)
def softmax_scale_limit(part: Scaled, draws: Draws) -> Iterator[Evidence]:
    """A scale so large that softmax_limit_error lies below rounding; 0; and the same scale turned."""
    for tied, others in [(1, 0), (3, 0), (1, 1), (1, 9), (2, 3), (5, 20)] * 5:
        logits = _tied(draws, tied, others)
        heights = sorted(set(logits.tolist()))
        large = 50 / min((high - low for low, high in pairwise(heights)), default=1.0)
        for scale, limit in [(0.0, 0.0), (large, math.inf), (-large, -math.inf)]:
            arguments = {"logits": logits.tolist(), "scale": limit}
            yield held("activation.softmax_scale_limit", arguments, part(logits, scale), rounding(8 + len(logits)))


def _error(part: Scaled, logits: Tensor, scale: float) -> Tensor:
    maxima = (logits == logits.max()).double()
    return (part(logits, scale) - maxima / maxima.sum()).abs().max()


@experiment(
    "activation.softmax_limit_error",
    part=scaled_softmax,
    mutants={
        "the scale forgotten": lambda x, _: torch_softmax(x),
        "the scale halved": lambda x, c: torch_softmax(c * x / 2),
        "bfloat16": lambda x, c: torch_softmax((c * x).bfloat16()).double(),
    },
)
def softmax_limit_error(part: Scaled, draws: Draws) -> Iterator[Evidence]:
    """Ties of 1 to 4 among up to 14 logits; the adversary moves the others towards the largest error in terms of the bound."""
    for tied in (1, 2, 4):
        for others in (1, 2, 10):
            for scale in (1.0, 3.0, 10.0):
                start = draws.normal(others)

                def logits(moved: Tensor, tied: int = tied) -> Tensor:
                    return torch.cat([moved.new_zeros(tied), -moved.abs() - 1e-3])

                def part_of_bound(moved: Tensor, scale: float = scale) -> Tensor:
                    gap = moved.abs().min() + 1e-3
                    return (_error(scaled_softmax, logits(moved), scale) + 1e-300).log() + scale * gap

                for moved in (start, adversarial(part_of_bound, start, steps=10)):
                    point = logits(moved)
                    arguments = {"logits": point.tolist(), "scale": scale}
                    measured = _error(part, point, scale)
                    yield held("activation.softmax_limit_error", arguments, measured, rounding(16 + others), Relation.AT_MOST)
