"""Learning rates above the curvature's limit, on recordings written by hand."""

import math

import pytest

from checks.recordings import only_evidence, only_finding, verdicts
from torchstone.checks.optimization import step_above_curvature_limit as check
from torchstone.core.events import LossComputed, NonFiniteSeen, RunEnded, RunStarted
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe, Severity
from torchstone.core.looks import CurvatureSeen
from torchstone.core.place import Place
from torchstone.core.recording import Recording
from torchstone.core.steps import GroupSeen, OptimizerSeen, StepTaken

BUILT = Place("train.py", 9)
GROWING = (4.0, 3.0, 5.0, 9.0, 20.0, 50.0, 120.0, 300.0)
FALLING = (4.0, 3.0, 2.5, 2.0, 1.5, 1.0, 0.8, 0.7)
CATAPULT = (4.0, 3.0, 9.0, 30.0, 5.0, 1.0, 0.4, 0.2, 0.1)
SGD = OptimizerSeen(0, "SGD", (GroupSeen(0.5, decay="l2"),), Place("train.py", 12), 0, BUILT)


def run(*events, losses=GROWING, optimizers=(0,)):
    taken = [StepTaken(n, optimizers[n % len(optimizers)], loss) for n, loss in enumerate(losses)]
    return Recording((RunStarted("train.py"), *events, *taken, RunEnded("finished", steps=len(losses))))


def seen(product=4.0, **more):
    return CurvatureSeen(1, 0, product, 0.5, **more)


def rows(count):
    return LossComputed("mse_loss", rows=count)


def test_a_rising_loss_under_plain_descent_is_looked_at_where_it_was_lowest():
    assert check.look(run(SGD)) == Probe("curvature", 1)
    assert check.look(run(SGD, seen(), rows(64))) == Probe("curvature", 1)


@pytest.mark.parametrize("of", [
    run(SGD, losses=FALLING), run(SGD, losses=CATAPULT), run(SGD, losses=GROWING[:4]), run(SGD, losses=(-1.0, *GROWING)),
    run(SGD, losses=(*GROWING, math.nan)), run(SGD, losses=(*GROWING, None)), run(SGD, NonFiniteSeen(7, "loss")),
    run(SGD, OptimizerSeen(1, "SGD", (GroupSeen(0.5, decay="l2"),)), optimizers=(0, 1)), run(),
    run(OptimizerSeen(0, "Adam", (GroupSeen(0.5, decay="l2"),))), run(OptimizerSeen(0, "SGD", (GroupSeen(0.5),))),
])
def test_no_second_run_is_asked_for_where_the_law_does_not_apply(of):
    assert check.look(of) is None
    assert verdicts(check, of) == []


@pytest.mark.parametrize(("product", "more", "verdict"), [
    (1.9, {}, Verdict.HOLDS), (2.2, {}, Verdict.HOLDS), (2.3, {}, Verdict.BROKEN),
    (3.0, {"momentum": 0.9}, Verdict.HOLDS), (4.4, {"momentum": 0.9}, Verdict.BROKEN),
    (1.4, {"momentum": 0.9, "nesterov": True}, Verdict.HOLDS), (1.6, {"momentum": 0.9, "nesterov": True}, Verdict.BROKEN),
    (30.0, {"momentum": 0.9, "dampening": 0.9}, Verdict.HOLDS), (30.0, {"momentum": 0.9, "dampening": 0.5}, Verdict.UNDECIDED),
])
def test_each_form_of_momentum_has_its_limit(product, more, verdict):
    assert verdicts(check, run(SGD, rows(64), seen(product, **more))) == [verdict]


def test_a_batch_of_few_rows_says_less_and_one_of_unknown_rows_least():
    assert verdicts(check, run(SGD, rows(4), seen(2.9))) == [Verdict.HOLDS]
    assert verdicts(check, run(SGD, rows(4), seen(3.1))) == [Verdict.BROKEN]
    assert verdicts(check, run(SGD, seen(3.9))) == [Verdict.HOLDS]
    assert verdicts(check, run(SGD, seen(4.1))) == [Verdict.BROKEN]


def test_a_sharp_loss_that_falls_is_the_edge_of_stability():
    evidence = only_evidence(check, run(SGD, rows(64), seen(), losses=FALLING))
    assert (evidence.verdict, evidence.reason) == (Verdict.UNDECIDED, "the loss goes on falling: the edge of stability")
    assert verdicts(check, run(SGD, rows(64), seen(1.0), losses=FALLING)) == [Verdict.HOLDS]


def test_a_value_that_is_not_finite_is_another_finding():
    assert verdicts(check, run(SGD, rows(64), seen(), NonFiniteSeen(7, "loss"))) == []


def test_the_finding_says_the_rate_the_curvature_and_the_loss():
    of = run(SGD, rows(64), seen())
    finding = only_finding(check, of)
    assert (finding.name, finding.code, finding.severity) == ("step-above-curvature-limit", "TS162", Severity.ERROR)
    assert (finding.main.site.file, finding.main.site.line, finding.main.site.step) == ("train.py", 9, 1)
    assert finding.predicted_as == "lr x λ of at most 2: with λ = 8 a learning rate of at most 0.25"
    assert finding.measured_as == "lr x λ = 4 at step 1, λ the largest eigenvalue of the batch's Hessian"
    assert finding.message == (
        "with lr 0.5 the error along the sharpest direction grows at every step; the loss was 4 at the start, 300 at its highest"
        " and 120 (median) at the end"
    )


def test_half_of_the_limit_and_clipping_are_tried():
    of = run(SGD, rows(64), seen())
    rate, clip = check.changes(only_finding(check, of), of)
    assert (rate.kind, rate.arguments) == ("scale-learning-rate", {"factor": 0.25})
    assert rate.patch == "lr = 0.25 * lr  # 0.5 at step 1, which diverges above 0.25"
    assert (clip.kind, clip.arguments) == ("clip-gradients", {"norm": 1.0})
    assert check.why_no_remedy(only_finding(check, of), of) == "trials were switched off"
