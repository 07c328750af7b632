"""The answers about recurrent networks, and what altered data makes of the posted ones."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_posted, all_questions, all_solvers

GRADIENT = {"first": "1", "last": "t - 1", "product_from": "i + 1", "product_to": "t", "factor": "j", "gate": "i", "input": "i"}


def solved(name, **claims):
    given = all_posted().get(name, Posted())
    posted = Posted(given.says or "posted", {**given.claims, **claims})
    return Solved(all_questions()[name], posted, all_solvers()[name](posted))


def claim(one, about):
    return next(item for item in one.answer.claims if item.about == about)


@pytest.mark.parametrize(
    ("name", "claims", "judgement"),
    [
        ("E1.2.2", {}, Judgement.RIGHT),
        ("E1.2.2", {"dimension": ["n"]}, Judgement.WRONG),
        ("E1.2.2", {"dimension": ["m", "n"]}, Judgement.WRONG),
        ("E1.2.3", {}, Judgement.WRONG),
        ("E1.2.3", {"gradient": GRADIENT}, Judgement.INCOMPLETE),
        ("E1.2.3", {"gradient": {**GRADIENT, "input": "X"}}, Judgement.INCOMPLETE),
        ("E1.2.3", {"gradient": {**GRADIENT, "gate": "t"}}, Judgement.WRONG),
        ("E1.2.3", {"gradient": {**GRADIENT, "factor": "i"}}, Judgement.WRONG),
        ("E1.2.3", {"gradient": {**GRADIENT, "last": "t - 2"}}, Judgement.WRONG),
        ("E1.2.3", {"gradient": GRADIENT, "dimension": ["m", "n"]}, Judgement.INCOMPLETE),
        ("E1.2.3", {"gradient": GRADIENT, "dimension": ["m", "K"]}, Judgement.WRONG),
        ("E1.2.4", {}, Judgement.WRONG),
        ("E1.2.4", {"explode": True}, Judgement.RIGHT),
        ("E1.2.4", {"explode": True, "vanish": False}, Judgement.WRONG),
        ("E1.3.2", {}, Judgement.WRONG),
        ("E1.3.2", {"dimension": ["k + 1"]}, Judgement.RIGHT),
        ("E1.3.2", {"dimension": ["k"]}, Judgement.WRONG),
        ("E1.3.3", {}, Judgement.RIGHT),
        ("E1.3.3", {"slots": {"first": "0", "last": "k - 1"}}, Judgement.WRONG),
        ("E1.3.3", {"slots": {"first": "0", "last": "k + 1"}}, Judgement.WRONG),
        ("E1.3.3", {"slots": {"first": "1", "last": "k"}}, Judgement.WRONG),
        ("E1.3.5", {}, Judgement.WRONG),
        ("E1.3.5", {"jacobian": "AttentionRNN"}, Judgement.RIGHT),
        ("E1.3.6", {}, Judgement.WRONG),
        ("E1.3.6", {"gradient": {"first": "T + 1", "last": "T + k"}}, Judgement.RIGHT),
        ("E1.3.6", {"gradient": {"first": "T + 1", "last": "T + k - 1"}}, Judgement.WRONG),
        ("E1.3.6", {"gradient": {"first": "T + 1", "last": "T + 1"}}, Judgement.WRONG),
    ],
)
def test_a_posted_claim_is_judged_by_the_running_network(name, claims, judgement):
    one = solved(name, **claims)
    assert one.verdict is Verdict.HOLDS and one.judgement is judgement


@pytest.mark.parametrize("name", ["E1.2.1", "E1.3.1"])
def test_a_picture_without_its_lines_is_not_judged_and_ours_is_drawn(name):
    one = solved(name)
    assert one.judgement is Judgement.UNDECIDED and one.verdict is Verdict.HOLDS
    (drawing,) = one.answer.drawings
    assert "[h[t] (4)]" in drawing.text


def test_an_explosion_is_told_in_numbers():
    found = claim(solved("E1.2.4"), "explode")
    assert found.counterexample == "a run built to explode has a dh[40]/dh[0] of norm 3.02e+11"


def test_sizes_that_differ_tell_the_dimension():
    assert claim(solved("E1.3.2"), "dimension").counterexample == "2 numbers at k = 1, n = 5, m = 4, not 5"
    assert solved("E1.2.3").answer.says[2] == "dimension: m x n, as Wx: 7 x 5 for m = 7, n = 5"


@pytest.mark.parametrize(("name", "words"), [("C1.1", 3), ("C1.2", 2), ("C1.3", 3), ("E1.3.4", 4)])
def test_questions_without_a_posted_answer_are_answered(name, words):
    answer = all_solvers()[name](Posted())
    assert len(answer.says) == words and not answer.claims
    assert all(item.verdict is Verdict.HOLDS for item in answer.evidence)


def test_the_condition_is_necessary_and_not_sufficient_in_runs():
    necessary, *not_sufficient = all_solvers()["C1.3"](Posted()).says
    assert "norm of dh_T/dh_0 1.1e+07" in necessary
    assert all("norm(W) = 4 > 1/gamma = 1, norm of dh_T/dh_0 " in line for line in not_sufficient)
