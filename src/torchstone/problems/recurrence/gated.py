"""E1.2: the gated recurrent network: its picture, its gate, its gradient by Wx, and whether it vanishes or explodes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Claim, Drawing, Posted
from torchstone.core.quantity import Unit
from torchstone.parts import GatedRNN
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import claimed, compared, found, generator, rounding, value, worst

INPUTS, HIDDEN, STEPS = 5, 7, 6
_GRADIENT = "recurrence.gated_weight_gradient"


def gated(inputs: int = INPUTS, hidden: int = HIDDEN) -> GatedRNN:
    """A random network in float64."""
    network = GatedRNN(inputs, hidden, dtype=torch.float64)
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator(number), dtype=torch.float64))
    return network


def draw(*shape: int, seed: int = 5) -> Tensor:
    """Normal draws in float64."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def by_rows(output: Tensor, leaf: Tensor) -> Tensor:
    """The Jacobian of a vector by a leaf, by autograd, one row after the other."""
    return torch.stack([torch.autograd.grad(unit, leaf, retain_graph=True)[0] for unit in output])


@answers("E1.2.1")
def picture(_: Posted) -> Answer:
    """The running network drawn."""
    network = gated(3, 4)
    drawn = network.diagram()
    shapes = f"Wc and Wx {HIDDEN} x {INPUTS}, Wh {HIDDEN} x {HIDDEN}"
    return Answer(
        says=(f"diagram: one step of h[t] from h[t-1] and x[t], drawn below for n = 3 and m = 4; in general m x n, here {shapes}",),
        derivation=(
            "c[t] mixes two products by a sigmoid; h[t] is the sum of c[t] * h[t-1] and (1 - c[t]) * Wx x[t]",
            "h[t] goes on to be the h[t-1] of the next step",
        ),
        evidence=proved("recurrence.gated_state", "recurrence.gate_size"),
        drawings=(Drawing(drawn.title, drawn.text, drawn.svg),),
    )


@answers("E1.2.2")
def dimension(posted: Posted) -> Answer:
    """The gate of a network whose sizes n and m differ, counted."""
    sizes = {(n, m): gated(n, m).gates(draw(n), draw(m)).numel() for n, m in ((INPUTS, HIDDEN), (3, 2), (2, 9))}
    counts = [({"n": n, "m": m}, count) for (n, m), count in sizes.items()]
    seen = "; ".join(f"{count} numbers at n = {n}, m = {m}" for (n, m), count in sizes.items())
    letter = "m" if all(count == m for (_, m), count in sizes.items()) else "n"
    return Answer(
        says=(f"dimension: c[t] is in R^{letter}: {seen}",),
        derivation=("c[t] multiplies h[t-1] unit by unit, and h is in R^m", "Wc is m x n and Wh m x m, so Wc x + Wh h is in R^m"),
        evidence=proved("recurrence.gate_size"),
        claims=tuple(dimension_claims(posted, counts, "recurrence.gate_size")),
    )


def dimension_claims(posted: Posted, sizes: Sequence[tuple[Mapping[str, int], int]], law: str) -> Iterator[Claim]:
    """A claimed dimension, a list of sizes that are multiplied, at every measured choice of sizes."""
    said = posted.claims.get("dimension")
    if isinstance(said, Sequence):
        held = (
            compared(
                law, math.prod(round(value(size, None, **at)) for size in said), count,
                how=", ".join(f"{name} = {number}" for name, number in at.items()), unit=Unit.ELEMENTS,
            )
            for at, count in sizes
        )  # fmt: skip
        yield claimed("dimension", held, lambda e: f"{found(e):g} numbers at {e.how}, not {e.predicted.value:g}")


@cache
def _tables() -> dict[str, Tensor]:
    """One run with a loss at every step: what backpropagation reads, the gradient by Wx, and every Jacobian dh[t]/dh[t-1]."""
    network, inputs, weights = gated(), draw(STEPS, INPUTS), draw(STEPS, HIDDEN, seed=6)
    first = draw(1, HIDDEN, seed=7)
    output, _ = network(inputs, first)
    (gradient,) = torch.autograd.grad(output, network.weight_ih, weights)
    states = torch.cat([first, output[:-1]]).detach()
    jacobians = []
    for row, state in zip(inputs, states, strict=True):
        leaf = state.clone().requires_grad_()
        jacobians.append(by_rows(network(row.unsqueeze(0), leaf.unsqueeze(0))[0][0], leaf))
    gates = network.gates(inputs, states).detach()
    tables = {"inputs": inputs, "weights": weights, "gates": gates, "jacobians": torch.stack(jacobians)}
    return {**tables, "gradient": gradient[HIDDEN:]}


def _summed(claim: Mapping[str, Any], reading: str) -> Tensor:
    """The claimed sum over t of dl/dh[t] (own + sum over i of (product over j of dh[factor]/dh[factor-1]) (1 - c[gate]) x[input]).

    Each step's own term is (1 - c[t]) * x[t]; `reading` is the index where the claim's input has none.
    """
    table = _tables()
    total = torch.zeros(HIDDEN, INPUTS, dtype=torch.float64)

    def local(gate: int, row: int, by_state: Tensor) -> Tensor:
        return torch.outer((1 - table["gates"][gate - 1]) * by_state, table["inputs"][row - 1])

    for t in range(1, STEPS + 1):
        total += local(t, t, table["weights"][t - 1])
        for i in range(round(value(claim["first"], t=t)), round(value(claim["last"], t=t)) + 1):
            by_state = table["weights"][t - 1]
            for j in range(round(value(claim["product_to"], t=t, i=i)), round(value(claim["product_from"], t=t, i=i)) - 1, -1):
                by_state = by_state @ table["jacobians"][round(value(claim["factor"], i=i, j=j, t=t)) - 1]
            row = reading if claim["input"] == "X" else claim["input"]
            total += local(round(value(claim["gate"], t=t, i=i)), round(value(row, t=t, i=i)), by_state)
    return total


def _gradient_claims(posted: Posted) -> Iterator[Claim]:
    """The claimed sum in that reading of its X that comes nearest."""
    claim = posted.claims.get("gradient")
    if isinstance(claim, Mapping):
        measured = _tables()["gradient"]
        readings = ("i", "t") if claim["input"] == "X" else ("",)
        held = min((_worst_entry(_summed(claim, reading), measured, reading) for reading in readings), key=_off)
        name, where = "an entry of dl/dWx", f" (X read as x[{held.how}])" if held.how else ""
        yield Claim("gradient", held, f"{name} over {STEPS} steps is {found(held):.4g}, not {held.predicted.value:.4g}{where}")
    if "dimension" in posted.claims:
        sizes = [({"n": INPUTS, "m": HIDDEN, "K": STEPS}, _tables()["gradient"].numel())]
        yield from dimension_claims(posted, sizes, _GRADIENT)


def _worst_entry(said: Tensor, measured: Tensor, how: str) -> Evidence:
    scale = 1 + measured.abs().max().item()
    pairs = zip(said.flatten().tolist(), measured.flatten().tolist(), strict=True)
    return worst(compared(_GRADIENT, one, other, rounding(2000, scale), how) for one, other in pairs)


def _off(evidence: Evidence) -> float:
    return abs(found(evidence) - evidence.predicted.value)


@answers("E1.2.3")
def gradient(posted: Posted) -> Answer:
    """dl/dWx by the recursion, held against autograd, with its dimension."""
    claim = {"first": "1", "last": "t - 1", "product_from": "i + 1", "product_to": "t", "factor": "j", "gate": "i", "input": "i"}
    measured, product = _tables()["gradient"], "J the product of dh[j]/dh[j-1] over j = t..i+1"
    ours = _worst_entry(_summed(claim, ""), measured, f"every entry, {STEPS} steps, a loss at each")
    return Answer(
        says=(
            "gradient: dl/dWx = sum over t of ((1 - c[t]) * e[t]) x[t]', e[t] = dl/dh[t] + (dh[t+1]/dh[t])' e[t+1], e[K+1] = 0",
            f"written out: sum over t and i <= t of ((1 - c[i]) * J' dl/dh[t]) x[i]', {product}; {_off(ours):.1g} from autograd",
            f"dimension: m x n, as Wx: {' x '.join(map(str, measured.shape))} for m = {HIDDEN}, n = {INPUTS}",
            "likeness: both pass m numbers through time; h from 1 to K by the step, e from K to 1 by its transposed Jacobian",
            "the gate that keeps the share c of h keeps the share c of e; the backward pass is linear, the forward one is not",
        ),
        derivation=(
            "h[t] depends on Wx directly by (1 - c[t]) * Wx x[t], and through h[t-1]",
            "dh[t]/dh[t-1] = diag(c) + diag((h[t-1] - Wx x[t]) c (1 - c)) Wh",
            "every path from Wx to the loss enters at a step i and goes on by Jacobians i+1, .., t",
        ),
        evidence=(*proved(_GRADIENT, "recurrence.gated_jacobian"), ours),
        claims=tuple(_gradient_claims(posted)),
    )


def _growing(weight: float, amplitude: float, steps: int) -> float:
    """dh[T]/dh[0] of one unit driven to and fro, its gate held at 1/2 by a second input."""
    network = GatedRNN(2, 1, dtype=torch.float64)
    values = amplitude * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(steps)[:steps]
    with torch.no_grad():
        network.weight_ih.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        network.weight_hh.fill_(weight)
    first = torch.full((1, 1), -amplitude / 3, dtype=torch.float64, requires_grad=True)
    output, _ = network(torch.stack([values, weight * values / 3], 1), first)
    return float(torch.autograd.grad(output[-1, 0], first)[0])


def _shut(drive: float, steps: int) -> float:
    """The norm of dh[T]/dh[0] with Wh = 0 and every gate at sigmoid(drive)."""
    network = gated(1, HIDDEN)
    with torch.no_grad():
        network.weight_hh.zero_()
        network.weight_ih[:HIDDEN].fill_(drive)
    leaf = draw(HIDDEN).requires_grad_()
    output, _ = network(torch.ones(steps, 1, dtype=torch.float64), leaf.unsqueeze(0))
    return float(torch.linalg.matrix_norm(by_rows(output[-1], leaf), 2))


@answers("E1.2.4")
def stability(posted: Posted) -> Answer:
    """A run that vanishes, one that keeps, and one that is built to explode."""
    law, weight, amplitude, steps = "recurrence.gated_gain", 3.0, 2.0, 40
    grown, shut, kept = abs(_growing(weight, amplitude, steps)), _shut(-1.0, steps), _shut(12.0, steps)
    gate = 1 / (1 + math.exp(1.0))
    share, built = gate**steps, f"one unit, Wh = {weight:g}, Wx x = +-{amplitude:g} in turn, c = 1/2"
    runs = (
        compared(law, 1.0, grown, how=f"Wh = {weight:g}, Wx x = +-{amplitude:g}, T = {steps}", relation=Relation.AT_LEAST),
        compared(law, share, shut, rounding(100 * steps, share), f"gates {gate:.3g}, Wh = 0", relation=Relation.AT_MOST),
    )
    return Answer(
        says=(
            f"vanish: yes, where gates stay below 1: c = {gate:.2g}, Wh = 0: norm of dh[{steps}]/dh[0] {shut:.2g}",
            f"it need not: with c = {1 / (1 + math.exp(-12.0)):.6f} it is {kept:.4f}",
            f"explode: yes, {built}: dh[{steps}]/dh[0] is {grown:.2g}",
        ),
        derivation=(
            "dh[t]/dh[t-1] = diag(c) + diag((h[t-1] - Wx x[t]) c (1 - c)) Wh: the first is below 1, the second has no such bound",
            "one unit at c = 1/2, h[t-1] = -A/3, Wx x = A: factor 1/2 - w A/3; next, h = A/3, Wx x = -A: factor 1/2 + w A/3",
            "two steps multiply by 1/4 - (w A/3)², larger than 1 in size where abs(w A) > 3 sqrt(5)/2 = 3.35",
            "with R the largest value or first state, the norm is at most (c + R norm(Wh)/2)^T: no explosion where R norm(Wh) = 0",
        ),
        evidence=(*proved("recurrence.gated_growth", law, "recurrence.gated_jacobian"), *runs),
        claims=tuple(_stability_claims(posted, grown, shut, steps)),
    )


def _stability_claims(posted: Posted, grown: float, shut: float, steps: int) -> Iterator[Claim]:
    """Whether it can explode, or vanish: held by the run that was built to do so."""
    runs = {"explode": (grown, Relation.AT_LEAST, Relation.AT_MOST), "vanish": (shut, Relation.AT_MOST, Relation.AT_LEAST)}
    for about, (norm, can, cannot) in runs.items():
        if about in posted.claims:
            said = cast("bool", posted.claims[about])
            held = compared("recurrence.gated_gain", 1.0, norm, how=f"T = {steps}", relation=can if said else cannot)
            yield Claim(about, held, f"a run built to {about} has a dh[{steps}]/dh[0] of norm {norm:.3g}")
