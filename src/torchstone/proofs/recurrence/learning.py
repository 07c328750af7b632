"""Gradients over time in torch: what rounding loses of a sum, what preserved ones add up to, what a step makes of the gain."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence, Relation
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding
from torchstone.proofs.recurrence.plain import WRONG_GAINS, Network, running

Sum = Callable[[Tensor, Tensor], Tensor]


def summed(large: Tensor, small: Tensor) -> Tensor:
    """What torch makes of two steps' gradients in the buffer of a weight."""
    total: Tensor = large + small
    return total


def smallest_seen(part: Sum, large: Tensor) -> float:
    """The least share of a number, in float64, that changes it when it is taken away or added."""
    found = []
    for sign in (-1.0, 1.0):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            small = (sign * middle * large.double()).to(large.dtype)
            low, high = (low, middle) if bool(part(large, small) != large) else (middle, high)
        found.append(high)
    return min(found)


@experiment(
    "recurrence.lost_gradient",
    part=summed,
    mutants={
        "added in float64": lambda a, b: a.double() + b.double(),
        "scaled up before": lambda a, b: (a * 3 + b * 12) / 3,
        "largest instead of sum": lambda a, b: torch.where(b == 0, a, torch.nan),
        "compensated": lambda a, b: a.double() + b.double() * 1.5,
    },
    how="bisection, at powers of two and random",
)
def lost_gradient(part: Sum, draws: Draws) -> Iterator[Evidence]:
    """Every number of three formats needs a share of eps/4 or more to change; powers of two, from below, need no more."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        resolution = torch.finfo(dtype).eps
        numbers = [torch.tensor(1.0), torch.tensor(0.25), *draws.uniform(0.1, 8.0, 6)]
        for number in numbers:
            share = smallest_seen(part, number.to(dtype))
            yield held("recurrence.lost_gradient", {"resolution": resolution}, share, rounding(4, resolution), Relation.AT_LEAST)


def first_gradient(part: Network, nonlinearity: str, inputs: Tensor, weight: Tensor, losses: Tensor) -> Tensor:
    """The norm of the gradient by the first state, of the sum of each state's own linear loss."""
    start = torch.zeros(len(weight), dtype=weight.dtype)
    eye = torch.eye(len(weight), dtype=weight.dtype)
    first = part("inside", nonlinearity, inputs[:1], start, (eye, weight, start))[-1].detach().requires_grad_()
    states = torch.cat([first[None], part("inside", nonlinearity, inputs[1:], first, (eye, weight, start))])
    (gradient,) = torch.autograd.grad((states * losses).sum(), first)
    norm: Tensor = gradient.norm()
    return norm


@experiment(
    "recurrence.summed_gradient",
    part=running,
    mutants={name: wrong for name, wrong in WRONG_GAINS.items() if name != "no activation"},
    how="random, and at the bound",
)
def summed_gradient(part: Network, draws: Draws) -> Iterator[Evidence]:
    """Rotations times a gain, losses of norm 1; where all losses pull one way through no saturation the bound is attained."""
    for number in range(12):
        nonlinearity, steps, width = ("tanh", "relu")[number % 2], 2 + number, 1 + number % 4
        gain = draws.uniform(0.5, 1.5, 1).item()
        rotation = torch.linalg.qr(draws.normal(width, width))[0]
        losses = torch.nn.functional.normalize(draws.normal(steps, width), dim=1)
        arguments = {"gain": gain, "steps": steps}
        bound = sum(gain**step for step in range(steps))
        steepest = gain * torch.eye(width, dtype=losses.dtype), torch.full_like(losses, float(nonlinearity == "relu"))
        for weight, inputs, pulls in (
            (gain * rotation, draws.normal(steps, width), losses),
            (*steepest, losses[:1].expand_as(losses)),
        ):
            norm = first_gradient(part, nonlinearity, inputs, weight, pulls)
            yield held("recurrence.summed_gradient", arguments, norm, rounding(200 * steps, bound), Relation.AT_MOST)


def gain_over(weight: Tensor, steps: int) -> Tensor:
    """The spectral norm of what a linear recurrence makes of a state in T steps."""
    state = torch.eye(len(weight), dtype=weight.dtype)
    for _ in range(steps):
        state = state @ weight.t()
    norm: Tensor = torch.linalg.matrix_norm(state, 2)
    return norm


@experiment(
    "recurrence.compounded_share",
    part=gain_over,
    mutants={
        "two steps more": lambda w, t: gain_over(w, t + 2),
        "weight applied twice": lambda w, t: gain_over(w @ w, t),
        "squared": lambda w, t: gain_over(w, t) ** 2,
    },
    how="random changes, and the worst one",
)
def compounded_share(part: Callable[[Tensor, int], Tensor], draws: Draws) -> Iterator[Evidence]:
    """The share of its norm by which a matrix must be moved until its bound over T steps grows e-fold; along itself it suffices."""
    for number in range(8):
        steps, width = 1 + 3 * number, 1 + number % 4
        rotation = torch.linalg.qr(draws.normal(width, width))[0]
        drawn = draws.normal(width, width)
        for change in (rotation, drawn / torch.linalg.matrix_norm(drawn, 2)):
            low, high = 0.0, 8.0 * math.e

            def grown(share: float, change: Tensor = change, rotation: Tensor = rotation, steps: int = steps) -> bool:
                return bool(part(rotation + share * change, steps) >= math.e)

            for _ in range(50):
                middle = (low + high) / 2
                low, high = (low, middle) if grown(middle) else (middle, high)
            arguments: dict[str, Any] = {"steps": steps}
            yield held("recurrence.compounded_share", arguments, high, rounding(1e4 * steps), Relation.AT_LEAST)
