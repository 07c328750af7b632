"""The child process: becomes the script, with the hooks going in when the script imports torch.

Nothing of torch is imported here at the top, and nothing of the script's surroundings may differ from
`python script.py`: `__main__`, sys.argv, sys.path, the working directory, standard streams, exit code, tracebacks.
"""

import builtins
import importlib.util
import os
import platform
import random
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import TYPE_CHECKING

from torchstone.core.events import RunEnded, RunStarted, TorchLoaded
from torchstone.record.importing import after_import
from torchstone.record.plan import Plan
from torchstone.record.writer import Writer

if TYPE_CHECKING:
    from torchstone.record.intervention import Intervention
    from torchstone.record.watcher import Watcher

INTERRUPTED = 130
_OWN = str(Path(__file__).resolve().parents[1]) + os.sep


class Child:
    """One run of the script in this process."""

    def __init__(self, plan: Plan, interventions: Callable[[Plan], Sequence["Intervention"]]) -> None:
        self.plan = plan
        self.writer = Writer(Path(plan.folder))
        self._interventions = interventions
        self._hooks = ExitStack()
        self.watcher: Watcher | None = None

    def run(self) -> int:
        """Run the script to its end and return the exit code it asked for."""
        self._start()
        namespace, code = self._become_main()
        reason, exit_code, detail, leaving = "finished", 0, "", None
        try:
            exec(code, namespace)  # noqa: S102 - the one thing of the user's that is executed: the script they named
        except SystemExit as error:
            leaving = error
            exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
            reason = "exit"
        except BaseException as error:  # noqa: BLE001 - everything the script raises is shown as Python shows it
            reason, exit_code, detail = self._failed(error)
        if self.watcher is not None and self.watcher.stopped:
            exit_code, leaving = 0, None
        self._end(reason, exit_code, detail)
        if leaving is not None:
            raise leaving
        return exit_code

    def _start(self) -> None:
        plan = self.plan
        self.writer.add(
            RunStarted(
                plan.script.target, plan.script.arguments, plan.script.as_module, platform.python_version(), platform.platform(),
                str(Path.cwd()), plan.seed, plan.steps, plan.purpose,
            ),
            always=True,
        )
        # Unseeded generators would start from the system's entropy; they start from the plan's, so that a trial can repeat it.
        random.seed(plan.seed)
        after_import("numpy", lambda numpy: numpy.random.seed(plan.seed % 2**32))
        after_import("torch", self._torch_imported)
        after_import("safetensors", lambda _: self._weights_may_be_read())

    def _torch_imported(self, torch: ModuleType) -> None:
        torch.manual_seed(self.plan.seed)
        try:
            from torchstone.record.hooks import hooked
            from torchstone.record.watcher import Watcher

            self.watcher = Watcher(
                self.writer,
                steps=self.plan.steps,
                seconds=self.plan.seconds,
                interventions=self._interventions(self.plan),
            )
            self.watcher.models.weights_read = "safetensors" in sys.modules
            self._hooks.enter_context(hooked(self.watcher))
            # Only whether it could be used: to ask whether it can would initialise the driver before the script does.
            loaded = TorchLoaded(str(torch.__version__), torch.get_num_threads(), torch.backends.cuda.is_built())
            self.writer.add(loaded, always=True)
        except Exception as error:  # noqa: BLE001 - a fault of ours never stops the script
            from torchstone.core.events import FaultRecorded

            self.writer.add(FaultRecorded("installing hooks", f"{type(error).__name__}: {error}"), always=True)

    def _weights_may_be_read(self) -> None:
        if self.watcher is not None:
            self.watcher.models.weights_read = True

    def _become_main(self) -> tuple[dict[str, object], CodeType]:
        script = self.plan.script
        main = ModuleType("__main__")
        if script.as_module:
            sys.path.insert(0, str(Path.cwd()))
            sys.argv = ["-m", *script.arguments]
            _, spec, code = runpy._get_module_details(script.target)  # type: ignore[attr-defined] # noqa: SLF001 - as pdb and profile do
            sys.argv[0] = code.co_filename
            main.__dict__.update(
                __spec__=spec, __package__=spec.parent, __loader__=spec.loader, __file__=code.co_filename, __cached__=spec.cached
            )
            self._claim(code.co_filename)
        else:
            sys.argv = [script.target, *script.arguments]
            path = Path(script.target)
            sys.path.insert(0, str(path.resolve().parent))
            file = script.target if path.is_absolute() else f"{Path.cwd()}{os.sep}{script.target}"
            code = compile(path.read_bytes(), file, "exec", dont_inherit=True)
            loader = importlib.machinery.SourceFileLoader("__main__", file)
            main.__dict__.update(__spec__=None, __package__=None, __loader__=loader, __file__=file, __cached__=None)
        main.__dict__["__builtins__"] = builtins
        sys.orig_argv = [sys.executable, *sys.argv]
        sys.modules["__main__"] = main
        return main.__dict__, code

    def _claim(self, file: str) -> None:
        from torchstone.record.source import claim

        claim(str(Path(file).parent))

    def _failed(self, error: BaseException) -> tuple[str, int, str]:
        if type(error).__name__ == "StopWatching":
            return "steps", 0, ""
        strip(error)
        sys.excepthook(type(error), error, error.__traceback__)
        detail = "".join(traceback.format_exception_only(error)).strip()
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", INTERRUPTED, detail
        return "exception", 1, detail

    def _end(self, reason: str, exit_code: int, detail: str) -> None:
        if self.watcher is not None:
            self.watcher.end(reason, exit_code, detail)
        else:
            self.writer.add(RunEnded(reason, exit_code, detail=detail), always=True)
        self._hooks.close()


def strip(error: BaseException) -> None:
    """Take our own frames out of an exception's traceback, and those of what caused it, so it reads as without us."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _without_own(current.__traceback__)
        waiting.extend(e for e in (current.__cause__, current.__context__) if e is not None)


def _without_own(entry: TracebackType | None) -> TracebackType | None:
    entries: list[TracebackType] = []
    while entry is not None:
        if not entry.tb_frame.f_code.co_filename.startswith(_OWN):
            entries.append(entry)
        entry = entry.tb_next
    kept: TracebackType | None = None
    for item in reversed(entries):
        kept = TracebackType(kept, item.tb_frame, item.tb_lasti, item.tb_lineno)
    return kept
