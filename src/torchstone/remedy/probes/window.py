"""A probe over some steps of a run: sees every operation that Python calls, at the user's own granularity.

A function mode is used here only, and not while watching: torch.compile guards on the stack of modes, so a mode that
comes and goes would recompile.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

import torch
from torch.overrides import TorchFunctionMode

from torchstone.record.intervention import Intervention
from torchstone.record.watcher import Watcher


class _Mode(TorchFunctionMode):
    def __init__(self, see: Callable[[Callable[..., object], tuple[object, ...], dict[str, object]], object]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Hand every call to the probe."""
        del types
        return self._see(func, args, dict(kwargs or {}))


class Window(Intervention):
    """A probe over some steps, the last of them `step`: its mode goes in before the first of them.

    `ends`: whether the run ends with the window; a trial's run goes on.
    """

    KIND = ""
    BEFORE = 0  # how many steps earlier the window opens

    def __init__(self, step: int, *, ends: bool = True) -> None:
        self._first, self._last, self._ends = max(step - self.BEFORE, 0), step, ends
        self._mode: _Mode | None = None

    def see(self, function: Callable[..., object], arguments: tuple[object, ...], options: dict[str, object]) -> object:
        """Run one operation and look at it."""
        raise NotImplementedError

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Go in at once if the window begins with the run."""
        stack.callback(self._leave)
        if watcher.step >= self._first:
            self._enter()

    def after_step(self, watcher: Watcher) -> None:
        """Go in when the window begins; stop the run when it is over."""
        if self._mode is None and self._first <= watcher.step <= self._last:
            self._enter()
        if watcher.step > self._last:
            self.finish(watcher)

    def finish(self, watcher: Watcher) -> None:
        """Enough was seen: a probe's run ends at this step."""
        self._leave()
        if self._ends:
            watcher.step_limit = 0

    def _enter(self) -> None:
        self._mode = _Mode(self.see)
        self._mode.__enter__()  # type: ignore[no-untyped-call]

    def _leave(self) -> None:
        if self._mode is None:
            return
        # The user may have entered modes of their own since: take ours out of the middle, leave theirs as they are.
        mode, self._mode = self._mode, None
        above: list[TorchFunctionMode] = []
        while torch._C._len_torch_function_stack():  # noqa: SLF001 - there is no public way
            top = torch.overrides._pop_mode()  # type: ignore[no-untyped-call] # noqa: SLF001
            if top is mode:
                break
            above.append(top)
        for other in reversed(above):
            torch.overrides._push_mode(other)  # type: ignore[no-untyped-call] # noqa: SLF001
