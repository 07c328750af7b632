"""Elemental functions, sweeps and adjoints against torch's own differentiation, and where numbers stop being finite."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from torchstone.core.evidence import Evidence
from torchstone.laws.autodiff import ELEMENTALS
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling
from torchstone.traces.expression import Expression, Row
from torchstone.traces.symbolic import to_sympy
from torchstone.traces.verification import in_torch, jvp

Numbers = Sequence[float]
POSITIVE = {"log", "log1p", "sqrt", "**"}
INSIDE = {"asin", "acos"}
KINKED = {"relu", "abs", "max", "min", ">", ">=", "<", "<=", "where", "softplus"}
# Kinks, ties and the end of softplus's curve.
_AT_ZERO: list[tuple[float, ...]] = [(0.0,)]
_TIED: list[tuple[float, ...]] = [(1.5, 1.5)]
EDGES: dict[str, list[tuple[float, ...]]] = {
    "relu": _AT_ZERO, "abs": _AT_ZERO, "softplus": [(25.0,), (19.9,)], "**": [(0.0, 2.0)],
    "max": _TIED, "min": _TIED, ">": _TIED, ">=": _TIED, "<": _TIED, "<=": _TIED,
}  # fmt: skip


def _points(draws: Draws) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Every elemental function at random points of its domain, and at its edges."""
    for operation, count in ELEMENTALS.items():
        for _ in range(6):
            low, high = (0.1, 3.0) if operation in POSITIVE else (-0.95, 0.95) if operation in INSIDE else (-3.0, 3.0)
            point = draws.uniform(low, high, count).tolist()
            yield operation, (float(point[0] > 0), *point[1:]) if operation == "where" else tuple(point)
        yield from ((operation, point) for point in EDGES.get(operation, ()))


def _value(operation: str, arguments: Numbers) -> Tensor:
    return in_torch(operation)(*(torch.tensor(number, dtype=torch.float64) for number in arguments))


def _only(operation: str, wrong: Callable[..., Any]) -> Callable[[str, Numbers], Any]:
    """Torch's functions with one of them exchanged."""
    return lambda name, arguments: wrong(*arguments) if name == operation else _value(name, arguments)


@experiment(
    "autodiff.elemental_value",
    part=_value,
    mutants={
        "division the other way round": _only("/", lambda a, b: b / a),
        "logarithm to base 2": _only("log", lambda x: torch.tensor(x).double().log2()),
        "logarithm to base 10": _only("log", lambda x: torch.tensor(x).double().log10()),
        "power with its sides exchanged": _only("**", lambda a, b: torch.tensor(b).double() ** a),
        "softplus without its linear end": _only("softplus", lambda x: torch.tensor(x).double().exp().log1p()),
        "leaky relu": _only("relu", lambda x: torch.nn.functional.leaky_relu(torch.tensor(x).double())),
        "float32": lambda name, arguments: in_torch(name)(*map(torch.tensor, arguments)),
    },
)
def elemental_value(part: Callable[[str, Numbers], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Every function of the table inside its domain, at ties and at kinks."""
    for operation, arguments in _points(draws):
        measured = part(operation, arguments)
        scale = max(1e-3, abs(float(measured)))
        yield held("autodiff.elemental_value", {"operation": operation, "arguments": arguments}, measured, rounding(8, scale))


def _derivative(operation: str, arguments: Numbers) -> list[Tensor]:
    point = tuple(torch.tensor(number, dtype=torch.float64) for number in arguments)
    return list(torch.func.grad(in_torch(operation), argnums=tuple(range(len(point))))(*point))


def _wrong(operation: str, change: Callable[[list[Tensor], Numbers], Any]) -> Callable[[str, Numbers], Any]:
    """Torch's derivatives with those of one function changed."""

    def derivative(name: str, arguments: Numbers) -> Any:
        found = _derivative(name, arguments)
        return change(found, arguments) if name == operation else found

    return derivative


def _smooth(formula: Callable[..., Any]) -> Iterator[Any]:
    """The derivative of sympy minus the law's, for every smooth function; on positive symbols, where all have a branch."""
    symbols = [sympy.Symbol(name, positive=True) for name in ("a", "b")]
    for operation, count in ELEMENTALS.items():
        if operation in KINKED:
            continue
        names = ("a", "b")[:count]
        expression = Expression(operation, names, (Row(operation, tuple(range(1 - count, 1))),), 1)
        value = to_sympy(expression, dict(zip(names, symbols, strict=False)))
        for symbol, partial in zip(symbols, formula(operation, symbols[:count]), strict=False):
            yield sympy.nsimplify(partial) - sympy.diff(value, symbol)


@experiment(
    "autodiff.elemental_derivative",
    part=_derivative,
    mutants={
        "cos' = sin": _wrong("cos", lambda found, _: [-found[0]]),
        "acos' = asin'": _wrong("acos", lambda found, _: [-found[0]]),
        "quotient rule without its minus": _wrong("/", lambda found, _: [found[0], -found[1]]),
        "product rule with its factors exchanged": _wrong("*", lambda found, _: found[::-1]),
        "power rule without the exponent": _wrong("**", lambda found, point: [found[0] / point[1], found[1]]),
        "power rule without the logarithm": _wrong("**", lambda found, point: [found[0], point[0] ** point[1]]),
        "sqrt' without the 2": _wrong("sqrt", lambda found, _: [2 * found[0]]),
        "tanh' = 1 - y": _wrong("tanh", lambda _, point: [1 - torch.tensor(point[0]).double().tanh()]),
        "sigmoid' = y": _wrong("sigmoid", lambda _, point: [torch.tensor(point[0]).double().sigmoid()]),
        "relu'(0) = 1": _wrong("relu", lambda _, point: [float(point[0] >= 0)]),
        "|x|' = 1 at 0": _wrong("abs", lambda found, point: [found[0] if point[0] else 1.0]),
        "max gives all to the first at a tie": _wrong("max", lambda _, point: [point[0] >= point[1], point[0] < point[1]]),
    },
    how="float64, torch.func.grad",
    symbolic=_smooth,
)
def elemental_derivative(part: Callable[[str, Numbers], Any], draws: Draws) -> Iterator[Evidence]:
    """Every function of the table inside its domain, at ties and at kinks."""
    for operation, arguments in _points(draws):
        measured = part(operation, arguments)
        scale = max(1.0, *(abs(float(number)) for number in measured))
        yield held("autodiff.elemental_derivative", {"operation": operation, "arguments": arguments}, measured, rounding(16, scale))


Function = Callable[[Tensor], Tensor]
Sweeping = Callable[[Function, Tensor, int, str], Iterator[Tensor]]


def _sweeping(function: Function, point: Tensor, outputs: int, mode: str) -> Iterator[Tensor]:
    """The Jacobian (outputs, inputs) after each sweep; what no sweep has found yet is nan."""
    jacobian = torch.full((outputs, len(point)), torch.nan, dtype=torch.float64)
    if mode == "forward":
        for column, direction in enumerate(torch.eye(len(point), dtype=torch.float64)):
            jacobian[:, column] = jvp(function, (point,), (direction,))
            yield jacobian
        return
    pull = torch.func.vjp(function, point)[1]
    for row, adjoint in enumerate(torch.eye(outputs, dtype=torch.float64)):
        (jacobian[row],) = pull(adjoint)
        yield jacobian


def _other(mode: str) -> str:
    return "forward" if mode == "reverse" else "reverse"


def _twice(function: Function, point: Tensor, outputs: int, mode: str) -> Iterator[Tensor]:
    for jacobian in _sweeping(function, point, outputs, mode):
        yield torch.full_like(jacobian, torch.nan)
        yield jacobian


@experiment(
    "autodiff.sweeps",
    part=_sweeping,
    mutants={
        "forward and reverse exchanged": lambda f, x, m, mode: _sweeping(f, x, m, _other(mode)),
        "every sweep done twice": _twice,
        "always forward": lambda f, x, m, _: _sweeping(f, x, m, "forward"),
        "Jacobian transposed": lambda f, x, m, mode: (j.T.reshape(m, -1) for j in _sweeping(f, x, m, mode)),
    },
    how="counted until the Jacobian is torch.func.jacrev's",
)
def sweeps(part: Sweeping, draws: Draws) -> Iterator[Evidence]:
    """Dense functions of 1 to 6 inputs and outputs; sweeps are counted until every entry of the Jacobian is right."""
    sizes = [(1, 4), (4, 1), (5, 3), *zip(draws.integers(1, 6, 5), draws.integers(1, 6, 5), strict=True)]
    for inputs, outputs in sizes:
        weight, point = draws.normal(outputs, inputs), draws.normal(inputs)

        def function(x: Tensor, weight: Tensor = weight) -> Tensor:
            return torch.tanh(weight @ x) + x.sum() ** 2

        right = torch.func.jacrev(function)(point)
        for mode in ("forward", "reverse"):
            done = (torch.allclose(jacobian, right) for jacobian in part(function, point, outputs, mode))
            counted = next((count for count, finished in enumerate(done, 1) if finished), 0)
            yield held("autodiff.sweeps", {"inputs": inputs, "outputs": outputs, "mode": mode}, counted)


Pull = Callable[[Function, Tensor, Tensor], Tensor]


def _pull(function: Function, point: Tensor, adjoint: Tensor) -> Tensor:
    (found,) = torch.func.vjp(function, point)[1](adjoint)
    return found  # type: ignore[no-any-return]


@experiment(
    "autodiff.adjoint_product",
    part=_pull,
    mutants={
        "sign lost": lambda f, x, adjoint: -_pull(f, x, adjoint),
        "Jacobian not transposed": lambda f, x, adjoint: jvp(f, (x,), (adjoint,)),
        "one path detached": lambda f, x, adjoint: _pull(lambda z: f(z) - z.sin() + x.sin(), x, adjoint),
        "summed over outputs": lambda f, x, adjoint: _pull(f, x, torch.ones_like(adjoint)),
    },
    how="float64, jvp against vjp",
)
def adjoint_product(part: Pull, draws: Draws) -> Iterator[Evidence]:
    """Nonlinear maps of 4 numbers to 4, random points, tangents and adjoints."""
    for _ in range(40):
        weight, point, tangent, adjoint = draws.normal(4, 4), draws.normal(4), draws.normal(4), draws.normal(4)

        def function(x: Tensor, weight: Tensor = weight) -> Tensor:
            return torch.tanh(weight @ x) * x.exp() + x.sin()

        found = jvp(function, (point,), (tangent,))
        measured = part(function, point, adjoint) @ tangent
        scale = found.norm().item() * adjoint.norm().item() + tangent.norm().item() * part(function, point, adjoint).norm().item()
        arguments = {"output_adjoint": adjoint.tolist(), "output_tangent": found.tolist()}
        yield held("autodiff.adjoint_product", arguments, measured, rounding(100, scale))


WITH_POLE: tuple[Callable[[Tensor], Tensor], ...] = (torch.log, torch.reciprocal, torch.rsqrt)


def _results(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    return function(inputs)


@experiment(
    "autodiff.non_finite_values",
    part=_results,
    mutants={
        "input clamped above zero": lambda f, x: f(x.clamp_min(1e-6)),
        "nan_to_num afterwards": lambda f, x: f(x).nan_to_num(),
        "summed over the row": lambda f, x: f(x).sum().expand(len(x)),
        "float16": lambda f, x: f((x * 1e-9).half()),
    },
    how="exact, counted",
)
def non_finite_values(part: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Zeros under functions with a pole at 0, a root's derivative at 0, and exponents beyond float64."""

    def bad(values: Tensor) -> int:
        return int((~values.isfinite()).sum())

    for function in WITH_POLE:
        for poles in (0, 1, draws.integer(2, 9)):
            inputs = draws.uniform(0.5, 2.0, 12)
            inputs[:poles] = 0
            yield held("autodiff.non_finite_values", {"poles": poles}, bad(part(function, inputs)))
    for overflows in (0, 1, draws.integer(2, 9)):
        inputs = draws.uniform(0.5, 2.0, 12)
        inputs[:overflows] = 1000.0
        yield held("autodiff.non_finite_values", {"poles": 0, "overflows": overflows}, bad(part(torch.exp, inputs)))
    for poles in (0, 3):
        leaf = draws.uniform(0.5, 2.0, 12)
        leaf[:poles] = 0
        slopes = torch.func.vmap(torch.func.grad(torch.sqrt))
        yield held("autodiff.non_finite_values", {"poles": poles}, bad(part(slopes, leaf)))


def _pooled(x: Tensor, layer: torch.nn.GRU) -> Tensor:
    """One output a sample of (b, t, d): the mean over positions of a recurrent layer."""
    states: Tensor = layer(x)[0]
    return states.mean(1)


def _time_first(x: Tensor, layer: torch.nn.GRU) -> Tensor:
    layer.batch_first = False
    return _pooled(x, layer)


@experiment(
    "autodiff.other_samples",
    part=_pooled,
    mutants={
        "batch_first missing": _time_first,
        "view for transpose": lambda x, layer: _pooled(x.view(len(x[0]), len(x), -1).transpose(0, 1), layer),
        "statistics of the batch": lambda x, layer: _pooled(x - x.mean(0), layer),
        "soft-max over the batch": lambda x, layer: _pooled(x, layer).softmax(0),
    },
    how="exact: non-zero gradients",
)
def other_samples(part: Callable[[Tensor, torch.nn.GRU], Tensor], draws: Draws) -> Iterator[Evidence]:
    """Batches of 2 to 5 of a recurrent layer; the last sample's loss."""
    for samples in range(2, 6):
        layer = torch.nn.GRU(3, 4, batch_first=True).double()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(draws.normal(*parameter.shape))
        x = draws.normal(samples, 7, 3).requires_grad_()
        (gradient,) = torch.autograd.grad((part(x, layer)[-1] * draws.normal(4)).sum(), x)
        read = int((gradient[:-1].abs().amax((1, 2)) > 0).sum())
        yield held("autodiff.other_samples", {"samples": samples}, read)


Again = Callable[[Tensor, float, bool], Tensor]


def _again(x: Tensor, drop: float, restored: bool, *, second: float | None = None) -> Tensor:  # noqa: FBT001 - as the law has it
    """1 where a checkpointed dropout gave another value when the backward pass ran it again, else 0."""
    runs: list[Tensor] = []

    def block(inputs: Tensor) -> Tensor:
        rate = drop if second is None or not runs else second
        runs.append(torch.nn.functional.dropout(inputs.cosh(), rate))
        return runs[-1].sin()

    inputs = x.clone().requires_grad_()
    found: Tensor = checkpoint(block, inputs, use_reentrant=True, preserve_rng_state=restored)
    found.sum().backward()  # type: ignore[no-untyped-call]
    differs: Tensor = runs[0] != runs[1]
    return differs.double()


@experiment(
    "autodiff.recomputed_share",
    part=_again,
    mutants={
        "never restored": lambda x, drop, _: _again(x, drop, False),  # noqa: FBT003
        "always restored": lambda x, drop, _: _again(x, drop, True),  # noqa: FBT003
        "recomputed without dropout": lambda x, drop, restored: _again(x, drop, restored, second=0.0),
        "recomputed with the share that is kept": lambda x, drop, restored: _again(x, drop, restored, second=1 - drop),
    },
    how="exact where restored; else confidence interval, 20000 values",
)
def recomputed_share(part: Again, draws: Draws) -> Iterator[Evidence]:
    """The checkpoint of torch around dropout, for p from 0.1 to 0.8."""
    for drop in (0.1, 0.2, 0.3, 0.8):
        for restored in (True, False):
            with torch.random.fork_rng():
                torch.manual_seed(draws.integer(0, 2**30))
                differs = part(draws.normal(20_000), drop, restored)
            arguments = {"drop": drop, "restored": restored}
            measured, tolerance = sampling(differs)
            yield held("autodiff.recomputed_share", arguments, measured, rounding(0) if restored else tolerance)
