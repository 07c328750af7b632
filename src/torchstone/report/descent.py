"""A solved question about descent as text for people and as JSON."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from torchstone.core.quantity import format_number
from torchstone.laws.optimization import divergence_threshold
from torchstone.solve.optimization import DescentSolution, Exact, Minimum, Plan, Run, Setting

_STEP = {
    "gradient": "x ← x − ηg",
    "momentum": "V ← βV + g, x ← x − ηV",
    "averaged": "V ← βV + (1−β)g, x ← x − ηV",
    "nesterov": "V ← βV + g, x ← x − η(g + βV)",
}
_SHOWN = 10  # rows of a run; of a longer one the first and the last
_KEY = 17


def print_descent(solution: DescentSolution, console: Console, *, draw: bool = False) -> None:
    """The question, each minimum, each solution with its run, the best settings, and remarks."""
    for line in _lines(solution):
        console.print(line, soft_wrap=True, highlight=False)
    if draw:
        drawing = solution.drawing()
        for row in ("", drawing.title, *drawing.text.splitlines()):
            console.print(Text(row), soft_wrap=True, highlight=False)


def _lines(solution: DescentSolution) -> Iterator[Text]:
    yield Text(_question(solution), style="bold")
    for minimum in solution.minima:
        yield from _minimum(minimum, solution)
    single = len(solution.solutions) == 1
    for number, setting in enumerate(solution.solutions, 1):
        yield from _setting(setting, solution, "" if single else f" {number}")
    if solution.plans:
        yield from _plans(solution.plans)
    yield from (_pair("remark", remark) for remark in solution.remarks)


def _pair(key: str, said: str, style: str = "") -> Text:
    return Text.assemble(f"  {key:<{_KEY}}", (said, style))


def _question(solution: DescentSolution) -> str:
    steps = solution.steps or 0
    arriving = f"arriving in {steps} step{'s' * (steps != 1)}"
    asked = {
        "learning_rate": f"the learning rate η {arriving}",
        "momentum": f"the momentum β {arriving}",
        "settings": "the best fixed settings",
        "": "what these settings do",
    }[solution.unknown]
    start = "" if solution.start is None else f" from {_point(solution.variables, solution.start)}"
    return f"{solution.function}{start}: {asked}, {solution.optimizer}: {_STEP[solution.optimizer]}"


def _point(names: Sequence[str], numbers: Sequence[Exact]) -> str:
    return ", ".join(f"{name} = {number}" for name, number in zip(names, numbers, strict=True))


def _minimum(minimum: Minimum, solution: DescentSolution) -> Iterator[Text]:
    yield _pair("minimum", f"{_point(solution.variables, minimum.point)}, where the function is {minimum.value}")
    if minimum.smallest is None or minimum.largest is None:
        yield _pair("curvature", "none: no rate and no threshold")
        return
    threshold = f"gradient descent diverges beyond η = 2/λ_max = {format_number(2 / minimum.largest.value)}"
    if minimum.smallest == minimum.largest:
        yield _pair("curvature", f"{minimum.largest}; {threshold}")
        return
    condition = format_number(minimum.largest.value / minimum.smallest.value)
    yield _pair("curvature", f"from {minimum.smallest} to {minimum.largest}, condition number {condition}")
    yield _pair("", threshold)


def _setting(setting: Setting, solution: DescentSolution, number: str) -> Iterator[Text]:
    sought = {"learning_rate": ("learning_rate",), "momentum": ("momentum",)}.get(solution.unknown, ("learning_rate", "momentum"))
    for name, value in (("learning rate", setting.learning_rate), ("momentum", setting.momentum)):
        if name == "momentum" and solution.optimizer == "gradient":
            continue
        answer = name.replace(" ", "_") in sought
        yield _pair(f"{name}{number}" if answer else name, str(value), "bold green" if answer and solution.unknown else "")
    if setting.unusual:
        yield _pair("unusual", setting.unusual, "yellow")
    if setting.radius is not None:
        yield _pair("each step", _long_run(setting.radius, setting.run, several=len(solution.variables) > 1))
    largest = max((minimum.largest.value for minimum in solution.minima if minimum.largest), default=0.0)
    if solution.optimizer != "gradient" and largest and 0 <= setting.momentum.value < 1:
        threshold = divergence_threshold(solution.optimizer, setting.momentum.value, largest)
        yield _pair("", f"with this momentum it diverges beyond η = {format_number(threshold)}")
    if setting.run is not None:
        yield from _run(setting.run, solution.variables, buffered=solution.optimizer != "gradient")


def _long_run(radius: float, run: Run | None, *, several: bool) -> str:
    """What a step does to the error after many."""
    factor = format_number(radius)
    beside = f"a little {'less' if radius < 1 else 'more'} than " if radius != 1 and factor == "1" else ""
    said = f"multiplies the error by {beside}{factor} in the long run: "
    if radius < 1:
        return said + "it converges"
    if run is not None and run.reaches and run.stays and several:
        return said + "directions that this start does not have, roundings among them, do not shrink"
    return said + ("it diverges" if radius > 1 else "it neither converges nor diverges")


def _run(run: Run, names: Sequence[str], *, buffered: bool) -> Iterator[Text]:
    how = "in exact numbers" if run.exact else "to 50 digits"
    if run.reaches:
        first = f"; first in step {run.arrived[0]}" if run.arrived[0] < run.steps else ""
        stays = "and stays there" if run.stays else "but does not stay: the buffer carries the next step on"
        said, style = f"✓ arrives in step {run.steps}, {how}, {stays}{first}", "green"
    elif run.ended:
        said, style = f"ends after {run.steps} step{'s' * (run.steps != 1)}: {run.ended}", "yellow"
    elif run.arrived:
        said, style = f"passes the minimum in step {run.arrived[0]} and ends {format_number(run.left)} from it", "yellow"
    else:
        said, style = f"ends {format_number(run.left)} from the minimum after {run.steps} step{'s' * (run.steps != 1)}, {how}", ""
    yield _pair("run", said, style)
    yield from (Text(f"    {row}") for row in _table(run, names, buffered=buffered))


def _table(run: Run, names: Sequence[str], *, buffered: bool) -> list[str]:
    """Aligned columns: step, coordinates, value, gradient, and the buffer of an optimizer that has one."""
    single = len(names) == 1
    gradients = ["g"] if single else [f"g_{name}" for name in names]
    buffers = ["V"] if single else [f"V_{name}" for name in names]
    rows = [["step", *names, "f", *gradients, *(buffers if buffered else ())]]
    shown = run.rows if len(run.rows) <= _SHOWN else (*run.rows[: _SHOWN - 2], run.rows[-1])
    for row in shown:
        numbers = [_short(number) for number in (*row.point, row.value, *row.gradient, *(row.buffer if buffered else ()))]
        rows.append([str(row.step), *numbers])
    if len(shown) < len(run.rows) or run.rows[-1].step >= len(run.rows):
        rows.insert(-1, ["…"] + [""] * (len(rows[0]) - 1))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _short(number: Exact, longest: int = 10) -> str:
    return number.text if 0 < len(number.text) <= longest else f"{number.value:.6g}"


def _plans(plans: Sequence[Plan]) -> Iterator[Text]:
    rows = [["best settings", "learning rate", "momentum", "error a step", "diverges beyond", "steps to 1e-6", "in the run"]]
    rows += [
        [
            plan.optimizer, str(plan.learning_rate), str(plan.momentum), str(plan.convergence), f"{plan.threshold.value:.6g}",
            "" if plan.predicted is None else str(plan.predicted), "" if plan.taken is None else str(plan.taken),
        ]
        for plan in plans
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for index, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield Text(f"  {line}", style="bold" if index == 0 else "")


def to_json(solution: DescentSolution) -> str:
    """The whole solution as indented JSON; numbers as exact text (empty where there is none) and value."""
    return json.dumps({"schema": 1} | _finite(asdict(solution)), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The same with what is not finite as text: JSON has no infinity."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
