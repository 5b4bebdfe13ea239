"""What mask-1 and mask-0 actions do to weights, and what pruned weights were doing before."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from dltlib import claims
from dltlib.figures.accuracy import (
    curves,
    dense_baseline,
    density_axis,
    draw_curves,
    draw_dense,
    draw_spread,
    finish_panels,
    known_arms,
    lead,
    within_shares,
)
from dltlib.figures.ends import legend_below, name_lines
from dltlib.figures.styles import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    fitting,
    hand_over,
    inches,
    labels,
    look,
    style,
    wrapped,
)
from dltlib.records import Record


@look
def start_scatter(
    initial: np.ndarray, starts: Mapping[str, np.ndarray], points: int = 400, columns: int = 4
) -> Figure:
    """What each mask-1 action starts kept weights from, against the values they were drawn as.

    ``initial`` and every array of ``starts`` are ``[n]``: the kept weights of one layer, of which
    ``points`` are drawn. Filled dots kept the sign of w_i, open ones did not; the title says how
    many of all kept it. A panel each, in the order of ``starts``: the first, rewinding, has its
    column to itself, and of the others the second half stands below the first or, on a phone, to
    the right of it.
    """
    rewinding, *others = starts
    if columns > (fits := fitting(columns, 1.25)):
        # No row for each half of the others: a row for each of the one and its like of the other.
        half = math.ceil(len(others) / 2)
        places = {name: place % half for place, name in enumerate(others)}
        others = sorted(others, key=places.__getitem__)
        columns = fits
    rows = math.ceil(len(others) / (columns - 1))
    size = inches() / columns
    reach = 1.1 * max(np.abs(values).max() for values in (initial, *starts.values()))
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(inches(), rows * (size + 0.42) + 0.35),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    first, rest = axes[:, 0], axes[:, 1:].flatten()
    for ax in (*first[1:], *rest[len(others) :]):
        ax.set_axis_off()
    numbers = []
    for ax, name in zip((first[0], *rest), (rewinding, *others), strict=False):
        start = starts[name]
        kept_sign = np.signbit(start) == np.signbit(initial)
        color = style(f"large_final/{name}/zero").color
        some = _evenly(len(initial), points)
        numbers.append(
            pd.DataFrame({"action": name, "initial": initial[some], "start": start[some]})
        )
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
        plane(ax, reach)
    first[0].tick_params(labelbottom=True)
    figure.supxlabel("initial weight $w_i$", fontsize=11)
    figure.supylabel("start of the next training", fontsize=11)
    hand_over(figure, pd.concat(numbers))
    return figure


TRAINED, TRAINED_FROM_ZERO, FROZEN_AT_ZERO, FROZEN_AT_INITIAL = FATES = (
    "trained, from $w_i$",
    "trained, from 0",
    "frozen at 0",
    "frozen at $w_i$",
)
"""What a mask-0 action makes of a weight, after rewinding."""

_FATE_COLORS = dict(zip(FATES, (BLUE, GREEN, ORANGE, PURPLE), strict=True))


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
    columns = fitting(columns, 1.5)
    rows = math.ceil((len(outcomes) + 1) / columns)  # the last place is the legend's
    size = inches() / columns
    some = _evenly(len(initial), points)
    reach = 1.05 * max(np.abs(initial).max(), np.quantile(np.abs(final[some]), 0.998))
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(inches(), rows * (size + 0.2) + 0.35),
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
        plane(ax, reach)
    axes.flat[len(outcomes)].legend(
        *axes.flat[0].get_legend_handles_labels(), loc="center", markerscale=3, handletextpad=0.1
    )
    figure.supxlabel("initial weight $w_i$", fontsize=11)
    figure.supylabel("final weight $w_f$", fontsize=11)
    drawn = pd.DataFrame({"initial": initial[some], "final": final[some]})
    hand_over(figure, drawn.assign(**{name: fate[some] for name, fate in outcomes.items()}))
    return figure


def _evenly(count: int, points: int) -> np.ndarray:
    """At most that many of ``count`` places, evenly spaced: a layer's first weights would all
    belong to its first input, which may be a pixel that is always dark."""
    return np.linspace(0, count - 1, min(count, points)).astype(int)


def plane(ax: Axes, reach: float) -> None:
    """A square part of a plane of weights, its two axes drawn and no grid."""
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.grid(False)
    ax.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    ax.axvline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    ax.plot([-reach, reach], [-reach, reach], color="#BBBBBB", linewidth=0.6, zorder=0)  # unmoved
    ax.locator_params(nbins=4)
    ax.tick_params(labelsize=9)


@look
def lead_curves(table: pd.DataFrame, reference: str, panels: Mapping[str, Sequence[str]]) -> Figure:
    """Each arm's test accuracy less the reference's of the same seed, against density.

    In percentage points: mean and 95 % interval of the paired differences. ``panels`` gives each
    panel's title and arms; every panel has a scale of its own.
    """
    leads = lead(table, reference)
    leads = leads[leads["round"] > 0]  # there all arms are one network
    (reference,) = known_arms(table, [reference])
    arms = known_arms(table, [arm for chosen in panels.values() for arm in chosen])
    names = labels([*arms, reference])
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(inches(), 1.0 + 2.6 * len(panels)),
        sharex=True,
        squeeze=False,
    )
    numbers = []
    for ax, (title, chosen) in zip(axes[:, 0], panels.items(), strict=True):
        known = curves(leads, chosen, "lead")
        draw_curves(ax, known, names)
        numbers.append(known.assign(panel=title))
        ax.axhline(0, color=style(reference).color, linewidth=1.2, label=names[reference])
    finish_panels(figure, axes, panels, "points")
    hand_over(figure, pd.concat(numbers))
    return figure


@look
def share_curves(
    table: pd.DataFrame,
    column: str,
    arms: Sequence[str] | None = None,
    *,
    ylabel: str,
    first_round: int = 1,
) -> Figure:
    """A share that records hold for each round, in percent, against density; mean and interval."""
    known = curves(table[table["round"] >= first_round], arms, column)
    figure, ax = pyplot.subplots(figsize=(inches(), 3.9))
    draw_curves(ax, known, labels(list(known["arm"].unique())))
    ax.set_ylabel(ylabel)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    density_axis(ax)
    name_lines(figure, ax)
    hand_over(figure, known)
    return figure


@look
def accuracy_panels(
    tables: Mapping[str, pd.DataFrame], arms: Sequence[str] | None = None
) -> Figure:
    """`accuracy_curves` of several records with the same arms, a panel each under its title."""
    figure, axes = pyplot.subplots(
        len(tables), 1, figsize=(inches(), 0.9 + 2.5 * len(tables)), squeeze=False
    )
    numbers = []
    for ax, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
        known = within_shares(curves(table, arms))
        numbers.append(known.assign(panel=title))
        draw_curves(ax, known, labels(list(known["arm"].unique())))
        draw_dense(ax, dense_baseline(table))
    finish_panels(figure, axes, tables, "test accuracy (%)")
    hand_over(figure, pd.concat(numbers))
    return figure


def at_same_density(table: pd.DataFrame, arm: str, reference: str) -> pd.DataFrame:
    """An arm that sets its own density, beside another arm at that density, seed by seed.

    The reference's accuracy is interpolated linearly in the logarithm of its density between its
    two nearest rounds; where it was never pruned so far, it is missing. Columns: seed, round,
    density, test_accuracy, reference, lead. The dense network, round 0, is left out.
    """
    arm, reference = known_arms(table, [arm, reference])
    rows = table[(table["arm"] == arm) & (table["round"] > 0)]
    parts = []
    for seed, mine in rows.groupby("seed"):
        other = table[(table["arm"] == reference) & (table["seed"] == seed)].sort_values("density")
        there = np.interp(
            np.log(mine["density"]),
            np.log(other["density"]),
            other["test_accuracy"],
            left=np.nan,
        )
        parts.append(mine.assign(reference=there, lead=mine["test_accuracy"] - there))
    columns = ["seed", "round", "density", "test_accuracy", "reference", "lead"]
    return pd.concat(parts)[columns].reset_index(drop=True)


@look
def own_density(table: pd.DataFrame, arm: str, reference: str) -> Figure:
    """An arm that sets its own density: above, density by round; below, accuracy by density.

    The reference arm is drawn beside it in both panels, the dense baseline in the lower one.
    Means and 95 % intervals over the seeds.
    """
    arms = known_arms(table, [arm, reference])
    names = labels(arms)
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(inches(), 6.2))
    densities = curves(table, arms, "density")
    for one in arms:
        rows = densities[densities["arm"] == one]
        drawn = {"color": style(one).color, "label": names[one]}
        upper.plot(rows["round"], 100 * rows["mean"], marker="o", markersize=4, **drawn)
        draw_spread(upper, rows["round"], rows, style(one).color)
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
    hand_over(figure, known)
    return figure


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


def _keep_apart(figure: Figure) -> None:
    """Leave room between panels for the last tick of one and the first of the next."""
    figure.set_layout_engine("constrained", wspace=0.06)


@look
def shrunk_chart(shares: pd.DataFrame, accuracy: pd.DataFrame, title: str) -> Figure:
    """`shrunk_shares` of each criterion, beside its accuracy (`curves` at one round).

    Criteria are ordered by accuracy, the best on top. Left: a filled dot for the weights pruned, an
    open one for all that could have been. Right: accuracy in percent. Bars are 95 % intervals.
    """
    at = accuracy.set_index("arm").sort_values("mean")
    names = labels(list(at.index))
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(inches(), 0.9 + 0.36 * len(at)), sharey=True, width_ratios=(1.25, 1)
    )
    _keep_apart(figure)
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
        right.annotate(
            f"{100 * row['mean']:.1f}",
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            annotation_clip=False,
        )
    left.set_yticks(range(len(at)), [names[arm] for arm in at.index], fontsize=10)
    left.set_xlim(-4, 104)
    left.set_xlabel(wrapped("moving to zero (%)", 3))
    right.set_xlabel(wrapped("test accuracy (%)", 3))
    right.set_title(wrapped(title, 2), loc="left")
    handles = [
        Line2D([], [], marker="o", linestyle="", color=GREY, label="of those pruned"),
        Line2D([], [], marker="o", linestyle="", mfc="white", mec=GREY, label="of all candidates"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handletextpad=0.2)
    flat = {
        f"{column} {end}": [getattr(shares.loc[arm, column], end) for arm in at.index]
        for column in ("pruned", "candidates")
        for end in ("mean", "low", "high")
    }
    hand_over(figure, at.assign(**flat).reset_index())
    return figure


@look
def shrunk_by_round(table: pd.DataFrame, arms: Sequence[str], columns: int = 2) -> Figure:
    """The shares of `shrunk_shares` round by round, against density, a panel for each criterion.

    Solid: among the weights then pruned; dashed: among all that could have been. Means and 95 %
    intervals over the seeds; the density is the one after pruning.
    """
    arms = known_arms(table, arms)
    names = labels(arms)
    rows = math.ceil(len(arms) / columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(inches(), 0.8 + 2.2 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    _keep_apart(figure)
    for ax in axes.flat[len(arms) :]:
        ax.set_axis_off()
    numbers = []
    lines: tuple[tuple[str, LineStyleType, str], ...] = (
        ("pruned_shrunk_share", "-", "of those pruned"),
        ("shrunk_share", "--", "of all candidates"),
    )
    for ax, arm in zip(axes.flat, arms, strict=False):
        color = style(arm).color
        ax.axhline(50, color="#BBBBBB", linewidth=0.8, zorder=0)
        for column, line, label in lines:
            known = curves(table, [arm], column)
            numbers.append(known.assign(share=column))
            left = 100 * known["density"]
            ax.plot(left, 100 * known["mean"], color=color, linestyle=line, label=label)
            draw_spread(ax, left, known, color)
        ax.set_title(wrapped(names[arm], columns), loc="left")
        ax.set_ylim(-3, 103)
        density_axis(ax, label="")
    for ax in axes[-1]:
        ax.set_xlabel("weights left (%)")
    figure.supylabel("moving to zero (%)", fontsize=11)
    handles = [Line2D([], [], color=GREY, linestyle=line, label=label) for _, line, label in lines]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    hand_over(figure, pd.concat(numbers))
    return figure
