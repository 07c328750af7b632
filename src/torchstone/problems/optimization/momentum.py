"""C2: momentum as a sum and as a running average, on optimizers that run."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import sympy
import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Posted
from torchstone.laws import optimization
from torchstone.parts import Momentum, RunningAverage, to_running_average
from torchstone.problems.answering import answers, proved
from torchstone.problems.curves import curves
from torchstone.problems.measuring import compared, found, generator, rounding, worst

STEPS = 50
_MAP, _UNROLLED, _BIAS = "optimization.averaged_hyperparameters", "optimization.running_average", "optimization.average_bias"
alpha, eps, beta, delta = sympy.symbols("alpha epsilon beta delta", positive=True)


def _trained(build: Callable[..., torch.optim.Optimizer], **given: Any) -> Tensor:
    """The weights of a small classifier after some steps, in one vector of float64."""
    source = generator(2)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=source)
    optimizer = build(model.parameters(), **given)
    for _ in range(STEPS):
        inputs = torch.randn(16, 4, generator=source, dtype=torch.float64)
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(1)))
        optimizer.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def _together() -> Iterator[Evidence]:
    """The largest difference between the two trained networks, for several coefficients."""
    for lr, momentum in ((0.1, 0.9), (0.5, 0.5), (0.01, 0.99)):
        one, other = _trained(Momentum, lr=lr, momentum=momentum), _trained(RunningAverage, **to_running_average(lr, momentum))
        apart = (one - other).abs().max().item()
        how = f"Momentum({lr:g}, {momentum:g}) and RunningAverage trained for {STEPS} steps"
        yield compared(_MAP, 0.0, apart, rounding(100 * STEPS, other.abs().max().item()), how)


@answers("C2.1")
def momentum_forms(_: Posted) -> Answer:
    """Two forms are one if a single gradient moves them alike, now and later: both are linear."""
    gives, keeps = {"momentum": eps, "average": delta * (1 - beta)}, {"momentum": alpha, "average": beta}
    (there,) = sympy.solve([gives["momentum"] - gives["average"], keeps["momentum"] - keeps["average"]], [beta, delta], dict=True)
    (back,) = sympy.solve([gives["momentum"] - gives["average"], keeps["momentum"] - keeps["average"]], [alpha, eps], dict=True)
    same = worst(_together())
    example = to_running_average(lr=0.1, momentum=0.9)
    return Answer(
        says=(
            f"beta = {there[beta]}, delta = {_tidy(there[delta])}",
            f"and back: alpha = {back[alpha]}, epsilon = {_tidy(sympy.factor(back[eps]))}",
            f"then v (momentum) = delta v (average); epsilon = 0.1, alpha = 0.9 is delta = {example['lr']:g}",
        ),
        derivation=(
            f"a gradient g moves momentum by -{gives['momentum']} g, then by {keeps['momentum']} times that at each later step",
            f"it moves the average by -{gives['average']} g, then by {keeps['average']} times that: both are linear in g",
            f"equal for every sequence of gradients exactly if {gives['momentum']} = {gives['average']} and alpha = beta",
        ),
        evidence=(*proved(_MAP, "optimization.momentum_hyperparameters", "optimization.averaged_position"), same),
        remarks=(
            f"trained both ways for {STEPS} steps a real network's weights differ by {found(same):.1g}",
            "with a schedule the two stay one only if delta follows: momentum keeps each gradient's own rate inside v",
        ),
    )


def _tidy(expression: sympy.Expr) -> sympy.Expr:
    """-a (b - 1) written as a (1 - b), also below a fraction."""
    if not expression.could_extract_minus_sign():
        return expression
    factors = list((-expression).args)
    at = next((i for i, factor in enumerate(factors) if factor.as_base_exp()[0].is_Add), None)
    if at is None:
        return expression
    base, exponent = factors[at].as_base_exp()
    factors[at] = (-base) ** exponent
    return sympy.Mul(*factors)


def _recursion(steps: int) -> tuple[sympy.Expr, tuple[sympy.Symbol, ...]]:
    """The running average after some steps, on symbols."""
    gradients = sympy.symbols(f"g1:{steps + 1}")
    average = sympy.Integer(0)
    for gradient in gradients:
        average = beta * average + (1 - beta) * gradient
    return sympy.expand(average), gradients


@cache
def _exponents(steps: int) -> tuple[int, ...]:
    """For each gradient the power of beta that its coefficient is, over 1 - beta."""
    average, gradients = _recursion(steps)
    ratios = [sympy.cancel(average.coeff(gradient) / (1 - beta)) for gradient in gradients]
    return tuple(int(sympy.degree(ratio, beta)) if ratio.has(beta) else 0 for ratio in ratios)


def _weights() -> Iterator[Evidence]:
    """The coefficient of each gradient in a running optimizer's buffer: one gradient is 1, the others 0."""
    steps, rate = 8, 0.7
    for number in range(1, steps + 1):
        point = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = RunningAverage([point], momentum=rate)
        for step in range(1, steps + 1):
            point.grad = torch.full_like(point, float(step == number))
            optimizer.step()
        impulse = [float(step == number) for step in range(1, steps + 1)]
        how = f"coefficient of g_{number} of {steps} in RunningAverage's buffer"
        yield compared(_UNROLLED, optimization.running_average(impulse, rate), optimizer.average(point).item(), rounding(16), how)


@answers("C2.2")
def unrolled(_: Posted) -> Answer:
    """The recursion run on symbols; the pattern of its coefficients."""
    steps = 4
    powers = _exponents(steps)
    written = " + ".join(f"(1-beta) beta^{power} g_{i}" for i, power in enumerate(powers, 1))
    pattern = "t-i" if powers == tuple(steps - i for i in range(1, steps + 1)) else str(powers)
    return Answer(
        says=(
            f"v_t = sum over i = 1..t of (1 - beta) beta^({pattern}) g_i",
            "the newest gradient weighs 1 - beta, each older one beta times as much as the next",
        ),
        derivation=(
            "v_1 = (1 - beta) g_1, since v_0 = 0; each step multiplies what is there by beta and adds (1 - beta) g_t",
            f"after {steps} steps, run on symbols: v_{steps} = {written}",
            "induction: weights (1 - beta) beta^(t-1-i) in v_{t-1} become (1 - beta) beta^(t-i), and g_t comes with 1 - beta",
        ),
        evidence=(*proved(_UNROLLED, "optimization.velocity"), worst(_weights())),
    )  # fmt: skip


@answers("C2.3")
def biased(_: Posted) -> Answer:
    """The weights add up to less than one; divided by their sum they do not."""
    t, k = sympy.symbols("t k", integer=True, positive=True)
    total = _sum(t, k)
    missing = sympy.simplify(1 - total)
    rate, steps = 0.9, 40
    shown = [(step, optimization.average_bias(rate, step)) for step in range(1, steps + 1)]
    early = shown[0][1]
    return Answer(
        says=(
            f"E[v_t] = ({total}) E[g]: too small by {missing} of E[g], which fades with t",
            f"v_t / ({total}) is unbiased: a weighted mean, whose weights add up to 1",
        ),
        derivation=(
            "E[v_t] = sum over i of (1 - beta) beta^(t-i) E[g_i] = E[g] (1 - beta) (1 + beta + ... + beta^(t-1)), one E[g] for all",
            f"the geometric sum is (1 - beta^t)/(1 - beta), so the weights add up to {total}, because v began at 0",
            f"at beta = {rate}: {early:.2g} of E[g] after one step, {shown[-1][1]:.3g} after {steps}",
        ),
        evidence=proved(_BIAS, "optimization.corrected_average"),
        drawings=(curves(f"The share of E[g] in the average, beta = {rate}", {
            "v_t": shown, "v_t / (1 - beta^t)": [(step, 1.0) for step, _ in shown],
        }, "step t"),),
    )  # fmt: skip


def _sum(t: sympy.Symbol, k: sympy.Symbol) -> sympy.Expr:
    """The weights' sum: a geometric series in beta, below 1."""
    series = sympy.Sum(beta**k, (k, 0, t - 1)).doit()
    finite = series.args[-1][0] if isinstance(series, sympy.Piecewise) else series  # beta = 1 is no average
    return sympy.simplify((1 - beta) * finite)
