import math

import pytest
import torch

from studies.made import StoppedError, tools, verdicts
from torchstone.core.errors import UsageError
from torchstone.core.study import Outcome, Outcomes
from torchstone.studies import forgetting as study
from torchstone.studies import meta_init
from torchstone.studies.data import texts
from torchstone.studies.data.docstrings import trained_tokenizer  # noqa: F401 - the package that the studies need
from torchstone.studies.models import language


@pytest.fixture
def tiny(monkeypatch):
    source = torch.Generator().manual_seed(0)
    made = {
        "tokens": torch.tensor(30), "original_train": torch.randint(15, (900,), generator=source),
        "original_test": torch.randint(15, (300,), generator=source), "new_train": torch.randint(30, (6, 128), generator=source),
        "new_test": torch.randint(30, (5, 128), generator=source),
    }
    monkeypatch.setattr(language, "corpora", lambda *_: made)
    monkeypatch.setattr(language, "_EVERY", 2)
    small = {"TASKS": 2, "EXAMPLES": 4, "TESTED": 2}
    for module, more in ((study, {"ROWS": 4, "QUICK_ADAPTING": 12}), (meta_init, {"STEPS": 2})):
        monkeypatch.setattr(module, "Base", lambda steps: language.Base(steps, 16, 2, 30, 32, 4))
        for name, value in {"QUICK_BASE": 4, "QUICK_META": 6, **small, **more}.items():
            monkeypatch.setattr(module, name, value)


@pytest.mark.slow
@pytest.mark.parametrize("module", [study, meta_init])
def test_a_tiny_study_from_end_to_end(tiny, tmp_path, module):
    made = []
    for place, setting in enumerate(module.settings(quick=True)):
        given = tools(tmp_path)
        outcome = module.run(setting, 0, given)
        given.keep.drop()
        made += [Outcome(setting.name, seed, outcome.figures, outcome.curves) for seed in (0, 1)]
        assert all(math.isfinite(value) for value in outcome.figures.values()), place
    outcomes = Outcomes(tuple(made))
    found = {item.law: item.verdict.value for item in module.judge(outcomes, quick=True)}
    exact = "adaptation.fresh_output" if module is study else "adaptation.inner_step_memory"
    assert found[exact] == "holds"
    assert len(list(module.plots(outcomes))) >= 2


@pytest.mark.parametrize("place", [2, 4])
def test_a_killed_run_goes_on_bit_for_bit(tiny, tmp_path, place):
    setting = study.settings(quick=True)[place]
    whole = study.run(setting, 0, tools(tmp_path / "whole"))
    with pytest.raises(StoppedError):
        study.run(setting, 0, tools(tmp_path / "cut", stop_at=5))
    torch.manual_seed(9)
    assert study.run(setting, 0, tools(tmp_path / "cut")).figures == whole.figures


def made(more=0.2, defended=-0.1, kept=0.0, spread=0.01):
    runs = []
    for seed in range(3):
        for name, height in ((study.PROMPT, 0.1), (study.ADAPTERS, 0.1), (study.FULL, 0.1 + more)):
            curves = {"gain": ((0.0, 0.0), (1.0, 1.0)), "forgetting": ((0.0, 0.0), (1.0, height + spread * seed * (name == study.FULL)))}
            runs.append(Outcome(name, seed, {"gain": 1.0, "forgetting": curves["forgetting"][-1][1]}, curves))
        for name in study.DEFENCES:
            lost = 0.2 + (defended + spread * seed if name != study.NONE else 0.0)
            runs.append(Outcome(name, seed, {"gain": 1.0, "forgetting": lost, "start": kept if name == study.RESET else 0.1}))
    return Outcomes(tuple(runs))


@pytest.mark.parametrize(("altered", "wanted"), [
    ({}, ["holds"] * 5),
    ({"more": -0.2}, ["broken"] * 2 + ["holds"] * 3),
    ({"defended": 0.1}, ["holds"] * 2 + ["broken"] * 2 + ["holds"]),
    ({"spread": 0.3}, ["undecided"] * 4 + ["holds"]),
    ({"kept": 0.1}, ["holds"] * 4 + ["broken"]),
])
def test_the_judge_on_outcomes_made_by_hand(altered, wanted):
    assert verdicts(study, made(**altered)) == wanted


def test_curves_are_read_at_the_least_gain_of_both():
    first = Outcome("one", 0, {"gain": 2.0}, {"gain": ((0.0, 0.0), (1.0, 2.0)), "forgetting": ((0.0, 0.0), (1.0, 4.0))})
    second = Outcome("other", 0, {"gain": 1.0}, {"gain": ((0.0, 0.0), (1.0, 1.0)), "forgetting": ((0.0, 0.0), (1.0, 0.5))})
    assert study.more_forgotten(Outcomes((first, second)), "one", "other").mean == pytest.approx(1.5)
    assert math.isnan(study.at_gain(second, 3.0))


def ended(maml=5.0, falling=0.0):
    runs = []
    for seed in range(3):
        for name, loss, calls in ((meta_init.MAML, maml + 0.01 * seed, 44.0), (meta_init.REPTILE, 5.2, 40.0)):
            curve = ((0.0, loss + 1), (1.0, loss + falling), (2.0, loss))
            figures = {"loss": loss, "gradients": calls, "growth": 0.0, "bend": 0.0}
            runs.append(Outcome(name, seed, figures, {"loss over steps": curve, "loss over seconds": curve}))
    return Outcomes(tuple(runs))


@pytest.mark.parametrize(("altered", "wanted"), [({}, "holds"), ({"maml": 5.5}, "broken"), ({"falling": 0.5}, "undecided")])
def test_a_start_is_judged_where_both_have_ended(altered, wanted):
    assert verdicts(meta_init, ended(**altered)) == ["holds"] * 4 + [wanted]
    assert verdicts(meta_init, ended(**altered), quick=True)[-1] == "undecided"  # a dozen meta steps end nowhere
    assert meta_init.ahead(ended(**altered)).mean == pytest.approx(altered.get("maml", 5.0) + 0.01 - 5.2)


def test_folders_with_too_little_are_refused(tmp_path):
    with pytest.raises(UsageError, match="too few docstrings"):
        texts.corpora(300, 8, tmp_path, tmp_path)
    for number in range(40):
        (tmp_path / f"m{number}.py").write_text(f'"""What module number {number} is about, at some length."""\n')
    with pytest.raises(UsageError, match="too few files of 8 tokens"):
        texts.corpora(300, 8, tmp_path, tmp_path)


def test_windows_lie_in_one_file():
    files = torch.arange(40).reshape(4, 10)
    rows = texts.windows(files, 6, 50, torch.Generator().manual_seed(0))
    assert torch.equal(rows - rows[:, :1], torch.arange(6).expand(50, 6)) and torch.equal(rows[:, 0] // 10, rows[:, -1] // 10)
    assert texts.evenly(files, 4, 3)[:, 0].tolist() == [0, 18, 36]
