"""Layers that are all alike: their best division into one level of segments, in closed form.

Of two neighbours, a stored layer and a checkpointed segment, the segment can stand first without needing more room (a layer saves
at least its input, and a segment needs at least what one of its layers stored needs): so what is stored stands last. Each
further segment leaves less to be stored, so the fewest segments that suffice, each as large as it can be, run the fewest
layers again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from torchstone.laws.rematerialization.chain import Layer, Parts, Segment


@dataclass(frozen=True, slots=True)
class Alike:
    """A chain of `length` layers: pinned ones, `count` of one kind from place `head` on, pinned ones.

    Before the run `before` bytes are kept. Storing what stands before it needs `needs` bytes, what stands after it `ends`.
    """

    layer: Layer
    head: int
    count: int
    length: int
    before: int
    needs: int
    ends: int

    def inside(self, budget: int, held: int) -> int:
        """How many layers a segment can hold that is run again and stored then, with `held` bytes kept before it."""
        one, room = self.layer, budget - self.before - held
        over = room - one.apart - max(one.output + one.forward, one.backward)
        if over < 0 or room < one.dropped:
            return 0
        return over // one.saved + 1 if one.saved else self.count

    def last(self, budget: int, held: int) -> int:
        """How many layers can be stored at the end; -1 if not even what comes after them fits."""
        one, room = self.layer, budget - self.before - held
        if room < self.ends:
            return -1
        if room < one.alone:
            return 0
        if not one.saved:
            return self.count
        return min((room - one.alone) // one.saved + 1, (room - self.ends) // one.saved)

    def divided(self, budget: int) -> Parts | None:
        """The division of least cost with a peak of at most `budget` bytes; None if there is none."""
        if self.needs > budget:
            return None
        sizes: list[int] = []
        left, held = self.count, 0
        while True:
            kept = self.last(budget, held)
            if kept >= left:
                return self.parts(_trimmed(sizes, kept - left))
            size = min(self.inside(budget, held), left)
            if kept < 0 or size < 1:
                return None
            sizes.append(size)
            left -= size
            held += self.layer.input

    def parts(self, sizes: Sequence[int]) -> Parts:
        """Checkpointed segments of these sizes at the run's beginning; everything else is stored."""
        ends = list(accumulate(sizes, initial=self.head))
        again = tuple(Segment(end - size, end, again=True) for end, size in zip(ends[1:], sizes, strict=True))
        front = (Segment(0, self.head),) if self.head and again else ()
        place = ends[-1] if again else 0
        return (*front, *again, *((Segment(place, self.length),) if place < self.length else ()))


def _trimmed(sizes: list[int], spare: int) -> list[int]:
    """Room for more stored layers than are left over: segments, the last ones first, give them up."""
    for place in range(len(sizes) - 1, -1, -1):
        given = min(spare, sizes[place] - 1)
        sizes[place] -= given
        spare -= given
    return sizes


def alike(layers: Sequence[Layer]) -> Alike | None:
    """The chain as one run of layers of a kind, if it is one; None if not, or if a layer saves less than its input."""
    head, stop = 0, len(layers)
    while head < stop and layers[head].pinned:
        head += 1
    while stop > head and layers[stop - 1].pinned:
        stop -= 1
    if head == stop or layers[head].saved < layers[head].input:
        return None
    first, kind = layers[head], layers[head].kind
    for layer in layers[head:stop]:
        if layer is not first and layer.kind != kind:
            return None
    front = layers[:head]
    before = sum(layer.saved for layer in front)
    return Alike(first, head, stop - head, len(layers), before, storing(front), storing(layers[stop:]))


def storing(layers: Sequence[Layer]) -> int:
    """The room that storing all of these layers needs."""
    needs = 0
    for layer in reversed(layers):
        needs = max(layer.alone, layer.saved + needs)
    return needs
