"""`AttentionRNN` against its laws: states by running it, gradients by autograd through its own backward pass."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from torchstone.core.evidence import Evidence
from torchstone.parts.recurrence import AttentionRNN
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

# (inputs (T, n), past states (k, m), newest first, parameters by name) -> states (T, m)
Weights = Mapping[str, Tensor]
Network = Callable[[Tensor, Tensor, Weights], Tensor]
SHAPES = ((1, 1, 1), (2, 3, 1), (3, 1, 3), (2, 4, 3), (5, 2, 2))  # k, n, m


def running(inputs: Tensor, past: Tensor, weights: Weights) -> Tensor:
    """Every state of an `AttentionRNN` over as many past states as came."""
    network = AttentionRNN(inputs.shape[1], past.shape[1], len(past), device="meta")
    output: Tensor = functional_call(network, dict(weights), (inputs, past))[0]
    return output


def pooling(inputs: Tensor, initial: Tensor, weights: Weights) -> Tensor:
    """Every state of the infinite `AttentionRNN` from h_0."""
    network = AttentionRNN(inputs.shape[1], len(initial), math.inf, dtype=inputs.dtype)
    network.load_state_dict(dict(weights))
    output: Tensor = network(inputs, network.pooled(initial.unsqueeze(0)))[0]
    return output


def _weights(draws: Draws, slots: int, inputs: int, hidden: int) -> dict[str, Tensor]:
    names = ("query", "key", "value")
    outer = {f"{name}_ih": draws.normal(hidden, inputs) / inputs for name in names}
    return outer | {f"{name}_hh": draws.normal(slots, hidden, hidden) / hidden for name in names}


def _with(network: Network, **changed: Callable[[Tensor], Tensor]) -> Network:
    """A network that has some of its parameters wrong."""
    return lambda x, h, w: network(x, h, {**w, **{name: change(w[name]) for name, change in changed.items()}})


def _step(inputs: Tensor, past: Tensor, weights: Weights, attend: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The definition, with something else for (scores, values) -> state."""
    line, states = list(past), []
    for x in inputs:
        sources = [(x, *(weights[f"{name}_ih"] for name in ("query", "key", "value")))]
        sources += [(h, *(weights[f"{name}_hh"][i] for name in ("query", "key", "value"))) for i, h in enumerate(line)]
        scores = torch.stack([(q @ s) @ (k @ s) for s, q, k, _ in sources])
        states.append(attend(scores, torch.stack([v @ s for s, _, _, v in sources])))
        line = [states[-1], *line[:-1]]
    return torch.stack(states)


WRONG: dict[str, Network] = {
    "keys for values": lambda x, h, w: running(x, h, {**w, "value_hh": w["key_hh"]}),
    "scores scaled": lambda x, h, w: _step(x, h, w, lambda s, v: torch.softmax(s / 2, 0) @ v),
    "values averaged evenly": lambda x, h, w: _step(x, h, w, lambda s, v: torch.softmax(0 * s, 0) @ v),
    "sigmoids for the softmax": lambda x, h, w: _step(x, h, w, lambda s, v: torch.sigmoid(s) @ v),
    "gradient stopped at the scores": lambda x, h, w: _step(x, h, w, lambda s, v: torch.softmax(s.detach(), 0) @ v),
}
WRONG_FORWARD = {name: network for name, network in WRONG.items() if "gradient" not in name} | {
    "oldest state first": lambda x, h, w: running(x, h.flip(0) + 1, w),
}


def _tables(weights: Weights) -> dict[str, list[Any]]:
    """queries, keys and values, of the input and of each past state."""
    names = {"queries": "query", "keys": "key", "values": "value"}
    return {said: [weights[f"{one}_ih"].tolist(), *weights[f"{one}_hh"].tolist()] for said, one in names.items()}


@experiment("recurrence.attention_state", part=running, mutants=WRONG_FORWARD)
def attention_state(part: Network, draws: Draws) -> Iterator[Evidence]:
    """The last of 3 steps, from the states before it; 1 to 5 past states."""
    for slots, inputs, hidden in SHAPES * 4:
        weights, x, past = _weights(draws, slots, inputs, hidden), draws.normal(3, inputs), draws.normal(slots, hidden)
        states = part(x, past, weights)
        before = [*states[:-1].flip(0), *past][:slots]
        arguments = {"sources": [x[-1].tolist(), *(state.tolist() for state in before)], **_tables(weights)}
        yield held("recurrence.attention_state", arguments, states[-1], rounding(400, 10))


@experiment(
    "recurrence.infinite_attention",
    part=pooling,
    mutants={
        "only the last state": lambda x, h, w: running(x, h.unsqueeze(0), w),
        "first state forgotten": lambda x, h, w: pooling(x, 0 * h, w),
        "keys for values": lambda x, h, w: pooling(x, h, {**w, "value_hh": w["key_hh"]}),
        "input's key shared": _with(pooling, key_ih=lambda k: 2 * k),
        "running mean": lambda x, h, w: pooling(x, h, {**w, "query_hh": 0 * w["query_hh"]}),
    },
    how="float64, against the whole sum",
)
def infinite_attention(part: Network, draws: Draws) -> Iterator[Evidence]:
    """The running softmax against the whole sum, 2 to 11 steps, scores up to hundreds."""
    for steps, (_, inputs, hidden) in enumerate(SHAPES * 2, start=2):
        weights, x, initial = _weights(draws, 1, inputs, hidden), (1 + steps) * draws.normal(steps, inputs), draws.normal(hidden)
        sides = {side: tuple(weights[f"{name}_{end}"] for name in ("query", "key", "value"))
                 for side, end in (("outer", "ih"), ("inner", "hh"))}  # fmt: skip
        arguments = {
            "inputs": x.tolist(), "initial": initial.tolist(), "outer": tuple(one.tolist() for one in sides["outer"]),
            "inner": tuple(one[0].tolist() for one in sides["inner"]),
        }  # fmt: skip
        found = part(x, initial, weights)
        scores = 1 + (x @ sides["outer"][0].t()).norm() * (x @ sides["outer"][1].t()).norm() + found.norm() ** 2
        tolerance = rounding(100 * steps * scores.item(), 1 + found.abs().max().item())  # an error of a score is one of a share
        yield held("recurrence.infinite_attention", arguments, found, tolerance)


def _jacobian(output: Tensor, by: Tensor) -> Tensor:
    return torch.stack([torch.autograd.grad(unit, by, retain_graph=True)[0] for unit in output])


def _laws_jacobian(x: Tensor, past: Tensor, weights: Weights, at: int) -> dict[str, Any]:
    """What the law wants of one step by definition: share, value, state, past state and its matrices; `at` counts from 1."""
    query, key, value = (weights[f"{name}_hh"][at - 1] for name in ("query", "key", "value"))
    scores = torch.stack([
        (weights["query_ih"] @ x) @ (weights["key_ih"] @ x),
        *((q @ h) @ (k @ h) for h, q, k in zip(past, weights["query_hh"], weights["key_hh"], strict=True)),
    ])
    table = {
        "share": torch.softmax(scores, 0)[at], "value": value @ past[at - 1], "state": running(x[None], past, weights)[0],
        "past": past[at - 1], "query": query, "key": key, "weight": value,
    }  # fmt: skip
    return {name: one.tolist() for name, one in table.items()}


@experiment("recurrence.attention_jacobian", part=running, mutants=WRONG, how="autograd, float64")
def attention_jacobian(part: Network, draws: Draws) -> Iterator[Evidence]:
    """One step by each of its 1 to 5 past states."""
    for slots, inputs, hidden in SHAPES * 3:
        weights, x, past = _weights(draws, slots, inputs, hidden), draws.normal(inputs), draws.normal(slots, hidden)
        leaf = past.clone().requires_grad_()
        whole = _jacobian(part(x[None], leaf, weights)[0], leaf)  # (m, k, m)
        for at in range(1, slots + 1):
            measured = whole[:, at - 1]
            arguments = _laws_jacobian(x, past, weights, at)
            yield held("recurrence.attention_jacobian", arguments, measured, rounding(400, 1 + measured.abs().max().item()))


@experiment("recurrence.attention_loss_gradient", part=running, mutants=WRONG, how="autograd, float64")
def attention_loss_gradient(part: Network, draws: Draws) -> Iterator[Evidence]:
    """By the newest state that a sequence of 5 steps begins with, a loss at every step; 1 to 5 past states."""
    steps = 5
    for slots, inputs, hidden in SHAPES * 2:
        weights, x, past = _weights(draws, slots, inputs, hidden), draws.normal(steps, inputs), draws.normal(slots, hidden)
        gradients = draws.normal(steps, hidden)
        leaf = past.clone().requires_grad_()
        measured = torch.autograd.grad(part(x, leaf, weights), leaf, gradients)[0][0]
        line = torch.cat([running(x, past, weights).flip(0), past])  # newest first
        jacobians = []
        for step in range(1, steps + 1):
            before = line[steps - step + 1 :][:slots].clone().requires_grad_()
            one = _jacobian(running(x[step - 1 : step], before, weights)[0], before)
            jacobians.append([one[:, ago].tolist() for ago in range(min(slots, step))])
        arguments = {"gradients": [[0.0] * hidden, *gradients.tolist()], "jacobians": jacobians}
        yield held("recurrence.attention_loss_gradient", arguments, measured, rounding(2000, 1 + measured.abs().max().item()))


def shares(window: int, inputs: int, hidden: int) -> int:
    """How many values a state is an average of: with values 0, e_1, e_2, .. their shares can be read off the state."""
    network = AttentionRNN(inputs, hidden, window, dtype=torch.float64)
    places = {name: torch.zeros_like(one) for name, one in network.state_dict().items()}
    counted = 0
    for at in range(window + 1):  # the only value that is not 0
        chosen = {name: one.clone() for name, one in places.items()}
        target = chosen["value_ih"] if at == 0 else chosen["value_hh"][at - 1]
        target[0, 0] = 1.0
        network.load_state_dict(chosen)
        x, past = torch.ones(1, inputs, dtype=torch.float64), torch.ones(window, hidden, dtype=torch.float64)
        counted += int(network(x, past)[0].abs().sum().item() > 0)
    return counted


@experiment(
    "recurrence.attention_size",
    part=shares,
    mutants={
        "input left out": lambda k, n, m: shares(k, n, m) - 1,
        "one for each input feature": lambda _, n, __: n,
        "one for each hidden unit": lambda _, __, m: m,
    },
    how="exact, shares counted in the running network",
)
def attention_size(part: Callable[[int, int, int], int], draws: Draws) -> Iterator[Evidence]:
    """1 to 6 past states, sizes of input and state drawn apart."""
    for window in (1, 2, 3, 6):
        inputs, hidden = draws.integers(1, 9, 2)
        for sizes in ((inputs, hidden), (window + 3, window + 5)):
            yield held("recurrence.attention_size", {"window": window}, part(window, *sizes))


def carried(window: float, hidden: int, steps: int) -> int:
    """The numbers that an `AttentionRNN` hands on after some steps."""
    network = AttentionRNN(2, hidden, window)
    return int(network(torch.zeros(steps, 2))[1].numel())


@experiment(
    "recurrence.attention_memory",
    part=carried,
    mutants={
        "every state kept": lambda w, m, t: t * m if w == math.inf else carried(w, m, t),
        "one state": lambda _, m, __: m,
        "scores kept too": lambda w, m, t: carried(w, m, t) + t,
    },
    how="exact",
)
def attention_memory(part: Callable[[float, int, int], int], draws: Draws) -> Iterator[Evidence]:
    """Finite and infinite windows, after few and many steps."""
    for window in (1, 2, 5, math.inf):
        for steps in (2, 3, 30):
            hidden = draws.integer(3, 9)
            yield held("recurrence.attention_memory", {"hidden_size": hidden, "window": window}, part(window, hidden, steps))
