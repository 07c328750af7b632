"""A4: the linear recurrence with identity weights, in closed form, and its gradient by Wh."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Posted
from torchstone.core.quantity import Unit
from torchstone.parts import LinearRNN
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import claimed, compared, found, generator, rounding, value

STEPS, WIDTH = 5, 7  # more units than states, so that every state's coefficient can be told


def _network(width: int) -> LinearRNN:
    """Wx = Wh = I, no bias, in float64."""
    network = LinearRNN(width, width, bias=False, dtype=torch.float64)
    torch.nn.init.eye_(network.weight_ih)
    torch.nn.init.eye_(network.weight_hh)
    return network


def _inputs(width: int) -> Tensor:
    return torch.randn(STEPS, width, generator=generator(7), dtype=torch.float64)


def _states(width: int, initial: Tensor) -> Tensor:
    """h_0 to h_T, (time + 1, width)."""
    output, _ = _network(width)(_inputs(width), initial.unsqueeze(0))
    return torch.cat([initial.unsqueeze(0), output]).detach()


def _jacobian(width: int, steps: int, initial: Tensor) -> Tensor:
    """dh_t/dWh of the running network: (i, j, k) for h_t[i] by Wh[j, k]."""
    network = _network(width)
    output, _ = network(_inputs(width)[:steps], initial.unsqueeze(0))
    return torch.stack([torch.autograd.grad(unit, network.weight_hh, retain_graph=True)[0] for unit in output[-1]])


def _sum(claim: Mapping[str, Any], rows: Tensor, offset: int, steps: int) -> Tensor:
    """The rows that a claimed sum names: from `first` to `last`, expressions in t; row 0 has the index `offset`."""
    first, last = (round(value(claim[end], t=steps)) for end in ("first", "last"))
    chosen: Tensor = rows[max(0, first - offset) : max(0, last - offset + 1)]
    return chosen.sum(0)


def _worst(law: str, said: Tensor, measured: Tensor, how: str) -> Evidence:
    """The entry that agrees least."""
    at = (said - measured).abs().argmax()
    scale = 1 + measured.abs().max().item()
    return compared(law, said.flatten()[at].item(), measured.flatten()[at].item(), rounding(8 * STEPS, scale), how)


@answers("A4.1")
def cumulative(posted: Posted) -> Answer:
    """The state, by running the recurrence on symbols and on numbers."""
    state = sympy.Symbol("h0")
    lines = []
    for step in range(1, 4):
        state = sympy.Symbol(f"x{step}") + state
        lines.append(f"h{step} = {sympy.sstr(state)}")
    return Answer(
        says=(f"h_t = h_0 + x_1 + ... + x_t: {lines[-1]}",),
        derivation=("Wx = Wh = I and b = 0 make it h_t = x_t + h_{t-1}", *lines, "by induction each step adds its own input"),
        evidence=proved("recurrence.cumulative_state"),
        claims=tuple(_state_claims(posted)),
    )


def _state_claims(posted: Posted) -> Iterator[Claim]:
    claim = posted.claims.get("state")
    if isinstance(claim, Mapping):
        yield claimed("state", _claimed_states(claim), _said)


def _said(held: Evidence) -> str:
    return f"{held.how} is {found(held):.4g}, not {held.predicted.value:.4g}"


def _claimed_states(claim: Mapping[str, Any]) -> Iterator[Evidence]:
    """The running network from the claimed h_0 against the claimed sum, after every step."""
    initial = torch.full((WIDTH,), float(claim["initial"]), dtype=torch.float64)
    states = _states(WIDTH, initial)
    rows, offset = {"x": (_inputs(WIDTH), 1), "h": (states, 0)}[claim["sum_of"]]
    for t in range(1, STEPS + 1):
        said = initial + _sum(claim, rows, offset, t)
        yield _worst("recurrence.cumulative_state", said, states[t], f"a unit of h_{t} from h_0 = {claim['initial']}")


@answers("A4.2")
def weight_gradient(posted: Posted) -> Answer:
    """The gradient by Wh: which states it holds, where they stand, and how many numbers it has."""
    initial = torch.ones(WIDTH, dtype=torch.float64)
    jacobian, states = _jacobian(WIDTH, STEPS, initial), _states(WIDTH, initial)
    own = torch.stack([jacobian[i, i] for i in range(WIDTH)])
    others = jacobian[~torch.eye(WIDTH, dtype=torch.bool)]
    coefficients = torch.linalg.lstsq(states.T, own.mean(0).unsqueeze(1)).solution.flatten()
    zeros = f"{others.numel() - int(others.count_nonzero())} of the {others.numel()} with i not j are 0"
    summed = " + ".join(f"{c:.6g} h_{s}" for s, c in enumerate(coefficients.tolist()) if abs(c) > rounding(1000).total)
    return Answer(
        says=(
            f"entries: dh_t[i]/dWh[j,k] is the sum of h_0[k] to h_{{t-1}}[k] for i = j, else 0: at t = {STEPS} {summed}",
            f"shape: {' x '.join(map(str, jacobian.shape))} for d = {WIDTH}; {zeros}",
        ),
        derivation=(
            "h_t = x_t + Wh h_{t-1}, so dh_t = dWh h_{t-1} + Wh dh_{t-1}",
            "at Wh = I: dh_t = dWh h_{t-1} + dh_{t-1} = dWh (h_0 + ... + h_{t-1}), as h_0 does not depend on Wh",
            "(dWh h)[i] = sum_k dWh[i,k] h[k]: only row i of Wh reaches h_t[i]",
        ),
        evidence=proved("recurrence.identity_weight_gradient", "recurrence.recurrent_weight_gradient"),
        claims=tuple(_gradient_claims(posted)),
        remarks=("for d = 1 the sum is the whole gradient; for d > 1 it leaves open which entries it fills; the others are 0",),
    )


def _gradient_claims(posted: Posted) -> Iterator[Claim]:
    entries, shape = posted.claims.get("entries"), posted.claims.get("shape")
    if isinstance(entries, Mapping):
        yield claimed("entries", _claimed_entries(entries), _said)
    if isinstance(shape, Sequence):
        numbers = math.prod(round(value(size, d=WIDTH, t=STEPS)) for size in shape)
        jacobian = _jacobian(WIDTH, STEPS, torch.ones(WIDTH, dtype=torch.float64))
        held = compared("recurrence.identity_weight_gradient", numbers, jacobian.numel(), how=f"d = {WIDTH}", unit=Unit.ELEMENTS)
        yield Claim("shape", held, f"{WIDTH} units have {jacobian.numel()} derivatives by Wh, not {numbers}")


def _claimed_entries(claim: Mapping[str, Any]) -> Iterator[Evidence]:
    """The claimed sum against dh_t[i]/dWh[i, k] for width 1 and more, after every step."""
    for width in (1, WIDTH):
        initial = torch.ones(width, dtype=torch.float64)
        states = _states(width, initial)
        rows, offset = {"h": (states, 0), "x": (_inputs(width), 1)}[claim["sum_of"]]
        for t in range(1, STEPS + 1):
            jacobian, said = _jacobian(width, t, initial), _sum(claim, rows, offset, t)
            for i in range(width):
                how = f"an entry of dh_{t}[{i}]/dWh[{i},k] at width {width}"
                yield _worst("recurrence.identity_weight_gradient", said, jacobian[i, i], how)
