"""Every schedule's `step`, wrapped: for runs that may be changed. A watched run leaves it alone."""

import sys
from collections.abc import Callable
from contextlib import ExitStack

from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from torchstone.record.replacing import Function, replace

Step = Callable[[LRScheduler, Function], None]


def wrap_steps(stack: ExitStack, act: Step) -> None:
    """Call `act(scheduler, move)` in the place of each step that the user's code takes: not those of schedules inside others."""

    def wrap(original: Function) -> Function:
        def step(scheduler: LRScheduler, *arguments: object, **options: object) -> None:
            own = sys._getframe(1).f_code.co_filename != lr_scheduler.__file__  # noqa: SLF001 - documented for this purpose
            plain = own and not arguments and not options
            if plain:
                act(scheduler, lambda: original(scheduler))
            else:
                original(scheduler, *arguments, **options)

        return step

    for kind in vars(lr_scheduler).values():
        if isinstance(kind, type) and issubclass(kind, LRScheduler) and kind is not ReduceLROnPlateau and "step" in vars(kind):
            replace(stack, kind, "step", wrap)
