"""Which line moves a schedule although its optimizer has not stepped, and how long the schedule is."""

import functools
from collections.abc import Callable
from contextlib import ExitStack

from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from torchstone.core.looks import ScheduleCalled
from torchstone.record.replacing import Function
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.probes.window import Window
from torchstone.remedy.schedules import wrap_steps

_FAR = 2**22  # more steps than a run has: a schedule with an end stands still there


class ScheduleProbe(Window):
    """Names the line of the second move since a step, for every schedule."""

    KIND = "schedule"

    def __init__(self, step: int, *, ends: bool = True) -> None:
        super().__init__(step, ends=ends)
        self._moved_at: dict[int, int] = {}
        self._told: set[int] = set()

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap every schedule's step. No operation is looked at."""
        wrap_steps(stack, functools.partial(self._step, watcher))

    def _step(self, watcher: Watcher, scheduler: LRScheduler, move: Function) -> None:
        number = watcher.schedules.number(scheduler)
        steps = watcher.optimizers.follow(scheduler.optimizer).steps
        if number is not None and steps and self._moved_at.get(number) == steps and number not in self._told:
            self._told.add(number)
            event = ScheduleCalled(number, user_place(3), watcher.step, _horizon(scheduler))
            watcher.writer.add(event, always=True)
        if number is not None:
            self._moved_at[number] = steps
        move()

    def after_step(self, watcher: Watcher) -> None:
        """Stop the run when the window is over."""
        if watcher.step > self._last:
            self.finish(watcher)


def _horizon(scheduler: LRScheduler) -> int:
    if not isinstance(scheduler, LambdaLR):
        return -1
    ends = [_end(function) for function in scheduler.lr_lambdas]
    return max(ends) if ends and min(ends) >= 0 else -1


def _end(factor: Callable[[int], float]) -> int:
    """The first step from which a factor no longer changes; -1 where it always does."""
    try:
        last = factor(_FAR)
        if any(factor(_FAR - offset) != last for offset in (1, 2, 3, 1000, 12345)):
            return -1
        low, high = -1, _FAR
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if factor(middle) == last else (middle, high)
    except Exception:  # noqa: BLE001 - the user's own function, asked for steps that it was not made for
        return -1
    return high
