"""One axis of a windowed layer drawn: which inputs each output reads, with the padding; for a terminal and as SVG.

Rows are windows, columns positions. Of a convolution or a pooling the windows are outputs and the positions inputs; of a transposed
convolution the windows are inputs and the positions the outputs that they write. What is too long is cut in the middle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from torchstone.core.problem import Drawing
from torchstone.laws.convolution.geometry import AxisSpec, LayerKind, size_after
from torchstone.laws.convolution.reach import informed_positions, read_positions
from torchstone.solve.convolution import ConvSolution

_COLUMNS, _ROWS = 100, 14
_HEAD_ROWS = 9
_CELL, _LEFT, _TOP, _GAP = 14, 78, 44, 30
_SIGNS = {"read": "■", "padding": "□", "unread": "×", "none": "·"}
_FILLS = {"read": "#1f6feb", "padding": "#9db8dd", "unread": "#c62a2f", "none": "#ffffff", "outside": "#eeeeee"}


@dataclass(frozen=True, slots=True)
class _Panel:
    """What is drawn of one axis. Positions and windows that are left out are None."""

    title: str
    legend: str
    window: str
    size: int
    positions: tuple[int | None, ...]
    windows: tuple[int | None, ...]
    taps: Mapping[int, frozenset[int]]
    unread: frozenset[int]
    unread_word: str

    def cell(self, window: int, position: int) -> str:
        """What a window does at a position."""
        if position not in self.taps[window]:
            return "none" if 0 <= position < self.size else "outside"
        return "read" if 0 <= position < self.size else "padding"


def draw(solution: ConvSolution) -> Drawing:
    """A solution, one panel for each axis that differs."""
    specs = solution.spec.axes
    lines = [*dict.fromkeys(zip(solution.input[1:], specs, strict=True))]
    panels = [_panel(size, axis) for size, axis in lines]
    if len(panels) == 1:
        return Drawing(panels[0].title, _text(panels[0]), _svg(panels))
    sizes = ("x".join(map(str, shape[1:])) for shape in (solution.input, solution.output))
    return Drawing(" → ".join(sizes), "\n\n".join(f"{panel.title}\n{_text(panel)}" for panel in panels), _svg(panels))


def _panel(size: int, axis: AxisSpec) -> _Panel:
    after, crossed = size_after(size, axis), axis.kind is LayerKind.TRANSPOSED
    windows, positions = (size, after) if crossed else (after, size)
    reach = range(0, axis.extent, axis.dilation)
    end = max(positions + axis.padding[1], (windows - 1) * axis.stride + axis.extent - axis.padding[0])
    shown = _cut(range(windows), _ROWS, _HEAD_ROWS)
    begins = {window: window * axis.stride - axis.padding[0] for window in shown if window is not None}
    taps = {window: frozenset(begin + tap for tap in reach) for window, begin in begins.items()}
    touched = informed_positions(size, [axis]) if crossed else read_positions(size, [axis])
    columns = _cut(range(-axis.padding[0], end), _COLUMNS, _COLUMNS * 3 // 5)
    doing = "writes" if crossed else "reads"
    return _Panel(
        f"{size} → {after}: kernel {axis.kernel}, stride {axis.stride}, padding {_sides(axis)}, dilation {axis.dilation}"
        + (f", output_padding {axis.output_padding}" if axis.output_padding else ""),
        f"■ {doing} an {'output' if crossed else 'input'}, □ {'cropped away' if crossed else 'reads padding'}",
        "input" if crossed else "output",
        positions,
        columns,
        shown,
        taps,
        frozenset(place for place in columns if place is not None and 0 <= place < positions and not touched >> place & 1),
        "unwritten" if crossed else "unread",
    )


def _sides(axis: AxisSpec) -> str:
    before, after = axis.padding
    return str(before) if before == after else f"{before},{after}"


def _cut(whole: range, most: int, head: int) -> tuple[int | None, ...]:
    """All of it, or its beginning and end with None between."""
    if len(whole) <= most:
        return tuple(whole)
    return (*whole[:head], None, *whole[-(most - head - 1) :])


def _text(panel: _Panel) -> str:
    width = len(f"{panel.unread_word} ") if panel.unread else 0
    width = max(width, *(len(f"{panel.window} {window} ") for window in panel.windows))
    lines = [" " * width + "".join(_digit(panel, position) for position in panel.positions)]
    for window in panel.windows:
        if window is None:
            lines.append("…")
            continue
        cells = [" " if position is None else panel.cell(window, position) for position in panel.positions]
        drawn = "".join(_SIGNS.get(cell, " ") for cell in cells)
        lines.append(f"{panel.window} {window}".ljust(width) + drawn)
    legend = panel.legend
    if panel.unread:
        marks = "".join(_SIGNS["unread"] if position in panel.unread else " " for position in panel.positions)
        lines.append(panel.unread_word.ljust(width) + marks)
        legend += f", × {panel.unread_word}"
    return "\n".join(line.rstrip() for line in [*lines, legend])


def _digit(panel: _Panel, position: int | None) -> str:
    """The last digit of a position; p in the padding."""
    if position is None:
        return "…"
    return str(position % 10) if 0 <= position < panel.size else "p"


def _svg(panels: Sequence[_Panel]) -> str:
    heights = [_TOP + (len(panel.windows) + bool(panel.unread)) * _CELL + _GAP for panel in panels]
    width = max(_LEFT + len(panel.positions) * _CELL + 10 for panel in panels)
    width = max(width, *(7 * len(panel.title) + 20 for panel in panels))
    top, inner = 0, ""
    for panel, height in zip(panels, heights, strict=True):
        inner += f'<g transform="translate(0 {top})">{_drawn(panel, height)}</g>'
        top += height
    # Attributes, not a style sheet: several drawings share one page.
    font = 'font-family="system-ui,sans-serif" font-size="11" fill="#222"'
    size = f'viewBox="0 0 {width} {top}" width="{width}" height="{top}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {font}>{inner}</svg>'


def _drawn(panel: _Panel, height: int) -> str:
    parts = [f'<text font-size="13" font-weight="600" x="8" y="18">{escape(panel.title)}</text>']
    for column, position in enumerate(panel.positions):
        x = _LEFT + column * _CELL
        if position is None or position % 5 == 0 or position == panel.size - 1:
            number = "…" if position is None else position
            parts.append(f'<text font-size="9" text-anchor="middle" x="{x + _CELL // 2}" y="{_TOP - 5}">{number}</text>')
    for row, window in enumerate(panel.windows):
        y = _TOP + row * _CELL
        label = "…" if window is None else f"{panel.window} {window}"
        parts.append(f'<text x="8" y="{y + 11}">{label}</text>')
        if window is not None:
            cells = [(column, position) for column, position in enumerate(panel.positions) if position is not None]
            parts += [_square(column, y, panel.cell(window, position)) for column, position in cells]
    if panel.unread:
        y = _TOP + len(panel.windows) * _CELL
        parts.append(f'<text x="8" y="{y + 11}">{panel.unread_word}</text>')
        parts += [_square(column, y, "unread") for column, position in enumerate(panel.positions) if position in panel.unread]
    keys = [("read", "writes" if panel.window == "input" else "reads"), ("padding", "padding")]
    keys += [("unread", panel.unread_word)] if panel.unread else []
    return "".join(parts) + _keys(keys, height - 16)


def _square(column: int, y: int, cell: str) -> str:
    return f'<rect x="{_LEFT + column * _CELL}" y="{y}" width="{_CELL}" height="{_CELL}" fill="{_FILLS[cell]}" stroke="#cccccc"/>'


def _keys(keys: Sequence[tuple[str, str]], y: int) -> str:
    return "".join(
        f'<rect x="{_LEFT + 110 * place}" y="{y - 9}" width="10" height="10" fill="{_FILLS[cell]}" stroke="#cccccc"/>'
        f'<text x="{_LEFT + 110 * place + 15}" y="{y}">{word}</text>'
        for place, (cell, word) in enumerate(keys)
    )
