"""The engine of `problems`: which questions a name means, what a fault costs, and that the data fit together."""

import pytest

from report.answered import BROKEN, HELD, answer, question
from torchstone.core.errors import InvariantError, UsageError
from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.law import all_laws
from torchstone.core.problem import Judgement, Posted
from torchstone.problems import answering

QUESTIONS, POSTED = answering.all_questions(), answering.all_posted()
TOPICS = {
    "activation", "autodiff", "convolution", "recurrence", "attention", "norm", "noise", "loss", "initialization", "optimization",
    "rematerialization", "exchange", "adaptation", "diffusion", "bottleneck", "transformer", "replication",
}


def chosen(*ids, document=None):
    return [question.id for question in answering.choose(*ids, document=document)]


@pytest.mark.parametrize(("ids", "found"), [
    (["B5"], ["B5"]),
    (["b5"], ["B5"]),
    (["B7"], ["B7.1", "B7.2", "B7.3"]),
    (["B7.2", "A1"], ["A1", "B7.2"]),
    (["B5", "b5", "B5"], ["B5"]),
    (["E1.1.3"], ["E1.1.3a", "E1.1.3b", "E1.1.3c", "E1.1.3d"]),
    (["B4"], ["B4.F", "B4.R"]),
])
def test_a_name_means_a_question_or_all_of_its_parts(ids, found):
    assert chosen(*ids) == found


def test_a_number_does_not_mean_a_longer_number():
    assert chosen("D10") == ["D10a", "D10b", "D10c"]
    with pytest.raises(UsageError, match="no question is named 'D1'"):
        chosen("D1")


@pytest.mark.parametrize("letter", ["A", "b", "E"])
def test_a_document_is_all_of_its_questions(letter):
    assert chosen(document=letter) == [name for name in QUESTIONS if name.startswith(letter.upper())]


def test_nothing_named_is_everything_in_the_documents_order():
    assert chosen() == list(QUESTIONS)
    assert list(QUESTIONS) == sorted(QUESTIONS, key=lambda name: name[0])


@pytest.mark.parametrize(("ids", "document", "said"), [
    (["X1"], None, "no question is named 'X1'; ids look like B5 or B7.1; `torchstone problems --list` has all"),
    (["B"], None, "--list` has all; for all of B: --document B"),
    (["B7.9"], None, "did you mean 'B7."),
    ([""], None, "no question is named ''"),
    ([], "X", "no document is named 'X'; there are A, B, C, D, E"),
    (["B5"], "a", "document a does not ask B5; leave --document or the ids out"),
])
def test_what_nobody_asked_is_refused(ids, document, said):
    with pytest.raises(UsageError) as refused:
        answering.choose(*ids, document=document)
    assert said in str(refused.value)


@pytest.fixture
def solvers(monkeypatch):
    """Questions and solvers of the test's own, with and without a posted answer."""
    mine = {}
    asked = {name: question(name, "size") for name in ("A1", "A3", "A5", "A6")}
    monkeypatch.setattr(answering, "all_questions", lambda: asked)
    monkeypatch.setattr(answering, "all_solvers", lambda: mine)
    monkeypatch.setattr(answering, "all_posted", lambda: {"A1": Posted("2", {"size": 2}), "A3": Posted("2", {"size": 2})})
    return mine


def faulty(posted):
    message = f"no {posted.says}\nand more"
    raise ValueError(message)


def test_a_fault_costs_its_own_question_only(solvers):
    solvers |= {"A1": faulty, "A3": lambda posted: answer(HELD), "A5": lambda posted: answer()}
    seen = []
    solved = answering.answer("A1", "A3", "A5", "A6", progress=lambda *words: seen.append(words))
    assert [one.fault for one in solved] == ["ValueError: no 2 and more", "", "", ""]
    assert [one.verdict for one in solved] == [Verdict.BROKEN, Verdict.HOLDS, Verdict.HOLDS, None]
    assert [one.judgement for one in solved] == [None, Judgement.RIGHT, None, None]
    assert seen == [("A1", 0, 4), ("A3", 1, 4), ("A5", 2, 4), ("A6", 3, 4), ("done", 4, 4)]


def test_an_interrupt_is_no_fault(solvers):
    def interrupted(posted):
        raise KeyboardInterrupt

    solvers["A1"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        answering.answer("A1")


def test_a_claim_that_nobody_posted_is_a_fault(solvers):
    solvers |= {"A3": lambda posted: answer(HELD, BROKEN), "A5": lambda posted: answer(HELD)}
    right, stray = answering.answer("A3", "A5")
    assert right.judgement is Judgement.WRONG
    assert stray.fault == "InvariantError: claims about size were never posted (problems/posted.toml)"


@pytest.mark.parametrize("name", ["A1", "Z9"])
def test_a_question_is_answered_once_and_asked_somewhere(name, monkeypatch):
    monkeypatch.setattr(answering, "_SOLVERS", {"A1": faulty})
    with pytest.raises(InvariantError, match=f"question {name} is answered twice, or asked nowhere"):
        answering.answers(name)(faulty)


def test_what_is_proved_is_the_worst_evidence_of_each_law():
    (evidence,) = answering.proved("loss.uniform_cross_entropy")
    assert isinstance(evidence, Evidence)
    assert (evidence.law, evidence.verdict) == ("loss.uniform_cross_entropy", Verdict.HOLDS)
    with pytest.raises(UsageError, match="no law or topic is named"):
        answering.proved("loss.nothing")


def test_a_law_whose_part_faults_proves_nothing(monkeypatch):
    from dataclasses import replace

    import torchstone
    from torchstone.core.proof import ProofReport

    answering._worst.cache_clear()
    (proof,) = torchstone.prove("loss.uniform_cross_entropy").proofs
    assert proof.worst is not None
    monkeypatch.setattr(torchstone, "prove", lambda law: ProofReport((replace(proof, fault="ValueError: half way"),), 0.0), raising=False)
    with pytest.raises(InvariantError, match=r"loss.uniform_cross_entropy is not proved: ValueError: half way"):
        answering.proved("loss.uniform_cross_entropy")


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_of_a_topic_and_says_something(name):
    question = QUESTIONS[name]
    assert question.topic in TOPICS
    assert question.statement.endswith((".", "?"))
    assert len(set(question.asks)) == len(question.asks)


def test_topics_of_laws_are_topics():
    assert {law.topic for law in all_laws()} <= TOPICS


@pytest.mark.parametrize("name", POSTED)
def test_a_posted_answer_is_to_a_question_and_about_what_it_asks(name):
    posted = POSTED[name]
    assert name in QUESTIONS
    assert posted.says
    assert set(posted.claims) <= set(QUESTIONS[name].asks), "a claim is about one of the question's asks; other steps belong to working"
    assert not set(posted.claims) & set(posted.working)


@pytest.mark.parametrize(("ids", "document"), [((5,), None), ((["B5"],), None), ((), 5)])
def test_names_are_text(ids, document):
    with pytest.raises(UsageError, match=r"named by text; .*5.* came"):
        answering.answer(*ids, document=document)
