"""Answered questions as text for people and as JSON."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.problem import Answer, Claim, Judgement, Question, Solved
from torchstone.report.json import evidence_to_plain
from torchstone.report.proof import describe

JUDGED = {Judgement.RIGHT: "green", Judgement.INCOMPLETE: "yellow", Judgement.WRONG: "bold red", Judgement.UNDECIDED: "magenta"}
_HELD = {Verdict.HOLDS: ("✓", "green"), Verdict.BROKEN: ("✗", "bold red"), Verdict.UNDECIDED: ("?", "yellow")}
_INDENT = 12


def print_problems(solved: Sequence[Solved], console: Console, *, whole: bool) -> None:
    """Each question: whole with derivation, evidence and drawings, or a few lines; a tally a document and of all at the end.

    A terminal narrower than a line gets it wrapped under its own beginning; a pipe gets whole lines.
    """
    for one in solved:
        _print(problem_lines(one, whole=whole), console)
    documents = by_document(solved)
    if len(documents) > 1:
        _print([Text(f"document {letter}  {tally(part)}") for letter, part in documents.items()], console)
    _print([Text(tally(solved), style="bold red" if exit_code(solved) else "bold green")], console)


def print_questions(questions: Iterable[Question], console: Console) -> None:
    """The questions themselves, a line each, unanswered."""
    for one in questions:
        _print([Text.assemble((f"{one.id:<{_INDENT}}", "bold"), (f"{one.topic:<15} ", "dim"), one.statement)], console)


def _print(lines: Iterable[Text], console: Console) -> None:
    for line in lines:
        if not console.is_terminal or line.no_wrap or line.cell_len <= console.width:
            console.print(line, soft_wrap=True, highlight=False)
            continue
        first, *rest = line.wrap(console, max(console.width - _INDENT, _INDENT))
        console.print(first, soft_wrap=True, highlight=False)
        for more in rest:
            console.print(Text(" " * _INDENT).append_text(more), soft_wrap=True, highlight=False)


def by_document(solved: Sequence[Solved]) -> dict[str, list[Solved]]:
    """The same questions by the letter of their document, in order."""
    return {letter: list(part) for letter, part in groupby(solved, key=lambda one: one.question.document)}


def problem_lines(one: Solved, *, whole: bool) -> list[Text]:
    """One question, line by line."""
    question = one.question
    if one.answer is None and not one.fault and not whole:
        return [Text.assemble((f"{question.id:<{_INDENT}}", "bold"), ("not yet  ", "yellow"), (question.statement, "dim"))]
    lines = [Text.assemble((f"{question.id:<{_INDENT}}", "bold"), question.statement)]
    if one.fault:
        lines.append(Text.assemble("  ", (f"fault: {one.fault}", "bold red")))
    elif one.answer is None:
        lines.append(Text("  not yet", style="yellow"))
    else:
        lines += _labelled("answer", one.answer.says, "bold")
        lines += _details(one.answer) if whole else _failing(one.answer)
        lines += _judged(one, whole=whole)
    return [*lines, Text()] if whole else lines


def _labelled(label: str, texts: Iterable[str], style: str = "") -> list[Text]:
    return [Text.assemble(f"  {'' if i else label:<{_INDENT - 2}}", (text, style)) for i, text in enumerate(texts)]


def _details(answer: Answer) -> list[Text]:
    lines = [*_labelled("because", answer.derivation), *_labelled("remark", answer.remarks), *map(_held, answer.evidence)]
    for drawing in answer.drawings:
        lines.append(Text(f"  {drawing.title}", style="italic"))
        lines += [Text(f"    {row}", no_wrap=True) for row in drawing.text.splitlines()]
    return lines


def _failing(answer: Answer) -> list[Text]:
    """Evidence of our own that does not hold is shown, however few the lines."""
    return [_held(item) for item in answer.evidence if item.verdict is not Verdict.HOLDS]


def _held(evidence: Evidence) -> Text:
    mark, style = _HELD[evidence.verdict]
    return Text.assemble(f"  {'evidence':<{_INDENT - 2}}", (mark, style), f" {evidence.law}: {describe(evidence)}")


def _judged(one: Solved, *, whole: bool) -> list[Text]:
    if one.posted is None or one.answer is None or one.judgement is None:
        return []
    value, style = one.judgement.value, JUDGED[one.judgement]
    lines = [Text.assemble(f"  {'posted':<{_INDENT - 2}}", (value, style), f"  {one.posted.says}")]
    lines += [Text(" " * _INDENT + line, style="dim") for line in objections(one)]
    return lines + [_claim(claim, one) for claim in one.answer.claims] if whole else lines


def objections(one: Solved) -> list[str]:
    """What is against a posted answer: counterexamples, the parts that it lacks, and what could not be decided of it."""
    if one.answer is None or one.posted is None:
        return []
    said = [f"{claim.about}: {claim.counterexample}" for claim in one.answer.claims if claim.evidence.verdict is Verdict.BROKEN]
    if one.missing:
        said.append(f"does not say: {', '.join(one.missing)}")
    decided = {claim.about for claim in one.answer.claims if claim.evidence.verdict is not Verdict.UNDECIDED}
    undecided = [about for about in (*one.posted.claims, *one.posted.working) if about not in decided]
    return said + ([f"undecided: {', '.join(undecided)}"] if undecided else [])


def _claim(claim: Claim, one: Solved) -> Text:
    mark, style = _HELD[claim.evidence.verdict]
    return Text.assemble(f"  {'claim':<{_INDENT - 2}}", (mark, style), f" {claim_as(claim, one)}")


def claim_as(claim: Claim, one: Solved) -> str:
    """What a claim is about, whether it is a step of the posted working only, and its evidence."""
    where = " (working)" if one.posted and claim.about in one.posted.working else ""
    return f"{claim.about}{where}: {describe(claim.evidence)}"


def counts(solved: Sequence[Solved]) -> dict[str, int]:
    """How many questions, answers, faults, and posted answers by what became of them."""
    judged = [one.judgement for one in solved]
    return {
        "questions": len(solved),
        "answered": sum(one.answer is not None for one in solved),
        "not yet": sum(one.answer is None and not one.fault for one in solved),
        "faults": sum(bool(one.fault) for one in solved),
        **{judgement.value: judged.count(judgement) for judgement in Judgement},
    }


def tally(solved: Sequence[Solved]) -> str:
    """The counts in words, and which of our own answers do not hold."""
    count = counts(solved)
    parts = [f"{count['questions']} question{'s' * (len(solved) != 1)}: {count['answered']} answered, {count['not yet']} not yet"]
    faults = [one.question.id for one in solved if one.fault]
    if faults:
        parts.append(f"fault in {', '.join(faults)}")
    for verdict, words in ((Verdict.BROKEN, "evidence does not hold for"), (Verdict.UNDECIDED, "evidence leaves open")):
        named = [one.question.id for one in solved if one.answer and one.verdict is verdict]
        if named:
            parts.append(f"{words} {', '.join(named)}")
    judged = [f"{count[judgement.value]} {judgement.value}" for judgement in Judgement if count[judgement.value]]
    return " · ".join([*parts, f"posted: {', '.join(judged)}"] if judged else parts)


def exit_code(solved: Sequence[Solved]) -> int:
    """1 if the evidence of one of our own answers breaks, or computing it faulted, else 0: undecided is an answer."""
    return int(any(one.verdict is Verdict.BROKEN for one in solved))


def to_json(solved: Sequence[Solved]) -> str:
    """Every question with its answer, evidence and judgement, as indented JSON (docs/report-schema.md)."""
    plain = {
        "schema": 1,
        "exit_code": exit_code(solved),
        "tally": counts(solved),
        "documents": {letter: counts(part) for letter, part in by_document(solved).items()},
        "problems": [_plain(one) for one in solved],
    }
    return json.dumps(plain, indent=2, allow_nan=False) + "\n"


def _plain(one: Solved) -> dict[str, object]:
    question, answer = one.question, one.answer
    return {
        "id": question.id,
        "topic": question.topic,
        "statement": question.statement,
        "answered": answer is not None,
        "fault": one.fault or None,
        "answer": list(answer.says) if answer else None,
        "derivation": list(answer.derivation) if answer else None,
        "remarks": list(answer.remarks) if answer else None,
        "evidence": [evidence_to_plain(item) for item in answer.evidence] if answer else None,
        "drawings": [{"title": d.title, "text": d.text, "svg": d.svg} for d in answer.drawings] if answer else None,
        "verdict": one.verdict.value if one.verdict else None,
        "posted": _posted(one),
        "seconds": one.seconds,
    }


def _posted(one: Solved) -> dict[str, object] | None:
    if one.posted is None:
        return None
    claims = [
        {"about": claim.about, "evidence": evidence_to_plain(claim.evidence), "counterexample": claim.counterexample or None}
        for claim in (one.answer.claims if one.answer else ())
    ]
    return {
        "says": one.posted.says,
        "judgement": one.judgement.value if one.judgement else None,
        "missing": list(one.missing) if one.answer else None,
        "objections": objections(one),
        "claims": claims,
    }
