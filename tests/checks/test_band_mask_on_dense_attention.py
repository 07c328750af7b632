"""A window as a mask, on recordings written by hand."""

import dataclasses

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording, verdicts
from torchstone.checks.attention import band_mask_on_dense_attention as check
from torchstone.core.events import BackwardCalled, OperationCount, ParameterSeen
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe, Severity
from torchstone.core.looks import AttentionMasked
from torchstone.core.place import Place

SDPA = "scaled_dot_product_attention"
DENSE = AttentionMasked(SDPA, LINE, 0, 1024, 16, 16, 1024**2, True, 8, 32, 10**8, 2)


def event(**changed):
    changed.setdefault("computed", changed.get("length", 1024) ** 2)
    return dataclasses.replace(DENSE, **changed)


def backward(*names):
    return BackwardCalled(0, LINE, 1.0, tuple(OperationCount(name, 2) for name in names))


@pytest.mark.parametrize(("changed", "verdict"), [
    ({}, Verdict.BROKEN),
    ({"right": 0}, Verdict.BROKEN),
    ({"left": 100, "right": 0}, Verdict.BROKEN),
    ({"left": 1023, "right": 0}, Verdict.HOLDS),
    ({"left": 1023, "right": 1023}, Verdict.HOLDS),
    ({"left": 150, "right": 150}, Verdict.HOLDS),
    ({"length": 384}, Verdict.HOLDS),
    ({"length": 64, "left": 2, "right": 2}, Verdict.HOLDS),
    ({"length": 512}, Verdict.BROKEN),
    ({"function": "local_attention", "computed": 48 * 1024}, Verdict.HOLDS),
    ({"length": 16384, "left": 0, "right": 0, "function": "local_attention", "computed": 32 * 16384}, Verdict.HOLDS),
    ({"weighted": 10**11}, Verdict.UNDECIDED),
])
def test_scores_are_held_against_those_of_the_window(changed, verdict):
    assert verdicts(check, recording(event(**changed))) == [verdict]


def test_what_is_no_band_is_not_held():
    assert verdicts(check, recording(event(banded=False))) == []
    assert verdicts(check, recording()) == []


def test_where_little_can_be_won_it_says_how_little():
    held = only_evidence(check, recording(event(weighted=10**11)))
    assert held.reason == "the scores thrown away are 2.035 % of the forward pass's arithmetic: little to win"


def test_scores_of_a_softmax_by_hand_have_features_that_nobody_knows():
    assert verdicts(check, recording(event(function="softmax", features=0, weighted=10**11))) == [Verdict.BROKEN]


def test_the_finding_holds_both_numbers():
    finding = only_finding(check, recording(DENSE))
    assert (finding.name, finding.code, finding.severity) == ("band-mask-on-dense-attention", "TS150", Severity.WARNING)
    assert finding.predicted_as == "33520 scores a head: 1024 queries that see itself, 16 before and 16 after, less what the ends cut"
    assert finding.measured_as == "1048576 scores a head computed, 31.28 times as many"
    assert "in 2 calls a step of 8 heads" in finding.message
    assert (finding.main.predicted.value, finding.main.measured.value) == (33520, 1048576)
    assert str(finding.main.site) == "train.py:12"


def test_one_window_at_several_lines_is_one_finding():
    other = event(place=Place("train.py", 30))
    finding = only_finding(check, recording(DENSE, other))
    assert [str(item.site) for item in finding.evidence] == ["train.py:12", "train.py:30"]
    (change,) = check.changes(finding, recording(DENSE, other))
    assert change.kind == "local-attention"
    assert change.arguments == {"places": [["train.py", 12], ["train.py", 30]], "left": 16, "right": 16}


def test_windows_that_differ_are_findings_of_their_own():
    of = recording(DENSE, event(left=32, right=0))
    found = list(check.explain([item for item in check.hold(of) if item.verdict is Verdict.BROKEN], of))
    assert [len(finding.evidence) for finding in found] == [1, 1]
    assert [check.changes(finding, of)[0].arguments["left"] for finding in found] == [16, 32]


@pytest.mark.parametrize(("changed", "patch"), [
    ({}, "local_attention(q, k, v, window=16)  # from torchstone.parts, without the mask, at train.py:12"),
    ({"right": 0}, "local_attention(q, k, v, window=16, is_causal=True)  # from torchstone.parts, without the mask, at train.py:12"),
    ({"right": 4}, "local_attention(q, k, v, window=(16, 4))  # from torchstone.parts, without the mask, at train.py:12"),
    ({"through": "nn.MultiheadAttention"}, "LocalSelfAttention(embed_dim, num_heads, window=(16, 16)) in place of nn.MultiheadAttention"
     "  # torchstone.parts; called at train.py:12, loads its weights"),
])
def test_the_patch_says_the_window(changed, patch):
    of = recording(event(**changed))
    (change,) = check.changes(only_finding(check, of), of)
    assert change.patch == patch


@pytest.mark.parametrize(("events", "why"), [
    ((event(function="softmax"),), "the scores are computed before the mask is met, so nothing can be tried from outside; write "),
    ((DENSE, backward("compiledfunction")), "not tried on a compiled model; write "),
])
def test_where_nothing_can_be_tried_it_says_what_to_write(events, why):
    of = recording(*events)
    finding = only_finding(check, of)
    assert list(check.changes(finding, of)) == []
    patch = "local_attention(q, k, v, window=16)  # from torchstone.parts, without the mask, at train.py:12"
    assert check.why_no_remedy(finding, of) == why + patch


@pytest.mark.parametrize(("operations", "names", "asked"), [
    (("scaleddotproductflashattentionforcpu", "addmm"), (), True),
    (("scaleddotproductefficientattention",), (), True),
    (("softmax", "bmm"), (), True),
    (("safesoftmax", "bmm"), (), True),
    (("softmax", "baddbmm"), (), True),
    (("softmax", "addmm"), (), False),
    (("logsoftmax", "bmm"), (), False),
    (("compiledfunction",), ("blocks.0.attn.qkv.weight",), True),
    (("compiledfunction",), ("layers.0.self_attn.in_proj_weight",), True),
    (("compiledfunction",), ("features.0.weight", "classifier.bias"), False),
    ((), (), False),
])
def test_a_second_look_is_asked_for_where_there_is_attention(operations, names, asked):
    of = recording(backward(*operations), ParameterSeen(0, names))
    assert check.look(of) == (Probe("attention-masks", 0) if asked else None)
    told = recording(backward(*operations), ParameterSeen(0, names), DENSE)
    assert check.look(told) == check.look(of)


@pytest.mark.parametrize(("left", "right", "said"), [
    (0, 0, "itself"), (3, 0, "itself and 3 before"), (0, 3, "itself and 3 after"), (3, 5, "itself, 3 before and 5 after"),
    (1023, 3, "itself, all before and 3 after"),
])
def test_a_window_in_words(left, right, said):
    assert check._window(event(left=left, right=right)) == said
