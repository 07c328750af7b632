"""A descent in one variable drawn on the graph of its function, for a terminal and as SVG."""

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from torchstone.core.errors import UsageError
from torchstone.core.problem import Drawing
from torchstone.solve.optimization.solution import DescentSolution, Run
from torchstone.traces.expression import evaluate, parse

_COLUMNS, _LINES = 61, 15
_WIDTH, _HEIGHT, _MARGIN = 480, 280, 40
_SAMPLES = 121
_SHOWN = 12  # steps; more of them lie too close to tell apart

Points = list[tuple[float, float]]


def draw(solution: DescentSolution) -> Drawing:
    """The run of the first solution: the points 0, 1, 2, ... on the graph, joined in their order.

    Raises UsageError for a function of several variables and for a solution without a run.
    """
    if len(solution.variables) != 1:
        message = f"a descent is drawn in one variable; the function has {', '.join(solution.variables)}"
        raise UsageError(message)
    run = solution.solutions[0].run
    if run is None:
        message = "nothing was run: a drawing needs a start"
        raise UsageError(message)
    visited = [(row.point[0].value, row.value.value) for row in run.rows[: _SHOWN + 1] if math.isfinite(row.value.value)]
    curve = _curve(solution.function, [x for x, _ in visited] + [minimum.point[0].value for minimum in solution.minima[:1]])
    return Drawing(_title(solution, run), _text(curve, visited), _svg(curve, visited, solution.variables[0], _title(solution, run)))


def _title(solution: DescentSolution, run: Run) -> str:
    first = solution.solutions[0]
    beta = f", momentum {first.momentum}" if solution.optimizer != "gradient" else ""
    begun = f"{solution.variables[0]} = {run.rows[0].point[0]}"
    return f"{solution.function} from {begun}: {solution.optimizer}, learning rate {first.learning_rate}{beta}"


def _curve(function: str, places: Sequence[float]) -> Points:
    """The graph around all of these places, where it is finite."""
    formula = parse(function)
    low, high = min(places), max(places)
    reach = max(high - low, 1e-9 * (1 + abs(high))) * 0.15
    step = (high - low + 2 * reach) / (_SAMPLES - 1)
    grid = [low - reach + step * k for k in range(_SAMPLES)]
    values = [(x, evaluate(formula, {formula.variables[0]: x})) for x in grid]
    return [(x, y) for x, y in values if math.isfinite(y)]


def _frame(curve: Points, visited: Points) -> tuple[float, float, float, float]:
    """The extents, never empty; the graph's height is cut where no point is."""
    xs = [x for x, _ in curve + visited]
    heights = [y for _, y in visited]
    low = min([y for _, y in curve] + heights)
    top = max(heights) + 0.25 * ((max(heights) - low) or 1.0)
    return min(xs), max(xs), low, top


def _text(curve: Points, visited: Points) -> str:
    left, right, low, top = _frame(curve, visited)
    cells = [[" "] * _COLUMNS for _ in range(_LINES)]

    def put(x: float, y: float, sign: str) -> None:
        column, line = round((x - left) / (right - left) * (_COLUMNS - 1)), round((top - y) / (top - low) * (_LINES - 1))
        if 0 <= line < _LINES and 0 <= column < _COLUMNS:
            cells[line][column] = sign if cells[line][column] in {" ", "·"} else "*"

    for x, y in curve:
        put(x, y, "·") if y <= top else None
    for number, (x, y) in enumerate(visited):
        put(x, y, "0123456789abc"[number])
    legend = "0, 1, ... steps; * several"
    return "\n".join("".join(line).rstrip() for line in cells) + f"\n{left:<{_COLUMNS - 10}.4g}{right:>10.4g}\n{legend}"


def _svg(curve: Points, visited: Points, name: str, title: str) -> str:
    left, right, low, top = _frame(curve, visited)

    def place(x: float, y: float) -> tuple[str, str]:
        across = _MARGIN + (x - left) / (right - left) * (_WIDTH - 2 * _MARGIN)
        down = _MARGIN + (top - y) / (top - low) * (_HEIGHT - 2 * _MARGIN)
        return f"{across:.1f}", f"{down:.1f}"

    graph = " ".join(",".join(place(x, y)) for x, y in curve if y <= top)
    ends = ((place(*a), place(*b)) for a, b in pairwise(visited))
    arrows = "".join(
        f'<line x1="{a}" y1="{b}" x2="{c}" y2="{d}" stroke="#d4722a" stroke-width="1.5" marker-end="url(#arrow)"/>'
        for (a, b), (c, d) in ends
    )
    dots = "".join(_dot(*place(x, y), number) for number, (x, y) in enumerate(visited))
    base = _HEIGHT - _MARGIN + 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#d4722a"/></marker></defs>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
        f'<polyline points="{graph}" fill="none" stroke="#2b6cb0" stroke-width="2"/>{arrows}{dots}'
        f'<text x="{_MARGIN}" y="{base}" fill="#444">{escape(name)} = {left:.4g}</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{base}" fill="#444" text-anchor="end">{right:.4g}</text></svg>'
    )


def _dot(across: str, down: str, number: int) -> str:
    label = f'<text x="{across}" y="{float(down) - 8:.1f}" fill="#222" text-anchor="middle">{number}</text>'
    return f'<circle cx="{across}" cy="{down}" r="4" fill="#d4722a"/>{label}'
