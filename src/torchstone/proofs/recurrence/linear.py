"""`LinearRNN` against its closed forms, states by running it and gradients by autograd, one output at a time."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.parts.recurrence import LinearRNN
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

# (inputs (t, d), h_0 (d), Wh (d, d)) -> h_1..h_t (t, d)
Network = Callable[[Tensor, Tensor, Tensor], Tensor]
SHAPES = ((1, 1), (1, 3), (2, 1), (4, 2), (6, 3), (12, 4))


def linear_network(inputs: Tensor, initial: Tensor, weight: Tensor) -> Tensor:
    """Every state of a `LinearRNN` with Wx = I, no bias and this Wh."""
    width = len(initial)
    network = LinearRNN(width, width, bias=False, device="meta")
    parameters = {"weight_ih": torch.eye(width, dtype=inputs.dtype), "weight_hh": weight}
    output: Tensor = torch.func.functional_call(network, parameters, (inputs, initial.unsqueeze(0)))[0]
    return output


def _by_step(step: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Network:
    """A network that is wrong in its step: (x_t, h_{t-1}, Wh) -> h_t."""

    def network(inputs: Tensor, initial: Tensor, weight: Tensor) -> Tensor:
        states = [initial]
        for row in inputs:
            states.append(step(row, states[-1], weight))
        return torch.stack(states[1:])

    return network


WRONG_GRADIENTS = {
    "transposed weight": _by_step(lambda x, h, w: x + h @ w),
    "gradient stopped at the last state": _by_step(lambda x, h, w: x + w @ h.detach()),
    "tanh": _by_step(lambda x, h, w: torch.tanh(x + w @ h)),
    "one step late": lambda x, h, w: linear_network(x[:-1], h, w) if len(x) > 1 else linear_network(0 * x, 0 * h, w),
}


@experiment(
    "recurrence.cumulative_state",
    part=linear_network,
    mutants={
        "initial state forgotten": lambda x, h, w: linear_network(x, torch.zeros_like(h), w),
        "tanh": _by_step(lambda x, h, w: torch.tanh(x + w @ h)),
        "running mean": _by_step(lambda x, h, w: (x + w @ h) / 2),
        "input before the step": _by_step(lambda x, h, w: w @ h + x.roll(1)),
    },
)
def cumulative_state(part: Network, draws: Draws) -> Iterator[Evidence]:
    """Identity weights, 1 to 12 steps, width 1 to 4."""
    for steps, width in SHAPES * 5:
        inputs, initial = draws.normal(steps, width), draws.normal(width)
        measured = part(inputs, initial, torch.eye(width, dtype=inputs.dtype))
        arguments = {"inputs": inputs.tolist(), "initial": initial.tolist()}
        yield held("recurrence.cumulative_state", arguments, measured, rounding(2 * steps * width, 10))


def _jacobian(part: Network, inputs: Tensor, initial: Tensor, weight: Tensor) -> tuple[list[list[float]], Tensor]:
    """The states h_0 to h_{t-1}, and dh_t/dWh of the part."""
    states = [initial, *linear_network(inputs, initial, weight)[:-1]]
    weight = weight.clone().requires_grad_()
    rows = [torch.autograd.grad(unit, weight, retain_graph=True)[0] for unit in part(inputs, initial, weight)[-1]]
    return [state.tolist() for state in states], torch.stack(rows)


@experiment("recurrence.identity_weight_gradient", part=linear_network, mutants=WRONG_GRADIENTS, how="autograd, float64")
def identity_weight_gradient(part: Network, draws: Draws) -> Iterator[Evidence]:
    """All d x d x d entries at Wh = I, 1 to 12 steps, width 1 to 4."""
    for steps, width in SHAPES * 2:
        inputs, initial = draws.normal(steps, width), draws.normal(width)
        states, measured = _jacobian(part, inputs, initial, torch.eye(width, dtype=inputs.dtype))
        yield held("recurrence.identity_weight_gradient", {"states": states}, measured, rounding(4 * steps * width, 20))


@experiment("recurrence.recurrent_weight_gradient", part=linear_network, mutants=WRONG_GRADIENTS, how="autograd, float64")
def recurrent_weight_gradient(part: Network, draws: Draws) -> Iterator[Evidence]:
    """All d x d x d entries at random Wh, 1 to 12 steps, width 1 to 4."""
    for steps, width in SHAPES * 2:
        inputs, initial, weight = draws.normal(steps, width), draws.normal(width), draws.normal(width, width) / width
        states, measured = _jacobian(part, inputs, initial, weight)
        tolerance = rounding(4 * steps * width**2, 1 + measured.abs().max().item())
        yield held("recurrence.recurrent_weight_gradient", {"states": states, "weight": weight.tolist()}, measured, tolerance)
