"""A finding: broken evidence, said so that a person can act on it, with remedies that were tried."""

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum

from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Evidence, Verdict

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
_CODE = re.compile(r"TS\d{3}")


class Severity(StrEnum):
    """`error`: training is wrong. `warning`: something is lost, training may still be what was meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Change:
    """An executable change of a run: what a trial applies, and the patch that a person would write.

    `kind` names an intervention of torchstone.remedy; `arguments` are plain JSON values for it.
    """

    kind: str
    title: str
    patch: str
    arguments: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Probe:
    """A second look at a run, in depth, up to one step. `kind` names a probe of torchstone.remedy."""

    kind: str
    step: int = 0


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that was tried. It cannot be built without the evidence that its trial measured.

    `before` and `after` hold the same law, under the same relation and kind of tolerance; `cost_ratio`
    is the trial's time per step over the watched run's; `note` says what the two numbers do not.
    """

    change: Change
    before: Evidence
    after: Evidence
    cost_ratio: float | None
    note: str = ""

    def __post_init__(self) -> None:
        if self.before.law != self.after.law or self.before.relation is not self.after.relation:
            message = f"a trial holds the same law again: {self.before.law} before, {self.after.law} after"
            raise InvariantError(message)

    @property
    def works(self) -> bool:
        """Whether the law that was broken holds after the change."""
        return self.after.verdict is Verdict.HOLDS


@dataclass(frozen=True, slots=True)
class Finding:
    """What is broken, where, why, and what was tried about it."""

    name: str
    code: str
    severity: Severity
    title: str
    evidence: tuple[Evidence, ...]
    message: str
    predicted_as: str = ""
    measured_as: str = ""
    remedies: tuple[Remedy, ...] = ()
    why_no_remedy: str = "no remedy has been tried"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or not _CODE.fullmatch(self.code):
            message = f"a finding has a kebab-case name and a TS000 code; {self.name!r}, {self.code!r} came"
            raise InvariantError(message)
        if not self.evidence or any(e.verdict is not Verdict.BROKEN for e in self.evidence):
            message = f"finding {self.name} must rest on broken evidence, and on nothing else"
            raise InvariantError(message)
        if not self.message:
            message = f"finding {self.name} has no message"
            raise InvariantError(message)
        if bool(self.remedies) == bool(self.why_no_remedy):
            message = f"finding {self.name} has either remedies or a reason why none, not both or neither"
            raise InvariantError(message)

    @property
    def main(self) -> Evidence:
        """The evidence that the finding leads with."""
        return self.evidence[0]

    def with_remedies(self, remedies: tuple[Remedy, ...], why_none: str) -> "Finding":
        """The same finding after its trials: the remedies that work first, then by what was measured."""
        ranked = sorted(remedies, key=lambda r: (not r.works, _distance(r.after)))
        return replace(self, remedies=tuple(ranked), why_no_remedy="" if ranked else why_none)


def _distance(evidence: Evidence) -> float:
    if evidence.measured is None:
        return float("inf")
    distance = abs((evidence.measured - evidence.predicted).value)
    return distance if distance == distance else float("inf")  # noqa: PLR0124 - NaN is furthest of all
