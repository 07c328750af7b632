"""A plot of a few curves: SVG for a page, characters for a terminal."""

from collections.abc import Mapping, Sequence
from html import escape

from torchstone.core.problem import Drawing

Curve = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _MARGIN = 520, 280, 40
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
    inner, tall = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    lines = []
    for (name, curve), colour, row in zip(series.items(), _COLOURS, range(len(series)), strict=False):
        scaled = ((_share(x, left, right), _share(y, low, high)) for x, y in curve)
        placed = [(f"{_MARGIN + inner * x:.1f}", f"{_HEIGHT - _MARGIN - tall * y:.1f}") for x, y in scaled]
        if dots:
            lines += [f'<circle cx="{x}" cy="{y}" r="1.5" fill="{colour}"/>' for x, y in placed]
        else:
            path = " ".join(map(",".join, placed))
            lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(f'<text x="{_MARGIN + 8}" y="{_MARGIN + 14 + 16 * row}" fill="{colour}">{escape(name)}</text>')
    frame = f'<rect x="{_MARGIN}" y="{_MARGIN}" width="{inner}" height="{tall}" fill="none" stroke="#888"/>'
    marks = [
        f'<text x="{_MARGIN}" y="{_HEIGHT - 22}" text-anchor="middle">{left:.4g}</text>',
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 22}" text-anchor="middle">{right:.4g}</text>',
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(axis)}</text>',
        f'<text x="{_MARGIN - 6}" y="{_HEIGHT - _MARGIN}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{_MARGIN - 6}" y="{_MARGIN + 10}" text-anchor="end">{high:.3g}</text>',
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    font = ' font-family="sans-serif" font-size="12">'
    return "".join([head, font, f"<title>{escape(title)}</title>", frame, *lines, *marks, "</svg>"])


def _text(series: Mapping[str, Curve], axis: str, box: tuple[float, float, float, float]) -> str:
    left, right, low, high = box
    grid = [[" "] * _COLUMNS for _ in range(_ROWS)]
    for curve, mark in zip(series.values(), _MARKS, strict=False):
        for x, y in curve:
            grid[round((_ROWS - 1) * (1 - _share(y, low, high)))][round((_COLUMNS - 1) * _share(x, left, right))] = mark
    ends = {0: f"{high:.3g}", _ROWS - 1: f"{low:.3g}"}
    rows = [f"{ends.get(at, ''):>9} |{''.join(row).rstrip()}" for at, row in enumerate(grid)]
    legend = "  ".join(f"{mark} {name}" for name, mark in zip(series, _MARKS, strict=False))
    scale = f"{left:.4g}".ljust(_COLUMNS // 2) + f"{axis}".ljust(_COLUMNS // 2 - 2) + f"{right:.4g}"
    return "\n".join([legend, *rows, f"{'':>9} +{'-' * _COLUMNS}", f"{'':>11}{scale}"])
