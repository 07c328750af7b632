"""`GatedRNN` against its laws: states by running it, gradients by autograd through its own backward pass."""

from collections.abc import Callable, Iterator

import sympy
import torch
from torch import Tensor
from torch.func import functional_call

from torchstone.core.evidence import Evidence, Relation
from torchstone.parts.recurrence import GatedRNN
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

# (inputs (T, n), h_0 (m), Wc (m, n), Wx (m, n), Wh (m, m)) -> states (T, m)
Network = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
SHAPES = ((1, 1, 1), (2, 3, 1), (4, 1, 3), (7, 4, 3))  # T, n, m


def running(inputs: Tensor, state: Tensor, by_gate: Tensor, by_value: Tensor, weight: Tensor) -> Tensor:
    """Every state of a `GatedRNN`."""
    network = GatedRNN(inputs.shape[1], len(state), device="meta")
    parameters = {"weight_ih": torch.cat([by_gate, by_value]), "weight_hh": weight}
    output: Tensor = functional_call(network, parameters, (inputs, state.unsqueeze(0)))[0]
    return output


def _by_step(step: Step) -> Network:
    """A network that is wrong in its step: (x_t, h_{t-1}, Wc, Wx, Wh) -> h_t."""

    def network(inputs: Tensor, state: Tensor, by_gate: Tensor, by_value: Tensor, weight: Tensor) -> Tensor:
        states = [state]
        for row in inputs:
            states.append(step(row, states[-1], by_gate, by_value, weight))
        return torch.stack(states[1:])

    return network


def _mixed(old: Callable[[Tensor], Tensor], gate: Callable[[Tensor], Tensor]) -> Network:
    """What the gate sees of the state, and what is made of the gate."""

    def step(x: Tensor, h: Tensor, by_gate: Tensor, by_value: Tensor, weight: Tensor) -> Tensor:
        c = gate(torch.sigmoid(by_gate @ x + weight @ old(h)))
        return c * h + (1 - c) * (by_value @ x)

    return _by_step(step)


WRONG_GRADIENTS = {
    "gradient stopped at the gate": _mixed(Tensor.detach, lambda c: c),
    "gate and its rest exchanged": _mixed(lambda h: h, lambda c: 1 - c),
    "one gate for all units": _mixed(lambda h: h, lambda c: c.mean().expand_as(c)),
    "transposed Wh": lambda x, h, c, v, w: running(x, h, c, v, -w.t()),
}


def _drawn(draws: Draws, time: int, inputs: int, hidden: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    by_gate, by_value, weight = draws.normal(hidden, inputs), draws.normal(hidden, inputs), draws.normal(hidden, hidden)
    return draws.normal(time, inputs), draws.normal(hidden), by_gate, by_value, weight


def _forward(
    inputs: Tensor, state: Tensor, by_gate: Tensor, by_value: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gates c_1.., values Wx x_1.. and states h_0..h_{T-1}: of the running network, the gate by its definition."""
    states = torch.cat([state.unsqueeze(0), running(inputs, state, by_gate, by_value, weight)[:-1]])
    return torch.sigmoid(inputs @ by_gate.t() + states @ weight.t()), inputs @ by_value.t(), states


def gate_of(inputs: int, hidden: int) -> Tensor:
    """One gate of a `GatedRNN`."""
    network = GatedRNN(inputs, hidden, dtype=torch.float64)
    return network.gates(torch.zeros(inputs, dtype=torch.float64), torch.zeros(hidden, dtype=torch.float64))


@experiment(
    "recurrence.gate_size",
    part=gate_of,
    mutants={
        "one for each input": lambda n, _: torch.zeros(n),
        "one for both": lambda n, m: torch.zeros(n + m),
        "one for all units": lambda *_: torch.zeros(1),
    },
)
def gate_size(part: Callable[[int, int], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Every pair of sizes up to 4, and larger ones."""
    for inputs, hidden in [*((n, m) for n in range(1, 5) for m in range(1, 5)), *[draws.integers(5, 60, 2) for _ in range(5)]]:
        yield held("recurrence.gate_size", {"input_size": inputs, "hidden_size": hidden}, part(inputs, hidden).numel())


@experiment(
    "recurrence.gated_state",
    part=running,
    mutants={name: network for name, network in WRONG_GRADIENTS.items() if "stopped" not in name}
    | {"Wc and Wx exchanged": lambda x, h, c, v, w: running(x, h, v, c, w)},
)
def gated_state(part: Network, draws: Draws) -> Iterator[Evidence]:
    """The last of 1 to 7 steps, from the state before it."""
    for time, inputs, hidden in SHAPES * 6:
        x, state, by_gate, by_value, weight = _drawn(draws, time, inputs, hidden)
        states = [state, *part(x, state, by_gate, by_value, weight)]
        tables = {"drive": by_gate @ x[-1], "values": by_value @ x[-1], "state": states[-2], "weight": weight}
        arguments = {name: table.tolist() for name, table in tables.items()}
        yield held("recurrence.gated_state", arguments, states[-1], rounding(100, 10))


def _jacobian(output: Tensor, by: Tensor) -> Tensor:
    return torch.stack([torch.autograd.grad(unit, by, retain_graph=True)[0] for unit in output])


@experiment("recurrence.gated_jacobian", part=running, mutants=WRONG_GRADIENTS, how="autograd, float64")
def gated_jacobian(part: Network, draws: Draws) -> Iterator[Evidence]:
    """One step from random states, 1 to 3 units."""
    for _, inputs, hidden in SHAPES * 6:
        x, state, *weights = _drawn(draws, 1, inputs, hidden)
        gates, values, _ = _forward(x, state, *weights)
        leaf = state.clone().requires_grad_()
        measured = _jacobian(part(x, leaf, *weights)[0], leaf)
        tables = {"gates": gates[0], "state": state, "values": values[0], "weight": weights[2]}
        arguments = {name: table.tolist() for name, table in tables.items()}
        yield held("recurrence.gated_jacobian", arguments, measured, rounding(100, 1 + measured.abs().max().item()))


@experiment("recurrence.gated_weight_gradient", part=running, mutants=WRONG_GRADIENTS, how="autograd, float64")
def gated_weight_gradient(part: Network, draws: Draws) -> Iterator[Evidence]:
    """A loss at every step, 1 to 7 steps; every entry of the m x n gradient."""
    for time, inputs, hidden in SHAPES * 4:
        x, state, by_gate, by_value, weight = _drawn(draws, time, inputs, hidden)
        gradients = draws.normal(time, hidden)
        gates, values, states = _forward(x, state, by_gate, by_value, weight)
        leaf = by_value.clone().requires_grad_()
        (measured,) = torch.autograd.grad(part(x, state, by_gate, leaf, weight), leaf, gradients)
        tables = {"gradients": gradients, "inputs": x, "gates": gates, "states": states, "values": values, "weight": weight}
        arguments = {name: table.tolist() for name, table in tables.items()}
        tolerance = rounding(400 * time, 1 + measured.abs().max().item())
        yield held("recurrence.gated_weight_gradient", arguments, measured, tolerance)


def _gain(part: Network, x: Tensor, state: Tensor, by_gate: Tensor, by_value: Tensor, weight: Tensor) -> Tensor:
    jacobian: Tensor = torch.func.jacrev(lambda h: part(x, h, by_gate, by_value, weight)[-1])(state)
    norm: Tensor = torch.linalg.matrix_norm(jacobian, 2)
    return norm


@experiment(
    "recurrence.gated_gain",
    part=running,
    mutants={
        "state kept whole": _by_step(lambda x, h, c, v, w: h + (1 - torch.sigmoid(c @ x + w @ h)) * (v @ x)),
        "gate twice as steep": lambda x, h, c, v, w: running(x, h, 2 * c, v, 40 * w),
        "gate not squashed": _by_step(lambda x, h, c, v, w: torch.lerp(v @ x, h, c @ x + 10 * w @ h)),
    },
)
def gated_gain(part: Network, draws: Draws) -> Iterator[Evidence]:
    """1 to 7 steps, random and with a first state made worse; the gates and values that were are those of the running network."""

    def one(x: Tensor, state: Tensor, *weights: Tensor) -> Evidence:
        gates, values, _ = _forward(x, state, *weights)
        largest = max(values.abs().max().item(), state.abs().max().item())
        norm = torch.linalg.matrix_norm(weights[2], 2).item()
        arguments = {"largest_gate": gates.max().item(), "largest_value": largest, "weight_norm": norm, "steps": len(x)}
        measured = _gain(part, x, state, *weights)
        tolerance = rounding(200 * len(x), (1 + largest * norm) ** len(x))
        return held("recurrence.gated_gain", arguments, measured, tolerance, Relation.AT_MOST)

    for time, inputs, hidden in SHAPES * 4:
        x, state, by_gate, by_value, weight = _drawn(draws, time, inputs, hidden)
        yield one(x, state, by_gate, by_value, 0.1 * weight)
    x, state, by_gate, by_value, weight = _drawn(draws, 3, 2, 2)
    worse = adversarial(lambda h: _gain(part, x, h, by_gate, by_value, weight).log(), state, 8)
    yield one(x, worse, by_gate, by_value, weight)


def growing(part: Network, weight: float, amplitude: float, steps: int) -> Tensor:
    """dh_T/dh_0 of one unit that is driven to and fro, its gate held at 1/2 by a second input."""
    values = amplitude * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(steps)[:steps]
    inputs = torch.stack([values, weight * values / 3], 1)  # Wc x = -w h_{t-1}, and h_{t-1} = -values / 3
    row = torch.eye(2, dtype=torch.float64)
    start = torch.tensor([-amplitude / 3], dtype=torch.float64, requires_grad=True)
    output = part(inputs, start, row[1:], row[:1], torch.tensor([[weight]], dtype=torch.float64))
    return torch.autograd.grad(output[-1], start)[0]


@experiment(
    "recurrence.gated_growth",
    part=running,
    mutants={name: WRONG_GRADIENTS[name] for name in ("gradient stopped at the gate", "transposed Wh")}
    | {
        "gate that reads half the state": lambda x, h, c, v, w: running(x, h, c, v, w / 2),
        "gate twice as steep": lambda x, h, c, v, w: running(x, h, 2 * c, v, 2 * w),
    },
    how="autograd, float64",
    symbolic=lambda formula: [
        formula(sympy.Symbol("w"), sympy.Symbol("A"), 2) - (sympy.Rational(1, 4) - (sympy.Symbol("w") * sympy.Symbol("A") / 3) ** 2)
    ],
)
def gated_growth(part: Network, draws: Draws) -> Iterator[Evidence]:
    """1 to 12 steps, with products of weight and amplitude below and above 3.35."""
    for steps in range(1, 13):
        weight, amplitude = draws.uniform(0.5, 3.0, 2).tolist()
        measured = growing(part, weight, amplitude, steps)
        arguments = {"weight": weight, "amplitude": amplitude, "steps": steps}
        # a rounding of the state grows as its gradient does
        grown = (1 + weight * amplitude) ** (steps + 1)
        yield held("recurrence.gated_growth", arguments, measured, rounding(100 * steps, grown))
