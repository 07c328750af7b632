"""Exchange laws against schedules summed in an obvious way, for any sizes; and what they refuse."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchstone.core.errors import InvariantError, UsageError
from torchstone.laws.exchange import Scheme, cost, counts, results
from torchstone.laws.exchange.network import Network, run
from torchstone.laws.exchange.schedule import schedule
from torchstone.laws.exchange.scheme import part, scheme_named

SIZES = {"scheme": st.sampled_from(list(Scheme)), "workers": st.integers(1, 20), "parameters": st.integers(1, 100)}


def ranks(scheme, workers, parameters):
    nodes = workers + (scheme is Scheme.SEPARATE_SERVER)
    return [list(schedule(scheme, rank, nodes, parameters)) for rank in range(nodes)]


@given(**SIZES)
@settings(max_examples=150, deadline=None)
def test_counts_are_those_of_the_schedules(scheme, workers, parameters):
    sent = [[one.stop - one.start for step in steps for one in step.sends] for steps in ranks(scheme, workers, parameters)]
    sizes = [size for one in sent for size in one]
    arguments = (scheme.value, workers, parameters)
    assert counts.messages(*arguments) == len(sizes)
    assert counts.volume(*arguments) == sum(sizes)
    assert counts.busiest_volume(*arguments) == max(map(sum, sent))
    assert counts.message_sizes(*arguments) == (min(sizes, default=0), max(sizes, default=0))
    if scheme.whole and scheme is not Scheme.SEPARATE_SERVER:
        assert counts.busiest_volume(*arguments) >= counts.least_volume(workers, parameters)


@given(**SIZES, latency=st.floats(0, 10), per_number=st.floats(0, 10))
@settings(max_examples=100, deadline=None)
def test_seconds_are_those_of_the_clock(scheme, workers, parameters, latency, per_number):
    nodes = workers + (scheme is Scheme.SEPARATE_SERVER)
    programs = [schedule(scheme, rank, nodes, parameters) for rank in range(nodes)]
    ended = max(run(Network(latency, per_number), programs))
    assert cost.seconds(scheme.value, workers, parameters, latency, per_number) == pytest.approx(ended, rel=1e-9)


@given(parts=st.integers(1, 30), numbers=st.integers(0, 100))
def test_parts_cover_the_buffer_and_differ_by_one_at_most(parts, numbers):
    cut = [part(index, parts, numbers) for index in range(parts)]
    assert cut[0][0] == 0 and cut[-1][1] == numbers
    assert all(one[1] == other[0] for one, other in pairwise(cut))
    sizes = {stop - start for start, stop in cut}
    assert max(sizes) - min(sizes) <= 1


def test_the_documents_counts():
    assert [counts.messages("all_to_all", n, 60) for n in (2, 3, 4)] == [2, 6, 12]
    assert [counts.messages("separate_server", n, 60) for n in (2, 3, 4)] == [4, 6, 8]
    assert [counts.messages("ring", n, 60) for n in (2, 3, 4)] == [4, 12, 24]
    assert counts.message_sizes("ring", 4, 60) == (15, 15)


@pytest.mark.parametrize("call", [
    lambda: counts.messages("ring", 0, 5), lambda: counts.volume("ring", 2, 0), lambda: counts.steps("rign", 2),
    lambda: counts.least_volume(0, 1), lambda: cost.seconds("ring", 2, 2, -1.0, 0.0), lambda: cost.seconds("ring", 2, 2, 0.0, float("inf")),
    lambda: results.average([]), lambda: results.average([[1.0], [1.0, 2.0]]), lambda: results.distinct_results(0),
])
def test_what_cannot_be_is_refused(call):
    with pytest.raises(InvariantError, match=r"came|named"):
        call()


def test_a_scheme_misspelt_is_guessed():
    with pytest.raises(UsageError, match="did you mean 'halving_doubling'"):
        scheme_named("halving_doublin")
