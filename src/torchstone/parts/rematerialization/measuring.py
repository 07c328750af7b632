"""A chain's layers measured on real inputs: one unit at a time forwards and backwards, so that no more than one is in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves

from torchstone.core.errors import UsageError, told
from torchstone.laws.rematerialization.chain import Layer
from torchstone.parts.rematerialization.executing import moved_once, replaced, run_unit
from torchstone.parts.rematerialization.metering import Meter, storage_bytes, storage_key
from torchstone.parts.rematerialization.observing import Region, undisturbed

Loss = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Measured:
    """A chain's layers, those among them that stand before and after it pinned; `head` of them stand before.

    `buffers` are those that a forward pass moves, `held` the bytes of output and loss, which their caller holds.
    """

    layers: tuple[Layer, ...]
    head: int
    buffers: tuple[str, ...]
    held: int


def measure(model: nn.Module, inputs: Sequence[Any], region: Region, loss: Loss | None = None) -> Measured:
    """Run the model once, its chain unit by unit. Model, gradients and random numbers are left as they were.

    Raises UsageError for a unit that does not compute the same when it runs again.
    """
    carriers = [model.get_submodule(name) for name in region.carriers]
    units = [[model.get_submodule(name) for name in unit] for unit in region.units]
    before = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with undisturbed(model), Meter() as meter:
        meter.ignore([*model.parameters(), *model.buffers(), *(x for x in inputs if isinstance(x, Tensor))])
        probe = _Probe(meter, model, [" + ".join(unit) for unit in region.units], units)
        try:
            with replaced(carriers, probe):
                output = model(*inputs)
            tail = probe.tail(output, loss)
        except UsageError:
            raise
        except Exception as error:
            message = f"the chain cannot be run unit by unit: {told(error)}"
            raise UsageError(message) from error
        moved = tuple(name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name]))
    head = [] if probe.front is None else [probe.front]
    return Measured((*head, *probe.layers, *tail), len(head), moved, probe.held)


@dataclass
class _Probe:
    """In place of the chain: measures every unit on its own and hands on what the chain computes."""

    meter: Meter
    model: nn.Module
    names: Sequence[str]
    units: Sequence[Sequence[nn.Module]]
    layers: list[Layer] = field(default_factory=list)
    front: Layer | None = None
    entered: Tensor | None = None
    left: Tensor | None = None
    mark: int = 0
    held: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The chain's output, cut off from what came before."""
        if self.meter.numbers([x]):
            self.front = self._front(x)
            self.entered = x
        output_kept = False
        current = x.detach()
        current.requires_grad_(x.requires_grad)
        for name, unit in zip(self.names, self.units, strict=True):
            layer, current, output_kept = self._unit(name, unit, current, output_kept)
            self.layers.append(layer)
        self.mark = len(self.meter.events)
        self.left = current
        # A result of its own, not a leaf: what follows may change it in place, as it may the chain's output.
        return current.view_as(current) if current.requires_grad else current

    def _front(self, x: Tensor) -> Layer:
        """What the model does before the chain: stored, whatever happens."""
        kept, peak = self.meter.change(0) - storage_bytes(x), self.meter.peak(0)
        return Layer("before the chain", 0, storage_bytes(x), kept, peak, peak, peak, pinned=True)

    def _unit(self, name: str, unit: Sequence[nn.Module], x: Tensor, kept_before: bool) -> tuple[Layer, Tensor, bool]:  # noqa: FBT001 - whether the unit before saved x
        """One unit forwards, backwards and forwards again."""
        meter, seen = self.meter, set[int]()
        entry = storage_bytes(x) if meter.numbers([x]) else 0

        def pack(tensor: Tensor) -> Tensor:
            seen.add(storage_key(tensor))
            return tensor.detach()  # the tensor itself would hold its own graph, in a circle

        owners = [owner for module in unit for owner in module.modules()]
        state, (first, second) = _random_state(x), moved_once([(one, own) for one in owners for own in one._buffers])  # noqa: SLF001
        with first:
            start = len(meter.events)
            with saved_tensors_hooks(pack, lambda tensor: tensor):
                y = run_unit(unit, x)
        own = storage_bytes(y) if meter.numbers([y]) else 0
        forward, kept = meter.peak(start), meter.change(start) - own
        keeps_input, keeps_output = storage_key(x) in seen or kept_before, storage_key(y) in seen
        backward = self._backward(start, y, 0 if keeps_output else own)
        result = y.detach().requires_grad_(y.requires_grad)
        x.grad = None
        del y
        with second:
            dropped = self._again(name, unit, x, result, state)
        held = entry if keeps_input else 0
        layer = Layer(
            name, entry, own, kept + held, entry + forward, entry + dropped, held + backward, keeps_input=keeps_input or not entry
        )
        return layer, result, keeps_output

    def _backward(self, start: int, y: Tensor, freed: int) -> int:
        """The peak of a unit's backward pass above what was there before the unit; gradients of parameters do not count."""
        if not y.requires_grad:
            return 0
        total = (2 * y).sum()  # its gradient is a tensor of y's size that nobody but the engine holds, as in a whole model
        begun = len(self.meter.events)
        level = self.meter.change(start)
        torch.autograd.backward(total)
        gradients = [one.grad for one in self.model.parameters() if one.grad is not None]
        peak = level + self.meter.peak(begun, self.meter.numbers(gradients)) - freed
        for parameter in self.model.parameters():
            parameter.grad = None
        return peak

    def _again(self, name: str, unit: Sequence[nn.Module], x: Tensor, result: Tensor, state: Any) -> int:
        """The unit with nothing saved, as in a segment that will run again: its peak; and whether it computes the same."""
        now = _random_state(x)
        _set_random_state(state)
        start = len(self.meter.events)
        with saved_tensors_hooks(lambda _: None, lambda tensor: tensor):
            other = run_unit(unit, x)
        peak = self.meter.peak(start)
        if other.shape != result.shape or not torch.equal(other.nan_to_num(), result.nan_to_num()):
            message = (
                f"layer {name} ({type(unit[0]).__name__}) does not compute the same when it runs again on the same input with the "
                "same random numbers, and gradients would be wrong: find what it keeps or draws (a counter, a cache, numbers not "
                "from torch), or plan without it"
            )
            raise UsageError(message)
        _set_random_state(now)
        return peak

    def tail(self, output: Any, loss: Loss | None) -> list[Layer]:
        """What the model does after the chain, and the loss, if there is one: stored, whatever happens."""
        meter = self.meter
        if self.left is None:
            message = "the chain was not reached again: the model's forward pass takes another way each time"
            raise UsageError(message)
        value = loss(output) if loss is not None else output
        if loss is not None and not (isinstance(value, Tensor) and value.requires_grad):
            message = f"loss must return a tensor that depends on the model's parameters; {type(value).__name__} came"
            raise UsageError(message)
        outputs = [one for one in tree_leaves([output, value]) if isinstance(one, Tensor)]
        held = meter.numbers(outputs)
        self.held = sum({storage_key(one): storage_bytes(one) for one in outputs if meter.numbers([one])}.values())
        same = isinstance(value, Tensor) and storage_key(value) == storage_key(self.left)
        if same or not isinstance(value, Tensor) or not value.requires_grad:
            return []
        forward, kept = meter.peak(self.mark, held), meter.change(self.mark, held)
        begun = len(meter.events)
        torch.autograd.backward(value, torch.ones_like(value))
        gradients = meter.numbers([one.grad for one in self.model.parameters() if one.grad is not None])
        backward = kept + meter.peak(begun, gradients)
        entry = 0 if meter.numbers([self.left]) <= held else storage_bytes(self.left)
        sizes = (storage_bytes(self.left), 0, kept + entry, entry + forward, entry + forward, entry + backward)
        return [Layer("after the chain", *sizes, pinned=True)]


def _random_state(x: Tensor) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(x.device) if x.is_cuda else None


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
