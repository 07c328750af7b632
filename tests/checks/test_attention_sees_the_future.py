"""Later tokens read, on recordings written by hand."""

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording, verdicts
from torchstone.checks.attention import attention_sees_the_future as check
from torchstone.checks.sequences import look_at_dependence
from torchstone.core.events import BackwardCalled, OperationCount, ParameterSeen
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe, Severity
from torchstone.core.looks import DependenceRead, Reader
from torchstone.core.place import Place

ATTENTION = Reader("attention", "scaled_dot_product_attention", LINE, "model.block", sizes=(8, 8))
BOTH_WAYS = Reader("recurrent", "LSTM", LINE, "model.lstm", sizes=(4, 8))


def read(count, *readers, what="future", **more):
    known = {"place": Place("train.py", 30), "step": 1, "of": 7, "rows": 4, "share": 0.25, "sizes": (4, 8), "source": Place("train.py", 9)}
    said = {"known_by": "the targets are the tokens read 1 position later", **known, **more}
    return DependenceRead(what, "cross_entropy", read=count, readers=readers, **said)


def test_without_a_look_nothing_is_held():
    assert verdicts(check, recording()) == []
    assert verdicts(check, recording(read(3, ATTENTION, what="samples"))) == []


@pytest.mark.parametrize(("event", "verdict"), [
    (read(0), Verdict.HOLDS), (read(7, ATTENTION), Verdict.BROKEN), (read(1, BOTH_WAYS), Verdict.BROKEN), (read(7), Verdict.UNDECIDED),
    (read(7, ATTENTION, reason="rolled"), Verdict.UNDECIDED), (read(0, reason="rolled"), Verdict.UNDECIDED),
])
def test_one_later_token_breaks_the_law_where_something_lets_it_through(event, verdict):
    assert verdicts(check, recording(event)) == [verdict]


def test_one_input_that_is_read_causally_is_enough():
    encoder, decoder = read(7, ATTENTION), read(0, source=Place("train.py", 11))
    assert verdicts(check, recording(encoder, decoder)) == [Verdict.HOLDS]


def test_the_finding_holds_both_numbers_and_names_the_attention():
    finding = only_finding(check, recording(read(7, ATTENTION)))
    assert (finding.name, finding.code, finding.severity) == ("attention-sees-the-future", "TS120", Severity.ERROR)
    assert finding.predicted_as == "the loss at a position depends on 0 of the 7 later tokens"
    assert finding.measured_as == "it depends on 7 of 7, with 25 % of its gradient (4 rows of cross_entropy at train.py:30 looked at)"
    assert finding.message == (
        "the targets are the tokens read 1 position later (train.py:9); scaled_dot_product_attention at train.py:12 lets positions attend to later ones"
    )
    assert str(finding.main.site) == "train.py:12  model.block"


def test_what_is_undecided_says_why():
    assert only_evidence(check, recording(read(7))).reason == "no operation was seen that lets it through by itself"


@pytest.mark.parametrize(("operation", "patch"), [
    ("scaled_dot_product_attention", "is_causal=True"), ("multi_head_attention_forward", "generate_square_subsequent_mask"), ("softmax", "triu(1)"),
])
def test_every_attention_is_masked_where_it_is(operation, patch):
    other = Reader("attention", operation, Place("train.py", 40), "model.other")
    of = recording(read(7, Reader("attention", operation, LINE, "model.block"), other))
    (change,) = check.changes(only_finding(check, of), of)
    assert change.kind == "mask-future"
    assert change.arguments == {"places": ["train.py:12", "train.py:40"]}
    assert patch in change.patch


def test_a_layer_that_runs_both_ways_is_changed_by_hand():
    of = recording(read(7, BOTH_WAYS))
    finding = only_finding(check, of)
    assert "LSTM (model.lstm) runs both ways at train.py:12" in finding.message
    assert check.changes(finding, of) == ()
    assert check.why_no_remedy(finding, of).startswith("give model.lstm bidirectional=False")


def backward(*operations):
    return BackwardCalled(0, operations=tuple(OperationCount(name, 1) for name in operations))


@pytest.mark.parametrize(("operations", "looked"), [
    (("addmm", "relu"), False), (("convolution", "logsoftmax", "mm"), False), (("scaleddotproductflashattentionforcpu",), True),
    (("softmax", "bmm"), True), (("safesoftmax", "bmm"), True), (("softmax", "addmm"), False), (("mkldnnrnnlayer",), True),
    (("thnnfusedlstmcell",), True), (("stack", "unbind", "tanh"), True), (("compiledfunction",), False), ((), False),
])
def test_a_second_run_is_asked_for_only_where_sequences_are(operations, looked):
    assert (look_at_dependence(recording(backward(*operations))) is not None) is looked


def test_compiled_attention_is_known_by_its_weights():
    of = recording(backward("compiledfunction"), ParameterSeen(0, ("model.self_attn.in_proj_weight",)))
    assert look_at_dependence(of) == Probe("dependence", 1)


def test_the_look_is_the_same_when_asked_again():
    before, after = recording(backward("softmax", "bmm")), recording(backward("softmax", "bmm"), read(7, ATTENTION))
    assert check.look(before) == check.look(after) == Probe("dependence", 1)
    assert check.look(recording(backward("softmax", "bmm"), steps=1)) == Probe("dependence", 0)
