"""Plots of a study as SVG and PNG, drawn by matplotlib without a display."""

from pathlib import Path
from typing import TYPE_CHECKING

from torchstone.core.errors import UsageError
from torchstone.core.files import whole
from torchstone.core.study import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed", "#b91c6b", "#0e7490", "#111111", "#a16207", "#64748b")
_DOTS = 144  # an inch
_PICTURES_A_ROW = 8
_CLOUD = 30  # more points than this are drawn small


def save_plot(plot: Plot, folder: Path) -> None:
    """Write NAME.svg and NAME.png, each whole or not at all. Raises UsageError without matplotlib."""
    figure = _picture_sheet(plot) if plot.pictures else _lines(plot)
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


def _lines(plot: Plot) -> "Figure":
    figure = _figure(6.4, 4.0)
    axes = figure.add_subplot()
    axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y)
    if plot.log_x:
        axes.set_xscale("log")
    if plot.log_y:
        axes.set_yscale("log")
    for place, (name, curve) in enumerate(plot.series.items()):
        _curve(axes, plot, name, curve, _COLOURS[place % len(_COLOURS)])
    for name, level in plot.references.items():
        axes.axhline(level, color="#888", linestyle="--", linewidth=1, label=name)
    axes.grid(visible=True, alpha=0.25)
    if plot.series or plot.references:
        axes.legend(fontsize="small", framealpha=0.8)
    return figure


def _curve(axes: "Axes", plot: Plot, name: str, curve: tuple[tuple[float, float], ...], colour: str) -> None:
    x, y = [one for one, _ in curve], [one for _, one in curve]
    if plot.points:
        axes.plot(x, y, ".", color=colour, label=name, markersize=3 if len(curve) > _CLOUD else 9, alpha=0.6)
        return
    axes.plot(x, y, color=colour, label=name, linewidth=1.6, marker="o" if len(curve) <= 12 else "", markersize=3.5)  # noqa: PLR2004
    widths = plot.widths.get(name)
    if widths is not None:
        low = [value - width for value, width in zip(y, widths, strict=True)]
        high = [value + width for value, width in zip(y, widths, strict=True)]
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def _picture_sheet(plot: Plot) -> "Figure":
    count = len(plot.pictures)
    columns = min(count, _PICTURES_A_ROW)
    rows = -(-count // columns)
    figure = _figure(1.0 * columns + 0.2, 1.25 * rows + 0.5)
    figure.suptitle(plot.title, fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (name, picture) in zip(grid.flat, plot.pictures.items(), strict=False):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(name, fontsize=7)
    return figure
