"""Gradients that grow over time, and steps that overwrite weights, on recordings written by hand."""

import pytest

from checks.recordings import LINE, findings, only_finding, verdicts
from torchstone.checks.recurrence import recurrent_gradient_explodes as check
from torchstone.core.events import NonFiniteSeen, ParameterSeen, RunEnded, RunStarted
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe
from torchstone.core.looks import RecurrenceSeen
from torchstone.core.recording import Recording
from torchstone.core.steps import GroupSeen, OptimizerSeen, ParametersExamined, StepTaken

WEIGHT = ParameterSeen(1, ("net.rnn.weight_hh_l0",), 0, (32, 32), deviation=0.5)
SGD = OptimizerSeen(0, "SGD", (GroupSeen(0.1, 0.0, (1,)),))
HOLDS, BROKEN, UNDECIDED = Verdict.HOLDS, Verdict.BROKEN, Verdict.UNDECIDED


def seen(factor=1.3, moved=20.0, length=40, step=0):
    gradients = tuple(factor ** (length - 1 - t) for t in range(length))
    return RecurrenceSeen(step, "rnn_tanh", length, gradients, max(gradients), (1,), moved, 2.0**-23, LINE)


def run(*events, gradients=(10.0, 500.0, 1.0), optimizer=SGD, losses=(0.7,) * 12):
    examined = [ParametersExamined(step, (1,), (norm,)) for step, norm in zip((0, 1, 2), gradients, strict=True)]
    taken = [StepTaken(n, loss=value) for n, value in enumerate(losses)]
    end = RunEnded("finished", steps=len(losses))
    return Recording((RunStarted("train.py"), WEIGHT, optimizer, *examined, *taken, *events, end))


@pytest.mark.parametrize(("factor", "moved", "wanted"), [
    (1.3, 20.0, [BROKEN, BROKEN]),
    (1.3, 0.1, [HOLDS, UNDECIDED]),
    (1.0, 20.0, [UNDECIDED, HOLDS]),
    (0.7, 0.0, [HOLDS, HOLDS]),
])
def test_both_growth_and_a_step_that_overwrites_are_needed(factor, moved, wanted):
    assert verdicts(check, run(seen(factor, moved))) == wanted


def test_values_that_are_not_finite_are_told_first():
    of = run(seen(), NonFiniteSeen(3, "loss"))
    assert verdicts(check, of) == [UNDECIDED, UNDECIDED]
    assert check.look(of) is None


@pytest.mark.parametrize(("of", "wanted"), [
    (run(), Probe("recurrence", 1)),
    (run(gradients=(10.0, 20.0, 1.0)), None),
    (run(optimizer=OptimizerSeen(0, "Adam", (GroupSeen(0.1, 0.0, (1,)),))), None),
    (run(gradients=(1.0, 1.0, 1.0), losses=(1.0, 1.1, 0.9, 1.0, 40.0, 2.0, 1.0)), Probe("recurrence", 3)),
    (run(gradients=(1.0, 1.0, 1.0), losses=(1.0, 1.1, 0.9, 1.0, 2.0, 2.0, 1.0)), None),
])
def test_a_second_look_is_asked_for_where_a_step_is_large_or_the_loss_jumps(of, wanted):
    assert check.look(of) == wanted


def test_the_finding_names_growth_step_and_loss():
    of = run(seen(), losses=(0.7, 3.0, *[0.9] * 10))
    finding = only_finding(check, of)
    assert finding.code == "TS131"
    assert finding.measured_as == "20 times its norm in step 0"
    assert "a factor of 1.3 a step" in finding.message
    assert "the loss went from 0.7 to 3" in finding.message
    assert len(finding.evidence) == 2


def test_of_several_the_one_moved_furthest_leads_one_finding():
    other = RecurrenceSeen(0, "loop", 40, seen().gradients, seen().largest, (1,), 90.0, 2.0**-23)
    (finding,) = findings(check, run(seen(), other))
    assert finding.measured_as == "90 times its norm in step 0"


def test_the_step_is_held_back_or_the_weights_begin_orthogonal():
    of = run(seen())
    kinds = [change.kind for change in check.changes(only_finding(check, of), of)]
    assert kinds == ["clip-gradients", "scale-learning-rate", "orthogonal-recurrence"]
    assert check.why_no_remedy(only_finding(check, of), of) == "trials were switched off"
