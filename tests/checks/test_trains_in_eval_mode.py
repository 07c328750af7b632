"""Training that goes on in evaluation mode, on recordings written by hand."""

import pytest

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.noise import trains_in_eval_mode as check
from torchstone.core.events import ModelSeen, ParameterSeen, PhaseSeen
from torchstone.core.evidence import Verdict
from torchstone.core.place import Place
from torchstone.core.recording import Recording
from torchstone.core.steps import GroupSeen, ModesSeen, OptimizerSeen, StepTaken

VALIDATED = Place("train.py", 30)
LEFT = {"training": False, "switches": 1, "left_training_at": 3, "evaluated_at": 3, "steps_in_evaluation": 5}


def run(*more, layers=("drop (Dropout)",), **modes):
    return recording(
        ModelSeen(0, "net", "Net"), ParameterSeen(0, ("net.w",), 0), OptimizerSeen(0, "SGD", (GroupSeen(0.1, 0.0, (0,)),)),
        PhaseSeen(0, True, True, 0, LINE), PhaseSeen(0, False, False, 3, VALIDATED), PhaseSeen(0, False, True, 3, LINE),
        *more, ModesSeen(0, 8, layers=layers, **modes),
    )


def test_a_model_that_is_put_back_holds():
    assert verdicts(check, run(switches=4, left_training_at=3, evaluated_at=3)) == [Verdict.HOLDS]


def test_a_model_that_stays_in_evaluation_is_broken():
    finding = only_finding(check, run(**LEFT))
    assert finding.predicted_as == "8 of 8 steps in training mode"
    assert finding.measured_as == "3 of 8, none since step 3"
    assert "train.py:30" in finding.message and "drop (Dropout) is switched off" in finding.message
    assert (finding.main.site.module, finding.main.site.line) == ("net", 12)
    assert check.changes(finding, run(**LEFT))[0].arguments == {"model": 0}


@pytest.mark.parametrize(("changed", "reason"), [
    ({"switches": 3}, "it runs in training mode in some steps and in evaluation mode in others: taken as meant"),
    ({"training": True, "switches": 2}, "it runs in training mode in some steps and in evaluation mode in others: taken as meant"),
    ({"left_training_at": 0}, "it never trained in training mode: taken as meant"),
    ({"evaluated_at": 5}, "it was put into evaluation mode without an evaluation: taken as frozen on purpose"),
    ({"steps_in_evaluation": 2}, "only 2 steps in evaluation mode were seen"),
])
def test_what_may_be_meant_is_undecided(changed, reason):
    of = run(**{**LEFT, **changed})
    assert only_evidence(check, of).reason == reason
    assert findings(check, of) == []


def test_another_optimizer_in_evaluation_mode_is_a_stage_of_its_own():
    whole = run(OptimizerSeen(1, "LBFGS", (GroupSeen(0.1, 0.0, (0,)),)), **LEFT)
    late = [StepTaken(e.step, 1) if isinstance(e, StepTaken) and e.step >= 3 else e for e in whole.events]
    assert only_evidence(check, Recording(tuple(late))).reason == "another optimizer steps in evaluation mode: taken as a stage of its own"


@pytest.mark.parametrize("of", [run(layers=(), **LEFT), run(), run(left_training_at=3), run(training=False, evaluated_at=0)])
def test_without_noise_or_an_evaluation_nothing_is_held(of):
    assert verdicts(check, of) == []
