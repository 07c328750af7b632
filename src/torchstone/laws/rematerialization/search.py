"""Which modules of any model are run again within a budget: the best set that a search finds, each promising one measured.

Greedy: at the peak of what has been chosen so far, the module that frees the most of what is too much for its work comes next. Then
what is not needed any more goes, and a module is exchanged where another costs less. Large modules free much and take much room
when they run again: so the search runs several times, with modules of at most half as much work each time, and with those of one
depth. Nothing is proven best; `covering.least_extra` and `Graph.least_rerun` are bounds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torchstone.laws.rematerialization.graph import Graph
from torchstone.laws.rematerialization.peaks import Moment, Reckoned

Chosen = frozenset[str]
Measure = Callable[[Chosen], tuple[int, int]]
_HALVINGS = 7  # below a hundredth of the model's work a module is chosen beside others of its size anyway
_ROUNDS = 4  # measured peaks correct reckoned ones; they are a few percent apart, so that one round is the rule
_MEASURED = 3  # schedules that are measured in a round
_EXCHANGED = 24  # exchanges that are reckoned for a schedule


@dataclass(frozen=True)
class Found:
    """A set of modules that are run again, with its measured peak in bytes and its measured extra work."""

    modules: Chosen
    peak: int
    extra: int


@dataclass
class _Search:
    graph: Graph
    measure: Measure
    known: dict[Chosen, Found]
    peaks: dict[Chosen, int]

    def measured(self, modules: Chosen) -> Found:
        if modules not in self.known:
            self.known[modules] = Found(modules, *self.measure(modules))
        return self.known[modules]

    def reckoned(self, modules: Chosen) -> int:
        if modules not in self.peaks:
            self.peaks[modules] = Reckoned(self.graph, modules).peak
        return self.peaks[modules]


def search(graph: Graph, budget: int, measure: Measure) -> tuple[Found | None, Found]:
    """A schedule with a measured peak of at most `budget` bytes and as little extra work as is found, or None; and the least peak.

    `measure`: modules' names to the peak in bytes and the extra work of a pass that runs them again.
    """
    run = _Search(graph, measure, {}, {})
    plain = run.measured(frozenset())
    if plain.peak <= budget:
        return plain, plain
    best: Found | None = None
    target = budget
    for _ in range(_ROUNDS):
        sets = sorted(_all_ways(run, target), key=lambda one: (graph.rerun(one), sorted(one)))
        tried: list[Found] = []
        for modules in sets[:_MEASURED]:
            tried.append(run.measured(modules))
            if tried[-1].peak <= budget:  # what comes later costs more
                best = tried[-1]
                break
        over = min((one.peak - run.reckoned(one.modules) for one in tried), default=0)
        if best is not None or not tried or budget - over >= target:
            break
        target = budget - over
    if best is None:
        low = _lowest(run)
        return (_fewer(run, low, budget), low) if low.peak <= budget else (None, low)
    return _fewer(run, best, budget), best


def _fewer(run: _Search, found: Found, budget: int) -> Found:
    """Modules left out, one after another, where a measurement says that the rest is enough: the costliest first."""
    for name in sorted(found.modules, key=lambda name: (-run.graph.costs[name], name))[:_MEASURED]:
        less = found.modules - {name}
        if run.reckoned(less) <= budget + (found.peak - run.reckoned(found.modules)):
            other = run.measured(less)
            found = other if other.peak <= budget and other.extra <= found.extra else found
    return found


def _lowest(run: _Search) -> Found:
    """About the least peak: the lowest of all that greedy searches pass by, a few of them measured."""
    passed = {modules for field in _fields(run.graph) for modules in _greedy(run, 0, field)}
    low = sorted(passed, key=lambda one: (run.reckoned(one), run.graph.rerun(one), sorted(one)))[:_MEASURED]
    lowest = {_pruned(run, one, run.reckoned(one)) for one in low}
    found = [run.measured(one) for one in sorted(lowest, key=sorted)]
    return min(found, key=lambda one: (one.peak, one.extra), default=run.measured(frozenset()))


def _fields(graph: Graph) -> list[Chosen]:
    """Modules that a search may choose from: those of at most so much work, and those of one depth."""
    largest = max(graph.costs.values(), default=0)
    limits = dict.fromkeys(largest >> halving for halving in range(_HALVINGS))
    depths: dict[int, set[str]] = defaultdict(set)
    for name, calls in graph.modules.items():
        depths[len(graph.paths[calls[0]])].add(name)
    small = [frozenset(name for name, cost in graph.costs.items() if cost <= limit) for limit in limits]
    return list(dict.fromkeys([*small, *(frozenset(names) for _, names in sorted(depths.items()))]))


def _all_ways(run: _Search, target: int) -> set[Chosen]:
    """What the greedy searches end with where that fits, improved."""
    found = set()
    for field in _fields(run.graph):
        *_, last = _greedy(run, target, field)
        if run.reckoned(last) <= target:
            found.add(_improved(run, _pruned(run, last, target), target))
    return found


def _greedy(run: _Search, target: int, field: Chosen) -> Iterator[Chosen]:
    """Sets of modules, each with one more than the one before or one less, until the reckoned peak fits or nothing helps."""
    chosen: Chosen = frozenset()
    open_to = set(field)
    while True:
        yield chosen
        state = Reckoned(run.graph, chosen)
        run.peaks[chosen] = state.peak
        if state.peak <= target:
            return
        moment = state.moment
        gains = _gains(run.graph, state, moment)
        need = state.peak - target
        best = max(
            (name for name, gain in gains.items() if gain > 0 and name in open_to - chosen),
            key=lambda name: (min(gains[name], need) / run.graph.costs[name], gains[name], name),
            default=None,
        )
        if best is not None:
            chosen |= {best}
        elif moment.again:  # the module that is run again takes too much then: smaller ones in its place
            name = run.graph.calls[moment.again].module
            open_to.discard(name)
            chosen -= {name}
        else:
            return


def _gains(graph: Graph, state: Reckoned, moment: Moment) -> dict[str, int]:
    """Bytes that each module would free at the peak if it were run again too."""
    freed: dict[int, int] = defaultdict(int)
    for (_, home), (size, holders) in moment.copies.items():
        if not holders:
            continue
        paths = [graph.paths[call] for call in holders]
        shared = set(paths[0]).intersection(*paths[1:])
        for call in shared:
            if call and call not in state.chosen and home in (0, *graph.paths[call][:-1]) and call in graph.uses:
                late = moment.backward < 0 or graph.uses[call][0] > moment.backward or home == moment.again != 0
                freed[call] += size * late
    gains: dict[str, int] = defaultdict(int)
    for call, size in freed.items():
        home = state.level(call)
        inputs = sum(graph.storages[one].size for one in graph.calls[call].inputs if (one, home) not in moment.copies)
        gains[graph.calls[call].module] += size - inputs - graph.state
    return {name: gain for name, gain in gains.items() if name in graph.modules}


def _pruned(run: _Search, chosen: Chosen, target: int) -> Chosen:
    """Without what is not needed, the costliest first."""
    for name in sorted(chosen, key=lambda name: (-run.graph.costs[name], name)):
        if run.reckoned(chosen - {name}) <= target:
            chosen -= {name}
    return chosen


def _improved(run: _Search, chosen: Chosen, target: int) -> Chosen:
    """One module exchanged for another of less work, as long as that fits."""
    left, better = _EXCHANGED, True
    while better and left > 0:
        better = False
        for out, into in _exchanges(run, chosen, target):
            left -= 1
            other = chosen - {out} | {into}
            if run.reckoned(other) <= target:
                chosen, better = _pruned(run, other, target), True
                break
            if left <= 0:
                break
    return chosen


def _exchanges(run: _Search, chosen: Chosen, target: int) -> Iterator[tuple[str, str]]:
    """Pairs worth a try: without the one, the other frees enough at the peak by itself, and costs less; the cheapest first."""
    pairs = []
    for out in chosen:
        state = Reckoned(run.graph, chosen - {out})
        need = state.peak - target
        for into, gain in _gains(run.graph, state, state.moment).items():
            if into not in chosen and gain >= need and run.graph.costs[into] < run.graph.costs[out]:
                pairs.append((run.graph.costs[into] - run.graph.costs[out], out, into))
    for _, out, into in sorted(pairs):
        yield out, into
