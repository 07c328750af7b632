"""Norm weights and biases that a filter missed, on recordings written by hand."""

import pytest

from checks.recordings import findings, only_finding, recording, verdicts
from torchstone.checks.optimization import weight_decay_on_norm_or_bias as check
from torchstone.core.events import ParameterSeen
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Severity
from torchstone.core.place import Place
from torchstone.core.steps import GroupSeen, OptimizerSeen, ParametersExamined

BUILT = Place("train.py", 20)
MODEL = (
    ("m.a.fc.weight", (8, 8), "Linear"), ("m.a.fc.bias", (8,), "Linear"), ("m.a.norm1.weight", (8,), "LayerNorm"),
    ("m.a.norm1.bias", (8,), "LayerNorm"), ("m.b.fc.weight", (8, 8), "Linear"), ("m.b.ln.weight", (8,), "RMSNorm"),
    ("m.tok.weight", (20, 8), "Embedding"),
)


def run(decaying, exempt, *, words=(), gradients=True, decay=0.1, more=()):
    parameters = [ParameterSeen(n, (name,), 0, shape, owner=owner) for n, (name, shape, owner) in enumerate(MODEL)]
    gradient = (1.0 if gradients else None,) * len(MODEL)
    yes, ran = (True,) * len(MODEL), (2,) * len(MODEL)
    look = ParametersExamined(0, tuple(range(len(MODEL))), gradient, (False,) * len(MODEL), ran, yes, yes)
    groups = (GroupSeen(0.01, decay, decaying), GroupSeen(0.01, 0.0, exempt), *more)
    return recording(*parameters, OptimizerSeen(0, "AdamW", groups, Place("train.py", 30), 0, BUILT, words), look)


def test_a_norm_weight_missed_beside_one_that_is_exempt_is_broken():
    of = run((0, 4, 5, 6), (1, 2, 3))
    finding = only_finding(check, of)
    assert (finding.name, finding.code, finding.severity) == ("weight-decay-on-norm-or-bias", "TS161", Severity.WARNING)
    assert (finding.main.site.module, finding.main.site.file, finding.main.site.line) == ("m.b.ln.weight", "train.py", 20)
    assert (finding.main.predicted.value, finding.main.measured.value) == (0.0, pytest.approx(0.001))
    assert finding.measured_as == "1 in the group of weight_decay 0.1, which takes the share lr x weight_decay of them at every step"
    assert finding.message == "AdamW has a group without decay for 3 norm and bias tensors, and decays m.b.ln.weight"
    (change,) = check.changes(finding, of)
    assert (change.kind, change.arguments) == ("exempt-from-decay", {"numbers": [5]})


def test_everything_exempt_holds():
    assert set(verdicts(check, run((0, 4, 6), (1, 2, 3, 5)))) == {Verdict.HOLDS}


@pytest.mark.parametrize("groups", [((0, 1, 2, 3, 4, 5, 6), ()), ((), (0, 1, 2, 3, 4, 5, 6)), ((0, 1, 2, 3, 4, 5), (6,))])
def test_one_rule_for_all_is_nothing_to_hold(groups):
    assert verdicts(check, run(*groups)) == []


def test_biases_without_decay_and_norm_weights_with_it_may_be_meant():
    assert set(verdicts(check, run((0, 2, 4, 5, 6), (1, 3)))) == {Verdict.HOLDS}


def test_unless_the_filter_names_a_norm_that_no_parameter_has():
    finding = only_finding(check, run((0, 2, 4, 5, 6), (1, 3), words=("LayerNorm.weight",)))
    assert len(finding.evidence) == 2
    assert "'LayerNorm.weight', which no parameter's name holds" in finding.message
    assert findings(check, run((0, 2, 4, 5, 6), (1, 3), words=("NORM1.weight",))) == []


def test_a_group_without_decay_that_holds_layers_is_a_split_by_part():
    of = run((0, 5, 6), (1, 2, 3, 4))
    assert findings(check, of) == []
    assert Verdict.UNDECIDED in verdicts(check, of)


def test_a_part_of_the_model_where_nothing_is_exempt_is_undecided():
    of = run((0, 6), (1, 2, 3), more=(GroupSeen(0.001, 0.1, (4, 5)),))
    assert findings(check, of) == []
    assert [item.reason for item in check.hold(of) if item.reason] == ["nothing is exempt in this part of the model: taken as a split by part"]


def test_parameters_without_a_gradient_do_not_decay():
    assert set(verdicts(check, run((0, 4, 5, 6), (1, 2, 3), gradients=False))) == {Verdict.HOLDS}


def test_there_is_always_a_change():
    of = run((0, 4, 5, 6), (1, 2, 3))
    assert check.why_no_remedy(only_finding(check, of), of) == "trials were switched off"
