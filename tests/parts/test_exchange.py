"""Exchange between real processes and within one: what they leave, what they refuse, and how they fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from torchstone.core.errors import InvariantError, UsageError
from torchstone.laws.exchange import Scheme
from torchstone.laws.exchange.network import Network, run
from torchstone.laws.exchange.schedule import Receive, Send, Step
from torchstone.parts import exchange
from torchstone.parts.exchange.processes import Job, count

WORKERS = Path(__file__).with_name("exchange_workers.py")


def workers(case, ranks):
    done = subprocess.run([sys.executable, str(WORKERS), case, str(ranks)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["hung"] == 0
    return found["ranks"]


@pytest.fixture(scope="module")
def three():
    return workers("all_good", 3)


def test_between_processes_it_is_bit_for_bit_what_it_is_within_one(three):
    assert [one["same"] for one in three] == [[]] * 3


def test_any_strides_leaves_and_scalars(three):
    assert [one["shapes"] for one in three] == [[True] * 3] * 3


def test_two_halves_make_a_whole_and_a_server_may_stand_apart(three):
    assert [one["halves"] for one in three] == [[True] * 3] * 3


def test_a_group_has_its_own_ranks(three):
    assert three[0]["groups"][0][0] == "UsageError" and "does not belong to the group" in three[0]["groups"][0][1]
    assert [one["groups"][1] for one in three] == [[0.0], [3.0], [3.0]]


def test_every_rank_is_told_what_is_wrong_on_one(three):
    said = [one["refused"][0] for one in three]
    assert all(kind == "UsageError" for one in said for kind, _ in one)
    for rank in range(3):
        size, dtype, scheme, whole, reduction, truth, listed, never, typo, sparse, repeats = (text for _, text in said[rank])
        assert "ring of 6 x float32, mean on rank 1" in size and "give the same scheme, size, dtype and reduction everywhere" in size
        assert "float64" in dtype and "tree of 5" in scheme
        assert "whole numbers have no mean" in whole and ("rank 1 could not begin" in whole) == (rank != 1)
        assert "'mean' or 'sum'; 'median' came" in reduction
        assert "torch.bool" in truth and "a tensor is exchanged; list came" in listed and "seconds above 0; 0 came" in never
        assert "did you mean 'ring'?" in typo and "sparse_coo" in sparse
        assert "whose numbers repeat (expand) came: they cannot be written; clone it" in repeats


def test_what_is_refused_changes_nothing_and_the_group_goes_on(three):
    assert [one["refused"][1:] for one in three] == [[True, True]] * 3


def test_hooks_leave_what_ddp_leaves(three):
    for one in three:
        for scheme, worst, buckets, messages in one["hooks"]:
            assert worst < 1e-6, f"{scheme}: {worst}"
            assert buckets >= 3 and messages > 0


def errors(found):
    return [one for one in found if one is not None]


def test_who_does_not_come_is_named():
    for kind, text, seconds in errors(workers("never_comes", 3)):
        assert kind == "ExchangeError" and text.startswith("rank 1 did not come to the exchange within 1 s")
        assert seconds < 2


def test_who_dies_is_named():
    found = errors(workers("dies", 3))
    assert len(found) == 2
    for kind, text, seconds in found:
        assert kind == "ExchangeError" and "rank 2 died or hung" in text and "start all workers anew" in text
        assert seconds < 5


@pytest.mark.slow
def test_who_hangs_is_named_by_those_who_do_not_wait_for_it_too():
    found = errors(workers("hangs", 4))
    assert len(found) == 3
    for kind, text, seconds in found:
        assert kind == "ExchangeError" and "rank 1 died or hung" in text
        assert seconds < 5


@pytest.mark.slow
def test_a_backward_pass_raises_where_a_worker_died():
    found = errors(workers("dies_in_backward", 3))
    assert len(found) == 2
    assert all("rank 2 died or hung" in text for _, text, _ in found)


@pytest.mark.slow
def test_the_death_of_who_keeps_the_store_ends_it():
    for kind, text, seconds in errors(workers("keeper_dies", 3)):
        assert kind == "ExchangeError" and ("store" in text or "rank 0" in text)
        assert seconds < 5


def test_processes_are_counted_by_the_profiler_as_by_us():
    for one in count([Job("ring", 3, 10), Job("separate_server", 2, 10)]):
        assert one.messages == one.own_count == {"ring": 12, "separate_server": 4}[one.job.scheme]
        assert one.error < 1e-5


def test_processes_that_fail_are_told():
    with pytest.raises(exchange.ExchangeError, match="no exchange scheme is named 'rign'"):
        count([Job("rign", 2, 10)])


def test_without_a_process_group_it_says_what_to_do():
    with pytest.raises(UsageError, match=r"no process group: start with torchrun and call torch\.distributed\.init_process_group"):
        exchange.ring_all_reduce(torch.ones(3))


@pytest.mark.parametrize("scheme", ["reduce_scatter", "all_gather", "separate_server"])
def test_a_hook_needs_the_whole_mean_on_every_worker(scheme):
    with pytest.raises(UsageError, match="not every worker has the mean"):
        exchange.ddp_hook(scheme)


def test_a_hook_is_told_at_once_that_its_timeout_is_none():
    with pytest.raises(UsageError, match="seconds above 0; -1 came"):
        exchange.ddp_hook("ring", timeout=-1)


@pytest.mark.parametrize("scheme", Scheme)
def test_one_worker_sends_nothing(scheme):
    if scheme is Scheme.SEPARATE_SERVER:
        with pytest.raises(UsageError, match="needs a worker beside it"):
            exchange.in_process(scheme, torch.ones(1, 4))
        return
    ran = exchange.in_process(scheme, torch.ones(1, 4))
    assert ran.messages == 0 and (ran.rows == 1).all()


def test_half_precision_does_not_overflow_before_it_is_divided():
    ran = exchange.in_process("ring", torch.full((4, 5), 30000.0, dtype=torch.float16))
    assert (ran.rows == 30000).all()


def test_a_schedule_whose_messages_do_not_meet_is_refused():
    lost = [iter([Step(sends=(Send(1, 0, 3),))]), iter([])]
    with pytest.raises(InvariantError, match=r"\(0, 1\)\] \(from, to\) only one end takes part"):
        run(Network(), lost)
    unequal = [iter([Step(sends=(Send(1, 0, 3),))]), iter([Step(receives=(Receive(0, 0, 2, adds=True),))])]
    with pytest.raises(InvariantError, match="rank 0 sends 3 numbers and 1 expects 2"):
        run(Network(), unequal)
