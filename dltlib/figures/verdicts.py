"""The scorecard: every claim's effect beside its threshold, in one picture."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltlib import catalogue, claims
from dltlib.figures.ends import legend_below
from dltlib.figures.styles import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    WIDTH,
    hand_over,
    inches,
    look,
)

NETWORK_COLORS = {"fc": BLUE, "conv2": ORANGE, "conv4": GREEN, "conv6": PURPLE, "all": BLACK}
NETWORK_NAMES = {network.name: network.title for network in catalogue.NETWORKS.values()}
NETWORK_NAMES |= {claims.ALL_NETWORKS: "between networks"}


def distances(results: Sequence[claims.Result]) -> pd.DataFrame:
    """How far every comparison of the claims lies above its threshold, where it was measured.

    Columns: claim, network, comparison, weakest (whether it is the one that stands for the claim),
    verdict, and distance, low, high, paper (its figure; NaN where there is none) and values (one
    for each seed), all less the threshold.
    """
    rows = [
        {
            "claim": result.claim,
            "network": result.network,
            "comparison": part.name,
            "weakest": part is result.weakest,
            "verdict": part.verdict,
            "distance": part.effect - part.bar,
            "low": part.ends()[0] - part.bar,
            "high": part.ends()[1] - part.bar,
            "paper": math.nan if part.paper is None else part.paper - part.bar,
            "values": [value - part.bar for value in part.values],
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
        "values",
    ]
    return pd.DataFrame(rows, columns=columns)


@look
def scorecard(results: Sequence[claims.Result]) -> Figure:
    """A forest plot: for each claim and network, how far its effect lies from the threshold.

    A dot with its interval is the comparison that decides the verdict, a diamond the paper's figure
    for the same comparison, small dots are the claim's others. An interval wholly to the
    right of the line means reproduced, wholly to the left not reproduced. Where fewer than three
    seeds were compared there is no interval: crosses are the single seeds, and the claim is
    undecided.
    """
    names = list(dict.fromkeys(result.claim for result in results))
    known = distances(results)
    networks = [name for name in NETWORK_NAMES if name in set(known["network"])]
    figure, ax = pyplot.subplots(figsize=(inches(), 1.4 + 0.4 * len(names)))
    for number, name in enumerate(names):
        if number % 2:
            ax.axhspan(number - 0.5, number + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
        rows = known[known["claim"] == name]
        present = [network for network in networks if network in set(rows["network"])]
        for place, network in enumerate(present):
            height = number + 0.8 * ((place + 0.5) / len(present) - 0.5)
            _draw_distance(ax, rows[rows["network"] == network], height, NETWORK_COLORS[network])
    ax.axvline(0, color=BLACK, linewidth=1.2, zorder=1)
    for network in networks:
        ax.plot([], [], "o", color=NETWORK_COLORS[network], label=NETWORK_NAMES[network])
    if any(len(values) < claims.FEWEST for values in known["values"]):
        ax.plot([], [], "x", color=GREY, label="single seeds, fewer than three")
    ax.plot([], [], "D", color=GREY, markerfacecolor="none", label="the paper's figure")
    ax.set_xscale("symlog", linthresh=1, linscale=0.6)
    reach = known[["low", "high", "distance", "paper"]].abs().max(axis=None) if len(known) else 1
    ticks = [tick for tick in (0, 1, 3, 10, 30, 100) if tick <= max(reach, 3)]
    ticks = [tick for tick in ticks if inches() == WIDTH or tick not in (3, 30)]
    ticks = sorted({*ticks, *(-tick for tick in ticks)})
    ax.set_xticks(ticks, [_signed(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="y", visible=False)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("effect less its threshold (percentage points)")
    legend_below(figure, ax)
    hand_over(figure, known.drop(columns="values"))
    return figure


def _signed(tick: int) -> str:
    return f"{tick:+d}".replace("-", "\N{MINUS SIGN}") if tick else "0"


def _draw_distance(ax: Axes, rows: pd.DataFrame, height: float, color: str) -> None:
    others, weakest = rows[~rows["weakest"]], rows[rows["weakest"]]
    ax.plot(others["distance"], [height] * len(others), ".", color=color, alpha=0.7, markersize=4)
    for row in weakest.itertuples():
        if len(row.values) < claims.FEWEST:
            ax.plot(row.values, [height] * len(row.values), "x", color=color, markersize=5.5)
        else:
            ax.plot([row.low, row.high], [height, height], color=color, linewidth=1.8)
            ax.plot(row.distance, height, "o", color=color, markersize=5.5)
        ax.plot(row.paper, height, "D", color=color, markerfacecolor="none", markersize=7)
