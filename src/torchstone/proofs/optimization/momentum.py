"""The two forms of momentum as running optimizers: seen from outside by the steps they take, from inside by their buffers."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from torchstone.core.evidence import Evidence
from torchstone.parts.optimization import Momentum, RunningAverage, to_momentum, to_running_average
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

# (parameters, lr, momentum) -> a torch optimizer
Build = Callable[..., Optimizer]
Settings = Iterator[tuple[float, float]]


def fed(build: Build, gradients: Tensor, lr: float, momentum: float) -> tuple[Tensor, Tensor]:
    """Run on given gradients, one row a step: the positions after every step, from 0, and the buffers after the last."""
    point = torch.zeros_like(gradients[0]).requires_grad_()
    optimizer = build([point], lr=lr, momentum=momentum)
    positions = []
    for gradient in gradients:
        point.grad = gradient.clone()
        optimizer.step()
        positions.append(point.detach().clone())
    buffer = getattr(optimizer, "velocity", None) or getattr(optimizer, "average", None)
    state = optimizer.state[point].get("momentum_buffer", torch.zeros_like(point))
    return torch.stack(positions), buffer(point) if buffer else state


def settings(draws: Draws, count: int = 6) -> Settings:
    """Learning rates over five decades, momenta from 0 to nearly 1."""
    yield 0.5, 0.0
    yield 1e-3, 0.99
    for _ in range(count):
        yield (10 ** draws.uniform(-4, 1, 1)).item(), draws.uniform(0.05, 0.98, 1).item()


def _nesterov(params: Any, lr: float, momentum: float) -> Optimizer:
    return SGD(params, lr=lr, momentum=momentum, nesterov=momentum > 0)


def _undamped(params: Any, lr: float, momentum: float) -> Optimizer:
    """Torch's own averaged form, whose first gradient is taken whole."""
    return SGD(params, lr=lr, momentum=momentum, dampening=momentum)


def _impulse(build: Build, lr: float, momentum: float) -> tuple[float, float]:
    """The steps after one gradient of 1 and zeros: the first step, and how much of each step the next one keeps."""
    gradients = torch.zeros(3, 1, dtype=torch.float64)
    gradients[0] = 1
    first, second, _ = fed(build, gradients, lr, momentum)[0].flatten().tolist()
    return -first, (second - first) / first


@experiment(
    "optimization.averaged_hyperparameters",
    part=Momentum,
    mutants={
        "the average itself": RunningAverage,
        "Nesterov's": _nesterov,
        "a buffer that forgets the learning rate": lambda params, lr, momentum: SGD(params, lr=lr**0.5, momentum=momentum),
    },
    how="float64, read off the steps that an impulse leaves",
)
def to_average(part: Build, draws: Draws) -> Iterator[Evidence]:
    """An impulse's steps are -delta (1 - beta) beta^k in the averaged form: beta and delta are read off momentum's own steps."""
    for lr, momentum in settings(draws):
        first, kept = _impulse(part, lr, momentum)
        given = {"momentum": momentum, "step_size": lr}
        allowed = rounding(64 / (1 - momentum) ** 2, max(1.0, lr / (1 - momentum)))
        yield held("optimization.averaged_hyperparameters", given, [kept, first / (1 - kept)], allowed)
        mapped = to_running_average(lr, momentum)
        yield held("optimization.averaged_hyperparameters", given, [mapped["momentum"], mapped["lr"]], allowed)


@experiment(
    "optimization.momentum_hyperparameters",
    part=RunningAverage,
    mutants={
        "momentum itself": Momentum,
        "the first gradient taken whole": _undamped,
        "corrected for its bias": partial(RunningAverage, bias_correction=True),
    },
    how="float64, read off the steps that an impulse leaves",
)
def from_average(part: Build, draws: Draws) -> Iterator[Evidence]:
    """An impulse's steps are -eps alpha^k in the momentum form: alpha and eps are read off the average's own steps."""
    for lr, momentum in settings(draws):
        first, kept = _impulse(part, lr, momentum)
        given = {"beta": momentum, "delta": lr}
        allowed = rounding(64 / (1 - momentum), max(1.0, lr))
        yield held("optimization.momentum_hyperparameters", given, [kept, first], allowed)
        mapped = to_momentum(lr, momentum)
        yield held("optimization.momentum_hyperparameters", given, [mapped["momentum"], mapped["lr"]], allowed)


def _unrolled(recursion: Callable[..., Any], weight: Callable[..., Any]) -> Callable[..., Iterable[Any]]:
    """Three steps of a recursion on symbols, from 0, against the law."""

    def symbolic(law: Callable[..., Any]) -> Iterable[Any]:
        beta, rate = sympy.Rational(3, 7), sympy.Symbol("rate", positive=True)
        gradients = sympy.symbols("g1:4", real=True)
        value = sympy.Integer(0)
        for gradient in gradients:
            value = recursion(value, gradient, beta, rate)
        yield value - weight(law, gradients, beta, rate)

    return symbolic


def _sums(law: str, part: Build, draws: Draws, names: tuple[str, ...], *, last: bool) -> Iterator[Evidence]:
    """The buffer or the position after random gradients, at several lengths."""
    for lr, momentum in settings(draws):
        for steps in (1, 2, 7, 30):
            gradients = draws.normal(steps, 3)
            positions, buffer = fed(part, gradients, lr, momentum)
            measured = positions[-1] if last else buffer
            if momentum == 0 and not last:
                continue  # plain descent keeps no buffer
            scale = gradients.abs().sum().item() * max(lr, 1.0)
            for column in range(3):
                given = {"gradients": gradients[:, column].tolist(), **dict(zip(names, (momentum, lr), strict=False))}
                yield held(law, given, measured[column], rounding(8 * steps, scale))


@experiment(
    "optimization.velocity",
    part=Momentum,
    mutants={
        "the average": RunningAverage,
        "without the learning rate": SGD,
        "alpha squared": lambda params, lr, momentum: Momentum(params, lr, momentum**2),
    },
    how="float64, buffers of a running optimizer",
    symbolic=_unrolled(lambda v, g, a, e: a * v + e * g, lambda law, g, a, e: law(g, a, e)),
)
def velocity(part: Build, draws: Draws) -> Iterator[Evidence]:
    """Buffers after 1 to 30 random gradients."""
    yield from _sums("optimization.velocity", part, draws, ("momentum", "step_size"), last=False)


@experiment(
    "optimization.running_average",
    part=RunningAverage,
    mutants={
        "a sum": Momentum,
        "the first gradient taken whole": _undamped,
        "beta squared": lambda params, lr, momentum: RunningAverage(params, lr, momentum**2),
    },
    how="float64, buffers of a running optimizer",
    symbolic=_unrolled(lambda v, g, b, _: b * v + (1 - b) * g, lambda law, g, b, _: law(g, b)),
)
def running_average(part: Build, draws: Draws) -> Iterator[Evidence]:
    """Buffers after 1 to 30 random gradients."""
    yield from _sums("optimization.running_average", part, draws, ("beta",), last=False)


def _mapped(params: Any, lr: float, momentum: float) -> Optimizer:
    """Momentum with the coefficients that the map gives it."""
    return Momentum(params, **to_momentum(lr, momentum))


def forms() -> tuple[Build, ...]:
    """Both optimizers, to be given the average's own coefficients."""
    return RunningAverage, _mapped


@experiment(
    "optimization.averaged_position",
    part=forms,
    mutants={
        "the rate not divided by 1 - alpha": lambda: (Momentum,),
        "the first gradient taken whole": lambda: (_undamped,),
        "corrected for its bias": lambda: (partial(RunningAverage, bias_correction=True),),
        "mapped the wrong way round": lambda: (lambda params, lr, momentum: Momentum(params, **to_running_average(lr, momentum)),),
    },
    how="float64, trajectories of both forms",
)
def position(part: Callable[[], tuple[Build, ...]], draws: Draws) -> Iterator[Evidence]:
    """Positions of the average and of momentum with mapped coefficients, after 1 to 30 random gradients."""
    for build in part():
        yield from _sums("optimization.averaged_position", build, draws, ("beta", "delta"), last=True)


def _average(gradients: Tensor, beta: float, *, corrected: bool) -> Tensor:
    """The running average of a running optimizer after the last gradient, with or without its bias."""
    point = torch.zeros_like(gradients[0]).requires_grad_()
    optimizer = RunningAverage([point], lr=1.0, momentum=beta)
    for gradient in gradients:
        point.grad = gradient.clone()
        optimizer.step()
    return optimizer.average(point, corrected=corrected)


def _share(gradients: Tensor, beta: float) -> Tensor:
    return _average(gradients, beta, corrected=False)


@experiment(
    "optimization.average_bias",
    part=_share,
    mutants={
        "already corrected": lambda gradients, beta: _average(gradients, beta, corrected=True),
        "one step late": lambda gradients, beta: _share(gradients[1:], beta) if len(gradients) > 1 else 0 * gradients[0],
        "the first gradient taken whole": lambda gradients, beta: fed(_undamped, gradients, 1.0, beta)[1],
    },
    how="confidence interval, 20000 runs, and constant gradients",
)
def bias(part: Callable[[Tensor, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """The mean of the average over runs whose gradients are 1 in expectation; exactly, where they are 1."""
    for beta, steps in ((0.5, 1), (0.9, 1), (0.9, 5), (0.99, 20), (0.8, 40)):
        given = {"beta": beta, "steps": steps}
        measured, tolerance = sampling(part(1 + draws.normal(steps, 20_000), beta))
        yield held("optimization.average_bias", given, measured, tolerance)
        constant = torch.ones(steps, 1, dtype=torch.float64)
        yield held("optimization.average_bias", given, part(constant, beta), rounding(8 * steps))


def _step(gradients: Tensor, beta: float) -> Tensor:
    """The last step of the optimizer that corrects its bias, at learning rate 1."""
    positions, _ = fed(partial(RunningAverage, bias_correction=True), gradients, 1.0, beta)
    before = positions[-2] if len(positions) > 1 else torch.zeros_like(positions[-1])
    return before - positions[-1]


@experiment(
    "optimization.corrected_average",
    part=_step,
    mutants={
        "not corrected": _share,
        "corrected by the last weight": lambda gradients, beta: _share(gradients, beta) / (1 - beta),
        "corrected one step late": lambda gradients, beta: _share(gradients, beta) / (1 - beta ** (len(gradients) + 1)),
    },
    how="float64, steps of a running optimizer",
)
def corrected(part: Callable[[Tensor, float], Tensor], draws: Draws) -> Iterator[Evidence]:
    """The steps of RunningAverage(bias_correction=True) on random and on constant gradients."""
    for beta in (0.3, 0.9, 0.999):
        for steps in (1, 2, 9, 40):
            gradients = draws.normal(steps, 4)
            gradients[:, 0] = 1.5
            measured = part(gradients, beta)
            allowed = rounding(64 * steps, gradients.abs().sum().item() / (1 - beta))
            for column in range(4):
                given = {"gradients": gradients[:, column].tolist(), "beta": beta}
                yield held("optimization.corrected_average", given, measured[column], allowed)
