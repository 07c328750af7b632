"""Samples mixed, on recordings written by hand."""

import pytest

from checks.recordings import LINE, only_evidence, only_finding, recording, verdicts
from torchstone.checks.autodiff import batch_rows_mixed as check
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Severity
from torchstone.core.looks import DependenceRead, Reader
from torchstone.core.place import Place

LAYER = Reader("recurrent", "LSTM", LINE, "model.lstm", ("model.lstm",), (32, 9))
ENCODER = Reader("attention", "TransformerEncoderLayer", LINE, "model.layer", ("model.layer.self_attn",), (9, 32), batch_first=True)
VIEW = Reader("view", "view", LINE, "model", sizes=(32, 9), into=(9, 32))


def read(count, *readers, **more):
    known = {"place": Place("train.py", 30), "step": 1, "of": 31, "rows": 4, "sizes": (32, 9), "known_by": "a DataLoader stacks"}
    return DependenceRead("samples", "cross_entropy", read=count, readers=readers, **{**known, **more})


@pytest.mark.parametrize(("event", "verdict"), [
    (read(0), Verdict.HOLDS), (read(31, LAYER), Verdict.BROKEN), (read(5, VIEW), Verdict.BROKEN), (read(31), Verdict.UNDECIDED),
    (read(31, LAYER, reason="nothing says which axis holds the samples"), Verdict.UNDECIDED),
])
def test_other_samples_break_the_law_where_something_mixes_them_by_mistake(event, verdict):
    assert verdicts(check, recording(event)) == [verdict]


def test_without_a_look_nothing_is_held():
    assert verdicts(check, recording()) == []


def test_the_evidence_counts_samples():
    assert str(only_evidence(check, recording(read(31, LAYER))).measured) == "31 count"


@pytest.mark.parametrize(("reader", "story"), [
    (LAYER, "LSTM has batch_first=False and runs along the first axis of (32, 9, ...), which holds the samples (a DataLoader stacks)"),
    (ENCODER, "TransformerEncoderLayer has batch_first=True and attends along the second axis of (9, 32, ...), which holds the samples (a DataLoader stacks)"),
    (VIEW, "view at train.py:12 reads (32, 9, ...) as (9, 32, ...) without moving anything: values of several samples come to lie in one"),
])
def test_the_finding_says_what_mixes_them(reader, story):
    finding = only_finding(check, recording(read(31, reader)))
    assert (finding.name, finding.code, finding.severity) == ("batch-rows-mixed", "TS122", Severity.ERROR)
    assert finding.message == story
    assert finding.predicted_as == "the loss of a sample depends on 0 of the 31 other samples"
    assert finding.measured_as == "it depends on 31 of 31 (4 rows of cross_entropy at train.py:30 looked at)"
    assert str(finding.main.site) == f"train.py:12  {reader.module}"


@pytest.mark.parametrize(("reader", "kind", "arguments"), [
    (LAYER, "batch-first", {"layers": ["model.lstm"], "value": True}),
    (ENCODER, "batch-first", {"layers": ["model.layer.self_attn"], "value": False}),
    (VIEW, "transpose-for-view", {"place": "train.py:12", "sizes": [32, 9]}),
])
def test_the_change_fits_what_mixes_them(reader, kind, arguments):
    of = recording(read(31, reader))
    (change,) = check.changes(only_finding(check, of), of)
    assert (change.kind, change.arguments) == (kind, arguments)
