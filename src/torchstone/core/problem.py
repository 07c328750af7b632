"""A question, its computed answer, and what becomes of an answer that somebody posted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from torchstone.core.errors import InvariantError
from torchstone.core.evidence import Evidence, Verdict


@dataclass(frozen=True, slots=True)
class Question:
    """A question in our words. `asks` names the parts that a whole answer has."""

    id: str
    topic: str
    statement: str
    asks: tuple[str, ...] = ()

    @property
    def document(self) -> str:
        """The letter of the document that asks it."""
        return self.id[0]


@dataclass(frozen=True, slots=True)
class Posted:
    """An answer that came with a document: its words, and its claims as data. `working` holds claims of its derivation."""

    says: str = ""
    claims: Mapping[str, object] = field(default_factory=dict)
    working: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A diagram, for a terminal and for a page."""

    title: str
    text: str
    svg: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A posted claim held against evidence: `about` is one of the question's asks, or a step of the posted working.

    `counterexample` says in words what the evidence shows; needed where the claim breaks.
    """

    about: str
    evidence: Evidence
    counterexample: str = ""

    def __post_init__(self) -> None:
        if self.evidence.verdict is Verdict.BROKEN and not self.counterexample:
            message = f"a posted claim about {self.about} breaks: its counterexample must be said"
            raise InvariantError(message)


@dataclass(frozen=True, slots=True)
class Answer:
    """A computed answer: `says` one line for each part asked, the derivation in short, and what holds it up."""

    says: tuple[str, ...]
    derivation: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    claims: tuple[Claim, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.evidence:
            message = f"an answer without evidence is an opinion: {self.says}"
            raise InvariantError(message)


class Judgement(StrEnum):
    """What becomes of a posted answer."""

    RIGHT = "right"
    INCOMPLETE = "incomplete"
    WRONG = "wrong"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Solved:
    """A question with its answer, if there is one yet, and the posted answer, if there was one.

    `fault` is what went wrong where an answer should have been computed.
    """

    question: Question
    posted: Posted | None
    answer: Answer | None
    seconds: float = 0.0
    fault: str = ""

    @property
    def verdict(self) -> Verdict | None:
        """Of our own answer's evidence; broken by a fault; None while there is no answer."""
        if self.answer is None:
            return Verdict.BROKEN if self.fault else None
        verdicts = {item.verdict for item in self.answer.evidence}
        return next((v for v in (Verdict.BROKEN, Verdict.UNDECIDED) if v in verdicts), Verdict.HOLDS)

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts that the question asks for and the posted answer does not speak of."""
        if self.posted is None:
            return ()
        return tuple(part for part in self.question.asks if part not in self.posted.claims)

    @property
    def judgement(self) -> Judgement | None:
        """Wrong by one broken claim; incomplete by a missing part or a broken step of its working; else right.

        Undecided where what nobody has held, or could decide, might still change that.
        """
        if self.answer is None or self.posted is None:
            return None
        claimed = _verdicts(self.answer.claims, self.posted.claims)
        steps = _verdicts(self.answer.claims, self.posted.working)
        if Verdict.BROKEN in claimed:
            return Judgement.WRONG
        if Verdict.UNDECIDED in claimed or not claimed:
            return Judgement.UNDECIDED
        if self.missing or Verdict.BROKEN in steps:
            return Judgement.INCOMPLETE
        return Judgement.UNDECIDED if Verdict.UNDECIDED in steps else Judgement.RIGHT


def _verdicts(claims: tuple[Claim, ...], group: Mapping[str, object]) -> set[Verdict]:
    """Verdicts of the claims of a group; one that nobody held counts as undecided."""
    held = {claim.about for claim in claims}
    unheld = {Verdict.UNDECIDED} if set(group) - held else set()
    return {claim.evidence.verdict for claim in claims if claim.about in group} | unheld
