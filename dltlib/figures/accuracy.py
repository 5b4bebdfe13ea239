"""Accuracy against the share of weights left: means and intervals over seeds, lines, tables."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dltlib import claims
from dltlib.errors import UserError
from dltlib.figures.ends import name_lines
from dltlib.figures.styles import BLACK, WIDTH, hand_over, inches, labels, look, style, wrapped


def curves(
    table: pd.DataFrame, arms: Sequence[str] | None = None, column: str = "test_accuracy"
) -> pd.DataFrame:
    """Mean of a column over the seeds with its 95 % interval (Student's), arm by arm and round by
    round.

    Columns: arm, round, density (mean over the seeds), mean, low, high, seeds (how many), least and
    most (of any seed). Fewer than three seeds have no interval: low and high are NaN. Arms in the
    order given; rounds without a number are left out. Raises `UserError` for an arm or column that
    the table lacks.
    """
    arms = known_arms(table, arms)
    if column not in table:
        raise UserError(f"the record has no column {column!r}: choose one of {_names(table)}")
    rows = table[table["arm"].isin(arms) & table[column].notna()]
    result = pd.DataFrame(
        [
            (
                arm,
                number,
                group["density"].mean(),
                *claims.interval(group[column]),
                len(group),
                group[column].min(),
                group[column].max(),
            )
            for (arm, number), group in rows.groupby(["arm", "round"], sort=True)
        ],
        columns=["arm", "round", "density", "mean", "low", "high", "seeds", "least", "most"],
    )
    place = {arm: index for index, arm in enumerate(arms)}
    return result.sort_values(
        "arm", key=lambda names: names.map(place), kind="stable", ignore_index=True
    )


def lead(table: pd.DataFrame, reference: str, column: str = "test_accuracy") -> pd.DataFrame:
    """The table with one more column, ``lead``: each arm's value less the reference arm's of the
    same seed and round. Its `curves` are differences paired by seed."""
    (reference,) = known_arms(table, [reference])
    keys = ["seed", "round"]
    against = table[table["arm"] == reference].set_index(keys)[column]
    values = table.set_index(keys)[column]
    difference = values - against.reindex(values.index)
    return table.assign(lead=difference.to_numpy())


def within_shares(known: pd.DataFrame) -> pd.DataFrame:
    """`curves` of shares, whose bands end where a share does."""
    return known.assign(low=known["low"].clip(0, 1), high=known["high"].clip(0, 1))


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
    """The range, in percent, that holds these arms' means down to a density, and the interval of
    the dense network: what to zoom on."""
    known = curves(table, arms)
    means = known.loc[known["density"] >= least_density, "mean"]
    values = 100 * pd.Series([*means, *dense_baseline(table)])
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


def known_arms(table: pd.DataFrame, arms: Sequence[str] | None) -> list[str]:
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


@look
def accuracy_curves(
    table: pd.DataFrame,
    arms: Sequence[str] | None = None,
    *,
    column: str = "test_accuracy",
    ylabel: str = "test accuracy (%)",
    zoom: tuple[float, float] | None = None,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """A column against density: mean and 95 % interval over the seeds, the dense baseline with
    its own.

    The density falls from left to right on a log axis, as in the paper. ``zoom`` (percent) adds a
    panel above with that part of the scale, where the good arms are too close to tell apart.
    ``names`` replaces labels. Student's interval may leave 0 to 100 %, where a share cannot be; the
    band ends there.
    """
    known = within_shares(curves(table, arms, column))
    names = {**labels(list(known["arm"].unique())), **(names or {})}
    panels = 1 if zoom is None else 2
    figure, axes = pyplot.subplots(
        panels, 1, figsize=(inches(), 1.1 + 2.9 * panels), sharex=True, squeeze=False
    )
    for ax in axes[:, 0]:
        draw_curves(ax, known, names)
        draw_dense(ax, dense_baseline(table, column))
        ax.set_ylabel(ylabel)
        ax.set_ylim(top=min(101.0, ax.get_ylim()[1]))
    if zoom is not None:
        axes[0, 0].set_ylim(zoom)
        axes[0, 0].set_title("the top of the scale", loc="left")
        axes[1, 0].set_title("all of it", loc="left")
    density_axis(axes[-1, 0])
    name_lines(figure, axes)
    hand_over(figure, known)
    return figure


def draw_curves(ax: Axes, known: pd.DataFrame, names: Mapping[str, str]) -> None:
    """Lines of `curves` in percent, each with its interval as a band, into ``ax``.

    Where lines coincide, their markers still take turns: each line has a shape of its own, and
    none stands where a neighbour's does.
    """
    arms = list(known["arm"].unique())
    turns = max(2, min(4, len(arms)))
    for number, arm in enumerate(arms):
        rows, drawn = known[known["arm"] == arm].sort_values("density"), style(arm)
        left = 100 * rows["density"]
        (line,) = ax.plot(
            left,
            100 * rows["mean"],
            color=drawn.color,
            label=names[arm],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4.5,
            markevery=(number % turns, turns),
        )
        if drawn.dashes:
            line.set_dashes(drawn.dashes)
        draw_spread(ax, left, rows, drawn.color)


_MARKERS = "osD^vPX<>"


def draw_band(ax: Axes, x: pd.Series, low: pd.Series, high: pd.Series, color: str) -> None:
    """An interval along a line: a tint, and a thin outline in the line's colour, to be seen by."""
    tint = to_rgba(color, 0.12)
    ax.fill_between(x, low, high, facecolor=tint, edgecolor=color, linewidth=0.5)


def draw_spread(ax: Axes, x: pd.Series, known: pd.DataFrame, color: str) -> None:
    """How far the seeds of `curves` lie apart, in percent: the interval as a band or, of two seeds,
    which have none, each as a point."""
    draw_band(ax, x, 100 * known["low"], 100 * known["high"], color)
    few = known["seeds"] == 2
    if few.any():
        both = 100 * known.loc[few, ["least", "most"]]
        ax.plot(x[few], both, color=color, linestyle="none", marker=".", markersize=4)


def draw_dense(ax: Axes, baseline: claims.Interval, label: str = "dense network") -> None:
    """The dense baseline as a horizontal line, its interval as a band."""
    ax.axhline(100 * baseline.mean, color=BLACK, linewidth=1, linestyle=(0, (1, 1)), label=label)
    if not math.isnan(baseline.low):
        low, high, tint = 100 * baseline.low, 100 * baseline.high, to_rgba(BLACK, 0.08)
        ax.axhspan(low, high, facecolor=tint, edgecolor=BLACK, linewidth=0.5)


def density_axis(ax: Axes, label: str = "weights left (%)") -> None:
    """A log axis of percentages that falls from left (dense) to right (sparse)."""
    ax.set_xscale("log")
    low = min((np.asarray(line.get_xdata()).min() for line in _data_lines(ax)), default=1.0)
    ticks = [tick for tick in (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1) if tick >= 0.9 * low]
    ticks = ticks[:: 2 if len(ticks) > 4 and inches() < WIDTH else 1]
    ax.set_xlim(105, low * 0.95)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel(label)


def finish_panels(
    figure: Figure,
    axes: np.ndarray,
    titles: Iterable[str],
    ylabel: str,
    peaks: bool = False,
) -> None:
    """What panels against density share, once their lines are drawn: titles, axes, names.

    ``axes`` are ``[panel, 1]``, from top to bottom; only the last names its densities.
    """
    for ax, title in zip(axes[:, 0], titles, strict=True):
        ax.set_title(wrapped(title), loc="left")
        ax.set_ylabel(ylabel)
        density_axis(ax)
    for ax in axes[:-1, 0]:
        ax.set_xlabel("")
    name_lines(figure, axes, peaks=peaks)


def _data_lines(ax: Axes) -> list[Line2D]:
    return [line for line in ax.get_lines() if np.size(line.get_xdata()) > 2]
