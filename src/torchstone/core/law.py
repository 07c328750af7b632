"""A law: what is predicted, of what, in which unit, and where it comes from.

`@law` registers the metadata and hands the function back unchanged: a wrapper object would hide the
docstring's executed example from doctest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ParamSpec, TypeVar

from torchstone.core.errors import InvariantError, UsageError
from torchstone.core.quantity import Unit

P = ParamSpec("P")
R = TypeVar("R")


class Kind(StrEnum):
    """What sort of claim a law makes; it decides how the law is held."""

    SHAPE = "shape"
    COUNT = "count"
    COST = "cost"
    GRADIENT = "gradient"
    EQUIVALENCE = "equivalence"
    BOUND = "bound"
    EXPECTATION = "expectation"
    TREND = "trend"


@dataclass(frozen=True, slots=True)
class Law:
    """The claim beside its formula. The formula is a pure function of plain numbers."""

    name: str
    kind: Kind
    unit: Unit
    formula: Callable[..., object]
    subject: type | None
    assumes: tuple[str, ...]
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        topic, _, quantity = self.name.partition(".")
        if not (topic.isidentifier() and quantity.isidentifier() and self.name == self.name.lower()):
            message = f"a law is named topic.quantity in lower case; {self.name!r} came"
            raise InvariantError(message)
        if not self.formula.__doc__:
            message = f"law {self.name} has no docstring; its first line is the law's statement"
            raise InvariantError(message)
        if not self.sources:
            message = f"law {self.name} names no source (author year, section, or the derivation)"
            raise InvariantError(message)

    @property
    def topic(self) -> str:
        """The word before the dot: also the name of the file that the law lives in."""
        return self.name.partition(".")[0]

    @property
    def statement(self) -> str:
        """The first line of the formula's docstring."""
        return (self.formula.__doc__ or "").strip().splitlines()[0]


_LAWS: dict[str, Law] = {}


def law(
    name: str,
    kind: Kind,
    unit: Unit,
    *,
    subject: type | None = None,
    assumes: tuple[str, ...] = (),
    sources: tuple[str, ...],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a formula as the law `name` and hand it back unchanged; refuses a second law of one name."""

    def register(formula: Callable[P, R]) -> Callable[P, R]:
        if name in _LAWS:
            message = f"two laws are named {name}: {_LAWS[name].formula} and {formula}"
            raise InvariantError(message)
        _LAWS[name] = Law(name, kind, unit, formula, subject, assumes, sources)
        return formula

    return register


def all_laws() -> tuple[Law, ...]:
    """Every law registered so far, by name. Import `torchstone.laws` to have all of them."""
    return tuple(_LAWS[name] for name in sorted(_LAWS))


def find_law(name: str) -> Law:
    """The law of that name; raises UsageError if there is none."""
    if name not in _LAWS:
        message = f"no law is named {name!r}; known: {', '.join(sorted(_LAWS)) or 'none'}"
        raise UsageError(message)
    return _LAWS[name]
