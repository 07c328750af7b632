"""The answers about traces, and what altered data makes of the posted ones."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_posted, all_questions, all_solvers

RIGHT = {"value": 35.12111, "derivative by x1": -0.15346, "derivative by x2": 11.98765}


def solved(name, **changed):
    """The question with its posted numbers, some of them changed; a part posted as None is left out."""
    claims = {**all_posted()[name].claims, **{key.replace("_", " "): number for key, number in changed.items()}}
    posted = Posted(all_posted()[name].says, {about: number for about, number in claims.items() if number is not None})
    return Solved(all_questions()[name], posted, all_solvers()[name](posted))


def verdicts(one):
    return {claim.about: claim.evidence.verdict for claim in one.answer.claims}


@pytest.mark.parametrize("name", ["B4.F", "B4.R"])
def test_the_posted_numbers_are_right_to_the_decimals_asked_for(name):
    one = solved(name)
    assert one.verdict is Verdict.HOLDS and set(verdicts(one).values()) == {Verdict.HOLDS}
    assert dict(all_posted()[name].claims) == {about: RIGHT[about] for about in all_posted()[name].claims}
    assert one.judgement is (Judgement.INCOMPLETE if one.missing else Judgement.RIGHT)


@pytest.mark.parametrize(
    ("name", "changed", "about"),
    [
        ("B4.F", {"value": 35.1210}, "value"), ("B4.F", {"derivative_by_x1": 0.15346}, "derivative by x1"), ("B4.F", {"value": 35}, "value"),
        ("B4.R", {"derivative_by_x2": 12.0}, "derivative by x2"), ("B4.R", {"derivative_by_x1": -0.1536}, "derivative by x1"),
        ("B4.R", {"derivative_by_x2": 11.98771}, "derivative by x2"),
    ],
)  # fmt: skip
def test_a_wrong_number_is_wrong_with_both_numbers_said(name, changed, about):
    one = solved(name, **changed)
    (posted,) = changed.values()
    assert one.judgement is Judgement.WRONG and verdicts(one)[about] is Verdict.BROKEN
    (said,) = (claim.counterexample for claim in one.answer.claims if claim.about == about)
    assert said.startswith(f"posted {posted}; torch has ")


@pytest.mark.parametrize(("name", "changed"), [("B4.F", {"value": 35.12112}), ("B4.F", {"value": 35.1211}), ("B4.R", {"derivative_by_x1": "-0.1534657"})])
def test_other_spellings_of_the_right_number_hold(name, changed):
    assert set(verdicts(solved(name, **changed)).values()) == {Verdict.HOLDS}


def test_a_number_that_was_cut_off_is_remarked_on():
    assert solved("B4.F").answer.remarks[0] == "value: posted 35.12111 is right to 4 decimals; rounded to 5 it is 35.12112"
    assert not solved("B4.F", value=35.12112, derivative_by_x1=-0.15347).answer.remarks


def test_our_own_answers_are_computed_and_drawn():
    forward, reverse = solved("B4.F").answer, solved("B4.R").answer
    assert forward.says == ("y = 35.12112", "dy/dx1 = -0.15347", "the trace: 9 rows, drawn")
    assert reverse.says == ("dy/dx1 = -0.15347", "dy/dx2 = 11.98765", "the trace: 9 rows upwards, 12 downwards, drawn")
    assert "dv₅  = -sin(v₋₁)·dv₋₁ = -0.14112" in forward.drawings[0].text
    assert "v̄₀     = v̄₀ + v̄₁      = 11.98765" in reverse.drawings[0].text and "v̄₀ + v̄₁" in reverse.drawings[0].svg


@pytest.mark.parametrize(("name", "about"), [("B4.F", "value"), ("B4.R", "derivative by x2")])
def test_a_part_that_was_not_posted_is_missing(name, about):
    one = solved(name, **{about: None})
    assert one.judgement is Judgement.INCOMPLETE and about in one.missing
