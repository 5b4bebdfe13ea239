"""The numbers that the book's figures plot, never their pixels."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot

from dltlib import catalogue, claims, criteria, experiments, figures, runs, storage
from dltlib.errors import UserError

BEST, WORST = "large_final/rewind/zero", "small_final/rewind/zero"
DENSITIES = (1.0, 0.5, 0.25, 0.125)


@pytest.fixture
def table() -> pd.DataFrame:
    """Two arms, three seeds; BEST stays at 0.9 (seeds 0.89, 0.90, 0.91), WORST falls by 0.1."""
    return pd.DataFrame(
        [
            {
                "arm": arm,
                "seed": seed,
                "round": number,
                "density": density,
                "test_accuracy": 0.89 + 0.01 * seed - fall * number,
            }
            for arm, fall in ((BEST, 0.0), (WORST, 0.1))
            for seed in range(3)
            for number, density in enumerate(DENSITIES)
        ]
    )


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def weights(count: int = 500, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(w_i, w_f) of a made-up layer, with flipped signs among them."""
    generator = torch.Generator().manual_seed(seed)
    initial = torch.randn(count, generator=generator)
    return initial, initial + 0.7 * torch.randn(count, generator=generator)


# --- styles and labels ------------------------------------------------------------------------


def test_every_arm_of_every_experiment_has_a_colour_of_its_own() -> None:
    for experiment in catalogue.EXPERIMENTS.values():
        if experiment.kind in ("criterion_masks", "stopping_rules"):
            continue  # drawn in parts; a table
        if experiment.name == "learning_rates":
            continue  # a table, too
        styles = [figures.style(arm) for arm in experiment.arms]
        assert figures.Style(figures.BLACK) not in styles
        assert len(set(styles)) == len(styles), experiment.name


def test_the_standard_ticket_has_one_colour_and_opposites_share_theirs() -> None:
    assert figures.style("large_final/rewind/zero") == figures.style("large_final")
    assert figures.style("movement/rewind/zero") == figures.style("movement/initial/plain")
    for name in catalogue.PAPER_CRITERIA:
        opposite = criteria.CRITERIA.find(name).opposite
        if opposite:
            assert figures.style(name).color == figures.style(opposite).color
            assert figures.style(name).dashes != figures.style(opposite).dashes


@pytest.mark.parametrize("values", catalogue.MASK_VALUES)
def test_a_mask_with_a_fourth_part_is_drawn_as_its_like_without(values: str) -> None:
    criterion = f"large_final_same_sign/{values}/plain"
    assert figures.style(f"{criterion}/epoch=5") == figures.style(criterion)
    learned = f"learned/{values}/rescaled"
    assert figures.style(f"{learned}/rate=50") == figures.style(learned)
    assert figures.style(learned) != figures.style("unheard/of/arm")


def test_a_late_arm_has_the_colour_of_its_like_and_dashes_of_its_own() -> None:
    likes = ["large_final/rewind/zero", "small_final/rewind/zero", "large_final/constant/zero"]
    for like in likes:
        name, action, end = like.split("/")
        late = [f"{name}/{action}@{k}/{end}" for k in (1, 50, 100, 500)]
        late += [f"{name}@100/{action}/{end}", f"{name}@100/{action}@100/{end}"]
        styles = [figures.style(arm) for arm in (like, *late)]
        assert {one.color for one in styles} == {styles[0].color}
        assert len(set(styles)) == len(styles)
        for one in styles:  # on and off lengths, in turns
            assert len(one.dashes) % 2 == 0
            assert all(length > 0 for length in one.dashes)
    reinit = figures.style("large_final/reinit/zero").color
    assert figures.style("large_final/reinit@100/zero").color == reinit
    assert figures.style("movement@100").color == figures.style("movement").color


def test_labels_keep_what_differs() -> None:
    assert figures.labels([BEST, WORST]) == {BEST: "large_final", WORST: "small_final"}
    mixed = ["movement/initial/plain", "movement/constant/plain", "trained"]
    assert list(figures.labels(mixed).values()) == [
        "movement / initial",
        "movement / constant",
        "trained",
    ]
    assert figures.labels([BEST]) == {BEST: "large_final"}


# --- curves -----------------------------------------------------------------------------------


def test_curves_are_means_with_students_interval(table: pd.DataFrame) -> None:
    known = figures.curves(table)
    assert list(known["arm"]) == [BEST] * 4 + [WORST] * 4
    assert list(known["density"]) == [*DENSITIES, *DENSITIES]
    np.testing.assert_allclose(known["mean"], [0.9] * 4 + [0.9, 0.8, 0.7, 0.6])
    # Three values 0.01 apart: deviation 0.01, and 4.302653 is Student's 97.5 % point at 2.
    reach = 4.302653 * 0.01 / math.sqrt(3)
    np.testing.assert_allclose(known["high"] - known["mean"], reach, rtol=1e-5)
    np.testing.assert_allclose(known["mean"] - known["low"], reach, rtol=1e-5)
    assert set(known["seeds"]) == {3}


def test_curves_follow_the_order_asked_for_and_know_short_names(table: pd.DataFrame) -> None:
    assert list(figures.curves(table, ["small_final", BEST])["arm"].unique()) == [WORST, BEST]
    with pytest.raises(UserError, match="no arm 'large_init'.*large_final/rewind/zero"):
        figures.curves(table, ["large_init"])
    with pytest.raises(UserError, match="no column 'speed'.*test_accuracy"):
        figures.curves(table, column="speed")


def test_curves_of_one_seed_have_no_interval_and_leave_out_what_was_not_measured(
    table: pd.DataFrame,
) -> None:
    one = figures.curves(table[table["seed"] == 0])
    assert one["low"].isna().all()
    table.loc[table["round"] == 0, "test_accuracy"] = math.nan
    assert figures.curves(table)["round"].min() == 1


def test_two_seeds_are_two_points_and_three_a_band(table: pd.DataFrame) -> None:
    def points(some: pd.DataFrame) -> list[list[float]]:
        ax = figures.accuracy_curves(some, [WORST]).axes[0]
        lines = [line for line in ax.get_lines() if line.get_marker() == "."]
        return sorted(list(line.get_ydata()) for line in lines)

    two = table[table["seed"] < 2]
    of_seed = [
        100
        * two[(two["arm"] == WORST) & (two["seed"] == seed)].sort_values("round", ascending=False)[
            "test_accuracy"
        ]
        for seed in (0, 1)
    ]
    np.testing.assert_allclose(points(two), sorted(list(own) for own in of_seed))
    assert points(table) == []


def test_lead_pairs_by_seed(table: pd.DataFrame) -> None:
    shuffled = table.sample(frac=1, random_state=0)  # pairing must not rest on the order of rows
    known = figures.curves(figures.lead(shuffled, BEST), [WORST], "lead")
    np.testing.assert_allclose(known["mean"], [0.0, -0.1, -0.2, -0.3], atol=1e-12)
    # Every seed falls alike, so that the difference has no spread although the seeds have.
    np.testing.assert_allclose(known["low"], known["high"], atol=1e-12)


def test_dense_baseline_counts_each_seed_once(table: pd.DataFrame) -> None:
    more = pd.concat([table, table[table["seed"] == 2].assign(arm="random/rewind/zero")])
    assert figures.dense_baseline(more) == claims.interval([0.89, 0.90, 0.91])
    with pytest.raises(UserError, match="no dense baseline"):
        figures.dense_baseline(table[table["round"] > 0])


def test_accuracy_table_takes_the_nearest_rounds(table: pd.DataFrame) -> None:
    frame = figures.accuracy_table(table, [1.0, 0.27, 0.12, 0.01], decimals=1)
    assert list(frame.columns) == ["100 %", "25 %", "12 %"]  # 0.01 was never reached
    assert frame.loc["small_final", "25 %"] == "70.0 ± 2.5"
    assert figures.accuracy_table(table[table["seed"] == 0], [0.5]).iloc[0, 0] == "89.00"


# --- what is drawn ----------------------------------------------------------------------------


def test_accuracy_curves_draw_the_numbers_of_curves(table: pd.DataFrame) -> None:
    figure = figures.accuracy_curves(table, zoom=(85, 95))
    known = figures.curves(table)
    assert len(figure.axes) == 2
    assert figure.axes[0].get_ylim() == (85, 95)
    for ax in figure.axes:
        drawn = [line for line in ax.get_lines() if len(line.get_xdata()) == 4]
        assert [line.get_color() for line in drawn] == [figures.BLUE] * 2  # a pair: one colour
        assert [line.is_dashed() for line in drawn] == [False, True]
        for line, (_, rows) in zip(drawn, known.groupby("arm"), strict=True):
            order = np.argsort(line.get_xdata())
            expected = rows.sort_values("density")
            np.testing.assert_allclose(line.get_xdata()[order], 100 * expected["density"])
            np.testing.assert_allclose(line.get_ydata()[order], 100 * expected["mean"])
        for band, (_, rows) in zip(ax.collections, known.groupby("arm"), strict=True):
            corners = band.get_paths()[0].vertices
            np.testing.assert_allclose(corners[:, 1].max(), 100 * rows["high"].max())
            np.testing.assert_allclose(corners[:, 1].min(), 100 * rows["low"].min())
        (baseline,) = [line for line in ax.get_lines() if line.get_label() == "dense network"]
        assert baseline.get_ydata() == pytest.approx([90, 90])
    bottom = figure.axes[-1]
    left, right = bottom.get_xlim()
    assert bottom.get_xscale() == "log"
    assert left > 100 > 12.5 > right  # dense left, sparse right
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "large_final",
        "small_final",
        "dense network",
    ]


# --- regions of the (w_i, w_f) plane ----------------------------------------------------------

REGIONS = [
    *(name for name in catalogue.PAPER_CRITERIA if name != "random"),
    "large_final_same_sign",
    "large_final_diff_sign",
]


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("keep_fraction", [0.02, 0.2, 0.5])
def test_a_region_holds_exactly_what_the_criterion_keeps(name: str, keep_fraction: float) -> None:
    initial, final = weights()
    margin = figures.criterion_margin(name, initial, final, keep_fraction)(initial, final)
    mask = figures.kept(name, initial, final, keep_fraction)
    assert mask.sum() == round(500 * keep_fraction)
    assert (margin[mask] >= 0).all()
    assert (margin[~mask] <= 0).all()
    # On the line itself the order of the weights decides among equal scores: one pair of equal
    # ranks in the joint criteria; where fewer weights than wanted have the sign, all the others.
    if "sign" not in name or keep_fraction < 0.2:
        assert (margin[~mask] == 0).sum() <= ("_init_" in name)


def test_thresholds_by_hand() -> None:
    initial = torch.tensor([1.0, -2.0, 3.0, -4.0])
    final = torch.tensor([4.0, -1.0, 3.0, -2.0])
    points = torch.tensor([2.9, 3.1]), torch.tensor([0.0, 0.0])
    margin = figures.criterion_margin("large_init", initial, final, 0.5)
    assert margin(*points).tolist() == pytest.approx([-0.1, 0.1])
    # magnitude increases: 3, -1, 0, -2; the best two end at 0
    margin = figures.criterion_margin("magnitude_increase", initial, final, 0.5)
    assert margin(*points).tolist() == pytest.approx([-2.9, -3.1])
    # ranks of |w_f|: 3 0 2 1, of |w_i|: 0 1 2 3, the smaller: 0 0 2 1; the best two have at least
    # rank 1, which is 2 in both
    margin = figures.criterion_margin("large_init_large_final", initial, final, 0.5)
    assert margin(torch.tensor([2.0, 3.0, 1.9]), torch.tensor([2.0, 1.9, 2.0])).tolist() == (
        pytest.approx([0.0, -0.1, -0.1])
    )


@pytest.mark.parametrize("name", ["random", "snip", "grad"])
def test_what_is_no_function_of_the_weights_has_no_region(name: str) -> None:
    with pytest.raises(UserError, match="no region to draw"):
        figures.criterion_margin(name, *weights(), 0.5)


def test_regions_are_shaded_where_the_margin_says() -> None:
    initial, final = (values.numpy() for values in weights())
    figure = figures.criterion_regions(initial, final, 0.2, points=300)
    assert [ax.get_title() for ax in figure.axes] == list(catalogue.PAPER_CRITERIA)
    for ax in figure.axes:
        pruned, kept = ax.collections[-2:]
        assert len(pruned.get_offsets()) + len(kept.get_offsets()) == 300
        if ax.get_title() == "random":
            continue
        mask = figures.kept(ax.get_title(), *map(torch.from_numpy, (initial, final)), 0.2)[:300]
        np.testing.assert_allclose(
            kept.get_offsets(), np.stack([initial, final], axis=1)[:300][mask], rtol=1e-6
        )
        # Shading follows the kept points: the filled path holds them (away from its very edge).
        margin = figures.criterion_margin(
            ax.get_title(), *map(torch.from_numpy, (initial, final)), 0.2
        )
        w_i, w_f = (torch.from_numpy(values[:300]).double() for values in (initial, final))
        reach = ax.get_xlim()[1]
        clear = (margin(w_i, w_f).abs() > 0.05) & (w_i.abs() < reach) & (w_f.abs() < reach)
        (shade,) = ax.collections[0].get_paths()
        inside = shade.contains_points(np.stack([w_i, w_f], axis=1))
        assert (inside == (margin(w_i, w_f) >= 0).numpy())[clear.numpy()].all()


def test_a_series_shows_one_criterion_at_several_keep_fractions() -> None:
    initial, final = (values.numpy() for values in weights())
    figure = figures.region_series(initial, final, "large_final", (0.8, 0.2), points=100)
    assert [ax.get_title() for ax in figure.axes] == ["keep 80 %", "keep 20 %"]
    for ax, share in zip(figure.axes, (0.8, 0.2), strict=True):
        threshold = np.sort(np.abs(final))[-round(500 * share)]
        assert len(ax.collections[-1].get_offsets()) == (np.abs(final[:100]) >= threshold).sum()


def test_overlap_by_hand() -> None:
    initial, final = np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 1.0, 3.5, 2.0])
    shares = figures.overlap(initial, final, 0.5, ["large_init", "large_final", "small_final"])
    # large_init keeps 3rd and 4th, large_final 1st and 3rd, small_final 2nd and 4th
    assert shares.loc["large_init"].tolist() == [1.0, 0.5, 0.5]
    assert shares.loc["large_final"].tolist() == [0.5, 1.0, 0.0]
    (ax,) = figures.overlap_chart(shares).axes
    assert [text.get_text() for text in ax.texts[:3]] == ["100", "50", "50"]


# --- smaller figures --------------------------------------------------------------------------


def test_top_of_scale_and_ranking(table: pd.DataFrame) -> None:
    # From the mean of the third round to the upper end of the dense network's interval.
    low, high = 70, 90 + 4.3027 / 3**0.5
    room = 0.2 * (high - low)
    found = figures.top_of_scale(table, ["small_final"], 0.2)
    assert found == pytest.approx((low - room, high + room), rel=1e-5)
    two = table[table["seed"] < 2]  # have no interval
    assert figures.top_of_scale(two, ["small_final"], 0.2) == pytest.approx((65.5, 93.5))
    assert figures.ranked(table) == ["large_final", "small_final"]
    assert figures.ranked(table.assign(test_accuracy=1 - table["test_accuracy"]), 2) == [
        "small_final",
        "large_final",
    ]


def test_histories_mark_each_seeds_first_best_look() -> None:
    history = np.array([[0.5, 0.6], [0.9, 0.7], [0.9, 0.8]])  # [look, seed]
    figure = figures.history_curves(np.array([10, 20, 30]), {"one": history}, {"one": "random"})
    mean, dots = figure.axes[0].get_lines()
    assert mean.get_ydata() == pytest.approx([55, 80, 85])
    assert dots.get_xdata().tolist() == [20, 30]
    assert dots.get_ydata() == pytest.approx([90, 80])


def test_pictures_leave_pruned_weights_out() -> None:
    picture = np.arange(4.0).reshape(1, 2, 2)
    pruned = np.where(picture > 1, np.nan, picture)
    figure = figures.unit_pictures({"all": picture, "some": pruned}, reach=3)
    drawn = [ax.get_images()[0].get_array() for ax in figure.axes[:2]]
    assert drawn[0].tolist() == [[0, 1], [2, 3]]
    assert drawn[1].mask.tolist() == [[False, False], [True, True]]


# --- live cells -------------------------------------------------------------------------------


def test_a_plan_runs_in_memory_and_leaves_nothing(tmp_path, monkeypatch) -> None:
    for variable in ("DLTLIB_RUNS", "DLTLIB_RECORDS"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    plan = experiments.plan("criteria", arms=("large_final", "random"), seeds=2, rounds=1, epochs=1)
    table = runs.table(plan)
    assert table[["arm", "seed", "round"]].apply(tuple, axis=1).tolist() == [
        (f"{name}/rewind/zero", seed, number)
        for name in ("large_final", "random")
        for seed in (0, 1)
        for number in (0, 1)
    ]
    assert not list(tmp_path.iterdir())
    from dltlib import records

    runs.run(plan)
    stored = records.read(experiments.name(plan), storage.run_directory(plan))
    pd.testing.assert_frame_equal(table, stored.table, check_dtype=False)
