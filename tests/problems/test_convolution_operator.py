"""A3, B5 and E1.1.3: the posted answers are right, and every wrong figure put in their place is found wrong."""

import pytest

from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_posted, all_questions, all_solvers

IDS = ["A3", "B5", "E1.1.3a", "E1.1.3b", "E1.1.3c", "E1.1.3d"]


def judged(name, **changed):
    """The judgement of the posted answer with some claims changed; None takes one away."""
    posted = all_posted()[name]
    claims = {about: said for about, said in {**posted.claims, **changed}.items() if said is not None}
    altered = Posted(posted.says, claims, posted.working)
    answer = all_solvers()[name](altered)
    return Solved(all_questions()[name], altered, answer), answer


@pytest.mark.parametrize("name", IDS)
def test_the_posted_answer_is_right_and_ours_is_held_up(name):
    solved, answer = judged(name)
    assert solved.judgement is Judgement.RIGHT
    assert solved.verdict.value == "holds"
    assert {claim.about for claim in answer.claims} == set(all_questions()[name].asks)


@pytest.mark.parametrize("name", IDS)
def test_an_answer_that_leaves_a_part_out_is_incomplete_or_nothing(name):
    *others, last = all_questions()[name].asks
    solved, _ = judged(name, **{last: None})
    assert solved.judgement is (Judgement.INCOMPLETE if others else Judgement.UNDECIDED)


HANKEL = [["x1", "x2", "x3"], ["x2", "x3", "x4"]]
BAND = [["k1", "k2", 0, 0], [0, "k1", "k2", 0], [0, 0, "k1", "k2"]]

WRONG = [
    ("A3", {"product": {"row": ["k2", "k1"], "matrix": HANKEL}}, "the product["),
    ("A3", {"product": {"row": ["k1", "k2"], "matrix": [HANKEL[1], HANKEL[0]]}}, "the product["),
    ("A3", {"product": {"row": ["k1", "k2"], "matrix": [["x1", "x2"], ["x2", "x3"]]}}, "the number of entries of the product is 3"),
    ("A3", {"product": {"row": ["k1", "k2", "k1"], "matrix": HANKEL}}, "the number of entries of the product is 3 in torch, 0"),
    ("A3", {"product": {"matrix": BAND[:2], "column": ["x1", "x2", "x3", "x4"]}}, "the number of entries of the product is 3"),
    ("B5", {"full": [1, 2, 5, 8, 6, 9]}, "full[6] is 8 in torch, 9 by the claim"),
    ("B5", {"valid": [7, 10]}, "valid[1] is 5 in torch, 7 by the claim"),
    ("B5", {"same": [1, 2, 5, 8]}, "same["),
    ("B5", {"same": [2, 5, 8]}, "the number of entries of same is 4 in torch, 3 by the claim"),
    ("E1.1.3a", {"dimension": [4]}, "the dimension is [3] in torch, not [4]"),
    ("E1.1.3a", {"dimension": [1, 3]}, "the dimension is [3] in torch, not [1, 3]"),
    ("E1.1.3a", {"formula": {"input": "k + (r - 1)", "weight": "k"}}, "entry ("),
    ("E1.1.3a", {"formula": {"input": "k + 2*r", "weight": "k"}}, "entry ("),
    ("E1.1.3a", {"formula": {"input": "k + 2*(r - 1)", "weight": "4 - k"}}, "entry ("),
    ("E1.1.3b", {"dimension": [3, 5, 3, 1]}, "the dimension is [3, 3, 5, 1]"),
    ("E1.1.3b", {"entries": {"input": "2*k + r - 1"}}, "entry ("),
    ("E1.1.3b", {"entries": {"input": "k + 2*(r - 1)/3"}}, "entry ("),
    ("E1.1.3c", {"dimension": [3, 5, 7]}, "the dimension is [3, 7, 5]"),
    ("E1.1.3c", {"entries": {"weight": "k - 2*(r - 1)", "first": 1, "last": 2}}, "entry ("),
    ("E1.1.3c", {"entries": {"weight": "k + 2*(r - 1)", "first": 1, "last": 3}}, "entry ("),
    ("E1.1.3c", {"entries": {"weight": "k - r + 1", "first": 1, "last": 3}}, "entry ("),
    ("E1.1.3d", {"dimension": [5, 3, 1]}, "the dimension is [3, 5, 1]"),
    ("E1.1.3d", {"formula": {"gradient": "r", "input": "k + r - 1"}}, "entry ("),
    ("E1.1.3d", {"formula": {"gradient": "4 - r", "input": "k + 2*(r - 1)"}}, "entry ("),
    ("E1.1.3d", {"difference": "strided"}, "not strided: dl/dW is the convolution of x with dl/df of stride 1 and dilation 2"),
    ("E1.1.3d", {"difference": "transposed"}, "not transposed"),
    ("E1.1.3d", {"likeness": "Fourier transform"}, "not Fourier transform"),
]


@pytest.mark.parametrize(("name", "changed", "said"), WRONG)
def test_a_wrong_claim_is_found_wrong_with_its_counterexample(name, changed, said):
    solved, answer = judged(name, **changed)
    assert solved.judgement is Judgement.WRONG
    (about,) = changed
    (claim,) = [claim for claim in answer.claims if claim.about == about]
    assert claim.counterexample.startswith(said)


RIGHT_OTHERWISE = [
    ("A3", {"product": {"matrix": BAND, "column": ["x1", "x2", "x3", "x4"]}}),
    ("A3", {"product": {"matrix": [["x1", "x2"], ["x2", "x3"], ["x3", "x4"]], "column": ["k1", "k2"]}}),
    ("E1.1.3a", {"formula": {"input": "k - 2 + 2*r", "weight": "k"}}),
    ("E1.1.3a", {"formula": {"input": "2*r + 2 - k", "weight": "4 - k"}}),
    ("E1.1.3c", {"entries": {"weight": "k + 2 - 2*r", "first": 1, "last": 3}}),
    ("E1.1.3d", {"formula": {"gradient": "4 - r", "input": "k + 2*(3 - r)"}}),
]


@pytest.mark.parametrize(("name", "changed"), RIGHT_OTHERWISE)
def test_the_same_in_other_words_is_right(name, changed):
    solved, _ = judged(name, **changed)
    assert solved.judgement is Judgement.RIGHT


def test_what_is_said_is_computed():
    said = {name: " ".join(judged(name)[1].says) for name in IDS}
    assert "[[k1, k2, 0, 0], [0, k1, k2, 0], [0, 0, k1, k2]]" in said["A3"]
    assert "full: [1, 2, 5, 8, 6, 8]" in said["B5"]
    assert "x[k + 2 (r - 1), c] W[1, c, k]" in said["E1.1.3a"]
    assert "3 x (3 x 5 x 1)" in said["E1.1.3b"]
    assert "W[1, c, k - 2 (r - 1)]" in said["E1.1.3c"]
    assert "stride 1 and dilation 2 where that has 2 and 1: they trade places" in said["E1.1.3d"]
