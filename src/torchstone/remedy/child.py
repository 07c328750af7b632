"""One run of the script, with a plan's changes and probe in it: `python child.py PLAN`.

Started as a file, not with -m: that would put the working directory first on the path, and a `types.py` there
would break us where it does not break the script.
"""

import atexit
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

_BEFORE = frozenset(sys.modules)
sys.path[0] = str(Path(__file__).resolve().parents[2])

from torchstone.core.events import WritesDiverted
from torchstone.record.child import Child
from torchstone.record.importing import after_import
from torchstone.record.plan import Plan

if TYPE_CHECKING:
    from torchstone.record.intervention import Intervention


def _interventions(plan: Plan) -> Sequence["Intervention"]:
    if not plan.changes and plan.probe is None:
        return ()
    from torchstone.remedy.building import build

    return build(plan)


def _make_way(folder: Path) -> None:
    """Where the script has a module named like one that we imported before it, the script must find its own."""
    for name in sorted(set(sys.modules) - _BEFORE - {"torchstone"}):
        if "." not in name and ((folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()):
            del sys.modules[name]


def main() -> int:
    """Run the plan that the first argument names."""
    plan = Plan.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if os.environ.pop("TORCHSTONE_HASH_SEED", ""):
        os.environ.pop("PYTHONHASHSEED", None)
    sys.path.pop(0)  # what is needed further comes by the package's own path; the script gets its own folder
    _make_way(Path.cwd() if plan.script.as_module else Path(plan.script.target).resolve().parent)
    child = Child(plan, _interventions)
    with ExitStack() as stack:
        if plan.purpose != "watch":
            from torchstone.remedy.divert import divert

            diverted = stack.enter_context(divert(Path(plan.folder) / "writes", map(Path, plan.hidden)))
            after_import("torch", diverted.adopt)
            after_import("safetensors", diverted.adopt)
            stack.callback(lambda: child.writer.add(WritesDiverted(tuple(diverted.paths[:20])), always=True))
        code = child.run()
        if plan.purpose != "watch":
            # Threads and exit functions of the script's may still write: they end while writes are diverted.
            threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - what the interpreter calls next itself
            atexit._run_exitfuncs()  # noqa: SLF001
        return code


if __name__ == "__main__":
    sys.exit(main())
