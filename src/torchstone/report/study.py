"""A study's report: a table for a terminal, CSV, JSON, and one page with its plots."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Protocol

from rich.console import Console
from rich.markup import escape as escaped
from rich.table import Table

from torchstone.core.evidence import Verdict
from torchstone.core.files import whole
from torchstone.core.quantity import format_number
from torchstone.core.study import Interval, StudyReport
from torchstone.report.page import document
from torchstone.report.plots import save_plot
from torchstone.report.proof import describe

_MARKS = {Verdict.HOLDS: "✓", Verdict.BROKEN: "✗", Verdict.UNDECIDED: "?"}
_COLOURS = {Verdict.HOLDS: "green", Verdict.BROKEN: "red", Verdict.UNDECIDED: "yellow"}


class Listed(Protocol):
    """What the list shows of a study."""

    NAME: str
    QUESTION: str
    SETTLES: tuple[str, ...]


def print_list(studies: Iterable[Listed], console: Console) -> None:
    """Every study, what it settles, and for which questions."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("study", "settles", "questions"):
        table.add_column(title, no_wrap=title == "study")
    for one in studies:
        table.add_row(one.NAME, one.QUESTION, ", ".join(one.SETTLES))
    console.print(table)


def as_text(value: Interval) -> str:
    """A mean with the half width of its interval, to the digits that mean something.

    >>> as_text(Interval(1.23456, 0.0321, 3)), as_text(Interval(0.5, math.inf, 1))
    ('1.235 ±0.032', '0.5')
    """
    if not math.isfinite(value.mean):
        return str(value.mean)
    if not 0 < value.half_width < math.inf:
        return format_number(value.mean)
    digits = max(0, 1 - math.floor(math.log10(value.half_width)))
    if digits > 6 or abs(value.mean) >= 1e6:  # noqa: PLR2004 - beyond it, powers of ten read better
        return f"{value.mean:.4g} ±{value.half_width:.2g}"
    return f"{value.mean:.{digits}f} ±{value.half_width:.{digits}f}"


def _rows(report: StudyReport) -> list[tuple[str, list[Interval | None]]]:
    outcomes = report.outcomes
    return [
        (setting, [outcomes.interval(setting, name) if outcomes.values(setting, name) else None for name in report.figures])
        for setting in outcomes.settings
    ]


def print_report(report: StudyReport, console: Console) -> None:
    """The table, the verdict of every law, remarks, and where the rest lies."""
    console.print(f"{report.name}: {report.question}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("setting")
    for words in report.figures.values():
        table.add_column(words, justify="right")
    for setting, values in _rows(report):
        table.add_row(setting, *("" if value is None else as_text(value) for value in values))
    console.print(table)
    seeds = f"{report.seeds} seed{'s' * (report.seeds > 1)}, ± 95 % (Student)" if report.seeds > 1 else "1 seed"
    console.print(f"{seeds}; {report.seconds:.0f} CPU s", style="dim", markup=False)
    for item in report.evidence:
        colour = _COLOURS[item.verdict]
        said = escaped(f"{item.law}  {describe(item)}")
        console.print(f"[{colour}]{_MARKS[item.verdict]} {item.verdict.value}[/]  {said}", soft_wrap=True)
    for remark in report.remarks:
        console.print(f"note: {remark}", style="dim", markup=False, soft_wrap=True)
    if report.folder is not None:
        made = f"index.html, {len(report.plots)} plots (SVG, PNG), table.csv, runs.jsonl"
        console.print(f"{report.folder}: {made}", markup=False, soft_wrap=True)


def to_csv(report: StudyReport) -> str:
    """One line a run: setting, seed, every figure, CPU seconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", "seed", *report.figures, "cpu_seconds"])
    for run in report.outcomes.runs:
        writer.writerow([run.setting, run.seed, *(run.figures.get(name, "") for name in report.figures), f"{run.seconds:.2f}"])
    return text.getvalue()


def to_json(report: StudyReport) -> str:
    """The whole report; numbers that JSON does not know are strings."""
    rows = {
        setting: {
            name: None if value is None else _interval(value)
            for name, value in zip(report.figures, values, strict=True)
        }
        for setting, values in _rows(report)
    }
    evidence = [
        {
            "law": item.law, "verdict": item.verdict.value, "predicted": _number(item.predicted.value),
            "measured": None if item.measured is None else _number(item.measured.value), "unit": item.predicted.unit.value,
            "relation": item.relation.value, "tolerance": str(item.tolerance), "how": item.how, "reason": item.reason,
        }
        for item in report.evidence
    ]
    everything = {
        "study": report.name, "question": report.question, "settles": list(report.settles), "verdict": report.verdict.value,
        "quick": report.quick, "seeds": report.seeds, "cpu_seconds": round(report.seconds, 2), "figures": dict(report.figures),
        "settings": rows, "evidence": evidence, "remarks": list(report.remarks), "folder": str(report.folder or ""),
    }
    return json.dumps(everything, indent=2, allow_nan=False) + "\n"


def _interval(value: Interval) -> dict[str, float | str]:
    return {"mean": _number(value.mean), "half_width": _number(value.half_width), "seeds": value.count}


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def save(report: StudyReport) -> None:
    """Plots, table and page into the study's folder, each file whole or not at all."""
    if report.folder is None:
        return
    for plot in report.plots:
        save_plot(plot, report.folder)
    for name, text in (("table.csv", to_csv(report)), ("index.html", to_html(report))):
        with whole(report.folder / name) as part:
            part.write_text(text, encoding="utf-8")


def to_html(report: StudyReport) -> str:
    """One page: question, verdicts, table, plots. The plots lie beside it."""
    verdicts = "".join(
        f'<li><span class="{item.verdict.value}">{_MARKS[item.verdict]} {item.verdict.value}</span> '
        f"<code>{escape(item.law)}</code> {escape(describe(item))}</li>\n"
        for item in report.evidence
    )
    remarks = "".join(f'<p class="dim">{escape(remark)}</p>\n' for remark in report.remarks)
    titles = [(escape(plot.title), escape(plot.name)) for plot in report.plots]
    figures = "".join(
        f'<figure><img alt="{title}" src="{name}.svg"><figcaption>{title}</figcaption></figure>\n' for title, name in titles
    )
    size = f"{report.seeds} seeds, {report.seconds:.0f} CPU s{', quick' * report.quick}"
    body = (
        f'<p>{escape(report.question)}</p>\n<p class="dim">settles {escape(", ".join(report.settles))}; {size}</p>\n'
        f"<ul>\n{verdicts}</ul>\n{_table(report)}\n{remarks}{figures}"
    )
    return document(f"study {report.name}", body)


def _table(report: StudyReport) -> str:
    titles = "".join(f"<th>{escape(words)}</th>" for words in report.figures.values())
    rows = "\n".join(f"<tr><th>{escape(setting)}</th>{_cells(values)}</tr>" for setting, values in _rows(report))
    return f'<div class="table"><table>\n<thead><tr><th>setting</th>{titles}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'


def _cells(values: Sequence[Interval | None]) -> str:
    return "".join(f"<td>{'' if value is None else escape(as_text(value))}</td>" for value in values)
