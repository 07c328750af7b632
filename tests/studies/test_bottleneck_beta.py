import math
from dataclasses import replace

import pytest
import torch

from studies.made import StoppedError, tools
from torchstone.core.errors import UsageError
from torchstone.core.evidence import Verdict
from torchstone.core.study import Outcome, Outcomes, Setting
from torchstone.studies import bottleneck_beta as beta
from torchstone.studies import running
from torchstone.studies.data import images
from torchstone.studies.models import coding


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "CACHE", tmp_path / "no-cache")
    monkeypatch.setattr(beta, "QUICK_SIZE", (24, 8, 80))
    monkeypatch.setattr(beta, "QUICK_BETAS", (1e-3, 1.0))


def test_a_small_sweep_from_end_to_end(tmp_path):
    report = running.study("bottleneck-beta", quick=True, seeds=2, out=tmp_path / "out")
    assert report.outcomes.settings == ("deterministic", "beta 0.001", "beta 1")
    assert any("8x8 digits instead of MNIST" in remark for remark in report.remarks)
    assert report.remarks[0].startswith("quick: a small network")
    assert len(report.outcomes.values("deterministic", "bits")) == 0
    assert report.outcomes.interval("beta 1", "bits").mean < report.outcomes.interval("beta 0.001", "bits").mean
    assert [item.law for item in report.evidence] == [f"bottleneck.{name}" for name in ("divergence_falls", "least_error", "error_rises", "dip")]
    assert [plot.name for plot in report.plots] == ["error", "bits"]
    assert set(report.outcomes.runs[-1].figures) == {*beta.FIGURES, "grain"}


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(coding, "_KEPT_EVERY", 0.0)
    monkeypatch.setattr(coding, "_TOLD_EVERY", 10)
    setting = Setting("beta 0.001", {"hidden": 24, "latent": 8, "steps": 80, "beta": 1e-3})
    whole = beta.run(setting, 3, tools(tmp_path / "whole"))
    with pytest.raises(StoppedError):
        beta.run(setting, 3, tools(tmp_path / "cut", stop_at=50))
    kept = tools(tmp_path / "cut").keep.load()
    assert kept["step"] == 40
    state = torch.get_rng_state()
    assert beta.run(setting, 3, tools(tmp_path / "cut")) == whole
    assert torch.equal(torch.get_rng_state(), state), "the caller's random state is its own"
    assert beta.run(setting, 4, tools(tmp_path / "other")) != whole


def hand_made(**changed):
    """Three seeds that agree with every law but for the dip; `changed` replaces figures: setting and figure to three values."""
    figures = {
        "deterministic": {"error": 2.0, "validation": 2.0},
        "beta 1e-06": {"error": 2.0, "validation": 2.1, "one": 2.0, "mean": 2.0, "bits": 900.0},
        "beta 0.001": {"error": 2.0, "validation": 2.05, "one": 2.5, "mean": 2.0, "bits": 60.0},
        "beta 1": {"error": 80.0, "validation": 80.0, "one": 85.0, "mean": 80.0, "bits": 0.5},
    }
    shifts = (-0.1, 0.0, 0.13)
    runs = []
    for name, row in figures.items():
        for seed, shift in enumerate(shifts):
            wobble = shift * (1 + 0.5 * len(name) % 3) * (1 if seed % 2 else -1 if name != "deterministic" else 1)
            values = {figure: value + (wobble if figure != "bits" else 0.01 * shift) for figure, value in row.items()}
            values |= {figure: given[seed] for (setting, figure), given in changed.get("to", {}).items() if setting == name}
            runs.append(Outcome(name, seed, values))
    return Outcomes(tuple(runs))


def verdicts(outcomes):
    return {item.law.partition(".")[2]: item.verdict for item in beta.judge(outcomes, quick=False)}


def test_the_judge_tells_holds_broken_and_undecided_apart():
    found = verdicts(hand_made())
    assert found == {"divergence_falls": Verdict.HOLDS, "least_error": Verdict.HOLDS, "error_rises": Verdict.HOLDS, "dip": Verdict.UNDECIDED}
    dip = verdicts(hand_made(to={("deterministic", "error"): (2.5, 2.6, 2.7), ("beta 0.001", "error"): (2.0, 2.1, 2.21)}))
    assert dip["dip"] is Verdict.HOLDS
    none = verdicts(hand_made(to={("deterministic", "error"): (1.5, 1.6, 1.7), ("beta 0.001", "error"): (2.0, 2.1, 2.21)}))
    assert none["dip"] is Verdict.BROKEN
    below_fano = verdicts(hand_made(to={("beta 1", "one"): (40.0, 41.0, 42.0)}))
    assert below_fano["least_error"] is Verdict.BROKEN
    falls = hand_made(to={("beta 1", "error"): (1.0, 1.1, 1.2), ("beta 0.001", "error"): (2.0, 2.1, 2.21)})
    assert verdicts(falls)["error_rises"] is Verdict.BROKEN
    rising = [item.verdict for item in beta.judge(hand_made(to={("beta 1", "bits"): (100.0, 101.0, 102.0)}), quick=False)]
    assert Verdict.BROKEN in rising


def test_the_best_weight_is_chosen_on_validation_alone():
    outcomes = hand_made(to={("beta 1e-06", "error"): (0.1, 0.1, 0.1)})
    assert beta.best(outcomes) == 1e-3


def test_one_seed_of_each_decides_nothing_but_the_page_is_drawn():
    outcomes = Outcomes(tuple(run for run in hand_made().runs if run.seed == 0))
    assert {item.verdict for item in beta.judge(outcomes, quick=False)} == {Verdict.UNDECIDED}
    assert all(not plot.widths for plot in beta.plots(outcomes))


def test_the_full_size_ends_with_one_long_training_that_holds_no_picture_back():
    *sweep, long = beta.settings(quick=False)
    assert long.name == "beta 0.001, full"
    assert long.values["validation"] is False
    assert all(setting.values["steps"] < long.values["steps"] and "validation" not in setting.values for setting in sweep)
    found = images.digits()
    assert len(coding.split(found, None).train) == len(found.train)


def test_a_weight_below_zero_is_refused():
    with pytest.raises(UsageError, match="beta is 0 or more; -1"):
        coding.Recipe(-1.0, 8, 4, 10, 10)


def test_validation_comes_from_training_and_classes_are_numbered_anew():
    found = images.digits()
    data = coding.split(found, 10, (1, 4, 7))
    assert data.test_labels.unique().tolist() == [0, 1, 2]
    assert len(data.train) + len(data.validation) == int(torch.isin(found.train_labels, torch.tensor([1, 4, 7])).sum())
    assert len(data.test) == int(torch.isin(found.test_labels, torch.tensor([1, 4, 7])).sum())
    assert data.train.min() >= -1 and data.train.max() <= 1


def test_every_picture_comes_once_an_epoch():
    rows = torch.cat([coding._rows(100, 20, 0, step) for step in range(5)])
    assert rows.sort().values.tolist() == list(range(100))
    assert not torch.equal(coding._rows(100, 20, 0, 0), coding._rows(100, 20, 0, 5))


def test_bits_of_the_prior_itself_are_none():
    assert coding.bits(torch.zeros(3, 2), torch.ones(3, 2)) == 0.0
    assert math.isclose(coding.bits(torch.full((3, 1), 2.0), torch.ones(3, 1)), 2 / math.log(2), rel_tol=1e-6)
    assert replace(coding.Recipe(None, 8, 4, 10, 10), beta=0.0).beta == 0.0
