"""The adjoints of torch's convolutions, and torchstone.parts' own, against their laws in plain numbers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor

from torchstone import parts
from torchstone.core.evidence import Evidence
from torchstone.laws.convolution import operator
from torchstone.proofs.convolution.cases import CONVOLUTIONS, TRANSPOSED, Case, cases, correlate, fitted
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Part = Callable[..., Any]
_STEPS: dict[str, Any] = {"stride": (2,), "padding": (1,), "dilation": (1,)}


def _symbols(*sizes: int, name: str) -> Any:
    """Nested symbols."""
    if not sizes:
        return sympy.Symbol(name)
    return [_symbols(*sizes[1:], name=f"{name}{position}") for position in range(sizes[0])]


def _transposed(weight: Tensor, y: Tensor, case: Case, **changed: Any) -> Tensor:
    """The transposed convolution before its padding is cut away, then cut: torch refuses to cut everything."""
    arguments = {**case.arguments, **changed}
    whole = TRANSPOSED[len(case.sizes)](y[None], weight, **{**arguments, "padding": 0})[0]
    for axis, end in enumerate(arguments["padding"]):
        whole = whole.narrow(axis + 1, end, whole.shape[axis + 1] - end)
    return fitted(whole, case.inputs)


@experiment(
    "convolution.bilinear_form",
    part=_transposed,
    mutants={
        "kernel flipped": lambda w, y, case: _transposed(w.flip(tuple(range(2, w.ndim))), y, case),
        "padding not transposed": lambda w, y, case: _transposed(w, y, case, padding=[0] * len(case.sizes)),
        "stride forgotten": lambda w, y, case: _transposed(w, y, case, stride=1),
        "groups in another order": lambda w, y, case: _transposed(w, y, case).roll(case.weight[1], 0),
    },
    symbolic=lambda formula: [_forward_minus_adjoint(formula)],
)
def bilinear_form(part: Part, draws: Draws) -> Iterator[Evidence]:
    """<T x, y> by torch's convolution, <x, T' y> by its transposed one."""
    for case in cases(draws, 40):
        x, weight = draws.normal(*case.inputs), draws.normal(*case.weight)
        forward = correlate(x, weight, **case.arguments)
        y = draws.normal(*forward.shape)
        arguments = {"signal": x.tolist(), "weight": weight.tolist(), "gradient": y.tolist(), **case.arguments}
        for found in ((forward * y).sum(), (x * part(weight, y, case)).sum()):
            yield held("convolution.bilinear_form", arguments, found, rounding(200, 30))


def _forward_minus_adjoint(formula: Callable[..., Any]) -> Any:
    """The form on symbols less <x, T' y> with T' y of the input gradient's own law."""
    x, weight, y = _symbols(2, 5, name="x"), _symbols(1, 2, 3, name="w"), _symbols(1, 3, name="y")
    back = operator.input_gradient(weight, y, (5,), **_STEPS)
    inner = sum(a * b for row, other in zip(x, back, strict=True) for a, b in zip(row, other, strict=True))
    return sympy.expand(formula(x, weight, y, **_STEPS) - inner)


def _by_weight(x: Tensor, size: Sequence[int], y: Tensor, **arguments: Any) -> Tensor:
    return parts.weight_gradient(x, tuple(size), y, **arguments)


def _not_exchanged(x: Tensor, size: Sequence[int], y: Tensor, **arguments: Any) -> Tensor:
    """The weight's gradient with the forward stride and dilation where they should trade places; one group."""
    arguments["groups"] = 1
    found = CONVOLUTIONS[len(size) - 2](x[:, None], y[:, None], **arguments).transpose(0, 1)
    return fitted(found[: size[0], : size[1]], size)


@experiment(
    "convolution.weight_gradient",
    part=_by_weight,
    mutants={
        "stride and dilation not exchanged": _not_exchanged,
        "kernel flipped": lambda x, size, y, **a: _by_weight(x, size, y, **a).flip(tuple(range(2, len(size)))),
        "another group's input": lambda x, size, y, **a: _by_weight(x.roll(size[1], 0), size, y, **a),
        "input shifted by one": lambda x, size, y, **a: _by_weight(x.roll(1, -1), size, y, **a),
    },
    how="float64, against autograd too",
    symbolic=lambda formula: _derivatives(formula, by_weight=True),
)
def weight_gradient(part: Part, draws: Draws) -> Iterator[Evidence]:
    """The dilated convolution of the part and autograd, beside the same law."""
    for case in cases(draws, 40):
        x, weight = draws.normal(*case.inputs), draws.normal(*case.weight).requires_grad_()
        out = correlate(x, weight, **case.arguments)
        y = draws.normal(*out.shape)
        arguments = {"signal": x.tolist(), "gradient": y.tolist(), "weight": case.weight, **case.arguments}
        by_autograd = torch.autograd.grad(out, weight, y)[0]
        for found in (part(x, case.weight, y, **case.arguments), by_autograd):
            yield held("convolution.weight_gradient", arguments, found, rounding(200, 10))


def _by_input(size: Sequence[int], weight: Tensor, y: Tensor, **arguments: Any) -> Tensor:
    return parts.input_gradient(tuple(size), weight, y, **arguments)


def _unpadded(size: Sequence[int], weight: Tensor, y: Tensor, **arguments: Any) -> Tensor:
    arguments["padding"] = 0
    return fitted(TRANSPOSED[len(size) - 1](y[None], weight, **arguments)[0], size)


@experiment(
    "convolution.input_gradient",
    part=_by_input,
    mutants={
        "kernel flipped": lambda size, w, y, **a: _by_input(size, w.flip(tuple(range(2, w.ndim))), y, **a),
        "padding not transposed": _unpadded,
        "another group's outputs": lambda size, w, y, **a: _by_input(size, w, y.roll(w.shape[0] // a["groups"], 0), **a),
        "last position lost": lambda size, w, y, **a: _by_input(size, w, y, **a)[..., :-1],
    },
    how="float64, against autograd too",
    symbolic=lambda formula: _derivatives(formula, by_weight=False),
)
def input_gradient(part: Part, draws: Draws) -> Iterator[Evidence]:
    """The transposed convolution of the part and autograd, beside the same law."""
    for case in cases(draws, 40):
        x, weight = draws.normal(*case.inputs).requires_grad_(), draws.normal(*case.weight)
        out = correlate(x, weight, **case.arguments)
        y = draws.normal(*out.shape)
        arguments = {"weight": weight.tolist(), "gradient": y.tolist(), "sizes": case.sizes, **case.arguments}
        by_autograd = torch.autograd.grad(out, x, y)[0]
        for found in (part(case.inputs, weight, y, **case.arguments), by_autograd):
            yield held("convolution.input_gradient", arguments, found, rounding(200, 10))


def _derivatives(formula: Callable[..., Any], *, by_weight: bool) -> Iterable[Any]:
    """The law on symbols less sympy's derivative of <f, y> with f of the forward law."""
    x, weight, y = _symbols(2, 5, name="x"), _symbols(1, 2, 3, name="w"), _symbols(1, 3, name="y")
    forward = operator.cross_correlation(x, weight, **_STEPS)
    form = sum(a * b for row, other in zip(forward, y, strict=True) for a, b in zip(row, other, strict=True))
    if by_weight:
        found, wanted = formula(x, y, (1, 2, 3), **_STEPS)[0], weight[0]
    else:
        found, wanted = formula(weight, y, (5,), **_STEPS), x
    return [
        sympy.expand(value - sympy.diff(form, symbol))
        for row, symbols in zip(found, wanted, strict=True)
        for value, symbol in zip(row, symbols, strict=True)
    ]
