"""Clipping under a loss scale, on recordings written by hand."""

import pytest

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.optimization import clip_before_unscale as check
from torchstone.core.evidence import Verdict
from torchstone.core.place import Place
from torchstone.core.steps import GradientsClipped

STEP = Place("train.py", 14)
SCALE = 65536.0


def clip(step=1, norm=3.0, used=1 / SCALE, **other):
    fields = {"max_norm": 1.0, "total": norm * SCALE, "fresh": norm * SCALE, "scale": SCALE, "scaler": True, **other}
    return GradientsClipped(step, 0, LINE, STEP, used=used, **fields)


def test_a_limit_divided_by_the_scale_is_broken():
    of = recording(clip(1), clip(2, norm=0.4))
    assert verdicts(check, of) == [Verdict.BROKEN] * 2
    finding = only_finding(check, of)
    assert finding.predicted_as == "a gradient of norm 1 at step 1"
    assert "1.526e-05" in finding.measured_as and "65536" in finding.message
    assert check.changes(finding, of)[0].kind == "unscale-before-clip"


def test_an_unscaled_gradient_holds():
    first, second = clip(1, scale=1.0, total=3.0, fresh=3.0, used=1.0), clip(2, scale=1.0, total=0.3, fresh=0.3, used=0.3)
    assert verdicts(check, recording(first, second)) == [Verdict.HOLDS] * 2


def test_a_clip_that_leaves_the_gradient_as_it_is_holds():
    assert verdicts(check, recording(clip(max_norm=1e6, norm=0.5, used=0.5))) == [Verdict.HOLDS]


def test_each_optimizer_has_its_share_of_the_norm():
    of = recording(clip(1, total=5 * SCALE, fresh=3 * SCALE, used=0.6 / SCALE), clip(2, total=5 * SCALE, fresh=3 * SCALE, used=0.6 / SCALE))
    assert [round(item.predicted.value, 6) for item in check.hold(of)] == [0.6, 0.6]
    assert verdicts(check, of) == [Verdict.BROKEN] * 2


@pytest.mark.parametrize("changed", [
    {"max_norm": SCALE, "norm": 3.0, "used": 0.5},
    {"max_norm": 0.3 * SCALE, "used": 0.3},
    {"used": 0.01},
])
def test_what_the_script_may_have_scaled_itself_is_undecided(changed):
    of = recording(clip(1, **changed), clip(2, **changed))
    assert verdicts(check, of) == [Verdict.UNDECIDED] * 2
    assert findings(check, of) == []


def test_a_limit_multiplied_by_the_scale_is_what_was_meant():
    same = {"max_norm": 0.5 * SCALE, "norm": 3.0, "used": 0.5}
    held = list(check.hold(recording(clip(1, **same), clip(2, **same))))
    assert [item.reason for item in held] == ["the limit looks like one that was multiplied by the scale: taken as meant"] * 2


def test_once_is_not_enough():
    assert only_evidence(check, recording(clip())).reason == "it was seen once only"


def test_without_a_scaler_nothing_is_held():
    assert verdicts(check, recording(clip(scaler=False, scale=1.0))) == []
    assert verdicts(check, recording(clip(fresh=0.0), clip(2, fresh=None))) == []
