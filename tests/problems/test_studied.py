"""Remarks told from recorded studies."""

import pytest

from torchstone.core.problem import Posted
from torchstone.problems.answering import all_solvers
from torchstone.problems.studied import studied
from torchstone.studies import decay, summarizer_init, temporal_order
from torchstone.studies.recorded import recorded


def test_a_remark_gives_figures_with_intervals_seeds_verdicts_and_the_command():
    laws, told, made = studied("decay", (decay.L2, decay.DECOUPLED), "slope")
    assert "12 seeds" in laws and "undecided" in laws and told.startswith("slope of shrinkage: -0.94")
    assert "torchstone study decay" in made


@pytest.mark.parametrize(("study", "figure"), [(decay, "test"), (summarizer_init, "last"), (temporal_order, "accuracy")])
def test_every_recorded_study_has_the_figures_of_its_remark(study, figure):
    report = recorded(study.NAME)
    assert set(report.figures) == set(study.FIGURES)
    assert len(studied(study.NAME, report.outcomes.settings[:2], figure)) == 3


def test_what_the_study_left_undecided_is_said_with_the_answer():
    remarks = all_solvers()["C4.4"](Posted()).remarks
    left = [item for item in recorded("decay").evidence if item.reason]
    assert len([remark for remark in remarks if remark.startswith("undecided: argued from it")]) == len(left)
