"""LogLU in torch: its poles, its gradient, the closed form of its gradient, and a dense layer behind it."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.evidence import Evidence
from torchstone.parts.activation import LogLU
from torchstone.proofs.activation.step import torch_heaviside
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Elementwise = Callable[[Tensor], Tensor]


def _rows(draws: Draws, count: int, width: int = 6) -> Iterator[Tensor]:
    """Rows with numbers of both signs, and zeros here and there."""
    for _ in range(count):
        row = draws.normal(width)
        yield torch.where(draws.uniform(0, 1, width) < 0.2, 0.0, row)  # noqa: PLR2004 - one in five


@experiment(
    "activation.log_relu_poles",
    part=LogLU(),
    mutants={
        "relu of the logarithm": lambda x: torch.relu(x.log()),
        "a small number added": lambda x: (torch.relu(x) + 1e-6).log(),
        "log1p": lambda x: torch.relu(x).log1p(),
        "poles below zero only": lambda x: torch.where(x == 0, 0.0, torch.relu(x).log()),
    },
)
def log_relu_poles(part: Elementwise, draws: Draws) -> Iterator[Evidence]:
    """Counts of -inf and NaN in rows of both signs and zeros."""
    for row in _rows(draws, 60):
        values = part(row)
        yield held("activation.log_relu_poles", {"inputs": row.tolist()}, [values.isneginf().sum(), values.isnan().sum()])


@experiment(
    "activation.log_relu_gradient",
    part=LogLU(),
    mutants={
        "where instead of relu": lambda x: torch.where(x > 0, x, 0.0 * x).log(),
        "a small number added": lambda x: (torch.relu(x) + 1e-6).log(),
        "leaky": lambda x: functional.leaky_relu(x, 0.1).abs().log(),
    },
    how="autograd, float64",
)
def log_relu_gradient(part: Elementwise, draws: Draws) -> Iterator[Evidence]:
    """Autograd's gradient of the sum, at poles too."""
    for row in _rows(draws, 60):
        row.requires_grad_()
        (gradient,) = torch.autograd.grad(part(row).sum(), row)
        scale = gradient.nan_to_num().abs().max().item()
        yield held("activation.log_relu_gradient", {"inputs": row.tolist()}, gradient, rounding(4, scale))


@experiment(
    "activation.log_relu_chain_rule",
    part=lambda x: torch_heaviside(x) * torch.relu(x).reciprocal(),
    mutants={
        "a selection": lambda x: torch.where(x > 0, x.reciprocal(), 0.0),
        "H(0) = 0": lambda x: (x > 0) * torch.relu(x).reciprocal(),
        "a small number added": lambda x: torch_heaviside(x) / (torch.relu(x) + 1e-6),
    },
)
def log_relu_chain_rule(part: Elementwise, draws: Draws) -> Iterator[Evidence]:
    """Counts of NaN and inf in the product of the two derivatives."""
    for row in _rows(draws, 60):
        values = part(row)
        yield held("activation.log_relu_chain_rule", {"inputs": row.tolist()}, [values.isnan().sum(), values.isinf().sum()])


@experiment(
    "activation.not_numbers_behind_log_relu",
    part=lambda x, weight: functional.linear(LogLU()(x), weight),
    mutants={
        "infinities made finite": lambda x, weight: functional.linear(LogLU()(x).nan_to_num(), weight),
        "poles left out": lambda x, weight: functional.linear(LogLU()(x).masked_fill(x <= 0, 0.0), weight),
        "relu of the logarithm": lambda x, weight: functional.linear(torch.relu(x.log()), weight),
        "positive weights": lambda x, weight: functional.linear(LogLU()(x), weight.abs()),
    },
)
def not_numbers_behind_log_relu(part: Callable[[Tensor, Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Real nn.Linear weights, some of them zero, some rows of one sign, behind rows with and without poles."""
    for row in [*_rows(draws, 60), draws.normal(6).abs() + 1]:
        weight = nn.Parameter(torch.stack([*_rows(draws, 4), draws.normal(6).abs()])).detach()
        arguments = {"inputs": row.tolist(), "weight": weight.tolist()}
        yield held("activation.not_numbers_behind_log_relu", arguments, part(row, weight).isnan().sum())
