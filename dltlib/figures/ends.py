"""Names of lines: at their ends where there are many, in a legend below where there are few."""

from collections.abc import Iterable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy
from numpy.typing import NDArray

from dltlib.figures.styles import WIDTH, inches

MOST_IN_LEGEND = 4
"""More lines than these are named where they end: nobody holds five colours in mind."""
_INK, _LEADER = "#262626", "#8c8c8c"


def name_lines(
    figure: Figure, axes: Axes | Iterable[Axes], columns: int = 3, peaks: bool = False
) -> None:
    """Say which line is which, once all are drawn and the scales are set.

    Up to `MOST_IN_LEGEND` names make one legend beneath the figure, of at most ``columns`` columns;
    more stand at the ends of their lines, in every panel, or as high as their ``peaks``.
    """
    panels: list[Axes] = list(np.asarray(axes).ravel())
    if peaks and inches() < WIDTH:
        # No room for a name and a piece of line beside a phone's panels.
        legend_below(figure, panels, columns)
        return
    names = {line.get_label() for ax in panels for line in named_lines(ax)}
    if len(names) <= MOST_IN_LEGEND:
        legend_below(figure, panels, columns)
        return
    figure.draw_without_rendering()  # how high the panels are decides how close names may stand
    for ax in panels:
        label_ends(ax, peaks=peaks)


def named_lines(ax: Axes) -> list[Line2D]:
    """The lines of a panel that have a name."""
    return [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]


def label_ends(ax: Axes, size: float = 9.5, peaks: bool = False) -> None:
    """Each named line's name to the right of the panel, in the height where the line ends there.

    Names keep a line's distance; a thin line leads from each to its end. A line that has left the
    panel by then has no name in it. Where lines come together at their ends, ``peaks`` gives each
    name the height of its line's highest point instead, and a piece of the line beside it.
    """
    ends = []
    to_axes = ax.transScale + ax.transLimits
    for line in named_lines(ax):
        points = line.get_transform() - ax.transData  # axhline counts x in widths of the panel
        places = to_axes.transform(points.transform(line.get_xydata()))
        places = places[np.isfinite(places).all(1)]
        if len(places):
            x, y = places[places[:, int(peaks)].argmax()]
            if -0.01 <= y <= 1.01:
                ends.append((y, min(x, 1.0), line))
    ends.sort(key=lambda end: end[0])
    height = ax.get_window_extent().height / ax.figure.dpi * 72
    heights = spread([y for y, _, _ in ends], 1.2 * size / height)
    # Beside the panel and not below it, where its ticks are, if there is room enough.
    distances = 1.2 * size / height * np.arange(len(ends))
    heights = np.maximum(heights - distances, min(0.0, 1 - distances.max(initial=0))) + distances
    room = 30 if peaks else 16
    beside = offset_copy(ax.transAxes, ax.get_figure(root=True), x=room, units="points")
    for (y, x, line), place in zip(ends, heights, strict=True):
        near = peaks or x > 0.95
        ax.annotate(
            str(line.get_label()),
            xy=(1.0, place) if peaks else (x, y),
            xycoords="axes fraction",
            xytext=(1.0, place),
            textcoords=beside,
            color=_INK,
            fontsize=size,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                # Across the panel, from a line that ends inside it, it must not pass for the line.
                "color": line.get_color() if near else _LEADER,
                "linewidth": line.get_linewidth() if peaks else 1.2 if near else 0.7,
                # A leader across the panel must not pass for a level.
                "linestyle": line.get_linestyle() if peaks else "-" if near else (0, (1, 3)),
                "shrinkA": 1,
                "shrinkB": 5 if peaks else 0,
                "relpos": (0, 0.5),
            },
        )


def spread(places: list[float], distance: float) -> NDArray[np.float64]:
    """Ascending places moved as little as possible (least squares) until each keeps its distance.

    >>> spread([0.0, 0.0, 1.0], 0.5).round(2).tolist()
    [-0.25, 0.25, 1.0]
    """
    # Less what distance each must have from the first, they need only not descend; neighbours
    # that do are pooled at their mean.
    pools: list[list[float]] = []
    for number, place in enumerate(places):
        pools.append([place - number * distance])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    level = np.array([np.mean(pool) for pool in pools for _ in pool], dtype=float)
    result: NDArray[np.float64] = level + distance * np.arange(len(places))
    return result


def legend_below(figure: Figure, axes: Axes | Iterable[Axes], columns: int = 3) -> None:
    """One legend of all that the axes hold, beneath the figure, where a phone has room for it."""
    unique: dict[str, Artist] = {}
    for ax in np.asarray(axes).ravel():
        handles, texts = ax.get_legend_handles_labels()
        unique |= dict(zip(texts, handles, strict=True))
    for count in range(columns, 0, -1):
        legend = figure.legend(
            unique.values(),
            unique.keys(),
            loc="outside lower center",
            ncols=count,
            handlelength=2.6,
            columnspacing=1.2,
        )
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
