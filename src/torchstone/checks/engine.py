"""Holds every check against a recording and keeps all evidence, broken or not."""

from collections.abc import Sequence
from dataclasses import dataclass

from torchstone.checks.check import Check
from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.finding import Finding
from torchstone.core.recording import Recording


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of holding checks: all evidence, the findings, and faults of our own."""

    evidence: tuple[Evidence, ...] = ()
    findings: tuple[tuple[Check, Finding], ...] = ()
    faults: tuple[str, ...] = ()


def examine(recording: Recording, checks: Sequence[Check]) -> Examination:
    """Hold every check. A check that raises is a fault of ours: it is reported, and the others go on."""
    evidence: list[Evidence] = []
    findings: list[tuple[Check, Finding]] = []
    faults: list[str] = []
    for check in checks:
        try:
            held = list(check.hold(recording))
            broken = [item for item in held if item.verdict is Verdict.BROKEN]
            found = list(check.explain(broken, recording)) if broken else []
        except Exception as error:  # noqa: BLE001 - one check's fault must not cost the user the others' findings
            faults.append(f"check {check.NAME} failed: {type(error).__name__}: {error}")
            continue
        evidence.extend(held)
        findings.extend((check, finding) for finding in found)
    return Examination(tuple(evidence), tuple(findings), tuple(faults))
