"""Bounds against every choice there is, on small instances; flows; the search on graphs made by hand."""

import itertools
import random

import pytest

from torchstone.core.errors import InvariantError
from torchstone.laws.rematerialization.bound import least_rerun
from torchstone.laws.rematerialization.covering import Cover, Flow, least_extra
from torchstone.laws.rematerialization.graph import Call, Graph, Saved, Storage
from torchstone.laws.rematerialization.peaks import Reckoned
from torchstone.laws.rematerialization.search import search


def subsets(things):
    return itertools.chain.from_iterable(itertools.combinations(things, count) for count in range(len(things) + 1))


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_of_storages_is_below_the_bound(seed):
    draw = random.Random(seed)
    sizes, costs = [draw.randint(0, 9) for _ in range(7)], [draw.randint(0, 9) for _ in range(7)]
    for room in (-3, 0, draw.randint(1, 30), sum(sizes)):
        best = min(
            (sum(costs) - sum(costs[one] for one in kept)
             for kept in subsets(range(7)) if sum(sizes[one] for one in kept) <= max(room, 0)),
        )  # fmt: skip
        found = least_rerun(sizes, costs, room)
        assert found <= best <= found + max(costs)
    assert least_rerun(sizes, costs, sum(sizes)) == 0


def test_sizes_and_costs_go_together():
    assert least_rerun([], [], 0) == 0
    for call in (lambda: least_rerun([1], [], 0), lambda: least_rerun([-1], [1], 0), lambda: Cover((1,), (), (-1,), (None,))):
        with pytest.raises(InvariantError):
            call()


def drawn_cover(draw):
    around = [-1]
    while len(around) < 7:
        around.append(draw.randrange(len(around)))
    own = [draw.randint(1, 9) for _ in around]
    costs = [sum(own[one] for one in range(7) if place in path(around, one)) for place in range(7)]
    costs = [None, *(None if draw.random() < 0.15 else cost for cost in costs[1:])]
    count = draw.randint(1, 6)
    keepers = tuple(tuple(draw.choices(range(7), k=draw.randint(1, 3))) for _ in range(count))
    return Cover(tuple(draw.randint(1, 9) for _ in range(count)), keepers, tuple(around), tuple(costs))


def path(around, call):
    found = [call]
    while around[found[-1]] >= 0:
        found.append(around[found[-1]])
    return found


@pytest.mark.parametrize("seed", range(40))
def test_no_set_of_calls_is_below_the_bound(seed):
    cover = drawn_cover(random.Random(seed))
    free = [call for call in range(1, 7) if cover.costs[call] is not None]
    everything = []
    for chosen in map(set, subsets(free)):
        kept = sum(
            size for size, keepers in zip(cover.sizes, cover.keepers, strict=True)
            if not all(chosen.intersection(path(cover.around, one)) for one in keepers)
        )  # fmt: skip
        outer = [one for one in chosen if not chosen.intersection(path(cover.around, one)[1:])]
        everything.append((kept, sum(cover.costs[one] for one in outer)))
    for room in range(-1, sum(cover.sizes) + 1):
        fitting = [cost for kept, cost in everything if kept <= room]
        bound = cover.bound(room)
        assert (bound is None) == (not fitting)
        if fitting:
            assert 0 <= bound <= min(fitting)
    lowest = min(kept for kept, _ in everything)
    assert cover.bound(lowest) == min(cost for kept, cost in everything if kept == lowest)  # nothing is relaxed at the end


def test_a_flow_is_a_least_cut():
    flow = Flow()
    one, other = flow.node(), flow.node()
    for edge in ((0, one, 3), (0, other, 2), (one, other, 5), (one, 1, 2), (other, 1, 4)):
        flow.edge(*edge)
    assert flow.fill() == {0}
    assert flow.left[0] == flow.left[2] == 0


def branches(sizes, costs):
    """Modules side by side, each of which makes and keeps one storage; the backward pass takes them from last to first."""
    count = len(sizes)
    calls = [Call("", -1, 0, count, sum(costs))]
    calls += [Call(f"m{place}", 0, place, place + 1, cost) for place, cost in enumerate(costs)]
    storages = [Storage(size, place + 1, place, place + 1, costs[place]) for place, size in enumerate(sizes)]
    saved = [Saved(place, place + 1, place + 1, count - 1 - place, count - place) for place in range(count)]
    return Graph(tuple(calls), tuple(storages), tuple(saved), tuple(costs), ((0, 0),) * count, {})


@pytest.mark.parametrize("seed", range(12))
def test_the_search_finds_nearly_the_best_of_all_sets(seed):
    draw = random.Random(seed)
    sizes, costs = [draw.randint(1, 20) for _ in range(8)], [draw.randint(1, 20) for _ in range(8)]
    graph = branches(sizes, costs)

    def measure(modules):
        return Reckoned(graph, modules).peak, graph.rerun(modules)

    everything = [measure(modules) for modules in subsets(list(graph.modules))]
    low, high = min(peak for peak, _ in everything), sum(sizes)
    assert measure(())[0] == high
    for budget in {low, (2 * low + high) // 3, (low + high) // 2, high - 1, high}:
        best = min(cost for peak, cost in everything if peak <= budget)
        found, _ = search(graph, budget, measure)
        assert found.peak <= budget
        assert graph.least_rerun(budget) <= least_extra(graph, budget) <= best <= found.extra <= 1.5 * best
    found, least = search(graph, low - 1, measure)
    assert found is None and least.peak == low


def test_a_copy_is_counted_once_and_a_nested_call_keeps_what_comes_in():
    # A call makes 10 bytes, which a call inside it takes to make and keep 20; both keep the 10.
    calls = (Call("", -1, 0, 2, 9), Call("outer", 0, 0, 2, 9), Call("outer.inner", 1, 1, 2, 4, inputs=(0,)))
    storages = (Storage(10, 1, 0, 2, 5), Storage(20, 2, 1, 2, 4))
    saved = (Saved(0, 1, 1, 1, 2), Saved(0, 2, 1, 0, 1), Saved(1, 2, 2, 0, 1))
    graph = Graph(calls, (storages[0], storages[1]), saved, (5, 4), ((0, 0), (0, 0)), {})
    assert graph.held == 30  # the caller holds what is not dropped
    dropped = tuple(Storage(one.size, one.call, one.made, 1 + (one.size == 20), one.cost) for one in storages)
    calls = (Call("", -1, 0, 3, 9), *calls[1:])
    graph = Graph(calls, dropped, saved, (5, 4, 0), ((0, 0), (0, 0)), {})
    sets = ((), ("outer",), ("outer.inner",), ("outer", "outer.inner"))
    assert {Reckoned(graph, names).peak for names in sets} == {30}
    assert Reckoned(graph, ("outer.inner",)).copies[0, 0].size == 10
    assert set(Reckoned(graph, ("outer", "outer.inner")).copies) == {(0, 1), (1, 2), (-2, 0), (-3, 1)}
    assert graph.costs == {"outer": 9, "outer.inner": 4} and graph.rerun(["outer", "outer.inner"]) == 13
