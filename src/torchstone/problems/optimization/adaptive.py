"""C4.2 to C4.4 and D4b: where decay enters Adam, found by trying every line, and which weights it shrinks."""

import math
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Posted
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.optimization import LINES, decay_line
from torchstone.parts import Adam, AdamByLine
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import compared, found, generator, rounding
from torchstone.problems.studied import studied
from torchstone.studies import decay as study
from torchstone.studies.recorded import recorded

_LINE, _SLOPE = "optimization.decay_line", "optimization.shrinkage_slope"
RATE, DECAY, STEPS, BATCH = 1e-3, 1e-4, 200, 32
_TERM = {
    "l2": "g_t <- grad + lambda theta_{t-1}",
    "decoupled": "theta_t <- theta_{t-1} - alpha m̂_t / (sqrt(v̂_t) + eps) - lambda_r theta_{t-1}",
}


def _distances(optimizer: Any) -> dict[str, float]:
    """How far Adam with its decay at each line ends from a running optimizer: 25 steps on gradients of all sizes."""
    source = generator(8)
    start = torch.randn(10, generator=source, dtype=torch.float64)
    gradients = torch.randn(25, 10, generator=source, dtype=torch.float64) * torch.logspace(-2, 1, 10, dtype=torch.float64)

    def end(build: Any) -> Tensor:
        point = start.clone().requires_grad_()
        running = build([point], lr=0.05, weight_decay=0.2)
        for gradient in gradients:
            point.grad = gradient.clone()
            running.step()
        return point.detach()

    wanted = end(optimizer)
    build: Any = AdamByLine
    return {line: (end(partial(build, line=line)) - wanted).abs().max().item() for line in LINES}


def _tried(form: str, optimizer: Any) -> tuple[Evidence, dict[str, float]]:
    """The number of the one line at which nothing but rounding is left, and every line's distance."""
    apart = _distances(optimizer)
    agreeing = [number for number, line in enumerate(LINES, 1) if apart[line] <= rounding(1e4, 10.0).total]
    number = agreeing[0] if len(agreeing) == 1 else math.nan
    how = f"the one line at which Adam by line is {optimizer.__name__}, {len(LINES)} tried"
    return compared(_LINE, decay_line(form), number, how=how), apart


def _table(apart: dict[str, float]) -> str:
    return ", ".join(f"{number} {line}: {distance:.1g}" for number, (line, distance) in enumerate(apart.items(), 1))


def _nearest(apart: dict[str, float]) -> str:
    name = min(apart, key=lambda line: apart[line])
    return f"line {1 + LINES.index(name)}, the {name}"


@answers("C4.2")
def l2_line(_: Posted) -> Answer:
    """torch.optim.Adam(weight_decay) against Adam by line."""
    evidence, apart = _tried("l2", torch.optim.Adam)
    return Answer(
        says=(f"{_nearest(apart)}: {_TERM['l2']}",),
        derivation=(
            "the penalty is part of the loss, so its gradient is part of the gradient; no other line is written differently",
            "both moments are computed from g_t and so hold the term: the step divides it by sqrt(v̂_t) like everything else",
            f"tried at every line, the distance to torch.optim.Adam(weight_decay) after 25 steps: {_table(apart)}",
        ),
        evidence=(*proved(_LINE, "optimization.adam_step"), evidence),
        remarks=("with gamma ‖theta‖² in the loss the term is 2 gamma theta_{t-1}",),
    )


@answers("D4b")
def decoupled_line(_: Posted) -> Answer:
    """torch.optim.AdamW against Adam by line."""
    evidence, apart = _tried("decoupled", torch.optim.AdamW)
    return Answer(
        says=(f"{_nearest(apart)}: {_TERM['decoupled']}",),
        derivation=(
            "explicit decay takes the share lambda_r of theta_{t-1} whatever the gradients are: no moment may see it",
            f"tried at every line, the distance to torch.optim.AdamW after 25 steps: {_table(apart)}",
            "torch writes lambda_r = lr weight_decay",
        ),
        evidence=(*proved(_LINE, "optimization.adam_step"), evidence),
    )


@cache
def _gradients() -> tuple[Tensor, Tensor]:
    """Every gradient of a small network that Adam trains on inputs of unlike scales, and its weights at the start."""
    source = generator(9)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=source)
    start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    optimizer, scales = Adam(model.parameters(), lr=RATE), torch.logspace(-2, 0, 8, dtype=torch.float64)
    seen = []
    for _ in range(STEPS):
        inputs = torch.randn(BATCH, 8, generator=source, dtype=torch.float64)
        labels = torch.randint(4, (BATCH,), generator=source)
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(inputs * scales), labels))
        seen.append(torch.cat([cast("Tensor", parameter.grad).reshape(-1) for parameter in model.parameters()]))
        optimizer.step()
    return torch.stack(seen), start


def _shrinkage(form: Any, factor: float = 1.0) -> Tensor:
    """The share of each weight that decay takes a step, on the recorded gradients times a factor: with decay minus without."""
    gradients, start = _gradients()
    ends = []
    for decay in (DECAY, 0.0):
        point = start.clone().requires_grad_()
        optimizer = Adam([point], lr=RATE, eps=1e-15, weight_decay=decay, decay=form)
        for gradient in gradients:
            point.grad = factor * gradient
            optimizer.step()
        ends.append(point.detach())
    return (ends[1] - ends[0]) / start / STEPS


def _quarters(form: str) -> tuple[float, float]:
    """Median shrinkage of the quarter of weights with the smallest gradients, and of that with the largest."""
    sizes = _gradients()[0].square().mean(0).sqrt()
    order, taken = sizes.argsort(), _shrinkage(form)
    quarter = len(order) // 4
    return taken[order[:quarter]].median().item(), taken[order[-quarter:]].median().item()


def _orderings() -> Iterator[Evidence]:
    """Small gradients' shrinkage over large gradients' on a real network's gradients, in both forms."""
    small, large = _quarters("l2")
    how = f"weights of small over weights of large gradient, real network, {STEPS} steps"
    yield compared(_SLOPE, 1.0, small / large, how=f"L2: {how}", relation=Relation.AT_LEAST)
    small, large = _quarters("decoupled")
    allowed = Tolerance(model=Amount(STEPS * RATE, "weights move meanwhile, by a step of the learning rate at most"))
    yield compared(_SLOPE, 1.0, small / large, allowed, f"decoupled: {how}")


@answers("C4.3")
def who_shrinks(_: Posted) -> Answer:
    """Shrinkage measured on the recorded gradients of a real network, and its slope over scales in repeated runs."""
    orderings = tuple(_orderings())
    rows = {"l2": "L2", "decoupled": "decoupled"}
    sizes = _gradients()[0].square().mean(0).sqrt().log10()
    order = sizes.argsort()[::4]
    series = {
        name: [(sizes[i].item(), taken[i].log10().item()) for i in order.tolist() if taken[i] > 0]
        for form, name in rows.items() for taken in (_shrinkage(form),)
    }  # fmt: skip
    return Answer(
        says=(
            f"L2: weights of small gradient shrink faster, {found(orderings[0]):.3g} times the share of those of large gradient",
            f"decoupled: all shrink by the same share (ratio {found(orderings[1]):.3g})",
        ),
        derivation=(
            "L2: the term lambda theta is divided by sqrt(v̂), the gradient's own size: the share is alpha lambda / sqrt(v̂)",
            "decoupled: the share is lambda_r for every weight, whatever its gradient",
            f"measured: two runs on the same {STEPS} gradients of a real network, with and without decay, compared by weight",
        ),
        evidence=(*proved(_SLOPE), *orderings),
        drawings=(curves("Share of a weight taken a step (log10)", series, "log10 of the gradient's size"),),
        remarks=studied("decay", (study.L2, study.DECOUPLED), "slope"),
    )  # fmt: skip


def _rescaled(form: str, factor: float) -> float:
    """Median over weights of shrinkage when the loss is multiplied by a factor, over that without."""
    return (_shrinkage(form, factor) / _shrinkage(form)).median().item()


@answers("C4.4")
def argument(_: Posted) -> Answer:
    """What L2 makes of a loss that is multiplied by a number, to which Adam itself is blind."""
    factor = 10.0
    l2, decoupled = (_rescaled(form, factor) for form in ("l2", "decoupled"))
    near = Tolerance(model=Amount(0.1 / factor, "the decay's own part of the second moment, weights of the smallest gradients"))
    how = f"shrinkage with the loss times {factor:g} over that without, real network"
    measured = (
        compared(_SLOPE, 1 / factor, l2, near, f"L2: {how}"),
        compared(_SLOPE, 1.0, decoupled, rounding(1e7), f"decoupled: {how}"),
        *_orderings(),
    )
    return Answer(
        says=(
            "L2 decay is divided by the gradient's size too: weights of large gradients are hardly regularised",
            f"a loss times {factor:g} leaves Adam's steps alone, and L2's decay is {l2:.2g} of what it was: lambda says little",
            f"decoupled decay stays ({decoupled:.3g} times), the same share of all weights, whatever the loss's scale",
        ),
        derivation=(
            "m̂ / sqrt(v̂) does not change when all gradients are multiplied by a number",
            "lambda theta / sqrt(v̂) does: it is divided by that number; lambda_r theta does not",
            f"across weights (C4.3): {found(measured[2]):.3g} to 1 under L2, {found(measured[3]):.3g} to 1 decoupled",
        ),
        evidence=(*proved(_SLOPE, "optimization.form_difference"), *measured),
        remarks=(
            *studied("decay", (study.L2, study.DECOUPLED), "rescaled", "norm"),
            *studied("decay", (study.L2, study.DECOUPLED, study.NONE), "test")[1:2],
            *(f"{item.verdict.value}: {item.how}; {item.reason}" for item in recorded("decay").evidence if item.reason),
        ),
    )
