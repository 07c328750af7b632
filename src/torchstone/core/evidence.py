"""Evidence: one law at one site, predicted against measured. The verdict is derived, never stored."""

import math
from dataclasses import dataclass
from enum import StrEnum

from torchstone.core.errors import InvariantError
from torchstone.core.quantity import EXACT, Quantity, Tolerance


class Verdict(StrEnum):
    """What evidence says of its law. `undecided` is an honest answer and is always counted and shown."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNDECIDED = "undecided"


class Relation(StrEnum):
    """How measured must stand to predicted, within the tolerance."""

    EQUAL = "equal"
    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True)
class Site:
    """Where in the user's program: module path, the user's file and line, step and phase (train, eval)."""

    module: str = ""
    file: str = ""
    line: int = 0
    step: int = 0
    phase: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else ""
        return "  ".join(part for part in (place, self.module) if part) or "(unknown place)"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A law held at a site. A `reason` says why it cannot be decided; `measured` is None where nothing was measured."""

    law: str
    site: Site
    predicted: Quantity
    measured: Quantity | None
    tolerance: Tolerance = EXACT
    relation: Relation = Relation.EQUAL
    how: str = "hook"
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.predicted.is_finite:
            message = f"law {self.law} predicted {self.predicted}: a prediction is a finite number"
            raise InvariantError(message)
        if self.measured is None and not self.reason:
            message = f"evidence for {self.law} measures nothing and gives no reason"
            raise InvariantError(message)
        if self.measured is not None and self.measured.unit is not self.predicted.unit:
            message = f"law {self.law} predicts {self.predicted.unit} and {self.measured.unit} was measured"
            raise InvariantError(message)

    @property
    def verdict(self) -> Verdict:
        """Holds, broken or undecided, computed from the two numbers, the relation and the tolerance."""
        if self.measured is None or self.reason:
            return Verdict.UNDECIDED
        excess = (self.measured - self.predicted).value
        if math.isnan(excess):
            return Verdict.BROKEN
        allowed = self.tolerance.total
        within = {
            Relation.EQUAL: abs(excess) <= allowed,
            Relation.AT_MOST: excess <= allowed,
            Relation.AT_LEAST: excess >= -allowed,
        }[self.relation]
        return Verdict.HOLDS if within else Verdict.BROKEN
