"""A report as JSON: versioned, documented in docs/report-schema.md, free of NaN."""

import json
import math

from torchstone.core.evidence import Evidence
from torchstone.core.finding import Finding, Remedy
from torchstone.core.report import Report

SCHEMA = 1
Json = dict[str, object]


def to_json(report: Report) -> str:
    """The whole report as indented JSON text."""
    return json.dumps(to_plain(report), indent=2, allow_nan=False) + "\n"


def to_plain(report: Report) -> Json:
    """The report as plain dicts and lists."""
    run, tally = report.run, report.tally
    return {
        "schema": SCHEMA,
        "script": run.script,
        "arguments": list(run.arguments),
        "steps": run.steps,
        "seconds": _number(run.seconds),
        "ended": run.reason,
        "script_exit_code": run.exit_code,
        "exit_code": report.exit_code,
        "loss": {"first": _number(run.first_loss), "last": _number(run.last_loss)},
        "tally": {"held": tally.held, "broken": tally.broken, "undecided": tally.undecided},
        "findings": [_finding(finding) for finding in report.findings],
        "evidence": [evidence_to_plain(item) for item in report.evidence],
        "notes": list(report.notes),
        "faults": list(report.faults),
    }


def _finding(finding: Finding) -> Json:
    main = finding.main
    return {
        "name": finding.name,
        "code": finding.code,
        "severity": finding.severity.value,
        "title": finding.title,
        "where": _where(main),
        "law": main.law,
        "predicted": _number(main.predicted.value),
        "measured": _number(main.measured.value if main.measured else None),
        "unit": main.predicted.unit.value,
        "predicted_as": finding.predicted_as,
        "measured_as": finding.measured_as,
        "why": finding.message,
        "remedies": [_remedy(remedy) for remedy in finding.remedies],
        "why_no_remedy": finding.why_no_remedy or None,
        "sites": [_where(item) for item in finding.evidence],
    }


def _where(evidence: Evidence) -> Json:
    site = evidence.site
    return {"module": site.module, "file": site.file, "line": site.line, "step": site.step}


def _remedy(remedy: Remedy) -> Json:
    before, after = remedy.before.measured, remedy.after.measured
    return {
        "title": remedy.change.title,
        "patch": remedy.change.patch,
        "before": _number(before.value if before else None),
        "after": _number(after.value if after else None),
        "works": remedy.works,
        "verdict": remedy.after.verdict.value,
        "reason": remedy.after.reason or None,
        "cost": _number(remedy.cost_ratio),
        "note": remedy.note,
    }


def evidence_to_plain(evidence: Evidence) -> Json:
    """One piece of evidence as plain values."""
    return {
        "law": evidence.law,
        "where": _where(evidence),
        "predicted": _number(evidence.predicted.value),
        "measured": _number(evidence.measured.value if evidence.measured else None),
        "unit": evidence.predicted.unit.value,
        "relation": evidence.relation.value,
        "tolerance": str(evidence.tolerance),
        "how": evidence.how,
        "verdict": evidence.verdict.value,
        "reason": evidence.reason or None,
    }


def _number(value: float | None) -> float | str | None:
    return str(value) if value is not None and not math.isfinite(value) else value
