"""Numbers with units, and how far two of them may differ."""

import math
from dataclasses import dataclass
from enum import StrEnum

from torchstone.core.errors import InvariantError


class Unit(StrEnum):
    """Units that laws speak in. Two quantities compare only within one unit."""

    NATS = "nats"
    COUNT = "count"
    RATIO = "ratio"
    LOGITS = "logits"
    NORM = "norm"
    SECONDS = "seconds"
    BYTES = "bytes"
    VALUE = "value"
    ELEMENTS = "elements"
    PARAMETERS = "parameters"
    FLOP = "FLOP"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in a unit.

    >>> Quantity(2.5, Unit.NATS) - Quantity(1.0, Unit.NATS)
    Quantity(value=1.5, unit=<Unit.NATS: 'nats'>)
    """

    value: float
    unit: Unit

    def _same_unit(self, other: "Quantity") -> None:
        if self.unit is not other.unit:
            message = f"quantities compare only within one unit, not {self.unit} with {other.unit}"
            raise InvariantError(message)

    def __sub__(self, other: "Quantity") -> "Quantity":
        self._same_unit(other)
        return Quantity(self.value - other.value, self.unit)

    def __lt__(self, other: "Quantity") -> bool:
        self._same_unit(other)
        return self.value < other.value

    @property
    def is_finite(self) -> bool:
        """Whether the value is neither infinite nor NaN."""
        return math.isfinite(self.value)

    def __str__(self) -> str:
        return f"{format_number(self.value)} {self.unit}"


@dataclass(frozen=True, slots=True)
class Amount:
    """One named part of a tolerance: how much, and why that much."""

    value: float
    reason: str

    def __post_init__(self) -> None:
        if not self.value >= 0 or math.isinf(self.value):
            message = f"a tolerance is a finite number, zero or more; {self.value} came ({self.reason})"
            raise InvariantError(message)
        if self.value > 0 and not self.reason:
            message = f"a tolerance of {self.value} needs a reason"
            raise InvariantError(message)


NOTHING = Amount(0.0, "")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far measured may lie from predicted: the sum of three named amounts, never one magic number.

    >>> Tolerance(model=Amount(0.5, "logits of spread 1")).total
    0.5
    """

    model: Amount = NOTHING
    sampling: Amount = NOTHING
    rounding: Amount = NOTHING

    @property
    def total(self) -> float:
        """The three amounts together; zero for an exact law."""
        return self.model.value + self.sampling.value + self.rounding.value

    def __str__(self) -> str:
        named = (("model", self.model), ("sampling", self.sampling), ("rounding", self.rounding))
        parts = [f"{name} {format_number(a.value)} ({a.reason})" for name, a in named if a.value > 0]
        return " + ".join(parts) or "exact"


EXACT = Tolerance()


def format_number(value: float) -> str:
    """A number as people read it: counts whole, the rest to four digits.

    >>> format_number(163.7961), format_number(8000), format_number(1.2e-7), format_number(float("nan"))
    ('163.8', '8000', '1.2e-07', 'nan')
    """
    if math.isfinite(value) and value == int(value) and abs(value) < 1e9:  # noqa: PLR2004 - beyond it, digits mislead
        return str(int(value))
    return f"{value:.4g}"
