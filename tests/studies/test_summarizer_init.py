import math

import pytest
import torch

from studies.made import StoppedError, outcomes, tools, verdicts
from torchstone.studies import summarizer_init as study
from torchstone.studies.data.docstrings import BEGIN, END
from torchstone.studies.models.summarizer import Plan, Summarizer, drawn
from torchstone.studies.running import study as run_study

TOKENS, WIDTH = 50, 16


def toy_pairs(*_):
    source = torch.Generator().manual_seed(0)
    found = {"tokens": torch.tensor(TOKENS)}
    for name, count in (("train", 40), ("test", 16)):
        found[f"{name}_sources"] = torch.randint(3, TOKENS, (count, 10), generator=source, dtype=torch.int32)
        targets = torch.randint(3, TOKENS, (count, 6), generator=source, dtype=torch.int32)
        targets[:, 0], targets[:, -1] = BEGIN, END
        found[f"{name}_targets"] = targets
    return found


@pytest.fixture
def tiny(monkeypatch):
    size = study.Size(TOKENS, WIDTH, 16, Plan(12, 4, (0, 3, 6, 9), every=5))
    monkeypatch.setattr(study, "SMALL", size)
    monkeypatch.setattr(study, "summaries", toy_pairs)


def test_a_tiny_study_from_end_to_end(tiny, tmp_path):
    report = run_study("summarizer-init", quick=True, seeds=2, out=tmp_path / "out")
    assert len(report.outcomes.runs) == 8 and len(report.evidence) == 11
    assert [x for x, _ in report.outcomes.runs[0].curves["validation"]] == [0, 3, 6, 9, 12]
    assert report.outcomes.interval(study.WIDE, "first").mean > report.outcomes.interval(study.NARROW, "first").mean
    assert {plot.name for plot in report.plots} == {"loss", "scaled"}


@pytest.mark.parametrize("stop_at", [3, 8, 11])
def test_a_killed_run_goes_on_bit_for_bit(tiny, tmp_path, stop_at):
    setting = study.settings(quick=True)[1]
    whole = study.run(setting, 3, tools(tmp_path / "a"))
    with pytest.raises(StoppedError):
        study.run(setting, 3, tools(tmp_path / "b", stop_at=stop_at))
    assert (tmp_path / "b" / "part.pt").exists() == (stop_at > 5)
    assert study.run(setting, 3, tools(tmp_path / "b")) == whole


def test_models_of_one_seed_differ_by_their_deviation_only():
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    narrow, wide = (drawn(TOKENS, WIDTH, deviation, 1.0, seed=1) for deviation in (0.5, 1.0))
    assert torch.equal(torch.rand(1), wanted)
    assert torch.equal(2 * narrow.transformer.embedding.weight, wide.transformer.embedding.weight)
    first = [next(model.transformer.encoder.parameters()) for model in (narrow, wide)]
    assert torch.equal(*first)


def test_the_scale_multiplies_the_logits():
    model = Summarizer(TOKENS, WIDTH, 1.0, scale=0.25)
    states = torch.randn(2, 3, WIDTH)
    assert torch.allclose(model.head(states), 0.25 * states @ model.transformer.embedding.weight.T, atol=1e-6)


def made(wide_first=80.0, last=6.0, wide_last=9.0, spread=0.05):
    start = {"law": 8.3, "first": (8.3, spread), "apart": 8.25, "uniform": math.log(4000), "last": (last, spread)}
    wide = {**start, "law": 80.0, "first": (wide_first, spread), "apart": 41.0, "last": (wide_last, spread)}
    return outcomes({study.WIDE: wide, study.ROOT: start, study.NARROW: start, study.DIVIDED: start})


def test_the_judge_on_outcomes_made_by_hand():
    assert verdicts(study, made()) == ["holds"] * 11
    assert verdicts(study, made(wide_first=60.0))[0] == "broken"
    assert verdicts(study, made(last=9.5, wide_last=9.0))[5:] == ["broken"] * 6
    wide = verdicts(study, made(spread=8.0))
    assert wide[1:4] == wide[5:8] == ["undecided"] * 3
    assert wide[8:] == ["holds"] * 3  # what all starts of a seed share cancels
