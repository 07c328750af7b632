"""What every change of a run shares: its kind, its plain arguments, and saying once that it took effect."""

from collections.abc import Mapping

from torch import Tensor

from torchstone.core.events import ChangeApplied
from torchstone.record.intervention import Intervention
from torchstone.record.watcher import Watcher

Arguments = Mapping[str, object]


class Applied(Intervention):
    """An intervention that says once that it took effect."""

    KIND = ""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.said = False

    def applied(self, watcher: Watcher, detail: str = "") -> None:
        """Say so."""
        if not self.said:
            self.said = True
            watcher.writer.add(ChangeApplied(self.KIND, detail, watcher.step), always=True)


def parameter_of(watcher: Watcher, place: object) -> Tensor | None:
    """The parameter that was given this number, if it still exists."""
    known = watcher.models.parameters
    index = whole(place)
    return known[index]() if index < len(known) else None


def items(value: object) -> list[object]:
    """A list of a plan's arguments; empty where there is none."""
    return list(value) if isinstance(value, list | tuple) else []


def number(value: object) -> float:
    """A number among a plan's arguments."""
    return float(value)  # type: ignore[arg-type] # a plan's arguments are plain JSON


def whole(value: object) -> int:
    """A whole number among a plan's arguments."""
    return int(value)  # type: ignore[call-overload, no-any-return]


def optional(value: object) -> float | None:
    """A number, where one is given."""
    return None if value is None else number(value)
