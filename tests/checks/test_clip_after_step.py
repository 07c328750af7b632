"""Clipping where no step uses what is left, on recordings written by hand."""

import pytest

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.optimization import clip_after_step as check
from torchstone.core.evidence import Verdict
from torchstone.core.place import Place
from torchstone.core.steps import GradientsClipped, OptimizerSeen

STEP = Place("train.py", 11)


def clip(step=1, used=8.0, **other):
    fields = {"max_norm": 1.0, "total": 5.0, "fresh": 0.0, "passes": 1, **other}
    return GradientsClipped(step, other.pop("optimizer", 0), LINE, STEP, **{k: v for k, v in fields.items() if k != "optimizer"}, used=used)


@pytest.mark.parametrize(("used", "verdict"), [
    (0.0, Verdict.HOLDS), (1.0, Verdict.HOLDS), (1.003, Verdict.HOLDS), (1.01, Verdict.BROKEN), (8.0, Verdict.BROKEN),
])
def test_a_norm_above_the_limit_breaks_the_law_beyond_rounding(used, verdict):
    assert verdicts(check, recording(clip(1, used), clip(2, used))) == [verdict] * 2


@pytest.mark.parametrize(("changed", "reason"), [
    ({"fresh": None}, "what the call saw was not followed back to the step before"),
    ({"fresh": 5.0}, "a fresh gradient was clipped and more was added to it before the step: taken as meant"),
    ({"fresh": 5.0, "passes": 0}, "a fresh gradient was clipped and it was changed before the step: taken as meant"),
    ({"passes": 0}, "no backward pass came between the call and the step: the gradient was put there by hand"),
])
def test_what_may_be_meant_is_undecided(changed, reason):
    held = list(check.hold(recording(clip(1, **changed), clip(2, **changed))))
    assert [item.reason for item in held] == [reason] * 2
    assert findings(check, recording(clip(1, **changed), clip(2, **changed))) == []


def test_once_is_not_enough():
    assert only_evidence(check, recording(clip())).reason == "it was seen once only"


@pytest.mark.parametrize("limit", [0.0, float("inf"), float("nan")])
def test_a_call_that_limits_nothing_is_not_held(limit):
    assert verdicts(check, recording(clip(max_norm=limit), clip(2, max_norm=limit))) == []


def test_the_finding_holds_both_numbers_and_both_lines():
    of = recording(OptimizerSeen(0, "AdamW"), clip(1), clip(2, 9.5), clip(4, 0.5))
    finding = only_finding(check, of)
    assert finding.predicted_as == "a norm of at most 1 at every step"
    assert finding.measured_as == "9.5 at step 2, above the limit in 2 of 3 steps looked at"
    assert "train.py:12 clips at 1" in finding.message and "AdamW" in finding.message and "train.py:11" in finding.message
    (change,) = check.changes(finding, of)
    assert change.kind == "clip-before-step"
    assert change.arguments == {"file": "train.py", "line": 12, "limit": 1.0, "by_value": False, "norm_type": 2.0}
