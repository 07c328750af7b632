"""The answers about attention linear in the sequence: what they compute, and that they are said in numbers."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Posted, Solved
from torchstone.problems.answering import all_questions, all_solvers


def solved(name):
    return Solved(all_questions()[name], None, all_solvers()[name](Posted()))


@pytest.mark.parametrize(("name", "said"), [
    ("C3.2", ["each sums to 1", "256 times fewer", "stays 4.47 away"]),
    ("C3.3", ["2^1 times the FLOP, by A 2^2", "A is never made"]),
    ("C3.4", ["exp(k*q)", "exp(w_r·u - |u|²/2) / sqrt(m)"]),
    ("C3.5", ["slope: -0.", "no m to 4096 helps", "m = 8.9e+08"]),
])
def test_what_is_computed_is_said(name, said):
    one = solved(name)
    assert one.verdict is Verdict.HOLDS
    text = "\n".join(one.answer.says)
    for words in said:
        assert words in text


def test_the_error_is_drawn_against_the_number_of_features():
    (drawing,) = solved("C3.5").answer.drawings
    assert "the mean of V" in drawing.svg and drawing.svg.count("<polyline") == 4
