"""`graph_schedule`: a model of any data flow and a budget become modules that are run again."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from torchstone.core.errors import UsageError, told
from torchstone.laws.rematerialization.covering import least_extra
from torchstone.laws.rematerialization.graph import Graph
from torchstone.laws.rematerialization.modules import GraphPlan, places, reruns
from torchstone.laws.rematerialization.planning import TooLittleError, read_bytes, written
from torchstone.laws.rematerialization.search import Found, search
from torchstone.parts.rematerialization.again import Again, put, taken_off
from torchstone.parts.rematerialization.executing import Chained, Passed
from torchstone.parts.rematerialization.trying import Bench, bench, faults, moved
from torchstone.parts.rematerialization.working import Loss, Task

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSchedule(GraphPlan):
    """Modules of a model that are run again. `apply` makes a model run so.

    `built`: every module of the planned model and its class. `buffers`: those that its forward pass moved, in the mode that the
    modules were in: those in `training` in training mode.
    """

    built: tuple[tuple[str, str], ...]
    buffers: tuple[str, ...]
    training: tuple[str, ...]

    def apply(self, model: Model) -> Model:
        """The same model, these modules run again: same parameters, state_dict, calls, every bit of outputs and gradients.

        Raises UsageError, before anything is changed, for a model not built like the planned one, or that runs by a schedule.
        """
        unscheduled(model)
        for name, kind in self.built:
            try:
                module = model.get_submodule(name)
            except AttributeError:
                module = None
            if module is None or _kind(module) != kind:
                came = "none" if module is None else f"a {_kind(module)}"
                message = f"the schedule was planned for a model whose module {name!r} is a {kind}; this one has {came} there"
                raise UsageError(message)
        for name in self.modules:
            if "forward" in model.get_submodule(name).__dict__:
                message = f"{name} has a forward of its own, which the schedule would replace: remove that first"
                raise UsageError(message)
        put(model, self.modules, self.buffers, partial(Again, training=True))
        for name in set(self.modules) - set(self.training):
            model.get_submodule(name).__dict__["forward"].training = False
        return model

    def remove(self, model: Model) -> Model:
        """The model without the schedule."""
        taken_off(model, self.modules)
        return model


def unscheduled(model: nn.Module) -> None:
    """Raise UsageError if a model runs by a schedule."""
    for module in model.modules():
        if isinstance(module.__dict__.get("forward"), Again | Chained | Passed):
            message = f"{type(module).__name__} runs by a schedule already: remove that first"
            raise UsageError(message)


def task_of(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], loss: Loss | None) -> Task:
    """One pass of a model on inputs of its own: their gradients are nobody else's."""
    own = tree_map_only(Tensor, lambda one: one.detach().requires_grad_(one.requires_grad), (tuple(args), dict(kwargs)))
    return Task(model, own[0], own[1], loss)


@dataclass(frozen=True)
class Observed:
    """A model's pass and where to measure it."""

    trial: Bench
    graph: Graph

    def most(self, modules: Iterable[str]) -> bool:
        """Whether most of the bytes that are kept for the backward pass are kept inside these modules."""
        graph, names = self.graph, set(modules)
        calls = {number for number, call in enumerate(graph.calls) if call.module in names}
        inside = {one.storage for one in graph.saved if calls.intersection(graph.paths[one.call])}
        every = sum(graph.storages[storage].size for storage in {one.storage for one in graph.saved})
        return 2 * sum(graph.storages[storage].size for storage in inside) >= every


def observed(task: Task) -> Observed:
    """The model run once, forwards and backwards. Raises UsageError if it does not run or nothing has a gradient."""
    unscheduled(task.model)
    trial, graph = bench(task, moved(task))
    return Observed(trial, replace(graph, state=trial.state))


def graph_schedule(task: Task, memory: object, known: Observed | None = None) -> GraphSchedule:
    """Modules to run again, so that a pass takes at most `memory` at once. `known`: what was observed of this task already.

    Raises UsageError: the model does not run, nothing has a gradient, or the budget is too small (with the least that was found).
    """
    budget = read_bytes(memory)
    known = known or observed(task)
    trial, graph = known.trial, known.graph
    unreal = any(one.is_meta for one in task.known)
    while True:
        wrong: dict[str, str] = {}
        try:
            found, least = search(graph, budget, partial(_measured, trial))
        except _FailsError as fails:
            wrong = fails.modules
        else:
            if found is None:
                raise _too_little(graph, budget, least)
            wrong = faults(task, found.modules, trial.buffers) if found.modules and not unreal else {}
            if not wrong:
                return _schedule(task.model, graph, trial, found, budget)
        graph = replace(graph, refused={**graph.refused, **wrong})


class _FailsError(Exception):
    """Modules that fail when they run again, and why."""

    def __init__(self, modules: dict[str, str]) -> None:
        super().__init__()
        self.modules = modules


def _measured(trial: Bench, modules: Collection[str]) -> tuple[int, int]:
    """A schedule's peak and extra work; if it fails, the modules that fail alone are to blame, and else all of them."""
    try:
        return trial.measure(modules)
    except Exception as error:
        if not modules:
            message = f"the model cannot be run forwards and backwards on these inputs: {told(error)}"
            raise UsageError(message) from error
        why = f"it fails when it runs again: {told(error)}"
        alone = [name for name in modules if len(modules) > 1 and not _runs(trial, name)]
        raise _FailsError(dict.fromkeys(alone or modules, why)) from error


def _runs(trial: Bench, name: str) -> bool:
    with suppress(Exception):
        trial.measure([name])
        return True
    return False


def _too_little(graph: Graph, budget: int, least: Found) -> TooLittleError:
    barred = f"; {len(graph.refused)} modules cannot be run again" if graph.refused else ""
    message = (
        f"{written(budget)} is too little: the least that was found, running modules again, is {least.peak} bytes "
        f"({written(least.peak)}){barred}; give as much, a smaller batch, or a model of smaller modules"
    )
    return TooLittleError(message, least.peak)


def _schedule(model: nn.Module, graph: Graph, trial: Bench, found: Found, budget: int) -> GraphSchedule:
    modules, any_bound = dict(model.named_modules()), graph.least_rerun(budget)
    kinds = {name: type(modules[name]).__name__ for name in graph.modules}
    return GraphSchedule(
        reruns=reruns(graph, found.modules, kinds), places=places(graph, found.modules), budget=budget, held=graph.held,
        predicted_peak=found.peak, stored_peak=trial.measure(())[0], extra_cost=found.extra, forward_cost=graph.cost,
        lower_bound=max(any_bound, least_extra(graph, budget) or 0), any_bound=any_bound, refused=graph.refused,
        built=tuple((name, _kind(module)) for name, module in modules.items() if name),
        buffers=tuple(trial.buffers), training=tuple(name for name, one in modules.items() if one.training),
    )  # fmt: skip


def _kind(module: nn.Module) -> str:
    return type(module).__qualname__
