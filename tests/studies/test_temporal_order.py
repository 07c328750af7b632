import math

import pytest
import torch

from studies.made import outcomes, tools, verdicts
from torchstone.studies import temporal_order as study
from torchstone.studies.models.temporal_order import CHANCE, Step, descend, draw, looks_before
from torchstone.studies.running import study as run_study


@pytest.fixture
def tiny(monkeypatch):
    for name, value in {"QUICK_STEPS": 12, "LOOKS": 2, "ROWS": 64, "LAST": 4, "WIDTHS": (2, 4), "UNITS": 4}.items():
        monkeypatch.setattr(study, name, value)
    for name, one in {"LARGE_STEP": (1.5,), "CLIPPED": (1.5, 0.1), "SMALL_STEP": (0.2,)}.items():
        monkeypatch.setattr(study, name, study.named(*one, units=4))


def test_a_tiny_study_from_end_to_end(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "named", lambda rate, clip=math.inf, units=4: f"{rate} {clip} {units}")
    monkeypatch.setattr(study, "LARGE_STEP", "1.5 inf 4")
    monkeypatch.setattr(study, "CLIPPED", "1.5 0.1 4")
    monkeypatch.setattr(study, "SMALL_STEP", "0.2 inf 4")
    monkeypatch.setattr(study, "REMEDIES", ("1.5 0.1 4", "0.2 inf 4"))
    report = run_study("temporal-order", quick=True, seeds=2, out=tmp_path / "out")
    assert report.outcomes.settings == ("1.5 inf 2", "1.5 inf 4", "1.5 0.1 4", "0.2 inf 4")
    assert len(report.evidence) == 11
    assert {plot.name for plot in report.plots} == {"loss", "accuracy", "spikes", "width"}
    starts = {tuple(report.outcomes.values(name, "start")) for name in report.outcomes.settings[1:]}
    assert len(starts) == 1  # one start for one width and seed, whatever the rate and the clip


def test_the_same_setting_and_seed_give_the_same_run_and_another_seed_another(tiny, tmp_path):
    torch.manual_seed(1)
    setting = study.settings(quick=True)[0]
    first = study.run(setting, 0, tools(tmp_path))
    torch.manual_seed(2)
    assert study.run(setting, 0, tools(tmp_path)) == first
    assert study.run(setting, 1, tools(tmp_path)).figures != first.figures


def test_data_and_start_are_those_of_the_seed():
    large, small = (descend(rate, math.inf, 4, 2, seed=3) for rate in (1.0, 0.1))
    assert large[0] == small[0] and large[1] != small[1]
    assert torch.equal(draw(5, torch.Generator().manual_seed(0))[0], draw(5, torch.Generator().manual_seed(0))[0])


def test_looks_lie_just_before_a_spike_or_are_spread_over_a_run_without():
    assert list(looks_before(4, 100, 10)) == [0, 1, 2, 3]
    assert list(looks_before(50, 100, 3)) == [47, 48, 49]
    assert list(looks_before(100, 100, 4)) == [0, 25, 50, 75]


def test_curves_are_cut_where_a_run_explodes():
    steps = [Step(CHANCE, 0.25, 0.0), Step(1e9, 0.25, 0.0), Step(math.nan, 0.25, 0.0), Step(math.inf, 0.25, 0.0)]
    assert study._blocks(steps, "loss") == ((0.0, round((CHANCE + 3 * study.CUT) / 4, 4)),)


def made(spiking=4.0, calm=0.1, start=CHANCE, steep=1.5, last=0.1, spread=0.02):
    shared = {"start": (start, spread), "hits": (0.25, spread), "square": 0.01}
    large = {**shared, "peak": (spiking, spread), "steepness": (steep, spread), "last": (4.0, spread)}
    remedy = {**shared, "peak": (calm, spread), "steepness": (-2.0, spread), "last": (last, spread)}
    names = [study.named(study.LARGE, units=units) for units in study.WIDTHS]
    return outcomes({**dict.fromkeys(names, large), **dict.fromkeys(study.REMEDIES, remedy)})


@pytest.mark.parametrize(("altered", "place", "verdict"), [
    ({}, slice(None), "holds"),
    ({"start": 1.1}, slice(0, 1), "broken"),
    ({"spiking": 0.5}, slice(2, 8, 2), "broken"),
    ({"steep": -1.0}, slice(3, 8, 2), "broken"),
    ({"calm": 2.0}, slice(9, 12, 2), "broken"),
    ({"last": 2.0}, slice(10, 13, 2), "broken"),
    ({"spread": 20.0}, slice(2, 8), "undecided"),
])
def test_the_judge_on_outcomes_made_by_hand(altered, place, verdict):
    found = verdicts(study, made(**altered))
    assert len(found) == 13 and set(found[place]) == {verdict}
