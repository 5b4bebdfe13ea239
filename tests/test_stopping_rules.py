"""One dense training read by several rules: against torch's own loss, and against tickets' rows."""

import math
from pathlib import Path
from typing import Any

import pytest
import reference
import torch
from torch.nn import functional

from dltlib import checkpoints, experiments, networks, records, runs, storage, training
from dltlib.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"seeds": 3, "epochs": 3, "width": 0.2, "train_images": 300, "batch_size": 20}


def small(network: str = "fc", **changes: object) -> experiments.Plan:
    options = SMALL | {"dataset": "digits", "evaluate_every": 4, "learning_rate": 0.02}
    return experiments.plan("early_stopping", network, "tiny", **(options | changes))


@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_the_mean_loss_is_torchs_own(name: str) -> None:
    data = reference.dataset(train=130)
    network = networks.build(name, data.input_shape, 0.2)
    weights, biases = networks.initial_weights(network, [0, 3]), networks.initial_biases(network, 2)
    for bias in biases:
        bias.add_(torch.randn(bias.shape, generator=torch.Generator().manual_seed(1)) / 10)
    images = data.train.images.float().div(255)
    logits = networks.forward(network, weights, biases, images[None])
    expected = [functional.cross_entropy(one, data.train.labels).item() for one in logits]
    found = training.mean_loss(network, weights, biases, data.train)
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_each_rule_reads_the_training_where_it_says() -> None:
    plan = small()
    table = runs.table(plan).set_index(["arm", "seed"])
    data, seeds = experiments.load_dataset(plan), list(range(plan.seeds))
    network = experiments.build_network(plan)
    dense = networks.initial_weights(network, seeds)
    full = [torch.ones_like(weight, dtype=torch.bool) for weight in dense]
    seen = []

    def look(iteration: int, weights: list, biases: list) -> None:
        loss, right = [], []
        for split in (data.validation, data.test):
            images = split.images.float().div(255)
            logits = networks.forward(network, weights, biases, images[None])
            loss.append([functional.cross_entropy(one, split.labels).item() for one in logits])
            right.append((logits.argmax(-1) == split.labels).double().mean(-1).tolist())
        seen.append((iteration, loss[0], *right))

    session = training.Session(look=look)
    training.train(network, data, dense, full, seeds, plan.settings(), session)
    assert [iteration for iteration, *_ in seen] == [*range(4, 45, 4), 45]
    for seed in seeds:
        looks = [(at, *(values[seed] for values in measured)) for at, *measured in seen]
        read = {
            "accuracy": max(looks, key=lambda look: look[2]),  # the first of equals
            "loss": min(looks, key=lambda look: look[1]),
            "last": looks[-1],
        }
        for rule, (iteration, loss, validation, test) in read.items():
            row = table.loc[rule, seed]
            assert row["early_iteration"] == iteration
            assert row["validation_loss"] == pytest.approx(loss, rel=1e-6)
            assert row["validation_accuracy"] == pytest.approx(validation, abs=1e-12)
            assert row["test_accuracy"] == pytest.approx(test, abs=1e-12)
    stops = table["early_iteration"].unstack("arm")
    assert (stops["loss"] != stops["accuracy"]).any(), "or the rules are one here"
    assert (stops["loss"] < stops["last"]).any()


def test_best_accuracy_and_last_are_those_of_the_dense_network_of_tickets() -> None:
    found = runs.table(small()).set_index(["arm", "seed"])["test_accuracy"]
    of = small()
    names = (*SMALL, "dataset", "evaluate_every", "learning_rate")
    options = {name: getattr(of, name) for name in names}
    tickets = experiments.plan("criteria", "fc", "tiny", arms=("random",), rounds=0, **options)
    dense = runs.table(tickets).set_index("seed")
    assert found["accuracy"].tolist() == dense["test_accuracy"].tolist()
    assert found["last"].tolist() == dense["final_test_accuracy"].tolist()


def test_one_rule_alone_says_what_it_says_among_others() -> None:
    every = runs.table(small())
    alone = runs.table(small(arms=("loss",)))
    theirs = every[every["arm"] == "loss"].reset_index(drop=True)
    assert alone.equals(theirs)


def test_a_training_that_diverges_is_read_at_its_first_look() -> None:
    table = runs.table(small(learning_rate=1e30, seeds=1)).set_index("arm")
    assert math.isnan(table.loc["last", "validation_loss"])
    assert table.loc["loss", "early_iteration"] in (4, table.loc["accuracy", "early_iteration"])


def test_it_rests_before_its_first_look_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path))
    some = small(evaluate_every=1000, epochs=2)
    straight = runs.table(some)
    monkeypatch.setattr(checkpoints, "REST", 0.0)
    rest = checkpoints.Checkpoint.rest

    def stop(checkpoint: checkpoints.Checkpoint, *state: Any) -> None:
        rest(checkpoint, *state)
        if checkpoint.path:  # else it is the little run that takes the fingerprint
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoint, "rest", stop)
        with pytest.raises(KeyboardInterrupt):
            runs.run(some)
    (file,) = storage.run_directory(some).glob("shard-*.safetensors")
    assert checkpoints.Checkpoint.open(file, some.hash).training() is not None
    record = runs.run(some)
    resumed = records.read(record.stem, record.parent).table
    for column in ("arm", "seed", "early_iteration", "test_accuracy", "validation_loss"):
        assert resumed[column].tolist() == straight[column].tolist()


def test_rates_that_decide_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="does not use rescaled_rate: leave it out"):
        small(rescaled_rate=3.0)


def test_another_rule_is_refused() -> None:
    with pytest.raises(UserError, match="a rule of when to stop is accuracy, loss or last"):
        small(arms=("patience",))
