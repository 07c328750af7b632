"""C1: the recurrent network with its activation inside and outside, and when its gradient vanishes or explodes."""

import math
from collections.abc import Mapping

import sympy
import torch
from torch import Tensor

from torchstone.core.evidence import Evidence, Relation
from torchstone.core.problem import Answer, Drawing, Posted
from torchstone.parts import RNN
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import compared, generator, rounding

INPUTS, HIDDEN, STEPS = 3, 4, 40


def _network(nonlinearity: str = "tanh", form: str = "inside") -> RNN:
    """A random network in float64."""
    made = RNN(INPUTS, HIDDEN, nonlinearity, dtype=torch.float64, activation=form)  # type: ignore[arg-type]  # two of their words
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator(number), dtype=torch.float64))
    return made


def _draw(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def _step() -> str:
    """The induction step on symbols: what is left of g_t - sigma(h_t) where g_{t-1} = sigma(h_{t-1})."""
    w, u, x, b, h, g = sympy.symbols("W U x_t b h g")
    sigma = sympy.Function("sigma")
    left = sigma(w * g + u * x + b) - sigma(w * sigma(h) + u * x + b)
    return str(sympy.simplify(left.subs(g, sigma(h))))


def _apart(nonlinearity: str, *, mapped: bool) -> float:
    """How far sigma(h_t) and g_t lie apart at most, from first states that go with each other, or zeros for both."""
    outside = _network(nonlinearity, "outside")
    inside = outside.to_inside()
    inputs, first = _draw(STEPS, INPUTS), _draw(1, HIDDEN, seed=6) if mapped else torch.zeros(1, HIDDEN, dtype=torch.float64)
    h, g = outside(inputs, first)[0], inside(inputs, inside.inside_state(first) if mapped else first)[0]
    return float((inside.inside_state(h) - g).detach().abs().max())


@answers("C1.1")
def placing(_: Posted) -> Answer:
    """The map, its induction step on symbols, and both forms run."""
    law = "recurrence.inside_state"
    apart = {name: _apart(name, mapped=True) for name in ("tanh", "relu", "sigmoid")}
    zeros = {name: _apart(name, mapped=False) for name in apart}
    measured = tuple(
        compared(law, 0.0, difference, rounding(40 * STEPS, 100), f"{name}, {STEPS} steps") for name, difference in apart.items()
    )
    alike = [name for name, difference in zeros.items() if difference <= rounding(40 * STEPS, 100).total]
    other = [f"{name}: {difference:.2g} apart" for name, difference in zeros.items() if name not in alike]
    return Answer(
        says=(
            f"map: g_t = sigma(h_t), t >= 0, and back h_t = W g_(t-1) + U x_t + b, t >= 1; {max(apart.values()):.1g} apart",
            "first states: g_0 = sigma(h_0); back, any h_0 with sigma(h_0) = g_0, if sigma takes that value",
            f"induction: with g_(t-1) = sigma(h_(t-1)), g_t - sigma(h_t) = {_step()}",
        ),
        derivation=(
            "base: g_0 = sigma(h_0), as chosen",
            "step: suppose g_(t-1) = sigma(h_(t-1)); then h_t = W sigma(h_(t-1)) + U x_t + b = W g_(t-1) + U x_t + b",
            "so sigma(h_t) = sigma(W g_(t-1) + U x_t + b) = g_t",
        ),
        evidence=(*proved(law, "recurrence.outside_state"), *measured),
        remarks=(f"from zeros on both sides the forms agree for {' and '.join(alike)} (sigma(0) = 0), not for {', '.join(other)}",),
    )


def _norms(network: RNN, inputs: Tensor, first: Tensor) -> list[float]:
    """The spectral norm of dh_t/dh_0 for t = 1 to T."""
    jacobians: Tensor = torch.func.jacrev(lambda h: network(inputs, h.unsqueeze(0))[0])(first)
    return [float(norm) for norm in torch.linalg.matrix_norm(jacobians.detach(), 2)]


def _with_weight(weight: Tensor, nonlinearity: str = "tanh") -> RNN:
    network = _network(nonlinearity)
    with torch.no_grad():
        network.weight_hh.copy_(weight)
        assert network.bias is not None  # noqa: S101 - made with one
        network.bias.zero_()
    return network


def _rotation(size: float) -> Tensor:
    rotation: Tensor = torch.linalg.qr(_draw(HIDDEN, HIDDEN, seed=9))[0]
    return size * rotation


def _scaled(norm: float) -> Tensor:
    """A random W of this spectral norm."""
    weight = _draw(HIDDEN, HIDDEN, seed=8)
    return norm / float(torch.linalg.matrix_norm(weight, 2)) * weight


def _drawn(runs: Mapping[str, list[float]]) -> Drawing:
    """The logarithms of norms over time, as long as they are not 0."""
    found = {
        name: [(float(t), math.log10(norm)) for t, norm in enumerate(norms, start=1) if norm > 0] for name, norms in runs.items()
    }
    return curves("log10 norm of dh_t/dh_0", found, "t")


def _at_most(law: str, bound: float, norm: float, steps: int, how: str) -> Evidence:
    return compared(law, bound, norm, rounding(100 * steps, bound), how, relation=Relation.AT_MOST)


@answers("C1.2")
def vanishing(_: Posted) -> Answer:
    """The bound, and runs below it and at it."""
    law, delta = "recurrence.vanishing_gradient", 0.9
    inputs, zeros = _draw(STEPS, INPUTS), torch.zeros(HIDDEN, dtype=torch.float64)
    runs = {
        "random W and inputs": _norms(_with_weight(_scaled(delta)), inputs, _draw(HIDDEN, seed=6)),
        "rotation, no input": _norms(_with_weight(_rotation(delta)), 0 * inputs, zeros),
    }
    bounds = [delta**t for t in range(1, STEPS + 1)]
    measured = tuple(
        _at_most(law, bound, norm, t, f"{name}, T = {t}")
        for name, norms in runs.items()
        for t, (norm, bound) in enumerate(zip(norms, bounds, strict=True), start=1)
        if t in {1, STEPS // 2, STEPS}
    )
    ends = ", ".join(f"{norms[-1]:.2g} ({name})" for name, norms in runs.items())
    return Answer(
        says=(
            "norm: the norm of dh_T/dh_0 is at most delta^T, which goes to 0 as T grows, as delta < 1",
            f"runs: tanh, gamma = 1, delta = {delta}, T = {STEPS}: {ends}, at most {bounds[-1]:.2g}",
        ),
        derivation=(
            "dh_t/dh_(t-1) = W diag(sigma'(h_(t-1))) outside, diag(sigma') W inside",
            "its norm is at most norm(W) max abs(sigma') <= sqrt(lambda_1(W'W)) gamma <= (delta/gamma) gamma = delta",
            "dh_T/dh_0 is the product of T of them, and the norm of a product is at most the product of the norms: delta^T",
        ),
        evidence=(*proved(law), *measured),
        drawings=(_drawn({**runs, "delta^t": bounds}),),
        remarks=("the rotation attains the bound at every T: it cannot be bettered",),
    )


@answers("C1.3")
def exploding(_: Posted) -> Answer:
    """Necessary by the bound; not sufficient by two runs that meet the condition and vanish."""
    law, bound = "recurrence.exploding_weight", "recurrence.vanishing_gradient"
    zeros, inputs = torch.zeros(HIDDEN, dtype=torch.float64), torch.zeros(STEPS, INPUTS, dtype=torch.float64)
    shift = torch.diag(torch.full((HIDDEN - 1,), 4.0, dtype=torch.float64), 1)
    runs = {
        "explodes: 1.5 x rotation, at 0": (_rotation(1.5), _norms(_with_weight(_rotation(1.5)), inputs, zeros)),
        "saturates: 4 x rotation, driven": (_rotation(4.0), _norms(_with_weight(_rotation(4.0)), inputs + 3, zeros)),
        "forgets: 4 x shift, at 0": (shift, _norms(_with_weight(shift), inputs, zeros)),
    }
    sizes = {name: torch.linalg.matrix_norm(weight, 2).item() for name, (weight, _) in runs.items()}
    (grows, saturates, forgets) = runs
    necessary = compared(
        law, runs[grows][1][-1] ** (1 / STEPS), sizes[grows], rounding(100 * STEPS, sizes[grows]), grows, relation=Relation.AT_LEAST
    )
    grown = compared(bound, 1.0, runs[grows][1][-1], how=f"{grows}, T = {STEPS}", relation=Relation.AT_LEAST)
    shrunk = tuple(_at_most(bound, 1.0, runs[name][1][-1], STEPS, f"{name}, T = {STEPS}") for name in (saturates, forgets))
    told = {
        name: f"norm(W) = {sizes[name]:.3g} > 1/gamma = 1, norm of dh_T/dh_0 {norms[-1]:.2g}, T = {STEPS}"
        for name, (_, norms) in runs.items()
    }
    return Answer(
        says=(
            f"necessary: yes, an exploding gradient needs lambda_1(W'W) > 1/gamma²; {grows}: {told[grows]}",
            f"sufficient: no; {saturates}: {told[saturates]}",
            f"nor without saturation; {forgets}: {told[forgets]}",
        ),
        derivation=(
            "the norm of dh_T/dh_0 is at most (gamma sqrt(lambda_1))^T; if it grows without bound, gamma sqrt(lambda_1) > 1",
            "the other way fails: lambda_1 speaks of one direction, where sigma' is largest; states saturate, directions turn",
        ),
        evidence=(*proved(law, bound), necessary, grown, *shrunk),
        drawings=(_drawn({name: norms for name, (_, norms) in runs.items()}),),
        remarks=("sufficient would be: abs(sigma') >= mu along the run and a smallest singular value of W above 1/mu",),
    )
