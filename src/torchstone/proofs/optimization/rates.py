"""The best settings, the exact ones and the first that diverge, found by running torch.optim.SGD at many."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.optimization import OPTIMIZERS, best_hyperparameters, divergence_threshold
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding
from torchstone.proofs.optimization.descending import (
    Build,
    at_rate,
    broken,
    dampened,
    descend,
    measured_radius,
    torch_optimizer,
)

_BROKEN: dict[str, Build] = {
    "damped where it should not be": dampened,
    "half the learning rate": at_rate(0.5),
    "weight decay left on": broken(weight_decay=0.2),
    "uphill": broken(maximize=True),
}


@experiment(
    "optimization.divergence_threshold",
    part=torch_optimizer,
    mutants=_BROKEN,
    how="501 learning rates, 200 steps of torch.optim.SGD each",
)
def divergence(part: Build, draws: Draws) -> Iterator[Evidence]:
    """The border between learning rates whose runs shrink the error and those whose runs grow it."""
    ratio = 1.005
    for optimizer in OPTIMIZERS:
        for momentum in [0.0] if optimizer == "gradient" else [0.0, 0.9, *draws.uniform(0.0, 0.97, 1).tolist()]:
            curvature = draws.uniform(0.1, 50.0, 1).item()
            threshold = divergence_threshold(optimizer, momentum, curvature)
            factors = ratio ** (torch.arange(-250, 251, dtype=torch.float64) - draws.uniform(0, 1, 1))
            # Only eta l matters on a quadratic: many curvatures at one learning rate are many learning rates at one curvature.
            errors, _ = descend(part, optimizer, threshold, momentum, curvature * factors, 200)
            diverged = ~(errors.abs() < 1)
            first = int(diverged.int().argmax()) if diverged.any() else len(factors)
            measured = threshold * factors[0].item() * ratio ** (first - 0.5)
            allowed = Tolerance(model=Amount(threshold * (ratio - 1), "learning rates 0.5 % apart"))
            given = {"optimizer": optimizer, "momentum": momentum, "curvature": curvature}
            yield held("optimization.divergence_threshold", given, measured, allowed)


def _worst(part: Build, optimizer: str, momentum: float, rates: Tensor, extremes: Tensor) -> Tensor:
    """For each learning rate the larger radius of a running step at the two extreme curvatures."""
    radii = measured_radius(part, optimizer, 1.0, momentum, (rates[:, None] * extremes).reshape(-1))
    return radii.view(len(rates), len(extremes)).amax(-1)


def _fastest(part: Build, optimizer: str, extremes: Tensor, rounds: int = 9, points: int = 17) -> tuple[tuple[float, float], float]:
    """The setting whose running step shrinks the error most: a grid of (log rate, momentum), closed in on; and its last cell."""
    low = torch.tensor([math.log(0.3 / extremes[1]), 0.0], dtype=torch.float64)
    high = torch.tensor([math.log(40 / extremes[1]), 0.8], dtype=torch.float64)
    if optimizer == "gradient":
        high[1] = 0.0
    best = low
    for _ in range(rounds):
        momenta = torch.linspace(low[1], high[1], points if high[1] > 0 else 1, dtype=torch.float64).tolist()
        logs = torch.linspace(low[0], high[0], 4 * points, dtype=torch.float64)
        table = torch.stack([_worst(part, optimizer, momentum, logs.exp(), extremes) for momentum in momenta])
        row, column = divmod(int(table.argmin()), len(logs))
        best = torch.stack([logs[column], low.new_tensor(momenta[row])])
        reach = (high - low) / 6
        low, high = best - reach, best + reach
        low[1], high[1] = low[1].clamp(min=0.0), high[1].clamp(max=0.0 if optimizer == "gradient" else 0.99)
    cell = (high - low).abs().max().item()
    return (best[0].exp().item(), best[1].item()), cell


def _meets(law: Callable[..., Any]) -> Iterable[Any]:
    """At the best setting the worst errors at both extremes shrink alike: the map's discriminant, or sum, vanishes there."""
    small, gap = sympy.symbols("mu gap", positive=True)
    large = small + gap
    rate, beta = law("momentum", small, large)
    yield (1 + beta - rate * small) ** 2 - 4 * beta
    yield (1 + beta - rate * large) ** 2 - 4 * beta
    rate, _ = law("gradient", small, large)
    yield (1 - rate * small) + (1 - rate * large)


@experiment(
    "optimization.best_hyperparameters",
    part=torch_optimizer,
    mutants={
        "damped where it should not be": dampened,
        "half the learning rate": at_rate(0.5),
        "weight decay left on": broken(weight_decay=0.2),
        "not Nesterov's": broken(nesterov=False),
    },
    how="float64, closed in on over torch.optim.SGD's settings",
    symbolic=_meets,
)
def best_settings(part: Build, draws: Draws) -> Iterator[Evidence]:
    """The fastest of thousands of settings, closed in on, against the formula."""
    for optimizer in OPTIMIZERS:
        condition = draws.uniform(1.5, 20.0, 1).item()
        largest = draws.uniform(0.5, 5.0, 1).item()
        extremes = torch.tensor([largest / condition, largest], dtype=torch.float64)
        found, cell = _fastest(part, optimizer, extremes)
        given = {"optimizer": optimizer, "smallest": extremes[0].item(), "largest": extremes[1].item()}
        allowed = Tolerance(model=Amount(cell * max(1.0, *found), "the grid's last cell"))
        yield held("optimization.best_hyperparameters", given, found, allowed)


def _preconditioned(optimizer: str, parameters: list[Tensor], rate: float, momentum: float) -> Optimizer:
    """Every coordinate's own learning rate shrunk towards its ideal: no fixed rate any more, so it can beat the bound."""
    built = torch_optimizer(optimizer, parameters, rate, momentum)

    def precondition(*_: object) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= 1 + parameter.grad.abs()

    built.register_step_pre_hook(precondition)
    return built


@experiment(
    "optimization.best_convergence",
    part=torch_optimizer,
    mutants={
        "weight decay left on": broken(weight_decay=0.2),
        "a rate for every coordinate": _preconditioned,
        "half the learning rate": at_rate(0.5),
    },
    how="random settings, far from the best and near it",
)
def fastest_convergence(part: Build, draws: Draws) -> Iterator[Evidence]:
    """No random setting and none near the best is faster; the best one is as fast as the law says."""
    for optimizer in OPTIMIZERS:
        for condition in (1.3, *draws.uniform(1.5, 200.0, 3).tolist()):
            extremes = torch.tensor([1.0, condition], dtype=torch.float64)
            given = {"optimizer": optimizer, "smallest": 1.0, "largest": condition}
            rate, momentum = best_hyperparameters(**given)
            # A double eigenvalue moves by the square root of the roundings in the map.
            allowed = Tolerance(rounding=Amount(math.sqrt(rounding(40).total), "a double eigenvalue in float64"))
            one = torch.tensor([rate], dtype=torch.float64)
            yield held("optimization.best_convergence", given, _worst(part, optimizer, momentum, one, extremes), allowed)
            for reach in (1.0, 0.1, 0.001):
                beta = momentum and min(0.999, momentum * math.exp(reach * draws.normal(1).item()))
                rates = rate * (reach * draws.normal(40)).exp()
                found = _worst(part, optimizer, beta, rates, extremes).min()
                yield held("optimization.best_convergence", given, found, allowed, Relation.AT_LEAST)


def _secant(residual: Callable[[float], float], first: float, second: float) -> float:
    """The root of a function that is linear: one secant."""
    at_first, at_second = residual(first), residual(second)
    return first - at_first * (second - first) / (at_second - at_first)


def _sgd(parameters: list[Tensor], rate: float, momentum: float = 0.0) -> Optimizer:
    return SGD(parameters, lr=rate, momentum=momentum)


_STEPPERS: dict[str, Callable[..., Optimizer]] = {
    "half the learning rate": lambda parameters, rate, momentum=0.0: SGD(parameters, lr=rate / 2, momentum=momentum),
    "uphill": lambda parameters, rate, momentum=0.0: SGD(parameters, lr=rate, momentum=momentum, maximize=True),
    "weight decay left on": lambda parameters, rate, momentum=0.0: SGD(parameters, lr=rate, momentum=momentum, weight_decay=0.1),
}
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quadratic": lambda x: 0.7 * x.square() - x,
    "quartic": lambda x: x.pow(4) - 2 * x,
    "exponential": lambda x: x.exp() - 3 * x,
    "logistic": lambda x: torch.nn.functional.softplus(x) - 0.3 * x,
}


def _run(part: Callable[..., Optimizer], function: Callable[[Tensor], Tensor], start: float, steps: int, *settings: float) -> float:
    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    running = part([point], *settings)
    for _ in range(steps):
        running.zero_grad()
        torch.autograd.backward(function(point))
        running.step()
    return point.item()


@experiment(
    "optimization.one_step_learning_rate",
    part=_sgd,
    mutants=_STEPPERS,
    how="float64, the rate that lands found by running torch.optim.SGD",
)
def one_step(part: Callable[..., Optimizer], draws: Draws) -> Iterator[Evidence]:
    """Quadratic and other functions; the rate at which a run of one step ends at a chosen point, by a secant."""
    for function in _FUNCTIONS.values():
        for start, target in zip(draws.normal(8).tolist(), draws.normal(8).tolist(), strict=True):
            point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(function(point), point)

            def missed(rate: float, begun: float = start, aim: float = target, f: Callable[..., Tensor] = function) -> float:
                return _run(part, f, begun, 1, rate) - aim

            given = {"start": start, "minimiser": target, "slope": slope.item()}
            size = max(1.0, (abs(start) + abs(target)) / abs(slope.item()) ** 2)
            yield held("optimization.one_step_learning_rate", given, _secant(missed, 1.0, 2.0), rounding(60, 20 * size))


def _lands(law: Callable[..., Any]) -> Iterable[Any]:
    """Two steps of the recursion on symbols end at 0."""
    rate, curvature, start = sympy.symbols("eta lambda x", positive=True)
    first = curvature * start
    second = start - rate * first
    yield second - rate * (law(rate, curvature) * first + curvature * second)


@experiment(
    "optimization.two_step_momentum",
    part=_sgd,
    mutants=_STEPPERS
    | {
        "damped": lambda parameters, rate, momentum: SGD(parameters, lr=rate, momentum=momentum, dampening=0.5),
        "Nesterov's": lambda parameters, rate, momentum: SGD(parameters, lr=rate, momentum=momentum, nesterov=True),
    },
    how="float64, the momentum that lands found by running torch.optim.SGD",
    symbolic=_lands,
)
def two_steps(part: Callable[..., Optimizer], draws: Draws) -> Iterator[Evidence]:
    """Quadratics of one variable from random starts; the end is linear in the momentum, so a secant finds it."""
    for curvature, rate, start in draws.uniform(0.3, 3.0, 20, 3).tolist():

        def missed(momentum: float, lr: float = rate, begun: float = start, bend: float = curvature) -> float:
            return _run(part, lambda x: bend * x.square() / 2, begun, 2, lr, momentum)

        product = rate * curvature
        size = (1 + product) ** 2 / product
        found = _secant(missed, 0.25, 0.75)
        given = {"learning_rate": rate, "curvature": curvature}
        yield held("optimization.two_step_momentum", given, found, rounding(60, size))
