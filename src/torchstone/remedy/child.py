"""What `python -m torchstone.remedy.child PLAN` does: one run of the script, with a plan's changes and probe in it."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from torchstone.core.events import WritesDiverted
from torchstone.record.child import Child
from torchstone.record.importing import after_import
from torchstone.record.plan import Plan

if TYPE_CHECKING:
    from torchstone.record.intervention import Intervention


def _interventions(plan: Plan) -> Sequence["Intervention"]:
    if not plan.changes and plan.probe is None:
        return ()
    from torchstone.remedy.interventions import build

    return build(plan)


def main() -> int:
    """Run the plan that the first argument names."""
    plan = Plan.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if os.environ.pop("TORCHSTONE_HASH_SEED", ""):
        os.environ.pop("PYTHONHASHSEED", None)
    sys.path.pop(0)  # the working directory, which `-m` put there; the script gets its own folder
    child = Child(plan, _interventions)
    with ExitStack() as stack:
        if plan.purpose != "watch":
            from torchstone.remedy.divert import divert

            diverted = stack.enter_context(divert(Path(plan.folder) / "writes", map(Path, plan.hidden)))
            after_import("torch", diverted.adopt)
            after_import("safetensors", diverted.adopt)
            stack.callback(lambda: child.writer.add(WritesDiverted(tuple(diverted.paths[:20])), always=True))
        return child.run()


if __name__ == "__main__":
    sys.exit(main())
