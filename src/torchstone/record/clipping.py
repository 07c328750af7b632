"""Follows gradients from the calls that clip them to the step that uses them."""

import math
import types
import warnings
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.optim import optimizer as optim_module

from torchstone.core.events import Event
from torchstone.core.place import Place
from torchstone.core.steps import GradientsClipped
from torchstone.record import measure
from torchstone.record.gradients import Followed, is_sampled
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place

if TYPE_CHECKING:
    from torchstone.record.watcher import Watcher

_KEPT = 32
_SAME = 1e-5
_compiling = torch.compiler.is_compiling


@dataclass
class Clip:
    """One call, as it found the gradients."""

    number: int
    tensors: frozenset[int]
    limit: float
    norm: float
    by_value: bool
    total: float
    place: Place
    passes: int
    found: dict[int, float] = field(default_factory=dict)  # the norm of each gradient
    consumed: set[int] = field(default_factory=set)  # those that an optimizer's last step has used
    scales: dict[int, float] = field(default_factory=dict)  # by the optimizer's identity


class Clipping:
    """Every call since the last step of each optimizer, looked at in sampled steps."""

    def __init__(self, watcher: "Watcher") -> None:
        self._watcher = watcher
        self._clips: list[Clip] = []
        self._count = 0
        self._unseen = 0
        self._stepped: dict[int, int] = {}  # how many calls there had been at an optimizer's last step
        self.scalers: weakref.WeakSet[torch.amp.GradScaler] = weakref.WeakSet()

    def called(self, tensors: list[Tensor], limit: object, norm: object, *, by_value: bool) -> None:
        """A call is about to clip these tensors' gradients."""
        self._count += 1
        watcher = self._watcher
        if not watcher.deep or not measure.may_measure():
            self._unseen = self._count
            return
        leaves = [p for p in tensors if isinstance(p, Tensor) and p.is_leaf]
        mine = {id(p): p for p in leaves if p.grad is not None and measure.is_plain(p.grad)}
        order, highest = float(norm), float(limit)  # type: ignore[arg-type] # torch converts them too
        with measure.unseen():
            found = dict(zip(mine, norms([p.grad for p in mine.values() if p.grad is not None], order), strict=True))
        clip = Clip(
            self._count, frozenset(map(id, leaves)), highest, order, by_value, together(found.values(), order),
            user_place(4), watcher.backward_passes, found,
        )
        for followed in watcher.optimizers.all():
            self._note_consumed(followed, clip, mine)
        clip.scales = {id(optimizer): scale for optimizer, scale in self._scaled()}
        self._clips = [*self._clips[1 - _KEPT :], clip]

    @staticmethod
    def _note_consumed(followed: Followed, clip: Clip, tensors: dict[int, Tensor]) -> None:
        """Gradients whose norm is still that which the last step used are that step's."""
        if followed.consumed is None:
            return
        held = [(id(p), p.grad) for p in followed.parameters() if id(p) in tensors]
        with measure.unseen():
            now = measure.norms([gradient for _, gradient in held if gradient is not None])
        for (key, _), value in zip(held, now, strict=True):
            if abs(value - followed.consumed.get(key, math.inf)) <= _SAME * value:
                clip.consumed.add(key)

    def _scaled(self) -> Iterator[tuple[torch.optim.Optimizer, float]]:
        """Optimizers whose gradients a scaler has not yet divided by its scale. Its own bookkeeping is read, not asked for."""
        live = [optimizer for reference in self._watcher.optimizers.built if (optimizer := reference()) is not None]
        for scaler in list(self.scalers):
            scale = getattr(scaler, "_scale", None)
            states = getattr(scaler, "_per_optimizer_states", {})
            for optimizer in live:
                stage = states[id(optimizer)]["stage"].name if id(optimizer) in states else "READY"
                if stage == "READY" and isinstance(scale, Tensor):
                    yield optimizer, float(scale)

    def stepping(self, optimizer: torch.optim.Optimizer, *, with_closure: bool) -> None:
        """An optimizer is about to step: what has become of what was clipped for it."""
        since, self._stepped[id(optimizer)] = self._stepped.get(id(optimizer), 0), self._count
        watcher = self._watcher
        if not watcher.deep or with_closure or self._unseen > since or self._count == since or not watcher.is_here():
            return
        held = {id(p): p for group in optimizer.param_groups for p in group["params"]}
        last = {clip.tensors.intersection(held): clip for clip in self._clips if clip.number > since}
        watcher.emit(self._tell(optimizer, clip, [held[key] for key in keys]) for keys, clip in last.items() if keys)

    def _tell(self, optimizer: torch.optim.Optimizer, clip: Clip, tensors: list[Tensor]) -> Event:
        watcher = self._watcher
        followed = watcher.optimizers.follow(optimizer)
        gradients = [p.grad for p in tensors if p.grad is not None and measure.is_plain(p.grad)]
        with measure.unseen():
            used = together(norms(gradients, clip.norm), clip.norm)
        inside: object = getattr(optimizer, "grad_scale", None)  # fused optimizers divide by the scale in their own kernel
        if isinstance(inside, Tensor) and inside.numel() == 1 and float(inside):
            used /= float(inside)
        mine = {id(p) for p in tensors}
        fresh = [value for key, value in clip.found.items() if key in mine and key not in clip.consumed]
        return GradientsClipped(
            watcher.step, followed.number, clip.place, user_place(5), clip.limit, clip.norm, clip.by_value, clip.total,
            together(fresh, clip.norm) if is_sampled(followed.steps) else None, used, clip.scales.get(id(optimizer), 1.0),
            len(self.scalers) > 0, watcher.backward_passes - clip.passes,
        )


def norms(gradients: list[Tensor], order: float) -> list[float]:
    """The norm of that order of each tensor."""
    if order == 2:  # noqa: PLR2004 - the usual one
        return measure.norms(gradients)
    dense = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    return [float(torch.linalg.vector_norm(g, order)) for g in dense]


def together(values: Iterable[float], order: float) -> float:
    """The norm of that order of tensors laid together."""
    found = list(values)
    if math.isinf(order):
        return max(found, default=0.0)
    return math.fsum(value**order for value in found) ** (1 / order) if order > 0 else math.fsum(found)


def install(watcher: "Watcher", stack: ExitStack) -> None:
    """Put in what sees clipping, scaling and steps. After the watcher's own hooks: what they change comes first."""
    clipping = watcher.clipping

    def by_norm(tensors: list[Tensor], max_norm: object = 0.0, norm_type: object = 2.0, *_: object, **__: object) -> None:
        clipping.called(tensors, max_norm, norm_type, by_value=False)

    def by_value(tensors: list[Tensor], clip_value: object = 0.0, *_: object, **__: object) -> None:
        clipping.called(tensors, clip_value, math.inf, by_value=True)

    for name, note in (("clip_grad_norm_", by_norm), ("clip_grad_value_", by_value)):
        for holder in (clip_grad, torch.nn.utils):
            replace(stack, holder, name, lambda original, note=note: _clipping(watcher, note, original))  # type: ignore[misc]

    def scaled(original: Function) -> Function:
        def scale(scaler: torch.amp.GradScaler, *arguments: object, **options: object) -> object:
            if not _compiling() and getattr(scaler, "_enabled", False):
                clipping.scalers.add(scaler)
            return original(scaler, *arguments, **options)

        return scale

    def before(optimizer: torch.optim.Optimizer, arguments: tuple[object, ...], options: dict[str, object]) -> None:
        if not _compiling():
            with_closure = any(callable(value) for value in (*arguments[1:2], options.get("closure")))
            _quietly(watcher, "stepping", lambda: clipping.stepping(optimizer, with_closure=with_closure))

    replace(stack, torch.amp.GradScaler, "scale", scaled)
    stack.callback(optim_module.register_optimizer_step_pre_hook(before).remove)


def _clipping(watcher: "Watcher", note: Function, original: Function) -> Function:
    def clip(parameters: object, *arguments: object, **options: object) -> object:
        if _compiling() or not watcher.is_here():
            return original(parameters, *arguments, **options)
        if isinstance(parameters, Iterator):  # looking would use it up
            is_generator, parameters = isinstance(parameters, types.GeneratorType), list(parameters)
            if is_generator and not parameters:
                return _warned(original, arguments, options)
        given = [parameters] if isinstance(parameters, Tensor) else parameters
        if isinstance(given, Iterable):
            _quietly(watcher, "clipping", lambda: note(list(given), *arguments, **options))
        return original(parameters, *arguments, **options)

    return clip


def _warned(original: Function, arguments: tuple[object, ...], options: dict[str, object]) -> object:
    """Torch warns of an empty generator at the line of its caller: that must be the user's line, as it is without us."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = original((one for one in list[Tensor]()), *arguments, **options)
    for warning in told:
        warnings.warn(str(warning.message), warning.category, stacklevel=3)
    return result


def _quietly(watcher: "Watcher", where: str, act: Function) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - a fault of ours never reaches the script
        watcher.fault(where, error)
