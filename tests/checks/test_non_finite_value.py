"""A value that is not finite, on recordings written by hand."""

import math

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording, verdicts
from torchstone.checks.autodiff import non_finite_value as check
from torchstone.core.events import NonFiniteSeen, ParameterSeen, RunStarted
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe, Severity
from torchstone.core.looks import NonFiniteBorn
from torchstone.core.place import Place
from torchstone.core.recording import Recording

LOSS = NonFiniteSeen(3, "loss", "", math.nan, Place("train.py", 20))
GRADIENT = NonFiniteSeen(3, "gradient", "7", math.inf, Place("train.py", 20))
WEIGHT = ParameterSeen(7, ("head.weight",))


def born(kind="forward", operation="log", step=3, **more):
    return NonFiniteBorn(step, kind, operation, "an infinity", LINE, "model.head", **more)


def test_a_run_without_one_holds():
    assert verdicts(check, recording()) == [Verdict.HOLDS]
    assert verdicts(check, recording(steps=0, passes=2)) == [Verdict.HOLDS]


@pytest.mark.parametrize("seen", [LOSS, GRADIENT])
def test_the_first_one_breaks_the_law(seen):
    assert verdicts(check, recording(seen)) == [Verdict.BROKEN]
    assert verdicts(check, recording(seen, steps=0)) == [Verdict.BROKEN]
    assert verdicts(check, Recording((RunStarted("train.py"), seen))) == [Verdict.BROKEN]


def test_a_run_without_training_is_not_held():
    assert verdicts(check, recording(steps=0)) == []
    assert verdicts(check, Recording((RunStarted("train.py"),))) == []


def test_nothing_is_found_without_a_sighting():
    assert list(check.explain([], recording())) == []


def test_the_finding_holds_both_numbers():
    finding = only_finding(check, recording(LOSS))
    assert (finding.name, finding.code, finding.severity) == ("non-finite-value", "TS104", Severity.ERROR)
    assert finding.title == "the loss is nan at step 3"
    assert finding.predicted_as == "0 values that are not finite"
    assert finding.measured_as == "the loss is nan at step 3 (train.py:20)"
    assert finding.message == "first seen in the loss; where it was born has not been probed, or did not repeat"
    assert str(finding.main.site) == "train.py:20"
    assert (finding.main.predicted.value, finding.main.measured.value) == (0, 1)


@pytest.mark.parametrize(("parameters", "of_what"), [((WEIGHT,), "head.weight"), ((), "a parameter"), ((ParameterSeen(7, ()),), "a parameter")])
def test_a_gradient_is_named_by_its_parameter(parameters, of_what):
    finding = only_finding(check, recording(GRADIENT, *parameters))
    assert finding.title == f"the gradient of {of_what} is not finite at step 3"


@pytest.mark.parametrize(("event", "story"), [
    (born(inputs=("64x1 in [0, 1]",)), "log at train.py:12 gave an infinity from 64x1 in [0, 1]"),
    (born(), "log at train.py:12 gave an infinity"),
    (born("backward", "sqrt"), "the backward of sqrt at train.py:12 gave an infinity; its forward pass was finite"),
    (born("update", "SGD"), "the update of SGD at train.py:12 made a parameter an infinity from finite gradients"),
    (born("data", "the batch"), "an infinity came in with the data: the batch at train.py:12"),
    (born("parameter", "head.weight"), "head.weight was an infinity before the step began"),
    (born(shows_in="mean", shows_at=Place("train.py", 14)), "log at train.py:12 gave an infinity; it shows at train.py:14 as mean"),
    (born(shows_in="mean", shows_at=LINE), "log at train.py:12 gave an infinity"),
])
def test_every_kind_of_birth_has_its_story(event, story):
    finding = only_finding(check, recording(LOSS, event))
    assert finding.message == f"born in step 3: {story}"
    assert str(finding.main.site) == "train.py:12  model.head"


def test_the_step_is_probed_until_the_birth_is_known():
    of = recording(LOSS)
    assert check.probe(only_finding(check, of), of) == Probe("non-finite", 3)
    known = recording(LOSS, born())
    assert check.probe(only_finding(check, known), known) is None


def changes(event):
    of = recording(LOSS, event)
    return list(check.changes(only_finding(check, of), of))


@pytest.mark.parametrize(("operation", "bounds", "patch"), [
    ("log", {"low": 1e-6}, "x.clamp_min(1e-6)"), ("sqrt", {"low": 1e-12}, "x.clamp_min(1e-12)"), ("div", {"divisor": 1e-6}, "a / (b + 1e-6)"),
    ("norm", {"offset": 1e-6}, "(x + 1e-6).norm()"), ("softmax", {"finite_rows": True}, "mask = mask & ~mask.all(-1, keepdim=True)"),
])
@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_a_pole_is_guarded_and_nothing_else_is_tried(operation, bounds, patch, kind):
    (change,) = changes(born(kind, operation))
    assert change.kind == "guard-input"
    assert change.arguments == {"operation": operation, "file": "train.py", "line": 12, **bounds}
    assert change.patch == f"{patch}  # in {operation} at train.py:12"


def test_an_overflow_is_guarded_and_its_growth_held_back():
    assert [change.kind for change in changes(born(operation="exp"))] == ["guard-input", "clip-gradients", "scale-learning-rate"]
    assert [change.arguments for change in changes(born(operation="matmul", largest=1e30))] == [{"norm": 1.0}, {"factor": 0.1}]
    assert [change.kind for change in changes(born("update", "log"))] == ["clip-gradients", "scale-learning-rate"]


def test_small_inputs_have_not_grown():
    assert changes(born(operation="matmul", largest=3.0)) == []


def test_before_the_first_step_nothing_has_grown():
    assert changes(born(operation="matmul", step=0)) == []
    assert [change.kind for change in changes(born(operation="exp", step=0))] == ["guard-input"]


@pytest.mark.parametrize(("events", "why"), [
    ((), "the place was not found, so there is nothing to change yet; seed every generator and check again"),
    ((born("data"),), "the data itself holds it: drop or repair those rows where they are read"),
    ((born("parameter", "head.weight"),), "look at head.weight at train.py:12: nothing that fits it can be tried from outside (usual causes: a negative base under a"
        " fractional power, a row without any kept element, a product of large values)"),
])
def test_where_nothing_can_be_tried_it_says_what_to_do(events, why):
    of = recording(LOSS, *events)
    finding = only_finding(check, of)
    assert list(check.changes(finding, of)) == []
    assert check.why_no_remedy(finding, of) == why


def test_the_evidence_counts_values():
    assert str(only_evidence(check, recording(LOSS)).measured) == "1 count"


@pytest.mark.parametrize("operation", ["acos", "atanh", "logit"])
def test_a_pole_on_both_sides_is_a_pole(operation):
    assert [change.kind for change in changes(born(operation=operation))] == ["guard-input"]
