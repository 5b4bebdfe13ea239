"""What an iteration costs, and how the cost grows (the chapter on speed)."""

import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltlib.figures.accuracy import density_axis, percent
from dltlib.figures.ends import legend_below, name_lines
from dltlib.figures.styles import (
    BLACK,
    BLUE,
    DASHED,
    GREEN,
    ORANGE,
    VERMILION,
    Style,
    hand_over,
    inches,
    look,
)

WAYS: dict[str, Style] = {
    "engine": Style(BLUE),
    "plain": Style(VERMILION),
    "plain, fused": Style(ORANGE, DASHED),
}
_WAY_NAMES = {
    "engine": "this library",
    "plain": "plain loop",
    "plain, fused": "plain loop, fused Adam",
}


@look
def cost_curves(times: pd.DataFrame) -> Figure:
    """Milliseconds per replica and iteration against density, both on log axes, way by way.

    ``times`` has the columns way, density, low, median and high, as `bench.times` gives them; the
    bands are from low to high.
    """
    figure, ax = pyplot.subplots(figsize=(inches(), 4.2))
    for way, drawn in WAYS.items():
        rows = times[times["way"] == way].sort_values("density", ascending=False)
        _cost_line(ax, 100 * rows["density"], rows, drawn, _WAY_NAMES[way])
    ax.set_yscale("log")
    _plain_ticks(ax.yaxis, times["low"].min(), times["high"].max())
    density_axis(ax)
    ax.set_ylabel("ms per replica and iteration")
    legend_below(figure, ax, 3)
    hand_over(figure, times)
    return figure


@look
def growth_panels(replicas: pd.DataFrame, widths: pd.DataFrame) -> Figure:
    """How the cost of a replica's iteration grows: by number of replicas, and by width.

    Both are tables as `bench.times` gives them; each round is a line, named by its density.
    """
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(inches(), 6.4))
    for rows, column, ax in ((replicas, "replicas", upper), (widths, "width", lower)):
        for (way, number), line in rows.groupby(["way", "round"], sort=False):
            drawn = WAYS[way]._replace(dashes=() if number == 0 else DASHED)
            kind = "dense" if number == 0 else f"{percent(line['density'].mean())} left"
            line = line.sort_values(column)
            _cost_line(ax, line[column], line, drawn, f"{_WAY_NAMES[way]}, {kind}")
        ax.set_xscale("log")
        ax.set_yscale("log")
        places = sorted(rows[column].unique())
        ax.set_xticks(places, [f"{place:g}" for place in places])
        ax.minorticks_off()
        _plain_ticks(ax.yaxis, rows["low"].min(), rows["high"].max())
    upper.set_xlabel("replicas at once")
    lower.set_xlabel("width of the hidden layers")
    figure.supylabel("ms per replica and iteration", fontsize=11)
    name_lines(figure, (upper, lower), 2)
    hand_over(figure, pd.concat([replicas, widths]))
    return figure


def _cost_line(ax: Axes, places: pd.Series, rows: pd.DataFrame, drawn: Style, label: str) -> None:
    (line,) = ax.plot(
        places, rows["median"], "o-", color=drawn.color, markersize=4, label=label
    )  # fmt: skip
    if drawn.dashes:
        line.set_dashes(drawn.dashes)
    ax.fill_between(places, rows["low"], rows["high"], color=drawn.color, alpha=0.15, linewidth=0)


def _plain_ticks(axis: matplotlib.axis.Axis, low: float, high: float) -> None:
    """1, 2 and 5 times powers of ten, as people write them."""
    scale = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [base * step for base in scale for step in (1, 2, 5) if low <= base * step <= high]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


@look
def gain_curves(ratios: pd.DataFrame) -> Figure:
    """How many times faster than the plain loop, against density, both on log axes.

    ``ratios`` has the columns network, width, density, low, median and high, as
    `bench.conv_ratios` gives them; a colour for each network, narrow ones dashed.
    """
    figure, ax = pyplot.subplots(figsize=(inches(), 4.4))
    colors = dict(zip(ratios["network"].unique(), (BLUE, ORANGE, GREEN), strict=False))
    for (network, width), rows in ratios.groupby(["network", "width"], sort=False):
        drawn = Style(colors[network], DASHED if width < 1 else ())
        rows = rows.sort_values("density", ascending=False)
        name = f"{network.capitalize()}, width {width:g}"
        _cost_line(ax, 100 * rows["density"], rows, drawn, name)
    ax.axhline(1, color=BLACK, linewidth=1)
    ax.set_yscale("log")
    _plain_ticks(ax.yaxis, min(1.0, ratios["low"].min()), ratios["high"].max())
    density_axis(ax)
    ax.set_ylabel("times faster than the plain loop")
    legend_below(figure, ax, 3)
    hand_over(figure, ratios)
    return figure
