"""Adam's four lines on running optimizers: each step, where decay enters, and which weights it shrinks."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchstone.core.evidence import Evidence
from torchstone.core.quantity import Amount, Tolerance
from torchstone.laws.optimization import FORMS, LINES
from torchstone.parts.optimization import Adam, AdamByLine
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding, sampling

# (parameters, lr, betas, eps, weight_decay) -> a torch optimizer
Build = Callable[..., Optimizer]
Forms = Callable[[str], Build]
DECAY, SCALES = 1e-3, (0.1, 10.0)  # of the decay, and of the smallest and the largest gradients


def ours(form: Any) -> Build:
    """Our Adam of one form."""
    return partial(Adam, decay=form)


def theirs(form: str) -> Build:
    """Torch's optimizer of one form."""
    return torch.optim.AdamW if form == "decoupled" else torch.optim.Adam


def by_line(line: Any) -> Build:
    """Adam written by line, decay put at one."""
    return partial(AdamByLine, line=line)


def run(build: Build, gradients: Tensor, start: Tensor, **numbers: Any) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Parameters and both moments after every step on given gradients, one row a step."""
    point = start.clone().requires_grad_()
    optimizer = build([point], **numbers)
    for gradient in gradients:
        point.grad = gradient.clone()
        optimizer.step()
        state = optimizer.state[point]
        moments = [state.get(name, point).detach().clone() for name in ("exp_avg", "exp_avg_sq")]
        yield point.detach().clone(), moments[0], moments[1]


def _lines() -> dict[str, Build]:
    """Running optimizers and the line that each has its decay at."""
    return {"l2": ours("l2"), "decoupled": ours("decoupled")} | {line: by_line(line) for line in LINES}


_AT = {"l2": "gradient", "decoupled": "parameter update"}


def _changed(**given: Any) -> Callable[[], dict[str, Build]]:
    return lambda: {"l2": partial(ours("l2"), **given)}


def _halved(params: Any, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> Optimizer:
    return Adam(params, lr, (betas[0] / 2, betas[1]), eps, weight_decay, "l2")


@experiment(
    "optimization.adam_step",
    part=_lines,
    mutants={
        "l2 and decoupled exchanged": lambda: {"l2": ours("decoupled"), "decoupled": ours("l2")},
        "the larger second moment kept": _changed(amsgrad=True),
        "uphill": _changed(maximize=True),
        "half the momentum": lambda: {"l2": _halved},
        "decay at both moments, for one": lambda: {"first moment": by_line("gradient")},
    },
    how="float64, every step of running optimizers, decay at every line",
)
def step(part: Callable[[], dict[str, Build]], draws: Draws) -> Iterator[Evidence]:
    """Five steps each of our Adam in both forms and of Adam by line; every number of every step from the one before."""
    for name, build in part().items():
        for _ in range(3):
            lr, decay = draws.uniform(0.01, 0.5, 2).tolist()
            (beta1, beta2), eps = draws.uniform(0.1, 0.95, 2).tolist(), 1e-3
            start, gradients = draws.normal(2), draws.normal(5, 2)
            states = [(start, torch.zeros_like(start), torch.zeros_like(start))]
            states += run(build, gradients, start, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
            numbers = {"learning_rate": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "decay": decay, "line": _AT.get(name, name)}
            for at, (before, after) in enumerate(pairwise(states)):
                for column in range(2):
                    parameter, first, second = (one[column].item() for one in before)
                    given = {"parameter": parameter, "gradient": gradients[at, column].item(), "first": first, "second": second}
                    found = [one[column] for one in after]
                    yield held("optimization.adam_step", {**given, "step": at + 1, **numbers}, found, rounding(1e4))


def _agreeing(build: Build, draws: Draws) -> list[int]:
    """The lines, from 1, at which Adam by line takes the steps of a running optimizer."""
    start, gradients = draws.normal(6), draws.normal(12, 6)
    numbers = {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-8, "weight_decay": 0.3}
    wanted = [point for point, *_ in run(build, gradients, start, **numbers)]
    found = []
    for number, line in enumerate(LINES, 1):
        steps = [point for point, *_ in run(by_line(line), gradients, start, **numbers)]
        apart = max((one - other).abs().max().item() for one, other in zip(wanted, steps, strict=True))
        if apart <= rounding(1e5).total:
            found.append(number)
    return found


@experiment(
    "optimization.decay_line",
    part=ours,
    mutants={
        "the forms exchanged": lambda form: ours("l2" if form == "decoupled" else "decoupled"),
        "decay at the first moment": lambda _: by_line("first moment"),
        "decay at the second moment": lambda _: by_line("second moment"),
    },
    how="every line tried, 12 steps of float64, of our Adam and torch's",
)
def line(part: Forms, draws: Draws) -> Iterator[Evidence]:
    """Adam with its decay at each line in turn, against Adam and AdamW: exactly one line agrees."""
    for form in FORMS:
        for forms in (part, theirs):
            yield held("optimization.decay_line", {"form": form}, _agreeing(forms(form), draws))


def shrinkage(build: Build, gradients: Tensor, **numbers: Any) -> Tensor:
    """The share of each weight, 1 at the start, that decay takes a step: two runs on the same gradients, with and without it."""
    start = torch.ones_like(gradients[0])
    decay = numbers.pop("weight_decay")
    with_decay, without = (
        list(run(build, gradients, start, weight_decay=each, **numbers))[-1][0] for each in (decay, 0.0)
    )
    return (without - with_decay) / len(gradients)


def slopes(forms: Forms, form: str, draws: Draws, *, runs: int = 24, steps: int = 300) -> Tensor:
    """The log-log slope of shrinkage against the gradient's scale, one a run: 32 weights, scales over two decades."""
    scales = torch.logspace(math.log10(SCALES[0]), math.log10(SCALES[1]), 32, dtype=torch.float64)
    gradients = draws.normal(steps, runs, 32) * scales
    taken = shrinkage(forms(form), gradients, lr=1e-4, betas=(0.9, 0.99), eps=1e-12, weight_decay=DECAY)
    x = (scales.log() - scales.log().mean())[None]
    found: Tensor = (x * taken.clamp(min=1e-300).log()).sum(1) / x.square().sum()
    return found


def _undivided(params: Any, lr: float, betas: tuple[float, float], weight_decay: float, **_: Any) -> Optimizer:
    return torch.optim.SGD(params, lr=lr, momentum=betas[0], weight_decay=weight_decay)


@experiment(
    "optimization.shrinkage_slope",
    part=ours,
    mutants={
        "the forms exchanged": lambda form: ours("l2" if form == "decoupled" else "decoupled"),
        "decay at the second moment": lambda _: by_line("second moment"),
        "decay at the gradient in both": lambda _: ours("l2"),
        "no division by the second moment": lambda _: _undivided,
    },
    how="24 runs a form, 300 steps of a running Adam, gradients of scales 0.1 to 10",
)
def slope(part: Forms, draws: Draws) -> Iterator[Evidence]:
    """Repeated runs; the decay's own share of the second moment, and of the weights' loss, is the model's error."""
    for form in FORMS:
        found, allowed = sampling(slopes(part, form, draws))
        model = Amount(DECAY / SCALES[0], "what the decay is beside the smallest gradients")
        yield held("optimization.shrinkage_slope", {"form": form}, found, Tolerance(model=model, sampling=allowed.sampling))
