"""Checkpoints: what was saved is there again, and what is damaged or foreign is refused."""

import math
import resource
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dltlib.checkpoints import Checkpoint
from dltlib.errors import UserError
from dltlib.plans import Replica

pytestmark = pytest.mark.usefixtures("one_thread")


REPLICAS = [Replica("a", 0), Replica("b", 0)]


def layers(seed: int) -> dict[str, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(2, 3, size, generator=generator) for size in range(1, 13)]
    return {"final": weights, "mask": [weight > 0 for weight in weights]}


def row(round_: int) -> dict:
    values = {"test_accuracy": 0.1 + 0.2, "shrunk_share": math.nan}
    return {"arm": "a", "seed": 0, "round": round_} | values


def saved(path: Path) -> Checkpoint:
    checkpoint = Checkpoint(path, "plan", REPLICAS)
    checkpoint.save(0, [row(0)], layers(0), {"weights/dense1": torch.arange(3)}, False)
    checkpoint.save(1, [row(1)], layers(1), {"weights/dense2": torch.arange(4)}, False)
    return checkpoint


def test_a_missing_file_is_a_fresh_start(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "none.safetensors", "plan", REPLICAS)
    assert (checkpoint.round, checkpoint.finished, checkpoint.rows) == (-1, False, [])
    assert checkpoint.layers("final") == []
    assert checkpoint.keepsakes() == {}
    assert list(tmp_path.iterdir()) == []


def test_what_was_saved_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "shard.safetensors"
    written = saved(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    read = Checkpoint.open(path, "plan")
    assert (read.round, read.finished) == (1, False)
    assert read.replicas == REPLICAS
    assert [line["round"] for line in read.rows] == [0, 1]
    assert read.rows[0]["test_accuracy"] == 0.1 + 0.2  # to the last bit
    assert math.isnan(read.rows[1]["shrunk_share"])
    for name, expected in layers(1).items():  # those of the last round, in the order of layers
        for own, other, original in zip(
            read.layers(name), written.layers(name), expected, strict=True
        ):
            assert torch.equal(own, original)
            assert torch.equal(other, original)
            assert own.dtype == original.dtype
    assert {name: value.tolist() for name, value in read.keepsakes().items()} == {
        "weights/dense1": [0, 1, 2],
        "weights/dense2": [0, 1, 2, 3],
    }
    assert read.seconds == pytest.approx(written.seconds)


def test_one_without_a_path_stays_in_memory_and_keeps_its_layers() -> None:
    checkpoint = Checkpoint(None, "plan", REPLICAS)
    checkpoint.save(0, [row(0)], layers(0), {}, True)
    assert checkpoint.names() == {"final", "mask"}
    assert torch.equal(checkpoint.layers("final")[3], layers(0)["final"][3])


def test_a_finished_shard_keeps_rows_and_keepsakes_only(tmp_path: Path) -> None:
    path = tmp_path / "shard.safetensors"
    saved(path).save(2, [row(2)], layers(2), {}, True)
    read = Checkpoint.open(path, "plan")
    assert read.finished
    assert len(read.rows) == 3
    assert read.layers("final") == []
    assert set(read.keepsakes()) == {"weights/dense1", "weights/dense2"}
    bare = Checkpoint(tmp_path / "bare.safetensors", "plan", REPLICAS)
    bare.save(0, [row(0)], {}, {}, True)
    assert Checkpoint.open(bare.path, "plan").finished


def test_computing_time_adds_up_over_resumptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 107.0, 1000.0, 1005.0])
    monkeypatch.setattr("dltlib.checkpoints.monotonic", lambda: next(clock))
    path = tmp_path / "shard.safetensors"
    Checkpoint(path, "plan", REPLICAS).save(0, [], {}, {}, False)
    resumed = Checkpoint.open(path, "plan")
    resumed.save(1, [], {}, {}, False)
    assert resumed.seconds == 12.0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_short_is_refused_and_left_alone(
    tmp_path: Path, share: float
) -> None:
    path = saved(tmp_path / "shard.safetensors").path
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"shard\.safetensors is damaged .*--force") as caught:
        Checkpoint.open(path, "plan")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"is damaged .*delete it"):
        Checkpoint.open(path, "plan")
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata={"state": "[]"})
    with pytest.raises(UserError, match=r"is damaged .*delete it"):
        Checkpoint.open(path, "plan")


def test_a_checkpoint_of_another_plan_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = saved(tmp_path / "shard.safetensors").path
    before = path.read_bytes()
    with pytest.raises(UserError, match="belongs to plan plan, not other: move it away"):
        Checkpoint.open(path, "other")
    assert path.read_bytes() == before


def test_a_failed_save_leaves_the_last_round(tmp_path: Path) -> None:
    """A full disk, as far as a program can tell."""
    path = saved(tmp_path / "shard.safetensors").path
    before = path.read_bytes()
    large = {"final": [torch.zeros(100_000)]}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, hard))
        with pytest.raises(UserError, match=r"cannot write .*shard\.safetensors"):
            Checkpoint.open(path, "plan").save(2, [row(2)], large, {}, False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    checkpoint = Checkpoint(tmp_path / "taken" / "shard.safetensors", "plan", REPLICAS)
    with pytest.raises(UserError, match=r"cannot write .*taken.*DLTLIB_RUNS"):
        checkpoint.save(0, [], {}, {}, False)
    assert (tmp_path / "taken").read_text() == "mine"
