"""Schedules against every schedule there is, on small chains; counts at their edges; bad input."""

import itertools
import random
import time

import pytest

from torchstone import solve
from torchstone.core.errors import InvariantError, UsageError
from torchstone.laws.rematerialization import alike, level, nested, peak, recomputation
from torchstone.laws.rematerialization.chain import (
    Layer,
    Segment,
    checked,
    depth,
    extra_cost,
    extra_forwards,
    from_sizes,
    least_extra,
    stored,
)
from torchstone.laws.rematerialization.chain import peak as peak_of
from torchstone.laws.rematerialization.planning import planned, read_bytes, written


def chain(draw, count, *, same=False, pinned=False):
    found = []
    for place in range(count):
        entry, keeps = draw.randint(1, 9), draw.random() < 0.8
        saved = draw.randint(entry if keeps else 0, 40)
        sizes = (
            entry,
            0,
            saved,
            entry + max(saved - entry, 0) + draw.randint(0, 10),
            entry + draw.randint(0, 10),
            saved + draw.randint(0, 10),
        )
        found.append(
            Layer(str(place), *sizes, keeps_input=keeps, cost=draw.randint(1, 3), pinned=pinned and place in {0, count - 1})
        )
    if same:
        found = [found[0]] * count
    return [Layer(*(getattr(layer, name) if name != "output" else after for name in Layer.__dataclass_fields__))
            for layer, after in zip(found, [*(one.input for one in found[1:]), found[0].input], strict=True)]  # fmt: skip


def every_division(layers):
    count = len(layers)
    for cuts in itertools.chain.from_iterable(itertools.combinations(range(1, count), many) for many in range(count)):
        marks = [0, *cuts, count]
        pairs = list(itertools.pairwise(marks))
        for again in itertools.product((False, True), repeat=len(pairs)):
            parts = tuple(Segment(first, stop, again=one) for (first, stop), one in zip(pairs, again, strict=True))
            if not any(part.again and any(layer.pinned for layer in layers[part.first : part.stop]) for part in parts):
                yield parts


@pytest.mark.parametrize("seed", range(24))
def test_one_level_is_the_best_of_all_divisions(seed):
    draw = random.Random(seed)
    layers = chain(draw, draw.randint(1, 6), same=seed % 3 == 0, pinned=seed % 2 == 0)
    everything = [(peak_of(layers, parts), extra_cost(layers, parts)) for parts in every_division(layers)]
    low, parts = level.least_peak(layers)
    assert low == min(top for top, _ in everything) == peak_of(layers, checked(layers, parts))
    high = peak_of(layers, stored(layers))
    for budget in {high, high - 1, low, low - 1, (low + high) // 2, (3 * low + high) // 4}:
        fitting = [cost for top, cost in everything if top <= budget]
        found = level.optimum(layers, budget)
        assert (found is None) == (not fitting)
        if found is not None:
            checked(layers, found)
            assert peak_of(layers, found) <= budget
            assert extra_cost(layers, found) == min(fitting) >= least_extra(layers, budget)


@pytest.mark.parametrize("seed", range(12))
def test_the_closed_form_is_the_search(seed):
    draw = random.Random(seed)
    layers = chain(draw, draw.randint(2, 14), same=True)
    if alike.alike(layers) is None:
        pytest.skip("saves less than its input")
    for share in (1.0, 1.2, 1.6, 2.5):
        budget = int(level.least_peak(layers)[0] * share)
        one, other = level.optimum(layers, budget), level._search(layers, budget)
        assert extra_cost(layers, one) == extra_cost(layers, other)


@pytest.mark.parametrize("seed", range(16))
def test_nested_ones_keep_the_budget_and_are_no_worse_than_one_level(seed):
    draw = random.Random(seed)
    layers = chain(draw, draw.randint(2, 9), same=seed % 2 == 0, pinned=seed % 4 == 1)
    low, _ = level.least_peak(layers)
    for budget in (low, low + 7, low - 1, low * 4 // 5):
        found = nested.optimum(layers, budget)
        if found is None:
            continue
        checked(layers, found)
        assert peak_of(layers, found) <= budget
        assert extra_cost(layers, found) >= least_extra(layers, budget)
        if budget >= low and not nested.rounded(layers):
            assert extra_cost(layers, found) <= extra_cost(layers, level.optimum(layers, budget))


@pytest.mark.parametrize(("layers", "checkpoints"), [(1, 1), (2, 1), (12, 1), (30, 2), (60, 4), (90, 7)])
def test_nested_is_revolve_where_one_graph_fits(layers, checkpoints):
    found = nested.optimum([Layer("layer", 1, 0, 500, 500, 0, 500)] * layers, 500 + checkpoints)
    assert extra_forwards(found) == recomputation.revolve_forwards(layers, checkpoints)


def test_revolve_matches_its_recurrence():
    least = {(1, c): 0 for c in range(1, 6)}
    for n in range(2, 20):
        least[n, 1] = n * (n - 1) // 2
        for c in range(2, 6):
            least[n, c] = min(m + least[m, c] + least[n - m, c - 1] for m in range(1, n))
    assert all(recomputation.revolve_forwards(n, c) == found for (n, c), found in least.items())


def test_the_document_and_the_notes():
    assert recomputation.recomputed_forwards(10, 5) == 20
    assert peak.segment_peak([2] * 16, 0.5, 5, 3.5) == 21.0
    assert recomputation.revolve_forwards(1000, 31) == 2439
    assert peak.borders([2, 3, 1]) == [2, 5, 6]


def test_counts_at_their_edges():
    assert [
        recomputation.recomputed_forwards(4, spacing, reuse) for spacing, reuse in ((1, "nothing"), (9, "nothing"), (1, "graph"))
    ] == [0, 6, 4]
    assert recomputation.loads(7, 3, "segment") == 3
    for call in (
        lambda: recomputation.recomputed_forwards(0, 5), lambda: recomputation.loads(3, 0), lambda: recomputation.loads(3, 1, "all"),
        lambda: recomputation.break_even_load(1, 1, -1, 0), lambda: recomputation.revolve_forwards(5, 0), lambda: peak.segment_peak([], 1, 1),
        lambda: peak.equal_split_bound(-1, 1, 1), lambda: peak.even(3, 4), lambda: Layer("x", -1, 0, 0, 0, 0, 0),
        lambda: checked([Layer("x", 1, 1, 1, 1, 1, 1)] * 3, (Segment(0, 2),)), lambda: checked([], (Segment(1, 2),)),
        lambda: checked([Layer("x", 1, 1, 1, 1, 1, 1, pinned=True)], (Segment(0, 1, again=True),)),
    ):  # fmt: skip
        with pytest.raises(InvariantError):
            call()


def test_a_thousand_equal_layers_and_three_hundred_unequal_ones_are_planned():
    same = [Layer("block", 5, 5, 50, 60, 20, 70)] * 1000
    began = time.process_time()
    parts = level.optimum(same, 2000)
    seconds = time.process_time() - began
    assert peak_of(same, parts) <= 2000 and least_extra(same, 2000) <= extra_forwards(parts) < 1000
    assert seconds < 1
    unequal = chain(random.Random(0), 300)
    low, _ = level.least_peak(unequal)
    assert peak_of(unequal, level.optimum(unequal, 2 * low)) <= 2 * low
    assert peak_of(unequal, nested.optimum(unequal, low * 9 // 10)) <= low * 9 // 10


def test_plans_from_plain_numbers():
    plan = solve.memory(32, 20, boundary=1, saved=4)
    assert plan.strategy == "level" and plan.gap == 0 and "one level" in plan.proof and plan.depth == 1
    assert solve.memory(32, 200, saved=4).segments == (32,)
    tight = solve.memory(100, 14, boundary=1, saved=4)
    assert tight.strategy == "nested" and tight.depth == depth(tight.parts) > 1 and tight.predicted_peak <= 14
    even = solve.memory(32, 30, boundary=1, saved=4, strategy="uniform")
    assert even.parts == from_sizes(list(even.segments)) and not even.proof and even.gap == even.extra_cost - even.lower_bound >= 0
    with pytest.raises(UsageError, match=r"^5 B is too little: nested segments need about \d+ bytes"):
        solve.memory(100, 5, boundary=1, saved=9)
    with pytest.raises(UsageError, match="even segments need"):
        solve.memory(100, 5, boundary=1, saved=9, strategy="uniform")
    for call in (
        lambda: solve.memory(0, 5),
        lambda: solve.memory(3, 5, boundary=2, saved=1),
        lambda: planned((), 5),
        lambda: solve.memory(3, "5 parsecs"),
    ):
        with pytest.raises(UsageError):
            call()


def test_bytes_as_people_write_them():
    assert [read_bytes(text) for text in ("1kB", "1kiB", "2.5 MB", 7, "3tb")] == [1000, 1024, 2_500_000, 7, 3 * 10**12]
    assert written(1500) == "1.5 kB"
