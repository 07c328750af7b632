"""A2: posted numbers are judged by running them, whatever they are."""

import pytest

from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_questions
from torchstone.problems.optimization.descent import one_step_learning_rate, two_step_momentum

QUESTIONS = {"A2.1": (one_step_learning_rate, "learning_rate"), "A2.2": (two_step_momentum, "momentum")}


def judged(name, number):
    solver, about = QUESTIONS[name]
    posted = Posted(str(number), {} if number is None else {about: number})
    answer = solver(posted)
    return Solved(all_questions()[name], posted, answer), answer


@pytest.mark.parametrize(("name", "number"), [("A2.1", "2"), ("A2.1", 2.0), ("A2.1", "4/2"), ("A2.2", "1/2"), ("A2.2", 0.5)])
def test_a_right_number_is_right_however_it_is_written(name, number):
    solved, _ = judged(name, number)
    assert solved.judgement is Judgement.RIGHT


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("A2.1", 4, "with learning rate 4 torch.optim.SGD is not at 0 after 1 step but at x = -1"),
        ("A2.1", "-2", "with learning rate -2 torch.optim.SGD is not at 0 after 1 step but at x = 2"),
        ("A2.1", "1/2", "at x = 0.75"),
        ("A2.2", "1/4", "with momentum 0.25 torch.optim.SGD is not at 0 after 2 steps but at x = 0.125"),
        ("A2.2", "-1/2", "at x = 0.5"),
        ("A2.2", 0, "at x = 0.25"),
    ],
)
def test_a_wrong_number_is_wrong_by_where_it_leads(name, number, said):
    solved, answer = judged(name, number)
    assert solved.judgement is Judgement.WRONG
    assert answer.claims[0].counterexample.endswith(said)


@pytest.mark.parametrize(("name", "number"), [("A2.1", "2"), ("A2.2", "1/2")])
def test_our_answers_are_the_solvers_and_hold(name, number):
    solved, answer = judged(name, number)
    assert solved.verdict.value == "holds"
    assert number in answer.says[0] and "no other" in answer.says[0]
    assert answer.drawings[0].svg.startswith("<svg") and "viewBox" in answer.drawings[0].svg
    assert judged(name, None)[0].judgement is Judgement.UNDECIDED
