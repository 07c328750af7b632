"""Probabilities given as logits, on recordings written by hand."""

import math

import pytest

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.loss import probabilities_given_as_logits as check
from torchstone.core.events import LossComputed
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Severity
from torchstone.core.place import Place

BINARY = "binary_cross_entropy_with_logits"


def call(function="cross_entropy", produced_by="softmax", lowest=0.01, highest=0.9, classes=10, rows=32, row_sum_error=0.0, **more):
    return LossComputed(
        function, place=more.pop("place", LINE), rows=rows, rows_measured=rows, classes=classes, lowest=lowest, highest=highest,
        produced_by=produced_by, row_sum_error=row_sum_error, resolution=1e-7, **more,
    )


@pytest.mark.parametrize(("event", "verdict"), [
    (call(), Verdict.BROKEN),
    (call(produced_by="sigmoid", row_sum_error=3.0), Verdict.BROKEN),
    (call(produced_by=""), Verdict.BROKEN),
    (call(produced_by="addmm"), Verdict.BROKEN),
    (call(produced_by="addmm", row_sum_error=0.2), Verdict.HOLDS),
    (call(produced_by="addmm", row_sum_error=None), Verdict.HOLDS),
    (call(produced_by="addmm", rows=1), Verdict.HOLDS),
    (call(produced_by="addmm", classes=1), Verdict.HOLDS),
    (call(produced_by="addmm", lowest=-3.0, highest=4.0), Verdict.HOLDS),
    (call(produced_by="softmax", lowest=-3.0), Verdict.HOLDS),
    (call(produced_by="softmax", highest=1.01), Verdict.HOLDS),
    (call(produced_by="softmax", highest=1 + 3e-7), Verdict.BROKEN),
    (call(produced_by="logsoftmax", lowest=-9.0, highest=-0.1), Verdict.HOLDS),
    (call(BINARY, "sigmoid"), Verdict.BROKEN),
    (call(BINARY, "softmax"), Verdict.BROKEN),
    (call(BINARY, "sigmoid,softmax"), Verdict.BROKEN),
    (call(BINARY, "addmm"), Verdict.HOLDS),
    (call(BINARY, ""), Verdict.HOLDS),
    (call(BINARY, "sigmoid", highest=2.0), Verdict.HOLDS),
])
def test_one_call_is_judged_by_its_range_its_sums_and_what_made_it(event, verdict):
    assert verdicts(check, recording(event)) == [verdict]


@pytest.mark.parametrize("looks", [1, 3, 4, 9])
def test_binary_inputs_that_stay_in_the_unit_interval_unmade_by_a_sigmoid_are_undecided_from_four_looks_on(looks):
    evidence = only_evidence(check, recording(*[call(BINARY, "div", step=n) for n in range(looks)]))
    if looks < 4:
        assert evidence.verdict is Verdict.HOLDS
    else:
        assert evidence.verdict is Verdict.UNDECIDED
        assert evidence.reason == f"all inputs lay in [0, 1] at {looks} steps, but no sigmoid or softmax was seen to make them"


def test_one_look_outside_the_interval_settles_a_site():
    looks = [call(BINARY, "div", step=n) for n in range(6)]
    assert verdicts(check, recording(*looks, call(BINARY, "div", lowest=-2.0))) == [Verdict.HOLDS]
    assert verdicts(check, recording(call(), call(lowest=-2.0))) == [Verdict.HOLDS]


@pytest.mark.parametrize("event", [call("mse_loss"), call("binary_cross_entropy"), call("nll_loss"), call(rows=0)])
def test_losses_that_take_no_logits_and_calls_without_rows_are_not_held(event):
    assert verdicts(check, recording(event)) == []


def test_every_call_site_is_held_apart():
    other = Place("train.py", 40)
    assert verdicts(check, recording(call(), call(place=other, lowest=-1.0), call())) == [Verdict.BROKEN, Verdict.HOLDS]


def test_the_finding_holds_both_numbers():
    finding = only_finding(check, recording(call(), loss=1.489))
    assert (finding.name, finding.code, finding.severity) == ("probabilities-given-as-logits", "TS102", Severity.ERROR)
    assert finding.title == "cross_entropy is fed probabilities where it takes logits"
    assert finding.predicted_as == "0 nats can be reached by logits, which have no bounds"
    assert finding.measured_as == "1.461 nats at least = ln(e + 9) - 1: the lowest that inputs in [0, 1] allow"
    assert finding.message == (
        "its input is the output of a softmax: all of it lies in [0.01, 0.9], and cross_entropy applies its own on top;"
        " the loss stood at 1.489 after 8 steps"
    )
    assert finding.main.measured.value == pytest.approx(math.log(math.e + 9) - 1)
    assert finding.main.law == "loss.reachable_cross_entropy"


def test_rows_that_sum_to_one_name_a_softmax_that_was_not_seen():
    finding = only_finding(check, recording(call(produced_by="div"), loss=None))
    assert finding.message.startswith("its input is the output of a softmax (rows sum to 1): ")
    assert "the loss stood" not in finding.message


@pytest.mark.parametrize(("positives", "floor"), [(None, "0.5032"), (0.25, "0.5982"), (1.0, "0.3133")])
def test_the_binary_floor_follows_the_share_of_positives(positives, floor):
    finding = only_finding(check, recording(call(BINARY, "sigmoid", positives=positives)))
    assert finding.measured_as.startswith(f"{floor} nats at least = p ln(1+1/e) + (1-p) ln 2")
    assert finding.main.law == "loss.reachable_binary_cross_entropy"


@pytest.mark.parametrize(("function", "inner"), [("cross_entropy", "softmax"), (BINARY, "sigmoid")])
def test_the_change_passes_the_logits(function, inner):
    of = recording(call(function, inner))
    (change,) = check.changes(only_finding(check, of), of)
    assert (change.kind, change.title) == ("pass-logits", "pass the logits to the loss")
    assert change.patch == f"remove the {inner} before {function}; apply it only to read predictions"
    assert change.arguments == {"function": function, "file": "train.py", "line": 12}
    assert check.why_no_remedy(only_finding(check, of), of) == "trials were switched off"


def test_two_bad_calls_are_two_findings():
    assert len(findings(check, recording(call(), call(place=Place("train.py", 40))))) == 2


def test_losses_that_are_not_finite_are_left_out_of_the_message():
    assert "the loss stood" not in only_finding(check, recording(call(), loss=math.nan)).message


def test_two_loss_functions_of_one_line_are_held_apart():
    of = recording(call(BINARY, "addmm", lowest=-3.0), call("cross_entropy", "softmax"))
    assert verdicts(check, of) == [Verdict.HOLDS, Verdict.BROKEN]
