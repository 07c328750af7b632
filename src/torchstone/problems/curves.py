"""A plot of a few curves: SVG for a page, characters for a terminal."""

from collections.abc import Mapping, Sequence
from html import escape

from torchstone.core.problem import Drawing

Curve = Sequence[tuple[float, float]]
_WIDTH, _TALL, _MARGIN, _LETTER = 520, 210, 40, 7.2  # pixels; a letter of 13 is seldom wider
_COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed", "#111111")
_MARKS = "*o+x#"
_COLUMNS, _ROWS = 61, 13


def curves(title: str, series: Mapping[str, Curve], axis: str, *, dots: bool = False) -> Drawing:
    """Draw named curves of (x, y) points over one horizontal axis; up to five, each with points in order of x, or as dots."""
    points = [point for curve in series.values() for point in curve]
    box = (*_ends([x for x, _ in points]), *_ends([y for _, y in points]))
    return Drawing(title, _text(series, axis, box), _svg(title, series, axis, box, dots=dots))


def _ends(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    return (low, high) if high > low else (low - 1, high + 1)


def _share(number: float, low: float, high: float) -> float:
    return (number - low) / (high - low)


def _svg(title: str, series: Mapping[str, Curve], axis: str, box: tuple[float, float, float, float], *, dots: bool) -> str:
    left, right, low, high = box
    named, head = _legend(list(series))
    ends = [f"{low:.3g}", f"{high:.3g}"]
    begin = max(_MARGIN, round(_LETTER * max(map(len, ends))) + 10)  # the numbers stand beside the frame and are never cut
    inner, foot = _WIDTH - begin - _MARGIN, head + _TALL
    lines = []
    for curve, colour in zip(series.values(), _COLOURS, strict=False):
        scaled = ((_share(x, left, right), _share(y, low, high)) for x, y in curve)
        placed = [(f"{begin + inner * x:.1f}", f"{foot - _TALL * y:.1f}") for x, y in scaled]
        if dots:
            lines += [f'<circle cx="{x}" cy="{y}" r="1.5" fill="{colour}"/>' for x, y in placed]
        else:
            path = " ".join(map(",".join, placed))
            lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    frame = f'<rect x="{begin}" y="{head}" width="{inner}" height="{_TALL}" fill="none" stroke="#888"/>'
    marks = [
        f'<text x="{begin}" y="{foot + 18}" text-anchor="middle">{left:.4g}</text>',
        f'<text x="{_WIDTH - _MARGIN}" y="{foot + 18}" text-anchor="middle">{right:.4g}</text>',
        f'<text x="{begin + inner / 2}" y="{foot + 18}" text-anchor="middle">{escape(axis)}</text>',
        f'<text x="{begin - 6}" y="{foot}" text-anchor="end">{ends[0]}</text>',
        f'<text x="{begin - 6}" y="{head + 10}" text-anchor="end">{ends[1]}</text>',
    ]
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {foot + 28}" role="img"'
    font = ' font-family="sans-serif" font-size="13">'
    return "".join([start, font, f"<title>{escape(title)}</title>", *named, frame, *lines, *marks, "</svg>"])


def _legend(names: Sequence[str]) -> tuple[list[str], int]:
    """The names in their colours, in as many rows as they need, and where the frame below them begins."""
    x, y, drawn = _MARGIN, 18, []
    for name, colour in zip(names, _COLOURS, strict=False):
        width = round(_LETTER * len(name)) + 34
        if x > _MARGIN and x + width > _WIDTH:
            x, y = _MARGIN, y + 18
        drawn.append(f'<rect x="{x}" y="{y - 6}" width="12" height="4" fill="{colour}"/>')
        drawn.append(f'<text x="{x + 17}" y="{y}" fill="{colour}">{escape(name)}</text>')
        x += width
    return drawn, y + 12


def _text(series: Mapping[str, Curve], axis: str, box: tuple[float, float, float, float]) -> str:
    left, right, low, high = box
    grid = [[" "] * _COLUMNS for _ in range(_ROWS)]
    for curve, mark in zip(series.values(), _MARKS, strict=False):
        for x, y in curve:
            grid[round((_ROWS - 1) * (1 - _share(y, low, high)))][round((_COLUMNS - 1) * _share(x, left, right))] = mark
    ends = {0: f"{high:.3g}", _ROWS - 1: f"{low:.3g}"}
    rows = [f"{ends.get(at, ''):>9} |{''.join(row).rstrip()}" for at, row in enumerate(grid)]
    legend = "  ".join(f"{mark} {name}" for name, mark in zip(series, _MARKS, strict=False))
    first, last = f"{left:.4g}", f"{right:.4g}"
    scale = first + f" {axis} ".center(_COLUMNS - len(first) - len(last)) + last
    return "\n".join([legend, *rows, f"{'':>9} +{'-' * _COLUMNS}", f"{'':>11}{scale}"])
