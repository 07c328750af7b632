"""Padding read, on recordings written by hand."""

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording, verdicts
from torchstone.checks.attention import attention_reads_padding as check
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Severity
from torchstone.core.looks import DependenceRead, Reader
from torchstone.core.place import Place

HEADS = Reader("attention", "multi_head_attention_forward", LINE, "model.attention", sizes=(8, 8))


def read(count, *readers, padding=0, **more):
    known = {"place": Place("train.py", 30), "step": 1, "of": 3, "rows": 4, "share": 0.5, "sizes": (4, 8), "source": Place("train.py", 9)}
    said = {"known_by": "padding_idx=0", **known, **more}
    return DependenceRead("padding", "cross_entropy", read=count, readers=readers, padding=padding, **said)


@pytest.mark.parametrize(("event", "verdict"), [
    (read(0), Verdict.HOLDS), (read(3, HEADS), Verdict.BROKEN), (read(3), Verdict.UNDECIDED),
    (read(3, HEADS, reason="a recurrent layer reads the padding too"), Verdict.UNDECIDED),
])
def test_padding_breaks_the_law_where_attention_reads_it(event, verdict):
    assert verdicts(check, recording(event)) == [verdict]


def test_without_a_look_nothing_is_held():
    assert verdicts(check, recording()) == []


def test_a_mean_over_all_positions_is_told():
    assert "a mean over all positions" in only_evidence(check, recording(read(3))).reason


def test_the_finding_holds_both_numbers():
    finding = only_finding(check, recording(read(3, HEADS)))
    assert (finding.name, finding.code, finding.severity) == ("attention-reads-padding", "TS121", Severity.WARNING)
    assert finding.predicted_as == "the loss of a sample depends on 0 of its 3 padded positions"
    assert finding.measured_as == "it depends on 3 of 3, with 50 % of its gradient (4 rows of cross_entropy at train.py:30 looked at)"
    assert finding.message == "padding_idx=0 says what is padding at train.py:9, and the attention at train.py:12 is not told"
    assert str(finding.main.site) == "train.py:12  model.attention"


@pytest.mark.parametrize(("operation", "patch"), [
    ("multi_head_attention_forward", "key_padding_mask=(tokens == 0)"), ("scaled_dot_product_attention", "attn_mask=(tokens != 0)[:, None, None, :]"),
    ("softmax", "scores = scores.masked_fill((tokens == 0)[:, None, None, :], float('-inf'))"),
])
def test_the_keys_of_the_token_are_masked(operation, patch):
    of = recording(read(3, Reader("attention", operation, LINE, "model.attention")))
    (change,) = check.changes(only_finding(check, of), of)
    assert change.kind == "mask-padding"
    assert change.arguments == {"places": ["train.py:12"], "token": 0, "source": "train.py:9", "sizes": [4, 8]}
    assert change.patch == f"{patch}  # in the attention at train.py:12"


def test_padding_that_is_no_token_is_masked_by_hand():
    of = recording(read(3, HEADS, padding=None, known_by="padding_mask"))
    finding = only_finding(check, of)
    assert check.changes(finding, of) == ()
    assert check.why_no_remedy(finding, of) == "pass padding_mask on to the attention at train.py:12 as its key padding mask"
