"""noise-not-standard-normal: moments of one draw, and the draw that the loss is against."""

from dataclasses import replace

from checks.recordings import LINE, findings, only_finding, recording, verdicts
from torchstone.checks.diffusion import noise_not_standard_normal as check
from torchstone.core.evidence import Verdict
from torchstone.core.looks import NoiseMixed

GOOD = NoiseMixed(1, LINE, "randn_like", LINE, 16, 64, 16, 0.01, 1.02, 1e-7, 1000, 4e-5, LINE, LINE, 1.0)


def test_standard_normal_noise_holds():
    assert verdicts(check, recording(GOOD)) == [Verdict.HOLDS] * 3


def test_uniform_noise_is_broken_and_drawn_again():
    of = recording(replace(GOOD, function="rand_like", mean=0.5, variance=1 / 12))
    found = only_finding(check, of)
    assert "mean 0.5" in found.message
    assert [change.kind for change in check.changes(found, of)] == ["normal-draw"]


def test_another_draw_in_the_loss_is_broken():
    of = recording(replace(GOOD, agreement=0.02))
    found = only_finding(check, of)
    assert found.main.law == "diffusion.noise_agreement"
    assert not check.changes(found, of)
    assert "once" in check.why_no_remedy(found, of)


def test_scaled_normal_noise_and_mixtures_of_another_kind_are_left_alone():
    assert findings(check, recording(replace(GOOD, variance=0.25))) == []
    assert verdicts(check, recording(replace(GOOD, preserving=0.3, mean=0.5))) == []
    assert verdicts(check, recording(replace(GOOD, samples=2, elements=2, mean=0.5))) == []
