"""A model's forward and backward pass observed operation by operation: what becomes a `Graph`, whatever its data flow."""

import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from torchstone.core.errors import UsageError
from torchstone.laws.rematerialization.graph import Call, Graph, Saved, Storage
from torchstone.parts.rematerialization.metering import storage_key
from torchstone.parts.rematerialization.observing import undisturbed
from torchstone.parts.rematerialization.working import Task, Worker, tensors


@dataclass(eq=False)
class _Made:
    """A storage: its bytes, the call and the operation that made it, when it was gone; work on it alone, and of that operation."""

    size: int
    call: int
    made: int
    dropped: int | None = None
    own: int = 0
    shared: int = 0


@dataclass(eq=False)
class _Kept:
    """A storage kept by an operation inside a call: taken when, and released."""

    storage: int
    call: int
    after: int
    taken: int | None = None
    released: int | None = None


class _Packed:
    """A tensor while autograd keeps it."""

    def __init__(self, tensor: Tensor, kept: _Kept) -> None:
        self.tensor, self.kept = tensor, kept


@dataclass(eq=False)
class _Seen:
    """A call so far. `given`: what tensors came in, known ones too."""

    module: nn.Module
    name: str
    around: int
    start: int
    given: tuple[int, ...]
    stop: int = 0
    cost: int = 0


class Tracer(Worker):  # type: ignore[no-untyped-call]
    """Time, `now`, counts operations; `turn` is when the forward pass was over."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.turn = 0
        self.made: dict[int, _Made] = {}
        self.kept: list[_Kept] = []
        self.calls: list[_Seen] = []
        self.stack: list[int] = []
        self.writes: dict[int, int] = {}  # what was written to -> when last
        self.works: list[int] = []
        self.pulses: dict[int, int] = {}
        self._fresh: list[int] = []

    def worked(self, cost: int, written: Sequence[Tensor]) -> None:
        """An operation is over: its work belongs to the calls around it, and to the storages that it made or wrote to."""
        for call in self.stack:
            self.calls[call].cost += cost
        for tensor in written:
            which = self.which(tensor)
            if not self.turn:
                self.writes[which] = self.now
            if which in self.made and which not in self._fresh:
                self.made[which].own += cost
        for number in self._fresh:
            self.made[number].shared = cost
        self._fresh.clear()
        self.works.append(cost)
        self.now += 1

    def pulse(self, size: int) -> None:
        """What comes and goes within the next operation."""
        super().pulse(size)
        self.pulses[self.now] = size

    def _change(self, number: int, size: int) -> None:
        super()._change(number, size)
        if size > 0:
            self._fresh.append(number)
            self.made[number] = _Made(size, self.stack[-1] if self.stack else 0, self.now)
        else:
            self.made[number].dropped = self.now

    def which(self, tensor: Tensor) -> int:
        """The number of a tensor's storage; a negative one if it was there before."""
        key = storage_key(tensor)
        return self._numbers.get(key, -key)

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Every call of a module inside is noted."""
        handles = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
            handles.append(module.register_forward_hook(lambda *_: self._leave()))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> Any:
        def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
            given = tuple(dict.fromkeys(self.which(one) for one in tensors([args, kwargs])))
            self.calls.append(_Seen(module, name, self.stack[-1] if self.stack else -1, self.now, given))
            self.stack.append(len(self.calls) - 1)

        return enter

    def _leave(self) -> None:
        self.calls[self.stack.pop()].stop = self.now

    def pack(self, tensor: Tensor) -> Any:
        """Autograd keeps a tensor; one that counts is noted."""
        after = self.now
        own = tensor.detach()  # the tensor itself would hold its own graph, in a circle
        which = self.which(tensor)
        if which < 0:
            return _Packed(own, _Kept(-1, 0, 0))
        kept = _Kept(which, self.stack[-1] if self.stack else 0, after)
        self.kept.append(kept)
        packed = _Packed(own, kept)
        weakref.finalize(packed, self._release, kept).atexit = False
        return packed

    def unpack(self, packed: _Packed) -> Tensor:
        """The backward pass takes it."""
        if packed.kept.taken is None:
            packed.kept.taken = self.now
        return packed.tensor

    def _release(self, kept: _Kept) -> None:
        kept.released = self.now


def trace(task: Task) -> Graph:
    """The graph of one pass. Two forward passes and one backward pass are run; the model is left as it was.

    Raises UsageError if the passes differ, or nothing has a gradient.
    """
    with undisturbed(task.model):
        bare = _forward_bare(task)
    with undisturbed(task.model):
        full, without = _both(task)
    first = {number: one for number, one in bare.made.items() if one.made < bare.turn}
    second = {number: one for number, one in full.made.items() if one.made < full.turn}
    if [(one.size, one.made) for one in first.values()] != [(one.size, one.made) for one in second.values()]:
        message = f"{type(task.model).__name__} takes another way each time: its memory cannot be planned"
        raise UsageError(message)
    return _graph(full, first, without)


def _forward_bare(task: Task) -> Tracer:
    """A forward pass that keeps nothing: how long each storage is needed by itself."""
    tracer = Tracer()
    with tracer:
        tracer.ignore(task.known)

        def pack(tensor: Tensor) -> None:
            tensor.detach()  # as many operations as where it is kept

        with tracer.watching(task.model), saved_tensors_hooks(pack, lambda nothing: nothing):
            output, begin = task.forward()
        tracer.turn = tracer.now
        for one in tracer.made.values():
            one.dropped = tracer.turn if one.dropped is None else one.dropped
        del output, begin
    return tracer


def _both(task: Task) -> tuple[Tracer, set[int]]:
    """A whole pass, and the storages of gradients that are there with any schedule."""
    tracer = Tracer()
    with tracer:
        tracer.ignore(task.known)
        with tracer.watching(task.model), saved_tensors_hooks(tracer.pack, tracer.unpack):
            output, begin = task.forward()
        tracer.turn = tracer.now
        task.backward(begin)
        without = tracer.numbers(task.gradients())
        end = tracer.now
        del output, begin
    for one in tracer.made.values():
        one.dropped = end if one.dropped is None else min(one.dropped, end)
    return tracer, without


def _graph(full: Tracer, bare: dict[int, _Made], without: set[int]) -> Graph:
    """Numbers from 0, times from 0 in each pass."""
    turn, length = full.turn, full.now - full.turn
    numbers = {number: place for place, number in enumerate(bare)}
    kept = [
        Saved(numbers[one.storage], one.call, one.after, one.taken - turn, (one.released or full.now) - turn)
        for one in full.kept
        if one.storage in numbers and one.taken is not None
    ]
    shares = _shares(full, numbers, {one.storage for one in kept})
    storages = [
        Storage(one.size, one.call, one.made, min(one.dropped or turn, turn), shares.get(number, 0)) for number, one in bare.items()
    ]
    calls = [
        Call(one.name, one.around, one.start, one.stop, one.cost, tuple(numbers[each] for each in one.given if each in numbers))
        for one in full.calls
    ]
    calls[0] = Call("", -1, 0, turn, sum(full.works[:turn]), calls[0].inputs)
    own = [(one.made - turn, (one.dropped or 0) - turn, one.size) for number, one in full.made.items()
           if one.made >= turn and number not in without]  # fmt: skip
    working = _working(own, [full.pulses.get(turn + place, 0) for place in range(length)])
    return Graph(tuple(calls), tuple(storages), tuple(kept), tuple(full.works[:turn]), working, _refused(full))


def _shares(full: Tracer, numbers: dict[int, int], needed: set[int]) -> dict[int, int]:
    """The work that made each needed storage: an operation's own is shared among what it made by size.

    Whoever keeps a part of it then saves no more than its share in the lower bound, and in truth nothing.
    """
    together: dict[int, int] = defaultdict(int)
    for number, place in numbers.items():
        together[full.made[number].made] += full.made[number].size * (place in needed)
    found = {}
    for number, place in numbers.items():
        one = full.made[number]
        if place in needed:
            found[number] = one.own + one.shared * one.size // together[one.made]
    return found


def _working(own: Sequence[tuple[int, int, int]], pulses: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """What the backward pass makes: bytes there before each operation, and with what it makes or takes meanwhile."""
    length = len(pulses)
    came, went = [0] * (length + 1), [0] * (length + 1)
    for made, dropped, size in own:
        came[made] += size
        went[min(dropped, length)] += size
    now, found = 0, []
    for place in range(length):
        now -= went[place]
        found.append((now, now + max(came[place], pulses[place])))
        now += came[place]
    return tuple(found)


def _refused(full: Tracer) -> dict[str, str]:
    """Modules whose calls would see something else when they run again, or that cannot be wrapped."""
    found: dict[str, str] = {}
    for call in full.calls:
        kind = type(call.module)
        if any(full.writes.get(which, -1) >= call.start for which in call.given):
            found[call.name] = "what comes in is changed in place"
        elif "forward" in call.module.__dict__ or isinstance(call.module, torch.jit.ScriptModule):
            found[call.name] = f"its forward is not that of its class {kind.__name__}"
    return found
