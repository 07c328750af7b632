"""`plan`: a model and a budget become a schedule; `apply` makes the model run by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, overload

import torch
from torch import Tensor, nn

from torchstone.core.errors import UsageError, told
from torchstone.laws.rematerialization.chain import Layer, Parts, Segment, checked
from torchstone.laws.rematerialization.modules import MODEL_STRATEGIES
from torchstone.laws.rematerialization.planning import Plan, TooLittleError, planned
from torchstone.parts.rematerialization.executing import Chained, replaced, restore
from torchstone.parts.rematerialization.executing import replace as put
from torchstone.parts.rematerialization.measuring import Loss, measure
from torchstone.parts.rematerialization.observing import Region, observe, undisturbed
from torchstone.parts.rematerialization.scheduling import GraphSchedule, graph_schedule, observed, task_of, unscheduled
from torchstone.parts.rematerialization.working import Task

Model = TypeVar("Model", bound=nn.Module)
OfChain = Literal["level", "nested", "uniform"]
Inputs = Tensor | Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule(Plan):
    """A plan for a model's chain: where the chain is, and which buffers its forward pass moves. `apply` makes a model run by it."""

    region: Region = field(kw_only=True)
    head: int = field(kw_only=True)
    buffers: tuple[str, ...] = field(kw_only=True)

    def apply(self, model: Model) -> Model:
        """The same model, its chain run by this schedule: same parameters, state_dict, calls, every bit of outputs and gradients.

        Raises UsageError, before anything is changed, for a model not built like the planned one, or that runs by a schedule.
        """
        unscheduled(model)
        carriers, units = _modules(model, self.region)
        buffers = [_buffer(model, name) for name in self.buffers]
        put(carriers, Chained(units, self.chain_parts, buffers))
        return model

    def remove(self, model: Model) -> Model:
        """The model without the schedule."""
        restore([_named(model, name) for name in self.region.carriers])
        return model

    @property
    def chain_parts(self) -> Parts:
        """The schedule without what is pinned before and after the chain."""
        return tuple(
            replace(part, first=first, stop=stop, parts=tuple(_moved(one, self.head) for one in part.parts))
            for part in self.parts
            for first, stop in [(max(part.first - self.head, 0), min(part.stop - self.head, len(self.region.units)))]
            if first < stop
        )


@overload
def plan(model: nn.Module, inputs: Inputs, memory: float | str, *, strategy: OfChain, loss: Loss | None = None) -> Schedule: ...
@overload
def plan(
    model: nn.Module, inputs: Inputs, memory: float | str, *, strategy: Literal["graph"], loss: Loss | None = None
) -> GraphSchedule: ...
@overload
def plan(
    model: nn.Module, inputs: Inputs, memory: float | str, *, strategy: str = "best", loss: Loss | None = None
) -> Schedule | GraphSchedule: ...
def plan(
    model: nn.Module, inputs: Inputs, memory: float | str, *, strategy: str = "best", loss: Loss | None = None
) -> Schedule | GraphSchedule:
    """A schedule with which one forward and backward pass of `model(*inputs)` takes at most `memory` at once.

    `inputs`: a tensor, a list or tuple of arguments, or a dict of keyword arguments.
    `memory`: bytes, or "2GB", "512MiB", for everything that the pass allocates beyond parameters and their gradients (which are
    there with any schedule) and beyond the inputs; output and loss, which their caller holds, are among it.
    Of what kernels take for themselves, products on a CPU count in a graph (`within`); a card's libraries are not seen.
    Where gradients accumulate (or are zeroed in place), one parameter's new gradient comes on top for a moment: leave room.
    `loss`: what is computed of the model's output, so that its memory counts too; without, the gradient of the output counts.
    `strategy`: level, nested or uniform segments of a chain, as `laws.rematerialization.planning.planned` says; graph, modules of a
    model of any data flow that are run again (`laws.rematerialization.search`): the best found, with a lower bound; best, the
    chain where one keeps most of what the model keeps for its backward pass and fits, and else the graph.

    A chain is found by running the model once; each layer is then run alone, twice, so that planning itself takes the memory
    of one layer and not of the model. A graph is planned on a copy without numbers, and tried once by its schedule (a model that
    cannot be run without numbers is run as it is, whole). Buffers, gradients and random numbers are left as they were.

    Raises UsageError: the model is no chain and a chain was asked for, a chain's first layer changes its input in place, a layer
    computes something else when it runs again (a graph does without it), nothing has a gradient, the budget is too small (with the
    least that is enough).
    Sources: Chen et al. 2016; Griewank and Walther 2000; Beaumont et al. 2019.
    """
    args, kwargs = _inputs(inputs)
    _known(strategy)
    task = task_of(model, args, kwargs, loss)
    if strategy == "graph":
        return graph_schedule(task, memory)
    if strategy == "best":
        return _best(task, memory)
    return _chain_schedule(task, _chain(task), memory, strategy)


def _best(task: Task, memory: float | str) -> Schedule | GraphSchedule:
    """The chain's schedule if one keeps most of what is kept and fits, else the graph's."""
    try:
        region = _chain(task)
    except UsageError:
        return graph_schedule(task, memory)
    known = None if region.carriers == ("",) else observed(task)
    if known is not None and not known.most(name for unit in region.units for name in unit):
        return graph_schedule(task, memory, known)
    try:
        return _chain_schedule(task, region, memory, "best")
    except TooLittleError as chain:
        try:
            return graph_schedule(task, memory, known)
        except TooLittleError as graph:
            message = f"{chain}; the least that was found running any modules again is {graph.least} bytes"
            raise TooLittleError(message, min(chain.least, graph.least)) from None


def _known(strategy: str) -> None:
    if strategy not in MODEL_STRATEGIES:
        message = f"strategy is one of {', '.join(MODEL_STRATEGIES)}; {strategy!r} came"
        raise UsageError(message)


def _chain(task: Task) -> Region:
    """The model's chain. Raises UsageError if there is none, or what is between its modules is used elsewhere too."""
    if task.kwargs:
        message = "a chain is called with arguments by their places: give inputs as a list or tuple"
        raise UsageError(message)
    region = observe(task.model, task.args)
    _unseen(task.model, task.args, region, *_modules(task.model, region))
    return region


def _chain_schedule(task: Task, region: Region, memory: float | str, strategy: str) -> Schedule:
    measured = measure(task.model, task.args, region, task.loss)
    found = planned(measured.layers, memory, strategy, measured.held)
    checked(found.layers, found.parts)
    return Schedule(
        found.layers, found.parts, found.budget, found.strategy, found.proof, found.lower_bound, found.held,
        region=region, head=measured.head, buffers=measured.buffers,
    )  # fmt: skip


def layers_of(model: nn.Module, inputs: Tensor | Sequence[Any], loss: Loss | None = None) -> tuple[Layer, ...]:
    """A model's chain measured: what `plan` plans with."""
    args, _ = _inputs(inputs)
    return measure(model, args, observe(model, args), loss).layers


def _inputs(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    if isinstance(inputs, Mapping) and inputs and all(isinstance(name, str) for name in inputs):
        return (), dict(inputs)
    if not isinstance(inputs, list | tuple) or not inputs:
        message = (
            "inputs are a tensor, a list or tuple of what the model is called with, or a dict of keyword arguments; "
            f"{type(inputs).__name__} came"
        )
        raise UsageError(message)
    return tuple(inputs), {}


def _moved(part: Segment, head: int) -> Segment:
    return replace(part, first=part.first - head, stop=part.stop - head, parts=tuple(_moved(one, head) for one in part.parts))


def _named(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        message = f"the model has no module {name!r}, which the schedule was planned for: {told(error)}"
        raise UsageError(message) from error


def _modules(model: nn.Module, region: Region) -> tuple[list[nn.Module], list[list[nn.Module]]]:
    """The chain's modules in a model."""
    carriers = [_named(model, name) for name in region.carriers]
    units = [[_named(model, name) for name in unit] for unit in region.units]
    for module in (*carriers, *(one for unit in units for one in unit)):
        if "forward" in module.__dict__:
            message = f"{type(module).__name__} runs by a schedule, or has a forward of its own, already: remove that first"
            raise UsageError(message)
    hooked = [name for name, one in zip(region.carriers, carriers, strict=True) if len(carriers) > 1 and _hooks(one)]
    if hooked:
        message = f"{hooked[0]} has hooks, which would see the chain's output in place of its own: remove them before planning"
        raise UsageError(message)
    return carriers, units


def _hooks(module: nn.Module) -> bool:
    kinds = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)  # noqa: SLF001
    return any(kinds)


def _buffer(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, own = name.rpartition(".")
    return _named(model, path), own


def _unseen(
    model: nn.Module, inputs: Sequence[Any], region: Region, carriers: list[nn.Module], units: list[list[nn.Module]]
) -> None:
    """Refuse a chain whose inner activations are used elsewhere too: run as one, the model computes something else."""
    if len(carriers) == 1:
        return
    with undisturbed(model), torch.no_grad():
        plain = model(*inputs)
    with undisturbed(model), torch.no_grad(), replaced(carriers, Chained(units, (), ())):
        chained = model(*inputs)
    if not _alike(plain, chained):
        message = (
            f"the model is no chain: what lies between {region.carriers[0]} and {region.carriers[-1]} is used elsewhere too "
            "(a skip connection); plan the blocks between, or put a block and its connection into one module"
        )
        raise UsageError(message)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, dict):
        return all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return all(_alike(first, second) for first, second in zip(one, other, strict=True))
    return True
