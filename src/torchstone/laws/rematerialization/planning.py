"""Which schedule for a chain and a budget: the class that it is best in, what bounds it from below, and what is too little."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torchstone.core.errors import UsageError
from torchstone.laws.rematerialization import level, nested
from torchstone.laws.rematerialization.chain import (
    Layer,
    Parts,
    Segment,
    depth,
    extra_cost,
    extra_forwards,
    from_sizes,
    least_extra,
    peak,
    stored,
)
from torchstone.laws.rematerialization.peak import even

STRATEGIES = ("best", "level", "nested", "uniform")
_BASES = (("b", 1000), ("ib", 1024))
_UNITS = {"": 1, "b": 1, **{f"{sign}{kind}": base ** (place + 1) for kind, base in _BASES for place, sign in enumerate("kmgt")}}
_STEPS = 12


class TooLittleError(UsageError):
    """A budget that no schedule of a kind meets; `least` bytes are enough."""

    def __init__(self, message: str, least: int) -> None:
        super().__init__(message)
        self.least = least


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule for a chain within a budget in bytes, of which `held` are there all the time.

    `proof` says in which class of schedules no other runs less again, and is empty where that is not proven; `lower_bound` is then
    what no schedule of any kind can do without.
    """

    layers: tuple[Layer, ...]
    parts: Parts
    budget: int
    strategy: str
    proof: str
    lower_bound: int
    held: int = 0

    @property
    def predicted_peak(self) -> int:
        """Bytes at once, at most, beyond parameters and their gradients."""
        return self.held + peak(self.layers, self.parts)

    @property
    def stored_peak(self) -> int:
        """The same with everything stored."""
        return self.held + peak(self.layers, stored(self.layers))

    @property
    def extra_forwards(self) -> int:
        """Layers run again in one backward pass."""
        return extra_forwards(self.parts)

    @property
    def extra_cost(self) -> int:
        """What these cost, in the layers' unit."""
        return extra_cost(self.layers, self.parts)

    @property
    def extra_share(self) -> float:
        """The same over the cost of one forward pass."""
        return self.extra_cost / max(1, sum(layer.cost for layer in self.layers))

    @property
    def gap(self) -> int:
        """How far the cost lies above the lower bound: 0 where the schedule is proven best."""
        return self.extra_cost - self.lower_bound

    @property
    def segments(self) -> tuple[int, ...]:
        """Sizes of the outermost segments."""
        return tuple(map(len, self.parts))

    @property
    def depth(self) -> int:
        """Levels of segments that are run again inside one another."""
        return depth(self.parts)


def read_bytes(memory: object) -> int:
    """Bytes from a number or a text such as 2GB (10^9), 512MiB (2^20).

    >>> read_bytes("2GB"), read_bytes("1.5 MiB"), read_bytes(4096)
    (2000000000, 1572864, 4096)
    """
    message = f"memory is a number of bytes or a text such as 2GB (10^9) or 512MiB (2^20); {memory!r} came"
    found = re.fullmatch(r"\s*(\d+\.?\d*(?:e\d+)?)\s*([kmgt]?i?b?)\s*", str(memory).lower())
    if isinstance(memory, bool) or not isinstance(memory, int | float | str) or found is None or found[2] not in _UNITS:
        raise UsageError(message)
    size = float(found[1]) * _UNITS[found[2]]
    if not 1 <= size < 1e18:  # noqa: PLR2004 - a million terabytes: a slip of the keyboard
        raise UsageError(message)
    return int(size)


def written(size: float) -> str:
    """Bytes as people read them.

    >>> written(2_000_000_000), written(512), written(1_234_567)
    ('2 GB', '512 B', '1.235 MB')
    """
    for unit, many in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= many:
            return f"{size / many:.4g} {unit}"
    return f"{size:.4g} B"


def planned(layers: Sequence[Layer], memory: object, strategy: str = "best", held: int = 0) -> Plan:
    """The schedule for a chain within so much memory, by a strategy.

    - level: one level of checkpointed segments, divided so that the least is run again (proven);
    - nested: segments inside segments, for budgets that one level cannot meet;
    - best: everything stored if that fits, else level if that is possible, else nested;
    - uniform: one level of segments as even as can be, the fewest that fit (what checkpoint_sequential takes a number for).

    `held` bytes (the model's output, which its caller holds) are there all the time.
    Raises UsageError for a budget that no such schedule meets, with the least that one does.
    """
    budget, layers = read_bytes(memory), tuple(layers)
    if strategy not in STRATEGIES:
        message = f"strategy is one of {', '.join(STRATEGIES)}; {strategy!r} came"
        raise UsageError(message)
    if not layers:
        message = "there is no layer: nothing can be planned"
        raise UsageError(message)
    room = budget - held
    if peak(layers, stored(layers)) <= room:
        return Plan(layers, stored(layers), budget, "stored", "any schedule: nothing is run again", 0, held)
    choices = {"best": ("level", "nested"), "level": ("level",), "nested": ("nested",), "uniform": ("uniform",)}[strategy]
    for choice in choices:
        parts = _SOLVERS[choice](layers, room) if room > 0 else None
        if parts is not None and peak(layers, parts) <= room:
            return Plan(layers, parts, budget, choice, *_proof(layers, parts, room, choice), held)
    raise _too_little(layers, budget, choices[-1], held)


def _proof(layers: tuple[Layer, ...], parts: Parts, room: int, choice: str) -> tuple[str, int]:
    """In which class the schedule is best, and the lower bound of its cost."""
    if choice == "level":
        return "schedules of one level of checkpointed segments", extra_cost(layers, parts)
    if choice == "nested" and not nested.rounded(layers):
        return "nested schedules of these layers, which are alike", extra_cost(layers, parts)
    return "", least_extra(layers, room)


def _uniform(layers: Sequence[Layer], budget: int) -> Parts | None:
    """The fewest even segments that fit; pinned layers before are stored, and those after stand in the last segment."""
    head = next((place for place, layer in enumerate(layers) if not layer.pinned), len(layers))
    tail = next((place for place, layer in enumerate(reversed(layers)) if not layer.pinned), 0)
    count = len(layers) - head - tail
    for segments in range(1, count + 1):
        sizes = even(count, segments)
        sizes[-1] += tail
        parts = _behind(from_sizes(sizes), head)
        if peak(layers, parts) <= budget:
            return parts
    return None


def _behind(parts: Parts, head: int) -> Parts:
    front = (Segment(0, head),) if head else ()
    return (*front, *(Segment(part.first + head, part.stop + head, again=part.again) for part in parts))


_SOLVERS = {"level": level.optimum, "nested": nested.optimum, "uniform": _uniform}


def _too_little(layers: tuple[Layer, ...], budget: int, choice: str, held: int) -> TooLittleError:
    """What to do about a budget that cannot be met."""
    one_level = level.least_peak(layers)[0]
    said = f"{written(budget)} is too little: "
    if choice == "level":
        least = one_level + held
        message = f"{said}one level of segments needs {least} bytes ({written(least)}); nested ones may need less"
        return TooLittleError(message, least)
    low, high = max(budget - held, 0), one_level if choice == "nested" else peak(layers, stored(layers))
    for _ in range(_STEPS):
        middle = (low + high) // 2
        parts = _SOLVERS[choice](layers, middle)
        low, high = (middle, high) if parts is None or peak(layers, parts) > middle else (low, middle)
    least = high + held
    what = "nested segments need about" if choice == "nested" else "even segments need"
    more = f", one level of segments {one_level + held}" if choice == "nested" else ""
    return TooLittleError(f"{said}{what} {least} bytes ({written(least)}){more}; give as much, or a smaller batch", least)
