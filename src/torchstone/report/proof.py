"""Proofs as a table for people, as JSON, and as a LaTeX table."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from torchstone.core.evidence import Evidence, Relation, Verdict
from torchstone.core.law import find_law
from torchstone.core.proof import Mutant, Proof, ProofReport
from torchstone.core.quantity import Unit, format_number
from torchstone.report.json import evidence_to_plain
from torchstone.report.latex import document, escape

_STYLES = {Verdict.HOLDS: "green", Verdict.BROKEN: "bold red", Verdict.UNDECIDED: "yellow"}
_MARKS = {Verdict.HOLDS: "✓", Verdict.BROKEN: "✗", Verdict.UNDECIDED: "?"}
_HEADINGS = ("law", "kind", "how held", "samples", "worst error", "tolerance", "verdict", "seconds")
_NUMBERS = {"samples", "worst error", "tolerance", "seconds", "mutants"}
# What a terminal too narrow for the table goes without, first to last.
_DISPENSABLE = ("how held", "kind", "samples", "seconds")
_HOW = 40


def print_proofs(report: ProofReport, console: Console) -> None:
    """The table, then what broke and why, then the tally; a law that is alone is told in full."""
    width = console.width if console.is_terminal else None
    told = _alone(report.proofs[0]) if len(report.proofs) == 1 else _notes(report)
    for line in [*_table(report, width), Text(), *told, _tally(report)]:
        console.print(line, soft_wrap=True, highlight=False)


def _table(report: ProofReport, width: int | None = None) -> list[Text]:
    """One line a law, as wide as it is in a pipe; columns are left out where a terminal has no room for them."""
    columns = {heading: list(column) for heading, *column in zip(*_cells(report), strict=True)}
    for heading in _DISPENSABLE:
        if heading == "how held":
            columns[heading] = [how if len(how) <= _HOW else how[: _HOW - 1] + "…" for how in columns[heading]]
        if width is not None and sum(_width(*column) + 2 for column in columns.items()) - 2 > width:
            del columns[heading]
    aligned = [_aligned(heading, column) for heading, column in columns.items()]
    head, *rows = zip(*aligned, strict=True)
    lines = [Text("  ".join(head).rstrip(), style="bold")]
    for proof, row in zip(report.proofs, rows, strict=True):
        cells = [Text(cell) for cell in row]
        cells[list(columns).index("verdict")].stylize(_STYLES[proof.verdict])
        cells[-1].rstrip()
        lines.append(Text("  ").join(cells))
    return lines


def _width(heading: str, column: Sequence[str]) -> int:
    return max(map(len, (heading, *column)))


def _aligned(heading: str, column: Sequence[str]) -> list[str]:
    width = _width(heading, column)
    return [cell.rjust(width) if heading in _NUMBERS else cell.ljust(width) for cell in (heading, *column)]


def _cells(report: ProofReport) -> list[tuple[str, ...]]:
    """The headings, and a row a law; the mutants' column only where some were tried."""
    tried = any(proof.mutants is not None for proof in report.proofs)
    rows = [(*_row(proof), _caught(proof.mutants or ())) if tried else _row(proof) for proof in report.proofs]
    return [(*_HEADINGS, "mutants") if tried else _HEADINGS, *rows]


def _row(proof: Proof) -> tuple[str, ...]:
    worst, tolerance = _worst(proof.worst)
    return (
        proof.law, proof.kind.value, proof.how, str(proof.samples), worst, tolerance, proof.verdict.value, f"{proof.seconds:.2f}",
    )  # fmt: skip


def _caught(mutants: Sequence[Mutant]) -> str:
    return f"{sum(mutant.broken_by is not None for mutant in mutants)}/{len(mutants)}"


def _worst(evidence: Evidence | None) -> tuple[str, str]:
    if evidence is None or evidence.measured is None:
        return "-", "-"
    error = (evidence.measured - evidence.predicted).value
    shown = f"{error:+.2g}" if evidence.relation is not Relation.EQUAL else f"{abs(error):.2g}"
    total = evidence.tolerance.total
    return shown, f"{total:.2g}" if total else "exact"


def _alone(proof: Proof) -> list[Text]:
    """A law in full: its statement, the worst sample, and what gave each mutant away."""
    lines = [Text(find_law(proof.law).statement, style="bold")]
    lines.append(Text(f"held: {proof.how}"))
    if proof.fault:
        lines.append(Text(f"✗ the part raised {proof.fault}", style="bold red"))
    if proof.worst is not None:
        mark = (_MARKS[proof.worst.verdict], _STYLES[proof.worst.verdict])
        lines.append(Text.assemble("worst sample: ", mark, f" {describe(proof.worst)}"))
    for mutant in proof.mutants or ():
        said = f"caught: {describe(mutant.broken_by)}" if mutant.broken_by else "let pass"
        lines.append(Text(f"mutant “{mutant.name}” {said}", style="" if mutant.broken_by else "yellow"))
    return [*lines, *([Text("✗ toothless: no mutant breaks it", style="yellow")] if proof.toothless else []), Text()]


def _notes(report: ProofReport) -> list[Text]:
    lines = []
    for proof in report.proofs:
        if proof.fault:
            lines.append(Text(f"✗ {proof.law}: the part raised {proof.fault}", style="bold red"))
        elif proof.verdict is not Verdict.HOLDS:
            said = describe(proof.worst) if proof.worst is not None else "its experiment gave no evidence"
            lines.append(Text(f"{_MARKS[proof.verdict]} {proof.law}: {said}", style=_STYLES[proof.verdict]))
        word = "✗ toothless" if proof.toothless else "! let pass"
        passed = [mutant.name for mutant in proof.mutants or () if mutant.broken_by is None]
        lines += [Text(f"{word}: {proof.law}: {name}", style="yellow") for name in passed]
    return lines


def describe(evidence: Evidence) -> str:
    """Evidence in one line: both numbers, the tolerance and the sample."""
    said, tolerance, reason = _parts(evidence)
    return f"{said}, {tolerance} ({evidence.how}){reason}"


def numbers(evidence: Evidence) -> str:
    """The same without the sample, for where that has been named already."""
    said, tolerance, reason = _parts(evidence)
    return f"{said}, {tolerance}{reason}"


def _parts(evidence: Evidence) -> tuple[str, str, str]:
    predicted = format_number(evidence.predicted.value)
    relation = "" if evidence.relation is Relation.EQUAL else f"{evidence.relation.value} "
    reason = f"; undecided: {evidence.reason}" if evidence.reason else ""
    return f"predicted {relation}{predicted}, {_measured(evidence, predicted)}", f"tolerance {evidence.tolerance}", reason


def _measured(evidence: Evidence, predicted: str) -> str:
    """The measured number in its unit; where it reads like the predicted one and differs, by how much."""
    if evidence.measured is None:
        return "nothing measured"
    shown = format_number(evidence.measured.value)
    apart = (evidence.measured - evidence.predicted).value
    unit = "" if evidence.predicted.unit is Unit.VALUE else f" {evidence.predicted.unit}"
    return f"measured {shown}{unit}" + (f" ({abs(apart):.2g} apart)" if apart and shown == predicted else "")


def _tally(report: ProofReport) -> Text:
    samples = sum(proof.samples for proof in report.proofs)
    tried = [mutant for proof in report.proofs for mutant in proof.mutants or ()]
    count = counts(report)
    held = f"{count['held']} held, {count['broken']} broken, {count['undecided']} undecided"
    teeth = f" · {_caught(tried).replace('/', ' of ')} mutants caught, {count['toothless']} toothless" if tried else ""
    said = f"{len(report.proofs)} law{'s' * (len(report.proofs) != 1)}: {held} · {samples} samples{teeth} · {report.seconds:.1f} s"
    return Text(said, style="bold red" if report.exit_code else "bold green")


def counts(report: ProofReport) -> dict[str, int]:
    """How many laws held, broke, stayed undecided, and have no teeth."""
    verdicts = [proof.verdict for proof in report.proofs]
    named = zip(("held", "broken", "undecided"), (Verdict.HOLDS, Verdict.BROKEN, Verdict.UNDECIDED), strict=True)
    return {**{word: verdicts.count(verdict) for word, verdict in named}, "toothless": sum(p.toothless for p in report.proofs)}


def to_json(report: ProofReport) -> str:
    """Every proof with its worst evidence, as indented JSON (docs/report-schema.md)."""
    plain = {
        "schema": 1,
        "exit_code": report.exit_code,
        "seconds": report.seconds,
        "tally": counts(report),
        "proofs": [_plain(proof) for proof in report.proofs],
    }
    return json.dumps(plain, indent=2, allow_nan=False) + "\n"


def _plain(proof: Proof) -> dict[str, object]:
    return {
        "law": proof.law,
        "statement": find_law(proof.law).statement,
        "kind": proof.kind.value,
        "how": proof.how,
        "verdict": proof.verdict.value,
        "samples": proof.samples,
        "broken": proof.broken,
        "undecided": proof.undecided,
        "seconds": proof.seconds,
        "fault": proof.fault or None,
        "worst": evidence_to_plain(proof.worst) if proof.worst else None,
        "toothless": proof.toothless if proof.mutants is not None else None,
        "mutants": None if proof.mutants is None else [
            {"name": mutant.name, "broken_by": evidence_to_plain(mutant.broken_by) if mutant.broken_by else None}
            for mutant in proof.mutants
        ],
    }


def to_latex(report: ProofReport) -> str:
    """A document with the table, what broke and the tally; compiles as it is."""
    head, *rows = [" & ".join(map(escape, row)) + r" \\" for row in _cells(report)]
    kinds = {"how held": r"p{55mm}", **dict.fromkeys(_NUMBERS, "r")}
    columns = "".join(kinds.get(heading, "l") for heading in _cells(report)[0])
    begin = ["{\\footnotesize", rf"\begin{{longtable}}{{{columns}}}", rf"{head} \hline", r"\endhead"]
    table = [*begin, *rows, r"\end{longtable}", "}"]
    notes = [escape(line.plain) + r"\par" for line in [*_notes(report), _tally(report)]]
    return document("\n".join([*table, *notes]), packages=("longtable",))
