"""`plan`: a model and a budget become a schedule; `apply` makes the model run by it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from torchstone.core.errors import UsageError, told
from torchstone.laws.rematerialization.chain import Layer, Parts, Segment, checked
from torchstone.laws.rematerialization.planning import Plan, planned
from torchstone.parts.rematerialization.executing import Chained, replaced, restore
from torchstone.parts.rematerialization.executing import replace as put
from torchstone.parts.rematerialization.measuring import Loss, measure
from torchstone.parts.rematerialization.observing import Region, observe, undisturbed

Model = TypeVar("Model", bound=nn.Module)


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


def plan(
    model: nn.Module,
    inputs: Tensor | Sequence[Any],
    memory: float | str,
    *,
    strategy: str = "best",
    loss: Loss | None = None,
) -> Schedule:
    """A schedule with which one forward and backward pass of `model(*inputs)` takes at most `memory` at once.

    `memory`: bytes, or "2GB", "512MiB", for everything that the pass allocates beyond parameters and their gradients (which are
    there with any schedule) and beyond the inputs; output and loss, which their caller holds, are among it.
    Where gradients accumulate (or are zeroed in place), one parameter's new gradient comes on top for a moment: leave room.
    `strategy`: best, level, nested or uniform, as `laws.rematerialization.planning.planned` says. `loss`: what is computed of
    the model's output, so that its memory counts too; without, the gradient of the output counts.

    The chain is found by running the model once; each layer is then run alone, twice, so that planning itself takes the
    memory of one layer and not of the model. Buffers, gradients and random numbers are left as they were.

    Raises UsageError: the model is no chain, its first layer changes its input in place, a layer computes something else when
    it runs again, the budget is too small (with the least that is enough).
    Sources: Chen et al. 2016; Griewank and Walther 2000; Beaumont et al. 2019.
    """
    given = (inputs,) if isinstance(inputs, Tensor) else _inputs(inputs)
    region = observe(model, given)
    carriers, units = _modules(model, region)
    _unseen(model, given, region, carriers, units)
    measured = measure(model, given, region, loss)
    found = planned(measured.layers, memory, strategy, measured.held)
    checked(found.layers, found.parts)
    return Schedule(
        found.layers, found.parts, found.budget, found.strategy, found.proof, found.lower_bound, found.held,
        region=region, head=measured.head, buffers=measured.buffers,
    )  # fmt: skip


def layers_of(model: nn.Module, inputs: Tensor | Sequence[Any], loss: Loss | None = None) -> tuple[Layer, ...]:
    """A model's chain measured: what `plan` plans with."""
    given = (inputs,) if isinstance(inputs, Tensor) else _inputs(inputs)
    return measure(model, given, observe(model, given), loss).layers


def _inputs(inputs: Any) -> tuple[Any, ...]:
    if not isinstance(inputs, list | tuple) or not inputs:
        message = f"inputs are a tensor, or a list or tuple of what the model is called with; {type(inputs).__name__} came"
        raise UsageError(message)
    return tuple(inputs)


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
