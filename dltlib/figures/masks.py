"""Supermasks: masks by criterion and learned ones, what they reach and what they look at."""

import math
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltlib import claims
from dltlib.figures.accuracy import (
    curves,
    draw_band,
    draw_curves,
    draw_dense,
    draw_spread,
    finish_panels,
    known_arms,
)
from dltlib.figures.ends import legend_below, name_lines
from dltlib.figures.styles import (
    BLACK,
    BLUE,
    GREEN,
    LEARNED,
    ORANGE,
    PURPLE,
    as_learned,
    hand_over,
    inches,
    look,
    style,
    wrapped,
)

VALUE_NAMES = {"initial": "$w_i$", "constant": "signed constants"}
SCALING_NAMES = {"plain": "plain", "rescaled": "rescaled"}


def variant_name(arm: str) -> str:
    """What a learned mask lies over, in words.

    >>> variant_name("learned/constant/rescaled")
    'signed constants, rescaled'
    """
    _, values, scaling = arm.split("/")
    return f"{VALUE_NAMES[values]}, {SCALING_NAMES[scaling]}"


def _learned_arms(table: pd.DataFrame) -> list[str]:
    """The learned masks of a table, in the order of `LEARNED`."""
    there = {as_learned(arm): arm for arm in table["arm"].unique()}
    return [there[arm] for arm in LEARNED if arm in there]


def best_masks(table: pd.DataFrame, arms: Sequence[str] | None = None) -> pd.DataFrame:
    """Each criterion mask at the density that validation accuracy chooses, seed by seed.

    As `claims.best_masks` chooses it. One row for each arm and seed; columns arm, seed, round,
    density, validation_accuracy, test_accuracy.
    """
    best = claims.best_masks(table[table["arm"].isin(known_arms(table, arms))])
    columns = ["arm", "seed", "round", "density", "validation_accuracy", "test_accuracy"]
    return best[columns].reset_index(drop=True)


@look
def mask_curves(table: pd.DataFrame, panels: Mapping[str, Sequence[str]]) -> Figure:
    """Test accuracy of masked, untrained networks against density, a panel for each group of arms.

    Mean and 95 % interval over the seeds; lines are named by their criterion, the same in every
    panel. The dashed line is the trained dense network, the dotted one chance.
    """
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(inches(), 1.3 + 3.0 * len(panels)),
        sharex=True,
        squeeze=False,
    )
    numbers = []
    for ax, (title, arms) in zip(axes[:, 0], panels.items(), strict=True):
        known = curves(table, arms)
        numbers.append(known.assign(panel=title))
        draw_curves(ax, known, {arm: arm.split("/")[0] for arm in known["arm"].unique()})
        if "trained" in set(table["arm"]):
            trained = 100 * table.loc[table["arm"] == "trained", "test_accuracy"].mean()
            ax.axhline(trained, color=BLACK, linewidth=1.2, linestyle="--", label="trained network")
        ax.axhline(claims.CHANCE, color=BLACK, linewidth=1, linestyle=":", label="chance")
        ax.set_ylim(0, 102)
    finish_panels(figure, axes, panels, "test accuracy (%)", peaks=True)
    hand_over(figure, pd.concat(numbers))
    return figure


def by_training_time(table: pd.DataFrame, iterations: int) -> pd.DataFrame:
    """The best mask of each kind and seed, by how long the network that it is from was trained.

    ``table`` is the experiment training_time's, ``iterations`` those of a whole training. Columns
    kind (source/values/scaling), stop, seed, iterations (until the stop), test_accuracy.
    """
    best = claims.best_masks(table[table["arm"] != "trained"]).set_index(["arm", "seed"])
    stopped = table[table["round"] == 0].set_index(["arm", "seed"])["stop_iteration"]
    known = best.assign(iterations=stopped.fillna(iterations)).reset_index()
    parts = known["arm"].str.split("/")
    known = known.assign(kind=parts.str[:3].str.join("/"), stop=parts.str[3].fillna("end"))
    return known[["kind", "stop", "seed", "iterations", "test_accuracy"]]


@look
def training_time_curves(
    table: pd.DataFrame, iterations: int, epoch_length: int, paper: Mapping[str, float]
) -> Figure:
    """Test accuracy of masks by criterion against the training of the network they are read from.

    A panel for w_i, one for signed constants. ``table`` and ``iterations`` as in
    `by_training_time`; ``epoch_length`` is in iterations, too. Mean and 95 % interval over the
    seeds, at the mean iteration of each stop; log scale. ``paper`` gives the paper's accuracy in
    percent for some of the kinds, a cross at the whole training.
    """
    known = by_training_time(table, iterations)
    known[["source", "values"]] = known["kind"].str.split("/", expand=True)[[0, 1]]
    figure, axes = pyplot.subplots(2, 1, figsize=(inches(), 6.4), sharex=True, squeeze=False)
    numbers = []
    for ax, (values, title) in zip(axes[:, 0], VALUE_NAMES.items(), strict=True):
        for (source, kind), rows in known[known["values"] == values].groupby(["source", "kind"]):
            by_stop = rows.groupby("stop", sort=False)
            spread = by_stop["test_accuracy"].apply(lambda seeds: claims.interval(100 * seeds))
            drawn = pd.DataFrame(
                {
                    "kind": kind,
                    "epochs": by_stop["iterations"].mean() / epoch_length,
                    "mean": spread.map(lambda one: one.mean),
                    "low": spread.map(lambda one: max(one.low, 0)),
                    "high": spread.map(lambda one: min(one.high, 100)),
                }
            ).sort_values("epochs")
            color, dashes = style(source)
            (line,) = ax.plot("epochs", "mean", data=drawn, color=color, marker="o", label=source)
            if dashes:
                line.set_dashes(dashes)
            draw_band(ax, drawn["epochs"], drawn["low"], drawn["high"], color)
            if kind in paper:
                at, drawing = drawn["epochs"].max(), {"markersize": 10, "markeredgewidth": 2}
                ax.plot(at, paper[kind], "x", color=BLACK, zorder=5, **drawing)
            numbers.append(drawn)
        ax.axhline(claims.CHANCE, color=BLACK, linewidth=1, linestyle=":", label="chance")
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ticks = [tick for tick in (0.01, 0.1, 1, 2, 5, 15, 55) if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.set_ylim(0, 102)
        ax.set_title(f"over {title}", loc="left")
        ax.set_ylabel("test accuracy (%)")
    axes[-1, 0].set_xlabel("epochs of the training that the mask is read off")
    name_lines(figure, axes, 3)
    hand_over(figure, pd.concat(numbers).reset_index())
    return figure


@look
def epoch_curves(
    tables: Mapping[str, pd.DataFrame],
    trained: Mapping[str, claims.Interval] | None = None,
    window: tuple[float, float] | None = None,
) -> Figure:
    """Test accuracy of learned masks over the epochs of learning, a panel for each record.

    Mean over the sampled masks, then mean and 95 % interval over the seeds. ``trained`` gives the
    accuracy of the trained network for some of the titles; ``window`` (percent) shows only that
    part of the scale.
    """
    figure, axes = pyplot.subplots(
        len(tables), 1, figsize=(inches(), 1.2 + 2.9 * len(tables)), squeeze=False
    )
    numbers = []
    for ax, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
        known = curves(table, _learned_arms(table))
        numbers.append(known.assign(panel=title))
        _draw_over_epochs(ax, known, marker=".")
        if trained and title in trained:
            draw_dense(ax, trained[title], "trained weights")
        low, high = window or ax.get_ylim()
        ax.set_ylim(max(low, 0), min(high, 100))  # an interval of two seeds may reach further
        ax.set_title(wrapped(title), loc="left")
        ax.set_ylabel("test accuracy (%)")
    axes[-1, 0].set_xlabel("epochs of learning the mask")
    name_lines(figure, axes, 2)
    hand_over(figure, pd.concat(numbers))
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
        draw_spread(ax, rows["round"], rows, drawn.color)


def pixel_shares(masks: Iterable[np.ndarray], image_shape: tuple[int, int]) -> np.ndarray:
    """Share of each input pixel's weights that first-layer masks keep, mean over the masks.

    A mask is ``[pixels, units]``; the result is ``[height, width]``.
    """
    stacked = np.stack([np.asarray(mask, dtype=float) for mask in masks])
    shares: np.ndarray = stacked.mean(axis=(0, 2)).reshape(image_shape)
    return shares


def untouched_pixels(masks: Iterable[np.ndarray], image_shape: tuple[int, int]) -> np.ndarray:
    """Pixels of which no mask, ``[pixels, units]``, dropped a single weight; ``[height, width]``.

    Learning never moved their scores from 0, which counts as kept: they are dark in every training
    image. By chance that happens with a probability of one half to the power of its weights.
    """
    kept_all = np.stack([np.asarray(mask, dtype=bool).all(axis=1) for mask in masks])
    return kept_all.all(axis=0).reshape(image_shape)


@look
def pixel_maps(
    shares: Mapping[str, np.ndarray],
    untouched: np.ndarray | None = None,
    measure: str = "weights kept of each pixel (%)",
) -> Figure:
    """Share of each input pixel's weights that masks keep, or another ``measure`` of 0 to 1 for
    each pixel, a picture for each title, two a line.

    Arrays are ``[height, width]`` (see `pixel_shares`), drawn on one scale around one half, the
    share kept before anything is learned: red above, blue below. ``untouched`` pixels are grey.
    """
    rows = math.ceil(len(shares) / 2)
    figure, axes = pyplot.subplots(
        rows, 2, figsize=(inches(), rows * (inches() / 2 - 0.15) + 0.75), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    hidden = np.ma.nomask if untouched is None else untouched
    shown = {title: np.ma.masked_array(100 * share, hidden) for title, share in shares.items()}
    reach = max(float(np.abs(share - 50).max()) for share in shown.values())
    colors = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#C4C4C4")
    for ax, (title, share) in zip(axes.flat, shown.items(), strict=False):
        image = ax.imshow(share, cmap=colors, vmin=50 - reach, vmax=50 + reach)
        ax.set_title(wrapped(title, 2), pad=4)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", aspect=40, pad=0.02, shrink=0.7)
    bar.set_label(measure)
    bar.outline.set_visible(False)
    hand_over(
        figure,
        pd.concat(
            pd.DataFrame(100 * np.ma.filled(share, np.nan)).assign(panel=title)
            for title, share in shares.items()
        ),
    )
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
        1, len(layers), figsize=(inches(), 3.4), sharex=True, sharey=True, squeeze=False
    )
    numbers = []
    for ax, layer in zip(axes[0], layers, strict=True):
        known = curves(long[long["layer"] == layer], _learned_arms(table), column="density")
        numbers.append(known.drop(columns="density").assign(layer=layer))
        ax.axhline(50, color="#8C8C8C", linewidth=0.8)
        _draw_over_epochs(ax, known)
        ax.set_title(layer, loc="left")
        ax.set_xlabel("epochs")
    axes[0, 0].set_ylabel("weights kept (%)")
    legend_below(figure, axes, 2)
    hand_over(figure, pd.concat(numbers))
    return figure


def probability_histogram(table: pd.DataFrame, arm: str, round_: int) -> np.ndarray:
    """Share of weights in each bin of mask probability, ``[bins]``, mean over the seeds."""
    (arm,) = known_arms(table, [arm])
    rows = table[(table["arm"] == arm) & (table["round"] == round_)]
    histograms = [np.asarray(values, float) for values in rows["probability_histogram"]]
    mean: np.ndarray = np.stack(histograms).mean(0)
    return mean


@look
def probability_panels(table: pd.DataFrame) -> Figure:
    """How mask probabilities spread from one half as masks are learned, a panel for each arm.

    Lines are histograms over the weights, at four epochs spread over the learning; epoch 0, where
    every probability is one half, is left out. Log scale.
    """
    arms = _learned_arms(table)
    epochs = sorted(set(table["round"]) - {0})
    shades = (ORANGE, GREEN, BLUE, PURPLE)
    chosen = np.unique(np.linspace(0, len(epochs) - 1, len(shades)).round().astype(int))
    rows = math.ceil(len(arms) / 2)
    figure, axes = pyplot.subplots(
        rows, 2, figsize=(inches(), 0.7 + 2.3 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[len(arms) :]:
        ax.set_axis_off()
    numbers = []
    for ax, arm in zip(axes.flat, arms, strict=False):
        for one, shade in zip(chosen, shades, strict=False):
            shares = probability_histogram(table, arm, epochs[one])
            edges = np.linspace(0, 1, len(shares) + 1)
            numbers.append(
                pd.DataFrame({"from": edges[:-1], "share": shares}).assign(
                    arm=arm, epochs=epochs[one]
                )
            )
            ax.stairs(
                100 * shares, edges, color=shade, linewidth=1.5, label=f"{epochs[one]} epochs"
            )
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_ylim(0.05, 130)
        ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        ax.set_title(wrapped(variant_name(arm), 2), loc="left")
    for ax in axes[-1]:
        ax.set_xlabel(r"mask probability $\sigma(m)$")
    for ax in axes[:, 0]:
        ax.set_ylabel("weights (%)")
    legend_below(figure, axes, 2)
    hand_over(figure, pd.concat(numbers))
    return figure
