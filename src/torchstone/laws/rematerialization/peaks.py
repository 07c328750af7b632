"""What a set of modules that are run again does to memory, reckoned from one observed pass; and what is there at the peak.

A storage has one copy from the forward pass, and one from each run of a chosen call around the operation that made it. A level is
where operations save: the forward pass outside of all chosen calls (level 0), or the inside of a chosen call when it runs again.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import accumulate

from torchstone.laws.rematerialization.graph import Graph

Copy = tuple[int, int]  # a storage's number (-1 - call: the call's own state), and the level that it was made at


@dataclass
class Keeping:
    """A copy that is kept for the backward pass: its bytes, from when at its own level, until when, the calls that keep it.

    `here`: at its own level, and not only inside calls that are run again later.
    """

    size: int
    since: int
    until: int = 0
    here: bool = False
    holders: list[tuple[int, int]] = field(default_factory=list)  # (call, released)

    def hold(self, call: int, released: int) -> None:
        """One more use."""
        self.until = max(self.until, released)
        self.holders.append((call, released))


@dataclass(frozen=True)
class Moment:
    """The peak: its bytes, the chosen call that is running again then (0: none), when, and the copies kept, with who keeps them."""

    bytes: int
    again: int
    backward: int  # the backward pass' operation, or -1 in the forward pass
    copies: dict[Copy, tuple[int, list[int]]]


class Reckoned:
    """The peak of a schedule, `peak` in bytes, reckoned; `moment` says what is there then."""

    def __init__(self, graph: Graph, modules: Collection[str]) -> None:
        self.graph = graph
        self.chosen = {call for name in modules for call in graph.modules[name] if call in graph.uses}
        self.chains: list[tuple[int, ...]] = []  # the chosen calls around each call and itself
        for number, call in enumerate(graph.calls):
            before = self.chains[call.around] if call.around >= 0 else ()
            self.chains.append((*before, number) if number in self.chosen else before)
        self.copies: dict[Copy, Keeping] = {}
        self.levels: dict[int, list[Copy]] = defaultdict(list)  # what is kept at a level when its operations run
        self._keep()
        self.peak, self._where = self._peak()

    def level(self, call: int) -> int:
        """Where a call's own operations save."""
        return self.chains[call][-1] if self.chains[call] else 0

    def _keep(self) -> None:
        for one in self.graph.saved:
            self._hold(one.storage, one.call, one.call, one.released)
        for call in sorted(self.chosen):
            around, (_, released) = self.graph.calls[call].around, self.graph.uses[call]
            for storage in self.graph.calls[call].inputs:
                self._hold(storage, around, call, released)
            state = -1 - call, self.level(around)
            self.copies[state] = Keeping(self.graph.state, self.graph.calls[call].start)
            self._held(state, call, released)

    def _hold(self, storage: int, where: int, holder: int, released: int) -> None:
        """Operations of call `where` keep a storage; `holder` is the call because of which."""
        made = self.graph.storages[storage]
        ours, theirs = self.chains[where], self.chains[made.call]
        common = sum(1 for one, other in zip(ours, theirs, strict=False) if one == other)
        home = ours[common - 1] if common else 0
        copy = storage, home
        if copy not in self.copies:
            self.copies[copy] = Keeping(made.size, made.dropped)
        if (ours[-1] if ours else 0) == home:
            self._held(copy, holder, released)
        else:
            self.copies[copy].hold(holder, released)

    def _held(self, copy: Copy, holder: int, released: int) -> None:
        """The same, at the copy's own level."""
        keeping = self.copies[copy]
        if not keeping.here:
            keeping.here = True
            self.levels[copy[1]].append(copy)
        keeping.hold(holder, released)

    def _peak(self) -> tuple[int, tuple[int, int, int]]:
        """The most bytes, and where: (chosen call or 0, the forward operation or -1, the backward operation or -1)."""
        graph, stop = self.graph, self.graph.calls[0].stop
        forward = self._inside(0)
        most = max(range(len(forward)), key=forward.__getitem__, default=-1)
        best, where = (forward[most], (0, most, -1)) if forward else (0, (0, -1, -1))
        changes = [0] * (len(graph.working) + 1)
        began: dict[int, list[int]] = defaultdict(list)
        for call in sorted(self.chosen, key=lambda call: (graph.uses[call][0], call)):
            began[graph.uses[call][0]].append(call)
        fresh: dict[int, int] = defaultdict(int)  # bytes kept at a level
        for (storage, home), keeping in self.copies.items():
            if home == 0 and storage >= 0 and graph.storages[storage].dropped >= stop:
                continue  # the caller holds it anyway
            since = graph.uses[home][0] if home else 0
            if keeping.until > since:
                changes[since] += keeping.size
                changes[min(keeping.until, len(graph.working))] -= keeping.size
                fresh[home] += keeping.size
        for place, (kept, (before, during)) in enumerate(zip(accumulate(changes), graph.working, strict=False)):
            total = kept + graph.held
            now = total - sum(fresh[call] for call in began.get(place, ()))
            for call in began.get(place, ()):
                inside = self._inside(call)
                local = max(range(len(inside)), key=inside.__getitem__, default=0)
                if inside and now + before + inside[local] > best:
                    best, where = now + before + inside[local], (call, local, place)
                now += fresh[call]
            if total + during > best:
                best, where = total + during, (0, -1, place)
        return best, where

    def _inside(self, level: int) -> list[int]:
        """Bytes made and kept while a call's operations run."""
        call, inside = self.graph.calls[level], self.graph.insides[level]
        changes = [0] * (len(inside) + 1)
        for copy in self.levels[level]:
            keeping = self.copies[copy]
            if keeping.since < call.stop:
                changes[max(keeping.since - call.start, 0)] += keeping.size
        return [one + more for one, more in zip(inside, accumulate(changes), strict=False)]

    @property
    def moment(self) -> Moment:
        """What is kept at the peak."""
        again, local, backward = self._where
        graph, found = self.graph, dict[Copy, tuple[int, list[int]]]()
        for copy, keeping in self.copies.items():
            home = copy[1]
            if home == again and (again or backward < 0):
                there = keeping.here and keeping.since - graph.calls[again].start <= local
            elif backward < 0:
                there = False
            else:
                there = (graph.uses[home][0] if home else 0) <= backward < keeping.until
            holders = [call for call, released in keeping.holders if released > backward]
            if there and holders:
                found[copy] = keeping.size, holders
        return Moment(self.peak, again, backward, found)
