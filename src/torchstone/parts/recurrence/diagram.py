"""Diagrams of one step of a recurrent network: boxes on a grid joined by right-angled lines, in SVG and in characters."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise

_CELL, _ROW, _MARGIN = 8, 18, 12  # pixels of a character's width, of a row, and around the picture
_GAP = 6  # characters between two columns of boxes
# Line ends in a cell, 1 up, 2 right, 4 down, 8 left, and the character that draws them.
_STROKES = dict(zip(range(1, 16), "│─└││┌├─┘─┴┐┤┬┼", strict=True))
_HEAD = "▶"
# The end of a cell that a line in this direction leaves by, and the end of the next one that it comes in by.
_ENDS = {(1, 0): (2, 8), (-1, 0): (8, 2), (0, 1): (4, 1), (0, -1): (1, 4), (0, 0): (0, 0)}

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Diagram:
    """A picture of one step of a network, for a terminal and for a page."""

    title: str
    text: str
    svg: str


@dataclass(frozen=True, slots=True)
class Box:
    """A quantity or an operation at a column and a row of the grid; `into` names the boxes that it feeds."""

    label: str
    column: int
    row: int
    into: tuple[str, ...] = ()


def gated_diagram(inputs: int, hidden: int, *, biased: bool) -> Diagram:
    """The gated network of these sizes: c = sigmoid(Wc x + Wh h), h = c * h + (1 - c) * Wx x."""
    bias = " + b" if biased else ""
    boxes = {
        "h": Box(f"h[t-1] ({hidden})", 0, 0, ("wh", "keep")),
        "x": Box(f"x[t] ({inputs})", 0, 3, ("wc", "wx")),
        "wh": Box(f"Wh ({hidden} x {hidden})", 1, 1, ("sum",)),
        "wc": Box(f"Wc ({hidden} x {inputs}){bias}", 1, 2, ("sum",)),
        "wx": Box(f"Wx ({hidden} x {inputs}){bias}", 1, 4, ("take",)),
        "sum": Box("+", 2, 1, ("gate",)),
        "gate": Box("sigmoid = c[t]", 3, 1, ("keep", "rest")),
        "rest": Box("1 - c[t]", 4, 2, ("take",)),
        "keep": Box("times", 5, 0, ("new",)),
        "take": Box("times", 5, 4, ("new",)),
        "new": Box("+", 6, 2, ("out",)),
        "out": Box(f"h[t] ({hidden})", 7, 2),
    }
    return drawn("GatedRNN, one step", boxes)


def attention_diagram(inputs: int, hidden: int, window: float) -> Diagram:
    """q, k, v of the input and of the past states, w = q . k, a = softmax(w), h = sum of a v."""
    if window == math.inf:
        past = [(f"h[t-1] .. h[0] ({hidden})", "Q, K, V, tied")]
        sums, size = "sum a[i] v[i], i = 0..t", "t + 1"
    else:
        past = [(f"h[t-{i}] ({hidden})", f"Q{i}, K{i}, V{i}") for i in range(1, int(window) + 1)]
        sums, size = f"sum a[i] v[i], i = 0..{window:g}", f"{window + 1:g}"
    boxes: dict[str, Box] = {}
    names = ["0", *(str(i) for i in range(1, len(past) + 1))]
    for row, (name, (source, weights)) in enumerate(zip(names, [(f"x[t] ({inputs})", "Q0, K0, V0"), *past], strict=True)):
        boxes[f"source{name}"] = Box(source, 0, 2 * row, (f"weights{name}",))
        boxes[f"weights{name}"] = Box(weights, 1, 2 * row, (f"value{name}", f"score{name}"))
        boxes[f"value{name}"] = Box(f"v{name}", 2, 2 * row, ("out",))
        boxes[f"score{name}"] = Box(f"w{name} = q{name} . k{name}", 2, 2 * row + 1, ("softmax",))
    middle = 2 * (len(names) // 2) + 1
    boxes["softmax"] = Box(f"softmax = a[t] ({size})", 3, middle, ("out",))
    boxes["out"] = Box(sums, 4, middle, ("new",))
    boxes["new"] = Box(f"h[t] ({hidden})", 5, middle)
    return drawn(f"AttentionRNN({'infinity' if window == math.inf else format(window, 'g')}), one step", boxes)


def drawn(title: str, boxes: Mapping[str, Box]) -> Diagram:
    """Boxes placed in characters and lines led between them; the page's picture has the same places."""
    columns = range(1 + max(box.column for box in boxes.values()))
    widths = [max(len(box.label) for box in boxes.values() if box.column == at) + 2 + _GAP for at in columns]
    left = {name: sum(widths[: box.column]) for name, box in boxes.items()}
    paths = []
    for name, box in boxes.items():
        for other in box.into:
            between = {b.row for b in boxes.values() if box.column < b.column < boxes[other].column}
            ends = (left[name] + len(box.label) + 2, 2 * box.row), (left[other] - 1, 2 * boxes[other].row)
            paths.append(_path(*ends, taken=box.row in between))
    return Diagram(title, _text(boxes, left, paths), _svg(title, boxes, left, paths))


def _path(begin: Point, end: Point, *, taken: bool) -> tuple[Point, ...]:
    """From box to box: along the first one's row and over beside the second, or the other way about where that row is taken."""
    turn = begin[0] + 1 if taken else end[0] - 1
    return begin, (turn, begin[1]), (turn, end[1]), end


def _text(boxes: Mapping[str, Box], left: Mapping[str, int], paths: Iterable[tuple[Point, ...]]) -> str:
    ends: dict[Point, int] = {}
    heads = set()
    for path in paths:
        for (x, y), (u, v) in pairwise(path):
            dx, dy = (u > x) - (u < x), (v > y) - (v < y)
            out, back = _ENDS[dx, dy]
            for number in range(abs(u - x) + abs(v - y)):
                here = x + number * dx, y + number * dy
                there = here[0] + dx, here[1] + dy
                ends[here] = ends.get(here, 0) | out
                ends[there] = ends.get(there, 0) | back
        heads.add(path[-1])
    signs = {at: _HEAD if at in heads else _STROKES[mask] for at, mask in ends.items()}
    for name, box in boxes.items():
        signs |= {(left[name] + at, 2 * box.row): sign for at, sign in enumerate(f"[{box.label}]")}
    lines = []
    for y in range(1 + max(row for _, row in signs)):
        row = {x: sign for (x, at), sign in signs.items() if at == y}
        lines.append("".join(row.get(x, " ") for x in range(1 + max(row, default=-1))))
    return "\n".join(lines)


def _svg(title: str, boxes: Mapping[str, Box], left: Mapping[str, int], paths: Iterable[tuple[Point, ...]]) -> str:
    wide = 2 * _MARGIN + _CELL * (3 + max(left[name] + len(box.label) for name, box in boxes.items()))
    high = 2 * _MARGIN + _ROW * (2 + 2 * max(box.row for box in boxes.values()))

    def place(x: float, y: float) -> tuple[float, float]:
        return _MARGIN + _CELL * x, _MARGIN + _ROW * (y + 0.5)

    lines = []
    for path in paths:
        points = " ".join(f"{x:g},{y:g}" for x, y in (place(x + 0.5 * (at == len(path) - 1), y) for at, (x, y) in enumerate(path)))
        lines.append(f'<polyline points="{points}" fill="none" stroke="#555" marker-end="url(#head)"/>')
    for name, box in boxes.items():
        x, y = place(left[name], 2 * box.row)
        width = _CELL * (len(box.label) + 2)
        lines.append(f'<rect x="{x:g}" y="{y - 12:g}" width="{width}" height="24" rx="4" fill="#eef4ff" stroke="#1f6feb"/>')
        lines.append(f'<text x="{x + width / 2:g}" y="{y + 4:g}" text-anchor="middle">{escape(box.label)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" font-family="monospace" font-size="12">'
    marker = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
    )
    return "".join([head, f"<title>{escape(title)}</title>", marker, *lines, "</svg>"])
