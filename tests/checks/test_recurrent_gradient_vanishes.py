"""Gradients that fade over time, on recordings written by hand."""

import math

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording, verdicts
from torchstone.checks.recurrence import recurrent_gradient_vanishes as check
from torchstone.core.events import BackwardCalled, LossComputed, OperationCount, ParameterSeen, RunEnded, RunStarted
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe
from torchstone.core.looks import RecurrenceSeen
from torchstone.core.recording import Recording
from torchstone.core.steps import ParametersExamined, StepTaken

EPS = 2.0**-23
WEIGHT = ParameterSeen(1, ("net.rnn.weight_hh_l0",), 0, (128, 32), deviation=0.1)
BIAS = ParameterSeen(3, ("net.rnn.bias_hh_l0",), 0, (128,))
LOSS = LossComputed("cross_entropy", 0, classes=2, loss=0.7, nats=0.7, rows=8, rows_measured=8)
EXAMINED = [ParametersExamined(step, (1,), (0.1,)) for step in (0, 1, 2, 4, 8, 16, 32)]


def seen(factor=0.5, length=100, kind="lstm", step=32, parameters=(0, 1), moved=0.0):
    times = [round(i * (length - 1) / 63) for i in range(64)] if length > 64 else range(length)
    gradients = tuple(factor ** (length - 1 - t) for t in times)
    return RecurrenceSeen(step, kind, length, gradients, max(gradients), parameters, moved, EPS, LINE)


def run(*events, losses=None, weights=(WEIGHT, BIAS), loss=LOSS, optimizers=1):
    losses = [0.7 + 0.01 * (-1) ** n for n in range(48)] if losses is None else losses
    taken = [StepTaken(n, n % optimizers, value) for n, value in enumerate(losses)]
    return Recording((RunStarted("train.py"), *weights, loss, *EXAMINED, *taken, *events, RunEnded("finished", steps=len(losses))))


@pytest.mark.parametrize(("factor", "verdict"), [(0.5, Verdict.BROKEN), (0.75, Verdict.BROKEN), (0.9, Verdict.HOLDS), (1.0, Verdict.HOLDS)])
def test_a_gradient_below_rounding_breaks_the_law_where_the_loss_stands(factor, verdict):
    assert verdicts(check, run(seen(factor))) == [verdict]


@pytest.mark.parametrize(("losses", "reason"), [
    ([0.7 * 0.97**n for n in range(48)], "the loss does not stand"),
    ([0.7] * 20, "too few losses"),
    ([math.nan] * 48, "too few losses"),
    ([(-1) ** n * 1.0 for n in range(48)], "the loss does not stand"),
])
def test_where_the_loss_falls_or_says_nothing_it_is_undecided(losses, reason):
    evidence = only_evidence(check, run(seen(), losses=losses))
    assert evidence.verdict is Verdict.UNDECIDED
    assert reason in evidence.reason


def test_two_optimizers_leave_it_undecided():
    assert verdicts(check, run(seen(), optimizers=2)) == [Verdict.UNDECIDED]


def test_a_gradient_that_is_cut_is_no_fading():
    gradients = (0.0,) * 50 + (1.0,) * 14
    cut = RecurrenceSeen(32, "loop", 64, gradients, 1.0, (1,), 0.0, EPS, LINE)
    assert "cut" in only_evidence(check, run(cut)).reason


def test_a_gradient_that_underflows_is_fading():
    faded = tuple(0.0 if t < 20 else 0.1 ** (63 - t) for t in range(64))
    assert verdicts(check, run(RecurrenceSeen(32, "loop", 64, faded, 1.0, (1,), 0.0, EPS, LINE))) == [Verdict.BROKEN]


def test_where_little_of_the_sequence_is_lost_it_is_undecided():
    evidence = only_evidence(check, run(seen(0.5, length=30)))
    assert evidence.verdict is Verdict.UNDECIDED
    assert "only" in evidence.reason


def test_a_step_that_overwrote_the_weights_is_told_by_the_other_finding():
    grown = seen(1.3, 60, step=0, moved=40.0)
    before, after = check.hold(run(grown, seen()))
    assert before.verdict is Verdict.HOLDS
    assert "overwrote" in after.reason


@pytest.mark.parametrize(("of", "wanted"), [
    (run(), Probe("recurrence", 32)),
    (run(seen()), Probe("recurrence", 32)),
    (run(losses=[0.7 * 0.97**n for n in range(48)]), None),
    (run(weights=(ParameterSeen(0, ("net.weight",), 0, (8, 8)),)), None),
    (run(BackwardCalled(0, operations=(OperationCount("mm", 40),)), weights=(ParameterSeen(0, ("w",), 0, (8, 8)),)), Probe("recurrence", 32)),
])
def test_a_second_look_is_asked_for_where_a_recurrent_models_loss_stands(of, wanted):
    assert check.look(of) == wanted


def test_the_finding_says_how_far_the_gradient_comes():
    of = run(seen(0.6))
    finding = only_finding(check, of)
    assert finding.code == "TS130"
    assert finding.measured_as == "1.089e-22 at time step 1 of 100"
    assert "a factor of 0.6 a step" in finding.message
    assert "steps are lost" in finding.message
    assert (finding.main.site.module, finding.main.site.line) == ("net.rnn", 12)


@pytest.mark.parametrize(("kind", "gates", "words"), [("lstm", 4, "forget gates"), ("gru", 3, "update gates")])
def test_gated_networks_begin_with_gates_that_remember(kind, gates, words):
    of = run(seen(kind=kind))
    (change,) = check.changes(only_finding(check, of), of)
    assert (change.kind, change.arguments) == ("remember-longer", {"numbers": [3], "gates": gates, "length": 100})
    assert words in change.title


def test_plain_networks_begin_orthogonal_and_others_are_told_what_to_do():
    square = ParameterSeen(1, ("net.across",), 0, (32, 32))
    of = run(seen(kind="loop", parameters=(1,)), weights=(square,))
    (change,) = check.changes(only_finding(check, of), of)
    assert (change.kind, change.arguments["numbers"]) == ("orthogonal-recurrence", [1])
    wide = ParameterSeen(1, ("net.mix.weight",), 0, (32, 40))
    of = run(seen(kind="loop", parameters=(1,)), weights=(wide,))
    assert check.changes(only_finding(check, of), of) == []
    assert "orthogonal" in check.why_no_remedy(only_finding(check, of), of)


def test_nothing_looked_at_is_nothing_held():
    assert verdicts(check, recording()) == []
