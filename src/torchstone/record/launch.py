"""The parent process: starts the child, passes signals on, waits. Never imports torch."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from torchstone.core.errors import UsageError
from torchstone.record.plan import Plan

PLAN = "plan.json"
CHILD = Path(__file__).resolve().parents[1] / "remedy" / "child.py"
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SETTLE = 20.0


def launch(
    plan: Plan,
    *,
    output: IO[bytes] | None = None,
    while_waiting: Callable[[], None] | None = None,
) -> int:
    """Run a plan in a child process and return its exit code (negative: the signal that ended it).

    Standard streams are the user's own unless `output` takes them; then standard input is empty.
    """
    folder = Path(plan.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PLAN).write_text(plan.to_json(), encoding="utf-8")
    except OSError as error:
        message = f"no recording can be written to {folder}: {error.strerror or error}; name a folder that can be written"
        raise UsageError(message) from error
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001
    unbuffered = ["-u"] if getattr(sys.flags, "unbuffered", 0) else []
    command = [sys.executable, *flags, *unbuffered, str(CHILD), str(folder / PLAN)]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    try:
        child = subprocess.Popen(  # noqa: S603 - the interpreter we run in, with our own module
            command,
            env=_environment(plan),
            stdin=None if output is None else subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509 - this process has one thread
        )
        return _wait(child, plan, while_waiting)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment(plan: Plan) -> dict[str, str]:
    environment = dict(os.environ)
    # The child takes it out again before the script starts: the order of sets repeats, the script sees nothing.
    if "PYTHONHASHSEED" not in environment:
        environment |= {"PYTHONHASHSEED": str(plan.seed % 2**32), "TORCHSTONE_HASH_SEED": "1"}
    if plan.purpose != "watch":
        environment |= {"WANDB_MODE": "disabled"}
    if plan.probe is not None:
        environment |= {"TORCH_COMPILE_DISABLE": "1"}
    return environment


def _pass_on(child: "subprocess.Popen[bytes]") -> None:
    if not hasattr(signal, "sigtimedwait"):  # macOS: signals wait until the child has ended
        time.sleep(0.1)
        return
    came = signal.sigtimedwait(_FORWARDED, 0.1)
    if came is not None and came.si_code <= 0:  # sent by kill(): the child did not get it
        child.send_signal(came.si_signo)


def _wait(child: "subprocess.Popen[bytes]", plan: Plan, while_waiting: Callable[[], None] | None) -> int:
    """Wait for the child; pass on signals sent to us alone, since a terminal sends its own to both of us."""
    began = time.monotonic()
    overdue = False
    while child.poll() is None:
        _pass_on(child)
        if while_waiting is not None:
            while_waiting()
        if plan.seconds is not None and not overdue and time.monotonic() - began > plan.seconds + _SETTLE:
            overdue = True  # no step came in time for the watcher to stop at
            child.send_signal(signal.SIGINT)
    return child.returncode
