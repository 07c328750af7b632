"""Changes of the order of calls around a step: clipping after the loss scale is gone, a schedule's move once for each step."""

import functools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.optim.lr_scheduler import LRScheduler

from torchstone.record.replacing import Function, replace
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, number, whole
from torchstone.remedy.schedules import wrap_steps


class UnscaleBeforeClip(Applied):
    """Divide an optimizer's gradients by the loss scale before they are clipped; the scaler's step then does not do so again."""

    KIND = "unscale-before-clip"

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap what clips."""
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            for holder in (clip_grad, torch.nn.utils):
                replace(stack, holder, name, functools.partial(self._wrapped, watcher))

    def _wrapped(self, watcher: Watcher, original: Function) -> Function:
        def clip(parameters: object, *arguments: object, **options: object) -> object:
            given = [parameters] if isinstance(parameters, Tensor) else parameters
            tensors = list(given) if isinstance(given, Iterable) else []
            for scaler, optimizer in _scaled(watcher, {id(tensor) for tensor in tensors}):
                scaler.unscale_(optimizer)
                self.applied(watcher)
            return original(tensors, *arguments, **options)

        return clip


def _scaled(watcher: Watcher, tensors: set[int]) -> Iterator[tuple[torch.amp.GradScaler, torch.optim.Optimizer]]:
    for scaler in list(watcher.clipping.scalers):
        for reference in watcher.optimizers.built:
            optimizer = reference()
            if optimizer is None or scaler._scale is None:  # noqa: SLF001 - its bookkeeping, read only
                continue
            states = scaler._per_optimizer_states  # noqa: SLF001
            ready = id(optimizer) not in states or states[id(optimizer)]["stage"].name == "READY"
            held = [p for group in optimizer.param_groups for p in group["params"]]
            if ready and any(id(p) in tensors and p.grad is not None for p in held):
                yield scaler, optimizer


class ClipBeforeStep(Applied):
    """Clip, right before every step of an optimizer, the gradients that the script's own clip names."""

    KIND = "clip-before-step"

    def __init__(self, arguments: dict[str, object]) -> None:
        super().__init__(arguments)
        self._tensors: set[int] = set()
        self._original: Function | None = None

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Remember what the script's call is given."""
        del watcher
        name = "clip_grad_value_" if self.arguments["by_value"] else "clip_grad_norm_"
        self._original = getattr(clip_grad, name).__wrapped__  # what watches sees the script's calls only
        for holder in (clip_grad, torch.nn.utils):
            replace(stack, holder, name, self._wrapped)

    def _wrapped(self, original: Function) -> Function:
        def clip(parameters: object, *arguments: object, **options: object) -> object:
            given = [parameters] if isinstance(parameters, Tensor) else parameters
            tensors = list(given) if isinstance(given, Iterable) else []
            place = user_place(2)
            if (place.file, place.line) == (self.arguments["file"], self.arguments["line"]):
                self._tensors |= {id(tensor) for tensor in tensors}
            return original(tensors, *arguments, **options)

        return clip

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Clip."""
        held = [p for group in optimizer.param_groups for p in group["params"]]
        wanted = [p for p in held if id(p) in self._tensors or not self._tensors]
        if wanted and self._original is not None:
            norm = () if self.arguments["by_value"] else (number(self.arguments["norm_type"]),)
            self._original(wanted, number(self.arguments["limit"]), *norm)
            self.applied(watcher)


class StepScheduleOnce(Applied):
    """Let a schedule move only where its optimizer has stepped since its last move."""

    KIND = "step-schedule-once"

    def __init__(self, arguments: dict[str, object]) -> None:
        super().__init__(arguments)
        self._moved_at = 0

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap every schedule's step."""
        wrap_steps(stack, functools.partial(self._step, watcher))

    def _step(self, watcher: Watcher, scheduler: LRScheduler, move: Function) -> None:
        if watcher.schedules.number(scheduler) == whole(self.arguments["schedule"]):
            steps = watcher.optimizers.follow(scheduler.optimizer).steps
            if steps == self._moved_at:
                self.applied(watcher)
                return
            self._moved_at = steps
        move()
