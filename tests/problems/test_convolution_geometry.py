"""B6, B7, D3, E1.1.1, E1.1.2: what is said is computed, and a claim is right or wrong by what torch gives with its data."""

import pytest

from torchstone.core.evidence import Verdict
from torchstone.core.problem import Judgement, Posted, Solved
from torchstone.problems.answering import all_posted, all_questions, all_solvers

JUDGED = {
    "B6.1": Judgement.WRONG, "B6.2": Judgement.RIGHT, "B7.1": Judgement.RIGHT, "B7.2": Judgement.INCOMPLETE,
    "B7.3": Judgement.RIGHT, "E1.1.1": Judgement.RIGHT, "E1.1.2": Judgement.WRONG,
}  # fmt: skip


def judged(name, **changed):
    posted = all_posted().get(name, Posted())
    claims = {about: said for about, said in {**posted.claims, **changed}.items() if said is not None}
    altered = Posted(posted.says, claims, posted.working)
    answer = all_solvers()[name](altered)
    return Solved(all_questions()[name], altered, answer), answer


@pytest.mark.parametrize(("name", "judgement"), JUDGED.items())
def test_the_posted_answer_is_judged(name, judgement):
    solved, _ = judged(name)
    assert (solved.judgement, solved.verdict) == (judgement, Verdict.HOLDS)


@pytest.mark.parametrize("name", ["D3a", "D3b"])
def test_what_nobody_posted_is_answered(name):
    solved, answer = judged(name)
    assert solved.verdict is Verdict.HOLDS and not answer.claims
    assert answer.says == (f"{ {'D3a': 108, 'D3b': 39}[name] } parameters",)
    assert judged(name, parameters=40)[0].judgement is Judgement.WRONG
    assert judged(name, parameters={"D3a": 108, "D3b": 39}[name])[0].judgement is Judgement.RIGHT


def setting(kernel, stride, padding=None, dilation=None):
    given = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return {name: value for name, value in given.items() if value is not None}


WRONG = [
    ("B6.1", {"dimensionality": 24 * 24}, "the last output is 128x24x24 in torch, 73728 numbers"),
    ("B6.2", {"parameters": 131200}, "torch's parameters is 131072, not 131200"),
    ("B7.1", {"(a)": setting(8, 2, 2, 1)}, "with kernel 8, stride 2, padding 2, dilation 1 is 31, not the 32"),
    ("B7.1", {"(a)": setting(2, 2, 0, 1)}, "the kernel that is asked for is 2, not the 8"),
    ("B7.1", {"(b)": setting(3, 2, 1, 1)}, "the dilation that is asked for is 1, not the 7"),
    ("B7.1", {"(b)": setting(3, 0, 7, 7)}, "it refuses to run"),
    ("B7.1", {"(b)": setting("three", 2, 7, 7)}, "it refuses to run"),
    ("B7.2", {"(a) kernel and stride": setting(8, 4)}, "the kernel 8 exceeds the stride 4: windows overlap"),
    ("B7.2", {"(a) kernel and stride": setting(2, 3)}, "with kernel 2, stride 3 is 11, not the 8"),
    ("B7.2", {"(a) kernel and stride": setting(11, 3)}, "the kernel 11 exceeds the stride 3: windows overlap"),
    ("B7.2", {"(b) height": 8}, "torch's (b) height is 7, not 8"),
    ("B7.2", {"(b) channels": 128}, "torch's (b) channels is 64, not 128"),
    ("B7.3", {"(a)": setting(5, 2)}, "with kernel 5, stride 2 is 2, not the 4"),
    ("B7.3", {"(b)": setting(4, 1)}, "with kernel 4, stride 1 is 6, not the 4"),
    ("B7.3", {"(c)": setting(3, 2, 2)}, "with kernel 3, stride 2, padding 2 is 5, not the 4"),
    ("E1.1.1", {"height": 6}, "torch's height is 5, not 6"),
    ("E1.1.2", {"channels": "C"}, "the formula 1"),
]


@pytest.mark.parametrize(("name", "changed", "said"), WRONG)
def test_a_wrong_claim_is_found_wrong_with_its_counterexample(name, changed, said):
    solved, answer = judged(name, **changed)
    assert solved.judgement is Judgement.WRONG
    (about,) = changed
    (claim,) = [claim for claim in answer.claims if claim.about == about]
    assert claim.evidence.verdict is Verdict.BROKEN
    assert said in claim.counterexample


HALF = {"floor": "(P + H - (D*(K - 1) + 1))/S", "plus": 1}
WIDE = {"floor": "(P + W - (D*(K - 1) + 1))/S", "plus": 1}
ANOTHER = [
    ("B6.1", {"dimensionality": 73728}),
    ("B7.1", {"(a)": setting(8, 4, 35, 1)}),
    ("B7.1", {"(b)": setting(4, 2, 10, 7)}),
    ("B7.2", {"(a) kernel and stride": setting(4, 4), "(b) channels": 64}),
    ("B7.3", {"(a)": setting(2, 2), "(b)": setting(3, 2), "(c)": setting(7, 1)}),
    ("E1.1.2", {"height": HALF, "width": WIDE}),
]


@pytest.mark.parametrize(("name", "changed"), ANOTHER)
def test_another_right_answer_is_right(name, changed):
    assert judged(name, **changed)[0].judgement is Judgement.RIGHT


def test_a_setting_that_leaves_inputs_unread_is_right_and_remarked_upon():
    _, answer = judged("B7.2")
    assert any("9 of 16 read" in remark for remark in answer.remarks)
    assert "kernel 4, stride 4: reads every input" in answer.says[0]
    _, full = judged("B7.2", **{"(a) kernel and stride": setting(4, 4)})
    assert not full.remarks
    assert any("unread" in drawing.text for drawing in answer.drawings)


def test_the_formula_with_twice_the_sum_breaks_on_one_sided_padding():
    _, answer = judged("E1.1.2")
    (height,) = [claim for claim in answer.claims if claim.about == "height"]
    assert "padding 0 before and 1 after torch gives 5, the formula 6" in height.counterexample
    assert any("holds where P is the padding of each side" in remark for remark in answer.remarks)


def test_what_is_said_is_computed():
    assert judged("B6.1")[1].says == ("73728 numbers (128x24x24)",)
    assert judged("B6.2")[1].says == ("131072 parameters",)
    assert "(8, 2, 3, 1)" in judged("B7.1")[1].says[0] and "(3, 2, 7, 7)" in judged("B7.1")[1].says[1]
    assert judged("B7.2")[1].says[-1] == "(b) 64x7x7"
    assert judged("E1.1.1")[1].says == ("5x2",)


@pytest.mark.parametrize("name", ["B7.1", "B7.2", "B7.3"])
def test_solutions_are_drawn(name):
    drawings = judged(name)[1].drawings
    assert len(drawings) >= 2
    assert all("output 0" in drawing.text and drawing.svg.startswith("<svg") for drawing in drawings)
