"""Plots of a study as SVG and PNG, drawn by matplotlib without a display."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torchstone.core.errors import UsageError
from torchstone.core.files import whole
from torchstone.core.study import Curve, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed", "#b91c6b", "#0e7490", "#111111", "#a16207", "#64748b")
_DASHES = ("--", ":", "-.", (0, (8, 3)))
_DOTS = 144  # an inch
_PICTURES_A_ROW = 8
_MARKERS = ((30, 9.0), (200, 5.0), (math.inf, 3.0))  # up to so many points of a cloud: how large each is drawn
_FEW = 12  # points of a curve that are marked one by one
_ASIDE = 3.0  # points between the error bars of neighbours, so that none hides another


def save_plots(plots: Sequence[Plot], folder: Path) -> None:
    """Write NAME.svg and NAME.png of each, whole or not at all; a curve has one colour in all of them.

    Raises UsageError without matplotlib.
    """
    names = dict.fromkeys(name for plot in plots for name in plot.series)
    colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}
    for plot in plots:
        figure = _picture_sheet(plot) if plot.pictures else _lines(plot, colours)
        for kind in ("svg", "png"):
            with whole(folder / f"{plot.name}.{kind}") as part:
                # No date inside: the same study gives the same file.
                figure.savefig(part, format=kind, dpi=_DOTS, metadata={"Date": None} if kind == "svg" else None)


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError as error:
        message = "plots need matplotlib; pip install 'torchstone[studies]'"
        raise UsageError(message) from error
    rcParams["svg.hashsalt"] = "torchstone"
    rcParams["font.size"] = 10
    return Figure(figsize=(width, height), layout="constrained")


def _lines(plot: Plot, colours: Mapping[str, str]) -> "Figure":
    names = [*plot.series, *plot.references]
    columns = 3 if max(map(len, names), default=0) <= 20 else 2  # noqa: PLR2004 - letters that a third of the width holds
    rows = -(-len(names) // columns)
    figure = _figure(6.4, 4.0 + 0.2 * rows)
    axes = figure.add_subplot()
    axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y)
    if plot.log_x:
        axes.set_xscale("log")
        _ticks(axes, sorted({x for curve in plot.series.values() for x, _ in curve}))
    if plot.log_y:
        axes.set_yscale("log")
    most = max(map(len, plot.series.values()), default=0)
    marker = next(size for count, size in _MARKERS if most <= count)
    for place, (name, curve) in enumerate(plot.series.items()):
        if plot.points:
            axes.plot(*_columns(curve), ".", color=colours[name], label=name, markersize=marker, alpha=0.6)
        else:
            _curve(axes, curve, plot.widths.get(name), colours[name], name, _ASIDE * (place - (len(plot.series) - 1) / 2))
    for dashes, (name, level) in zip(itertools.cycle(_DASHES), plot.references.items(), strict=False):
        axes.axhline(level, color="#666", linestyle=dashes, linewidth=1.2, label=name)
    if plot.widths:
        axes.set_ylim(*_limits(plot))
    axes.grid(visible=True, alpha=0.25)
    if names:  # below the frame, where it hides nothing
        larger = 1.5 if plot.points else 1.0
        figure.legend(loc="outside lower center", ncols=columns, fontsize="small", frameon=False, markerscale=larger)
    return figure


def _columns(curve: Curve) -> tuple[list[float], list[float]]:
    return [x for x, _ in curve], [y for _, y in curve]


def _ticks(axes: "Axes", places: Sequence[float]) -> None:
    """The places that were measured as ticks, where they are few and lie evenly."""
    ratios = [math.log(high / low) for low, high in itertools.pairwise(places) if low > 0]
    if 1 < len(places) <= 8 and max(ratios) <= 4 * min(ratios):  # noqa: PLR2004 - more or closer ones would write over each other
        axes.set_xticks(places, [f"{x:,.0f}" if x >= 1 else f"{x:g}" for x in places], minor=False)
        axes.set_xticks([], minor=True)


def _curve(
    axes: "Axes", curve: Curve, widths: Sequence[float] | None, colour: str, name: str, aside: float
) -> None:
    """A line; its intervals as bars, side by side, where it has few points, and else as a band."""
    x, y = _columns(curve)
    few = len(curve) <= _FEW
    axes.plot(x, y, color=colour, label=name, linewidth=1.6, marker="o" if few else "", markersize=3.5)
    if widths is None or not any(widths):
        return
    low, high = ([value + sign * width for value, width in zip(y, widths, strict=True)] for sign in (-1, 1))
    if not few:
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        return
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure()
    assert figure is not None  # noqa: S101 - it was drawn into a line above
    moved = axes.transData + ScaledTranslation(aside / 72, 0, figure.dpi_scale_trans)
    least = min(value for value in y if value > 0) * 1e-3 if axes.get_yscale() == "log" else -math.inf
    axes.vlines(x, [max(value, least) for value in low], high, color=colour, alpha=0.6, linewidth=1.4, transform=moved)


def _limits(plot: Plot) -> tuple[float, float]:
    """All curves and references, and of their intervals as much again as they span: a wide interval must not flatten them."""
    there = (lambda value: math.log10(value) if value > 0 else -math.inf) if plot.log_y else float
    back = (lambda value: 10.0**value) if plot.log_y else float
    levels = [value for _, value in (point for curve in plot.series.values() for point in curve)]
    shown = [value for value in map(there, [*levels, *plot.references.values()]) if math.isfinite(value)]
    ends = [
        there(value + sign * width)
        for name, curve in plot.series.items()
        for (_, value), width in zip(curve, plot.widths.get(name, ()), strict=False)
        for sign in (-1, 1)
    ]
    span = (max(shown) - min(shown)) or max(abs(max(shown)), 1e-9)
    low, high = max(min([*shown, *ends]), min(shown) - span), min(max([*shown, *ends]), max(shown) + span)
    return back(low - 0.05 * (high - low)), back(high + 0.05 * (high - low))


def _picture_sheet(plot: Plot) -> "Figure":
    count = len(plot.pictures)
    rows = -(-count // _PICTURES_A_ROW)
    columns = -(-count // rows)  # rows of equal length
    figure = _figure(1.0 * columns + 0.2, 1.25 * rows + 0.5)
    figure.suptitle(plot.title, fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (name, picture) in zip(grid.flat, plot.pictures.items(), strict=False):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(name, fontsize=7)
    return figure
