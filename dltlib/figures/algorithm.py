"""Pictures of the algorithm itself: a unit's weights round by round, and a training's history."""

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot
from matplotlib.figure import Figure

from dltlib.figures.ends import name_lines
from dltlib.figures.styles import hand_over, inches, look, style


@look
def unit_pictures(rows: Mapping[str, np.ndarray], reach: float) -> Figure:
    """Weights into some hidden units as pictures in the shape of the input, a row a stage.

    Every array is ``[units, height, width]``; NaN stands for a pruned weight and is drawn grey. The
    colours run from -``reach`` (blue) through 0 (white) to ``reach`` (red).
    """
    units = len(next(iter(rows.values())))
    side = (inches() - 1.5) / units
    figure, axes = pyplot.subplots(
        len(rows), units, figsize=(inches(), len(rows) * side + 0.75), squeeze=False
    )
    colors = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#C4C4C4")
    for line, (title, pictures) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(line, pictures, strict=True):
            image = ax.imshow(picture, cmap=colors, vmin=-reach, vmax=reach)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(False)
            sns.despine(ax=ax, left=True, bottom=True)
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", labelpad=8)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", aspect=40, pad=0.02, shrink=0.6)
    bar.set_label("weight (grey: pruned)")
    bar.outline.set_visible(False)
    hand_over(
        figure,
        pd.concat(
            pd.DataFrame(picture).assign(stage=title, unit=unit)
            for title, pictures in rows.items()
            for unit, picture in enumerate(pictures)
        ),
    )
    return figure


@look
def history_curves(
    iterations: np.ndarray, histories: Mapping[str, np.ndarray], arms: Mapping[str, str]
) -> Figure:
    """Validation accuracy while training, mean over the seeds, and where each run was best.

    ``iterations`` is ``[looks]``; every array of ``histories`` ``[looks, seed]``, shares.
    ``arms`` gives the arm whose style each is drawn in. Dots mark each seed's early-stopping
    iteration: its first highest validation accuracy.
    """
    figure, ax = pyplot.subplots(figsize=(inches(), 3.9))
    for label, history in histories.items():
        drawn = style(arms[label])
        (line,) = ax.plot(iterations, 100 * history.mean(1), color=drawn.color, label=label)
        if drawn.dashes:
            line.set_dashes(drawn.dashes)
        best = history.argmax(0)
        ax.plot(
            iterations[best],
            100 * history[best, np.arange(history.shape[1])],
            "o",
            color=drawn.color,
            markersize=5,
            alpha=0.8,
        )
    ax.set_xlabel("iteration")
    ax.set_ylabel("validation accuracy (%)")
    name_lines(figure, ax)
    means = {label: 100 * history.mean(1) for label, history in histories.items()}
    hand_over(figure, pd.DataFrame({"iteration": iterations, **means}))
    return figure
