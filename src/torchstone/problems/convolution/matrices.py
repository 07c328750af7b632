"""A matrix drawn entry by entry: equal entries in one colour, zeros faint, so that its bands are seen."""

from collections.abc import Sequence
from html import escape

from torchstone.core.problem import Drawing

_CELL, _HEIGHT, _MARGIN = 64, 32, 8
_COLOURS = ("#dbeafe", "#fde68a", "#bbf7d0", "#fbcfe8", "#ddd6fe", "#fed7aa")


def matrix(title: str, rows: Sequence[Sequence[object]]) -> Drawing:
    """Draw a matrix; entries are shown as they print, and what prints as 0 is left faint."""
    cells = [[str(entry) for entry in row] for row in rows]
    shown = sorted({entry for row in cells for entry in row if entry != "0"})
    colours = {entry: _COLOURS[at % len(_COLOURS)] for at, entry in enumerate(shown)}
    return Drawing(title, _text(cells), _svg(title, cells, colours))


def _text(cells: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(entry.rjust(width) for entry, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(f"[ {line} ]" for line in lines)


def _svg(title: str, cells: Sequence[Sequence[str]], colours: dict[str, str]) -> str:
    wide = max(_CELL, 8 * max(len(entry) for row in cells for entry in row) + 12)
    width, height = 2 * _MARGIN + wide * len(cells[0]), 2 * _MARGIN + _HEIGHT * len(cells)
    drawn = []
    for row, entries in enumerate(cells):
        for column, entry in enumerate(entries):
            x, y = _MARGIN + wide * column, _MARGIN + _HEIGHT * row
            fill, ink = colours.get(entry, "#ffffff"), "#111111" if entry in colours else "#999999"
            drawn.append(f'<rect x="{x}" y="{y}" width="{wide}" height="{_HEIGHT}" fill="{fill}" stroke="#888888"/>')
            place = f'x="{x + wide / 2:g}" y="{y + _HEIGHT / 2 + 5:g}"'
            drawn.append(f'<text {place} text-anchor="middle" fill="{ink}">{escape(entry)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
    font = ' font-family="sans-serif" font-size="14">'
    return "".join([head, font, f"<title>{escape(title)}</title>", *drawn, "</svg>"])
