"""A memory schedule as a table and a drawing for people, and as JSON."""

import json
from collections.abc import Sequence
from html import escape

from rich.console import Console
from rich.text import Text

from torchstone.core.problem import Drawing
from torchstone.laws.rematerialization.chain import Layer, Parts, Segment, runs
from torchstone.laws.rematerialization.planning import Plan, written

_SHOWN = 8
_BAR = 60


def print_plan(plan: Plan, console: Console) -> None:
    """The schedule and what it costs."""
    for line in plan_lines(plan):
        console.print(line, soft_wrap=True, highlight=False)


def plan_lines(plan: Plan) -> list[Text]:
    """The same, line by line."""
    count, total = len(plan.layers), sum(layer.cost for layer in plan.layers)
    rows = [
        ("chain", f"{count} layers: {chain_words(plan.layers)}"),
        ("stored whole", f"{written(plan.stored_peak)} at its peak"),
        ("peak", f"{written(plan.predicted_peak)} predicted, within the budget of {written(plan.budget)}"),
        ("runs again", f"{plan.extra_forwards} layers in each backward pass, {_share(plan.extra_cost, total)} of a forward pass"),
        ("segments", segment_words(plan.parts)),
        ("proof", _proof(plan)),
    ]
    title = {"stored": "everything fits: nothing is run again", "nested": "segments inside segments"}
    lines = [Text(title.get(plan.strategy, "one level of checkpointed segments"), style="bold")]
    lines += [Text.assemble((f"  {name:<14}", "bold"), words) for name, words in rows]
    return [*lines, *(Text(f"  {line}") for line in drawn(plan).text.splitlines())]


def _share(cost: float, total: float) -> str:
    return f"{100 * cost / max(total, 1):.0f} %"


def _proof(plan: Plan) -> str:
    if plan.proof:
        return f"no other runs less again among {plan.proof}" if plan.extra_cost else plan.proof
    return f"not proven least: any schedule at all runs {plan.lower_bound} or more again, {plan.gap} fewer than this one"


def chain_words(layers: Sequence[Layer]) -> str:
    """Layers alike in one word each.

    >>> one = Layer("block.0", 4, 4, 40, 44, 8, 44)
    >>> chain_words([one] * 3)
    '3 x block.0 (saves 40 B, border 4 B)'
    """
    found = [
        f"{f'{count} x ' if count > 1 else ''}{layer.name} (saves {written(layer.saved)}, border {written(layer.input)})"
        for layer, count in runs(layers)
    ]
    return ", ".join(found if len(found) <= _SHOWN else [*found[: _SHOWN - 1], f"… {len(found) - _SHOWN + 1} more kinds"])


def segment_words(parts: Parts) -> str:
    """Sizes in order; stored ones in brackets, nested ones with what is inside.

    >>> segment_words((Segment(0, 4, again=True, parts=(Segment(0, 2, again=True), Segment(2, 4))), Segment(4, 6)))
    '4(2 [2]) [2]'
    """
    words = []
    for part in parts:
        inside = f"({segment_words(part.parts)})" if part.parts else ""
        words.append(f"{len(part)}{inside}" if part.again else f"[{len(part)}]")
    return " ".join(words)


def drawn(plan: Plan) -> Drawing:
    """The chain from input to output: ▒ runs again (deeper: ▓), █ is stored, │ is a border that is kept."""
    depths = [0] * len(plan.layers)
    borders: set[int] = set()

    def mark(parts: Parts) -> None:
        for part in parts:
            if part.again:
                borders.add(part.first)
                for place in range(part.first, part.stop):
                    depths[place] += 1
                mark(part.parts)

    mark(plan.parts)
    cells = ["".join(("│" if place in borders else "") + "█▒▓"[min(depth, 2)] for place, depth in enumerate(depths))]
    text = cells[0] if len(cells[0]) <= 2 * _BAR else segment_bar(plan.parts, len(plan.layers))
    legend = "█ stored  ▒ run again  ▓ run again more than once  │ kept border"
    return Drawing("what is stored and what is run again", f"{text}\n{legend}", _svg(plan, depths, borders))


def segment_bar(parts: Parts, layers: int) -> str:
    """A long chain in one line: each outermost segment about as wide as its share.

    >>> segment_bar((Segment(0, 500, again=True), Segment(500, 1000)), 1000) == "│" + "▒" * 30 + "█" * 30
    True
    """
    widths = [max(1, round(_BAR * len(part) / layers)) for part in parts]
    return "".join("│" * part.again + "█▒"[part.again] * width for part, width in zip(parts, widths, strict=True))


def _svg(plan: Plan, depths: Sequence[int], borders: set[int]) -> str:
    width = 600 / max(1, len(depths))
    colours = ("#4477aa", "#ddcc77", "#cc6677", "#882255")
    boxes = "".join(
        f'<rect x="{10 + place * width:.2f}" y="30" width="{width * 0.9:.2f}" height="{20 + 10 * min(depth, 3)}" '
        f'fill="{colours[min(depth, 3)]}"><title>{escape(layer.name)}: saves {layer.saved} bytes</title></rect>'
        for place, (depth, layer) in enumerate(zip(depths, plan.layers, strict=True))
    )
    lines = "".join(
        f'<line x1="{10 + place * width:.2f}" x2="{10 + place * width:.2f}" y1="24" y2="64" stroke="#000000"/>'
        for place in sorted(borders)
    )
    said = f"peak {written(plan.predicted_peak)}, {plan.extra_forwards} layers run again (all but the blue ones), lines kept"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 80" font-family="sans-serif">'
        '<rect width="620" height="80" fill="#ffffff"/>'
        f'<text x="10" y="16" font-size="12">{escape(said)}</text>{boxes}{lines}</svg>'
    )


def plan_to_json(plan: Plan) -> str:
    """Schedule, predictions, and the measured layers."""
    plain = {
        "schema": 1, "budget_bytes": plan.budget, "held_bytes": plan.held,
        "predicted_peak_bytes": plan.predicted_peak, "stored_peak_bytes": plan.stored_peak,
        "strategy": plan.strategy, "extra_forwards": plan.extra_forwards, "extra_cost": plan.extra_cost,
        "proof": plan.proof, "lower_bound": plan.lower_bound, "gap": plan.gap, "depth": plan.depth,
        "segments": [_segment(part) for part in plan.parts], "layers": [_layer(layer) for layer in plan.layers],
    }  # fmt: skip
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def _segment(part: Segment) -> dict[str, object]:
    return {"first": part.first, "stop": part.stop, "again": part.again, "parts": [_segment(one) for one in part.parts]}


def _layer(layer: Layer) -> dict[str, object]:
    return {
        "name": layer.name, "input_bytes": layer.input, "output_bytes": layer.output, "saved_bytes": layer.saved,
        "forward_peak_bytes": layer.forward, "dropped_peak_bytes": layer.dropped, "backward_peak_bytes": layer.backward,
        "cost": layer.cost, "pinned": layer.pinned,
    }  # fmt: skip
