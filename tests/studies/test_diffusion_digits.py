import pytest
import torch

from studies.made import StoppedError, tools
from torchstone.core.evidence import Verdict
from torchstone.core.study import Outcome, Outcomes, Setting
from torchstone.studies import diffusion_digits as diffusion
from torchstone.studies import running
from torchstone.studies.models import denoising

TINY = denoising.Plan(hidden=16, layers=1, steps=40, batch=32, rate=2e-3, look=10)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(diffusion, "QUICK_PLAN", TINY)
    monkeypatch.setattr(diffusion, "QUICK_A_CLASS", 2)
    monkeypatch.setattr(denoising, "_KEPT_EVERY", 0.0)


def test_a_tiny_diffusion_from_end_to_end(tmp_path):
    report = running.study("diffusion-digits", quick=True, seeds=2, out=tmp_path / "out")
    real = report.outcomes.of("real test digits")[0].figures
    assert real["accuracy"] > 97
    assert {plot.name for plot in report.plots} >= {"loss", "novelty", "samples-200-steps", "path-200-steps"}
    assert len(report.outcomes.mean_curve("200 steps", "validation")) == 4
    assert (tmp_path / "out" / "shared-denoiser-1.pt").exists()
    assert not any("validation" in run.curves for run in report.outcomes.of("20 steps, deterministic"))


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    setting = Setting(diffusion.FULL, {"which": "best", "steps": 200, "stochasticity": 1.0})
    whole = diffusion.run(setting, 0, tools(tmp_path / "whole"))
    with pytest.raises(StoppedError):
        diffusion.run(setting, 0, tools(tmp_path / "cut", stop_at=30))
    assert tools(tmp_path / "cut").keep.load()["step"] == 20
    assert diffusion.run(setting, 0, tools(tmp_path / "cut")) == whole


def test_the_best_weights_are_those_of_the_least_validation_loss(tmp_path):
    data = diffusion.split()
    kept = denoising.trained(TINY, data.train, data.validation, 10, 0, tools(tmp_path / "run"))
    losses = kept["curve"][:, 1]
    best = denoising.restored(TINY, 64, 10, kept, "best")
    assert denoising.held_out_loss(best, data.validation) == pytest.approx(losses.min().item(), rel=1e-6)
    last = denoising.restored(TINY, 64, 10, kept, "last")
    assert denoising.held_out_loss(last, data.validation) == pytest.approx(losses[-1].item(), rel=1e-6)


def test_no_picture_is_in_two_parts_of_the_data():
    data = diffusion.split()
    assert len(data.train.rows) + len(data.validation.rows) + len(data.test.rows) == 1797
    assert torch.cdist(data.test.rows, data.train.rows).min() > 0
    assert torch.cdist(data.validation.rows, data.train.rows).min() > 0


def test_copies_have_perfect_accuracy_and_no_distance():
    train = diffusion.split().train
    assert diffusion.accuracy(train.rows[:100], train.labels[:100], train) == 100.0
    assert diffusion.nearest(train.rows[:100], train) < 2e-2  # torch.cdist rounds near 0


def hand_made(loss=0.17, later=1.7, spread=0.01):
    rows = {
        diffusion.REAL: {"accuracy": 98.6, "distance": 2.2, "linear": 0.22},
        diffusion.FULL: {"accuracy": 99.5, "distance": 1.9, "loss": loss},
        diffusion.PAST: {"accuracy": 99.9, "distance": later, "loss": 0.18},
    }
    factors = {diffusion.REAL: 0.0, diffusion.FULL: 1.0, diffusion.PAST: -1.0}
    return Outcomes(tuple(
        Outcome(name, seed, {figure: value * (1 + factors[name] * spread * (seed - 1)) for figure, value in row.items()})
        for name, row in rows.items() for seed in range(3)
    ))


def verdicts(outcomes):
    return [item.verdict for item in diffusion.judge(outcomes, quick=False)]


def test_the_judge_tells_holds_broken_and_undecided_apart():
    assert verdicts(hand_made()) == [Verdict.HOLDS] * 2
    assert verdicts(hand_made(loss=0.3))[0] is Verdict.BROKEN
    assert verdicts(hand_made(later=1.89))[1] is Verdict.UNDECIDED
    assert verdicts(hand_made(later=2.1))[1] is Verdict.BROKEN
    assert len(list(diffusion.judge(hand_made(), quick=True))) == 1
