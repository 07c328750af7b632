"""schedule-does-not-reach-noise: the last level of the table."""

from dataclasses import replace

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording, verdicts
from torchstone.checks.diffusion import schedule_does_not_reach_noise as check
from torchstone.core.evidence import Verdict
from torchstone.core.looks import NoiseMixed
from torchstone.core.place import NOWHERE
from torchstone.laws.diffusion import schedule

EVENT = NoiseMixed(1, LINE, "randn_like", LINE, 16, 64, 16, 0.0, 1.0, 1e-7, 100, 0.36, LINE, LINE, 1.0)
KNOWN = [
    schedule.alpha(schedule.linear_betas(1000, 1e-4, 0.02)), schedule.alpha(schedule.scaled_linear_betas(1000, 0.00085, 0.012)),
    schedule.alpha(schedule.cosine_betas(50)), 0.0,
]  # fmt: skip


@pytest.mark.parametrize("terminal", KNOWN)
def test_known_schedules_hold(terminal):
    assert only_evidence(check, recording(replace(EVENT, terminal=terminal))).verdict is Verdict.HOLDS


def test_betas_for_a_thousand_steps_in_a_hundred_are_broken():
    found = only_finding(check, recording(EVENT))
    assert "0.6 of every value" in found.message
    (change,) = check.changes(found, recording(EVENT))
    assert 0.36 ** change.arguments["power"] == pytest.approx(KNOWN[0])


def test_a_little_more_than_known_schedules_leave_is_undecided():
    assert only_evidence(check, recording(replace(EVENT, terminal=0.02))).verdict is Verdict.UNDECIDED


def test_without_a_table_or_noise_in_the_loss_there_is_no_evidence():
    for other in (replace(EVENT, steps=0), replace(EVENT, loss=NOWHERE), replace(EVENT, preserving=0.5)):
        assert verdicts(check, recording(other)) == []
