"""The numbers plotted for mask-1 and mask-0 actions, and for what pruned weights were doing."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from dltlib import actions, claims, figures, networks, page
from dltlib.errors import UserError
from dltlib.history import History
from dltlib.records import Record

ZERO, OWN = "large_final/rewind/zero", "large_final/rewind/move_to_zero"
LAYER = networks.Layer("dense1", "dense", (30, 20))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def record(arms: dict[str, tuple[float, ...]], **columns: tuple[float, ...]) -> Record:
    """Three seeds (0.01 apart) with these accuracies round by round; the density halves. Columns
    (one value a round) are the same for all arms."""
    rows = [
        {
            "arm": arm,
            "seed": seed,
            "round": number,
            "density": 0.5**number,
            "test_accuracy": accuracy + 0.01 * seed,
            **{name: values[number] for name, values in columns.items()},
        }
        for arm, accuracies in arms.items()
        for seed in range(3)
        for number, accuracy in enumerate(accuracies)
    ]
    plan = {"experiment": "criteria", "network": "fc", "preset": "tiny"}
    return Record(pd.DataFrame(rows), {"plan": plan})


def lines(figure: Figure, panel: int) -> dict[str, tuple[list[float], list[float]]]:
    """x and y of the lines that a panel's labels stand for.

    Seaborn labels an empty line and draws another one of the same colour and dashes.
    """
    known, drawn = {}, {}
    for line in figure.axes[panel].get_lines():
        look = (line.get_color(), str(line.get_linestyle()))
        if not line.get_label().startswith("_"):
            known[look] = line.get_label()
        if len(line.get_xdata()):
            drawn[look] = ([*map(float, line.get_xdata())], [*map(float, line.get_ydata())])
    return {label: drawn[look] for look, label in known.items()}


# --- starts and fates -------------------------------------------------------------------------


def starts() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    initial = networks.draw(LAYER, "test")
    everything = torch.ones_like(initial, dtype=torch.bool)[None]
    history = History(LAYER, [0], 1, initial[None], initial[None], everything)
    return initial.numpy().ravel(), {
        name: action.values(history).numpy().ravel()
        for name, action in actions.MASK1_ACTIONS.items()
    }


def test_start_panels_say_how_many_weights_kept_their_sign() -> None:
    initial, values = starts()
    titles = [ax.get_title() for ax in figures.start_scatter(initial, values).axes]
    shares = {
        title.split("\n")[0]: int(title.split("\n")[1].split(" ")[0]) for title in titles if title
    }
    assert list(shares) == list(actions.MASK1_ACTIONS)
    for name, share in shares.items():
        if name == "rewind" or name.startswith("signed_"):
            assert share == 100
        else:
            assert 40 < share < 60


def test_start_panels_draw_points_from_all_over_the_layer() -> None:
    initial, values = starts()
    figure = figures.start_scatter(initial, values, points=50)
    for name, ax in zip(values, [ax for ax in figure.axes if ax.get_title()], strict=True):
        drawn = np.concatenate([dots.get_offsets() for dots in ax.collections])
        assert len(drawn) == 50
        pairs = {
            (float(w_i), float(start)) for w_i, start in zip(initial, values[name], strict=True)
        }
        assert {(float(w_i), float(start)) for w_i, start in drawn} <= pairs
        assert float(initial[-1]) in drawn[:, 0]


@pytest.mark.parametrize("name", actions.MASK0_ACTIONS)
def test_fates_by_hand(name: str) -> None:
    initial = torch.tensor([0.5, 0.5, -0.5, -0.5])
    final = torch.tensor([0.1, 0.9, -0.1, -0.9])  # shrank, grew, shrank, grew
    mask = torch.tensor([True, True, False, False])
    action = actions.MASK0_ACTIONS[name]
    layer = networks.Layer("dense1", "dense", (4,))
    everything = torch.ones(4, dtype=torch.bool)
    history = History(layer, [0], 1, initial[None], final[None], everything[None])
    if action.kept:
        mask = action.kept(history)[0]
    history = dataclasses.replace(history, mask=mask[None])
    start = actions.start_values(history, "rewind", name)[0]
    got = figures.fates(initial.numpy(), start.numpy(), mask.numpy()).tolist()
    trained, from_zero, at_zero, at_initial = figures.FATES
    assert (
        got
        == {
            "zero": [trained, trained, at_zero, at_zero],
            "freeze_init": [trained, trained, at_initial, at_initial],
            "variant_1": [trained, trained, at_zero, at_initial],
            "variant_2": [from_zero, trained, at_zero, at_initial],
            "move_to_zero": [at_zero, trained, at_zero, trained],
        }[name]
    )


def test_fates_are_of_rewinding_only() -> None:
    with pytest.raises(ValueError, match="neither from w_i nor from 0"):
        figures.fates(np.array([0.5]), np.array([0.4]), np.array([True]))


def test_fate_panels_draw_every_fate_where_it_belongs() -> None:
    initial, final = np.array([0.5, 0.4, -0.5]), np.array([0.1, 0.9, -0.2])
    outcome = np.array([figures.FATES[2], figures.FATES[0], figures.FATES[3]])
    ax = figures.fate_scatter(initial, final, {"an action": outcome}).axes[0]
    drawn = {dots.get_label(): dots.get_offsets().data.tolist() for dots in ax.collections}
    assert drawn == {
        figures.FATES[0]: [[0.4, 0.9]],
        figures.FATES[1]: [],
        figures.FATES[2]: [[0.5, 0.1]],
        figures.FATES[3]: [[-0.5, -0.2]],
    }


# --- curves -----------------------------------------------------------------------------------


def test_leads_are_paired_by_seed_and_in_points() -> None:
    arm = "large_final/rewind/freeze_init"
    table = record({ZERO: (0.9, 0.9, 0.8), arm: (0.9, 0.88, 0.7)}).table
    figure = figures.lead_curves(table, ZERO, {"one": [arm]})
    left, points = lines(figure, 0)["freeze_init"]
    assert left == pytest.approx([25, 50])  # without the dense network, which all share
    assert points == pytest.approx([-10, -2])
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert sorted({round(float(value), 6) for value in band}) == [-10, -2]  # seeds agree: no width


def test_shares_leave_out_the_rounds_before_the_first() -> None:
    table = record({ZERO: (0.9, 0.9, 0.9)}, kept_flipped_share=(math.nan, 0.5, 0.25)).table
    figure = figures.share_curves(table, "kept_flipped_share", ylabel="share", first_round=2)
    assert lines(figure, 0)["large_final"] == ([25], [25])


def test_every_panel_shows_its_own_record() -> None:
    tables = {name: record({ZERO: (top, 0.5)}).table for name, top in (("a", 0.9), ("b", 0.7))}
    figure = figures.accuracy_panels(tables)
    assert [ax.get_title("left") for ax in figure.axes] == ["a", "b"]
    for panel, top in enumerate((91, 71)):
        drawn = lines(figure, panel)
        assert drawn["large_final"][1] == pytest.approx([51, top])
        assert drawn["dense network"][1] == pytest.approx([top, top])


# --- an arm that sets its own density ---------------------------------------------------------


def own_pace() -> pd.DataFrame:
    """OWN lies half way, in the logarithm, between two rounds of ZERO, then beyond its last."""
    table = record({ZERO: (0.9, 0.8, 0.7), OWN: (0.9, 0.87, 0.6)}).table
    table.loc[(table["arm"] == OWN) & (table["round"] == 1), "density"] = 0.5**0.5
    table.loc[(table["arm"] == OWN) & (table["round"] == 2), "density"] = 0.1
    return table


def test_the_reference_is_interpolated_in_the_logarithm_of_the_density() -> None:
    beside = figures.at_same_density(own_pace(), OWN, ZERO)
    assert beside["round"].tolist() == [1, 2] * 3
    first = beside[beside["round"] == 1]
    assert first["reference"].tolist() == pytest.approx([0.85, 0.86, 0.87])
    assert first["lead"].tolist() == pytest.approx([0.02] * 3)
    assert beside.loc[beside["round"] == 2, "lead"].isna().all()  # never pruned so far


def test_own_density_draws_densities_by_round_and_accuracy_by_density() -> None:
    figure = figures.own_density(own_pace(), OWN, ZERO)
    upper = lines(figure, 0)
    assert upper["move_to_zero"][0] == [0, 1, 2]
    assert upper["move_to_zero"][1] == pytest.approx([100, 100 * 0.5**0.5, 10])
    assert upper["zero"][1] == pytest.approx([100, 50, 25])
    # Error bars carry no labels: the lines with a marker, in the order drawn.
    own, zero = (line for line in figure.axes[1].get_lines() if line.get_marker() == "o")
    assert own.get_ydata() == pytest.approx([91, 88, 61])
    assert zero.get_xdata() == pytest.approx([100, 50, 25])


# --- what pruned weights were doing -----------------------------------------------------------

NAMES = ("large_final/rewind/zero", "small_final/rewind/zero")


def shrinking() -> Record:
    """Half, then a quarter of all weights are pruned; 80 % of the first shrank, 20 % of these."""
    return record(
        {NAMES[0]: (0.9, 0.9, 0.9), NAMES[1]: (0.9, 0.5, 0.3)},
        pruned_shrunk_share=(math.nan, 0.8, 0.2),
        shrunk_share=(math.nan, 0.4, 0.1),
    )


def test_shares_count_every_round_by_what_it_prunes() -> None:
    shares = figures.shrunk_shares(shrinking())
    row = shares.loc[NAMES[0]]
    assert row["pruned"].mean == pytest.approx((80 * 2 + 20) / 3)
    assert row["candidates"].mean == pytest.approx((40 * 2 + 10) / 3)
    assert row["gap"].mean == pytest.approx(row["pruned"].mean - row["candidates"].mean)
    evidence = claims.Evidence({("criteria", "fc"): shrinking()}, "fc")
    verdicts = claims.share_among_pruned(NAMES[0], "pruned_shrunk_share")(evidence)
    assert row["pruned"].mean == pytest.approx(verdicts.mean())  # the scorecard's number


def test_the_chart_puts_the_most_accurate_criterion_on_top() -> None:
    evidence = shrinking()
    at = evidence.table[evidence.table["round"] == 2]
    figure = figures.shrunk_chart(figures.shrunk_shares(evidence), figures.curves(at), "a title")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["small_final", "large_final"]
    dots = [line for line in right.get_lines() if line.get_marker() == "o"]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [
        (pytest.approx(31), 0),
        (pytest.approx(91), 1),
    ]
    shares = [line.get_xdata()[0] for line in left.get_lines() if line.get_marker() == "o"]
    assert shares == pytest.approx([30, 60, 30, 60])  # candidates, pruned, of both


def test_shares_round_by_round() -> None:
    figure = figures.shrunk_by_round(shrinking().table, ["large_final"])
    drawn = lines(figure, 0)
    assert drawn["of those pruned"] == ([50, 25], pytest.approx([80, 20]))
    assert drawn["of all candidates"] == ([50, 25], pytest.approx([40, 10]))


def test_an_arm_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="no arm 'movement'"):
        figures.shrunk_by_round(shrinking().table, ["movement"])


# --- words for them ---------------------------------------------------------------------------


def test_differences_and_intervals_in_words() -> None:
    said = page.apart(-0.012, -0.02, 0.004, "rewinding")
    assert said == "1.20 [−0.40, 2.00] points below rewinding"
    assert page.apart(0.01, math.nan, math.nan, "it") == "1.00 points above it"
    assert claims.bracketed(-0.13, -0.9, 0.64) == "−0.13 [−0.90, 0.64]"
    assert claims.bracketed(-0.5, math.nan, math.nan) == "−0.50"
    assert claims.bracketed(math.nan, math.nan, math.nan) == ""


def test_comparisons_of_claims_as_a_table() -> None:
    result = claims.judge("signs-3", {}, "fc")
    table = claims.comparisons([result])
    assert table.index.tolist() == ["signed_constant − reinit"]
    assert table.iloc[0].to_dict() == {
        "claim": "signs-3",
        "effect": "",
        "threshold": "0.00",
        "verdict": claims.NOT_MEASURED,
    }


def test_a_reduced_scale_is_said() -> None:
    plan = {"network": "conv2", "dataset": "cifar10", "width": 0.125, "train_images": 6000}
    small, whole = Record(pd.DataFrame(), {"plan": plan}), {"width": 1.0, "train_images": None}
    assert small.scale() == "Conv2 on CIFAR-10, width 0.125, 6,000 training images"
    assert Record(pd.DataFrame(), {"plan": plan | whole}).scale() == "Conv2 on CIFAR-10"
