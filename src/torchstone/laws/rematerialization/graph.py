"""A model of any data flow as a tree of module calls: what each call's inside keeps for the backward pass, and what its work is.

A schedule is a set of modules whose calls are run again in the backward pass; one such call may stand inside another. Time is
counted in operations, forwards and backwards each from 0; a storage is there from the operation that makes it until the last use.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from torchstone.laws.rematerialization.bound import least_rerun


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module: the call around it (-1: none, the model's own), its operations, their work, storages that came in."""

    module: str
    around: int
    start: int
    stop: int
    cost: int
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes made by an operation of the forward pass inside a call; gone from operation `dropped` on if nothing is kept."""

    size: int
    call: int
    made: int
    dropped: int
    cost: int = 0  # the work that made it, shared among what one operation made


@dataclass(frozen=True, slots=True)
class Saved:
    """A storage kept by an operation inside a call for the backward pass, which takes it at `taken` and lets go at `released`.

    `after` operations of the forward pass it was there to be kept.
    """

    storage: int
    call: int
    after: int
    taken: int
    released: int


@dataclass(frozen=True)
class Graph:
    """One forward and backward pass as observed.

    `works`: the work of each operation of the forward pass. `working`: bytes that the backward pass itself makes and holds, before
    each of its operations and during it. `refused`: modules that cannot be run again, and why. `state`: bytes that a call which is
    run again keeps for itself (random numbers' state).
    """

    calls: tuple[Call, ...]
    storages: tuple[Storage, ...]
    saved: tuple[Saved, ...]
    works: tuple[int, ...]
    working: tuple[tuple[int, int], ...]
    refused: dict[str, str]
    state: int = 0

    @property
    def cost(self) -> int:
        """Work of one forward pass."""
        return self.calls[0].cost

    @cached_property
    def modules(self) -> dict[str, tuple[int, ...]]:
        """Every module but the model itself that may be run again and keeps something that it makes, with all its calls."""
        found: dict[str, tuple[int, ...]] = {}
        for number, call in enumerate(self.calls):
            if call.around >= 0 and call.module not in self.refused:
                found[call.module] = (*found.get(call.module, ()), number)
        return {name: numbers for name, numbers in found.items() if any(self.least_again(number) for number in numbers)}

    @cached_property
    def costs(self) -> dict[str, int]:
        """The work of running all calls of each of these again."""
        return {name: sum(map(self.least_again, numbers)) for name, numbers in self.modules.items()}

    @cached_property
    def paths(self) -> tuple[tuple[int, ...], ...]:
        """For each call, the calls around it from the outermost one on, and itself."""
        found: list[tuple[int, ...]] = []
        for number, call in enumerate(self.calls):
            found.append((*(found[call.around] if call.around >= 0 else ()), number))
        return tuple(found)

    @cached_property
    def uses(self) -> dict[int, tuple[int, int]]:
        """For each call whose inside keeps something: when that is first taken, and when the last of it is released."""
        found: dict[int, tuple[int, int]] = {}
        for one in self.saved:
            for call in self.paths[one.call]:
                first, last = found.get(call, (one.taken, one.released))
                found[call] = min(first, one.taken), max(last, one.released)
        return found

    @cached_property
    def held(self) -> int:
        """Bytes of output and loss, which their caller holds."""
        return sum(one.size for one in self.storages if one.dropped >= self.calls[0].stop)

    @cached_property
    def insides(self) -> tuple[tuple[int, ...], ...]:
        """For each call, the bytes that its operations make and that are there after each of them if nothing is kept."""
        found = [[0] * (call.stop - call.start + 1) for call in self.calls]
        for one in self.storages:
            for number in self.paths[one.call]:
                call, changes = self.calls[number], found[number]
                changes[one.made - call.start] += one.size
                if one.dropped < call.stop:
                    changes[one.dropped - call.start] -= one.size
        return tuple(tuple(accumulate(changes[:-1])) for changes in found)

    @cached_property
    def done(self) -> tuple[int, ...]:
        """The work of the first operations: of none, of one, and so on."""
        return tuple(accumulate(self.works, initial=0))

    def least_again(self, call: int) -> int:
        """The work of running a call again: torch's checkpoint stops when all that the backward pass needs of it is there."""
        start = self.calls[call].start
        return self.done[self.lasts.get(call, start)] - self.done[start]

    @cached_property
    def lasts(self) -> dict[int, int]:
        """For each call whose inside keeps something: after how many operations the last of it is there."""
        found: dict[int, int] = {}
        for one in self.saved:
            for call in self.paths[one.call]:
                found[call] = max(found.get(call, 0), one.after)
        return found

    def least_rerun(self, budget: int) -> int:
        """No schedule of any kind runs less work again within so many bytes: `bound.least_rerun` over what is kept."""
        kept = {one.storage for one in self.saved}
        needed = [self.storages[number] for number in sorted(kept) if self.storages[number].dropped < self.calls[0].stop]
        return least_rerun([one.size for one in needed], [one.cost for one in needed], budget - self.held)

    def kept(self, module: str) -> int:
        """Bytes that the calls of a module keep for the backward pass, their inputs aside."""
        calls = set(self.modules[module])
        inputs = {number for call in calls for number in self.calls[call].inputs}
        found = {one.storage for one in self.saved if calls.intersection(self.paths[one.call])}
        return sum(self.storages[number].size for number in found - inputs)

    def rerun(self, modules: Collection[str]) -> int:
        """The work of calls that are run again, each as often as there are chosen calls around it and itself.

        Exact where no chosen call stands inside another; there the outer one may stop earlier.
        """
        return sum(self.costs[name] for name in modules)
