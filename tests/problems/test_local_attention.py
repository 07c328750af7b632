"""A7 and C3.1: what is said is computed, and a claim is right or wrong by what the running part gives with its data."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_posted, all_questions, all_solvers


def judged(name, **changed):
    posted = all_posted()[name]
    altered = Posted(posted.says, {**posted.claims, **changed}, posted.working)
    return Solved(all_questions()[name], altered, all_solvers()[name](altered))


def over(term, **more):
    return {"weight": {"term": term, "over": "l", "first": "i - k", "last": "i + k"} | more}


IGNORING = {"ignoring": "the ends"}
CHOICE = {"queries": "all of x", "keys": "identity", "values": "x", "factor to": "infinity"}


@pytest.mark.parametrize(
    ("name", "changed", "judgement"),
    [
        ("A7.1", {}, Judgement.WRONG),
        ("A7.1", over("a_il"), Judgement.RIGHT),
        ("A7.1", over("a_ij"), Judgement.WRONG),
        ("A7.1", over("a_il", last="i + k - 1"), Judgement.WRONG),
        ("A7.1", over("a_il", first="j - k", last="j + k"), Judgement.WRONG),
        ("A7.1", over("a_im", over="m"), Judgement.RIGHT),
        ("A7.1", {**over("a_il"), "score": {"product": ["q_j", "k_i"], "divided_by": "sqrt(d)"}}, Judgement.WRONG),
        ("A7.1", {**over("a_il"), "score": {"product": ["k_j", "q_i"], "divided_by": "sqrt(d)"}}, Judgement.RIGHT),
        ("A7.1", {**over("a_il"), "score": {"product": ["q_i", "k_j"], "divided_by": "d"}}, Judgement.WRONG),
        ("A7.2", {}, Judgement.INCOMPLETE),
        ("A7.2", {"local": {"value": "T*(2*k+1)"}}, Judgement.WRONG),
        ("A7.2", {"local": {"value": "T*(2*k+1) - k*(k+1)"}}, Judgement.INCOMPLETE),
        ("A7.2", {"at the ends": {"value": "k*(k+1)"}}, Judgement.RIGHT),
        ("A7.2", {"at the ends": {"value": "k*k"}}, Judgement.WRONG),
        ("A7.2", {"speed-up": {"value": "T/(2*k)", **IGNORING}}, Judgement.WRONG),
        ("A7.3", {}, Judgement.RIGHT),
        ("A7.3", {"choice": {**CHOICE, "queries": "ones", "keys": "x"}}, Judgement.RIGHT),
        ("A7.3", {"choice": {**CHOICE, "factor to": "0"}}, Judgement.WRONG),
        ("A7.3", {"choice": {**CHOICE, "values": "ones"}}, Judgement.WRONG),
        ("A7.3", {"choice": {**CHOICE, "keys": "x"}}, Judgement.WRONG),
        ("A7.3", {"choice": {**CHOICE, "queries": "x", "keys": "x"}}, Judgement.WRONG),
    ],
)
def test_a_posted_answer_is_judged_by_the_running_part(name, changed, judgement):
    one = judged(name, **changed)
    assert (one.judgement, one.verdict) == (judgement, Verdict.HOLDS)


def test_the_counterexample_of_the_sum_over_queries_says_what_its_row_adds_up_to():
    (claim,) = [claim for claim in judged("A7.1").answer.claims if claim.about == "weight"]
    assert "its row adds up to 1.78: posted 0.7478, a soft-max over the window's keys 0.4409" in claim.counterexample


def test_the_counterexample_of_the_forgotten_ends_counts():
    (claim,) = [c for c in judged("A7.2", local={"value": "T*(2*k+1)"}).answer.claims if c.about == "local"]
    assert claim.counterexample == "local, T = 41, k = 20, counted: 1261, not 1681"


def test_queries_and_keys_of_different_widths_have_no_score():
    (claim,) = judged("A7.3", choice={**CHOICE, "keys": "x"}).answer.claims
    assert claim.counterexample == "queries and keys are of different widths: there is no score"
