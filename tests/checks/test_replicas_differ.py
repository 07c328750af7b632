"""Replicas that differ, on recordings written by hand."""

import pytest

from checks.recordings import LINE, only_finding, recording, verdicts
from torchstone.checks.replication import replicas_differ as check
from torchstone.core.events import ParameterSeen, ReplicaState
from torchstone.core.evidence import Verdict

HOLDS, BROKEN, UNDECIDED = Verdict.HOLDS, Verdict.BROKEN, Verdict.UNDECIDED
NAMES = (ParameterSeen(0, ("net.weight",)), ParameterSeen(1, ("net.bias",)))


def state(step=0, rank=0, digests=(1, 2), gradients=(5, 6), ranks=(0, 1), wrapped=True, **others):
    return ReplicaState(
        step, rank, 0, ranks, (0, 1), digests, gradients, LINE, wrapped=wrapped, wrappers=int(wrapped), called=others.pop("called", True), **others
    )


def both(step, one=(1, 2), other=None, gradients=((5, 6), (5, 6)), **others):
    digests = (one, one if other is None else other)
    return [state(step, rank, digests[rank], gradients[rank], **others) for rank in (0, 1)]


def of(*moments):
    return recording(*NAMES, *(each for moment in moments for each in moment))


def reasons(recorded):
    return [evidence.reason for evidence in check.hold(recorded)]


def test_equal_ranks_hold_and_one_process_holds_nothing():
    assert verdicts(check, of(both(0), both(1, (3, 4)))) == [HOLDS, HOLDS]
    assert verdicts(check, recording(*NAMES)) == []
    assert verdicts(check, recording(state(ranks=(0,)))) == []


def test_ranks_that_part_are_broken_from_there_on():
    assert verdicts(check, of(both(0), both(1, (3, 4), (3, 5)), both(2, (7, 8), (9, 9)))) == [HOLDS, BROKEN, BROKEN]


def test_a_missing_rank_is_undecided_only_where_the_others_agree():
    assert reasons(recording(state())) == ["nothing came from rank 1"]
    three = [state(0, rank, (rank, 2), ranks=(0, 1, 2)) for rank in (0, 1)]
    assert verdicts(check, recording(*three)) == [BROKEN]


@pytest.mark.parametrize(("others", "reason"), [
    ({"sharded": True}, "parameters are spread over the ranks"), ({"hook": "post_localSGD_hook"}, "gradients go through post_localSGD_hook"),
    ({"wrapped": False, "gradients": ((5, 6), (7, 8))}, "nothing is seen to keep these parameters equal"),
])
def test_what_may_be_meant_is_undecided(others, reason):
    (said,) = reasons(of(both(0, (1, 2), (1, 3), **others)))
    assert said.startswith(reason)


def test_hooks_that_average_are_no_excuse():
    assert verdicts(check, of(both(0, (1, 2), (1, 3), hook="fp16_compress_hook"))) == [BROKEN]


def test_ranks_that_meet_again_average_now_and_then():
    met = of(both(0), both(1, (3, 4), (3, 5)), both(4, (6, 6)))
    assert [evidence.verdict for evidence in check.hold(met)] == [HOLDS, UNDECIDED, HOLDS]
    traced = of(both(0), both(1, (3, 4), (3, 5)), [state(8, 0, (3, 4), at=(1, 2, 3), recent=(1, 2, 3)), state(8, 1, (3, 5), at=(1, 2, 3), recent=(1, 4, 3))])
    assert verdicts(check, of(both(0), both(1, (3, 4), (3, 5)), both(4, (6, 6)), both(8, (6, 6), (7, 7)))) == [HOLDS, UNDECIDED, HOLDS, UNDECIDED]
    assert reasons(traced)[1] == "the ranks are equal again at step 3: parameters are averaged now and then"


def test_equal_gradients_show_averaging_by_hand():
    recorded = of(both(0, (1, 2), (8, 9), wrapped=False))
    finding = only_finding(check, recorded)
    assert "each rank began with parameters of its own" in finding.message
    assert "broadcast" in check.why_no_remedy(finding, recorded)


@pytest.mark.parametrize(("before", "said", "advice"), [
    ({"called": False}, "(.module was called?)", "call the wrapper"), ({"syncs": False}, "no_sync()", "no_sync()"),
    ({}, "DistributedDataParallel ran", "the same way on all ranks"),
])
def test_the_cause_is_read_from_the_step_before(before, said, advice):
    recorded = of(both(0, gradients=((5, 6), (5, 7)), **before), both(1, (3, 4), (3, 5), **before))
    finding = only_finding(check, recorded)
    assert finding.message.startswith("net.bias differs:")
    assert said in finding.message
    assert advice in check.why_no_remedy(finding, recorded)
    assert finding.measured_as == "they hold 2 different ones at step 1, the first of 1 such looks of 2"
    assert check.changes(finding, recorded) == ()


def test_equal_gradients_before_tell_of_a_step_left_out():
    recorded = of(both(2), both(4, (3, 4), (5, 6)))
    assert "net.weight and 1 more of 2 differ: the gradients of step 2 are equal on all ranks" in only_finding(check, recorded).message
    assert "between steps 2 and 4" in only_finding(check, recorded).message


def test_steps_counted_in_the_end_tell_of_one_left_out():
    ends = [state(12 - rank, rank, (rank, 2), final=True) for rank in (0, 1)]
    recorded = recording(*NAMES, *both(2, gradients=((5, 6), (7, 8))), *both(4, (3, 4), (5, 6)), *ends)
    finding = only_finding(check, recorded)
    assert finding.message.endswith("equal at step 2 still; a step was left out on one rank after that (12 on rank 0, 11 on rank 1 in the end)")
    assert check.why_no_remedy(finding, recorded).endswith("take every step on all ranks or on none, with the same settings")


def test_last_looks_compare_only_at_one_step():
    assert verdicts(check, recording(*both(0), state(9, 0, (1, 1), final=True), state(8, 1, (2, 2), final=True))) == [HOLDS]
    assert verdicts(check, recording(*both(0), state(9, 0, (1, 1), final=True), state(9, 1, (2, 2), final=True))) == [HOLDS, BROKEN]


def test_parameters_changed_after_wrapping_differ_at_once():
    assert "changed after that" in only_finding(check, of(both(0, (1, 2), (1, 3)))).message
