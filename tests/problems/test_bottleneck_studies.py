from dataclasses import replace

import pytest

from torchstone.core.problem import Posted
from torchstone.core.study import Outcomes
from torchstone.problems import bottleneck_studies
from torchstone.problems.answering import all_solvers
from torchstone.studies.recorded import recorded


@pytest.fixture
def with_runs(monkeypatch):
    """Answers a question from recorded runs whose figures a function has changed."""

    def solve(question, name, change):
        report = recorded(name)
        seeds = (replace(run, seed=seed) for run in report.outcomes.runs if run.seed == 0 for seed in range(3))
        runs = tuple(replace(run, figures=change(run)) for run in seeds)
        changed = replace(report, outcomes=Outcomes(runs), evidence=report.evidence[:1])
        monkeypatch.setattr(bottleneck_studies, "recorded", lambda _: changed)
        return all_solvers()[question](Posted())

    return solve


def test_the_curve_is_told_from_the_runs(with_runs):
    def change(run):
        return {**run.figures, "validation": 0.5 + 0.001 * run.seed} if run.setting == "beta 0.01" else run.figures

    answer = with_runs("D11c", "bottleneck-beta", change)
    assert answer.says[2].startswith("best weight: 0.01 by validation error")
    assert answer.says[0].startswith("error: least at beta = 0.01 and surely higher at")
    assert "recorded by `torchstone study bottleneck-beta" in answer.remarks[0]


@pytest.mark.parametrize(("shift", "said"), [(-0.2, "lower"), (0.2, "higher")])
def test_the_dip_is_what_the_runs_say(with_runs, shift, said):
    def change(run):
        errors = {"deterministic": 2.0, "beta 0.001": 2.0 + shift}
        return {**run.figures, "error": errors[run.setting]} if run.setting in errors else run.figures

    derivation = with_runs("D11c", "bottleneck-beta", change).derivation[-1]
    assert f"is {said} (" in derivation


def test_spaces_that_runs_do_not_tell_apart_are_said_to_be_so(with_runs):
    def change(run):
        errors = {"beta 1e-06": 0.4 + 0.1 * run.seed, "beta 0.001": 0.6 - 0.1 * run.seed}
        return {**run.figures, "validation": errors.get(run.setting, run.figures["validation"])}

    answer = with_runs("D11d", "bottleneck-latent", change)
    assert "do not tell beta 0.001 from beta 1e-06" in answer.says[1]
    assert len(answer.drawings) == 3
    assert "<circle" in answer.drawings[0].svg


def test_a_picture_is_assigned_by_its_scale_whatever_its_name(with_runs):
    scales = {"beta 1e-06": 0.3, "beta 0.001": 30.0, "beta 1": 300.0}
    answer = with_runs("D11d", "bottleneck-latent", lambda run: {**run.figures, "scale": scales[run.setting]})
    assert "scale 300 is beta = 1e-06" in answer.says[0]
    assert "scale 0.3 is beta = 1 " in answer.says[0]
