"""Whether what a backward pass computes again is what was computed before, result by result."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import set_checkpoint_early_stop

from torchstone.core.looks import RecomputationSeen
from torchstone.core.place import Place
from torchstone.record import measure
from torchstone.record.digest import digest, read
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.births import flat_tensors, name_of
from torchstone.remedy.parts import Generators, differing, follow, generators, module_of
from torchstone.remedy.probes.window import Window, _Mode

_SAMPLE = 4096  # elements of a result that are kept, at a regular distance; every one of them is in its digest
_RESULTS = 20_000
# What they return is not computed: memory as it was found.
_UNFILLED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "new", "resize", "resize_as"}
_TF32 = 2.0**-10  # a kernel may be chosen again, with these products
_ROUNDINGS = 64  # of one sum in another order


@dataclass(frozen=True)
class Result:
    """One result of one operation."""

    name: str
    place: Place
    bits: Tensor
    sample: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype
    tensor: weakref.ref[Tensor]
    inputs: tuple[weakref.ref[Tensor], ...]
    differentiable: bool
    resolution: float


@dataclass(frozen=True)
class Parting:
    """Where two runs part: the first result that differs, and how."""

    result: Result
    share: float = 0.0
    difference: float = 0.0
    largest: float = 0.0
    instead: str = ""

    @property
    def beyond_rounding(self) -> bool:
        """Whether no order of summation explains it."""
        return bool(self.instead) or not self.difference <= _ROUNDINGS * self.result.resolution * self.largest


class Recorded:
    """A part whose results are noted each time it runs."""

    def __init__(self, probe: "RecomputationProbe", event: RecomputationSeen, module: nn.Module | None) -> None:
        self.probe, self.event = probe, event
        self.module = weakref.ref(module) if module is not None else None
        self.runs: list[list[Result]] = []
        self.restarts: list[Generators] = []
        self.drawn: set[str] = set()
        self._modes: list[_Mode] = []

    def begin(self) -> None:
        """See every operation from here on."""
        self.restarts.append(generators())
        self.runs.append([])
        mode = _Mode(self._see)
        self._modes.append(mode)
        mode.__enter__()  # type: ignore[no-untyped-call]

    def end(self) -> None:
        """Until here."""
        if self._modes:
            self._modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if len(self.runs) == 1:
            self.drawn = differing(self.restarts[0], generators())

    def _see(self, function: Callable[..., object], arguments: tuple[object, ...], options: dict[str, object]) -> object:
        result = function(*arguments, **options)
        again = len(self.runs) > 1
        # A backward pass written by hand also has arithmetic of its own: what it runs again, it runs with gradients on.
        counts = not again or self.event.by == "checkpoint" or torch.is_grad_enabled()
        if getattr(function, "__name__", "") != "__get__" and counts:
            name = name_of(function)
            with measure.unseen():
                inputs = tuple(weakref.ref(one) for one in flat_tensors((arguments, options))) if again else ()
                for tensor in flat_tensors(result) if name not in _UNFILLED else ():
                    if self.probe.room() and measure.is_plain(tensor) and tensor.is_floating_point() and not tensor.is_sparse:
                        self.runs[-1].append(_result(name, tensor, inputs))
        return result

    def partings(self) -> Iterator[tuple[Parting | None, int]]:
        """For each time it ran again: where it parted from the first, and how many results were compared."""
        first = self.runs[0]
        for again in self.runs[1:]:
            mine = again if self.event.by == "checkpoint" else _aligned(first, again)
            if mine:
                yield _parting(first, mine), len(mine)

    def changed(self) -> tuple[str, ...]:
        """Generators that it drew from and that began elsewhere when it ran again."""
        moved = [differing(self.restarts[0], later) for later in self.restarts[1:]]
        return tuple(sorted(self.drawn & set().union(*moved)))


def _result(name: str, tensor: Tensor, inputs: tuple[weakref.ref[Tensor], ...]) -> Result:
    flat = tensor.detach().reshape(-1)
    sample = flat[:: max(1, -(-len(flat) // _SAMPLE))].clone()
    tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    coarse = tensor.is_cuda and tensor.dtype == torch.float32 and tf32
    resolution = _TF32 if coarse else torch.finfo(tensor.dtype).eps
    shape, ref = tuple(tensor.shape), weakref.ref(tensor)
    return Result(
        name, user_place(4), digest(tensor), sample, shape, tensor.dtype, ref, inputs, tensor.requires_grad, resolution
    )


def _aligned(first: Sequence[Result], again: Sequence[Result]) -> Sequence[Result]:
    """Where, in a backward pass written by hand, the forward pass runs again: the same operations from the same first result on."""
    names = [(one.name, one.shape) for one in first]
    for start in range(len(again) - len(first) + 1 if first else 0):
        found = again[start : start + len(first)]
        if [(one.name, one.shape) for one in found] == names and any(one.differentiable for one in found):
            return found
    return ()


def _parting(first: Sequence[Result], again: Sequence[Result]) -> Parting | None:
    """The first result that gradients go through and that differs beyond rounding; else the first that differs at all."""
    bits = read([one.bits for one in (*first[: len(again)], *again)])
    origins: dict[int, tuple[weakref.ref[Tensor], Result]] = {}
    small: Parting | None = None
    for index, (one, other) in enumerate(zip(first, again, strict=False)):
        if one.name != other.name or one.shape != other.shape:
            return Parting(one, 1.0, _magnitude(one), _magnitude(one), other.name)
        if bits[index] == bits[index + min(len(first), len(again))] and one.dtype == other.dtype:
            continue
        source = next((origins[id(t)][1] for ref in other.inputs if (t := ref()) is not None and _known(origins, t)), None)
        tensor = other.tensor()
        if tensor is not None:
            origins[id(tensor)] = (other.tensor, source or other)
        if not other.differentiable or (source is not None and source.differentiable):
            continue
        parting = _measured(one, other, source)
        if parting.beyond_rounding:
            return parting
        small = small or parting
    return small


def _known(origins: dict[int, tuple[weakref.ref[Tensor], Result]], tensor: Tensor) -> bool:
    return id(tensor) in origins and origins[id(tensor)][0]() is tensor


def _magnitude(result: Result) -> float:
    return float(result.sample.double().abs().max()) if result.sample.numel() else 0.0


def _measured(one: Result, other: Result, source: Result | None) -> Parting:
    """How many of the elements that were kept differ, and by how much at most."""
    before, after = one.sample.double(), other.sample.double()
    apart = before != after
    share = float(apart.double().mean()) if apart.numel() else 0.0
    difference = float((before - after).abs().nan_to_num(nan=float("inf")).max()) if apart.numel() else 0.0
    if not share:  # in other elements than those that were kept: one at least
        size = 1
        for length in one.shape:
            size *= length
        share, difference = 1 / size, _ROUNDINGS * one.resolution * _magnitude(one)
    finest = min((one, other), key=lambda each: torch.finfo(each.dtype).eps)
    named = replace(source or one, resolution=finest.resolution)
    return Parting(named, share, min(difference, torch.finfo(torch.float64).max), _magnitude(one))


class RecomputationProbe(Window):
    """Runs one step, noting what checkpointed parts compute, and compares when it is over."""

    KIND = "recomputation"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._parts: list[Recorded] = []
        self._results = 0
        self._open = False
        self._whole = ExitStack()

    def room(self) -> bool:
        """Whether one more result may be kept."""
        self._results += 1
        return self._results <= _RESULTS

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Follow what runs again."""

        def make(by: str, place: Place, preserved: bool, what: object) -> "Recorded | _Ignored":  # noqa: FBT001 - as follow() calls it
            if not self._open or not torch.is_grad_enabled() or len(self._parts) >= _RESULTS:
                return _IGNORED
            module = module_of(what)
            self._parts.append(Recorded(self, RecomputationSeen(watcher.step, by, place, preserved=preserved), module))
            return self._parts[-1]

        follow(stack, make)
        super().install(watcher, stack)

    def _enter(self) -> None:
        if not self._open:
            self._open = True
            self._whole.enter_context(set_checkpoint_early_stop(False))  # also what no gradient needs

    def _leave(self) -> None:
        self._open = False
        self._whole.close()

    def after_step(self, watcher: Watcher) -> None:
        """Compare, and tell once for each line."""
        if self._open:
            with measure.unseen():
                told: dict[tuple[str, Place], RecomputationSeen] = {}
                for part in self._parts:
                    module = part.module() if part.module is not None else None
                    path = watcher.models.path_of(module) if module is not None else ""
                    event = replace(_told(part), module=path)
                    if event.parts:
                        key = (event.by, event.place)
                        told[key] = _worst(told[key], event) if key in told else event
            for event in told.values():
                watcher.writer.add(event, always=True)
        self._parts.clear()
        super().after_step(watcher)


class _Ignored:
    """A part that nothing is kept of."""

    def begin(self) -> None:
        """Nothing."""

    end = begin


_IGNORED = _Ignored()


def _told(part: Recorded) -> RecomputationSeen:
    event = part.event
    for parting, values in part.partings():
        event = replace(event, parts=event.parts + 1, values=event.values + values)
        if parting is not None and parting.share > event.share:
            result = parting.result
            event = replace(
                event, share=parting.share, difference=parting.difference, largest=parting.largest, resolution=result.resolution,
                operation=result.name, at=result.place, instead=parting.instead, generators=part.changed(),
            )
    return event


def _worst(one: RecomputationSeen, other: RecomputationSeen) -> RecomputationSeen:
    first = one if one.difference >= other.difference else other
    return replace(first, parts=one.parts + other.parts, values=one.values + other.values)
