"""B4: the forward and the reverse trace of one formula, and the posted numbers held to the decimals that the question asks for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import torchstone
from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Claim, Drawing, Posted
from torchstone.core.quantity import Amount, Tolerance
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, found, rounding, value

if TYPE_CHECKING:
    from torchstone.traces.table import TangentRow, Trace, ValueRow

FORMULA, POINT, SEED = "1/(x1+x2) + x2**2 + cos(x1)", {"x1": 3.0, "x2": 6.0}, "x1"
DECIMALS = 4  # "values to 4 decimals or better"
VALUE, DERIVATIVE = "autodiff.elemental_value", "autodiff.elemental_derivative"


def _in_torch(x1: Tensor, x2: Tensor) -> Tensor:
    """The formula, written once more by hand."""
    return 1 / (x1 + x2) + x2**2 + torch.cos(x1)


def _measured() -> dict[str, float]:
    """What torch's own differentiation says of the formula."""
    point = [torch.tensor(number, dtype=torch.float64) for number in POINT.values()]
    slopes = torch.func.grad(_in_torch, argnums=(0, 1))(*point)
    named = zip(POINT, slopes, strict=True)
    return {"value": _in_torch(*point).item()} | {f"derivative by {name}": slope.item() for name, slope in named}


def _computed(trace: "Trace") -> dict[str, float]:
    return {"value": trace.value} | {f"derivative by {name}": slope for name, slope in trace.gradient.items()}


@answers("B4.F")
def forward_trace(posted: Posted) -> Answer:
    """Values upwards and the derivative along x1 with them."""
    trace = torchstone.trace(FORMULA, POINT, mode="forward", seed=SEED)
    rows = [f"{one.name} = {one.rule} gives {slope.name} = {slope.rule}" for one, slope in _pairs(trace)]
    slope = trace.derivatives[SEED]
    return Answer(
        says=(f"y = {trace.value:.5f}", f"dy/d{SEED} = {slope:.5f}", f"the trace: {len(trace.values)} rows, drawn"),
        derivation=(
            f"the seed is the direction {SEED}: dv_-1 = 1, dv_0 = 0; each row has its value and, by the chain rule, its derivative",
            "; ".join(rows[: len(rows) // 2]),
            "; ".join(rows[len(rows) // 2 :]),
            "one sweep gives the derivative along one direction: n inputs take n of them",
        ),
        evidence=_evidence(trace, ("value", f"derivative by {SEED}")),
        claims=tuple(_claims(posted)),
        drawings=(Drawing("values and derivatives, upwards", str(trace), trace.svg()),),
        remarks=tuple(_cut_off(posted)),
    )


def _pairs(trace: "Trace") -> Iterator[tuple["ValueRow", "TangentRow"]]:
    """The rows that compute something."""
    inputs = len(trace.variables)
    yield from zip(trace.values[inputs:-1], trace.tangents[inputs:-1], strict=True)


@answers("B4.R")
def reverse_trace(posted: Posted) -> Answer:
    """Values upwards, adjoints downwards."""
    trace = torchstone.trace(FORMULA, POINT, mode="reverse")
    steps = [f"{row.name} = {row.rule} = {row.number:.5f}" for row in trace.adjoints if row.source not in {"", "y"}]
    slopes = [f"dy/d{name} = {slope:.5f}" for name, slope in trace.gradient.items()]
    return Answer(
        says=(*slopes, f"the trace: {len(trace.values)} rows upwards, {len(trace.adjoints)} downwards, drawn"),
        derivation=(
            f"the seed is {trace.adjoints[0].name} = 1; each row sends its adjoint times the partial derivative to its arguments",
            "; ".join(steps[: len(steps) // 2]),
            "; ".join(steps[len(steps) // 2 :]),
            "x1 and x2 are used twice each, so their adjoints are sums; one sweep gives every derivative of y",
        ),
        evidence=_evidence(trace, [about for about in _measured() if about != "value"]),
        claims=tuple(_claims(posted)),
        drawings=(Drawing("values upwards, adjoints downwards", str(trace), trace.svg()),),
        remarks=tuple(_cut_off(posted)),
    )


def _evidence(trace: "Trace", abouts: "tuple[str, ...] | list[str]") -> tuple[Evidence, ...]:
    """The laws that each row stands on, the rows against torch, and the results against torch's differentiation of the formula."""
    computed, measured = _computed(trace), _measured()
    held = [
        compared(_law(about), computed[about], measured[about], rounding(100, abs(computed[about])), f"{about}, torch.func.grad")
        for about in abouts
    ]
    return (*proved(VALUE, DERIVATIVE), *_rows(trace), *held)


def _rows(trace: "Trace") -> Iterator[Evidence]:
    """The row that agrees least with torch.func.jvp and vjp."""
    checked = trace.verification
    row = checked.worst if checked else None
    if checked and row:
        tolerance = Tolerance(rounding=Amount(row.tolerance, row.reason))
        said = f"{row.name}, the worst of {len(checked.rows)} by torch.func.jvp and vjp"
        yield compared(DERIVATIVE, row.number, row.reference, tolerance, said)


def _law(about: str) -> str:
    return VALUE if about == "value" else DERIVATIVE


def _claims(posted: Posted) -> Iterator[Claim]:
    """Posted numbers held to half a unit of the last decimal that the question asks for."""
    half = Tolerance(rounding=Amount(0.5 * 10**-DECIMALS, f"half a unit of decimal {DECIMALS}, which the question asks for"))
    for about, number in posted.claims.items():
        held = compared(_law(about), value(number), _measured()[about], half, f"{about}, posted against torch")
        yield Claim(about, held, f"posted {number}; torch has {found(held):.{DECIMALS + 2}f}")


def _cut_off(posted: Posted) -> Iterator[str]:
    """Posted numbers that are good enough, but whose last digit is not the rounded one."""
    for about, text in posted.claims.items():
        number, decimals = value(text), len(str(text).partition(".")[2])
        right = _measured()[about]
        if abs(number - right) <= 0.5 * 10**-DECIMALS and round(right, decimals) != number:
            yield f"{about}: posted {text} is right to {DECIMALS} decimals; rounded to {decimals} it is {right:.{decimals}f}"
