"""Decay's conventions, and decay beside a penalty, held on running optimizers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sympy
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from torchstone.core.evidence import Evidence
from torchstone.laws import optimization
from torchstone.parts.optimization import Adam, Momentum, WeightDecay
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

# (start, learning rate, gamma) -> where descent on the penalised loss is after one step
Descend = Callable[[Tensor, float, float], Tensor]
Build = Callable[..., Optimizer]


def _loss(point: Tensor) -> Tensor:
    """Convex, of curvature below 2: neighbouring trajectories stay neighbours at every learning rate that is tried."""
    return point.cosh().log().sum() + (point[0] - point[-1]).square() / 8


def _penalised(start: Tensor, lr: float, gamma: float) -> Tensor:
    """A step of torch.optim.SGD on loss + gamma ‖theta‖², by autograd."""
    point = start.clone().requires_grad_()
    torch.autograd.backward(_loss(point) + gamma * point.square().sum())
    SGD([point], lr=lr).step()
    return point.detach()


def _by_adam(start: Tensor, lr: float, gamma: float) -> Tensor:
    point = start.clone().requires_grad_()
    torch.autograd.backward(_loss(point) + gamma * point.square().sum())
    torch.optim.Adam([point], lr=lr).step()
    return point.detach()


def _map(law: Callable[..., Any]) -> Iterable[Any]:
    theta, slope, decay, rate = sympy.symbols("theta slope decay eta", positive=True)
    gamma = law(decay, rate)
    yield (theta - rate * slope - decay * theta) - (theta - rate * (slope + sympy.diff(gamma * theta**2, theta)))


@experiment(
    "optimization.l2_penalty",
    part=_penalised,
    mutants={
        "half the penalty": lambda start, lr, gamma: _penalised(start, lr, gamma / 2),
        "the penalty on the norm, not its square": lambda start, lr, gamma: _penalised(start, lr, gamma / start.norm().item() / 2),
        "decay times the learning rate again": lambda start, lr, gamma: _penalised(start, lr, gamma * lr),
        "Adam": _by_adam,
    },
    how="float64, steps and trajectories of torch.optim.SGD by autograd",
    symbolic=_map,
)
def penalty(part: Descend, draws: Draws) -> Iterator[Evidence]:
    """The gamma whose step is theta - eta grad - lambda theta: affine in gamma, so two runs find it; then trajectories."""
    for _ in range(12):
        lr, decay = (10 ** draws.uniform(-3, 0, 1)).item(), (10 ** draws.uniform(-4, -0.5, 1)).item()
        start, given = draws.normal(5), {"decay": decay, "learning_rate": lr}
        target = _penalised(start, lr, 0.0) - decay * start
        none, one = part(start, lr, 0.0), part(start, lr, 1.0)
        towards = one - none
        gamma = ((target - none) @ towards / (towards @ towards)).item()
        yield held("optimization.l2_penalty", given, gamma, rounding(64 / lr, 1.0))
        explicit, penalised = start, start
        for _ in range(20):
            explicit = _penalised(explicit, lr, 0.0) - decay * explicit
            penalised = part(penalised, lr, optimization.l2_penalty(decay, lr))
        # In units of gamma: what the whole trajectories differ by, per gamma.
        apart = (explicit - penalised).abs().max().item()
        yield held("optimization.l2_penalty", given, optimization.l2_penalty(decay, lr) + apart, rounding(1e5 / lr, 1.0))


def _share(build: Build, weight_decay: float, lr: float, start: Tensor) -> Tensor:
    """What one step without a gradient takes of each parameter, relative to it."""
    point = start.clone().requires_grad_()
    optimizer = build([point], lr=lr, weight_decay=weight_decay)
    point.grad = torch.zeros_like(point)
    optimizer.step()
    return (start - point.detach()) / start


def _builds() -> tuple[Build, ...]:
    """Torch's optimizers and ours that decay per learning rate."""
    decoupled: Build = lambda params, **given: Adam(params, decay="decoupled", **given)  # noqa: E731 - one argument bound
    momentum: Build = lambda params, **given: Momentum(params, momentum=0.0, **given)  # noqa: E731
    return SGD, torch.optim.AdamW, momentum, decoupled


@experiment(
    "optimization.decay_share",
    part=_builds,
    mutants={
        "Adam with the decay in its gradient": lambda: (torch.optim.Adam,),
        "a decay without the learning rate": lambda: (
            lambda params, lr, weight_decay: SGD(params, lr=lr, weight_decay=weight_decay / lr),
        ),
        "the penalty's factor 2": lambda: (lambda params, lr, weight_decay: SGD(params, lr=lr, weight_decay=2 * weight_decay),),
    },
    how="float64, steps of torch's optimizers and ours",
)
def share(part: Callable[[], tuple[Build, ...]], draws: Draws) -> Iterator[Evidence]:
    """Steps without a gradient, and the conversions of `WeightDecay`."""
    for build in part():
        for _ in range(5):
            lr, weight_decay = (10 ** draws.uniform(-3, 0, 1)).item(), (10 ** draws.uniform(-3, 0, 1)).item()
            given = {"weight_decay": weight_decay, "learning_rate": lr}
            for measured in _share(build, weight_decay, lr, draws.normal(4)).tolist():
                yield held("optimization.decay_share", given, measured, rounding(16))
            converted = WeightDecay.from_share(lr * weight_decay, lr=lr)
            yield held("optimization.decay_share", {**given, "weight_decay": converted.weight_decay}, converted.share, rounding(8))


def _gradient(gamma: float, point: Tensor) -> Tensor:
    """The gradient of the penalty in the loss, by autograd."""
    leaf = point.clone().requires_grad_()
    (found,) = torch.autograd.grad(gamma * leaf.square().sum(), leaf)
    return found


@experiment(
    "optimization.penalty_weight_decay",
    part=_gradient,
    mutants={
        "half the sum of squares": lambda gamma, point: _gradient(gamma / 2, point),
        "the mean of squares": lambda gamma, point: _gradient(gamma / len(point), point),
        "the norm": lambda gamma, point: gamma * point / point.norm(),
    },
    how="float64, autograd, and steps of torch.optim.SGD and Adam",
)
def of_penalty(part: Callable[[float, Tensor], Tensor], draws: Draws) -> Iterator[Evidence]:
    """The factor before theta in autograd's gradient; and the weight_decay with which a real step is the penalised one."""
    for _ in range(10):
        gamma, point = (10 ** draws.uniform(-3, 1, 1)).item(), draws.normal(6)
        slope = part(gamma, point)
        given = {"penalty": gamma}
        for measured in (slope / point).tolist():
            yield held("optimization.penalty_weight_decay", given, measured, rounding(16, gamma))
        decay = optimization.penalty_weight_decay(gamma)
        for build in (SGD, torch.optim.Adam):
            added, decayed = _moved(build, point, slope, 0.0), _moved(build, point, torch.zeros_like(point), decay)
            apart = (added - decayed).abs().max().item()
            yield held("optimization.penalty_weight_decay", given, decay + apart, rounding(64, max(1.0, gamma)))


def _moved(build: Build, start: Tensor, gradient: Tensor, weight_decay: float) -> Tensor:
    point = start.clone().requires_grad_()
    optimizer = build([point], lr=0.1, weight_decay=weight_decay)
    point.grad = gradient.clone()
    optimizer.step()
    return point.detach()


# (parameters, gradient, diagonal of M, learning rate, lambda) -> parameters after a step
Step = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]


def l2_step(parameters: Tensor, gradient: Tensor, scales: Tensor, lr: float, decay: float) -> Tensor:
    """A step of the simplified Adam on the penalised gradient, M_t as torch holds it: a diagonal matrix."""
    return parameters - lr * scales.diag() @ (gradient + decay * parameters)


def decay_step(parameters: Tensor, gradient: Tensor, scales: Tensor, lr: float, decay: float) -> Tensor:
    """A step of the simplified Adam with explicit decay."""
    return (1 - decay) * parameters - lr * scales.diag() @ gradient


@experiment(
    "optimization.matching_decay",
    part=l2_step,
    mutants={
        "the decay form": decay_step,
        "the penalty not preconditioned": lambda x, g, m, lr, decay: x - lr * m * g - lr * decay * x,
        "a penalty's factor 2": lambda x, g, m, lr, decay: l2_step(x, g, m, lr, 2 * decay),
    },
    how="float64, and Adam with an epsilon that makes M a multiple of I",
)
def matching(part: Step, draws: Draws) -> Iterator[Evidence]:
    """The share that the L2 form takes where M = c I; and of torch's Adam, whose M is I / eps for a huge eps."""
    for _ in range(20):
        scale, lr, decay = (10 ** draws.uniform(-2, 1, 3)).tolist()
        point, gradient = draws.normal(4), draws.normal(4)
        scales = torch.full((4,), scale, dtype=torch.float64)
        taken = part(point, gradient, scales, lr, 0.0) - part(point, gradient, scales, lr, decay)
        given = {"scale": scale, "learning_rate": lr, "l2": decay}
        size = max(1.0, lr * scale, lr * scale * decay) / point.abs().min().item() * point.abs().max().item()
        yield held("optimization.matching_decay", given, (taken / point)[0], rounding(64, size))


def _difference(law: Callable[..., Any]) -> Iterable[Any]:
    """The two steps written out; and that the only decay at which they meet for all theta needs equal m."""
    theta, slope, m, alpha, l2, decay = sympy.symbols("theta slope m alpha l2 decay", positive=True)
    (apart,) = law([theta], [m], alpha, l2, decay)
    yield (theta - alpha * m * (slope + l2 * theta)) - ((1 - decay) * theta - alpha * m * slope) - apart
    (only,) = sympy.solve(apart / theta, decay)
    yield only - alpha * m * l2


@experiment(
    "optimization.form_difference",
    part=(lambda: (l2_step, decay_step)),
    mutants={
        "both decay": lambda: (decay_step, decay_step),
        "the penalty not preconditioned": lambda: (lambda x, g, m, lr, decay: x - lr * m * g - lr * decay * x, decay_step),
        "the decay preconditioned": lambda: (l2_step, lambda x, g, m, lr, decay: x - m * (decay * x + lr * g)),
    },
    symbolic=_difference,
)
def difference(part: Callable[[], tuple[Step, Step]], draws: Draws) -> Iterator[Evidence]:
    """Random diagonals, multiples of the identity with the matching decay among them."""
    first, second = part()
    for number in range(20):
        point, gradient, scales = draws.normal(4), draws.normal(4), draws.uniform(0.1, 3.0, 4)
        lr, l2, decay = draws.uniform(0.01, 1.0, 3).tolist()
        if number % 2:
            scales = scales[:1].expand(4)
            decay = optimization.matching_decay(scales[0].item(), lr, l2)
        measured = first(point, gradient, scales, lr, l2) - second(point, gradient, scales, lr, decay)
        given = {"parameters": point.tolist(), "scales": scales.tolist(), "learning_rate": lr, "l2": l2, "decay": decay}
        yield held("optimization.form_difference", given, measured, rounding(64, 16.0))
