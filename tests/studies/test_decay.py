import math

import pytest
import torch

from studies.made import outcomes, tools, verdicts
from torchstone.studies import decay as study
from torchstone.studies.models import digits
from torchstone.studies.running import study as run_study


@pytest.fixture
def tiny(monkeypatch):
    for name, value in {"STEPS": 10, "WARM": 5, "REPLAYED": 10, "DECAYS": {study.L2: (1e-3, 1e-2), study.DECOUPLED: (0.1, 1.0)}}.items():
        monkeypatch.setattr(study, name, value)


def test_a_tiny_study_from_end_to_end(tiny, tmp_path):
    report = run_study("decay", quick=True, seeds=2, out=tmp_path / "out")
    assert report.outcomes.settings == (study.L2, study.DECOUPLED, study.NONE)
    assert [item.verdict.value for item in report.evidence][1] == "holds"
    assert len(report.outcomes.of(study.L2)[0].curves["shrinkage"]) == study.GROUPS
    assert {plot.name for plot in report.plots} == {"shrinkage", "error"}


def test_the_same_setting_and_seed_give_the_same_run(tiny, tmp_path):
    setting = study.settings(quick=True)[0]
    first = study.run(setting, 1, tools(tmp_path))
    torch.manual_seed(9)
    assert study.run(setting, 1, tools(tmp_path)) == first


def test_decoupled_takes_the_same_share_of_every_weight(tiny):
    _, share = study.shrinkage(digits.split(0), 0, "decoupled")
    assert torch.allclose(share[share.isfinite()], torch.tensor(study.TINY * digits.RATE, dtype=torch.float64), rtol=1e-5)


def test_the_sets_share_no_digit_and_the_test_set_is_one():
    first, second = digits.split(0), digits.split(1)
    assert len(first.train) == digits.LEARNED and len(first.validation) == digits.HELD
    assert torch.equal(first.test, second.test) and not torch.equal(first.train, second.train)
    rows = {name: {row.numpy().tobytes() for row in getattr(first, name)} for name in ("train", "validation", "test")}
    assert not rows["train"] & rows["validation"] and not rows["train"] & rows["test"]


def test_the_slope_of_groups():
    size = torch.logspace(-3, 0, 100, dtype=torch.float64)
    assert study.slope(study.grouped(size, 1 / size)) == pytest.approx(-1)
    assert study.slope(study.grouped(size, torch.where(size > 0.5, torch.nan, 2.0))) == pytest.approx(0)
    assert math.isnan(study.slope(study.grouped(size, -size)))


def made(l2=-0.95, decoupled=0.0, tenth=0.1, worse=1.0, spread=0.02):
    first = {"slope": (l2, spread), "rescaled": (tenth, spread / 10), "test": (6.0 + worse, spread)}
    second = {"slope": (decoupled, spread), "rescaled": (1.0, spread / 10), "test": (6.0, -spread)}
    return outcomes({study.L2: first, study.DECOUPLED: second, study.NONE: {"test": 6.5}})


@pytest.mark.parametrize(("altered", "wanted"), [
    ({}, ["holds"] * 5),
    ({"l2": 0.0}, ["broken", *["holds"] * 4]),
    ({"decoupled": -1.0}, ["holds", "broken", *["holds"] * 3]),
    ({"tenth": 1.0}, ["holds", "holds", "broken", "holds", "holds"]),
    ({"worse": -1.0}, [*["holds"] * 4, "broken"]),
    ({"worse": 0.0}, [*["holds"] * 4, "undecided"]),
    ({"spread": 20.0}, ["undecided"] * 5),
])
def test_the_judge_on_outcomes_made_by_hand(altered, wanted):
    assert verdicts(study, made(**altered)) == wanted
