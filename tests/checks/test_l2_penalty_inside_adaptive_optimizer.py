"""An L2 penalty inside adaptive optimizers, on recordings written by hand."""

import math

import pytest

from checks.recordings import findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.optimization import l2_penalty_inside_adaptive_optimizer as check
from torchstone.core.events import ParameterSeen
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Severity
from torchstone.core.place import Place
from torchstone.core.steps import GroupSeen, OptimizerSeen, ParametersExamined

BUILT = Place("train.py", 8)


def run(*, left=0.4, gradient=0.01, decay=0.1, form="l2", kind="Adam", rate=1e-2, owner="Linear", shape=(10, 10), norm=1.0):
    """One matrix of 100 elements whose norm falls from 1 to `left` over 32 steps."""
    steps = (0, 1, 2, 4, 8, 16, 32)
    looks = [
        ParametersExamined(step, (0,), (gradient,), (step > 0,), (2,), (True,), (True,), norm=(norm * left ** (step / 32),))
        for step in steps
    ]
    seen = ParameterSeen(0, ("model.0.weight",), 0, shape, owner=owner)
    group = GroupSeen(rate, decay, (0,), decay=form)
    return recording(seen, OptimizerSeen(0, kind, (group,), Place("train.py", 12), 0, BUILT), *looks, steps=33)


def test_weights_that_vanish_where_the_penalty_outweighs_the_data_are_broken():
    of = run()
    finding = only_finding(check, of)
    assert (finding.name, finding.code, finding.severity) == ("l2-penalty-inside-adaptive-optimizer", "TS160", Severity.WARNING)
    assert (finding.main.site.module, finding.main.site.file, finding.main.site.line) == ("optimizer 0", "train.py", 8)
    kept = (1 - 1e-3) ** finding.main.site.step
    assert finding.main.predicted.value == pytest.approx(kept)
    assert finding.main.measured.value == pytest.approx(0.4 ** (finding.main.site.step / 32))
    assert "the penalty was up to 10 times the data's gradient" in finding.message
    (change,) = check.changes(finding, of)
    assert (change.kind, change.arguments, change.patch) == ("decouple-decay", {"optimizer": 0}, "torch.optim.AdamW(..., weight_decay=...)")
    assert check.why_no_remedy(finding, of) == "trials were switched off"


@pytest.mark.parametrize("more", [
    {"gradient": 1.0},  # the data's gradient is ten times the penalty: it may have moved the weights itself
    {"left": 1.0}, {"left": 1.2}, {"form": "decoupled", "gradient": 1e-6, "left": 0.9}, {"gradient": 0.1},
])
def test_what_the_data_or_the_decay_itself_explains_holds(more):
    assert verdicts(check, run(**more)) == [Verdict.HOLDS]


@pytest.mark.parametrize("more", [
    {"kind": "SGD"}, {"kind": "AdamW", "form": "decoupled"}, {"kind": "Mine", "form": ""}, {"decay": 0.0}, {"form": ""},
    {"owner": "Embedding"}, {"shape": (100,)}, {"norm": 0.0}, {"norm": math.nan}, {"gradient": None},
])
def test_nothing_to_hold(more):
    assert verdicts(check, run(**more)) == []


def test_a_small_number_is_taken_as_a_penalty():
    evidence = only_evidence(check, run(decay=0.005, gradient=1e-4))
    assert (evidence.verdict, evidence.reason) == (
        Verdict.UNDECIDED, "a weight_decay below 0.01 inside the gradient is taken as meant: an L2 penalty"
    )


@pytest.mark.parametrize(("kind", "patch"), [
    ("NAdam", "torch.optim.NAdam(..., decoupled_weight_decay=True)"),
    ("RMSprop", "weight_decay=0, and w.mul_(1 - lr * weight_decay) under no_grad before each step"),
])
def test_each_optimizer_has_its_own_way_out(kind, patch):
    of = run(kind=kind)
    assert check.changes(only_finding(check, of), of)[0].patch == patch


def test_older_recordings_without_norms_hold_nothing():
    seen = ParameterSeen(0, ("w",), 0, (4, 4))
    looks = [ParametersExamined(step, (0,), (1.0,), (False,), (2,), (True,), (True,)) for step in (0, 1, 2)]
    of = recording(seen, OptimizerSeen(0, "Adam", (GroupSeen(0.1, 0.1, (0,), decay="l2"),)), *looks)
    assert (verdicts(check, of), findings(check, of)) == ([], [])
