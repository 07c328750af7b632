"""A report as a person reads it: rich in a terminal, plain in a pipe, no colour under NO_COLOR."""

from collections import Counter

from rich.console import Console
from rich.text import Text

from torchstone.core.evidence import Verdict
from torchstone.core.finding import Finding, Remedy, Severity
from torchstone.core.quantity import Quantity, Unit, format_number
from torchstone.core.report import Report

_UNDECIDED_SHOWN = 5
_MARKS = {Severity.ERROR: ("✗", "bold red"), Severity.WARNING: ("!", "bold yellow")}


def print_report(report: Report, console: Console) -> None:
    """Print the whole report; lines are never wrapped, so that a pipe gets whole lines."""
    for line in report_lines(report):
        console.print(line, soft_wrap=True, highlight=False)


def report_lines(report: Report) -> list[Text]:
    """The report line by line."""
    lines = [_headline(report)]
    for finding in report.findings:
        lines += _finding(finding)
    lines += _undecided(report)
    lines += [Text(f"· {note}", style="dim") for note in report.notes]
    lines += [Text(f"torchstone fault: {fault} (the script was not disturbed)", style="magenta") for fault in report.faults]
    return lines


def _headline(report: Report) -> Text:
    tally, run = report.tally, report.run
    count = len(report.findings)
    found = f"{count} finding{'' if count == 1 else 's'}" if count else "no finding"
    style = "bold red" if report.findings else "bold green"
    broken = f"{tally.broken} law{'' if tally.broken == 1 else 's'} broken"
    if run.exit_code:
        found = f"the script ended with exit code {run.exit_code}; {found}"
        style = "bold red"
    line = Text(f"{found}: {broken}, {tally.held} held, {tally.undecided} undecided", style=style)
    losses = ""
    if run.first_loss is not None and run.last_loss is not None:
        losses = f" · loss {format_number(run.first_loss)} → {format_number(run.last_loss)}"
    line.append(f"          {run.script} · {run.steps} steps · {format_seconds(run.seconds)}{losses}", style="default")
    return line


def format_seconds(seconds: float) -> str:
    """Whole seconds from ten on, tenths below."""
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"  # noqa: PLR2004 - two digits are enough


def _finding(finding: Finding) -> list[Text]:
    mark, style = _MARKS[finding.severity]
    first = Text.assemble((f"{mark} {finding.name}", style), f"   {finding.main.site}")
    lines = [first, Text(f"  {finding.title}"), _row("predicted", finding.predicted_as), _row("measured", finding.measured_as)]
    lines.append(_row("why", finding.message))
    for remedy in finding.remedies:
        lines += _remedy(remedy)
    if finding.why_no_remedy:
        lines.append(_row("remedy", finding.why_no_remedy))
    lines.append(Text(f"  explain: torchstone explain {finding.name}", style="dim"))
    return lines


def _row(label: str, text: str) -> Text:
    return Text.assemble(f"  {label:<10} ", text)


def _remedy(remedy: Remedy) -> list[Text]:
    before, after = _quantity(remedy.before.measured), _quantity(remedy.after.measured)
    verdict = {
        Verdict.HOLDS: ("law holds", "green"),
        Verdict.BROKEN: ("law still broken", "red"),
        Verdict.UNDECIDED: (f"law not restored: {remedy.after.reason}", "yellow"),
    }[remedy.after.verdict]
    cost = f"   {remedy.cost_ratio:.2f}× time" if remedy.cost_ratio is not None else ""
    first = Text.assemble(("  remedy tried ", "bold"), f"{remedy.change.title}   {before} → {after}   ", verdict, cost)
    details = "   ".join(part for part in (remedy.change.patch, remedy.note) if part)
    return [first, Text(f"               {details}", style="dim")]


def _quantity(quantity: Quantity | None) -> str:
    if quantity is None:
        return "?"
    if quantity.unit is Unit.RATIO:
        return f"{format_number(100 * quantity.value)} %"
    return format_number(quantity.value) if quantity.unit is Unit.COUNT else str(quantity)


def _undecided(report: Report) -> list[Text]:
    undecided = [e for e in report.evidence if e.verdict is Verdict.UNDECIDED]
    first = {e.reason: e for e in reversed(undecided)}
    reasons = Counter(e.reason for e in undecided)
    lines = [
        Text(f"? undecided: {reason}   {first[reason].site}" + (f" and {count - 1} more" if count > 1 else ""), style="yellow")
        for reason, count in reasons.most_common(_UNDECIDED_SHOWN)
    ]
    if len(reasons) > _UNDECIDED_SHOWN:
        lines.append(Text(f"? and {len(reasons) - _UNDECIDED_SHOWN} more undecided (--json holds them all)", style="yellow"))
    return lines
