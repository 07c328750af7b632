"""Evaluation in training mode, on recordings written by hand."""

import pytest

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.noise import evaluates_in_train_mode as check
from torchstone.core.events import ModelSeen, PhaseSeen
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe
from torchstone.core.looks import EvaluationSeen
from torchstone.core.steps import ModesSeen, OptimizerSeen

BURSTS = {"unguarded_passes": 12, "unguarded_gaps": 3, "unguarded_step": 4, "unguarded_most": 4, "unguarded_place": LINE}
SEEN = EvaluationSeen(0, 4, passes=4, noisy=4, compared=4)


def run(*more, layers=("norm (BatchNorm1d)",), **modes):
    return recording(
        ModelSeen(0, "net", "Net"), OptimizerSeen(0, "SGD"), PhaseSeen(0, True, True), *more, ModesSeen(0, 8, layers=layers, **modes),
    )


def test_an_evaluation_that_is_noisy_is_broken():
    finding = only_finding(check, run(SEEN, **BURSTS))
    assert finding.predicted_as == "0 of 4 evaluation passes draw dropout or take in batch statistics"
    assert finding.measured_as == "4 of 4 do, after step 4"
    assert "norm (BatchNorm1d) is at work" in finding.message
    assert (finding.main.site.module, finding.main.site.line) == ("net", 12)
    assert check.changes(finding, run(SEEN, **BURSTS))[0].arguments == {"model": 0}


def test_evaluation_mode_holds():
    assert verdicts(check, run(switches=4, evaluated_at=3)) == [Verdict.HOLDS]


def test_layers_that_are_at_rest_hold():
    assert verdicts(check, run(EvaluationSeen(0, 4, passes=4, noisy=0, compared=4), **BURSTS)) == [Verdict.HOLDS]


@pytest.mark.parametrize("of", [
    run(**BURSTS),
    run(SEEN, **{**BURSTS, "switches": 2}),
    run(SEEN, **{**BURSTS, "unguarded_passes": 1}),
    run(SEEN, **{**BURSTS, "unguarded_gaps": 7}),
    run(SEEN, OptimizerSeen(1, "Adam"), **BURSTS),
    run(EvaluationSeen(0, 4, 4, 4, 4, repeated=3), **BURSTS),
    run(EvaluationSeen(0, 4, 4, 4, compared=0), **BURSTS),
])
def test_what_may_be_meant_is_undecided(of):
    evidence = only_evidence(check, of)
    assert evidence.verdict is Verdict.UNDECIDED and evidence.reason
    assert findings(check, of) == []


@pytest.mark.parametrize("of", [run(layers=(), **BURSTS), run(), recording(ModesSeen(0, 8, layers=("d",), **BURSTS))])
def test_without_noise_training_or_calls_nothing_is_held(of):
    assert verdicts(check, of) == []
    assert check.look(of) is None


def test_a_second_look_is_asked_for_where_it_can_tell_and_stays_the_same():
    assert check.look(run(**BURSTS)) == Probe("evaluation", 4)
    assert check.look(run(SEEN, **BURSTS)) == Probe("evaluation", 4)
    assert check.look(run(**{**BURSTS, "switches": 1})) is None
