"""The answers about the linear recurrence, and what altered data makes of the posted ones."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_posted, all_questions, all_solvers


def solved(name, **claims):
    posted = Posted(all_posted()[name].says, {**all_posted()[name].claims, **claims})
    return Solved(all_questions()[name], posted, all_solvers()[name](posted))


def total(of, first, last, **more):
    return {"sum_of": of, "first": first, "last": last, **more}


@pytest.mark.parametrize(
    ("name", "claims", "judgement"),
    [
        ("A4.1", {}, Judgement.RIGHT),
        ("A4.1", {"state": total("x", "1", "t", initial=2)}, Judgement.RIGHT),
        ("A4.1", {"state": total("x", "1", "t - 1", initial=0)}, Judgement.WRONG),
        ("A4.1", {"state": total("x", "2", "t", initial=0)}, Judgement.WRONG),
        ("A4.1", {"state": total("h", "0", "t - 1", initial=0)}, Judgement.WRONG),
        ("A4.2", {}, Judgement.INCOMPLETE),
        ("A4.2", {"entries": total("h", "0", "t")}, Judgement.WRONG),
        ("A4.2", {"entries": total("h", "1", "t - 1")}, Judgement.WRONG),
        ("A4.2", {"entries": total("x", "1", "t")}, Judgement.WRONG),
        ("A4.2", {"shape": ["d"]}, Judgement.WRONG),
        ("A4.2", {"shape": ["d", "d", "d"]}, Judgement.RIGHT),
    ],
)
def test_a_posted_sum_is_judged_by_the_running_network(name, claims, judgement):
    one = solved(name, **claims)
    assert one.verdict is Verdict.HOLDS and one.judgement is judgement


def test_a_vector_where_a_tensor_is_due_is_told_in_numbers():
    (claim,) = [claim for claim in solved("A4.2", shape=["d"]).answer.claims if claim.about == "shape"]
    assert claim.counterexample == "7 units have 343 derivatives by Wh, not 7"


def test_which_states_the_gradient_holds_is_measured():
    assert solved("A4.2").answer.says[0].endswith("1 h_0 + 1 h_1 + 1 h_2 + 1 h_3 + 1 h_4")
    assert solved("A4.2").answer.says[1] == "shape: 7 x 7 x 7 for d = 7; 294 of the 294 with i not j are 0"
