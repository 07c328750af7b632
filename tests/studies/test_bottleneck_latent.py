import pytest

from studies.made import StoppedError, tools
from torchstone.core.evidence import Verdict
from torchstone.core.study import Outcome, Outcomes, Setting
from torchstone.studies import bottleneck_latent as latent
from torchstone.studies import running
from torchstone.studies.data import images
from torchstone.studies.models import coding


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "CACHE", tmp_path / "no-cache")
    monkeypatch.setattr(latent, "QUICK_SIZE", (16, 150))


def test_three_pictures_from_end_to_end(tmp_path):
    report = running.study("bottleneck-latent", quick=True, seeds=2, out=tmp_path / "out")
    scales = {name: report.outcomes.interval(name, "scale").mean for name in report.outcomes.settings}
    assert latent.assigned(scales) == {latent.named(beta): beta for beta in latent.BETAS}
    assert [plot.name for plot in report.plots] == ["codes-1e-06", "codes-0.001", "codes-1", "scale"]
    assert set(report.plots[0].series) == {"1", "4", "7"}
    assert all(len(cloud) <= latent.SHOWN for cloud in report.plots[0].series.values())
    assert len(latent.FIGURES) <= 6


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(coding, "_KEPT_EVERY", 0.0)
    monkeypatch.setattr(coding, "_TOLD_EVERY", 10)
    setting = Setting("beta 1", {"beta": 1.0, "hidden": 16, "steps": 60})
    whole = latent.run(setting, 0, tools(tmp_path / "whole"))
    with pytest.raises(StoppedError):
        latent.run(setting, 0, tools(tmp_path / "cut", stop_at=30))
    assert latent.run(setting, 0, tools(tmp_path / "cut")) == whole


def hand_made(scale=(50.0, 6.0, 0.4), bits=(900.0, 40.0, 0.1), validation=(0.5, 0.4, 30.0), spread=0.01):
    runs = []
    for beta, *row in zip(latent.BETAS, scale, bits, validation, strict=True):
        for seed in range(3):
            shift = spread * (seed - 1) * (1 if beta < 1e-4 else -1)
            values = dict(zip(("scale", "bits", "validation", "separation"), [*(one * (1 + shift) for one in row), row[2] * (1 - shift)], strict=True))
            runs.append(Outcome(latent.named(beta), seed, values))
    return Outcomes(tuple(runs))


def verdicts(outcomes):
    return [item.verdict for item in latent.judge(outcomes, quick=False)]


def test_the_judge_tells_holds_broken_and_undecided_apart():
    assert verdicts(hand_made()) == [Verdict.HOLDS] * 8
    assert verdicts(hand_made(scale=(50.0, 6.0, 2.0)))[2] is Verdict.BROKEN
    assert verdicts(hand_made(bits=(900.0, 1000.0, 0.1)))[3] is Verdict.BROKEN
    assert verdicts(hand_made(validation=(0.5, 0.5, 30.0), spread=0.1))[-1] is Verdict.UNDECIDED
    assert verdicts(hand_made(validation=(0.5, 40.0, 30.0)))[5] is Verdict.BROKEN


def test_errors_that_agree_by_the_size_of_one_picture_alone_decide_nothing():
    made = hand_made(validation=(0.5, 0.4, 30.0), spread=0.0)
    assert verdicts(made)[-1] is Verdict.HOLDS
    coarse = [Outcome(run.setting, run.seed, {**run.figures, "grain": 0.2}) for run in made.runs]
    assert verdicts(Outcomes(tuple(coarse)))[-1] is Verdict.UNDECIDED


def test_a_picture_on_a_wide_scale_belongs_to_no_large_beta():
    assert latent.assigned({"c": 0.3, "a": 60.0, "b": 7.0}) == {"a": 1e-6, "b": 1e-3, "c": 1.0}
    with pytest.raises(ValueError, match=r"a scale of 2 is above 1\.48, the most at beta 1"):
        latent.assigned({"c": 2.0, "a": 60.0, "b": 7.0})


def test_separation_counts_codes_that_lie_nearer_to_another_class():
    import torch

    mean = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    labels = torch.tensor([0, 1, 2])
    assert latent._separation(mean, labels, mean, labels) == 0.0
    assert latent._separation(mean, labels, mean, torch.tensor([0, 1, 1])) == pytest.approx(100 / 3)
