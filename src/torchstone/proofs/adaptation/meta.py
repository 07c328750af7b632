"""MAML and Reptile: on quadratics exactly, on small networks against differences, and to first order in the inner rate."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.adaptation.meta import METHODS
from torchstone.parts.adaptation import MAML, Reptile
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Tasks = tuple[Tensor, Tensor]
Part = Callable[..., list[Tensor]]


def meta_gradient(
    model: nn.Module, method: str, support: Tasks, query: Tasks, rate: float, steps: int, batch: int | None = None
) -> list[Tensor]:
    """What an optimiser of the initialisation is given for each parameter by a method. Reptile sees the support data only."""
    settings: dict[str, Any] = {"inner_lr": rate, "inner_steps": steps, "batch_size": batch}
    if method == "reptile":
        model.zero_grad()
        Reptile(model, **settings).backward(*support)
        return [one.grad for one in model.parameters() if one.grad is not None]
    loss = MAML(model, first_order=method == "first_order", **settings)(*support, *query)
    return list(torch.autograd.grad(loss, list(model.parameters())))


def _first_order_always(model: nn.Module, method: str, *rest: Any) -> list[Tensor]:
    return meta_gradient(model, "first_order" if method == "maml" else method, *rest)


def _one_step_fewer(model: nn.Module, method: str, support: Tasks, query: Tasks, rate: float, steps: int) -> list[Tensor]:
    return meta_gradient(model, method, support, query, rate, steps + 1)


def _summed(model: nn.Module, method: str, support: Tasks, query: Tasks, *rest: Any) -> list[Tensor]:
    return [len(support[0]) * one for one in meta_gradient(model, method, support, query, *rest)]


def _backwards(model: nn.Module, method: str, *rest: Any) -> list[Tensor]:
    return [-one if method == "reptile" else one for one in meta_gradient(model, method, *rest)]


@experiment(
    "adaptation.quadratic_meta_gradient",
    part=meta_gradient,
    mutants={
        "first order in MAML's place": _first_order_always,
        "another number of inner steps": _one_step_fewer,
        "summed over tasks": _summed,
        "Reptile away from the tasks": _backwards,
    },
)
def quadratic_meta_gradient(part: Part, draws: Draws) -> Iterator[Evidence]:
    """One weight, w x = c x under a squared error: h = 2 mean x²; several tasks, 1 to 6 steps, every method."""
    for number in range(10):
        tasks, steps, rate = draws.integer(2, 5), draws.integer(1, 6), draws.uniform(0.01, 0.3, 1).item()
        model = nn.Linear(1, 1, bias=False).double()
        with torch.no_grad():
            model.weight.copy_(draws.normal(1, 1))
        inputs, centres = draws.normal(tasks, 7, 1), draws.normal(tasks)
        data = (inputs, inputs * centres[:, None, None])
        curvatures = (2 * inputs.square().mean((1, 2))).tolist()
        network = nn.Sequential(model) if number % 2 else _Called(model)
        start = model.weight.item()
        arguments = {"start": start, "centres": centres.tolist(), "curvatures": curvatures, "rate": rate, "steps": steps}
        growth = max(1.0, *(abs(1 - rate * h) for h in curvatures)) ** (2 * steps)
        largest = max(1.0, *curvatures) * (abs(start) + centres.abs().max().item()) * growth
        for method in METHODS:
            (found,) = part(network, method, data, data, rate, steps)
            yield held("adaptation.quadratic_meta_gradient", {**arguments, "method": method}, found, rounding(200 * steps, largest))


class _Called(nn.Module):
    """A module that is no nn.Sequential: the general route."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(inputs)
        return outputs


def _network(draws: Draws, *, called: bool = False) -> nn.Module:
    layers = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        for one in layers.parameters():
            one.copy_(draws.normal(*one.shape) / 2)
    return _Called(layers) if called else layers


def _tasks(draws: Draws, count: int, examples: int) -> Tasks:
    return draws.normal(count, examples, 2), draws.normal(count, examples, 1)


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([one.flatten() for one in tensors])


def _loss_gradient(model: nn.Module, data: Tasks, at: Tensor | None = None) -> Tensor:
    """The gradient of the one task's loss at the parameters, or at others, flattened; differentiable."""
    names = dict(model.named_parameters())
    flat = _flat(list(names.values())) if at is None else at
    parts = torch.split(flat, [one.numel() for one in names.values()])
    own = {name: piece.view_as(one) for (name, one), piece in zip(names.items(), parts, strict=True)}
    loss = functional.mse_loss(torch.func.functional_call(model, own, (data[0][0],)), data[1][0])
    return torch.autograd.grad(loss, flat, create_graph=True)[0]


def _second_times_first(model: nn.Module, one: Tasks, other: Tasks) -> Tensor:
    """The Hessian of the loss on `other` times the gradient of the loss on `one`."""
    at = _flat([p.detach() for p in model.parameters()]).requires_grad_()
    direction = _loss_gradient(model, one, at).detach()
    return torch.autograd.grad(_loss_gradient(model, other, at), at, direction)[0]


def _slope(part: Part, model: nn.Module, method: str, one: Tasks, other: Tasks, rate: float) -> Tensor:
    """The factor of the rate at zero, by three points: -3, 4, -1 over twice the rate."""
    if method == "reptile":
        both = tuple(torch.cat(pair, 1) for pair in zip(one, other, strict=True))
        values = [_flat(part(model, method, both, None, n * rate, 2, one[0].shape[1])) / (n * rate) for n in (1, 2)]
        values.insert(0, (_loss_gradient(model, one) + _loss_gradient(model, other)).detach())
    else:
        values = [_flat(part(model, method, one, other, n * rate, 1)) for n in (0, 1, 2)]
    return (-3 * values[0] + 4 * values[1] - values[2]) / (2 * rate)


@experiment(
    "adaptation.meta_gradient_slope",
    part=meta_gradient,
    mutants={
        "first order in MAML's place": _first_order_always,
        "Reptile's way forwards": _backwards,
        "second order always": lambda model, method, *rest: meta_gradient(model, method.replace("first_order", "maml"), *rest),
    },
    how="float64, slope at rate 0 by three points",
)
def meta_gradient_slope(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Networks with tanh: the slope at two widths apart, whose difference bounds the wider one's error."""
    for number in range(4):
        model, one, other = _network(draws, called=number % 2 == 1), _tasks(draws, 1, 5), _tasks(draws, 1, 5)
        arguments = {
            "second_first": _second_times_first(model, one, other).tolist(),
            "first_second": _second_times_first(model, other, one).tolist(),
        }
        for method in METHODS:
            near, far = (_slope(part, model, method, one, other, width) for width in (1e-4, 4e-4))
            doubt = (near - far).abs().max().item()
            allowed = Tolerance(Amount(doubt, "the slope at four times the width differs by this"))
            yield held("adaptation.meta_gradient_slope", {**arguments, "method": method}, near, allowed)


def _on_average(gradients: list[Tensor], rate: float) -> list[Tensor]:
    return [rate * one for one in gradients]


@experiment(
    "adaptation.one_step_reptile",
    part=meta_gradient,
    mutants={
        "two inner steps": lambda model, method, data, query, rate, _: meta_gradient(model, method, data, query, rate, 2),
        "summed over tasks": _summed,
        "Reptile away from the tasks": _backwards,
    },
)
def one_step_reptile(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Networks with tanh, three tasks, each gradient computed by itself."""
    for number in range(6):
        model, data, rate = _network(draws, called=number % 2 == 1), _tasks(draws, 3, 5), draws.uniform(0.05, 0.5, 1).item()
        gradients = [_loss_gradient(model, (x[None], y[None])).tolist() for x, y in zip(*data, strict=True)]
        found = _flat(part(model, "reptile", data, None, rate, 1))
        largest = max(1.0, *(abs(x) for row in gradients for x in row))
        yield held("adaptation.one_step_reptile", {"gradients": gradients, "rate": rate}, found, rounding(200, largest))


def _query_loss(model: nn.Module, direction: list[Tensor], width: float, *data: Any) -> float:
    """The loss behind the inner steps from an initialisation moved along a direction, by the loop over tasks."""
    support, query, rate, steps = data
    total = 0.0
    for x, y, u, v in zip(*support, *query, strict=True):
        moved = zip(model.named_parameters(), direction, strict=True)
        own = {name: (one.detach() + width * along).requires_grad_() for (name, one), along in moved}
        for _ in range(steps):
            loss = functional.mse_loss(torch.func.functional_call(model, own, (x,)), y)
            gradients = torch.autograd.grad(loss, list(own.values()))
            own = {name: (one - rate * g).detach().requires_grad_() for (name, one), g in zip(own.items(), gradients, strict=True)}
        total += functional.mse_loss(torch.func.functional_call(model, own, (u,)), v).item()
    return total / len(support[0])


def _slope_by_differences(model: nn.Module, direction: list[Tensor], width: float, *data: Any) -> float:
    return (_query_loss(model, direction, width, *data) - _query_loss(model, direction, -width, *data)) / (2 * width)


@experiment(
    "adaptation.directional_slope",
    part=meta_gradient,
    mutants={
        "first order": _first_order_always,
        "one step fewer": _one_step_fewer,
        "summed over tasks": _summed,
        "on the support data": lambda model, method, support, _, *rest: meta_gradient(model, method, support, support, *rest),
    },
    how="float64, against central differences",
)
def directional_slope(part: Part, draws: Draws) -> Iterator[Evidence]:
    """MAML's gradient of networks with tanh, three tasks and 1 to 4 steps, along random directions, against a loop over tasks."""
    for number in range(5):
        model, support, query = _network(draws, called=number % 2 == 1), _tasks(draws, 3, 5), _tasks(draws, 3, 4)
        rate, steps = draws.uniform(0.2, 0.5, 1).item(), draws.integer(1, 4)
        direction = [draws.normal(*one.shape) for one in model.parameters()]
        found = _flat(part(model, "maml", support, query, rate, steps))
        near, far = (_slope_by_differences(model, direction, width, support, query, rate, steps) for width in (1e-5, 1e-4))
        doubt = Amount(abs(near - far), "the difference at ten times the width is off by this")
        allowed = Tolerance(doubt, rounding=rounding(100 / 1e-5, max(1.0, abs(near))).rounding)
        arguments = {"meta_gradient": found.tolist(), "direction": _flat(direction).tolist()}
        yield held("adaptation.directional_slope", arguments, near, allowed)
