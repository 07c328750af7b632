"""Schedules that run ahead of their optimizer, on recordings written by hand."""

import pytest

from checks.recordings import findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.optimization import scheduler_steps_per_batch as check
from torchstone.core.events import RunEnded
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe, Severity
from torchstone.core.looks import ScheduleCalled
from torchstone.core.place import Place
from torchstone.core.recording import Recording
from torchstone.core.steps import OptimizerSeen, ScheduleFollowed

BUILT, CALLED = Place("train.py", 7), Place("train.py", 20)


def schedule(moved=30, each=4, name="StepLR", **other):
    fields = {"advanced": moved * each, "doubled": moved if each > 1 else 0, "usual": each, **other}
    return ScheduleFollowed(0, 0, name, BUILT, 31, moved=moved, **fields)


@pytest.mark.parametrize(("each", "verdict"), [(1, Verdict.HOLDS), (2, Verdict.BROKEN), (4, Verdict.BROKEN)])
def test_one_move_a_step_is_the_law(each, verdict):
    assert verdicts(check, recording(schedule(each=each))) == [verdict]


@pytest.mark.parametrize("changed", [
    {"jumps": 1}, {"doubled": 20}, {"moved": 2}, {"shared": 20}, {"name": "LambdaLR"}, {"horizon": 120}, {"horizon": 100},
])
def test_what_may_be_meant_is_undecided(changed):
    evidence = only_evidence(check, recording(schedule(**changed)))
    assert evidence.verdict is Verdict.UNDECIDED and evidence.reason
    assert findings(check, recording(schedule(**changed))) == []


@pytest.mark.parametrize(("horizon", "severity"), [(-1, Severity.WARNING), (30, Severity.ERROR), (8, Severity.ERROR)])
def test_a_schedule_as_long_as_the_steps_is_over_too_early(horizon, severity):
    of = recording(OptimizerSeen(0, "SGD"), schedule(horizon=horizon), ScheduleCalled(0, CALLED, 1))
    finding = only_finding(check, of)
    assert finding.severity is severity
    assert finding.predicted_as == "at most 30 moves in 30 steps of SGD"
    assert finding.measured_as == "120 moves, 4 for each step"
    assert (finding.main.site.line, check.changes(finding, of)[0].arguments) == (20, {"schedule": 0})


def test_a_function_is_as_long_as_the_second_look_found():
    fits = recording(schedule(name="LambdaLR"), ScheduleCalled(0, CALLED, 1, horizon=120))
    short = recording(schedule(name="LambdaLR"), ScheduleCalled(0, CALLED, 1, horizon=30))
    assert verdicts(check, fits) == [Verdict.UNDECIDED]
    assert verdicts(check, short) == [Verdict.BROKEN]


def test_a_run_that_was_stopped_does_not_show_the_end():
    def stopped(horizon):
        whole = recording(schedule(horizon=horizon))
        return Recording((*whole.events[:-1], RunEnded("steps", steps=8)))

    assert verdicts(check, stopped(400)) == [Verdict.UNDECIDED]
    assert verdicts(check, stopped(100)) == [Verdict.BROKEN]


def test_a_second_look_is_asked_for_where_it_can_tell_and_stays_the_same():
    assert check.look(recording(schedule())) == Probe("schedule", 3)
    assert check.look(recording(schedule(), ScheduleCalled(0, CALLED, 1))) == Probe("schedule", 3)
    assert check.look(recording(schedule(each=1))) is None
    assert check.look(recording(schedule(jumps=2))) is None
    assert check.look(recording()) is None


def test_the_last_word_on_a_schedule_counts():
    assert verdicts(check, recording(schedule(moved=3), schedule(moved=30, each=1))) == [Verdict.HOLDS]
