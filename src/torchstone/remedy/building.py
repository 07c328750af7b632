"""A plan's changes and probe into interventions. Both are found by walking their packages: one class a kind."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import TypeVar

from torchstone.core.errors import InvariantError
from torchstone.record.intervention import Intervention
from torchstone.record.plan import Plan
from torchstone.remedy import interventions, probes
from torchstone.remedy.interventions.applied import Applied
from torchstone.remedy.probes.window import Window

K = TypeVar("K", Applied, Window)


def build(plan: Plan) -> list[Intervention]:
    """The interventions of a plan: its changes, and its probe. Only a run that is for the probe alone ends with it."""
    found: list[Intervention] = [_kind(interventions, Applied, change.kind)(change.arguments) for change in plan.changes]
    if plan.probe is not None:
        found.append(_kind(probes, Window, plan.probe.kind)(plan.probe.step, ends=plan.purpose == "probe"))
    return found


def _kind(package: ModuleType, parent: type[K], kind: str) -> type[K]:
    for entry in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(entry.name)
    kinds = {found.KIND: found for found in _below(parent) if found.KIND}
    if kind not in kinds:
        message = f"no {package.__name__.rpartition('.')[2]} are named {kind!r}; known: {', '.join(sorted(kinds))}"
        raise InvariantError(message)
    return kinds[kind]


def _below(parent: type[K]) -> Iterator[type[K]]:
    for child in parent.__subclasses__():
        yield child
        yield from _below(child)
