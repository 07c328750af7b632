"""What a check module must offer, and how it is found."""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import Protocol, cast

from torchstone import checks
from torchstone.core.errors import InvariantError, UsageError
from torchstone.core.evidence import Evidence
from torchstone.core.finding import Change, Finding, Probe
from torchstone.core.recording import Recording

HEADINGS = (
    "What it holds", "Why it matters", "Example", "Report", "Remedy", "Silent when", "Limits", "Sources",
)


class Check(Protocol):
    """A module of checks/<topic>/ satisfies this; its docstring is the finding's page.

    Optional: `look(recording) -> Probe | None`, for laws that only a second run can hold, asked where they apply at all; its
    trials take the same look. `probe(finding, recording) -> Probe | None`, for findings whose place only a second run can name.
    """

    NAME: str
    CODE: str
    LAWS: tuple[str, ...]
    SINCE: str
    __doc__: str | None

    def hold(self, recording: Recording) -> Iterator[Evidence]:
        """Evidence for every site where the law applies, also where it holds."""

    def explain(self, broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
        """Findings from all the broken evidence of this check: one for each cause, not one for each site."""

    def changes(self, finding: Finding, recording: Recording) -> Sequence[Change]:
        """What may remedy a finding; each is tried before it is shown. Empty where nothing can be executed."""

    def why_no_remedy(self, finding: Finding, recording: Recording) -> str:
        """What to do by hand where no change can be executed."""


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check of the package, by code."""
    found: list[ModuleType] = []
    for topic in pkgutil.iter_modules(checks.__path__):
        if not topic.ispkg:
            continue
        package = importlib.import_module(f"{checks.__name__}.{topic.name}")
        names = (entry.name for entry in pkgutil.iter_modules(package.__path__))
        found.extend(importlib.import_module(f"{package.__name__}.{name}") for name in names)
    for module in found:
        _validate(module)
    return cast("tuple[Check, ...]", tuple(sorted(found, key=lambda module: str(module.CODE))))


def _validate(module: ModuleType) -> None:
    needed = ("NAME", "CODE", "LAWS", "SINCE", "hold", "explain", "changes", "why_no_remedy")
    missing = [name for name in needed if not hasattr(module, name)]
    if missing or not module.__doc__:
        message = f"{module.__file__} is no check: it lacks {', '.join(missing) or 'a docstring'}"
        raise InvariantError(message)
    file_name = module.__name__.rpartition(".")[2]
    if str(module.NAME) != file_name.replace("_", "-"):
        message = f"{module.__file__} names its finding {module.NAME!r}; file and finding have the same name"
        raise InvariantError(message)


def look_of(check: Check, recording: Recording) -> Probe | None:
    """The deep second look that a law needs before it can be held at all; a check that fails to say costs its own look only."""
    ask = getattr(check, "look", None)
    try:
        return cast("Probe | None", ask(recording)) if ask is not None else None
    except Exception:  # noqa: BLE001 - holding the law will fail likewise, and be told as a fault of ours
        return None


def probe_of(check: Check, finding: Finding, recording: Recording) -> Probe | None:
    """The deep second look that would name the place: what the check's optional `probe` asks for."""
    ask = getattr(check, "probe", None)
    return cast("Probe | None", ask(finding, recording)) if ask is not None else None


def changes_of(check: Check, finding: Finding, recording: Recording) -> tuple[tuple[Change, ...], str]:
    """What may remedy a finding, or why nothing can be tried; a check that fails at it costs the remedies, not the report."""
    try:
        changes = tuple(check.changes(finding, recording))
        return changes, "" if changes else check.why_no_remedy(finding, recording)
    except Exception as error:  # noqa: BLE001 - a fault of one check; the finding itself stands
        return (), f"torchstone fault: {check.NAME} could not say what to try ({type(error).__name__}: {error})"


def find_check(name: str) -> Check:
    """The check of that name or code; raises UsageError, with the nearest names, if there is none."""
    for check in all_checks():
        if name in {check.NAME, check.CODE}:
            return check
    message = f"no finding is named {name!r}; known: {', '.join(check.NAME for check in all_checks())}"
    raise UsageError(message)


def chosen(select: Sequence[str], ignore: Sequence[str]) -> tuple[Check, ...]:
    """The checks left by --select and --ignore."""
    wanted = tuple(find_check(name) for name in select) or all_checks()
    unwanted = [find_check(name) for name in ignore]
    return tuple(check for check in wanted if check not in unwanted)
