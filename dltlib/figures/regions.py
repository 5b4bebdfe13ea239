"""Criteria as regions of the (w_i, w_f) plane, and how much their masks have in common."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dltlib import catalogue, criteria, pruning
from dltlib.errors import UserError
from dltlib.figures.accuracy import percent
from dltlib.figures.actions import plane
from dltlib.figures.styles import BLACK, fitting, hand_over, inches, look, style
from dltlib.history import History
from dltlib.networks import Layer

# These two cut both magnitudes at the same share, so that their regions are intersections.
_JOINT = {
    "large_init_large_final": ("large_init", "large_final"),
    "small_init_small_final": ("small_init", "small_final"),
}

Margin = Callable[[Tensor, Tensor], Tensor]


def criterion_margin(name: str, initial: Tensor, final: Tensor, keep_fraction: float) -> Margin:
    """A function of (w_i, w_f) that is at least 0 exactly where the criterion keeps a weight.

    Its thresholds are those at which the criterion keeps ``keep_fraction`` of the weights given,
    ``initial`` and ``final`` of one layer, ``[n]``. Works for criteria that are functions of
    (w_i, w_f); raises `UserError` for others (random, snip, grad).
    """
    if name in _JOINT:
        # The score is the smaller of two ranks, so its threshold is a rank, hence a value of each.
        rank = math.ceil(_threshold(name, initial, final, keep_fraction))
        parts = [
            (part, _score(part, initial, final).sort().values[rank].item()) for part in _JOINT[name]
        ]
    else:
        parts = [(name, _threshold(name, initial, final, keep_fraction))]
    return lambda w_i, w_f: torch.stack(
        [_score(part, w_i, w_f) - threshold for part, threshold in parts]
    ).amin(0)


def kept(name: str, initial: Tensor, final: Tensor, keep_fraction: float) -> Tensor:
    """The mask, ``[n]``, that the library itself makes of these weights by this criterion."""
    score = _score(name, initial, final)
    count = pruning.kept_count(len(initial), keep_fraction)
    return pruning.prune(score[None], torch.ones_like(score, dtype=torch.bool)[None], count)[0]


def _threshold(name: str, initial: Tensor, final: Tensor, keep_fraction: float) -> float:
    """The lowest score that is kept."""
    mask = kept(name, initial, final, keep_fraction)
    return _score(name, initial, final)[mask].min().item()


def _score(name: str, initial: Tensor, final: Tensor) -> Tensor:
    """The criterion's score of each weight, in float64, of any shape."""
    w_i, w_f = initial.double().reshape(1, -1), final.double().reshape(1, -1)

    def none(*_: object) -> Tensor:
        raise UserError(f"{name} is no function of w_i and w_f: it has no region to draw")

    if name == "random":
        none()
    everything = torch.ones_like(w_i, dtype=torch.bool)
    layer = Layer("plane", "dense", (w_i.numel(),))
    history = History(layer, [0], 1, w_i, w_f, everything, gradient=none)
    return criteria.CRITERIA.find(name).score(history).reshape(initial.shape)


@look
def criterion_regions(
    initial: np.ndarray,
    final: np.ndarray,
    keep_fraction: float,
    names: Sequence[str] = catalogue.PAPER_CRITERIA,
    columns: int = 3,
    points: int = 1_000,
) -> Figure:
    """Each criterion as a region of the (w_i, w_f) plane, over weights that were really trained.

    ``initial`` and ``final`` are ``[n]``, one layer's weights; all of them set the thresholds, and
    the first ``points`` are drawn: kept ones in colour, pruned ones grey. A criterion without a
    region (random) shows only the weights that it happens to keep.
    """
    w_i, w_f = (torch.as_tensor(np.asarray(values)).double() for values in (initial, final))
    panels = [(name, name, keep_fraction) for name in names]
    return _region_panels(w_i, w_f, panels, columns, points)


@look
def region_series(
    initial: np.ndarray,
    final: np.ndarray,
    name: str,
    keep_fractions: Sequence[float],
    points: int = 1_000,
) -> Figure:
    """One criterion's region at several keep fractions, side by side; see `criterion_regions`."""
    w_i, w_f = (torch.as_tensor(np.asarray(values)).double() for values in (initial, final))
    panels = [(f"keep {percent(share)}", name, share) for share in keep_fractions]
    return _region_panels(w_i, w_f, panels, len(panels), points)


def _region_panels(
    w_i: Tensor, w_f: Tensor, panels: Sequence[tuple[str, str, float]], columns: int, points: int
) -> Figure:
    """A grid of panels, each a title, a criterion and a keep fraction."""
    columns = fitting(columns, 1.5)
    rows = math.ceil(len(panels) / columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(inches(), rows * (inches() / columns - 0.02) + 0.3),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    reach = 1.05 * max(w_i.abs().max().item(), w_f[:points].abs().quantile(0.998).item())
    for ax, (title, name, keep_fraction) in zip(axes.flat, panels, strict=False):
        _draw_region(ax, name, w_i, w_f, keep_fraction, points, reach)
        ax.set_title(title, fontsize=9.5, pad=4)
        plane(ax, reach)
    figure.supxlabel("initial weight $w_i$", fontsize=11)
    figure.supylabel("final weight $w_f$", fontsize=11)
    hand_over(figure, pd.DataFrame({"initial": w_i[:points], "final": w_f[:points]}))
    return figure


def region_color(name: str) -> str:
    """Of what a criterion keeps; pruned weights are grey, so that random's are not."""
    return BLACK if name == "random" else style(name).color


def _draw_region(
    ax: Axes, name: str, w_i: Tensor, w_f: Tensor, keep_fraction: float, points: int, reach: float
) -> None:
    color = region_color(name)
    if name == "random":
        generator = torch.Generator().manual_seed(0)
        mask = torch.rand(len(w_i), generator=generator) < keep_fraction
    else:
        margin = criterion_margin(name, w_i, w_f, keep_fraction)
        mask = margin(w_i, w_f) >= 0
        line = torch.linspace(-reach, reach, 301, dtype=torch.float64)
        grid_f, grid_i = torch.meshgrid(line, line, indexing="ij")
        height = margin(grid_i, grid_f).numpy()
        ax.contourf(line, line, height, levels=[0, np.inf], colors=[color], alpha=0.16)
        ax.contour(line, line, height, levels=[0], colors=[color], linewidths=1)
    _scatter(ax, w_i[:points], w_f[:points], mask[:points], color)


def _scatter(ax: Axes, w_i: Tensor, w_f: Tensor, mask: Tensor, color: str) -> None:
    """Pruned weights grey, kept ones in colour and above them; a collection each, in that order."""
    for which, shade, alpha in ((~mask, "#9A9A9A", 0.35), (mask, color, 0.75)):
        ax.scatter(w_i[which], w_f[which], s=4, color=shade, alpha=alpha, linewidths=0)


def overlap(
    initial: np.ndarray, final: np.ndarray, keep_fraction: float, names: Sequence[str]
) -> pd.DataFrame:
    """Of the weights that one criterion (row) keeps, the share that another (column) keeps too.

    As all criteria keep equally many of the weights given, ``[n]``, this is symmetric, and by
    chance it is ``keep_fraction``.
    """
    w_i, w_f = (torch.as_tensor(np.asarray(values)) for values in (initial, final))
    masks = {name: kept(name, w_i, w_f, keep_fraction) for name in names}
    return pd.DataFrame(
        {
            column: {
                row: ((masks[row] & masks[column]).sum() / masks[row].sum()).item() for row in names
            }
            for column in names
        }
    )


@look
def overlap_chart(shares: pd.DataFrame) -> Figure:
    """`overlap` as a heat map, in percent."""
    figure, ax = pyplot.subplots(figsize=(inches(), 0.56 * inches()))
    sns.heatmap(
        100 * shares,
        annot=True,
        fmt=".0f",
        cmap="Blues",
        vmin=0,
        vmax=100,
        linewidths=1,
        cbar=False,
        annot_kws={"fontsize": 10.5},
        ax=ax,
    )
    ax.tick_params(length=0)
    ax.set_xticklabels(ax.get_xticklabels(), rotation=30, ha="right")
    ax.set_yticklabels(ax.get_yticklabels(), rotation=0)
    hand_over(figure, shares.rename_axis("criterion").reset_index())
    return figure
