"""Small pictures of the book's findings, for its first page."""

from collections.abc import Mapping

import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltlib import claims
from dltlib.figures.accuracy import curves, density_axis, lead
from dltlib.figures.ends import label_ends
from dltlib.figures.styles import BLACK, hand_over, look, style

_SIZE = (3.4, 1.75)  # inches
_LETTERS = 9.0


@look
def lead_thumbnail(table: pd.DataFrame, reference: str, arms: Mapping[str, str]) -> Figure:
    """How far some arms are ahead of the reference arm, in points, against density.

    ``arms`` gives each arm's name in the picture, the reference's among them. Means over seeds.
    """
    leads = lead(table[table["round"] > 0], reference)
    return _thumbnail(leads, "lead", arms, "points ahead")


@look
def accuracy_thumbnail(table: pd.DataFrame, arms: Mapping[str, str]) -> Figure:
    """Test accuracy of some arms in percent, against density; ``arms`` gives their names."""
    return _thumbnail(table, "test_accuracy", arms, "accuracy, %")


def _thumbnail(table: pd.DataFrame, column: str, arms: Mapping[str, str], title: str) -> Figure:
    figure, ax = pyplot.subplots(figsize=_SIZE)
    known = curves(table, list(arms), column)
    for arm, name in arms.items():
        rows = known[known["arm"] == arm]
        _line(ax, 100 * rows["density"], 100 * rows["mean"], arm, name)
    density_axis(ax, label="weights left, %")
    hand_over(figure, known)
    _finish(figure, ax, title)
    return figure


@look
def learning_thumbnail(
    table: pd.DataFrame, arms: Mapping[str, str], trained: claims.Interval
) -> Figure:
    """Test accuracy of learned masks over the epochs of learning, below that of trained weights."""
    figure, ax = pyplot.subplots(figsize=_SIZE)
    known = curves(table, list(arms))
    for arm, name in arms.items():
        rows = known[known["arm"] == arm]
        _line(ax, rows["round"], 100 * rows["mean"], arm, name)
    ax.axhline(100 * trained.mean, color=BLACK, linewidth=1.2, linestyle=":", label="trained")
    ax.set_xlabel("epochs")
    hand_over(figure, known)
    _finish(figure, ax, "accuracy, %")
    return figure


def _line(ax: Axes, x: pd.Series, y: pd.Series, arm: str, name: str) -> None:
    drawn = style(arm)
    (line,) = ax.plot(x, y, color=drawn.color, label=name)
    if drawn.dashes:
        line.set_dashes(drawn.dashes)


def _finish(figure: Figure, ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize=_LETTERS)
    ax.tick_params(labelsize=_LETTERS)
    ax.xaxis.label.set_fontsize(_LETTERS)
    ax.locator_params(axis="y", nbins=4)
    figure.draw_without_rendering()
    label_ends(ax, _LETTERS)
