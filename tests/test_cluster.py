"""Dask runs against local ones, on a real cluster of processes, one of them killed."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from dltlib import cli, cluster, experiments, paths, plans, runs, training
from dltlib.checkpoints import Checkpoint
from dltlib.errors import UserError

distributed = pytest.importorskip("distributed")

ARMS = ("large_final", "random/reinit", "movement/rewind/freeze_init")


@pytest.fixture
def plan() -> plans.Plan:
    return experiments.plan("criteria", seeds=2, rounds=3, epochs=2, arms=ARMS)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that sends runs and records to a directory of their own."""

    def use(name: str) -> Path:
        monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path / name / "runs"))
        monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path / name / "records"))
        return tmp_path / name

    return use


def test_same_record_though_a_worker_is_killed(plan: plans.Plan, place) -> None:
    place("alone")
    expected = runs.run(plan).read_bytes()

    place("cluster")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as local:
        result: list[Path] = []
        rounds: list[int] = []
        thread = threading.Thread(
            target=lambda: result.append(
                cluster.run(
                    plan,
                    local.scheduler_address,
                    at_once=1,
                    progress=lambda done, accuracy, round_: rounds.append(round_),
                )
            )
        )
        thread.start()
        while len(rounds) < 2:  # something is under way and something is done
            assert thread.is_alive(), "the run ended before a worker could be killed"
            time.sleep(0.01)
        victim = next(iter(local.workers.values()))
        os.kill(victim.pid, signal.SIGKILL)
        thread.join(timeout=300)
    assert result, "the run did not end"
    assert result[0].read_bytes() == expected
    # Every round of every shard was reported once: the lost one ran again, no other did.
    assert len(rounds) == len(plan.replicas) * (plan.rounds + 1)


def test_goes_on_from_the_checkpoints_of_a_stopped_caller(plan: plans.Plan, place) -> None:
    place("alone")
    expected = runs.run(plan).read_bytes()

    place("cluster")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as local:
        seen = []

        def stop_early(done: int, accuracy: float, round_: int) -> None:
            seen.append(round_)
            if len(seen) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cluster.run(plan, local.scheduler_address, at_once=3, progress=stop_early)
        again = {True: 0, False: 0}

        def count(done: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
            again[bool(earlier)] += 1

        target = cluster.run(plan, local.scheduler_address, at_once=3, progress=count)

        local.scale(0)
        while local.scheduler.workers:
            time.sleep(0.05)
        with pytest.raises(UserError, match="no workers"):
            cluster.run(plan, local.scheduler_address, force=True)
    assert target.read_bytes() == expected
    shards = -(-len(plan.replicas) // 3)
    assert again == {True: shards, False: shards * (plan.rounds + 1) - len(seen)}


def test_no_scheduler_is_one_clear_error(place, capsys: pytest.CaptureFixture) -> None:
    place("nowhere")
    with pytest.raises(UserError, match="no Dask scheduler answers"):
        cluster.run(experiments.plan("criteria", seeds=1), "tcp://127.0.0.1:9")
    assert cli.main(["run", "criteria", "--seeds", "1", "--dask", "no such address"]) == 2
    assert capsys.readouterr().err.count("dltlib: error:") == 1


def test_a_worker_goes_on_under_an_accepted_change(plan: plans.Plan, place) -> None:
    """The checkpoint comes back with both origins, though it was saved under the first alone."""
    place("worker")
    here = cluster.fingerprint(plan, "cpu")
    before = {**here, "commit": "before", "data": "other"}
    after = {**here, "commit": "after"}
    replicas = plan.replicas[:1]
    first = cluster.advance(plan, replicas, [after], None, "cpu")
    (path := paths.runs()).mkdir(parents=True, exist_ok=True)
    (path / "shard").write_bytes(first.checkpoint)
    second = cluster.advance(plan, replicas, [before, after], first.checkpoint, "cpu")
    (path / "shard").write_bytes(second.checkpoint)
    opened = Checkpoint.open(path / "shard", plan.hash)
    assert opened.origins == [before, after]
    assert opened.round == 1


class _Workers:
    """A client whose workers answer `cluster._gpu_and_threads` with what is given."""

    def __init__(self, answers: dict[str, tuple[bool, int]]) -> None:
        self.answers = answers

    def run(self, asked: object) -> dict[str, tuple[bool, int]]:
        assert asked is cluster._gpu_and_threads
        return self.answers


def test_workers_that_share_a_gpu_are_refused_by_name() -> None:
    workers = _Workers({"one:1": (True, 1), "two:2": (True, 4), "three:3": (False, 8)})
    with pytest.raises(UserError, match="start two:2 with --nthreads 1, or choose --device cpu"):
        cluster._refuse_shared_gpus(workers, "auto")
    cluster._refuse_shared_gpus(workers, "cpu")
    del workers.answers["two:2"]
    cluster._refuse_shared_gpus(workers, "auto")


def test_a_workers_memory_that_does_not_suffice_is_one_clear_error(
    plan: plans.Plan, place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    taken = cluster.fingerprint(plan, "cpu")
    monkeypatch.setattr(training, "train", fail)
    monkeypatch.setattr(cluster, "fingerprint", lambda *_: taken)
    origins = [{"commit": "none", **taken}]
    with pytest.raises(UserError, match="choose fewer with --at-once"):
        cluster.advance(plan, list(plan.replicas), origins, None, "cpu")
