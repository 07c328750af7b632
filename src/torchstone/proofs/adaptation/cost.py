"""What a meta step costs, counted while it runs: forwards and gradients, FLOP, and numbers kept for the backward."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from torchstone.core.evidence import Evidence
from torchstone.laws.adaptation.meta import METHODS
from torchstone.parts.adaptation import MAML, Reptile
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held

Part = Callable[..., Any]


def stack_of(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths with rectifiers between them."""
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def meta_step(model: nn.Module, method: str, examples: int, steps: int, tasks: int) -> None:
    """One meta step of a method on data of the model's first and last widths, drawn at random."""
    sizes = [one.shape for one in model.parameters() if one.dim() > 1]
    inputs, targets = torch.randn(tasks, examples, sizes[0][1]), torch.randn(tasks, examples, sizes[-1][0])
    if method == "reptile":
        adapted = Reptile(model, inner_lr=0.01, inner_steps=steps)
        with torch.no_grad():
            adapted.adapt(inputs, targets)
    else:
        maml = MAML(model, inner_lr=0.01, inner_steps=steps, first_order=method == "first_order")
        maml(inputs, targets, inputs, targets).backward()


class _Counted(torch.autograd.Function):
    """Multiplies by a weight and counts its forwards, its backwards, and the backwards of those."""

    counts = [0, 0]  # noqa: RUF012 - of the class on purpose: a Function has no instances

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(inputs, weight)
        return inputs * weight

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        _Counted.counts[0] += 1
        inputs, weight = context.saved_tensors
        return _CountedBackward.apply(gradients[0], inputs, weight)  # type: ignore[no-any-return, no-untyped-call]


class _CountedBackward(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, gradient: Tensor, inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        context.save_for_backward(gradient, inputs, weight)
        return gradient * weight, (gradient * inputs).sum()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _Counted.counts[1] += 1
        gradient, inputs, weight = context.saved_tensors
        by_inputs, by_weight = gradients
        return by_inputs * weight + by_weight * inputs, by_weight * gradient, (by_inputs * gradient).sum()


def _evaluations(method: str, steps: int, tasks: int) -> tuple[int, int]:
    """Gradients, and gradients differentiated again, that algorithms 1 of both papers take, task after task.

    Differentiating a gradient again passes its forward once more: one backward of each kind is one Hessian times a vector.
    """
    _Counted.counts = [0, 0]
    start = torch.ones((), dtype=torch.float64, requires_grad=True)
    for _ in range(tasks):
        weight, inputs = start, torch.linspace(0.5, 1, 4, dtype=torch.float64)
        for _ in range(steps):
            loss = _Counted.apply(inputs, weight).square().mean()  # type: ignore[no-untyped-call]
            (gradient,) = torch.autograd.grad(loss, weight, create_graph=method == "maml")
            weight = weight - 0.1 * gradient
            if method == "first_order":
                weight = start + (weight - start).detach()
            elif method == "reptile":
                weight = weight.detach().requires_grad_()
        if method != "reptile":
            torch.autograd.grad(_Counted.apply(inputs, weight).square().mean(), start)  # type: ignore[no-untyped-call]
    passed, again = _Counted.counts
    return passed - again, again


@experiment(
    "adaptation.gradient_evaluations",
    part=_evaluations,
    mutants={
        "first order in MAML's place": lambda method, *rest: _evaluations("first_order" if method == "maml" else method, *rest),
        "one step more": lambda method, steps, tasks: _evaluations(method, steps + 1, tasks),
        "one task": lambda method, steps, _: _evaluations(method, steps, 1),
    },
    how="exact: backwards counted in a loop",
)
def gradient_evaluations(part: Part, draws: Draws) -> Iterator[Evidence]:
    """A function that counts its own backwards, and theirs."""
    for _ in range(4):
        steps, tasks = draws.integer(1, 6), draws.integer(2, 4)
        for method in METHODS:
            arguments = {"method": method, "steps": steps, "tasks": tasks}
            yield held("adaptation.gradient_evaluations", arguments, part(method, steps, tasks))


def _flops(method: str, widths: Sequence[int], examples: int, steps: int, tasks: int) -> int:
    with FlopCounterMode(display=False) as counter:
        meta_step(stack_of(widths), method, examples, steps, tasks)
    return int(counter.get_total_flops())


@experiment(
    "adaptation.meta_step_flops",
    part=_flops,
    mutants={
        "first order in MAML's place": lambda method, *rest: _flops("first_order" if method == "maml" else method, *rest),
        "one step more": lambda method, widths, examples, steps, tasks: _flops(method, widths, examples, steps + 1, tasks),
        "hidden widths doubled": lambda method, widths, *rest: _flops(method, [widths[0], *(2 * one for one in widths[1:])], *rest),
    },
    how="exact: torch's counter on the running step",
)
def meta_step_flops(part: Part, draws: Draws) -> Iterator[Evidence]:
    """Stacks of two to four layers, every method."""
    for layers in (2, 3, 4):
        widths = [draws.integer(1, 20) for _ in range(layers + 1)]
        sizes = {"examples": draws.integer(2, 9), "steps": draws.integer(1, 5), "tasks": draws.integer(2, 6)}
        for method in METHODS:
            found = part(method, widths, *sizes.values())
            yield held("adaptation.meta_step_flops", {"method": method, "widths": widths, **sizes}, found)


def _kept(method: str, widths: Sequence[int], examples: int, steps: int, tasks: int) -> int:
    """Numbers in all storages that the graph of a meta step keeps for its backward."""
    storages: dict[int, Tensor] = {}

    def keep(one: Tensor) -> Tensor:
        storages[one.untyped_storage().data_ptr()] = one  # kept alive, so that no other storage comes to its place
        return one

    with saved_tensors_hooks(keep, lambda one: one):
        meta_step(stack_of(widths), method, examples, steps, tasks)
    return sum(one.untyped_storage().nbytes() // one.element_size() for one in storages.values())


def _growth(method: str, widths: Sequence[int], examples: int, tasks: int) -> tuple[int, ...]:
    found = [_kept(method, widths, examples, steps, tasks) for steps in (1, 2, 3)]
    return found[1] - found[0], found[2] - found[1]


@experiment(
    "adaptation.inner_step_memory",
    part=_growth,
    mutants={
        "first order in MAML's place": lambda method, *rest: _growth("first_order" if method == "maml" else method, *rest),
        "MAML in every place": lambda _, *rest: _growth("maml", *rest),
        "one task": lambda method, widths, examples, _: _growth(method, widths, examples, 1),
        "one example": lambda method, widths, _, tasks: _growth(method, widths, 1, tasks),
    },
    how="exact: storages kept for the backward",
)
def inner_step_memory(part: Part, draws: Draws) -> Iterator[Evidence]:
    """What the second inner step adds to the graph, and the third."""
    for layers in (2, 3, 4):
        widths = [draws.integer(2, 20) for _ in range(layers + 1)]
        sizes = {"examples": draws.integer(2, 9), "tasks": draws.integer(2, 6)}
        for method in METHODS:
            for growth in part(method, widths, *sizes.values()):
                yield held("adaptation.inner_step_memory", {"method": method, "widths": widths, **sizes}, growth)
