"""One of each from outside the package, without editing it: how the library is extended.

The module below is what a package of one's own would hold.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch

from dltlib import (
    actions,
    catalogue,
    claims,
    criteria,
    datasets,
    experiments,
    kinds,
    records,
    runs,
)
from dltlib.catalogue import Architecture, DataSource, Experiment
from dltlib.claims import Comparison, claim, ticket
from dltlib.errors import UserError
from dltlib.kinds import tickets
from dltlib.kinds.kind import Kind
from dltlib.registry import Registry

REGISTRIES: tuple[Registry, ...] = (
    catalogue.NETWORKS,
    catalogue.DATASETS,
    catalogue.EXPERIMENTS,
    criteria.CRITERIA,
    actions.MASK1_ACTIONS,
    actions.MASK0_ACTIONS,
    kinds.KINDS,
    claims.CLAIMS,
)


@pytest.fixture(autouse=True)
def _put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path / "records"))
    before: list[Mapping] = [dict(registry) for registry in REGISTRIES]
    readers = dict(datasets._READERS)
    yield
    for registry, content in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(content)
    datasets._READERS.clear()
    datasets._READERS.update(readers)


def striped(directory: Path) -> datasets.Dataset:
    """Twelve-pixel images of three kinds, told apart by which row is lit."""
    labels = torch.arange(90) % 3
    images = torch.zeros(90, 1, 3, 4, dtype=torch.uint8)
    images[torch.arange(90), 0, labels] = 200
    whole = datasets.Split(images, labels)
    return datasets.Dataset("striped", whole.first(60), whole.first(15), whole.first(30), classes=3)


def test_one_of_each_from_outside() -> None:
    @criteria.criterion(r"|w_f|^2 - |w_i|^2")
    def energy_gained(history):
        return history.final**2 - history.initial**2

    @actions.mask1_action
    def halved(history):
        return history.initial / 2

    actions.MASK0_ACTIONS.add(actions.Mask0Action("freeze_final", lambda history: history.final))
    catalogue.NETWORKS.add(Architecture("small", "Small", (), (9,), "striped", 3, 1e-2, 10.0))
    datasets.register(
        DataSource("striped", "Stripes", (1, 3, 4), 60, 15, 30, "made up", 3), striped
    )
    catalogue.EXPERIMENTS.add(
        Experiment("mine", "mine alone", "tickets", ("energy_gained/halved/freeze_final", "random"))
    )

    @claim("energy gained is a better criterion than chance", "mine")
    def mine_1(network: str) -> Iterator[Comparison]:
        """Mean over all densities."""
        ours, chance = (
            ticket("mine", arm)
            for arm in ("energy_gained/halved/freeze_final", "random/rewind/zero")
        )
        yield Comparison("energy_gained − random", ours, chance)

    plan = experiments.plan(
        "mine", "small", "paper", seeds=3, rounds=3, batch_size=20, evaluate_every=1
    )
    assert plan.dataset == "striped"
    target = runs.run(plan)
    record = records.read(target.stem, target.parent)
    assert set(record.table["arm"]) == {"energy_gained/halved/freeze_final", "random/rewind/zero"}
    assert record.table.test_accuracy.max() == 1  # three rows are soon told apart
    result = claims.judge("mine-1", {("mine", "fc"): record})
    assert result.weakest.seeds == 3
    assert result.verdict in claims.VERDICTS


def test_a_kind_of_experiment_from_outside() -> None:
    """Dense networks alone, at their initial weights: no training at all."""

    def run(shard) -> Iterator[None]:
        from dltlib import networks, training

        weights = networks.initial_weights(shard.network, shard.seeds)
        biases = networks.initial_biases(shard.network, len(shard.seeds))
        test = shard.dataset.test
        right = training.evaluate(shard.network, weights, biases, test.images, test.labels)
        rows = [
            {"arm": replica.arm, "seed": replica.seed, "round": 0, "density": 1.0}
            | {"test_accuracy": right[index].item()}
            for index, replica in enumerate(shard.replicas)
        ]
        shard.progress(len(rows), 0.0, 0)
        shard.checkpoint.save(0, rows, {}, {}, True)
        yield

    def parse(text: str):
        if text != "untrained":
            raise UserError(f"the only arm is untrained, not {text!r}")
        return text

    kinds.KINDS.add(
        Kind(
            "untrained",
            "untrained",
            parse,
            lambda network, preset: tickets.preset(network, preset) | {"rounds": 0},
            lambda plan, training, images: plan.seeds,
            run,
            frozenset({"rounds"}),
        )
    )
    catalogue.EXPERIMENTS.add(Experiment("chance", "before training", "untrained", ("untrained",)))
    plan = experiments.plan("chance", seeds=4)
    reported = []
    target = runs.run(plan, progress=lambda done, *_, **__: reported.append(done))
    assert sum(reported) == experiments.size(plan).iterations == 4
    table = pd.read_parquet(target)
    assert len(table) == 4
    assert table.test_accuracy.between(0, 0.35).all()
    with pytest.raises(UserError, match="the only arm is untrained"):
        experiments.plan("chance", arms=("random",))
    with pytest.raises(UserError, match="does not use rounds"):
        experiments.plan("chance", rounds=2)


def test_names_are_taken_once() -> None:
    fc = catalogue.NETWORKS["fc"]
    assert catalogue.NETWORKS.add(fc) is fc  # the same again, as when a module is read twice
    with pytest.raises(UserError, match="there is a network 'fc' already"):
        catalogue.NETWORKS.add(dataclasses.replace(fc, epochs=1))
