"""The model of a chain: what each layer keeps and needs at work, a schedule, and what peak and cost the schedule has.

Every number of a layer counts bytes above what was kept before the layer, its input not counted there; parameters and their
gradients are left out, since every schedule has them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchstone.core.errors import InvariantError
from torchstone.laws.rematerialization.bound import least_rerun


@dataclass(frozen=True, slots=True)
class Layer:
    """One link of a chain, in bytes, and what running it forward once costs (in any unit; by default one forward).

    `input`, `output`: the activations at its borders. `saved`: what stays for its backward pass, its input among it where
    `keeps_input`. `forward`, `dropped`, `backward`: peaks while it runs and saves, runs and saves nothing, and runs backwards.
    A pinned layer cannot be run again.
    """

    name: str
    input: int
    output: int
    saved: int
    forward: int
    dropped: int
    backward: int
    keeps_input: bool = True
    cost: int = 1
    pinned: bool = False

    def __post_init__(self) -> None:
        if min(self.input, self.output, self.saved, self.forward, self.dropped, self.backward, self.cost) < 0:
            message = f"a layer's bytes and cost are zero or more: {self}"
            raise InvariantError(message)

    @property
    def apart(self) -> int:
        """Bytes of the input that are kept beside `saved` where a checkpointed segment begins with this layer."""
        return 0 if self.keeps_input else self.input

    @property
    def alone(self) -> int:
        """The least room in which this layer can be stored."""
        return max(self.forward, self.backward)

    @property
    def kind(self) -> tuple[int | bool, ...]:
        """All but the name: layers of one kind are alike to every schedule."""
        return (
            self.input, self.output, self.saved, self.forward, self.dropped, self.backward,
            self.keeps_input, self.cost, self.pinned,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """Layers first to stop - 1: stored as they are, or checkpointed (`again`): run again in the backward pass, then by `parts`.

    Without parts, all of a segment that is run again is stored then.
    """

    first: int
    stop: int
    again: bool = False
    parts: "tuple[Segment, ...]" = ()

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def inner(self) -> "tuple[Segment, ...]":
        """What happens inside when it is run again."""
        return self.parts or (Segment(self.first, self.stop),)


Parts = tuple[Segment, ...]


def stored(layers: Sequence[Layer]) -> Parts:
    """The schedule that keeps everything."""
    return (Segment(0, len(layers)),)


def from_sizes(sizes: Sequence[int]) -> Parts:
    """One level: every segment but the last is checkpointed.

    >>> from_sizes([2, 3])
    (Segment(first=0, stop=2, again=True, parts=()), Segment(first=2, stop=5, again=False, parts=()))
    """
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return tuple(Segment(end - size, end, again=end != ends[-1]) for end, size in zip(ends, sizes, strict=True))


def checked(layers: Sequence[Layer], parts: Parts) -> Parts:
    """The schedule itself; raises InvariantError where it leaves a gap, or runs a pinned layer again."""

    def hold(parts: Parts, first: int, stop: int, *, again: bool) -> None:
        place = first
        for part in parts:
            if part.first != place or part.stop <= part.first:
                message = f"a schedule covers layers {first} to {stop} in their order; {part} came after layer {place}"
                raise InvariantError(message)
            if (again or part.again) and any(layer.pinned for layer in layers[part.first : part.stop]):
                message = f"{part} runs a pinned layer again"
                raise InvariantError(message)
            hold(part.parts, part.first, part.stop, again=True) if part.parts else None
            place = part.stop
        if place != stop:
            message = f"a schedule covers layers {first} to {stop}; it ends at {place}"
            raise InvariantError(message)

    hold(parts, 0, len(layers), again=False)
    return parts


def peak(layers: Sequence[Layer], parts: Parts, held: int = 0, gradient: int = 0) -> int:
    """Bytes at once, at most, of a forward and a backward pass by this schedule.

    `held`: kept before. `gradient`: of the output, there while a segment is run again.
    """
    worst, kept, later = 0, held, []
    for part in parts:
        inside = layers[part.first : part.stop]
        if part.again:
            worst = max(worst, kept + gradient + max(layer.dropped for layer in inside))
            later.append((part, kept))
            kept += inside[0].input
            continue
        for layer in inside:
            worst = max(worst, kept + gradient + layer.forward, kept + layer.backward)
            kept += layer.saved
    for part, before in later:
        apart = 0 if part.inner[0].again else layers[part.first].apart
        worst = max(worst, peak(layers, part.inner, before + apart, layers[part.stop - 1].output))
    return worst


def extra_cost(layers: Sequence[Layer], parts: Parts) -> int:
    """What is run again costs, in the layers' unit: each layer once for every segment around it that is run again."""
    again = [part for part in parts if part.again]
    return sum(sum(layer.cost for layer in layers[one.first : one.stop]) + extra_cost(layers, one.parts) for one in again)


def extra_forwards(parts: Parts) -> int:
    """Layers run again in one backward pass.

    >>> extra_forwards((Segment(0, 4, again=True, parts=(Segment(0, 2, again=True), Segment(2, 4))), Segment(4, 6)))
    6
    """
    return sum(len(part) + extra_forwards(part.parts) for part in parts if part.again)


def depth(parts: Parts) -> int:
    """How many levels of segments are run again inside one another."""
    return max((1 + depth(part.parts) for part in parts if part.again), default=0)


def runs(layers: Sequence[Layer]) -> Iterator[tuple[Layer, int]]:
    """Layers alike that follow each other, and how many: a chain in few words."""
    first, count = None, 0
    for layer in layers:
        if first is not None and layer.kind == first.kind:
            count += 1
            continue
        if first is not None:
            yield first, count
        first, count = layer, 1
    if first is not None:
        yield first, count


def least_extra(layers: Sequence[Layer], budget: int) -> int:
    """No schedule of any kind, nested or not, can run less again: what is never run again is in memory at once, all of it.

    `bound.least_rerun` over saved bytes, those of pinned layers aside: a lower bound on `extra_cost` for this budget.
    """
    free = [layer for layer in layers if not layer.pinned]
    room = budget - sum(layer.saved for layer in layers if layer.pinned)
    return least_rerun([layer.saved for layer in free], [layer.cost for layer in free], room)
