"""Recomputation that differs, on recordings written by hand."""

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.autodiff import recomputation_differs as check
from torchstone.core.events import BackwardCalled, OperationCount, RecomputedSeen
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe, Severity
from torchstone.core.looks import RecomputationSeen
from torchstone.core.place import Place

INSIDE = Place("train.py", 5)


def seen(by="checkpoint", place=LINE, module="net.body", share=0.2, difference=1.5, generators=("torch",), preserved=False, instead=""):
    operation = "dropout" if share else ""
    return RecomputationSeen(
        0, by, place, module, 3, 40, share, difference if share else 0.0, 2.0, 1e-7, operation, INSIDE, instead, generators, preserved,
    )


def test_a_closer_look_is_taken_only_where_something_runs_again():
    assert check.look(recording()) is None
    assert check.look(recording(BackwardCalled(0, operations=(OperationCount("addmm", 3),)))) is None
    assert check.look(recording(RecomputedSeen(2))) == Probe("recomputation", 2)
    entered = BackwardCalled(1, operations=(OperationCount("checkpointfunction", 2),))
    assert check.look(recording(entered)) == Probe("recomputation", 1)
    assert check.look(recording(entered, RecomputedSeen(2), seen())) == Probe("recomputation", 1)


def test_equal_bits_hold_and_nothing_seen_is_nothing_held():
    assert verdicts(check, recording(seen(share=0.0))) == [Verdict.HOLDS]
    assert verdicts(check, recording(RecomputedSeen(0))) == []


def test_what_another_order_of_summation_explains_is_undecided():
    evidence = only_evidence(check, recording(seen(share=0.4, difference=64 * 1e-7 * 2)))
    assert evidence.verdict is Verdict.UNDECIDED
    assert evidence.reason == "no more than a sum in another order would differ by"
    assert verdicts(check, recording(seen(share=0.4, difference=1e-3))) == [Verdict.BROKEN]


def test_another_operation_is_never_rounding():
    assert verdicts(check, recording(seen(share=1.0, difference=0.0, instead="add"))) == [Verdict.BROKEN]


def test_generators_that_are_not_restored_are_named_and_restored():
    of = recording(seen())
    finding = only_finding(check, of)
    assert finding.measured_as == "20 % of those of dropout differ, by up to 1.5 where the largest is 2 (3 parts looked at)"
    assert "does not restore the generator of torch (preserve_rng_state=False)" in finding.message
    (change,) = check.changes(finding, of)
    assert (change.kind, change.patch) == ("preserve-rng", "checkpoint(..., preserve_rng_state=True)  # at train.py:12")


def test_the_patch_fits_who_computes_again_and_what_is_drawn():
    by_hand, numpy = recording(seen(by="Mine")), recording(seen(generators=("numpy.random",)))
    assert "instead" not in check.changes(only_finding(check, by_hand), by_hand)[0].patch
    assert "for Mine.apply at train.py:12" in check.changes(only_finding(check, by_hand), by_hand)[0].patch
    assert check.changes(only_finding(check, numpy), numpy)[0].patch.startswith("draw before checkpoint(...) at train.py:12")


def test_state_that_moves_a_little_is_undecided_and_more_is_a_warning():
    assert verdicts(check, recording(seen(generators=(), difference=0.02))) == [Verdict.UNDECIDED]
    assert verdicts(check, recording(seen(difference=0.02))) == [Verdict.BROKEN]
    assert only_finding(check, recording(seen(generators=(), difference=0.5))).severity is Severity.WARNING
    assert only_finding(check, recording(seen())).severity is Severity.ERROR


def test_state_that_changes_has_no_change_to_try():
    of = recording(seen(generators=()))
    finding = only_finding(check, of)
    assert check.changes(finding, of) == ()
    assert check.why_no_remedy(finding, of).startswith("keep what it depends on at train.py:5 the same")


def test_each_line_has_its_own_finding():
    of = recording(seen(), seen(place=Place("train.py", 30)), seen(place=Place("train.py", 40), share=0.0))
    assert [finding.main.site.line for finding in findings(check, of)] == [12, 30]
