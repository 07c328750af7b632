"""Gradients that change by a factor a layer, on recordings written by hand."""

import pytest

from checks.recordings import LINE, only_evidence, only_finding, verdicts
from torchstone.checks.initialization import depth_gradient_ratio as check
from torchstone.core.events import LossComputed, ParameterSeen, RunEnded, RunStarted
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe
from torchstone.core.looks import DepthSeen
from torchstone.core.recording import Recording
from torchstone.core.steps import ParametersExamined, StepTaken

LOSS = LossComputed("cross_entropy", 0, classes=2, loss=0.7, nats=0.7, rows=8, rows_measured=8)


def layers(count):
    return tuple(ParameterSeen(n, (f"net.{n}.weight",), 0, (32, 32), deviation=0.1, constructed=LINE) for n in range(count))


def seen(*gradients, moved=0.0):
    count = len(gradients)
    return DepthSeen(16, tuple(range(count)), gradients, (moved,) * count, 2.0**-23, LINE)


def chain(factor, count=8):
    return [factor ** (count - 1 - layer) for layer in range(count)]


def run(*events, losses=None, count=8, rate=0.7):
    losses = [rate + 0.01 * (-1) ** n for n in range(40)] if losses is None else losses
    taken = [StepTaken(n, loss=value) for n, value in enumerate(losses)]
    examined = [ParametersExamined(step, tuple(range(count)), (0.1,) * count) for step in (0, 1, 2, 4, 8, 16)]
    end = RunEnded("finished", steps=len(losses))
    return Recording((RunStarted("train.py"), *layers(count), LOSS, *examined, *taken, *events, end))


FALLING = [0.7 * 0.97**n for n in range(40)]


@pytest.mark.parametrize(("factor", "verdict"), [(0.2, Verdict.BROKEN), (0.5, Verdict.HOLDS), (1.0, Verdict.HOLDS), (2.0, Verdict.HOLDS)])
def test_layers_too_far_apart_break_the_law_where_the_loss_stands(factor, verdict):
    assert verdicts(check, run(seen(*chain(factor)))) == [verdict]


@pytest.mark.parametrize(("event", "losses", "reason"), [
    (seen(*chain(0.2)), FALLING, "the loss does not stand"),
    (seen(*chain(0.2)), [0.7] * 9, "too few losses"),
    (seen(1e-6, *[1.0] * 7), None, "one layer alone"),
    (seen(0.0, *chain(0.2)), None, "cut or dead"),
    (seen(*chain(5.0)), None, "no step overwrote"),
])
def test_what_looks_alike_is_undecided(event, losses, reason):
    evidence = only_evidence(check, run(event, losses=losses))
    assert evidence.verdict is Verdict.UNDECIDED
    assert reason in evidence.reason


def test_growth_is_told_where_a_step_overwrote_a_layer():
    finding = only_finding(check, run(seen(*chain(5.0), moved=3.0)))
    assert finding.title == "the gradient grows by a factor in every layer"
    assert "moved a layer by 3 times its norm" in finding.message


def test_a_short_chain_has_no_depth():
    assert verdicts(check, run(seen(*chain(0.001, 4)))) == []


@pytest.mark.parametrize(("of", "wanted"), [
    (run(), Probe("depth", 16)), (run(losses=FALLING), None), (run(count=4), None), (run(seen(*chain(0.2))), Probe("depth", 16)),
])
def test_a_second_look_is_asked_for_where_a_deep_models_loss_stands(of, wanted):
    assert check.look(of) == wanted


def test_the_finding_names_the_factor_and_both_ends():
    of = run(seen(*chain(0.2)))
    finding = only_finding(check, of)
    assert finding.code == "TS140"
    assert finding.measured_as == "1.28e-05 between net.0.weight and net.7.weight"
    assert "each of 8 layers passes the gradient back times 0.2 (1 with the right gain)" in finding.message
    assert "std 0.1 = 0.5657/sqrt(32)" in finding.message
    (change,) = check.changes(finding, of)
    assert change.kind == "scale-parameters"
    assert change.arguments["numbers"] == [1, 2, 3, 4, 5, 6, 7]
    assert change.arguments["factors"] == pytest.approx([5.0] * 7)
    assert "He, Glorot" in check.why_no_remedy(finding, of)
