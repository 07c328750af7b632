"""Torch's relu, heaviside and sigmoid against the step and its smooth approach."""

from collections.abc import Callable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.nn import functional

from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Elementwise = Callable[[Tensor], Tensor]
SPECIAL = (-1e300, -1.0, -1e-300, 1e-300, 1.0, 1e300)


def torch_heaviside(x: Tensor) -> Tensor:
    """The step with 1/2 at zero."""
    return torch.heaviside(x, torch.tensor(0.5, dtype=x.dtype))


def _samples(draws: Draws, count: int, *more: float) -> Tensor:
    return torch.cat([3 * draws.normal(count), torch.tensor([*SPECIAL, *more], dtype=torch.float64)])


@experiment(
    "activation.heaviside",
    part=torch_heaviside,
    mutants={
        "H(0) = 1": lambda x: (x >= 0).double(),
        "H(0) = 0": lambda x: (x > 0).double(),
        "sign": torch.sign,
        "a steep sigmoid": lambda x: torch.sigmoid(100 * x),
    },
    how="exact",
)
def heaviside(part: Elementwise, draws: Draws) -> Iterator[Evidence]:
    """Random, huge and tiny numbers, and both zeros."""
    samples = _samples(draws, 100, 0.0, -0.0)
    for x, measured in zip(samples.tolist(), part(samples).tolist(), strict=True):
        yield held("activation.heaviside", {"x": x}, measured)


@experiment(
    "activation.relu_derivative",
    part=functional.relu,
    mutants={
        "leaky": lambda x: functional.leaky_relu(x, 0.01),
        "softplus": functional.softplus,
        "capped at 6": functional.relu6,
        "shifted": lambda x: functional.relu(x + 1e-3),
    },
    how="autograd, exact",
)
def relu_derivative(part: Elementwise, draws: Draws) -> Iterator[Evidence]:
    """Autograd's derivative at random, huge and tiny numbers other than zero."""
    samples = _samples(draws, 100).requires_grad_()
    (slopes,) = torch.autograd.grad(part(samples).sum(), samples)
    for x, slope in zip(samples.tolist(), slopes.tolist(), strict=True):
        yield held("activation.relu_derivative", {"x": x}, slope)


@experiment(
    "activation.relu_by_heaviside",
    part=functional.relu,
    mutants={"absolute": torch.abs, "leaky": functional.leaky_relu, "gelu": functional.gelu, "the step itself": torch_heaviside},
    how="exact",
)
def relu_by_heaviside(part: Elementwise, draws: Draws) -> Iterator[Evidence]:
    """Both definitions at random, huge and tiny numbers, and both zeros."""
    samples = _samples(draws, 100, 0.0, -0.0)
    for x, measured in zip(samples.tolist(), part(samples).tolist(), strict=True):
        yield held("activation.relu_by_heaviside", {"x": x}, (measured, measured))


def _rate_identity(formula: Callable[..., Any]) -> Iterator[Any]:
    x, k = sympy.symbols("x k", positive=True)
    yield 1 - 1 / (1 + sympy.exp(-k * x)) - formula(x, k)
    yield 1 / (1 + sympy.exp(k * x)) - formula(-x, k)


@experiment(
    "activation.steep_sigmoid_error",
    part=lambda x, k: torch.sigmoid(k * x),
    mutants={
        "k/2": lambda x, k: torch.sigmoid(k * x / 2),
        "the derivative": lambda x, k: torch.sigmoid(k * x) * torch.sigmoid(-k * x),
        "tanh": lambda x, k: torch.tanh(k * x),
        "hard sigmoid": lambda x, k: functional.hardsigmoid(k * x),
    },
    symbolic=_rate_identity,
)
def steep_sigmoid_error(part: Callable[[Tensor, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """The distance of sigmoid(kx) to the step for k from 1/10 to 1000, zero included."""
    for steepness in (0.1, 1.0, 10.0, 1000.0):
        samples = torch.cat([draws.normal(25), torch.zeros(1, dtype=torch.float64)])
        distances = (part(samples, steepness) - torch_heaviside(samples)).abs()
        for x, distance in zip(samples.tolist(), distances.tolist(), strict=True):
            # the argument kx is rounded, and sigmoid' is at most 1/4
            tolerance = rounding(4, 1 + steepness * abs(x) / 4)
            yield held("activation.steep_sigmoid_error", {"x": x, "steepness": steepness}, distance, tolerance)
