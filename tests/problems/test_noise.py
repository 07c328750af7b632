"""The answer about dropout without rescaling, and what altered data makes of the posted one."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_posted, all_questions, all_solvers


def solved(weight):
    posted = Posted(all_posted()["A5"].says, {"weight": weight} if weight else {})
    return Solved(all_questions()["A5"], posted, all_solvers()["A5"](posted))


@pytest.mark.parametrize(
    ("weight", "judgement"),
    [
        (None, Judgement.UNDECIDED), ("W / (1 - p)", Judgement.WRONG), ("(1 - p) * W", Judgement.RIGHT), ("W - p * W", Judgement.RIGHT),
        ("p * W", Judgement.WRONG), ("W", Judgement.WRONG), ("W / 0", Judgement.WRONG), ("W * (1 - p) * 1.05", Judgement.WRONG),
    ],
)  # fmt: skip
def test_a_posted_weight_is_judged_by_the_mean_over_masks(weight, judgement):
    one = solved(weight)
    assert one.verdict is Verdict.HOLDS and one.judgement is judgement


def test_what_is_posted_is_wrong_and_the_counterexample_has_both_numbers():
    posted = all_posted()["A5"].claims["weight"]
    one = solved(posted)
    assert one.judgement is Judgement.WRONG
    assert one.answer.claims[0].counterexample.startswith(f"at p = 0.8 the weights {posted} give 0.67")


def test_our_own_weights_are_computed():
    assert solved(None).answer.says == ("W' = W*(1 - p), with the bias as it is: 0.8 W at p = 0.2, 0.5 W at p = 0.5, 0.2 W at p = 0.8",)
