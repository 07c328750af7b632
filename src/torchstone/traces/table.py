"""A trace as plain data: the tables of values, derivatives and adjoints, and how each row fared against torch."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A row of the evaluation trace: v_1 = v_-1 + v_0 = 9. `rule` is a variable's name in the first rows."""

    name: str
    rule: str
    number: float


@dataclass(frozen=True, slots=True)
class TangentRow:
    """A row of the forward derivative trace: dv_1 = dv_-1 + dv_0, with one number for each seed."""

    name: str
    rule: str
    numbers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AdjointRow:
    """A row of the adjoint trace, in the order of computing: one accumulation, sent back by the value `source`."""

    name: str
    rule: str
    number: float
    source: str


@dataclass(frozen=True, slots=True)
class Seed:
    """A direction in which forward mode differentiates: its name and its component for each variable."""

    name: str
    direction: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A number of the trace beside torch's. Two infinities of one sign agree, and so do two nans."""

    name: str
    number: float
    reference: float
    tolerance: float
    reason: str

    @property
    def difference(self) -> float:
        """How far the two lie apart: 0 where both are the same infinity or nan, infinite where only one is finite."""
        if self.number == self.reference or (math.isnan(self.number) and math.isnan(self.reference)):
            return 0.0
        apart = abs(self.number - self.reference)
        return math.inf if math.isnan(apart) else apart

    @property
    def holds(self) -> bool:
        """Whether they lie within the tolerance."""
        return self.difference <= self.tolerance


@dataclass(frozen=True, slots=True)
class Verification:
    """Rows held against torch one by one, and the whole against `whole_of` (the formula in torch, or the user's function).

    `incomparable` counts numbers whose row takes a number that is not finite already: only where one is born is torch asked.
    """

    rows: tuple[Comparison, ...]
    whole: tuple[Comparison, ...]
    whole_of: str
    incomparable: int = 0

    @property
    def failed(self) -> tuple[Comparison, ...]:
        """What lies beyond its tolerance."""
        return tuple(one for one in (*self.rows, *self.whole) if not one.holds)

    @property
    def worst(self) -> Comparison | None:
        """The row that came closest to its tolerance, or went furthest beyond it."""
        return max(self.rows, key=_strain, default=None)


def _strain(comparison: Comparison) -> float:
    if comparison.tolerance:
        return comparison.difference / comparison.tolerance
    return math.inf if comparison.difference else 0.0


@dataclass(frozen=True, slots=True)
class Birth:
    """Where a number that is not finite is born: no argument of the row was infinite or nan, or none was nan.

    `table` is value, derivative or adjoint; `numbers` is the rule with numbers put in, where that says something.
    """

    table: str
    name: str
    rule: str
    numbers: str
    number: float


@dataclass(frozen=True, slots=True)
class Remark:
    """A row `name` = `rule` whose partial derivative, written `partial`, has its `number` by torch's convention at this point."""

    name: str
    rule: str
    partial: str
    number: float


@dataclass(frozen=True, slots=True)
class Trace:
    """A formula at a point, differentiated. Empty `tangents` or `adjoints` were not asked for; the gradient is always there.

    `print(trace)` shows the tables.
    """

    text: str
    variables: tuple[str, ...]
    at: tuple[float, ...]
    values: tuple[ValueRow, ...]
    tangents: tuple[TangentRow, ...]
    adjoints: tuple[AdjointRow, ...]
    seeds: tuple[Seed, ...]
    partial_derivatives: tuple[float, ...]
    births: tuple[Birth, ...]
    verification: Verification | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def value(self) -> float:
        """The formula's value, in float64."""
        return self.values[-1].number

    @property
    def gradient(self) -> dict[str, float]:
        """The derivative by each variable, as reverse mode gives it."""
        return dict(zip(self.variables, self.partial_derivatives, strict=True))

    @property
    def derivatives(self) -> dict[str, float]:
        """The derivative along each seed of forward mode; empty without forward mode."""
        numbers = self.tangents[-1].numbers if self.tangents else ()
        return {seed.name: number for seed, number in zip(self.seeds, numbers, strict=True)}

    @property
    def failed(self) -> tuple[Comparison, ...]:
        """Comparisons with torch that failed."""
        return self.verification.failed if self.verification else ()

    @property
    def exit_code(self) -> int:
        """1 if a number is not finite or disagrees with torch, else 0."""
        return int(bool(self.births or self.failed))

    def verified(self, verification: Verification) -> "Trace":
        """The same trace with its verification."""
        return replace(self, verification=verification)

    def __str__(self) -> str:
        from torchstone.traces.layout import text

        return text(self)

    def svg(self) -> str:
        """The tables as a picture on white, for a page."""
        from torchstone.traces.drawing import svg

        return svg(self)
