"""Descent as a linear map: torch.optim.SGD stepping on quadratics against the laws' closed forms."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.optimization import OPTIMIZERS, spectral_radius, step_map
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding
from torchstone.proofs.optimization.descending import Build, at_rate, broken, dampened, descend, step_matrices, torch_optimizer


def settings(draws: Draws, rounds: int) -> Iterator[tuple[str, float, float]]:
    """Every optimizer with random learning rates and momenta, of small and of diverging sizes."""
    for _ in range(rounds):
        for optimizer in OPTIMIZERS:
            rate, momentum = draws.uniform(0.01, 2.0, 1).item(), draws.uniform(0.01, 0.99, 1).item()
            yield optimizer, rate, 0.0 if optimizer == "gradient" else momentum


def _one_step(_law: Callable[..., Any]) -> Iterable[Any]:
    """The map is the recursion's own Jacobian."""
    rate, beta, curvature, error, velocity = sympy.symbols("eta beta lambda e V", positive=True)
    gradient = curvature * error
    new = {
        "momentum": (beta * velocity + gradient, 0),
        "averaged": (beta * velocity + (1 - beta) * gradient, 0),
        "nesterov": (beta * velocity + gradient, gradient),
    }
    for optimizer, (buffer, plain) in new.items():
        moved = error - rate * (buffer if optimizer != "nesterov" else plain + beta * buffer)
        jacobian = sympy.Matrix([moved, buffer]).jacobian([error, velocity])
        yield from jacobian - sympy.Matrix(_law(optimizer, rate, beta, curvature))


@experiment(
    "optimization.step_map",
    part=torch_optimizer,
    mutants={
        "damped where it should not be": dampened,
        "weight decay left on": broken(weight_decay=0.01),
        "uphill": broken(maximize=True),
        "half the learning rate": at_rate(0.5),
    },
    how="float64, one step of torch.optim.SGD",
    symbolic=_one_step,
)
def one_step(part: Build, draws: Draws) -> Iterator[Evidence]:
    """One step from (1, 0) and from (0, 1), at many curvatures, negative ones too."""
    for optimizer, rate, momentum in settings(draws, 4):
        curvatures = draws.uniform(-1.0, 5.0, 20)
        for curvature, matrix in zip(curvatures.tolist(), step_matrices(part, optimizer, rate, momentum, curvatures), strict=True):
            given = {"optimizer": optimizer, "learning_rate": rate, "momentum": momentum, "curvature": curvature}
            if optimizer == "gradient":  # no buffer: the other entries speak of nothing
                matrix = matrix.new_tensor([[matrix[0, 0], 0.0], [curvature, 0.0]])  # noqa: PLW2901
            yield held("optimization.step_map", given, matrix, rounding(8, 25))


def _gelfand(matrices: Tensor, powers: Tensor, steps: int, momentum: float) -> tuple[Tensor, Tensor]:
    """The norm of `steps` steps to the power 1/steps, and what its transient t |M| r^(t-1) may add to the radius r."""
    if not momentum:
        return powers[:, 0, 0].abs() ** (1 / steps), torch.zeros(len(powers))
    found = torch.linalg.matrix_norm(powers, 2) ** (1 / steps)
    size = torch.linalg.matrix_norm(matrices)
    return found, found * ((1 + steps * size / found) ** (1 / steps) - 1)


@experiment(
    "optimization.spectral_radius",
    part=torch_optimizer,
    mutants={
        "damped where it should not be": dampened,
        "weight decay left on": broken(weight_decay=0.1),
        "uphill": broken(maximize=True),
        "half the learning rate": at_rate(0.5),
        "no momentum": lambda _, parameters, rate, __: SGD(parameters, rate),
    },
    how="300 steps of torch.optim.SGD, decay fitted",
)
def asymptotic_decay(part: Build, draws: Draws, steps: int = 300) -> Iterator[Evidence]:
    """Long runs, converging and diverging, and at the double eigenvalue."""
    for optimizer, rate, momentum in settings(draws, 2):
        curvatures = torch.cat([draws.uniform(0.05, 3.0, 12) / rate, _critical(optimizer, rate, momentum)])
        first = step_matrices(part, optimizer, rate, momentum, curvatures)
        many = step_matrices(part, optimizer, rate, momentum, curvatures, steps)
        found, transient = _gelfand(first, many, steps, momentum)
        for curvature, radius, amount in zip(curvatures.tolist(), found.tolist(), transient.tolist(), strict=True):
            given = {"optimizer": optimizer, "learning_rate": rate, "momentum": momentum, "curvatures": [curvature]}
            if radius < 10 ** (-300 / steps):
                continue  # the run ends below the smallest float: nothing can be measured
            allowed = Tolerance(model=Amount(amount, f"transient of {steps} steps"), rounding=rounding(20, radius).rounding)
            yield held("optimization.spectral_radius", given, radius, allowed)


def _critical(optimizer: str, rate: float, momentum: float) -> Tensor:
    """The smallest curvature at which the step's eigenvalues meet (critical damping): (1 - sqrt beta)^2 = eta l c."""
    root = math.sqrt(momentum)
    curvature = {
        "momentum": (1 - root) ** 2,
        "averaged": (1 - root) ** 2 / (1 - momentum) if momentum else 1.0,
        "nesterov": ((1 - momentum) / (1 + momentum)) ** 2,
    }
    return torch.tensor([curvature.get(optimizer, 0.5) / rate], dtype=torch.float64)


@experiment(
    "optimization.error_after",
    part=torch_optimizer,
    mutants={
        "first step undamped, as torch begins without a buffer": lambda *given: _without_buffer(torch_optimizer(*given)),
        "damped where it should not be": dampened,
        "weight decay left on": broken(weight_decay=0.01),
        "uphill": broken(maximize=True),
    },
    how="float64, runs of torch.optim.SGD",
)
def closed_form(part: Build, draws: Draws) -> Iterator[Evidence]:
    """Runs of 0 to 40 steps: real, double and complex eigenvalues of the step."""
    for optimizer, rate, momentum in settings(draws, 3):
        curvatures = torch.cat([draws.uniform(0.0, 3.0, 8) / rate, _critical(optimizer, rate, momentum)])
        for steps in [0, 1, 2, 3, draws.integer(4, 15), 40]:
            errors, _ = descend(part, optimizer, rate, momentum, curvatures, steps)
            for curvature, error in zip(curvatures.tolist(), errors.tolist(), strict=True):
                given = {"optimizer": optimizer, "learning_rate": rate, "momentum": momentum, "curvature": curvature}
                allowed = _grown(optimizer, rate, momentum, curvature, steps)
                yield held("optimization.error_after", given | {"steps": steps}, error, allowed)


def _grown(optimizer: str, rate: float, momentum: float, curvature: float, steps: int) -> Tolerance:
    """A rounding in step s grows like the map's remaining power, at most t |M| r^(t-1): t steps leave t squared of them."""
    radius = max(1.0, spectral_radius(optimizer, rate, momentum, [curvature]))
    size = max(1.0, math.hypot(*(entry for row in step_map(optimizer, rate, momentum, curvature) for entry in row)))
    return rounding(10 * (steps + 1) ** 2, size * size * radius**steps)


def _without_buffer(built: Optimizer) -> Optimizer:
    """An optimizer that forgets a buffer which was put in its state before the first step."""

    def forget(*_: object) -> None:
        built.state.clear()
        handle.remove()

    handle = built.register_step_pre_hook(forget)
    return built


@experiment(
    "optimization.scheduled_error",
    part=lambda parameters: SGD(parameters, lr=1.0),
    mutants={
        "one rate for every step": lambda parameters: _stuck(SGD(parameters, lr=0.25)),
        "momentum left on": lambda parameters: SGD(parameters, lr=1.0, momentum=0.5),
        "uphill": lambda parameters: SGD(parameters, lr=1.0, maximize=True),
    },
    how="float64, runs of torch.optim.SGD",
)
def scheduled(part: Callable[[list[Tensor]], Optimizer], draws: Draws) -> Iterator[Evidence]:
    """Random rates, and the inverses of the curvatures, which reach the minimum in any order."""
    for size in (1, 2, 5, 8):
        curvatures = draws.uniform(0.5, 4.0, size)
        order = torch.randperm(size, generator=draws.generator)
        for rates in (draws.uniform(0.1, 1.0, size).tolist(), (1 / curvatures[order]).tolist()):
            point = torch.ones(size, dtype=torch.float64, requires_grad=True)
            running = part([point])
            for rate in rates:
                running.param_groups[0]["lr"] = rate
                running.zero_grad()
                torch.autograd.backward((curvatures * point.square() / 2).sum())
                running.step()
            largest = math.prod(max(1.0, rate * 4) for rate in rates)
            for curvature, error in zip(curvatures.tolist(), point.tolist(), strict=True):
                given = {"learning_rates": rates, "curvature": curvature}
                yield held("optimization.scheduled_error", given, error, rounding(10 * size, largest))


def _stuck(built: Optimizer) -> Optimizer:
    """An optimizer that schedules do not reach."""
    rate = built.param_groups[0]["lr"]
    built.register_step_pre_hook(lambda *_: built.param_groups[0].update(lr=rate))
    return built


@experiment(
    "optimization.steps_to_tolerance",
    part=torch_optimizer,
    mutants={
        "half the learning rate": at_rate(0.5),
        "weight decay left on": broken(weight_decay=0.1),
        "momentum left on": broken(momentum=0.5),
    },
    how="exact, steps of torch.optim.SGD counted",
)
def counted_steps(part: Build, draws: Draws) -> Iterator[Evidence]:
    """Gradient descent along an eigenvector, from either side of the minimum's factor: 1 - eta l of both signs."""
    radii = [0.5, 0.25, *draws.uniform(0.05, 0.97, 20).tolist()]
    for sign in (1, -1):
        curvatures = 1 - sign * torch.tensor(radii, dtype=torch.float64)
        shares = torch.ones(len(radii), dtype=torch.float64)
        history = [shares]
        point = torch.ones_like(shares).requires_grad_()
        running = part("gradient", [point], 1.0, 0.0)
        for _ in range(500):
            running.zero_grad()
            torch.autograd.backward((curvatures * point.square() / 2).sum())
            running.step()
            history.append(point.detach().abs().clone())
        run = torch.stack(history)
        for tolerance in (0.3, 1e-3, 1e-6):
            for radius, errors in zip(radii, run.T, strict=True):
                taken = int((errors > tolerance).sum())
                yield held("optimization.steps_to_tolerance", {"radius": radius, "tolerance": tolerance}, taken)
