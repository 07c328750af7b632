"""A trace's tables as SVG: every cell stands where its column begins, whatever font the reader has."""

from html import escape

from torchstone.traces.layout import Block, blocks, columns, shortened
from torchstone.traces.notation import width
from torchstone.traces.table import Trace

_CELL, _ROW, _MARGIN = 8.0, 20, 12
_BETWEEN, _GAP = 3, 1  # in cells
_EQUALS = "= "  # before the rule and before the first number


def svg(trace: Trace) -> str:
    """The evaluation trace with the derivative trace beside it, the adjoint trace below; self-contained, on white."""
    first, *others = blocks(trace)
    point = ", ".join(f"{name} = {value:g}" for name, value in zip(trace.variables, trace.at, strict=True))
    drawn = [_text(_MARGIN, _MARGIN + _ROW / 2, f"y = {shortened(trace.text)}   at {point}", bold=True)]
    top, right = _MARGIN + 2 * _ROW, _wide(drawn[0])
    for row in ([first, *others[:1]], *([other] for other in others[1:])):
        left: float = _MARGIN
        for block in row:
            texts, end = _block(block, left, top)
            drawn += texts
            left = end + _BETWEEN * _CELL
            right = max(right, end)
        top += (max(len(block.rows) for block in row) + 3) * _ROW
    size = f'viewBox="0 0 {right + _MARGIN:.0f} {top - _ROW:.0f}" width="{right + _MARGIN:.0f}"'
    style = 'font-family="ui-monospace, Consolas, monospace" font-size="13"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} role="img"><title>trace</title>{"".join(drawn)}</svg>'


def _block(block: Block, left: float, top: float) -> tuple[list[str], float]:
    """The texts of a table, and where it ends."""
    texts, x = [_text(left, top, block.title, bold=True)], left
    for index, column in enumerate(columns(block)):
        before = _EQUALS if 0 < index <= len(_EQUALS) else ""
        for row, cell in enumerate(column, 1):
            shown = (before if row > 1 else " " * len(before)) + cell
            if shown.strip():
                texts.append(_text(x, top + row * _ROW, shown))
        x += (len(before) + width(column[0]) + _GAP) * _CELL
    return texts, max(x, left + width(block.title) * _CELL)


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" xml:space="preserve"{weight}>{escape(text.rstrip())}</text>'


def _wide(drawn: str) -> float:
    return _MARGIN + width(drawn.partition(">")[2]) * _CELL
