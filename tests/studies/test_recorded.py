import json

import pytest

from studies.toys import toy
from torchstone.core.errors import UsageError
from torchstone.core.evidence import Verdict
from torchstone.studies import recorded as package
from torchstone.studies import running
from torchstone.studies.recorded import LIMIT, recorded, shipped
from torchstone.studies.study import all_studies

RECORDED = [study.NAME for study in all_studies() if (package.files(package.__name__) / f"{study.NAME}.jsonl").is_file()]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run_is_whole_small_and_says_how_it_was_made(name):
    file = package.files(package.__name__) / f"{name}.jsonl"
    text = file.read_text(encoding="utf-8")
    assert len(text) < LIMIT
    header = json.loads(text.splitlines()[0])
    assert f"torchstone study {name}" in header["command"]
    assert "/home" not in text and "/work" not in text, "a place on the recorder's machine"
    report = recorded(name)
    assert not report.quick
    assert report.outcomes.settings == tuple(setting.name for setting in _study(name).settings(quick=False))
    assert report.plots and report.evidence
    undecided = all(item.verdict is Verdict.UNDECIDED for item in report.evidence)
    assert not undecided or any("recorded with one seed" in remark for remark in report.remarks)


def _study(name):
    return next(study for study in all_studies() if name == study.NAME)


def test_what_was_not_recorded_is_said(monkeypatch):
    monkeypatch.setattr(package, "find_study", lambda name: toy([]))
    with pytest.raises(UsageError, match="no full run of toy was recorded"):
        recorded.__wrapped__("toy")


def test_a_folder_becomes_a_recording_that_is_judged_anew(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "find_study", lambda name: toy([]))
    ran = running.study("toy", out=tmp_path / "out", seeds=3, data=tmp_path)
    place = shipped(tmp_path / "out", "torchstone study toy", tmp_path / "toy.jsonl")
    assert str(tmp_path) not in place.read_text()
    monkeypatch.setattr(package, "find_study", lambda name: toy([]))
    monkeypatch.setattr(package, "files", lambda name: tmp_path)
    report = recorded.__wrapped__("toy")
    assert report.outcomes.runs and report.evidence == ran.evidence
    assert report.remarks[0].startswith("recorded by `torchstone study toy`")
    assert report.remarks[1] == "toys are not real"
    assert (report.seeds, report.folder) == (3, None)


def test_quick_runs_and_heavy_ones_are_not_shipped(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "find_study", lambda name: toy([]))
    running.study("toy", out=tmp_path / "quick", seeds=1, quick=True)
    with pytest.raises(UsageError, match="holds a quick run"):
        shipped(tmp_path / "quick", "", tmp_path / "x")
    running.study("toy", out=tmp_path / "full", seeds=1)
    monkeypatch.setattr(package, "LIMIT", 100)
    with pytest.raises(UsageError, match="keep fewer pictures"):
        shipped(tmp_path / "full", "", tmp_path / "x")
    assert not (tmp_path / "x").exists()
