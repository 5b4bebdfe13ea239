"""The numbers that the figures of the chapter on supermasks plot, and the conveniences it uses."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot

from dltlib import actions, claims, figures, networks, supermasks
from dltlib.errors import UserError
from dltlib.records import Record

W_I, CONSTANT = "large_final/initial/plain", "large_final/constant/plain"
LEARNED = list(figures.LEARNED)
LAYERS = ("dense1", "output")


@pytest.fixture
def criterion_table() -> pd.DataFrame:
    """Two arms, two seeds, three rounds; validation and test disagree about the best round."""
    validation = {(W_I, 0): [0.9, 0.5, 0.6], (W_I, 1): [0.9, 0.7, 0.7]}
    validation |= {(CONSTANT, 0): [0.1, 0.8, 0.2], (CONSTANT, 1): [0.1, 0.2, 0.8]}
    rows = [
        {
            "arm": arm,
            "seed": seed,
            "round": number,
            "density": 0.5**number,
            "validation_accuracy": share,
            "test_accuracy": 0.1 * number + 0.01 * seed,
        }
        for (arm, seed), shares in validation.items()
        for number, share in enumerate(shares)
    ]
    trained = {"arm": "trained", "round": 0, "density": 1.0, "validation_accuracy": 0.95}
    rows += [trained | {"seed": seed, "test_accuracy": 0.97 + 0.01 * seed} for seed in (0, 1)]
    return pd.DataFrame(rows)


@pytest.fixture
def learned_table() -> pd.DataFrame:
    """Four arms, two seeds, looks at epochs 0, 5 and 10."""
    rng = np.random.default_rng(0)
    rows = []
    for place, arm in enumerate(LEARNED):
        for seed in (0, 1):
            for epoch in (0, 5, 10):
                histogram = rng.random(20)
                rows.append(
                    {
                        "arm": arm,
                        "seed": seed,
                        "round": epoch,
                        "density": 0.5,
                        "layer_density": [0.5 + 0.01 * epoch, 0.5 + 0.1 * seed],
                        "test_accuracy": 0.1 + 0.08 * epoch + 0.01 * seed + 0.001 * place,
                        "probability_histogram": (histogram / histogram.sum()).tolist(),
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def line(ax, label: str):
    (found,) = [one for one in ax.get_lines() if one.get_label() == label]
    return found


def curves_in(ax):
    """Lines of three points; the seeds' own points are joined by none."""
    return [
        one
        for one in ax.get_lines()
        if len(one.get_xdata()) == 3 and one.get_linestyle() not in ("None", "none")
    ]


def test_best_masks_are_chosen_by_validation_and_are_never_the_whole_network(criterion_table):
    best = figures.best_masks(criterion_table, [W_I, CONSTANT]).set_index(["arm", "seed"])
    # Round 0 has the best validation accuracy of W_I; of its equal rounds the one that keeps most.
    assert best["round"].to_dict() == {
        (W_I, 0): 2,
        (W_I, 1): 1,
        (CONSTANT, 0): 1,
        (CONSTANT, 1): 2,
    }
    assert best.loc[(CONSTANT, 1), "density"] == 0.25
    evidence = claims.Evidence(
        {("supermasks", "fc"): Record(criterion_table, {"plan": {"network": "fc"}})}, "fc"
    )
    for arm in (W_I, CONSTANT):
        assert claims.criterion_mask(arm)(evidence).tolist() == pytest.approx(
            (100 * best.loc[arm, "test_accuracy"]).tolist()
        )


def test_mask_curves_plot_mean_test_accuracy_in_percent(criterion_table):
    figure = figures.mask_curves(criterion_table, {"a": [W_I], "b": [CONSTANT]})
    upper, lower = figure.axes
    assert (upper.get_title("left"), lower.get_title("left")) == ("a", "b")
    (masked,) = curves_in(upper)
    order = np.argsort(-masked.get_xdata())
    assert masked.get_xdata()[order].tolist() == [100, 50, 25]
    assert masked.get_ydata()[order] == pytest.approx([0.5, 10.5, 20.5])
    assert line(upper, "trained network").get_ydata()[0] == pytest.approx(97.5)
    assert line(upper, "chance").get_ydata()[0] == 10


def test_masks_by_training_time_stand_where_their_training_stopped(criterion_table):
    early = criterion_table[criterion_table["arm"] == W_I].assign(
        arm=f"{W_I}/epoch=1", test_accuracy=lambda rows: rows["test_accuracy"] + 0.3
    )
    first = early["round"] == 0
    early["stop_iteration"] = np.where(first, 100.0 + 20 * early["seed"], np.nan)
    table = pd.concat([criterion_table, early])
    known = figures.by_training_time(table, 5_000).set_index(["kind", "stop", "seed"])
    assert known["iterations"].to_dict() == {
        (W_I, "epoch=1", 0): 100,
        (W_I, "epoch=1", 1): 120,
        (W_I, "end", 0): 5_000,
        (W_I, "end", 1): 5_000,
        (CONSTANT, "end", 0): 5_000,
        (CONSTANT, "end", 1): 5_000,
    }
    assert known["test_accuracy"].to_dict()[W_I, "epoch=1", 1] == pytest.approx(0.1 + 0.01 + 0.3)
    figure = figures.training_time_curves(table, 5_000, 50, {W_I: 44.0})
    initial, constant = figure.axes
    drawn = line(initial, "large_final")
    assert drawn.get_xdata() == pytest.approx([2.2, 100])  # epochs, the mean of the seeds' stops
    assert drawn.get_ydata() == pytest.approx([45.5, 15.5])
    assert line(constant, "large_final").get_xdata() == pytest.approx([100])
    crosses = [one for one in initial.get_lines() if one.get_marker() == "x"]
    assert [one.get_xydata().tolist() for one in crosses] == [[[100.0, 44.0]]]


def test_epoch_curves_plot_mean_accuracy_over_epochs(learned_table):
    trained = claims.Interval(0.98, 0.97, 0.99)
    figure = figures.epoch_curves(
        {"FC": learned_table, "other": learned_table}, {"FC": trained}, window=(80, 100)
    )
    for ax in figure.axes:
        assert ax.get_ylim() == (80, 100)
        assert [one.get_label() for one in curves_in(ax)] == [
            figures.variant_name(arm) for arm in LEARNED
        ]
        for place, arm in enumerate(LEARNED):
            drawn = line(ax, figures.variant_name(arm))
            assert drawn.get_xdata().tolist() == [0, 5, 10]
            expected = [10.5 + 0.1 * place + 8 * epoch for epoch in (0, 5, 10)]
            assert drawn.get_ydata() == pytest.approx(expected)
    assert line(figure.axes[0], "trained weights").get_ydata()[0] == pytest.approx(98)


def test_pixel_shares_and_untouched_pixels_by_hand():
    first = np.array([[1, 1], [1, 0], [0, 0], [1, 1]], bool)  # [pixels, units]
    second = np.array([[1, 1], [1, 1], [0, 1], [0, 0]], bool)
    shares = figures.pixel_shares([first, second], (2, 2))
    assert shares.tolist() == [[1.0, 0.75], [0.25, 0.5]]
    untouched = figures.untouched_pixels([first, second], (2, 2))
    assert untouched.tolist() == [[True, False], [False, False]]


def test_pixel_maps_share_one_scale_around_a_half_and_hide_untouched_pixels():
    shares = {"a": np.array([[1.0, 0.6]]), "b": np.array([[1.0, 0.3]])}
    figure = figures.pixel_maps(shares, np.array([[True, False]]))
    pictures = [ax.images[0] for ax in figure.axes if ax.images]
    assert [picture.get_clim() for picture in pictures] == [(30, 70), (30, 70)]
    assert [picture.get_array().tolist() for picture in pictures] == [[[None, 60]], [[None, 30]]]


def test_layer_densities_keep_every_layer_with_its_own_name(learned_table):
    long = figures.layer_densities(learned_table, LAYERS)
    assert len(long) == 2 * len(learned_table)
    row = long[(long["arm"] == LEARNED[1]) & (long["seed"] == 1) & (long["round"] == 10)]
    assert row.set_index("layer")["density"].to_dict() == pytest.approx(
        {"dense1": 0.6, "output": 0.6}
    )
    figure = figures.layer_density_curves(learned_table, LAYERS)
    drawn = line(figure.axes[0], figures.variant_name(LEARNED[0]))
    assert drawn.get_ydata() == pytest.approx([50, 55, 60])
    assert line(figure.axes[1], figures.variant_name(LEARNED[0])).get_ydata() == pytest.approx(
        [55, 55, 55]
    )


def test_probability_panels_leave_out_epoch_0_and_average_the_seeds(learned_table):
    rows = learned_table[(learned_table["arm"] == LEARNED[2]) & (learned_table["round"] == 10)]
    expected = np.mean(rows["probability_histogram"].tolist(), axis=0)
    assert figures.probability_histogram(learned_table, LEARNED[2], 10) == pytest.approx(expected)
    figure = figures.probability_panels(learned_table)
    steps = {patch.get_label(): patch for patch in figure.axes[2].patches}
    assert list(steps) == ["5 epochs", "10 epochs"]
    values, edges, _ = steps["10 epochs"].get_data()
    assert values == pytest.approx(100 * expected)
    assert edges == pytest.approx(np.linspace(0, 1, 21))


def test_learner_of_variants_lies_over_each_replicas_own_values():
    network = networks.build("fc", (1, 4, 4))
    variants = [("learned", "initial", "plain"), ("learned_identity", "constant", "rescaled")]
    learner = supermasks.Learner.of_variants(network, variants, [3, 5])
    assert learner.rescaled.tolist() == [False, True]
    assert learner.identity.tolist() == [False, True]
    for layer, values, initial in zip(
        network.layers, learner.values, networks.initial_weights(network, [3, 5]), strict=True
    ):
        assert torch.equal(values[0], initial[0])
        assert torch.equal(values[1], actions.signs(initial[1]) * layer.initial_deviation)


@pytest.mark.parametrize(
    "variant",
    [
        ("learned", "inital", "plain"),
        ("learned", "initial", "plian"),
        ("random", "initial", "plain"),
        ("initial", "plain"),
    ],
)
def test_learner_of_unknown_variants_names_the_valid_ones(variant):
    network = networks.build("fc", (1, 4, 4))
    with pytest.raises(UserError, match="initial, constant; plain, rescaled"):
        supermasks.Learner.of_variants(network, [variant], [0])


def test_rescaling_never_changes_the_answers_of_a_network_without_biases():
    """What the chapter proves: a positive factor for each layer only stretches the logits."""
    from dltlib import datasets

    test = datasets.load("digits").test
    network = networks.build("fc", (1, 8, 8))
    initial = networks.initial_weights(network, [0, 0])
    masks = [torch.rand(w.shape, generator=torch.Generator().manual_seed(1)) < 0.3 for w in initial]
    masks = [mask[:1].expand_as(mask) for mask in masks]
    weights = supermasks.apply_masks(initial, masks, torch.tensor([False, True]))
    assert not torch.equal(weights[0][0], weights[0][1])
    plain, rescaled = supermasks.accuracy(network, weights, test)
    assert plain == rescaled
