"""A memory schedule of modules that are run again, as a table and a drawing for people, and as JSON."""

import json
from html import escape

from rich.console import Console
from rich.text import Text

from torchstone.core.problem import Drawing
from torchstone.laws.rematerialization.modules import GraphPlan, Place
from torchstone.laws.rematerialization.planning import written

_SHOWN = 24
_BAR = 60


def print_graph_plan(plan: GraphPlan, console: Console) -> None:
    """The schedule and what it costs."""
    for line in graph_lines(plan):
        console.print(line, soft_wrap=True, highlight=False)


def graph_lines(plan: GraphPlan) -> list[Text]:
    """The same, line by line."""
    title = "modules run again in the backward pass" if plan.reruns else "everything fits: nothing is run again"
    rows = [
        ("stored whole", f"{written(plan.stored_peak)} at its peak"),
        ("peak", f"{written(plan.predicted_peak)} predicted, within the budget of {written(plan.budget)}"),
        ("runs again", f"{len(plan.reruns)} modules, {_percent(plan.extra_share)} of a forward pass's work"),
        ("proof", bound_words(plan)),
    ]
    if plan.refused:
        rows.append(("left out", refused_words(plan)))
    lines = [Text(title, style="bold")]
    lines += [Text.assemble((f"  {name:<14}", "bold"), words) for name, words in rows]
    lines += [Text(f"  {line}") for line in _table(plan)]
    return [*lines, *(Text(f"  {line}") for line in graph_drawn(plan).text.splitlines())]


def bound_words(plan: GraphPlan) -> str:
    """How good the schedule is, as far as that is known."""
    if not plan.reruns:
        return "any schedule: nothing is run again"
    if plan.lower_bound <= 0:
        return "best found; no lower bound above nothing is known"
    found = (
        f"best found, at most {_percent(plan.gap)} above the bound: any set of module calls runs {_percent(plan.bound_share)} of a "
        "forward pass's work again"
    )
    return f"{found}, any schedule at all {_percent(plan.any_bound / max(1, plan.forward_cost))}"


def refused_words(plan: GraphPlan) -> str:
    """Which modules cannot be run again, and why, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, why in plan.refused.items():
        reasons.setdefault(why, []).append(name or "the model itself")
    said = []
    for why, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - a few names show which
        said.append(f"{', '.join(names[:3])}{more} ({why})")
    return "; ".join(said)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _table(plan: GraphPlan) -> list[str]:
    """What runs again, what it keeps otherwise, and its work."""
    if not plan.reruns:
        return []
    cells = [("module", "class", "calls", "keeps otherwise", "work")]
    cells += [
        (one.module, one.kind, str(one.calls), written(one.frees), _percent(one.cost / max(1, plan.forward_cost)))
        for one in plan.reruns[:_SHOWN]
    ]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [*lines, *([f"… and {len(plan.reruns) - _SHOWN} more"] if len(plan.reruns) > _SHOWN else [])]


def graph_drawn(plan: GraphPlan) -> Drawing:
    """What keeps activations, in the order of calls: █ kept, ▒ run again (deeper: ▓), as wide as its share of the bytes."""
    total = sum(place.kept for place in plan.places)
    cells = "".join("█▒▓"[min(place.again, 2)] * _width(place, total) for place in plan.places)
    legend = "█ kept  ▒ run again  ▓ run again more than once; from the first call to the last, by bytes"
    return Drawing("what is kept and what is run again", f"{cells}\n{legend}", _svg(plan, total))


def _width(place: Place, total: int) -> int:
    return round(_BAR * place.kept / max(1, total))


def _svg(plan: GraphPlan, total: int) -> str:
    colours = ("#4477aa", "#ddcc77", "#cc6677")
    boxes, left = [], 10.0
    for place in plan.places:
        width = 600 * place.kept / max(1, total)
        said = f"{place.module or 'the model itself'}: {written(place.kept)}{', run again' if place.again else ''}"
        boxes.append(
            f'<rect x="{left:.2f}" y="30" width="{max(width - 0.5, 0.2):.2f}" height="{20 + 10 * min(place.again, 2)}" '
            f'fill="{colours[min(place.again, 2)]}"><title>{escape(said)}</title></rect>'
        )
        left += width
    head = f"peak {written(plan.predicted_peak)}, {len(plan.reruns)} modules run again (all but the blue ones), widths by bytes"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 80" font-family="sans-serif">'
        '<rect width="620" height="80" fill="#ffffff"/>'
        f'<text x="10" y="16" font-size="12">{escape(head)}</text>{"".join(boxes)}</svg>'
    )


def graph_plan_to_json(plan: GraphPlan) -> str:
    """Schedule, predictions and bounds."""
    plain = {
        "schema": 1, "strategy": plan.strategy, "budget_bytes": plan.budget, "held_bytes": plan.held,
        "predicted_peak_bytes": plan.predicted_peak, "stored_peak_bytes": plan.stored_peak,
        "forward_work": plan.forward_cost, "extra_work": plan.extra_cost, "lower_bound": plan.lower_bound,
        "any_schedule_bound": plan.any_bound, "gap": plan.gap,
        "modules": [
            {"name": one.module, "class": one.kind, "calls": one.calls, "frees_bytes": one.frees, "work": one.cost}
            for one in plan.reruns
        ],
        "calls": [{"module": one.module, "kept_bytes": one.kept, "again": one.again} for one in plan.places],
        "refused": plan.refused,
    }  # fmt: skip
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
