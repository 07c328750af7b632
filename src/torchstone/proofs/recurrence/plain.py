"""`RNN` with its activation inside and outside: the map between the two, and the bound on its gradient over T steps."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jacrev

from torchstone.core.evidence import Evidence, Relation
from torchstone.parts.recurrence.rnn import ACTIVATIONS, RNN
from torchstone.proofs.draws import Draws, adversarial
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

# (form, nonlinearity, inputs (T, n), state (m), (U, W, b)) -> states (T, m)
Weights = tuple[Tensor, Tensor, Tensor]
Network = Callable[[Any, Any, Tensor, Tensor, Weights], Tensor]
SHAPES = ((1, 1, 1), (2, 3, 1), (5, 1, 3), (9, 2, 4))  # T, n, m


def running(form: Any, nonlinearity: Any, inputs: Tensor, state: Tensor, weights: Weights) -> Tensor:
    """Every state of an `RNN`."""
    network = RNN(inputs.shape[1], len(state), nonlinearity, device="meta", activation=form)
    parameters = dict(zip(("weight_ih", "weight_hh", "bias"), weights, strict=True))
    output: Tensor = functional_call(network, parameters, (inputs, state.unsqueeze(0)))[0]
    return output


def _drawn(draws: Draws, time: int, inputs: int, hidden: int) -> tuple[Tensor, Tensor, Weights]:
    weights = draws.normal(hidden, inputs), draws.normal(hidden, hidden), draws.normal(hidden)
    return draws.normal(time, inputs), draws.normal(hidden), weights


def _stepped(step: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, Weights], Tensor]) -> Network:
    """A network that is wrong in its step: (sigma, x_t, state, weights) -> the next state, whatever the form."""

    def network(_: Any, nonlinearity: Any, inputs: Tensor, state: Tensor, weights: Weights) -> Tensor:
        states = [state]
        for row in inputs:
            states.append(step(ACTIVATIONS[nonlinearity].function, row, states[-1], weights))
        return torch.stack(states[1:])

    return network


def _only(form: str, wrong: Network) -> Network:
    """A network that is wrong in one of its forms."""
    return lambda which, *rest: (wrong if which == form else running)(which, *rest)


@experiment(
    "recurrence.inside_state",
    part=running,
    mutants={
        "zeros for the mapped first state": _only("inside", lambda f, s, x, h, w: running(f, s, x, torch.zeros_like(h), w)),
        "first state not mapped": _only("outside", lambda f, s, x, h, w: running(f, s, x, ACTIVATIONS[s].function(h), w)),
        "no activation in the outside form": _only("outside", _stepped(lambda _, x, h, w: w[1] @ h + w[0] @ x + w[2])),
        "input within the activation": _only("outside", _stepped(lambda sigma, x, h, w: w[1] @ sigma(h + w[0] @ x) + w[2])),
        "tanh for every activation": lambda form, _, *rest: running(form, "tanh", *rest),
    },
)
def inside_state(part: Network, draws: Draws) -> Iterator[Evidence]:
    """Both forms run from states that go with each other; three activations, 1 to 9 steps."""
    for time, inputs, hidden in SHAPES * 4:
        for nonlinearity, activation in ACTIVATIONS.items():
            x, state, weights = _drawn(draws, time, inputs, hidden)
            outside = part("outside", nonlinearity, x, state, weights)
            inside = part("inside", nonlinearity, x, activation.function(state), weights)
            states = {"states": outside.tolist(), "nonlinearity": nonlinearity}
            yield held("recurrence.inside_state", states, inside, rounding(40 * hidden * time, 10 + outside.abs().max().item()))


def from_inside(nonlinearity: Any, inputs: Tensor, state: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """The states of the inside form from g_0, g_0 to g_{T-1}, and of the outside form begun with what goes with g_0."""
    network = RNN(inputs.shape[1], len(state), nonlinearity, dtype=inputs.dtype)
    inside = torch.cat([state.unsqueeze(0), running("inside", nonlinearity, inputs, state, weights)[:-1]])
    return inside, running("outside", nonlinearity, inputs, network.outside_state(state), weights)


@experiment(
    "recurrence.outside_state",
    part=from_inside,
    mutants={
        "g_0 itself for h_0": lambda s, x, g, w: (from_inside(s, x, g, w)[0], running("outside", s, x, g, w)),
        "one step late": lambda s, x, g, w: (from_inside(s, x, g, w)[0], running("inside", s, x, g, w)),
        "bias left out": lambda s, x, g, w: (from_inside(s, x, g, w)[0], from_inside(s, x, g, (w[0], w[1], 0 * w[2]))[1]),
        "transposed weight": lambda s, x, g, w: (from_inside(s, x, g, w)[0], from_inside(s, x, g, (w[0], -w[1].t(), w[2]))[1]),
    },
)
def outside_state(part: Callable[..., tuple[Tensor, Tensor]], draws: Draws) -> Iterator[Evidence]:
    """From first states that the activation can give; three activations, 1 to 9 steps."""
    for time, inputs, hidden in SHAPES * 4:
        for nonlinearity, activation in ACTIVATIONS.items():
            x, state, weights = _drawn(draws, time, inputs, hidden)
            states, outside = part(nonlinearity, x, activation.function(state), weights)
            names = zip(("input_weight", "weight", "bias"), (one.tolist() for one in weights), strict=True)
            arguments = {"states": states.tolist(), "inputs": x.tolist(), **dict(names)}
            tolerance = rounding(200 * hidden * time, 10 + outside.abs().max().item())  # the error of an undone sigma too
            yield held("recurrence.outside_state", arguments, outside, tolerance)


def gain(part: Network, form: str, nonlinearity: str, inputs: Tensor, state: Tensor, weights: Weights) -> Tensor:
    """The spectral norm of dh_T/dh_0."""
    jacobian: Tensor = jacrev(lambda h: part(form, nonlinearity, inputs, h, weights)[-1])(state)
    norm: Tensor = torch.linalg.matrix_norm(jacobian, 2)
    return norm


def _runs(part: Network, draws: Draws) -> Iterator[tuple[str, Tensor, int, Tensor]]:
    """Activation, W, T and the gain: random, at the bound, and made worse."""
    for number in range(12):
        form = ("inside", "outside")[number % 2]
        nonlinearity = list(ACTIVATIONS)[number % 3]
        time, hidden = 1 + number, 1 + number % 4
        x, state, (_, weight, _) = _drawn(draws, time, hidden, hidden)
        flat = ACTIVATIONS[nonlinearity].function(torch.zeros(hidden, dtype=x.dtype))
        rotation = draws.uniform(0.5, 2.0, 1).item() * torch.linalg.qr(weight)[0]
        eye, zero = torch.eye(hidden, dtype=x.dtype), torch.zeros(hidden, dtype=x.dtype)
        yield nonlinearity, weight, time, gain(part, form, nonlinearity, x, state, (eye, weight, zero))
        # every step where the activation is steepest: what is driven is 0 (relu: 1)
        rest = torch.full_like(zero, float(nonlinearity == "relu"))
        drive = (rest - rotation @ (flat if nonlinearity != "relu" else rest)).expand(time, -1)
        start = flat if form == "inside" and nonlinearity != "relu" else rest
        yield nonlinearity, rotation, time, gain(part, form, nonlinearity, drive, start, (eye, rotation, zero))
    x, state, (_, weight, _) = _drawn(draws, 4, 3, 3)
    eye, zero = torch.eye(3, dtype=x.dtype), torch.zeros(3, dtype=x.dtype)

    def objective(start: Tensor) -> Tensor:
        return gain(part, "inside", "tanh", x, start, (eye, weight, zero)).log()

    yield "tanh", weight, 4, gain(part, "inside", "tanh", x, adversarial(objective, state, 8), (eye, weight, zero))


WRONG_GAINS: dict[str, Network] = {
    "residual": _stepped(lambda sigma, x, h, w: h + sigma(w[1] @ h + w[0] @ x + w[2])),
    "activation twice as steep": _stepped(lambda sigma, x, h, w: sigma(2 * (w[1] @ h + w[0] @ x + w[2]))),
    "weight applied twice": _stepped(lambda sigma, x, h, w: sigma(2 * w[1] @ h + w[1] @ sigma(w[1] @ h) + w[0] @ x)),
    "no activation": _stepped(lambda _, x, h, w: w[1] @ h + w[0] @ x + w[2]),
}


@experiment("recurrence.vanishing_gradient", part=running, mutants=WRONG_GAINS, how="random, adversarial, and at the bound")
def vanishing_gradient(part: Network, draws: Draws) -> Iterator[Evidence]:
    """Both forms, three activations, 1 to 12 steps; rotations where every step is as steep as can be attain the bound."""
    for nonlinearity, weight, time, norm in _runs(part, draws):
        eigenvalue = torch.linalg.eigvalsh(weight.t() @ weight)[-1].item()
        arguments = {"steepest": ACTIVATIONS[nonlinearity].steepest, "eigenvalue": eigenvalue, "steps": time}
        bound = (arguments["steepest"] * eigenvalue**0.5) ** time
        yield held("recurrence.vanishing_gradient", arguments, norm, rounding(100 * time, bound), Relation.AT_MOST)


@experiment("recurrence.exploding_weight", part=running, mutants=WRONG_GAINS, how="random, adversarial, and at the bound")
def exploding_weight(part: Network, draws: Draws) -> Iterator[Evidence]:
    """What a gain asks of the norm of W; rotations where every step is as steep as can be have no more than that."""
    for nonlinearity, weight, time, norm in _runs(part, draws):
        arguments = {"gain": norm.item(), "steps": time, "steepest": ACTIVATIONS[nonlinearity].steepest}
        measured = torch.linalg.matrix_norm(weight, 2)
        yield held("recurrence.exploding_weight", arguments, measured, rounding(100 * time, measured.item()), Relation.AT_LEAST)
