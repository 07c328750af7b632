"""How far learning rate schedules move between the steps of their optimizers.

Their `step` is not wrapped: torch's warnings from it name its caller's line, and a frame of ours would be that caller.
A schedule's own position is read when its optimizer steps.
"""

import functools
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.optim import lr_scheduler
from torch.optim import optimizer as optim_module
from torch.optim.lr_scheduler import LRScheduler

from torchstone.core.place import NOWHERE, Place
from torchstone.core.steps import ScheduleFollowed
from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place

if TYPE_CHECKING:
    from torchstone.record.watcher import Watcher

_KEPT = 32
_compiling = torch.compiler.is_compiling


@dataclass
class Schedule:
    """One schedule and its moves so far."""

    scheduler: weakref.ref[LRScheduler]
    number: int
    class_name: str
    place: Place = NOWHERE
    horizon: int = -1
    optimizer: int = -1
    position: float | None = None
    step: int = 0
    advanced: int = 0
    moved: int = 0
    doubled: int = 0
    jumps: int = 0
    shared: int = 0
    moves: Counter[int] = field(default_factory=Counter)

    def stepping(self, step: int) -> None:
        """Its optimizer is about to step, or a scaler has tried to."""
        scheduler = self.scheduler()
        now = position(scheduler) if scheduler is not None else None
        if now is None:
            return
        if self.position is not None and now != self.position:
            move = now - self.position
            if move < 0 or move != int(move):
                self.jumps += 1
            else:
                self.advanced += int(move)
                self.moved += 1
                self.doubled += move > 1
                self.shared += step - self.step > 1
                self.moves[int(move)] += 1
        self.position, self.step = now, step


class Schedules:
    """Every schedule that was built, by its optimizer."""

    def __init__(self, watcher: "Watcher") -> None:
        self._watcher = watcher
        self._by_optimizer: dict[int, list[Schedule]] = {}
        self._all: list[Schedule] = []
        self._told: dict[int, int] = {}
        self._count = 0

    def built(self, scheduler: LRScheduler) -> None:
        """A schedule has been built; those that it is made of are followed no longer."""
        parts = getattr(scheduler, "_schedulers", ())
        held = self._by_optimizer.setdefault(id(scheduler.optimizer), [])
        held[:] = [known for known in held if (one := known.scheduler()) is not None and all(one is not p for p in parts)]
        self._all = [known for known in self._all if all(known.scheduler() is not part for part in parts)]
        if len(self._all) < _KEPT and not isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            number, self._count = self._count, self._count + 1
            known = Schedule(weakref.ref(scheduler), number, type(scheduler).__name__, user_place(4), horizon(scheduler))
            held.append(known)
            self._all.append(known)

    def number(self, scheduler: object) -> int | None:
        """The number of a schedule that is followed."""
        return next((known.number for known in self._all if known.scheduler() is scheduler), None)

    def stepping(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step."""
        for known in self._by_optimizer.get(id(optimizer), ()):
            known.optimizer = self._watcher.optimizers.follow(optimizer).number
            known.stepping(self._watcher.step)

    def told(self, step: int) -> Iterator[ScheduleFollowed]:
        """What is new, also of schedules that are no more."""
        for known in self._all:
            if known.moved and self._told.get(known.number) != known.moved:
                self._told[known.number] = known.moved
                yield ScheduleFollowed(
                    known.number, known.optimizer, known.class_name, known.place, step, known.advanced, known.moved,
                    known.doubled, known.moves.most_common(1)[0][0], known.jumps, known.shared, known.horizon,
                )


def position(scheduler: LRScheduler) -> float | None:
    """Where a schedule stands; a chain of schedules, where its first one stands."""
    parts = getattr(scheduler, "_schedulers", ())
    stands = getattr(scheduler, "last_epoch", None)
    if stands is None and parts:
        return position(parts[0])
    return stands if isinstance(stands, int | float) else None


def horizon(scheduler: LRScheduler) -> int:
    """The length that a schedule was built for, in its own steps; -1 where it does not say."""
    parts = list(getattr(scheduler, "_schedulers", ()))
    if isinstance(scheduler, lr_scheduler.SequentialLR) and parts:
        last = horizon(parts[-1])
        return last if last < 0 else last + max((0, *scheduler._milestones))  # noqa: SLF001 - it offers no other way
    if parts:
        return max(horizon(part) for part in parts)
    if isinstance(scheduler, lr_scheduler.MultiStepLR):
        return max(scheduler.milestones, default=-1)
    if isinstance(scheduler, lr_scheduler.CosineAnnealingWarmRestarts):
        return -1
    lengths = (getattr(scheduler, name, None) for name in ("total_steps", "T_max", "total_iters"))
    return next((int(length) for length in lengths if isinstance(length, int | float)), -1)


def install(watcher: "Watcher", stack: ExitStack) -> None:
    """Put in what sees schedules being built, and optimizers stepping."""
    schedules = watcher.schedules

    def built(original: Function) -> Function:
        def __init__(scheduler: LRScheduler, *arguments: object, **options: object) -> None:  # noqa: N807 - it stands for one
            original(scheduler, *arguments, **options)
            _quietly(watcher, functools.partial(schedules.built, scheduler))

        return __init__

    def tried(original: Function) -> Function:
        def step(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer, *arguments: object, **options: object) -> object:
            if not _compiling():
                _quietly(watcher, functools.partial(schedules.stepping, optimizer))
            return original(scaler, optimizer, *arguments, **options)

        return step

    def before(optimizer: torch.optim.Optimizer, arguments: object, options: object) -> None:
        del arguments, options
        if not _compiling():
            _quietly(watcher, functools.partial(schedules.stepping, optimizer))

    for kind in (LRScheduler, lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler):
        replace(stack, kind, "__init__", built)
    replace(stack, torch.amp.GradScaler, "step", tried)
    stack.callback(optim_module.register_optimizer_step_pre_hook(before).remove)


def _quietly(watcher: "Watcher", act: Function) -> None:
    if not watcher.is_here():
        return
    try:
        act()
    except Exception as error:  # noqa: BLE001 - a fault of ours never reaches the script
        watcher.fault("following schedules", error)
