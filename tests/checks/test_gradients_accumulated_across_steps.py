"""Gradients accumulated across steps, on recordings written by hand."""

import pytest

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.optimization import gradients_accumulated_across_steps as check
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Severity
from torchstone.core.place import Place
from torchstone.core.steps import GradientCarried, OptimizerSeen

STEP = Place("train.py", 13)


def border(step=1, optimizer=0, consumed=2.0, carried=0.0, altered=0.0, used=3.0):
    return GradientCarried(step, optimizer, consumed, carried, altered, used, 1, LINE, STEP)


@pytest.mark.parametrize(("carried", "verdict"), [
    (0.0, Verdict.HOLDS), (1e-4, Verdict.HOLDS), (1e-3, Verdict.BROKEN), (2.0, Verdict.BROKEN), (50.0, Verdict.BROKEN),
])
def test_what_is_carried_over_breaks_the_law_beyond_rounding(carried, verdict):
    assert verdicts(check, recording(border(carried=carried))) == [verdict]


def test_gradients_altered_on_purpose_are_undecided():
    evidence = only_evidence(check, recording(border(carried=0.5, altered=1.0)))
    assert evidence.verdict is Verdict.UNDECIDED
    assert evidence.reason == "what lies in the buffers was changed between the steps: taken as meant"


def test_less_altered_than_carried_is_broken_all_the_same():
    assert verdicts(check, recording(border(carried=1.0, altered=0.5))) == [Verdict.BROKEN]


def test_a_trace_of_alteration_is_rounding():
    assert verdicts(check, recording(border(altered=1e-5))) == [Verdict.HOLDS]


def test_nothing_looked_at_is_nothing_held():
    assert verdicts(check, recording()) == []


def test_the_finding_holds_both_numbers_and_both_lines():
    of = recording(
        OptimizerSeen(0, "AdamW"), border(1, carried=2.0), border(2), border(4, carried=1.5, used=6.0),
    )
    finding = only_finding(check, of)
    assert (finding.name, finding.code, finding.severity) == ("gradients-accumulated-across-steps", "TS103", Severity.ERROR)
    assert finding.predicted_as == "0 % of the gradient that a step used is left when the next step's backward passes begin"
    assert finding.measured_as == "100 % is left at step 1, in 2 of 3 borders looked at"
    assert finding.message == (
        "AdamW stepped at train.py:13 and nothing cleared its gradients before the next backward pass; by step 4 the step follows"
        " a gradient of norm 6, of which 1.5 is old"
    )
    assert (finding.main.site.file, finding.main.site.line, finding.main.site.step) == ("train.py", 12, 1)
    assert len(finding.evidence) == 2


def test_each_optimizer_has_its_own_finding_and_its_own_change():
    of = recording(border(optimizer=0, carried=2.0), border(optimizer=1), border(optimizer=2, carried=2.0))
    found = findings(check, of)
    assert [finding.main.site.module for finding in found] == ["optimizer 0", "optimizer 2"]
    assert [check.changes(finding, of)[0].arguments for finding in found] == [{"optimizer": 0}, {"optimizer": 2}]


def test_the_change_clears_where_zero_grad_belongs():
    of = recording(border(carried=2.0))
    (change,) = check.changes(only_finding(check, of), of)
    assert (change.kind, change.title) == ("clear-gradients", "clear the gradients once in each step")
    assert change.patch == "optimizer.zero_grad()  # before backward() at train.py:12; the summed gradients acted as a larger learning rate"
    assert check.why_no_remedy(only_finding(check, of), of) == "trials were switched off"


def test_a_step_that_consumed_nothing_carries_nothing():
    assert verdicts(check, recording(GradientCarried(1, 0))) in ([], [Verdict.HOLDS])
