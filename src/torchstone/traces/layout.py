"""A trace laid out: its tables as blocks of cells, and as lines of text with columns aligned. Standard library only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from torchstone.traces.notation import Notation, aligned, padded, plain, signs, width, written
from torchstone.traces.table import Birth, Comparison, Remark, Trace, Verification

PRECISION = 5
_GAP = "   "
_BETWEEN = "    "
_LONGEST = 300
_REMARKS = 8


@dataclass(frozen=True, slots=True)
class Block:
    """One table. A row's cells: name, rule, one number or more, a remark; `headings` name the numbers' columns."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and what it is: title, row, result, remark, born, held or failed."""

    role: str
    text: str


def blocks(trace: Trace, notation: Notation = signs, precision: int = PRECISION) -> list[Block]:
    """The evaluation trace, then the derivative trace, then the adjoint trace, as far as they were asked for."""
    found = [evaluation(trace, notation, precision)]
    if trace.tangents:
        found.append(_tangents(trace, notation, precision))
    if trace.adjoints:
        found.append(_adjoints(trace, notation, precision))
    return found


def evaluation(trace: Trace, notation: Notation, precision: int) -> Block:
    """The evaluation trace; variables' names stay as the user wrote them."""
    count = len(trace.variables)
    rows = [
        (notation(row.name), row.rule if index < count else notation(row.rule), written(row.number, precision))
        for index, row in enumerate(trace.values)
    ]
    return Block("evaluation trace", ("",), tuple(rows))


def _tangents(trace: Trace, notation: Notation, precision: int) -> Block:
    count = len(trace.variables)
    rows = [
        (
            notation(row.name),
            row.rule if index < count else notation(row.rule),
            *(written(number, precision) for number in row.numbers),
        )
        for index, row in enumerate(trace.tangents)
    ]
    return Block("forward derivative trace", tuple(f"along {seed.name}" for seed in trace.seeds), tuple(rows))


def _adjoints(trace: Trace, notation: Notation, precision: int) -> Block:
    made = {row.name: row.rule for row in trace.values}
    rows = [
        (
            notation(row.name),
            notation(row.rule),
            written(row.number, precision),
            f"from {notation(row.source)} = {notation(made[row.source])}" if row.source in made else "",
        )
        for row in trace.adjoints
    ]
    rows[0] = (*rows[0][:3], "seed")
    return Block("reverse adjoint trace, in the order of computing", ("",), tuple(rows))


def columns(block: Block) -> list[list[str]]:
    """A block's columns, headings first, every cell padded to its column's width; the points of numbers below each other."""
    cells = [list(column) for column in zip_longest(*block.rows, fillvalue="")]
    for index, heading in enumerate(block.headings, 2):
        column = aligned(cells[index])
        full = max(len(heading), len(column[0]))
        cells[index] = [text.rjust(full) for text in column]
    widths = [max(map(width, column)) for column in cells]
    headings = ["", "", *block.headings, *[""] * (len(cells) - 2 - len(block.headings))]
    padded_cells = zip(headings, cells, widths, strict=True)
    return [[heading.rjust(full), *(padded(cell, full) for cell in column)] for heading, column, full in padded_cells]


def grid(block: Block) -> list[str]:
    """A block as lines of one width: the title, the headings if there are any, the rows."""
    headings, *rows = zip(*columns(block), strict=True)
    body = [_line(row) for row in rows]
    if any(block.headings):
        body.insert(0, " " * (width(headings[0]) + width(headings[1]) + 6) + _GAP.join(headings[2:]))
    full = max(width(block.title), *map(width, body))
    return [padded(line, full) for line in (block.title, *body)]


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]} = {cells[1]} = {_GAP.join(cells[2:])}".rstrip()


def beside(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """Two grids side by side, aligned at the end of their headings."""
    blank = " " * (width(left[0]) if left else 0)
    return [f"{a}{_BETWEEN}{b}".rstrip() for a, b in zip_longest(left, right, fillvalue=blank)]


def lines(trace: Trace, notation: Notation = signs, precision: int = PRECISION) -> list[Line]:
    """Everything that is shown: the tables, the value and the derivatives, remarks, births, and how the rows fared."""
    point = ", ".join(f"{name} = {value:g}" for name, value in zip(trace.variables, trace.at, strict=True))
    found = [Line("title", f"y = {shortened(trace.text)}   at {shortened(point)}"), Line("row", "")]
    for table in _tables(trace, notation, precision):
        found += [Line("title" if index == 0 else "row", text) for index, text in enumerate(table)]
        found.append(Line("row", ""))
    said = [*_remarks(trace, notation), *_births(trace, notation), *_held(trace, notation)]
    return [*found, *_results(trace, notation, precision), *said]


def shortened(formula: str) -> str:
    """A formula for a heading: what is longer than a few lines is cut."""
    return formula if len(formula) <= _LONGEST else f"{formula[:_LONGEST]} ... ({len(formula):,} characters)"


def _tables(trace: Trace, notation: Notation, precision: int) -> list[list[str]]:
    first, *others = [grid(block) for block in blocks(trace, notation, precision)]
    if not others:
        return [[line.rstrip() for line in first]]
    if trace.tangents and any(seed.name for seed in trace.seeds):
        first = [first[0], " " * width(first[0]), *first[1:]]  # where the derivative trace has its headings
    return [beside(first, others[0]), *([line.rstrip() for line in other] for other in others[1:])]


def _results(trace: Trace, notation: Notation, precision: int) -> list[Line]:
    shown = [f"y = {written(trace.value, precision)}"]
    if trace.tangents and not trace.adjoints:
        shown += [f"{_along(name, trace, notation)} = {written(number, precision)}" for name, number in trace.derivatives.items()]
    else:
        shown += [f"{notation('dy/d')}{name} = {written(number, precision)}" for name, number in trace.gradient.items()]
    return [Line("result", _GAP.join(shown))]


def _along(name: str, trace: Trace, notation: Notation) -> str:
    return f"{notation('dy/d')}{name}" if name in trace.variables else f"dy along {name}"


def _remarks(trace: Trace, notation: Notation) -> list[Line]:
    found = [Line("remark", f"note: {remarked(one, notation)}") for one in trace.remarks[:_REMARKS]]
    more = len(trace.remarks) - len(found)
    return [*found, Line("remark", f"note: torch's conventions hold in {more:,} further partial derivatives")] if more else found


def remarked(remark: Remark, notation: Notation = signs) -> str:
    """That a rule is torch's convention, in words."""
    row = f"{notation(remark.name)} = {notation(remark.rule)}"
    return f"{row}: at this point the rule is torch's convention: {notation(remark.partial)} = {remark.number:g}"


def _births(trace: Trace, notation: Notation) -> list[Line]:
    return [Line("born", f"! {born(birth, notation)}") for birth in trace.births]


def born(birth: Birth, notation: Notation = signs) -> str:
    """Where a number that is not finite is born, in words."""
    name, rule = notation(birth.name), notation(birth.rule)
    if birth.numbers == "given":
        return f"{birth.number:g} was given: {name} = {birth.rule}"
    shown = f"{name} = {rule}"
    if birth.numbers not in {"", birth.rule}:
        shown += f" = {birth.numbers}"
    return f"the {birth.table} {birth.number:g} is born in {shown}"


def _held(trace: Trace, notation: Notation) -> list[Line]:
    held = trace.verification
    if held is None:
        return []
    mark, cross = ("ok", "BROKEN") if notation is plain else ("✓", "✗")
    found = [Line("failed", f"{cross} {_said(one, held.whole_of, notation, whole=one in held.whole)}") for one in held.failed]
    if not found and held.rows:
        worst = max(held.rows, key=lambda one: one.difference)
        every = "every other row" if held.incomparable else "every row"
        said = f"{every} held against torch.func.jvp and vjp in float64: {len(held.rows)} numbers, {_difference(worst, notation)}"
        found.append(Line("held", f"{mark} {said}"))
    if not held.failed:
        found += _whole(held, mark)
    if held.incomparable:
        found.append(Line("born", f"? {held.incomparable} numbers come from one that is not finite and were not compared"))
    return found


def _difference(worst: Comparison, notation: Notation) -> str:
    if worst.difference == 0:
        return "equal to the last bit"
    return f"worst difference {worst.difference:.1e} in {notation(worst.name)} (tolerance {worst.tolerance:.1e}: {worst.reason})"


def _whole(held: Verification, mark: str) -> list[Line]:
    if not held.whole:
        return []
    worst = max(one.difference for one in held.whole)
    agreed = "equal to the last bit" if worst == 0 else f"worst difference {worst:.1e}"
    return [Line("held", f"{mark} value and derivatives held against {held.whole_of}, run by torch: {agreed}")]


def _said(one: Comparison, whole_of: str, notation: Notation, *, whole: bool) -> str:
    name = notation(one.name)
    torchs = f"{whole_of} has" if whole else "torch gives"
    difference = "nan" if math.isnan(one.difference) else f"{one.difference:.1e}"
    return (
        f"{name}: the trace has {one.number:.10g}, {torchs} {one.reference:.10g}; "
        f"difference {difference}, tolerance {one.tolerance:.1e} ({one.reason})"
    )


def text(trace: Trace, notation: Notation = signs, precision: int = PRECISION) -> str:
    """All lines as one text."""
    return "\n".join(line.text for line in lines(trace, notation, precision))


