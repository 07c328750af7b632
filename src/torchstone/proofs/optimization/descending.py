"""torch.optim.SGD on quadratics whose coordinates are independent: one run shows as many curvatures as it has coordinates."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

# (optimizer of laws.optimization, parameters, learning rate, momentum) -> a torch optimizer.
Build = Callable[[str, list[Tensor], float, float], Optimizer]


def torch_optimizer(optimizer: str, parameters: list[Tensor], learning_rate: float, beta: float, /, **changed: Any) -> SGD:
    """The torch.optim.SGD that an optimizer of `laws.optimization` speaks of; `changed` overrides arguments, to break it."""
    said: dict[str, Any] = {"lr": learning_rate, "momentum": beta}
    forms: dict[str, dict[str, Any]] = {"averaged": {"dampening": beta}, "nesterov": {"nesterov": True}}
    return SGD(parameters, **(said | (forms.get(optimizer, {}) if beta else {}) | changed))


def broken(**changed: Any) -> Build:
    """The same with some of SGD's arguments changed."""
    return lambda optimizer, parameters, rate, momentum: torch_optimizer(optimizer, parameters, rate, momentum, **changed)


def at_rate(factor: float) -> Build:
    """The same with the learning rate multiplied."""
    return lambda optimizer, parameters, rate, momentum: torch_optimizer(optimizer, parameters, factor * rate, momentum)


def dampened(optimizer: str, parameters: list[Tensor], learning_rate: float, momentum: float) -> SGD:
    """Gradients damped where they should not be, and not where they should."""
    wrong = 0.0 if optimizer == "averaged" else momentum
    return torch_optimizer(optimizer, parameters, learning_rate, momentum, dampening=wrong, nesterov=False)


def descend(
    build: Build, optimizer: str, learning_rate: float, momentum: float, curvatures: Tensor, steps: int, *,
    start: Tensor | float = 1.0, velocity: Tensor | float | None = 0.0,
) -> tuple[Tensor, Tensor]:
    """Run on f(x) = sum of l_i x_i^2 / 2 by autograd; the errors and the buffers after some steps.

    `velocity` is the buffer at the start; None leaves it to torch, whose first step is undamped.
    """  # fmt: skip
    point = (torch.ones_like(curvatures) * start).requires_grad_()
    running = build(optimizer, [point], learning_rate, momentum)
    if velocity is not None and momentum:
        running.state[point]["momentum_buffer"] = torch.ones_like(curvatures) * velocity
    for _ in range(steps):
        running.zero_grad()
        torch.autograd.backward((curvatures * point.square() / 2).sum())
        running.step()
    buffer = running.state[point].get("momentum_buffer") if point in running.state else None
    return point.detach(), torch.zeros_like(curvatures) if buffer is None else buffer


def step_matrices(
    build: Build, optimizer: str, learning_rate: float, momentum: float, curvatures: Tensor, steps: int = 1
) -> Tensor:
    """What so many steps do to (error, V) at each curvature, 2 x 2, from runs that start at (1, 0) and (0, 1)."""
    twice = curvatures.repeat(2)
    begun = torch.cat([torch.ones_like(curvatures), torch.zeros_like(curvatures)])
    error, buffer = descend(build, optimizer, learning_rate, momentum, twice, steps, start=begun, velocity=1 - begun)
    columns = torch.stack([error, buffer]).view(2, 2, -1)
    return columns.permute(2, 0, 1)


def measured_radius(build: Build, optimizer: str, learning_rate: float, momentum: float, curvatures: Tensor) -> Tensor:
    """The spectral radius of one running step at each curvature. Without momentum there is no buffer: the error's own factor."""
    matrices = step_matrices(build, optimizer, learning_rate, momentum, curvatures)
    return torch.linalg.eigvals(matrices).abs().amax(-1) if momentum else matrices[:, 0, 0].abs()
