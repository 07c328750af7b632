"""What gradient buffers hold and which parameters move, in real training loops of torch.optim."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from torchstone.core.evidence import Evidence
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Kind = Callable[[Iterable[Tensor]], Optimizer]
KINDS: tuple[Kind, ...] = (
    lambda parameters: SGD(parameters, lr=0.01),
    lambda parameters: SGD(parameters, lr=0.01, momentum=0.9),
    lambda parameters: Adam(parameters, lr=0.01),
    lambda parameters: AdamW(parameters, lr=0.01),
)
# (what a loop does with the gradients before the next backward pass; the share that it means to keep)
Clear = Callable[[Optimizer, float], None]


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def clear(optimizer: Optimizer, kept: float) -> None:
    """What torch offers for each share: zero_grad for 0, nothing for 1, scaling between."""
    if kept == 0:
        optimizer.zero_grad()
        return
    for gradient in _gradients(optimizer):
        gradient.mul_(kept)


@experiment(
    "optimization.carried_gradient",
    part=clear,
    mutants={
        "never cleared": lambda _, __: None,
        "only the first parameter cleared": lambda optimizer, _: _gradients(optimizer)[0].zero_(),
        "shrunk, not cleared": lambda optimizer, kept: clear(optimizer, max(kept, 0.5)),
    },
    how="float64, training loops of SGD, Adam, AdamW",
)
def carried_gradient(part: Clear, draws: Draws) -> Iterator[Evidence]:
    """The share of a consumed gradient that still lies there when the next backward pass begins, over five steps."""
    for kind in KINDS:
        for kept in (0.0, 0.5, 1.0):
            for share in _carried(part, kind, kept, draws):
                yield held("optimization.carried_gradient", {"kept": kept}, share, rounding(100))


def _carried(part: Clear, kind: Kind, kept: float, draws: Draws) -> Iterator[float]:
    model = _network(draws)
    optimizer = kind(model.parameters())
    consumed = math.nan
    for step in range(5):
        inputs = draws.normal(16, 4)
        loss = nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(1))
        part(optimizer, kept) if step else None
        if step:
            yield _norm(optimizer) / consumed
        torch.autograd.backward(loss)
        optimizer.step()
        consumed = _norm(optimizer)


def _network(draws: Draws) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    for parameter in model.parameters():
        parameter.data = draws.normal(*parameter.shape) / 2
    return model


def _norm(optimizer: Optimizer) -> float:
    return math.hypot(*(gradient.norm().item() for gradient in _gradients(optimizer)))


def _backward(weight: Tensor, loss: Tensor) -> None:
    del weight
    torch.autograd.backward(loss)


def _overwrite(weight: Tensor, loss: Tensor) -> None:
    weight.grad = None
    torch.autograd.backward(loss)


def _average(weight: Tensor, loss: Tensor) -> None:
    before = 0 if weight.grad is None else weight.grad
    (fresh,) = torch.autograd.grad(loss, weight)
    weight.grad = (before + fresh) / (1 + (weight.grad is not None))


@experiment(
    "optimization.uncleared_gradient",
    part=_backward,
    mutants={"overwritten": _overwrite, "averaged": _average},
)
def uncleared_gradient(part: Callable[[Tensor, Tensor], None], draws: Draws) -> Iterator[Evidence]:
    """Backward passes of known slopes, of all sizes and signs."""
    for count in [1, 2, 3, *draws.integers(4, 60, 20)]:
        slopes = (draws.normal(count) * 10 ** draws.uniform(-3, 3, count)).tolist()
        weight = torch.ones((), dtype=torch.float64, requires_grad=True)
        for slope in slopes:
            part(weight, slope * weight)
        measured = weight.grad if weight.grad is not None else math.nan
        allowed = rounding(2 * count, max(map(abs, slopes)) * count)
        yield held("optimization.uncleared_gradient", {"gradients": slopes}, measured, allowed)


def _step(optimizer: Optimizer, loss: Tensor, step: int) -> None:
    del step
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


def _every_second(optimizer: Optimizer, loss: Tensor, step: int) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    if step % 2:
        optimizer.step()


def _cleared_between(optimizer: Optimizer, loss: Tensor, step: int) -> None:
    del step
    torch.autograd.backward(loss)
    optimizer.zero_grad()
    optimizer.step()


@experiment(
    "optimization.updates_received",
    part=_step,
    mutants={"a step every second batch": _every_second, "cleared between backward and step": _cleared_between},
    how="exact, training loops of SGD, Adam, AdamW",
)
def updates_received(part: Callable[[Optimizer, Tensor, int], None], draws: Draws) -> Iterator[Evidence]:
    """Steps that moved a parameter: held by the optimizer or not, reached by the gradient or not."""
    for kind in KINDS:
        for in_optimizer in (True, False):
            for has_gradient in (True, False):
                watched, other = _network(draws), nn.Linear(3, 1).double()
                optimizer = kind([*other.parameters(), *(watched.parameters() if in_optimizer else ())])
                moved = 0
                for step in range(6):
                    before = [parameter.detach().clone() for parameter in watched.parameters()]
                    value = watched(draws.normal(8, 4))
                    part(optimizer, other(value if has_gradient else value.detach()).square().mean(), step)
                    moved += any(not torch.equal(old, new) for old, new in zip(before, watched.parameters(), strict=True))
                given = {"steps": 6, "in_optimizer": in_optimizer, "has_gradient": has_gradient}
                yield held("optimization.updates_received", given, moved)
