"""Experiments from plan to record: every arm runs, and nothing but the plan decides the numbers."""

import contextlib
import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dltlib import (
    actions,
    catalogue,
    checkpoints,
    criteria,
    datasets,
    experiments,
    files,
    fingerprints,
    forecast,
    networks,
    paths,
    processor,
    pruning,
    records,
    runs,
    storage,
    supermasks,
    training,
)
from dltlib.checkpoints import Checkpoint
from dltlib.errors import UserError
from dltlib.experiments import plan
from dltlib.history import Past
from dltlib.kinds import KINDS, tickets
from dltlib.kinds.tickets import Arm
from dltlib.plans import Plan, Replica

TICKETS = (
    "large_final",
    "random",
    "small_init_small_final",
    "snip",
    "large_final/reinit/freeze_init",
    "movement/signed_constant/variant_2",
    "large_final/rewind/move_to_zero",
)


def small(experiment: str = "criteria", network: str = "fc", **changes: object) -> Plan:
    """A plan that takes a second or so."""
    values = {
        "dataset": "digits",
        "seeds": 2,
        "rounds": 2,
        "epochs": 1,
        "train_images": 240,
        "batch_size": 40,
        "evaluate_every": 3,
        "width": 0.1,
    }
    if experiment == "criteria":
        values["arms"] = TICKETS
    if experiment in ("learned_supermasks", "identity_supermasks"):
        values |= {"epochs": 14, "learning_rate": 20.0}
        del values["rounds"], values["evaluate_every"]
    if experiment == "early_stopping":
        del values["rounds"]
    if experiment == "supermasks":
        values["arms"] = ("large_final/initial/plain", "random/constant/rescaled", "grad")
    return plan(experiment, network, "tiny", **(values | changes))


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of its own for every test's runs and records."""
    monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path / "records"))


def run_in(place: Path, monkeypatch: pytest.MonkeyPatch, some: Plan, **options: object) -> Path:
    """Run where nothing has been run."""
    monkeypatch.setenv("DLTLIB_RUNS", str(place))
    return runs.run(some, **options)


def arrays(table: Path) -> dict[str, list]:
    file = table.with_suffix(".npz")
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as content:
        return {name: content[name].tolist() for name in content}


# --- every arm on every network ---------------------------------------------------------------

EVERY_ARM = [
    *(Arm(name) for name in criteria.CRITERIA),
    *(Arm("large_final", name) for name in actions.MASK1_ACTIONS if name != "rewind"),
    *(Arm("large_final", mask0=name) for name in actions.MASK0_ACTIONS if name != "zero"),
]


@pytest.mark.parametrize("network", catalogue.NETWORKS)
def test_every_arm_trains_on_every_network(network: str) -> None:
    assert len(EVERY_ARM) == 14 + 6 + 4
    arms = tuple(map(str, EVERY_ARM))
    some = small("criteria", network, arms=arms, seeds=1, rounds=1, width=0.05, train_images=120)
    table = runs.table(some)
    assert len(table) == 2 * len(arms)
    built = networks.build(network, (1, 8, 8), 0.05)
    first = table[table["round"] == 1].set_index("arm")
    counts = [
        pruning.kept_count(layer.weight_count, some.keep_rate(layer.role)) for layer in built.layers
    ]
    for arm in arms:
        row = first.loc[arm]
        assert 0 <= row.test_accuracy <= 1
        assert np.isfinite(row.training_loss)
        if not arm.endswith("move_to_zero"):  # its share is what training makes it
            assert row.density == pytest.approx(sum(counts) / built.weight_count, abs=1e-12)
            shares = [n / x.weight_count for n, x in zip(counts, built.layers, strict=True)]
            assert row.layer_density == pytest.approx(shares, abs=1e-12)
    dense = table[table["round"] == 0]
    assert (dense.density == 1).all()
    assert dense.test_accuracy.nunique() == 1  # one dense training for all arms of a seed


@pytest.mark.parametrize("network", catalogue.NETWORKS)
def test_every_supermask_runs_on_every_network(network: str) -> None:
    arms = tuple(
        f"{source}/{values}/{scaling}"
        for source in criteria.CRITERIA
        for values, scaling in (("initial", "plain"), ("constant", "rescaled"))
    )
    some = small("supermasks", network, arms=arms, seeds=1, rounds=1, width=0.05, train_images=120)
    table = runs.table(some)
    assert len(table) == 2 * len(arms) + 1  # and the trained network itself
    assert set(table.arm) == {*arms, "trained"}
    assert table.test_accuracy.between(0, 1).all()
    for experiment in ("learned_supermasks", "identity_supermasks"):
        learned = small(experiment, network, seeds=1, epochs=1, width=0.05, train_images=120)
        table = runs.table(learned)
        assert set(table.arm) == set(learned.arms)
        assert table["round"].unique().tolist() == [0, 1]
        assert table.test_accuracy.between(0, 1).all()


def test_all_actions_go_with_all_actions() -> None:
    """7 x 5 actions, two criteria each, for two rounds."""
    arms = tuple(
        f"{criterion}/{mask1}/{mask0}"
        for criterion in ("large_final", "magnitude_increase")
        for mask1 in actions.MASK1_ACTIONS
        for mask0 in actions.MASK0_ACTIONS
    )
    table = runs.table(small(arms=arms, seeds=1, width=0.05, train_images=80))
    assert len(table) == 3 * 70
    assert np.isfinite(table.training_loss).all()


# --- what a run does --------------------------------------------------------------------------


def test_a_ticket_is_what_the_algorithm_says() -> None:
    """Two rounds of one arm, step by step from the library's own parts."""
    some = small(arms=("magnitude_increase/signed_reinit/freeze_init",), seeds=1)
    table = runs.table(some)
    data = experiments.load_dataset(some)
    network = networks.build("fc", data.input_shape, some.width)
    initial = networks.initial_weights(network, [0])
    mask = [torch.ones_like(weight, dtype=torch.bool) for weight in initial]
    start = initial
    for round_ in range(3):
        if round_:
            score = [f.abs() - i.abs() for f, i in zip(outcome.weights, initial, strict=True)]
            mask = [
                pruning.prune(
                    own,
                    alive,
                    round(layer.weight_count * {"dense": 0.8, "output": 0.9}[layer.role] ** round_),
                )
                for own, alive, layer in zip(score, mask, network.layers, strict=True)
            ]
            start = [
                torch.where(
                    alive,
                    networks.draw(layer, 0, round_, "reinit").abs() * actions.signs(own),
                    own,
                )
                for own, alive, layer in zip(initial, mask, network.layers, strict=True)
            ]
        outcome = training.train(network, data, start, mask, [0], some.settings())
        row = table[table["round"] == round_].iloc[0]
        assert row.test_accuracy == outcome.early_test.item()
        assert row.final_test_accuracy == outcome.final_test.item()
        assert row.validation_accuracy == outcome.early_validation.item()
        assert row.early_iteration == outcome.early_iteration.item()
        assert row.training_loss == outcome.training_loss.item()
        kept = sum(int(layer.sum()) for layer in mask)
        assert row.density == pytest.approx(kept / network.weight_count, abs=1e-15)


def test_late_rewinding_is_an_arm() -> None:
    """Kept weights start from what they were at iteration 4 of the dense training."""
    some = small(arms=("large_final/rewind@4", "large_final", "movement@4"), seeds=1, epochs=3)
    table = runs.table(some).set_index(["arm", "round"])
    data = experiments.load_dataset(some)
    network = networks.build("fc", data.input_shape, some.width)
    initial = networks.initial_weights(network, [0])
    full = [torch.ones_like(weight, dtype=torch.bool) for weight in initial]
    kept = training.Session(snapshots=[4])
    dense = training.train(network, data, initial, full, [0], some.settings(), kept)
    early = training.train(network, data, initial, full, [0], some.settings()).weights
    assert all(torch.equal(*pair) for pair in zip(dense.weights, early, strict=True))
    at = dense.snapshots[4]
    for arm, score, start in (
        ("large_final/rewind@4/zero", [w.abs() for w in early], at),
        ("large_final/rewind/zero", [w.abs() for w in early], initial),
        (
            "movement@4/rewind/zero",
            [(w - k).abs() for w, k in zip(early, at, strict=True)],
            initial,
        ),
    ):
        masks = [
            pruning.prune(own, alive, pruning.kept_count(layer.weight_count, keep))
            for own, alive, layer in zip(score, full, network.layers, strict=True)
            for keep in [some.keep_fraction(layer.role, 1)]
        ]
        begin = [weight * mask for weight, mask in zip(start, masks, strict=True)]
        outcome = training.train(network, data, begin, masks, [0], some.settings())
        assert table.loc[(arm, 1)].training_loss == outcome.training_loss.item()
        assert table.loc[(arm, 0)].training_loss == dense.training_loss.item()


def test_weights_of_the_last_epoch_are_too_late_to_rewind_to() -> None:
    with pytest.raises(UserError, match="kept at iterations 1 to 6 .* not at 7"):
        runs.table(small(arms=("large_final/rewind@7",), seeds=1, epochs=2))
    with pytest.raises(UserError, match="after @ stands an iteration"):
        small(arms=("large_final/rewind@early",))


def test_what_became_of_the_weights_is_recorded() -> None:
    initial = [torch.tensor([[[1.0, -2.0, 3.0, -4.0]]])]
    final = [torch.tensor([[[0.5, -3.0, -1.0, 5.0]]])]  # shrank, grew, shrank and flipped, flipped
    alive = [torch.tensor([[[True, True, True, True]]])]
    masks = [torch.tensor([[[False, True, False, True]]])]
    network = networks.Network("made up", (1, 1, 1), (), (), classes=4)
    past = Past(network, [0], 1, initial, final, alive, lambda: [])
    facts = tickets._pruning_facts(past, masks)
    assert facts["shrunk_share"] == [0.5]
    assert facts["pruned_shrunk_share"] == [1.0]
    assert facts["kept_flipped_share"] == [0.5]


def test_moving_to_zero_prunes_what_training_moved() -> None:
    table = runs.table(small(arms=("large_final/rewind/move_to_zero",), seeds=1))
    later = table[table["round"] > 0]
    assert (later.pruned_shrunk_share == 1).all()
    assert table.density.is_monotonic_decreasing
    assert later.density.iloc[0] == pytest.approx(1 - later.shrunk_share.iloc[0], abs=1e-12)


def test_criterion_masks_are_pruned_in_one_shot_and_not_trained() -> None:
    some = small("supermasks", seeds=1)
    table = runs.table(some).set_index(["arm", "round"])
    data = experiments.load_dataset(some)
    network = networks.build("fc", data.input_shape, some.width)
    initial = networks.initial_weights(network, [0])
    full = [torch.ones_like(weight, dtype=torch.bool) for weight in initial]
    outcome = training.train(network, data, initial, full, [0], some.settings())
    for round_ in range(3):
        masks = [
            pruning.prune(
                final.abs(),
                alive,
                round(layer.weight_count * {"dense": 0.8, "output": 0.9}[layer.role] ** round_),
            )
            for final, alive, layer in zip(outcome.weights, full, network.layers, strict=True)
        ]
        masked = [weight * mask for weight, mask in zip(initial, masks, strict=True)]
        row = table.loc[("large_final/initial/plain", round_)]
        assert row.test_accuracy == supermasks.accuracy(network, masked, data.test).item()
    trained = table.loc[("trained", 0)]
    assert trained.test_accuracy == outcome.early_test.item()


def test_learned_masks_are_kept_with_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    some = small("learned_supermasks", arms=("learned/constant/rescaled",), seeds=2)
    target = runs.run(some)
    table = records.read(experiments.name(some), target.parent).table
    assert table["round"].unique().tolist() == [0, 7, 14]  # no oftener than learning pays for
    start = table[table["round"] == 0]
    assert (start.density == 0.5).all()
    histogram = np.stack(table.probability_histogram)
    assert np.allclose(histogram.sum(1), 1)
    kept = records.read_arrays(experiments.name(some), target.parent)
    data = experiments.load_dataset(some)
    network = networks.build("fc", data.input_shape, some.width)
    own = supermasks.Learner.of_variants(network, [("learned", "constant", "rescaled")], [1])
    for epoch in range(14):
        own.learn(data, some.settings(), epoch)
    assert table[table.seed == 1].iloc[-1].test_accuracy == own.accuracy(data.test).item()
    for layer, mask in zip(network.layers, own.likely(), strict=True):
        packed = kept[f"mask/learned/constant/rescaled/1/{layer.name}"]
        assert torch.equal(records.unpack_mask(packed, layer.shape), mask[0])


def test_of_convolutions_the_masks_of_seed_0_are_kept() -> None:
    arms = ("learned/initial/plain", "learned/constant/rescaled")
    some = small("learned_supermasks", "conv2", arms=arms, epochs=1)
    target = runs.run(some)
    kept = records.read_arrays(experiments.name(some), target.parent)
    layers = experiments.build_network(some).layers
    assert set(kept) == {f"mask/{arm}/0/{layer.name}" for arm in arms for layer in layers}


def test_a_sample_of_weights_is_kept_with_tickets() -> None:
    some = small(arms=("random",))
    target = runs.run(some)
    network = networks.build("fc", (1, 8, 8), some.width)
    kept = records.read_arrays(experiments.name(some), target.parent)
    assert set(kept) == {f"weights/{layer.name}" for layer in network.layers}
    initial = networks.initial_weights(network, [0])
    for layer, weight in zip(network.layers, initial, strict=True):
        w_i, w_f = kept[f"weights/{layer.name}"]
        assert len(w_i) == min(layer.weight_count, tickets.SAMPLE)
        assert np.isin(w_i, weight[0].numpy()).all()
        assert (w_i != w_f).any()


# --- together, apart, resumed -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("experiment", "network"),
    [
        ("criteria", "fc"),
        ("criteria", "conv2"),
        ("supermasks", "fc"),
        ("learned_supermasks", "fc"),
        ("learned_supermasks", "conv2"),
        ("identity_supermasks", "fc"),
    ],
)
def test_arms_run_together_or_apart_give_the_same_record(
    experiment: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte, whatever runs side by side; and an arm's rows whatever else is in the plan."""
    some = small(experiment, network, train_images=120)
    whole = run_in(tmp_path / "whole", monkeypatch, some)
    for at_once in (1, 3):
        parts = run_in(tmp_path / str(at_once), monkeypatch, some, at_once=at_once)
        assert parts.name == whole.name
        assert parts.read_bytes() == whole.read_bytes()
        assert arrays(parts) == arrays(whole)
    rows = records.read(experiments.name(some), whole.parent).table
    arm = some.arms[1]
    alone = runs.table(small(experiment, network, train_images=120, arms=(arm,)))
    own = rows[rows.arm == arm].reset_index(drop=True)
    alone = alone[alone.arm == arm].reset_index(drop=True)
    assert own.to_json(double_precision=15) == alone.to_json(double_precision=15)


class Stop(Exception):
    """Instead of a kill, within one process."""


@pytest.mark.parametrize(
    ("experiment", "stops"),
    [("criteria", (0, 1)), ("supermasks", (0, 1)), ("learned_supermasks", (0, 7))],
)
def test_a_stopped_run_goes_on_and_ends_the_same(
    experiment: str, stops: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = small(experiment)
    straight = run_in(tmp_path / "straight", monkeypatch, some)
    monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path / "stopped"))
    real, saved = Checkpoint.save, []

    def stop_after(last: int) -> object:
        def save(self: Checkpoint, round_: int, *arguments: object) -> None:
            real(self, round_, *arguments)
            if self.path is None:  # a probe's
                return
            saved.append(round_)
            if round_ == last:
                raise Stop

        return save

    for last in stops:
        monkeypatch.setattr(Checkpoint, "save", stop_after(last))
        with pytest.raises(Stop):
            runs.run(some)
        assert not storage.finished(some)
    monkeypatch.setattr(Checkpoint, "save", stop_after(10**6))
    reports: dict[bool, int] = {True: 0, False: 0}

    def progress(iterations: int, _: float, round_: int, *, earlier: str = "") -> None:
        reports[bool(earlier)] += iterations

    resumed = runs.run(some, progress=progress)
    # The bar starts where the run stands, and ends full.
    total = experiments.size(some).iterations
    assert 0 < reports[True] < total
    assert sum(reports.values()) == total
    assert saved == sorted(set(saved))  # no round was done twice
    assert resumed.read_bytes() == straight.read_bytes()
    assert arrays(resumed) == arrays(straight)


def test_an_earlier_division_is_resumed_and_no_checkpoint_outlives_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """How much memory is free when a run goes on must not make it begin anew."""
    some = small(arms=("random", "movement", "snip"), seeds=1)
    monkeypatch.setattr(experiments, "replicas_at_once", lambda *_: 2)
    real = Checkpoint.save

    def save(self: Checkpoint, round_: int, *arguments: object) -> None:
        real(self, round_, *arguments)
        if round_ == 1 and self.path:  # a probe has none
            raise Stop

    monkeypatch.setattr(Checkpoint, "save", save)
    with pytest.raises(Stop):
        runs.run(some)
    with pytest.raises(Stop):
        runs.run(some, at_once=1)
    monkeypatch.setattr(Checkpoint, "save", real)
    assert any("after round 1" in line for line in storage.status())
    monkeypatch.setattr(experiments, "replicas_at_once", lambda *_: 3)
    runs.run(some)
    assert not list(storage.run_directory(some).glob("*.safetensors"))
    assert not any("after round" in line for line in storage.status())


def start_cli(some: Plan, place: Path) -> subprocess.Popen:
    """The real command, in a process of its own, as a user would type it."""
    words = experiments.command(some).split()[1:]
    return subprocess.Popen(
        [sys.executable, "-m", "dltlib.cli", *words, "--quiet"],
        env=os.environ | {"DLTLIB_RUNS": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("experiment", ["criteria", "learned_supermasks"])
def test_a_killed_process_goes_on_and_leaves_the_same_bytes(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in the middle of a round; the same command again; compared with a straight run."""
    changes = (
        {"rounds": 12, "epochs": 12} if experiment == "criteria" else {"epochs": 120, "rounds": 0}
    )
    some = small(experiment, train_images=1_200, width=0.4, seeds=1, **changes)
    process = start_cli(some, tmp_path / "killed")
    directory = tmp_path / "killed" / f"{some.experiment}-fc-tiny-{some.hash}"
    deadline = time.monotonic() + 120
    reached = -1
    while reached < 1:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
        for file in directory.glob("shard-*.safetensors"):
            reached = Checkpoint.open(file, some.hash).round
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not list(directory.glob("*.parquet"))
    (left,) = directory.glob("shard-*.safetensors")
    checkpoint = Checkpoint.open(left, some.hash)
    assert 1 <= checkpoint.round < some.rounds + some.epochs
    assert not checkpoint.finished

    process = start_cli(some, tmp_path / "killed")
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    resumed = directory / f"{experiments.name(some)}.parquet"
    assert str(resumed) in output
    straight = run_in(tmp_path / "straight", monkeypatch, some)
    assert resumed.read_bytes() == straight.read_bytes()
    assert arrays(resumed) == arrays(straight)


@pytest.mark.parametrize(
    "experiment", ["criteria", "supermasks", "learned_supermasks", "early_stopping"]
)
def test_a_round_goes_on_from_where_it_rested(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after every rest and gone on with until it is done; compared with a straight run."""
    changes = {"epochs": 4} | ({"rounds": 1} if experiment in ("criteria", "supermasks") else {})
    some = small(experiment, train_images=400, width=0.2, seeds=1, **changes)
    straight = run_in(tmp_path / "straight", monkeypatch, some)
    monkeypatch.setattr(checkpoints, "REST", 0.0)
    wrote = Checkpoint._write
    rests = []

    def write(checkpoint: Checkpoint) -> None:
        wrote(checkpoint)
        if checkpoint.training() is not None:
            rests.append((checkpoint.round, checkpoint.iterations))
            if len(rests) == len(set(rests)):  # got further than the last time
                raise Stop

    monkeypatch.setattr(Checkpoint, "_write", write)
    for _ in range(100):
        try:
            target = run_in(tmp_path / "stopped", monkeypatch, some)
            break
        except Stop:
            pass
    assert len(set(rests)) >= 3
    assert target.read_bytes() == straight.read_bytes()
    assert arrays(target) == arrays(straight)


def test_a_crash_while_the_record_is_written_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = small(arms=("random",), seeds=1, rounds=1)

    def crash(*_: object, **__: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(records, "write", crash)
        with pytest.raises(Stop):
            runs.run(some)
    with monkeypatch.context() as patch:  # between manifest and table
        real = files.replace_file
        patch.setattr(
            records,
            "replace_file",
            lambda target, write_to: (
                crash() if target.suffix == ".parquet" else real(target, write_to)
            ),
        )
        with pytest.raises(Stop):
            runs.run(some)
    assert not storage.finished(some)
    monkeypatch.setattr(training, "train", crash)  # nothing is left to train
    runs.run(some)
    assert storage.finished(some)


# --- finished, forced, foreign ----------------------------------------------------------------


def test_a_finished_record_is_returned_as_it_is_unless_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = small(arms=("random",), seeds=1, rounds=1)
    target = runs.run(some)
    assert target.parent == storage.run_directory(some)  # not among the book's: overridden
    first = target.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", lambda *_: pytest.fail("it was run again"))
        assert runs.run(some) == target
    assert runs.run(some, force=True) == target
    assert target.read_bytes() == first


def test_a_forced_run_that_was_stopped_goes_on_without_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = small(arms=("random",), seeds=1, rounds=2)
    target = runs.run(some)
    whole = target.read_bytes()

    def stop(iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
        if round_ == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.run(some, force=True, progress=stop)
    told = "\n".join(forecast.describe(some, torch.device("cpu")))
    assert "done: " not in told
    assert "begun: " in told
    target.write_bytes(b"what is being remade")
    rounds = []

    def note(iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
        rounds.append((round_, bool(earlier)))

    assert runs.run(some, progress=note) == target
    assert target.read_bytes() == whole
    assert rounds[0] == (1, True)  # went on behind round 1, which is not trained again
    assert {round_ for round_, earlier in rounds if not earlier} == {2}
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", lambda *_: pytest.fail("it was run again"))
        assert runs.run(some) == target


HOLD = """
import sys, time
from dltlib import experiments, storage
with storage.sole(experiments.plan("criteria", arms=["random"], seeds=1)):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_plan_is_run_by_one_process_at_a_time() -> None:
    some = plan("criteria", arms=["random"], seeds=1)
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"{some.hash} is being run by another process"):
            runs.run(some)
        with pytest.raises(UserError, match="by another process"):
            runs.run(some, force=True)
        assert not storage.run_directory(some).exists()
        with storage.sole(small()):  # another plan's
            pass
    finally:
        holder.kill()
        holder.communicate()
    with storage.sole(some):  # a killed process holds nothing
        pass


def test_what_another_process_has_finished_meanwhile_is_not_trained_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = small(arms=("random",), seeds=1, rounds=0)
    sole = storage.sole

    @contextlib.contextmanager
    def wait(of: Plan) -> Iterator[None]:
        monkeypatch.setattr(storage, "sole", sole)
        runs.run(of)
        monkeypatch.setattr(storage, "resume", lambda *_: pytest.fail("it was run again"))
        yield

    monkeypatch.setattr(storage, "sole", wait)
    assert runs.run(some) == storage.record_path(some)


def test_memory_that_does_not_suffice_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    some = small(arms=("random",), seeds=1, rounds=0)
    dataset = experiments.load_dataset(some)
    fingerprints.take(some, dataset, torch.device("cpu"))  # trains a little, and is remembered
    monkeypatch.setattr(training, "train", fail)
    with pytest.raises(UserError, match="choose fewer with --at-once"):
        runs.run(some, dataset=dataset)


@pytest.mark.parametrize("count", [0, -1])
def test_none_at_once_is_refused(count: int) -> None:
    with pytest.raises(UserError, match="at_once"):
        runs.run(small(), at_once=count)


def test_stock_plans_leave_records_for_the_book(monkeypatch: pytest.MonkeyPatch) -> None:
    def use(**changes: object) -> None:
        values = tickets.preset(catalogue.NETWORKS["fc"], "tiny") | changes
        kind = dataclasses.replace(KINDS["tickets"], preset=lambda *_: values)
        monkeypatch.setitem(KINDS, "tickets", kind)

    use(seeds=1, rounds=0, epochs=1)
    stock = plan("criteria", arms=plan("criteria").arms)
    assert experiments.stock(stock) == stock
    target = runs.run(stock)
    assert target == paths.records() / "criteria-fc-tiny.parquet"
    assert records.read("criteria-fc-tiny").manifest["command"].startswith("dltlib run criteria")
    lines = storage.status()
    assert any("criteria-fc-tiny: 9 rows" in line for line in lines)
    # The preset changes, as a library's may: the old record is kept, and the difference named.
    before = {file.name: file.read_bytes() for file in paths.records().iterdir()}
    use(seeds=2, rounds=0, epochs=1)
    with pytest.raises(UserError, match=r"made with other values of seeds: .*--force"):
        runs.run(plan("criteria"))
    assert {file.name: file.read_bytes() for file in paths.records().iterdir()} == before


def damaged(target: Path) -> dict[str, bytes]:
    target.write_bytes(target.read_bytes()[:-50])
    return {file.name: file.read_bytes() for file in target.parent.iterdir()}


def test_a_damaged_record_is_not_overwritten_unless_forced() -> None:
    some = small(arms=("random",), seeds=1, rounds=0)
    target = runs.run(some)
    whole = target.read_bytes()
    before = damaged(target)
    with pytest.raises(UserError, match="dltlib run --force"):
        runs.run(some)
    assert {file.name: file.read_bytes() for file in target.parent.iterdir()} == before
    assert any("is not the table" in line for line in status_of(target))
    runs.run(some, force=True)
    assert target.read_bytes() == whole


def status_of(target: Path) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLTLIB_RECORDS", str(target.parent))
        return storage.status()


def test_a_damaged_checkpoint_is_not_overwritten_unless_forced() -> None:
    some = small(arms=("random",), seeds=1, rounds=0)
    (shard,) = checkpoints.shards(some.replicas, 10)
    path = storage.shard_path(some, shard)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"checkpoint .* is damaged .*--force"):
        runs.run(some)
    assert path.read_bytes() == b"cut short"
    assert any("is damaged" in line for line in storage.status())
    runs.run(some, force=True)
    assert storage.finished(some)


@pytest.mark.parametrize("variable", ["DLTLIB_RUNS", "DLTLIB_RECORDS"])
def test_unwritable_places_are_named_before_anything_is_trained(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("mine")
    monkeypatch.setenv(variable, str(tmp_path / "taken"))
    monkeypatch.setattr(fingerprints, "take", lambda *_: pytest.fail("it ran"))
    some = plan("criteria") if variable == "DLTLIB_RECORDS" else small()
    with pytest.raises(UserError, match=r"cannot write .*taken"):
        runs.run(some)
    assert (tmp_path / "taken").read_text() == "mine"


# --- sizes ------------------------------------------------------------------------------------


def test_replicas_are_chosen_by_what_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class Memory:
        available = 0

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    some = plan("criteria", "conv2", "paper")
    cpu = torch.device("cpu")
    fitting = []
    for gigabytes in (3, 5, 9, 1_000):
        Memory.available = gigabytes * 10**9
        fitting.append(experiments.replicas_at_once(some, cpu))
    assert fitting == sorted(fitting)
    assert 1 <= fitting[0] < fitting[1] < fitting[2] < fitting[3]
    assert fitting[3] == len(some.replicas)
    Memory.available = 10**7
    with pytest.raises(UserError, match=r"one replica of conv2 at width 1.0 needs about .* GB"):
        experiments.replicas_at_once(some, cpu)
    Memory.available = 10**5
    with pytest.raises(UserError, match="needs about"):
        runs.run(small())


def test_shards_hold_every_replica_once() -> None:
    replicas = [Replica("a", seed) for seed in range(7)]
    for size in (1, 2, 3, 7, 50):
        parts = list(checkpoints.shards(replicas, size))
        assert [replica for part in parts for replica in part] == replicas
        assert all(len(part) <= size for part in parts)


def test_the_division_is_the_largest_that_fits() -> None:
    assert [checkpoints.division(14, fitting) for fitting in (14, 13, 7, 6, 1)] == [14, 7, 7, 5, 1]
    assert checkpoints.division(0, 5) == 1  # nothing is left to do


@pytest.mark.parametrize(
    "experiment", ["criteria", "supermasks", "learned_supermasks", "early_stopping"]
)
def test_progress_adds_up_to_the_announced_total(experiment: str) -> None:
    some = small(experiment, **({"rounds": 1} if experiment in ("criteria", "supermasks") else {}))
    data = experiments.load_dataset(some)
    done, rounds = 0, set()

    def progress(iterations: int, accuracy: float, round_: int) -> None:
        nonlocal done
        done += iterations
        rounds.add(round_)

    runs.run(some, dataset=data, progress=progress)
    assert done == experiments.size(some).iterations
    expected = {"learned_supermasks": set(range(1, 15)), "early_stopping": {0}}
    assert rounds == expected.get(experiment, {0, 1})


def test_tests_of_masks_are_counted_for_what_is_left_of_the_weights() -> None:
    """A round more costs a test for each arm and seed, and the sparser the less."""
    plans = [small("supermasks", rounds=rounds) for rounds in range(24)]
    totals = [experiments.size(plan).iterations for plan in plans]
    each = [after - before for before, after in itertools.pairwise(totals)]
    assert each == sorted(each, reverse=True)
    assert each[0] > 3 * each[-1]
    assert each[-1] >= len(plans[0].arms) * plans[0].seeds


def test_too_many_train_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"train_images must lie between 1 and the 1297 of digits"):
        runs.run(small(train_images=5_000))
    assert datasets.load("digits").with_train_images(1_297).train.labels.shape == (1_297,)


def test_devices_are_described() -> None:
    assert "threads" in processor.describe(torch.device("cpu"))


def test_a_mask_is_read_off_where_training_stopped() -> None:
    stops = ("accuracy=0.15", "epoch=2", "epoch=9", "accuracy=0.999")
    arms = tuple(f"large_final/initial/plain/{stop}" for stop in stops)
    some = small(
        "supermasks", arms=(*arms, "large_final"), epochs=4, rounds=1, train_images=1_200, width=0.3
    )
    table = runs.table(some).set_index(["arm", "seed", "round"]).sort_index()
    network, data = experiments.build_network(some), experiments.load_dataset(some)
    length = training.iterations_per_epoch(data, some.settings())
    for seed in range(some.seeds):
        stopped = [table.loc[(arm, seed, 0), "stop_iteration"] for arm in arms]
        assert 1 <= stopped[0] < length
        assert stopped[1:] == [2 * length, 4 * length, 4 * length]
        for arm, at in zip(arms, map(int, stopped), strict=True):
            # A training of its own that is as long, plainly stopped, gives the same mask.
            weights, settings = networks.initial_weights(network, [seed]), some.settings()
            full = [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
            outcome = training.train(
                network,
                data,
                weights,
                full,
                [seed],
                settings,
                training.Session(snapshots={at} - {4 * length}),
            )
            final = outcome.snapshots.get(at, outcome.weights)
            masked = [
                w_i * pruning.prune(w_f.abs(), whole, pruning.kept_count(w_i[0].numel(), keep))
                for w_i, w_f, whole, layer in zip(weights, final, full, network.layers, strict=True)
                for keep in [some.keep_fraction(layer.role, 1)]
            ]
            expected = supermasks.accuracy(network, masked, data.test).item()
            assert table.loc[(arm, seed, 1), "test_accuracy"] == pytest.approx(expected, abs=1e-9)
            if at < length:  # and that is the first iteration at which it is as accurate
                looks = training.train(
                    network, data, weights, full, [seed],
                    dataclasses.replace(settings, epochs=1, evaluate_every=1),
                ).history[:, 0]  # fmt: skip
                assert looks[at - 1] >= 0.15 > max(looks[: at - 1].tolist(), default=0)


def test_where_training_stops_is_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that goes on keeps what it found: on a GPU another look may find another."""
    arms = ("large_final/initial/plain/accuracy=0.15", "large_final/initial/plain/epoch=2")
    some = small("supermasks", arms=arms, seeds=1, rounds=1, epochs=3, train_images=400)
    straight = run_in(tmp_path / "straight", monkeypatch, some)
    monkeypatch.setattr(checkpoints, "REST", 0.0)
    rest = Checkpoint.rest

    def stop(checkpoint: Checkpoint, *state: Any) -> None:
        rest(checkpoint, *state)
        if checkpoint.path:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "rest", stop)
        with pytest.raises(Stop):
            run_in(tmp_path / "stopped", monkeypatch, some)
    reports: list[int] = []
    resumed = run_in(
        tmp_path / "stopped",
        monkeypatch,
        some,
        progress=lambda done, *_, **__: reports.append(done),
    )
    assert resumed.read_bytes() == straight.read_bytes()
    assert sum(reports) == experiments.size(some).iterations  # no look counted twice


def test_no_stop_is_looked_for_in_a_training_of_one_epoch() -> None:
    arms = ("large_final/initial/plain/accuracy=0.15", "large_final/initial/plain")
    stopped, whole = (
        small("supermasks", arms=(arm,), seeds=1, rounds=1, epochs=1, train_images=400)
        for arm in arms
    )
    assert experiments.size(stopped).iterations == experiments.size(whole).iterations
    columns = ["round", "density", "test_accuracy"]
    tables = [runs.table(some) for some in (stopped, whole)]
    one, other = (table[table["arm"] != "trained"][columns] for table in tables)
    assert one.equals(other)


@pytest.mark.parametrize("stop", ["epoch=0", "epoch=half", "accuracy=1", "accuracy=", "5"])
def test_a_stop_that_is_none_is_refused(stop: str) -> None:
    with pytest.raises(UserError, match="no place to stop a training: write epoch=5"):
        small("supermasks", arms=(f"large_final/initial/plain/{stop}",))
