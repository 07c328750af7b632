"""Forgetting and learned starts where both can be brought to their end: linear layers and quadratic losses."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from torchstone.core.evidence import Evidence, Relation
from torchstone.parts.adaptation import MAML, LoRA, Reptile
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

SIZE, LOOSE = 5, rounding(1e8, 10)  # LBFGS ends at about half of float64's digits
Forgotten = Callable[[Tensor, Tensor, int], float]


def _adapted(weight: Tensor, wanted: Tensor, rank: int, times: float = 1.0) -> float:
    """The squared change of a layer's outputs on isotropic inputs, once an adapter has come as near to `wanted` as it can."""
    base = nn.Linear(SIZE, SIZE, bias=False, dtype=torch.float64)
    with torch.no_grad():
        base.weight.copy_(weight)
    layer = LoRA(base, rank)
    with torch.no_grad():
        layer.lora_A.copy_(wanted[:rank] - weight[:rank])
    optimizer = torch.optim.LBFGS([layer.lora_A, layer.lora_B], max_iter=60, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = (layer.weight - wanted).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return (times * (layer.weight - weight)).square().sum().item()


@experiment(
    "adaptation.forgetting",
    part=_adapted,
    mutants={
        "merged twice": lambda weight, wanted, rank: _adapted(weight, wanted, rank, 2.0),
        "scaled by alpha, not alpha / r": lambda weight, wanted, rank: _adapted(weight, wanted, rank, rank),
    },
    how="linear layers, minima by LBFGS",
)
def forgetting(part: Forgotten, draws: Draws) -> Iterator[Evidence]:
    """Full tuning gets to what is wanted; adapters as near as their rank lets them."""
    for rank in (3, 4):
        weight, wanted = draws.normal(SIZE, SIZE), draws.normal(SIZE, SIZE)
        full = (wanted - weight).square().sum().item()
        yield held("adaptation.forgetting", {"full": full}, part(weight, wanted, rank), LOOSE, Relation.AT_MOST)


Minimum = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


def _minimum(original: Tensor, first: Tensor, new: Tensor, second: Tensor, share: float) -> Tensor:
    """Where (w-b)ᵀ K (w-b) + share (w-a)ᵀ H (w-a) is least."""
    found: Tensor = torch.linalg.solve(new + share * original, new @ second + share * original @ first)
    return found


@experiment(
    "adaptation.defended",
    part=_minimum,
    mutants={
        "subtracted": lambda original, first, new, second, share: _minimum(original, first, new, second, -0.1 * share),
        "another original task": lambda original, first, new, second, share: _minimum(original, -9 * first, new, second, share),
        "the new task twice": lambda _, first, new, second, share: _minimum(new, 2 * second - first, new, second, share),
    },
    how="exact minima of quadratic losses",
)
def defended(part: Minimum, draws: Draws) -> Iterator[Evidence]:
    """Two quadratic losses in four dimensions."""
    for _ in range(8):
        original, new = (one @ one.mT + 0.2 * torch.eye(4, dtype=one.dtype) for one in draws.normal(2, 4, 4))
        first, second = draws.normal(2, 4)

        def forgotten(at: Tensor, original: Tensor = original, first: Tensor = first) -> float:
            return ((at - first) @ original @ (at - first)).item()

        found = forgotten(part(original, first, new, second, draws.uniform(0.2, 2, 1).item()))
        arguments = {"undefended": forgotten(second)}
        yield held("adaptation.defended", arguments, found, rounding(1e4, 10), Relation.AT_MOST)


STEPS, RATE = 5, 0.1
Meeting = Callable[[nn.Linear, Tensor, Tensor], float]


def _end(model: nn.Linear, gradient: Callable[[], object]) -> float:
    """Where a gradient that is linear in the only weight is zero."""
    found = []
    for place in (0.0, 1.0):
        with torch.no_grad():
            model.weight.fill_(place)
        model.zero_grad()
        gradient()
        assert model.weight.grad is not None  # noqa: S101 - filled by the line above
        found.append(model.weight.grad.item())
    return found[0] / (found[0] - found[1])


def _learned(model: nn.Linear, inputs: Tensor, targets: Tensor, steps: int = STEPS) -> float:
    maml = MAML(model, inner_lr=RATE, inner_steps=steps)
    return _end(model, lambda: maml(inputs, targets, inputs, targets).backward())


def _joint(model: nn.Linear, inputs: Tensor, targets: Tensor) -> float:
    """The least of all tasks' loss together, before any inner step."""
    del model
    return ((inputs * targets).sum() / inputs.square().sum()).item()


@experiment(
    "adaptation.learned_start",
    part=_learned,
    mutants={
        "joint training": _joint,
        "the other way": lambda model, inputs, targets: -_learned(model, inputs, targets),
        "not learned": lambda *_: 3.0,
    },
    how="quadratic losses, both methods' ends",
)
def learned_start(part: Meeting, draws: Draws) -> Iterator[Evidence]:
    """Tasks of one weight, each of a curvature of its own."""
    for _ in range(6):
        model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        inputs = draws.uniform(0.3, 2.0, 6, 1, 1)
        targets = inputs * draws.normal(6, 1, 1)
        reptile = Reptile(model, inner_lr=RATE, inner_steps=STEPS)
        maml = MAML(model, inner_lr=RATE, inner_steps=STEPS)
        losses = []
        for start in (_end(model, lambda: reptile.backward(inputs, targets)), part(model, inputs, targets)):  # noqa: B023 - called now
            with torch.no_grad():
                model.weight.fill_(start)
                losses.append(maml(inputs, targets, inputs, targets).item())
        yield held("adaptation.learned_start", {"reptile": losses[0]}, losses[1], rounding(1e4), Relation.AT_MOST)
