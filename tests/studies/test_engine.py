import dataclasses
import errno
import json
import math
import random

import pytest
import torch

from studies.toys import PICTURE, toy
from torchstone.core.errors import InvariantError, UsageError
from torchstone.core.evidence import Verdict
from torchstone.core.study import Interval, Outcome, Outcomes, Setting, interval, student_quantile
from torchstone.report import study as report_of_study
from torchstone.report.study import as_text, save, to_csv, to_html, to_json
from torchstone.studies import running
from torchstone.studies.judging import above, below, near
from torchstone.studies.keeping import Keeper
from torchstone.studies.store import Store
from torchstone.studies.study import all_studies, find_study


@pytest.fixture
def run_toy(monkeypatch, tmp_path):
    def run(ran=None, stop_at=None, out=tmp_path / "out", **options):
        monkeypatch.setattr(running, "find_study", lambda name: toy([] if ran is None else ran, stop_at))
        return running.study("toy", out=out, **{"seeds": 3, **options})

    return run


def test_every_setting_runs_with_every_seed_and_the_laws_are_held(run_toy):
    ran = []
    report = run_toy(ran)
    assert ran == [(name, seed, None) for seed in range(3) for name in ("one", "two")]
    assert report.outcomes.interval("one", "height").mean == 11.0
    assert [item.verdict for item in report.evidence] == [Verdict.HOLDS, Verdict.HOLDS]
    assert (report.verdict, report.exit_code, report.remarks) == (Verdict.HOLDS, 0, ("toys are not real",))


def test_a_stopped_study_goes_on_where_it_was(run_toy, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_toy(stop_at=("two", 1))
    with (tmp_path / "out" / "runs.jsonl").open("a") as file:
        file.write('{"setting":"two","se')  # a line that a kill has cut
    ran = []
    report = run_toy(ran)
    assert ran == [("two", 1, 3), ("one", 2, None), ("two", 2, None)]
    assert report.outcomes.values("two", "height") == [20.0, 21.0, 22.0]
    assert report.outcomes.of("two")[0].pictures == {"face": PICTURE}
    again = []
    assert run_toy(again).outcomes == report.outcomes
    assert again == []
    assert not list((tmp_path / "out").glob("part-*"))


def test_more_seeds_keep_the_ones_that_are_there(run_toy):
    run_toy(seeds=1)
    ran = []
    assert run_toy(ran, seeds=2).seeds == 2
    assert {seed for _, seed, _ in ran} == {1}


def test_a_costly_setting_runs_as_often_as_it_says(monkeypatch, tmp_path):
    ran = []
    made = toy(ran)
    made.settings = lambda *, quick: [Setting("one", {"number": 1}), Setting("two", {"number": 2}, seeds=1)]
    monkeypatch.setattr(running, "find_study", lambda name: made)
    report = running.study("toy", out=tmp_path / "out", seeds=3)
    assert [(name, seed) for name, seed, _ in ran] == [("one", 0), ("two", 0), ("one", 1), ("one", 2)]
    assert len(report.outcomes.values("two", "height")) == 1
    assert report.evidence[1].verdict is Verdict.UNDECIDED
    assert running.study("toy", out=tmp_path / "out", seeds=3).outcomes == report.outcomes


def test_one_seed_decides_nothing(run_toy):
    report = run_toy(seeds=1)
    assert {item.verdict for item in report.evidence} == {Verdict.UNDECIDED}
    assert any("more seeds" in remark for remark in report.remarks)
    assert report.exit_code == 0


@pytest.mark.parametrize(("options", "said"), [
    ({"seeds": 0}, "at least one seed; 0 came"),
    ({"data": "nowhere"}, "--data nowhere is no folder"),
])
def test_bad_input_is_refused_in_one_line(run_toy, options, said):
    with pytest.raises(UsageError, match=said):
        run_toy(**options)


def test_a_folder_of_something_else_is_left_alone(run_toy, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="holds other files"):
        run_toy(out=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    run_toy()
    with pytest.raises(UsageError, match="runs of another kind"):
        run_toy(quick=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        run_toy(out=tmp_path / "file")


def test_one_process_at_a_time_has_a_folder(run_toy, tmp_path):
    held = Store(tmp_path / "out", "toy", {"quick": False, "data": ""})
    with pytest.raises(UsageError, match="in use by another process; wait until it ends"):
        run_toy()
    held.close()
    assert run_toy().verdict is Verdict.HOLDS


def test_a_study_that_did_nothing_leaves_nothing(monkeypatch, tmp_path):
    made = toy([])
    made.run = lambda setting, seed, tools: (_ for _ in ()).throw(UsageError("no such data"))
    monkeypatch.setattr(running, "find_study", lambda name: made)
    (tmp_path / "mine").mkdir()
    for place in ("new", "mine"):
        with pytest.raises(UsageError, match="no such data"):
            running.study("toy", out=tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"] and not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize("left", ["", '{"study":"to', None])
def test_a_first_line_that_was_cut_and_files_of_a_killed_process_are_no_hindrance(run_toy, tmp_path, left):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "runs.jsonl.77.part").write_text("{")
    if left is not None:
        (tmp_path / "out" / "runs.jsonl").write_text(left)
    else:  # the first line alone, and what a run kept before it was killed
        (tmp_path / "out" / "runs.jsonl").write_text('{"study":"toy","schema":1,"quick":false,"data":""}\n{"a":1}\n[1]\n')
        (tmp_path / "out" / "shared-base.pt").write_text("")
    assert len(run_toy().outcomes.runs) == 6
    assert not list((tmp_path / "out").glob("*.part"))
    assert run_toy([]).outcomes.runs == run_toy().outcomes.runs


def test_a_full_disk_is_told_in_one_line_and_the_runs_are_kept(run_toy, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    report = run_toy()
    with monkeypatch.context() as patch:
        patch.setattr(report_of_study, "save_plots", full)
        with pytest.raises(UsageError, match="plots and page cannot be written: No space left on device; make room"):
            save(report)
        patch.setattr(torch, "save", full)
        with pytest.raises(UsageError, match=r"part\.pt cannot be written: No space left"):
            Keeper(tmp_path / "part.pt").save(step=1)
    assert not list(tmp_path.glob("part*")) and len((tmp_path / "out" / "runs.jsonl").read_text().splitlines()) == 7


def test_data_of_the_user_is_refused_where_a_study_has_its_own(tmp_path):
    with pytest.raises(UsageError, match="decay takes no --data: it trains on scikit-learn's digits"):
        running.study("decay", data=tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cpu_seconds_count_on_after_a_kill(tmp_path):
    first = Keeper(tmp_path / "part.pt")
    while first.seconds < 0.02:
        pass
    first.save(step=1)
    again = Keeper(tmp_path / "part.pt")
    assert again.seconds < 0.02
    assert again.load() == {"step": 1} and again.seconds >= 0.02


def test_two_plots_of_one_name_are_a_fault_of_the_study(run_toy):
    report = run_toy()
    with pytest.raises(InvariantError, match="two plots of one name"):
        dataclasses.replace(report, plots=(*report.plots, report.plots[0]))


def test_an_unknown_study_is_answered_with_those_that_are(tmp_path):
    with pytest.raises(UsageError, match="attention-scaling"):
        running.study("attention", out=tmp_path)
    assert find_study("attention-scaling") in all_studies()


def test_the_report_in_every_form(run_toy, tmp_path):
    report = run_toy()
    save(report)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"runs.jsonl", "remarks.txt", "table.csv", "index.html", "lines.svg", "lines.png", "faces.svg", "faces.png"}
    before = (tmp_path / "out" / "lines.svg").read_bytes()
    save(report)
    assert (tmp_path / "out" / "lines.svg").read_bytes() == before
    raw = json.loads(to_json(report))
    assert raw["settings"]["two"]["height"]["mean"] == 21.0
    assert raw["verdict"] == "holds"
    assert to_csv(report).splitlines()[:2] == ["setting,seed,height,cpu_seconds", f"one,0,10.0,{report.outcomes.runs[0].seconds:.2f}"]
    assert "Is two more than one?" in to_html(report)


def test_json_of_one_seed_has_no_bare_infinity(run_toy):
    assert '"inf"' in to_json(run_toy(seeds=1))


def test_student_quantiles_are_those_of_the_tables():
    known = {1: 12.7062, 2: 4.30265, 4: 2.77645, 9: 2.26216, 100: 1.98397}
    assert all(abs(student_quantile(degrees) - t) < 1e-4 for degrees, t in known.items())


def test_intervals_cover_the_mean_as_often_as_they_say():
    draw = random.Random(0)
    covered = 0
    for _ in range(2000):
        found = interval([draw.gauss(5, 2) for _ in range(4)])
        covered += found.low <= 5 <= found.high
    assert abs(covered / 2000 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_differences_are_taken_seed_by_seed():
    runs = [Outcome(name, seed, {"x": 100.0 * seed + shift}) for seed in range(3) for name, shift in (("a", 0.0), ("b", 1.0))]
    assert Outcomes(tuple(runs)).difference("b", "a", "x") == Interval(1.0, 0.0, 3)


def test_verdicts_follow_the_interval():
    def verdict(hold, mean, width, **more):
        return hold("loss.uniform_cross_entropy", 0.0, Interval(mean, width, 3), "toy", **more).verdict

    assert verdict(above, 1.0, 0.5) is Verdict.HOLDS
    assert verdict(above, -1.0, 0.5) is Verdict.BROKEN
    assert verdict(above, 0.1, 0.5) is Verdict.UNDECIDED
    assert verdict(below, 1.0, 0.5) is Verdict.BROKEN
    assert verdict(below, 0.0, 0.0) is Verdict.UNDECIDED  # all seeds at the bound itself: the figure is too coarse
    assert verdict(below, 1.0, 0.0, grain=2.0) is Verdict.UNDECIDED
    assert verdict(below, 1.0, 0.0, reason="not yet ended") is Verdict.UNDECIDED
    assert verdict(near, 0.1, 0.5, rival=1.0) is Verdict.HOLDS
    assert verdict(near, 0.7, 0.5, rival=1.0) is Verdict.BROKEN
    assert verdict(near, 0.1, 1.5, rival=1.0) is Verdict.UNDECIDED
    assert verdict(near, 0.1, math.inf, rival=1.0) is Verdict.UNDECIDED


def test_what_a_keeper_cannot_read_is_as_if_nothing_was_kept(tmp_path):
    keeper = Keeper(tmp_path / "part.pt")
    assert keeper.load() is None
    keeper.save(step=3)
    assert keeper.load() == {"step": 3}
    keeper.path.write_bytes(keeper.path.read_bytes()[:20])
    assert keeper.load() is None
    keeper.drop()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "text"), [
    (Interval(1.5, 0.25, 2), "1.50 ±0.25"),
    (Interval(1234567.0, 10.0, 2), "1.235e+06 ±10"),
    (Interval(math.nan, 1.0, 2), "nan"),
    (Interval(3.0, 0.0, 2), "3"),
])
def test_intervals_as_text(value, text):
    assert as_text(value) == text
