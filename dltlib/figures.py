"""The book's figures, one function each, and the look that they share.

A function takes a record's table (or arrays), draws with seaborn and returns the figure;
`page.show` puts it on the page. What is plotted is computed apart from the drawing (`curves`,
`criterion_margin`, ...), so that tests look at numbers, not at pixels.

An arm has one colour through the whole book (`style`), from Okabe and Ito's palette, which
colour-blind readers can tell apart; where two arms are a pair (large and small) they share the
colour and differ by the line's dashes. Mask-1 actions with kept signs are greens, those with random
signs reds, and one action has the same dashes in both.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from dltlib import claims, criteria, pruning
from dltlib.errors import UserError
from dltlib.records import Record

# --- the look ---------------------------------------------------------------------------------

WIDTH = 6.4
"""Inches. A figure as wide as the text; narrower than it could be, so that a phone, which scales
it to its own width, still shows letters that can be read."""

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"
GREY, BLACK, BROWN = "#7F7F7F", "#1A1A1A", "#8C5A2B"

_FONTS = {
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "legend.fontsize": 10.5,
    "legend.title_fontsize": 10.5,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
}
look = matplotlib.rc_context(
    {
        **sns.plotting_context("notebook"),
        **sns.axes_style("whitegrid"),
        **_FONTS,
        "grid.color": "#E6E6E6",
        "axes.edgecolor": "#8C8C8C",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.8,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)
"""Decorator of every function that draws: the book's fonts, grid and lines, for its time only."""


class Style(NamedTuple):
    """How an arm is drawn. ``dashes`` are on and off lengths in points; empty for a solid line."""

    color: str
    dashes: tuple[float, ...] = ()


DASHED, DOTTED = (4, 1.8), (1.2, 1.6)

# By the part of the arm's name that is not standard (section 1): criterion, mask-1 or mask-0
# action; for supermasks by their source. The standard ticket, large_final/rewind/zero, is blue
# wherever it appears, under whichever name.
STYLES: dict[str, Style] = {
    "large_final": Style(BLUE),
    "small_final": Style(BLUE, DASHED),
    "large_init": Style(ORANGE),
    "small_init": Style(ORANGE, DASHED),
    "large_init_large_final": Style(GREEN),
    "small_init_small_final": Style(GREEN, DASHED),
    "magnitude_increase": Style(VERMILION),
    "movement": Style(PURPLE),
    "random": Style(GREY, DOTTED),
    "large_final_same_sign": Style(SKY),
    "large_final_diff_sign": Style(SKY, DASHED),
    "magnitude_increase_same_sign": Style(VERMILION, DASHED),
    "snip": Style(BROWN),
    "grad": Style(BROWN, DASHED),
    "reinit": Style(VERMILION),
    "signed_reinit": Style(GREEN),
    "reshuffle": Style("#F0A36B", DASHED),
    "signed_reshuffle": Style("#5CCBA9", DASHED),
    "constant": Style("#8A3A00", DOTTED),
    "signed_constant": Style("#00513B", DOTTED),
    "freeze_init": Style(ORANGE),
    "variant_1": Style(GREEN),
    "variant_2": Style(PURPLE),
    "move_to_zero": Style(VERMILION, DOTTED),
    "trained": Style(BLACK, DASHED),
}
LEARNED: dict[str, Style] = {
    "learned/initial/plain": Style(PURPLE, DASHED),
    "learned/initial/rescaled": Style(PURPLE),
    "learned/constant/plain": Style(GREEN, DASHED),
    "learned/constant/rescaled": Style(GREEN),
}


def _as_learned(arm: str) -> str:
    """Masks learned with the identity as gradient are drawn as their like without it."""
    return arm.replace("learned_identity/", "learned/")


def style(arm: str) -> Style:
    """The arm's colour and dashes, the same in every figure of the book; black if it has none."""
    if _as_learned(arm) in LEARNED:
        return LEARNED[_as_learned(arm)]
    parts = arm.split("/")
    special = [part for part in parts[1:] if part not in ("rewind", "zero") and part in STYLES]
    if parts[-1] in ("plain", "rescaled"):  # a supermask: constant names its values there
        special = []
    return STYLES.get(special[0] if special else parts[0], Style(BLACK))


def labels(arms: Sequence[str]) -> dict[str, str]:
    """A short label for each arm: the parts of its name that are not the same for all.

    >>> labels(["large_final/rewind/zero", "large_final/reinit/zero"])["large_final/reinit/zero"]
    'reinit'
    """
    names = [arm.split("/") for arm in arms]
    length = max(map(len, names), default=0)
    same = [
        len({name[place : place + 1][0] for name in names if place < len(name)}) == 1
        for place in range(length)
    ]
    short = {
        arm: " / ".join(part for place, part in enumerate(name) if not same[place])
        for arm, name in zip(arms, names, strict=True)
    }
    return {arm: label or arm.split("/")[0] for arm, label in short.items()}


# --- numbers ----------------------------------------------------------------------------------


def curves(
    table: pd.DataFrame, arms: Sequence[str] | None = None, column: str = "test_accuracy"
) -> pd.DataFrame:
    """Mean of a column over the seeds with its 95 % interval (Student's), arm by arm and round by
    round.

    Columns: arm, round, density (mean over the seeds), mean, low, high, seeds. One seed alone has
    no interval: low and high are NaN. Arms in the order given; rounds without a number are left
    out. Raises `UserError` for an arm or column that the table lacks.
    """
    arms = _known_arms(table, arms)
    if column not in table:
        raise UserError(f"the record has no column {column!r}: choose one of {_names(table)}")
    rows = table[table["arm"].isin(arms) & table[column].notna()]
    result = pd.DataFrame(
        [
            (arm, number, group["density"].mean(), *claims.interval(group[column]), len(group))
            for (arm, number), group in rows.groupby(["arm", "round"], sort=True)
        ],
        columns=["arm", "round", "density", "mean", "low", "high", "seeds"],
    )
    place = {arm: index for index, arm in enumerate(arms)}
    return result.sort_values(
        "arm", key=lambda names: names.map(place), kind="stable", ignore_index=True
    )


def lead(table: pd.DataFrame, reference: str, column: str = "test_accuracy") -> pd.DataFrame:
    """The table with one more column, ``lead``: each arm's value less the reference arm's of the
    same seed and round. Its `curves` are differences paired by seed."""
    (reference,) = _known_arms(table, [reference])
    keys = ["seed", "round"]
    against = table[table["arm"] == reference].set_index(keys)[column]
    own = table.set_index(keys)[column]
    difference = own - against.reindex(own.index)
    return table.assign(lead=difference.to_numpy())


def dense_baseline(table: pd.DataFrame, column: str = "test_accuracy") -> claims.Interval:
    """Mean and 95 % interval of the dense network (round 0), which all arms of a seed share."""
    rows = table[table["round"] == 0].drop_duplicates("seed")
    if rows.empty:
        raise UserError("the record has no dense baseline (round 0)")
    return claims.interval(rows[column])


def nearest_round(table: pd.DataFrame, density: float, arm: str | None = None) -> int:
    """The round whose density comes closest, as a ratio, to the one asked for."""
    rows = table if arm is None else table[table["arm"] == arm]
    reached = rows.groupby("round")["density"].mean()
    return int((reached.map(math.log) - math.log(density)).abs().idxmin())


def accuracy_table(
    table: pd.DataFrame,
    densities: Sequence[float],
    arms: Sequence[str] | None = None,
    column: str = "test_accuracy",
    decimals: int = 2,
) -> pd.DataFrame:
    """Accuracy in percent, "mean ± half width of the interval", one row for each arm.

    Columns are the rounds nearest to the densities asked for, named by their true share of weights
    left; densities that share a round, or that the record does not reach, give no column of their
    own.
    """
    known = curves(table, arms, column)
    least = table["density"].min()
    names = labels(list(known["arm"].unique()))
    first = known["arm"].iloc[0]
    rounds = {nearest_round(table, d, first): d for d in densities if d > 0.9 * least}
    result = {}
    for number in sorted(rounds):
        at = known[known["round"] == number].set_index("arm")
        result[percent(at["density"].iloc[0])] = {
            names[arm]: _plus_minus(row["mean"], row["high"], decimals)
            for arm, row in at.iterrows()
        }
    frame = pd.DataFrame(result).reindex(names.values())
    frame.columns.name = "weights left"
    return frame


def top_of_scale(
    table: pd.DataFrame, arms: Sequence[str], least_density: float = 0.03
) -> tuple[float, float]:
    """The range, in percent, that holds these arms' means down to a density: what to zoom on."""
    known = curves(table, arms)
    values = 100 * known.loc[known["density"] >= least_density, "mean"]
    room = 0.2 * (values.max() - values.min())
    return values.min() - room, values.max() + room


def ranked(table: pd.DataFrame, number: int | None = None) -> list[str]:
    """Short labels of the arms by mean test accuracy in a round (default: the last), best first."""
    known = curves(table)
    at = known[known["round"] == (known["round"].max() if number is None else number)]
    names = labels(list(known["arm"].unique()))
    return [names[arm] for arm in at.sort_values("mean", ascending=False, kind="stable")["arm"]]


def percent(share: float) -> str:
    """A share as a short percentage: two significant digits, none lost above ten.

    >>> percent(0.2097), percent(0.0123), percent(1.0)
    ('21 %', '1.2 %', '100 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def _plus_minus(mean: float, high: float, decimals: int) -> str:
    spread = "" if math.isnan(high) else f" ± {100 * (high - mean):.{decimals}f}"
    return f"{100 * mean:.{decimals}f}{spread}"


def _known_arms(table: pd.DataFrame, arms: Sequence[str] | None) -> list[str]:
    """The arms asked for, or all of the table; a first part alone (a criterion) will do."""
    there = list(table["arm"].unique())
    if arms is None:
        return there
    found = []
    for arm in arms:
        match = [other for other in there if other == arm] or [
            other for other in there if other.split("/")[0] == arm
        ]
        if len(match) != 1:
            raise UserError(f"the record has no arm {arm!r}: choose one of {', '.join(there)}")
        found += match
    return found


def _names(table: pd.DataFrame) -> str:
    return ", ".join(table.columns)


# --- accuracy against density -----------------------------------------------------------------


@look
def accuracy_curves(
    table: pd.DataFrame,
    arms: Sequence[str] | None = None,
    *,
    column: str = "test_accuracy",
    ylabel: str = "test accuracy (%)",
    zoom: tuple[float, float] | None = None,
    names: Mapping[str, str] | None = None,
    columns: int = 3,
) -> Figure:
    """A column against density: mean and 95 % interval over the seeds, the dense baseline with
    its own.

    The density falls from left to right on a log axis, as in the paper. ``zoom`` (percent) adds a
    panel above with that part of the scale, where the good arms are too close to tell apart.
    ``names`` replaces labels; ``columns`` is the legend's.
    """
    known = curves(table, arms, column)
    names = {**labels(list(known["arm"].unique())), **(names or {})}
    panels = 1 if zoom is None else 2
    figure, axes = pyplot.subplots(
        panels, 1, figsize=(WIDTH, 1.1 + 2.9 * panels), sharex=True, squeeze=False
    )
    for ax in axes[:, 0]:
        draw_curves(ax, known, names)
        draw_dense(ax, dense_baseline(table, column))
        ax.set_ylabel(ylabel)
        ax.legend().remove()
    if zoom is not None:
        axes[0, 0].set_ylim(zoom)
        axes[0, 0].set_title("the top of the scale", loc="left")
        axes[1, 0].set_title("all of it", loc="left")
    density_axis(axes[-1, 0])
    legend_below(figure, axes[-1, 0], columns)
    return figure


def draw_curves(ax: Axes, known: pd.DataFrame, names: Mapping[str, str]) -> None:
    """Lines of `curves` in percent, each with its interval as a band, into ``ax``."""
    drawn = known.assign(
        label=known["arm"].map(names), percent=100 * known["mean"], left=100 * known["density"]
    )
    styles = {names[arm]: style(arm) for arm in known["arm"].unique()}
    sns.lineplot(
        drawn,
        x="left",
        y="percent",
        hue="label",
        style="label",
        palette={label: drawn_as.color for label, drawn_as in styles.items()},
        dashes={label: drawn_as.dashes for label, drawn_as in styles.items()},
        errorbar=None,  # the intervals are Student's, below
        ax=ax,
    )
    for label, rows in drawn.groupby("label", sort=False):
        ax.fill_between(
            rows["left"],
            100 * rows["low"],
            100 * rows["high"],
            color=to_rgba(styles[label].color, 0.15),
            linewidth=0,
        )
    ax.set_xlabel("")
    ax.set_ylabel("")


def draw_dense(ax: Axes, baseline: claims.Interval, label: str = "dense network") -> None:
    """The dense baseline as a horizontal line, its interval as a band."""
    ax.axhline(100 * baseline.mean, color=BLACK, linewidth=1, linestyle=(0, (1, 1)), label=label)
    if not math.isnan(baseline.low):
        ax.axhspan(100 * baseline.low, 100 * baseline.high, color=BLACK, alpha=0.08, linewidth=0)


def density_axis(ax: Axes, label: str = "weights left (%)") -> None:
    """A log axis of percentages that falls from left (dense) to right (sparse)."""
    ax.set_xscale("log")
    low = min((line.get_xdata().min() for line in _data_lines(ax)), default=1.0)
    ticks = [tick for tick in (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1) if tick >= 0.9 * low]
    ax.set_xlim(105, low * 0.95)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel(label)


def _data_lines(ax: Axes) -> list:
    return [line for line in ax.get_lines() if len(line.get_xdata()) > 2]


def legend_below(figure: Figure, axes: Axes | Iterable[Axes], columns: int = 3) -> None:
    """One legend of all that the axes hold, beneath the figure, where a phone has room for it."""
    unique: dict[str, Artist] = {}
    for ax in np.ravel(axes):
        handles, texts = ax.get_legend_handles_labels()
        unique |= dict(zip(texts, handles, strict=True))
    figure.legend(
        unique.values(),
        unique.keys(),
        loc="outside lower center",
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.2,
    )


# --- criteria as regions of the (w_i, w_f) plane ----------------------------------------------

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
        parts = [(part, _score(part, initial, final).sort().values[rank]) for part in _JOINT[name]]
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

    def no_gradient() -> Tensor:
        raise UserError(f"{name} is no function of w_i and w_f: it has no region to draw")

    evidence = criteria.Evidence(
        initial=w_i,
        final=w_f,
        alive=torch.ones_like(w_i, dtype=torch.bool),
        uniform=no_gradient,
        gradient=no_gradient,
    )
    return criteria.find(name).score(evidence).reshape(initial.shape)


@look
def criterion_regions(
    initial: np.ndarray,
    final: np.ndarray,
    keep_fraction: float,
    names: Sequence[str] = criteria.PAPER,
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
    rows = math.ceil(len(panels) / columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(WIDTH, rows * (WIDTH / columns - 0.02) + 0.3),
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
        _plane(ax, reach)
    figure.supxlabel("initial weight $w_i$", fontsize=11)
    figure.supylabel("final weight $w_f$", fontsize=11)
    return figure


def _draw_region(
    ax: Axes, name: str, w_i: Tensor, w_f: Tensor, keep_fraction: float, points: int, reach: float
) -> None:
    color = BLACK if name == "random" else style(name).color
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


# --- the scorecard ----------------------------------------------------------------------------

NETWORK_COLORS = {"fc": BLUE, "conv2": ORANGE, "conv4": GREEN, "conv6": PURPLE, "all": BLACK}
NETWORK_NAMES = {
    "fc": "FC",
    "conv2": "Conv2",
    "conv4": "Conv4",
    "conv6": "Conv6",
    "all": "between networks",
}


def distances(results: Sequence[claims.Result]) -> pd.DataFrame:
    """How far every comparison of the claims lies above its threshold, where it was measured.

    Columns: claim, network, comparison, weakest (whether it is the one that stands for the claim),
    verdict, and distance, low, high and paper (its figure; NaN where there is none), all less the
    threshold.
    """
    rows = [
        {
            "claim": result.claim,
            "network": result.network,
            "comparison": part.name,
            "weakest": part is result.weakest,
            "verdict": part.verdict,
            "distance": part.effect - part.bar,
            "low": part.low - part.bar,
            "high": part.high - part.bar,
            "paper": math.nan if part.paper is None else part.paper - part.bar,
        }
        for result in results
        for part in result.parts
        if not math.isnan(part.effect)
    ]
    columns = [
        "claim",
        "network",
        "comparison",
        "weakest",
        "verdict",
        "distance",
        "low",
        "high",
        "paper",
    ]
    return pd.DataFrame(rows, columns=columns)


@look
def scorecard(results: Sequence[claims.Result]) -> Figure:
    """A forest plot: for each claim and network, how far its effect lies from the threshold.

    A dot with its interval is the comparison that decides the verdict, small pale dots are the
    claim's others, a diamond the paper's figure for one of these. An interval wholly to the right
    of the line means reproduced, wholly to the left not reproduced.
    """
    names = list(dict.fromkeys(result.claim for result in results))
    known = distances(results)
    networks = [name for name in NETWORK_NAMES if name in set(known["network"])]
    figure, ax = pyplot.subplots(figsize=(WIDTH, 1.4 + 0.4 * len(names)))
    for number, name in enumerate(names):
        if number % 2:
            ax.axhspan(number - 0.5, number + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
        own = known[known["claim"] == name]
        present = [network for network in networks if network in set(own["network"])]
        for place, network in enumerate(present):
            height = number + 0.8 * ((place + 0.5) / len(present) - 0.5)
            _draw_distance(ax, own[own["network"] == network], height, NETWORK_COLORS[network])
    ax.axvline(0, color=BLACK, linewidth=1.2, zorder=1)
    for network in networks:
        ax.plot([], [], "o", color=NETWORK_COLORS[network], label=NETWORK_NAMES[network])
    ax.plot([], [], "D", color=GREY, markerfacecolor="none", label="the paper's figure")
    ax.set_xscale("symlog", linthresh=1, linscale=0.6)
    reach = known[["low", "high", "distance", "paper"]].abs().max(axis=None) if len(known) else 1
    ticks = [tick for tick in (0, 1, 3, 10, 30, 100) if tick <= max(reach, 3)]
    ticks = sorted({*ticks, *(-tick for tick in ticks)})
    ax.set_xticks(ticks, [f"{tick:+g}" if tick else "0" for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="y", visible=False)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("effect less its threshold (percentage points)")
    legend_below(figure, ax)
    return figure


def _draw_distance(ax: Axes, rows: pd.DataFrame, height: float, color: str) -> None:
    others, weakest = rows[~rows["weakest"]], rows[rows["weakest"]]
    ax.plot(others["distance"], [height] * len(others), ".", color=color, alpha=0.35, markersize=5)
    for row in weakest.itertuples():
        ax.plot([row.low, row.high], [height, height], color=color, linewidth=1.8)
    ax.plot(weakest["distance"], [height] * len(weakest), "o", color=color, markersize=5.5)
    ax.plot(
        rows["paper"],
        [height] * len(rows),
        "D",
        color=color,
        markerfacecolor="none",
        markersize=5.5,
    )


# --- mask-1 and mask-0 actions ----------------------------------------------------------------


@look
def start_scatter(
    initial: np.ndarray, starts: Mapping[str, np.ndarray], points: int = 400, columns: int = 4
) -> Figure:
    """What each mask-1 action starts kept weights from, against the values they were drawn as.

    ``initial`` and every array of ``starts`` are ``[n]``: the kept weights of one layer, of which
    ``points`` are drawn. Filled dots kept the sign of w_i, open ones did not; the title says how
    many of all kept it. A panel each, in the order of ``starts``; the first, rewinding, has its
    column to itself.
    """
    others = list(starts)[1:]
    rows = math.ceil(len(others) / (columns - 1))
    size = WIDTH / columns
    reach = 1.1 * max(np.abs(values).max() for values in (initial, *starts.values()))
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(WIDTH, rows * (size + 0.42) + 0.35),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    first, rest = axes[:, 0], axes[:, 1:].flatten()
    for ax in (*first[1:], *rest[len(others) :]):
        ax.set_axis_off()
    for ax, (name, start) in zip((first[0], *rest), starts.items(), strict=False):
        kept_sign = np.signbit(start) == np.signbit(initial)
        color = style(f"large_final/{name}/zero").color
        some = _evenly(len(initial), points)
        for which, face in ((kept_sign[some], color), (~kept_sign[some], "none")):
            ax.scatter(
                initial[some][which],
                start[some][which],
                s=8,
                facecolor=face,
                edgecolor=color,
                linewidths=0.6,
                alpha=0.7,
            )
        ax.set_title(f"{name}\n{100 * kept_sign.mean():.0f} % keep sign", fontsize=9.5, pad=4)
        _plane(ax, reach)
    first[0].tick_params(labelbottom=True)
    figure.supxlabel("initial weight $w_i$", fontsize=11)
    figure.supylabel("start of the next training", fontsize=11)
    return figure


TRAINED, TRAINED_FROM_ZERO, FROZEN_AT_ZERO, FROZEN_AT_INITIAL = FATES = (
    "trained, from $w_i$",
    "trained, from 0",
    "frozen at 0",
    "frozen at $w_i$",
)
"""What a mask-0 action makes of a weight, after rewinding."""

_FATE_COLORS = dict(zip(FATES, (BLUE, SKY, VERMILION, ORANGE), strict=True))


def fates(initial: np.ndarray, start: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One of `FATES` for each weight, from what it starts from and whether it is trained."""
    at_initial = start == initial
    if not (at_initial | (start == 0)).all():
        raise ValueError("a weight that starts neither from w_i nor from 0: fates are of rewinding")
    trained = np.where(at_initial, TRAINED, TRAINED_FROM_ZERO)
    return np.where(mask, trained, np.where(at_initial, FROZEN_AT_INITIAL, FROZEN_AT_ZERO))


@look
def fate_scatter(
    initial: np.ndarray,
    final: np.ndarray,
    outcomes: Mapping[str, np.ndarray],
    points: int = 900,
    columns: int = 3,
) -> Figure:
    """What mask-0 actions make of each weight, in the (w_i, w_f) plane: colours are `FATES`.

    All arrays ``[n]``, of one layer; ``outcomes`` holds `fates` under each action's name, and
    ``points`` weights are drawn. Left and right of where the diagonals cross, |w_f| < |w_i|: there
    lie the weights that training moved towards zero.
    """
    rows = math.ceil((len(outcomes) + 1) / columns)  # the last place is the legend's
    size = WIDTH / columns
    some = _evenly(len(initial), points)
    reach = 1.05 * max(np.abs(initial).max(), np.quantile(np.abs(final[some]), 0.998))
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(WIDTH, rows * (size + 0.2) + 0.35),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax in axes.flat[len(outcomes) :]:
        ax.set_axis_off()
    for ax, (name, outcome) in zip(axes.flat, outcomes.items(), strict=False):
        for fate, color in _FATE_COLORS.items():
            which = outcome[some] == fate
            ax.scatter(
                initial[some][which],
                final[some][which],
                s=6,
                color=color,
                linewidths=0,
                alpha=0.75,
                label=fate,
            )
        for sign in (1, -1):
            ax.plot([-reach, reach], [-sign * reach, sign * reach], color="#BBBBBB", linewidth=0.8)
        ax.set_title(name, pad=4)
        _plane(ax, reach)
    axes.flat[len(outcomes)].legend(
        *axes.flat[0].get_legend_handles_labels(), loc="center", markerscale=3, handletextpad=0.1
    )
    figure.supxlabel("initial weight $w_i$", fontsize=11)
    figure.supylabel("final weight $w_f$", fontsize=11)
    return figure


def _evenly(count: int, points: int) -> np.ndarray:
    """At most that many of ``count`` places, evenly spaced: a layer's first weights would all
    belong to its first input, which may be a pixel that is always dark."""
    return np.linspace(0, count - 1, min(count, points)).astype(int)


def _plane(ax: Axes, reach: float) -> None:
    """A square part of a plane of weights, its two axes drawn and no grid."""
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.grid(False)
    ax.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    ax.axvline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    ax.locator_params(nbins=4)
    ax.tick_params(labelsize=9)


@look
def lead_curves(
    table: pd.DataFrame, reference: str, panels: Mapping[str, Sequence[str]], columns: int = 3
) -> Figure:
    """Each arm's test accuracy less the reference's of the same seed, against density.

    In percentage points: mean and 95 % interval of the paired differences. ``panels`` gives each
    panel's title and arms; every panel has a scale of its own.
    """
    leads = lead(table, reference)
    leads = leads[leads["round"] > 0]  # there all arms are one network
    (reference,) = _known_arms(table, [reference])
    arms = _known_arms(table, [arm for chosen in panels.values() for arm in chosen])
    names = labels([*arms, reference])
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(WIDTH, 1.0 + 2.6 * len(panels)), sharex=True, squeeze=False
    )
    for ax, (title, chosen) in zip(axes[:, 0], panels.items(), strict=True):
        draw_curves(ax, curves(leads, chosen, "lead"), names)
        ax.axhline(0, color=style(reference).color, linewidth=1.2, label=names[reference])
        ax.legend().remove()
        ax.set_title(title, loc="left")
        ax.set_ylabel("points")
        density_axis(ax)
    for ax in axes[:-1, 0]:
        ax.set_xlabel("")
    legend_below(figure, axes, columns)
    return figure


@look
def share_curves(
    table: pd.DataFrame,
    column: str,
    arms: Sequence[str] | None = None,
    *,
    ylabel: str,
    first_round: int = 1,
    columns: int = 3,
) -> Figure:
    """A share that records hold for each round, in percent, against density; mean and interval."""
    known = curves(table[table["round"] >= first_round], arms, column)
    figure, ax = pyplot.subplots(figsize=(WIDTH, 3.9))
    draw_curves(ax, known, labels(list(known["arm"].unique())))
    ax.legend().remove()
    ax.set_ylabel(ylabel)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    density_axis(ax)
    legend_below(figure, ax, columns)
    return figure


@look
def accuracy_panels(
    tables: Mapping[str, pd.DataFrame], arms: Sequence[str] | None = None, columns: int = 3
) -> Figure:
    """`accuracy_curves` of several records with the same arms, a panel each under its title."""
    figure, axes = pyplot.subplots(
        len(tables), 1, figsize=(WIDTH, 0.9 + 2.5 * len(tables)), squeeze=False
    )
    for ax, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
        known = curves(table, arms)
        draw_curves(ax, known, labels(list(known["arm"].unique())))
        draw_dense(ax, dense_baseline(table))
        ax.legend().remove()
        ax.set_title(title, loc="left")
        ax.set_ylabel("test accuracy (%)")
        density_axis(ax)
    for ax in axes[:-1, 0]:
        ax.set_xlabel("")
    legend_below(figure, axes, columns)
    return figure


def at_same_density(table: pd.DataFrame, arm: str, reference: str) -> pd.DataFrame:
    """An arm that sets its own density, beside another arm at that density, seed by seed.

    The reference's accuracy is interpolated linearly in the logarithm of its density between its
    two nearest rounds; where it was never pruned so far, it is missing. Columns: seed, round,
    density, test_accuracy, reference, lead. The dense network, round 0, is left out.
    """
    arm, reference = _known_arms(table, [arm, reference])
    rows = table[(table["arm"] == arm) & (table["round"] > 0)]
    parts = []
    for seed, own in rows.groupby("seed"):
        other = table[(table["arm"] == reference) & (table["seed"] == seed)].sort_values("density")
        there = np.interp(
            np.log(own["density"]), np.log(other["density"]), other["test_accuracy"], left=np.nan
        )
        parts.append(own.assign(reference=there, lead=own["test_accuracy"] - there))
    columns = ["seed", "round", "density", "test_accuracy", "reference", "lead"]
    return pd.concat(parts)[columns].reset_index(drop=True)


@look
def own_density(table: pd.DataFrame, arm: str, reference: str) -> Figure:
    """An arm that sets its own density: above, density by round; below, accuracy by density.

    The reference arm is drawn beside it in both panels, the dense baseline in the lower one.
    Means and 95 % intervals over the seeds.
    """
    arms = _known_arms(table, [arm, reference])
    names = labels(arms)
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(WIDTH, 6.2))
    densities = curves(table, arms, "density")
    for one in arms:
        rows = densities[densities["arm"] == one]
        drawn = {"color": style(one).color, "label": names[one]}
        upper.plot(rows["round"], 100 * rows["mean"], marker="o", markersize=4, **drawn)
        upper.fill_between(
            rows["round"],
            100 * rows["low"],
            100 * rows["high"],
            color=to_rgba(style(one).color, 0.15),
            linewidth=0,
        )
    upper.set_yscale("log")
    low = 100 * densities["mean"].min()
    ticks = [tick for tick in (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1) if tick >= 0.9 * low]
    upper.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    upper.minorticks_off()
    upper.set_xlabel("round")
    upper.set_ylabel("weights left (%)")

    known = curves(table, arms)
    for one in arms:
        rows = known[known["arm"] == one]
        color = style(one).color
        left, mean = 100 * rows["density"], 100 * rows["mean"]
        reach = [mean - 100 * rows["low"], 100 * rows["high"] - mean]
        lower.errorbar(
            left, mean, yerr=reach, color=color, marker="o", markersize=4, elinewidth=1, alpha=0.85
        )
    draw_dense(lower, dense_baseline(table))
    lower.set_ylabel("test accuracy (%)")
    density_axis(lower)
    legend_below(figure, (upper, lower))
    return figure


# --- what pruned weights were doing -----------------------------------------------------------


def shrunk_shares(record: Record) -> pd.DataFrame:
    """Of the weights that each criterion prunes, the share that training had moved towards zero.

    Read as claim zeros-4 reads it (`claims.share_among_pruned`): rounds count by what they prune.
    One row for each arm; columns pruned, candidates (the same share among all weights that could
    have been pruned) and gap, pruned less candidates, each in percent as a `claims.Interval`.
    """
    network = record.plan["network"]
    evidence = claims.Evidence({("criteria", network): record}, network)
    rows = {}
    for arm in record.table["arm"].unique():
        pruned, candidates = (
            claims.share_among_pruned(arm, column)(evidence)
            for column in ("pruned_shrunk_share", "shrunk_share")
        )
        rows[arm] = {
            "pruned": claims.interval(pruned),
            "candidates": claims.interval(candidates),
            "gap": claims.interval(pruned - candidates),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


@look
def shrunk_chart(shares: pd.DataFrame, accuracy: pd.DataFrame, title: str) -> Figure:
    """`shrunk_shares` of each criterion, beside its accuracy (`curves` at one round).

    Criteria are ordered by accuracy, the best on top. Left: a filled dot for the weights pruned, an
    open one for all that could have been. Right: accuracy in percent. Bars are 95 % intervals.
    """
    at = accuracy.set_index("arm").sort_values("mean")
    names = labels(list(at.index))
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(WIDTH, 0.9 + 0.36 * len(at)), sharey=True, width_ratios=(1.25, 1)
    )
    left.axvline(50, color="#BBBBBB", linewidth=0.8, zorder=0)
    for place, (arm, row) in enumerate(at.iterrows()):
        color = style(arm).color
        pruned, candidates = shares.loc[arm, "pruned"], shares.loc[arm, "candidates"]
        left.plot([candidates.mean, pruned.mean], [place, place], color=color, linewidth=1.2)
        left.plot(candidates.mean, place, "o", mfc="white", mec=color, markersize=7)
        left.plot([pruned.low, pruned.high], [place, place], color=color, linewidth=3.5, alpha=0.4)
        left.plot(pruned.mean, place, "o", color=color, markersize=7)
        right.plot(
            [100 * row["low"], 100 * row["high"]], [place, place], color=color, linewidth=2.5
        )
        right.plot(100 * row["mean"], place, "o", color=color, markersize=7)
    left.set_yticks(range(len(at)), [names[arm] for arm in at.index], fontsize=10)
    left.set_xlim(-4, 104)
    left.set_xlabel("moving to zero (%)")
    right.set_xlabel("test accuracy (%)")
    right.set_title(title, loc="left")
    handles = [
        pyplot.Line2D([], [], marker="o", linestyle="", color=GREY, label="of those pruned"),
        pyplot.Line2D(
            [], [], marker="o", linestyle="", mfc="white", mec=GREY, label="of all candidates"
        ),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handletextpad=0.2)
    return figure


@look
def shrunk_by_round(table: pd.DataFrame, arms: Sequence[str], columns: int = 2) -> Figure:
    """The shares of `shrunk_shares` round by round, against density, a panel for each criterion.

    Solid: among the weights then pruned; dashed: among all that could have been. Means and 95 %
    intervals over the seeds; the density is the one after pruning.
    """
    arms = _known_arms(table, arms)
    names = labels(arms)
    rows = math.ceil(len(arms) / columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(WIDTH, 0.8 + 2.2 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[len(arms) :]:
        ax.set_axis_off()
    lines = (
        ("pruned_shrunk_share", "-", "of those pruned"),
        ("shrunk_share", "--", "of all candidates"),
    )
    for ax, arm in zip(axes.flat, arms, strict=False):
        color = style(arm).color
        ax.axhline(50, color="#BBBBBB", linewidth=0.8, zorder=0)
        for column, line, label in lines:
            known = curves(table, [arm], column)
            left = 100 * known["density"]
            ax.plot(left, 100 * known["mean"], color=color, linestyle=line, label=label)
            ax.fill_between(
                left,
                100 * known["low"],
                100 * known["high"],
                color=to_rgba(color, 0.15),
                linewidth=0,
            )
        ax.set_title(names[arm], loc="left")
        ax.set_ylim(-3, 103)
        density_axis(ax, label="")
    for ax in axes[-1]:
        ax.set_xlabel("weights left (%)")
    figure.supylabel("moving to zero (%)", fontsize=11)
    handles = [
        pyplot.Line2D([], [], color=GREY, linestyle=line, label=label) for _, line, label in lines
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


# --- the algorithm ----------------------------------------------------------------------------


@look
def unit_pictures(rows: Mapping[str, np.ndarray], reach: float) -> Figure:
    """Weights into some hidden units as pictures in the shape of the input, a row a stage.

    Every array is ``[units, height, width]``; NaN stands for a pruned weight and is drawn grey. The
    colours run from -``reach`` (blue) through 0 (white) to ``reach`` (red).
    """
    units = len(next(iter(rows.values())))
    side = (WIDTH - 1.5) / units
    figure, axes = pyplot.subplots(
        len(rows), units, figsize=(WIDTH, len(rows) * side + 0.75), squeeze=False
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
    figure, ax = pyplot.subplots(figsize=(WIDTH, 3.9))
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
    legend_below(figure, ax, 3)
    return figure


# --- how much masks have in common ------------------------------------------------------------


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
    figure, ax = pyplot.subplots(figsize=(WIDTH, 0.56 * WIDTH))
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
    return figure


# --- supermasks -------------------------------------------------------------------------------

VALUE_NAMES = {"initial": "$w_i$", "constant": "signed constants"}
SCALING_NAMES = {"plain": "plain", "rescaled": "rescaled"}
CHANCE = 10.0  # percent, of ten classes


def variant_name(arm: str) -> str:
    """What a learned mask lies over, in words.

    >>> variant_name("learned/constant/rescaled")
    'signed constants, rescaled'
    """
    _, values, scaling = arm.split("/")
    return f"{VALUE_NAMES[values]}, {SCALING_NAMES[scaling]}"


def _learned_arms(table: pd.DataFrame) -> list[str]:
    """The learned masks of a table, in the order of `LEARNED`."""
    there = {_as_learned(arm): arm for arm in table["arm"].unique()}
    return [there[arm] for arm in LEARNED if arm in there]


def best_masks(table: pd.DataFrame, arms: Sequence[str] | None = None) -> pd.DataFrame:
    """Each criterion mask at the density that validation accuracy chooses, seed by seed.

    As `claims.criterion_mask` reads it: of equally good masks the one that keeps most, and the
    whole network, round 0, is no mask. One row for each arm and seed; columns arm, seed, round,
    density, validation_accuracy, test_accuracy.
    """
    arms = _known_arms(table, arms)
    rows = table[table["arm"].isin(arms) & (table["round"] > 0)].sort_values("round")
    best = rows.loc[rows.groupby(["arm", "seed"])["validation_accuracy"].idxmax()]
    columns = ["arm", "seed", "round", "density", "validation_accuracy", "test_accuracy"]
    return best[columns].reset_index(drop=True)


@look
def mask_curves(
    table: pd.DataFrame, panels: Mapping[str, Sequence[str]], columns: int = 2
) -> Figure:
    """Test accuracy of masked, untrained networks against density, a panel for each group of arms.

    Mean and 95 % interval over the seeds; lines are named by their criterion, the same in every
    panel. The dashed line is the trained dense network, the dotted one chance.
    """
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(WIDTH, 1.3 + 3.0 * len(panels)), sharex=True, squeeze=False
    )
    for ax, (title, arms) in zip(axes[:, 0], panels.items(), strict=True):
        known = curves(table, arms)
        draw_curves(ax, known, {arm: arm.split("/")[0] for arm in known["arm"].unique()})
        if "trained" in set(table["arm"]):
            trained = 100 * table.loc[table["arm"] == "trained", "test_accuracy"].mean()
            ax.axhline(trained, color=BLACK, linewidth=1.2, linestyle="--", label="trained network")
        ax.axhline(CHANCE, color=BLACK, linewidth=1, linestyle=":", label="chance")
        ax.legend().remove()
        ax.set_title(title, loc="left")
        ax.set_ylabel("test accuracy (%)")
        ax.set_ylim(0, 102)
        density_axis(ax)
    for ax in axes[:-1, 0]:
        ax.set_xlabel("")
    legend_below(figure, axes, columns)
    return figure


@look
def epoch_curves(
    tables: Mapping[str, pd.DataFrame],
    trained: Mapping[str, claims.Interval] | None = None,
    window: tuple[float, float] | None = None,
) -> Figure:
    """Test accuracy of learned masks over the epochs of learning, a panel for each record.

    Mean over 10 sampled masks, then mean and 95 % interval over the seeds. ``trained`` gives the
    accuracy of the trained network for some of the titles; ``window`` (percent) shows only that
    part of the scale.
    """
    figure, axes = pyplot.subplots(
        len(tables), 1, figsize=(WIDTH, 1.2 + 2.9 * len(tables)), squeeze=False
    )
    for ax, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
        known = curves(table, _learned_arms(table))
        _draw_over_epochs(ax, known, marker=".")
        if trained and title in trained:
            draw_dense(ax, trained[title], "trained weights")
        if window is not None:
            ax.set_ylim(window)
        ax.set_title(title, loc="left")
        ax.set_ylabel("test accuracy (%)")
    axes[-1, 0].set_xlabel("epochs of learning the mask")
    legend_below(figure, axes, 2)
    return figure


def _draw_over_epochs(ax: Axes, known: pd.DataFrame, marker: str = "") -> None:
    """Lines of `curves` of learned masks in percent, each with its interval, against epochs."""
    for arm, rows in known.groupby("arm", sort=False):
        drawn = style(arm)
        (line,) = ax.plot(
            rows["round"],
            100 * rows["mean"],
            color=drawn.color,
            marker=marker,
            label=variant_name(arm),
        )
        if drawn.dashes:
            line.set_dashes(drawn.dashes)
        ax.fill_between(
            rows["round"],
            100 * rows["low"],
            100 * rows["high"],
            color=to_rgba(drawn.color, 0.15),
            linewidth=0,
        )


def pixel_shares(masks: Iterable[np.ndarray], image_shape: tuple[int, int]) -> np.ndarray:
    """Share of each input pixel's weights that first-layer masks keep, mean over the masks.

    A mask is ``[pixels, units]``; the result is ``[height, width]``.
    """
    stacked = np.stack([np.asarray(mask, dtype=float) for mask in masks])
    return stacked.mean(axis=(0, 2)).reshape(image_shape)


def untouched_pixels(masks: Iterable[np.ndarray], image_shape: tuple[int, int]) -> np.ndarray:
    """Pixels of which no mask, ``[pixels, units]``, dropped a single weight; ``[height, width]``.

    Learning never moved their scores from 0, which counts as kept: they are dark in every training
    image. By chance that happens with a probability of one half to the power of its weights.
    """
    kept_all = np.stack([np.asarray(mask, dtype=bool).all(axis=1) for mask in masks])
    return kept_all.all(axis=0).reshape(image_shape)


@look
def pixel_maps(shares: Mapping[str, np.ndarray], untouched: np.ndarray | None = None) -> Figure:
    """Share of each input pixel's weights that masks keep, a picture for each title, two a line.

    Arrays are ``[height, width]`` (see `pixel_shares`), drawn on one scale around one half, the
    share kept before anything is learned: red above, blue below. ``untouched`` pixels are grey.
    """
    rows = math.ceil(len(shares) / 2)
    figure, axes = pyplot.subplots(
        rows, 2, figsize=(WIDTH, rows * (WIDTH / 2 - 0.15) + 0.75), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    shown = {title: np.ma.masked_array(100 * share, untouched) for title, share in shares.items()}
    reach = max(float(np.abs(share - 50).max()) for share in shown.values())
    colors = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#C4C4C4")
    for ax, (title, share) in zip(axes.flat, shown.items(), strict=False):
        image = ax.imshow(share, cmap=colors, vmin=50 - reach, vmax=50 + reach)
        ax.set_title(title, pad=4)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", aspect=40, pad=0.02, shrink=0.7)
    bar.set_label("weights kept of each pixel (%)")
    bar.outline.set_visible(False)
    return figure


def layer_densities(table: pd.DataFrame, layers: Sequence[str]) -> pd.DataFrame:
    """The column layer_density, one row for each layer, ready for `curves` and seaborn.

    Columns: arm, seed, round, layer, density.
    """
    columns = ["arm", "seed", "round", "layer_density"]
    long = table[table["layer_density"].notna()][columns].explode("layer_density")
    names = list(layers) * (len(long) // len(layers))
    return long.assign(layer=names, density=long["layer_density"].astype(float)).drop(
        columns="layer_density"
    )


@look
def layer_density_curves(table: pd.DataFrame, layers: Sequence[str]) -> Figure:
    """Expected share of weights kept in each layer over the epochs of learning, a panel a layer.

    Mean and 95 % interval over the seeds; the thin line is one half, where learning starts.
    """
    long = layer_densities(table, layers)
    figure, axes = pyplot.subplots(
        1, len(layers), figsize=(WIDTH, 3.4), sharex=True, sharey=True, squeeze=False
    )
    for ax, layer in zip(axes[0], layers, strict=True):
        known = curves(long[long["layer"] == layer], _learned_arms(table), column="density")
        ax.axhline(50, color="#8C8C8C", linewidth=0.8)
        _draw_over_epochs(ax, known)
        ax.set_title(layer, loc="left")
        ax.set_xlabel("epochs")
    axes[0, 0].set_ylabel("weights kept (%)")
    legend_below(figure, axes, 2)
    return figure


def probability_histogram(table: pd.DataFrame, arm: str, round_: int) -> np.ndarray:
    """Share of weights in each bin of mask probability, ``[bins]``, mean over the seeds."""
    (arm,) = _known_arms(table, [arm])
    rows = table[(table["arm"] == arm) & (table["round"] == round_)]
    return np.stack([np.asarray(values, float) for values in rows["probability_histogram"]]).mean(0)


@look
def probability_panels(table: pd.DataFrame, looks: int = 5) -> Figure:
    """How mask probabilities spread from one half as masks are learned, a panel for each arm.

    Lines are histograms over the weights, at ``looks`` epochs spread over the learning, the later
    the darker; epoch 0, where every probability is one half, is left out. Log scale.
    """
    arms = _learned_arms(table)
    epochs = sorted(set(table["round"]) - {0})
    places = np.unique(np.linspace(0, len(epochs) - 1, looks).round().astype(int))
    shades = sns.color_palette("flare", len(places))
    rows = math.ceil(len(arms) / 2)
    figure, axes = pyplot.subplots(
        rows, 2, figsize=(WIDTH, 0.7 + 2.3 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[len(arms) :]:
        ax.set_axis_off()
    for ax, arm in zip(axes.flat, arms, strict=False):
        for place, shade in zip(places, shades, strict=True):
            shares = probability_histogram(table, arm, epochs[place])
            edges = np.linspace(0, 1, len(shares) + 1)
            ax.stairs(
                100 * shares, edges, color=shade, linewidth=1.5, label=f"{epochs[place]} epochs"
            )
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_ylim(bottom=0.05)
        ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        ax.set_title(variant_name(arm), loc="left")
    for ax in axes[-1]:
        ax.set_xlabel(r"mask probability $\sigma(m)$")
    for ax in axes[:, 0]:
        ax.set_ylabel("weights (%)")
    legend_below(figure, axes, 3)
    return figure


# --- speed ------------------------------------------------------------------------------------

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
    figure, ax = pyplot.subplots(figsize=(WIDTH, 4.2))
    for way, drawn in WAYS.items():
        rows = times[times["way"] == way].sort_values("density", ascending=False)
        _cost_line(ax, 100 * rows["density"], rows, drawn, _WAY_NAMES[way])
    ax.set_yscale("log")
    _plain_ticks(ax.yaxis, times["low"].min(), times["high"].max())
    density_axis(ax)
    ax.set_ylabel("ms per replica and iteration")
    legend_below(figure, ax, 3)
    return figure


@look
def growth_panels(replicas: pd.DataFrame, widths: pd.DataFrame) -> Figure:
    """How the cost of a replica's iteration grows: by number of replicas, and by width.

    Both are tables as `bench.times` gives them; each round is a line, its density in the legend.
    """
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, 4.0))
    for rows, column, ax in ((replicas, "replicas", left), (widths, "width", right)):
        for (way, number), own in rows.groupby(["way", "round"], sort=False):
            drawn = WAYS[way]._replace(dashes=() if number == 0 else DASHED)
            kind = "dense" if number == 0 else f"{percent(own['density'].mean())} left"
            own = own.sort_values(column)
            _cost_line(ax, own[column], own, drawn, f"{_WAY_NAMES[way]}, {kind}")
        ax.set_xscale("log")
        ax.set_yscale("log")
        places = sorted(rows[column].unique())
        ax.set_xticks(places, [f"{place:g}" for place in places])
        ax.minorticks_off()
        _plain_ticks(ax.yaxis, rows["low"].min(), rows["high"].max())
    left.set_xlabel("replicas at once")
    right.set_xlabel("width of the hidden layers")
    left.set_ylabel("ms per replica and iteration")
    legend_below(figure, (left, right), 2)
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
def conv_bars(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Ways to train a convolutional network: how many times faster than the plain loop each is.

    A panel for each title; its table has the columns way, low, median and high (ratios, as
    `bench.ratios` gives them).
    """
    longest = max(map(len, panels.values()))
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(WIDTH, 1.2 + 0.42 * longest), sharey=True, squeeze=False
    )
    for ax, (title, rows) in zip(axes[0], panels.items(), strict=True):
        rows = rows.iloc[::-1]
        colors = [BLUE if way == "engine" else GREY for way in rows["way"]]
        spread = [rows["median"] - rows["low"], rows["high"] - rows["median"]]
        names = [_WAY_NAMES.get(way, way) for way in rows["way"]]
        ax.barh(names, rows["median"], color=colors, xerr=spread, ecolor=BLACK, height=0.65)
        ax.axvline(1, color=BLACK, linewidth=1)
        ax.set_title(title, loc="left")
        ax.grid(visible=False, axis="y")
    figure.supxlabel("times faster than the plain loop", fontsize=11)
    return figure
