"""E1.4 and E2: what the training runs say, and what altered data makes of the posted answer."""

import math

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_posted, all_questions, all_solvers
from torchstone.problems.recurrence import temporal_order as task

RIGHT = {"cause": "too large a step"}


def solved(**claims):
    given = all_posted()["E1.4"]
    posted = Posted(given.says, {**given.claims, **claims})
    return Solved(all_questions()["E1.4"], posted, all_solvers()["E1.4"](posted))


def claim(one, about):
    return next(item for item in one.answer.claims if item.about == about)


@pytest.mark.parametrize(("claims", "judgement"), [
    ({}, Judgement.WRONG),
    (RIGHT, Judgement.RIGHT),
    ({"cause": "exploding gradients"}, Judgement.RIGHT),
    ({"cause": "over-parametrisation"}, Judgement.WRONG),
    ({"cause": "bad luck"}, Judgement.UNDECIDED),
    ({**RIGHT, "excess": "chance"}, Judgement.WRONG),
    ({**RIGHT, "excess": "better than chance"}, Judgement.WRONG),
    ({**RIGHT, "remedies": ["clipping"]}, Judgement.RIGHT),
    ({**RIGHT, "loss": ["ln(4)"]}, Judgement.RIGHT),
    ({**RIGHT, "loss": ["ln(3)"]}, Judgement.WRONG),
    ({**RIGHT, "loss": [1.5]}, Judgement.WRONG),
    ({**RIGHT, "accuracy": 0.5}, Judgement.WRONG),
])
def test_a_posted_claim_is_judged_by_the_runs(claims, judgement):
    one = solved(**claims)
    assert one.verdict is Verdict.HOLDS and one.judgement is judgement


def test_the_width_is_no_cause_and_the_run_says_so():
    broken = claim(solved(), "cause")
    assert broken.evidence.verdict is Verdict.BROKEN
    assert broken.counterexample.endswith("without it: rate 1.5, 64 units")


def test_every_part_is_said():
    says = solved().answer.says
    assert [line.partition(":")[0] for line in says] == list(all_questions()["E1.4"].asks)


def test_the_runs_differ_in_their_step_only():
    large, clipped, small = task.run(task.LARGE), task.run(task.LARGE, task.CLIP), task.run(task.SMALL)
    assert large[0] == clipped[0] == small[0]
    assert task.highest(large) > task.SPIKE > max(task.highest(clipped), task.highest(small))
    assert task.first_spike(small) == len(small) == task.STEPS


def test_the_order_of_the_symbols_is_the_class():
    sequences, classes = task.draw(200, task.generator())
    for row, number in zip(sequences.tolist(), classes.tolist(), strict=True):
        told = [symbol - 4 for symbol in row if symbol in {4, 5}]
        assert len(told) == 2 and 2 * told[0] + told[1] == number
        assert (row[0], row[-1]) == (6, 7)
        assert max(at for at, symbol in enumerate(row) if symbol in {4, 5}) < 12


def test_a_network_leaves_the_callers_random_numbers_alone():
    import torch

    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    task.network(8, seed=0)
    assert torch.equal(torch.rand(2), wanted)


def test_a_loss_that_is_no_number_counts_as_the_highest():
    assert task.highest([task.Step(1.0, 0.2, 0.0), task.Step(math.nan, 0.2, 0.0)]) == math.inf


def test_the_laboratory_shows_both_curves():
    one = Solved(all_questions()["E2"], all_posted()["E2"], all_solvers()["E2"](all_posted()["E2"]))
    assert one.verdict is Verdict.HOLDS and one.judgement is Judgement.UNDECIDED
    assert [drawing.svg.count("<polyline") for drawing in one.answer.drawings] == [4, 4]
