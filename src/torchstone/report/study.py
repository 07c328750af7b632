"""A study's report: a table for a terminal, CSV, JSON, and one page with its plots."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from textwrap import fill, wrap
from typing import Protocol, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchstone.core.errors import UsageError
from torchstone.core.evidence import Verdict
from torchstone.core.files import whole
from torchstone.core.quantity import format_number
from torchstone.core.study import Interval, StudyReport, counted
from torchstone.report.page import document
from torchstone.report.plots import save_plots
from torchstone.report.proof import numbers

_MARKS = {Verdict.HOLDS: "✓", Verdict.BROKEN: "✗", Verdict.UNDECIDED: "?"}
_COLOURS = {Verdict.HOLDS: "green", Verdict.BROKEN: "red", Verdict.UNDECIDED: "yellow"}
_INDENT, _GAP, _HEADING = "    ", 2, 14  # before a line's continuation; characters between columns, and of a heading at most


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
    """The table, every law with its verdict, remarks, where the rest lies, and the verdict on the whole."""
    _say(console, f"{report.name}: {report.question}")
    for table in _blocks(report, console.width):
        console.print(table)
    console.print(_size(report), style="dim", markup=False)
    for item in report.evidence:
        _say(console, f"  {item.how}", mark=(f"{_MARKS[item.verdict]} {item.verdict.value}", _COLOURS[item.verdict]))
        _say(console, f"  {item.law}: {numbers(item)}", style="dim")
    for remark in report.remarks:
        _say(console, f"note: {remark}", style="dim")
    if report.folder is not None:
        made = f"index.html, {counted(len(report.plots), 'plot')} (SVG, PNG), table.csv, runs.jsonl"
        console.print(f"{report.folder}: {made}", markup=False, soft_wrap=True)
    console.print(Text(tally(report), style=f"bold {_COLOURS[report.verdict]}"))


def _say(console: Console, line: str, style: str = "", mark: tuple[str, str] = ("", "")) -> None:
    """A line broken between words, its continuation indented; `mark` is what it begins with, and in which colour."""
    begin, colour = mark
    lines = wrap(f"{begin}{line}", console.width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)
    text = Text("\n".join(lines), style=style)
    text.stylize(colour, 0, len(begin))
    console.print(text, soft_wrap=True)


def tally(report: StudyReport) -> str:
    """The verdict on the whole, and how many of its laws stand behind it."""
    found = [item.verdict for item in report.evidence]
    words = {Verdict.HOLDS: "hold", Verdict.BROKEN: "broken", Verdict.UNDECIDED: "undecided"}
    parts = [f"{found.count(verdict)} {said}" for verdict, said in words.items() if verdict in found]
    return f"{report.verdict.value}: {', '.join(parts) or 'no law was held'}"


def _size(report: StudyReport) -> str:
    seeds = counted(report.seeds, "seed") + ", ± 95 % (Student)" * (report.seeds > 1)
    return f"{seeds}; {report.seconds:.0f} CPU s{', quick' * report.quick}"


def _blocks(report: StudyReport, width: int) -> Iterator[Table]:
    """The table, in as many pieces one below the other as the width asks for: no figure is cut, and no interval torn apart."""
    rows = _rows(report)
    names = Text("\n").join(Text(setting) for setting, _ in rows)
    first = min(max(map(len, names.plain.splitlines()), default=0), width // 3)
    columns = [
        (words, ["" if values[place] is None else as_text(cast("Interval", values[place])) for _, values in rows])
        for place, words in enumerate(report.figures.values())
    ]
    while columns:
        piece: list[tuple[str, list[str]]] = []
        taken = first
        while columns and (not piece or taken + _GAP + _width(*columns[0]) <= width):
            taken += _GAP + _width(*columns[0])
            piece.append(columns.pop(0))
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("setting", width=first)
        for words, cells in piece:
            table.add_column(Text(fill(words, _width(words, cells))), justify="right", no_wrap=True)
        for place, (setting, _) in enumerate(rows):
            table.add_row(Text(setting), *(cells[place] for _, cells in piece))
        yield table


def _width(words: str, cells: Sequence[str]) -> int:
    """Of a column: its longest cell, or as much as its heading needs to stay short."""
    return max(*map(len, [*cells, *words.split()]), min(len(words), _HEADING))


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
    """Plots, table and page into the study's folder, each file whole or not at all.

    Raises UsageError where they cannot be written: the runs are recorded, and the same command makes the rest.
    """
    if report.folder is None:
        return
    try:
        save_plots(report.plots, report.folder)
        for name, text in (("table.csv", to_csv(report)), ("index.html", to_html(report))):
            with whole(report.folder / name) as part:
                part.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{report.folder}: plots and page cannot be written: {error.strerror or error}; make room and run it again"
        raise UsageError(message) from error


def to_html(report: StudyReport) -> str:
    """One page: question, verdicts, table, plots. The plots lie beside it."""
    verdicts = "".join(
        f'<li><span class="{item.verdict.value}">{_MARKS[item.verdict]} {item.verdict.value}</span> {escape(item.how)}<br>'
        f'<small class="dim"><code>{escape(item.law)}</code>: {escape(numbers(item))}</small></li>\n'
        for item in report.evidence
    )
    whole_of_it = f'<p><b class="{report.verdict.value}">{report.verdict.value}</b> {escape(tally(report).partition(": ")[2])}</p>'
    remarks = "".join(f'<p class="dim">{escape(remark)}</p>\n' for remark in report.remarks)
    titles = [(escape(plot.title), escape(plot.name)) for plot in report.plots]
    figures = "".join(
        f'<figure><img alt="{title}" src="{name}.svg"><figcaption>{title}</figcaption></figure>\n' for title, name in titles
    )
    body = (
        f'<p>{escape(report.question)}</p>\n<p class="dim">settles {escape(", ".join(report.settles))}; {_size(report)}</p>\n'
        f"{whole_of_it}\n{_table(report)}\n{remarks}{figures}<h2>Laws held</h2>\n<ul>\n{verdicts}</ul>\n"
    )
    return document(f"study {report.name}", body)


def _table(report: StudyReport) -> str:
    titles = "".join(f"<th>{escape(words)}</th>" for words in report.figures.values())
    rows = "\n".join(f"<tr><th>{escape(setting)}</th>{_cells(values)}</tr>" for setting, values in _rows(report))
    return f'<div class="table"><table>\n<thead><tr><th>setting</th>{titles}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'


def _cells(values: Sequence[Interval | None]) -> str:
    return "".join(f"<td>{'' if value is None else escape(as_text(value))}</td>" for value in values)
