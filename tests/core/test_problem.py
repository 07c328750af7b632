"""What becomes of a posted answer, and of our own: derived from evidence, never stored."""

import pytest

from report.answered import BROKEN, HELD, answer, evidence, question
from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Verdict
from torchstone.core.problem import Answer, Claim, Judgement, Posted, Question, Solved

UNDECIDED = Claim("size", evidence(measured=None, reason="no device"))
STEP, WRONG_STEP = Claim("step", evidence()), Claim("step", evidence(3.0), "it is 2")


def judged(posted, *claims, asks=("size",)):
    return Solved(question("A1", *asks), posted, answer(*claims)).judgement


@pytest.mark.parametrize(("claims", "working", "held", "asks", "judgement"), [
    (["size"], [], [HELD], ["size"], Judgement.RIGHT),
    (["size"], [], [BROKEN], ["size"], Judgement.WRONG),
    (["size"], [], [UNDECIDED], ["size"], Judgement.UNDECIDED),
    (["size"], [], [], ["size"], Judgement.UNDECIDED),
    ([], [], [], ["size"], Judgement.UNDECIDED),
    (["size"], [], [HELD], ["size", "rate"], Judgement.INCOMPLETE),
    (["size"], [], [BROKEN], ["size", "rate"], Judgement.WRONG),
    (["size"], ["step"], [HELD, STEP], ["size"], Judgement.RIGHT),
    (["size"], ["step"], [HELD, WRONG_STEP], ["size"], Judgement.INCOMPLETE),
    (["size"], ["step"], [HELD], ["size"], Judgement.UNDECIDED),
    (["size"], ["step"], [HELD], ["size", "rate"], Judgement.INCOMPLETE),
    (["size"], ["step"], [BROKEN, STEP], ["size"], Judgement.WRONG),
])
def test_a_posted_answer_is_judged_by_what_was_held(claims, working, held, asks, judgement):
    posted = Posted("", dict.fromkeys(claims, 2), dict.fromkeys(working, 2))
    assert judged(posted, *held, asks=asks) is judgement


def test_without_an_answer_or_a_posted_one_nothing_is_judged():
    assert Solved(question("A1"), None, answer()).judgement is None
    assert Solved(question("A1"), Posted("2", {"size": 2}), None).judgement is None


@pytest.mark.parametrize(("solved", "verdict"), [
    (Solved(question("A1"), None, answer()), Verdict.HOLDS),
    (Solved(question("A1"), None, answer(held=evidence(3.0))), Verdict.BROKEN),
    (Solved(question("A1"), None, answer(held=UNDECIDED.evidence)), Verdict.UNDECIDED),
    (Solved(question("A1"), None, None), None),
    (Solved(question("A1"), None, None, fault="ValueError"), Verdict.BROKEN),
])
def test_the_verdict_on_our_own_answer(solved, verdict):
    assert solved.verdict is verdict


def test_a_broken_claim_says_why_and_an_answer_has_evidence():
    with pytest.raises(InvariantError, match="a posted claim about size breaks: its counterexample must be said"):
        Claim("size", evidence(3.0))
    with pytest.raises(InvariantError, match="an answer without evidence is an opinion"):
        Answer(("2",), (), ())


def test_a_document_is_a_letter():
    assert Question("E1.1.3a", "convolution", "?").document == "E"
