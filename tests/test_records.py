"""Records: what is written is read, and what was damaged is noticed and left alone."""

import json
import os
import resource
from importlib import metadata
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given

from dltlib import experiments, files, records
from dltlib.errors import UserError
from dltlib.plans import Replica

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "criteria-fc-tiny"
TORCH = metadata.version("torch")


def row(arm: str = "large_final/rewind/zero", seed: int = 0, round_: int = 0) -> dict:
    return {
        "arm": arm,
        "seed": seed,
        "round": round_,
        "density": 0.8**round_,
        "layer_density": [0.8**round_, 0.9**round_],
        "test_accuracy": 0.1 + 0.2 / 3 * round_,
        "shrunk_share": float("nan"),
    }


ROWS = [row(seed=seed, round_=round_) for round_ in (1, 0) for seed in (1, 0)]


def write(directory: Path, rows: list[dict] | None = None, arrays: dict | None = None) -> Path:
    plan = experiments.plan("criteria")
    return records.write(
        directory, NAME, rows or ROWS, plan.as_dict(), arrays, device="a CPU", seconds=61.2,
        command="dltlib run criteria",
    )  # fmt: skip


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_rows_that_are_taken_bring_no_column_that_only_others_fill(tmp_path: Path) -> None:
    rows = [dict(row, **({"stop_iteration": 7} if row["seed"] else {})) for row in ROWS]
    write(tmp_path, rows)
    record = records.read(NAME, tmp_path)
    arm = ROWS[0]["arm"]
    for seed, has in ((0, False), (1, True)):
        taken = record.rows_of([Replica(arm, seed)])
        assert taken
        assert all(("stop_iteration" in row) == has for row in taken)
        assert all("shrunk_share" in row for row in taken)  # which nobody fills


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert write(tmp_path) == tmp_path / f"{NAME}.parquet"
    record = records.read(NAME, tmp_path)
    assert record.table[["round", "seed"]].values.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert record.table.density.tolist() == [1.0, 0.8, 1.0, 0.8]
    assert record.table.test_accuracy.tolist()[1] == 0.1 + 0.2 / 3  # to the last bit
    assert record.table.layer_density[1].tolist() == [0.8, 0.9]
    assert list(record.table.columns) == [c for c in records.COLUMNS if c in record.table.columns]
    assert record.plan == experiments.plan("criteria").as_dict()
    assert {"plan", "versions", "commit", "device", "finished", "seconds", "command"} <= set(
        record.manifest
    )
    assert record.manifest["versions"]["torch"] == TORCH
    assert record.manifest["rows"] == 4
    assert set(contents(tmp_path)) == {f"{NAME}.parquet", f"{NAME}.json"}  # no temporary files


def test_a_caption_says_where_numbers_come_from(tmp_path: Path) -> None:
    write(tmp_path)
    text = records.read(NAME, tmp_path).provenance()
    for part in ("FC on digits", "preset tiny", "3 seeds", "8 epochs", "a CPU", TORCH):
        assert part in text
    assert "`dltlib run criteria`" in text
    plan = experiments.plan("signs", "conv2", "cpu").as_dict()
    small = records.Record(pd.DataFrame(), {"plan": plan})
    assert small.scale() == "Conv2 on CIFAR-10, width 0.25, 5,000 training images"


def test_a_caption_says_what_was_taken_over_from_another_kind_of_processor(tmp_path: Path) -> None:
    here, there = ({"torch": torch_} for torch_ in ("AVX2", "AVX512"))
    arm = "large_final/rewind/zero"
    reused = [
        {"processor": there, "replicas": [[arm, 0], [arm, 2]]},
        {"processor": here, "replicas": [[arm, 1]]},
    ]
    plan = experiments.plan("criteria", arms=(arm,), seeds=4)
    name = experiments.name(plan)
    facts = {"processor": here, "reused": reused, "device": "a CPU", "command": ""}
    records.write(tmp_path, name, ROWS[:1], plan.as_dict(), **facts)
    record = records.read(name, tmp_path)
    assert "(torch with AVX2; 2 of 4 networks: torch with AVX512)" in record.provenance()
    first = record.first_seeds(2)
    assert "(torch with AVX2; 1 of 2 networks: torch with AVX512)" in first.provenance()


def test_the_order_of_rows_does_not_change_a_byte(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "other", ROWS[::-1])
    name = f"{NAME}.parquet"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_every_column_is_described(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column"):
        write(tmp_path, [row() | {"colour": "red"}])
    assert list(tmp_path.iterdir()) == []


def test_available_lists_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path))
    assert records.available() == []
    write(tmp_path)
    assert records.available() == [NAME]
    assert records.path(NAME) == tmp_path / f"{NAME}.parquet"
    with pytest.raises(UserError, match=rf"no record 'nothing'.*nearest: {NAME}.*dltlib run"):
        records.read("nothing")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def other_json(file: Path) -> None:
    file.write_text("[1, 2]")


def without_checksum(file: Path) -> None:
    manifest = json.loads(file.read_text())
    del manifest["sha256"]
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".parquet", cut, "is not the table that its manifest describes"),
        (".parquet", flip, "is not the table that its manifest describes"),
        (".parquet", empty, "is not the table that its manifest describes"),
        (".json", cut, "manifest .* is damaged"),
        (".json", empty, "manifest .* is damaged"),
        (".json", other_json, "manifest .* is damaged"),
        (".json", without_checksum, "manifest .* is damaged"),
        (".json", Path.unlink, "no record"),
        (".parquet", Path.unlink, "no record"),
    ],
)
def test_damage_is_noticed_named_and_left_alone(
    tmp_path: Path, suffix: str, damage: object, message: str
) -> None:
    file = write(tmp_path).with_suffix(suffix)
    damage(file)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        records.read(NAME, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "dltlib run" in str(caught.value)  # the remedy
    assert contents(tmp_path) == before


def manifest_for(table: Path, **changes: object) -> None:
    """A manifest that fits the file, whatever it is."""
    manifest = table.with_suffix(".json")
    content = json.loads(manifest.read_text()) | {"sha256": records._checksum(table)} | changes
    manifest.write_text(json.dumps(content))


def test_a_file_that_is_no_record_is_refused_even_if_its_manifest_fits(tmp_path: Path) -> None:
    table = write(tmp_path)
    table.write_bytes(b"not Parquet at all")
    manifest_for(table)
    with pytest.raises(UserError, match="is not a Parquet table"):
        records.read(NAME, tmp_path)
    pd.DataFrame({"arm": ["a"], "seed": [0]}).to_parquet(table, index=False)
    manifest_for(table)
    with pytest.raises(
        UserError, match=r"lacks the columns \['density', 'round', 'test_accuracy'\]"
    ):
        records.read(NAME, tmp_path)
    write(tmp_path)
    manifest_for(table, plan="none")
    with pytest.raises(UserError, match=str(tmp_path)):
        records.read(NAME, tmp_path)


@pytest.mark.parametrize("old", [True, False])
def test_a_crash_between_table_and_manifest_never_leaves_a_pair_that_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    if old:
        write(tmp_path, [row()])
    real, calls = files.replace_file, []

    def crash_at_the_second(target: Path, write_to: object) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(target, write_to)

    monkeypatch.setattr(records, "replace_file", crash_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / f"{NAME}.parquet").exists() == old  # none yet: the run is not finished
    with pytest.raises(UserError, match="from another run" if old else "no record"):
        records.read(NAME, tmp_path)


# --- replacing files --------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "file"
    files.replace_file(target, lambda temporary: temporary.write_text("old"))
    assert target.read_text() == "old"
    assert target.stat().st_mode & 0o777 == 0o644

    def fail(error: BaseException) -> object:
        def write_to(temporary: Path) -> None:
            assert temporary.parent == target.parent  # else the rename could not be atomic
            temporary.write_text("half of the ne")
            raise error

        return write_to

    for error in (RuntimeError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            files.replace_file(target, fail(error))
        assert target.read_text() == "old"
        assert os.listdir(target.parent) == ["file"]
    with pytest.raises(UserError, match=r"cannot write .*file \(no space\).*DLTLIB_RUNS"):
        files.replace_file(target, fail(OSError("no space")))
    assert os.listdir(target.parent) == ["file"]
    files.replace_file(target, lambda temporary: temporary.write_text("new"))
    assert target.read_text() == "new"


def test_a_directory_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in its place: permissions would not stop a superuser."""
    (tmp_path / "taken").write_text("mine")
    for place in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(UserError, match=r"cannot write .*taken.*choose a directory"):
            write(place)
        with pytest.raises(UserError, match=r"cannot write .*taken.*choose a directory"):
            files.check_writable(place)
    assert contents(tmp_path) == {"taken": b"mine"}
    made: list[Path] = []
    monkeypatch.setattr(Path, "mkdir", lambda path, **options: made.append(path))
    files.check_writable(tmp_path / "new" / "below")
    assert made == [tmp_path]  # whoever looks meanwhile sees nothing come and go


def test_a_full_disk_is_an_error_of_one_line(tmp_path: Path) -> None:
    write(tmp_path)
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = [row(seed=seed, round_=round_) for seed in range(60) for round_ in range(60)]
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
        with pytest.raises(UserError, match="cannot write"):
            write(tmp_path / "new", many)
        with pytest.raises(UserError, match="cannot write"):
            write(tmp_path, arrays={"a": torch.rand(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {name: content for name, content in contents_of_files(tmp_path)} == before
    assert not list((tmp_path / "new").glob(".*"))


def contents_of_files(directory: Path) -> list[tuple[str, bytes]]:
    return [(file.name, file.read_bytes()) for file in directory.iterdir() if file.is_file()]


# --- arrays -----------------------------------------------------------------------------------


def test_arrays_lie_beside_the_table(tmp_path: Path) -> None:
    arrays = {"mask/a/0/dense1": torch.tensor([1, 2], dtype=torch.uint8), "w": torch.rand(2, 3)}
    write(tmp_path, arrays=arrays)
    read = records.read_arrays(NAME, tmp_path)
    assert {key: value.tolist() for key, value in read.items()} == {
        key: value.tolist() for key, value in arrays.items()
    }
    with pytest.raises(UserError, match="'other' has no arrays"):
        records.read_arrays("other", tmp_path)
    for damage in (cut, empty):
        write(tmp_path, arrays=arrays)
        damage(tmp_path / f"{NAME}.npz")
        with pytest.raises(UserError, match="is not what its manifest describes"):
            records.read_arrays(NAME, tmp_path)


def test_arrays_of_another_run_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, arrays={"w": torch.rand(2, 3)})
    write(tmp_path / "other", arrays={"w": torch.rand(2, 3)})
    (tmp_path / "other" / f"{NAME}.npz").replace(tmp_path / f"{NAME}.npz")
    with pytest.raises(UserError, match="is not what its manifest describes"):
        records.read_arrays(NAME, tmp_path)


@pytest.mark.parametrize("says_its_name", [True, False])
def test_a_record_under_another_name_is_refused(tmp_path: Path, says_its_name: bool) -> None:
    """Or digits would be judged as the paper's images, and Conv2 as Conv6."""
    write(tmp_path)
    if not says_its_name:  # as older records
        manifest = json.loads((tmp_path / f"{NAME}.json").read_text())
        del manifest["name"]
        (tmp_path / f"{NAME}.json").write_text(json.dumps(manifest))
        assert records.read(NAME, tmp_path).name == NAME
    for suffix in (".json", ".parquet"):
        (tmp_path / f"{NAME}{suffix}").rename(tmp_path / f"criteria-fc-paper{suffix}")
    with pytest.raises(UserError, match=f"manifest of {NAME} under another name"):
        records.read("criteria-fc-paper", tmp_path)


def write_plan(directory: Path, experiment: str, network: str, preset: str, **changes: Any) -> str:
    plan = experiments.plan(experiment, network, preset, **changes)
    name = experiments.name(plan)
    rows = [row(seed=seed) for seed in range(plan.seeds)]
    records.write(directory, name, rows, plan.as_dict())
    return name


def test_the_largest_record_is_found_and_a_whole_preset_comes_first(tmp_path: Path) -> None:
    assert records.largest("criteria", "fc", directory=tmp_path) is None
    tiny = write_plan(tmp_path, "criteria", "fc", "tiny")
    assert records.largest("criteria", "fc", directory=tmp_path) == tiny
    three, four = (write_plan(tmp_path, "criteria", "fc", "paper", seeds=seeds) for seeds in (3, 4))
    assert records.ranked("criteria", "fc", directory=tmp_path) == [four, three, tiny]
    assert records.largest("criteria", "fc", "tiny", tmp_path) == tiny
    assert records.largest("criteria", "fc", "cpu", tmp_path) is None
    assert records.largest("criteria", "fc", directory=tmp_path, digits=True) == tiny
    assert records.ranked("criteria", "fc", directory=tmp_path, digits=False) == [four, three]
    whole = write_plan(tmp_path, "criteria", "fc", "paper")
    assert records.largest("criteria", "fc", directory=tmp_path) == whole == "criteria-fc-paper"


def test_a_wider_record_is_larger_than_one_with_more_rows(tmp_path: Path) -> None:
    for width, images, seeds in ((0.125, 3000, 6), (0.5, 2000, 5), (0.5, 3000, 3), (0.5, 3000, 4)):
        changes = {"width": width, "train_images": images, "seeds": seeds}
        last = write_plan(tmp_path, "signs", "conv2", "cpu", **changes)
    assert records.largest("signs", "conv2", directory=tmp_path) == last


def test_a_record_of_too_few_seeds_displaces_none_with_enough(tmp_path: Path) -> None:
    tiny = write_plan(tmp_path, "signs", "fc", "tiny", seeds=records.FEWEST_SEEDS)
    begun = write_plan(tmp_path, "signs", "fc", "paper", seeds=records.FEWEST_SEEDS - 1)
    assert records.ranked("signs", "fc", directory=tmp_path) == [tiny, begun]
    assert records.largest("signs", "fc", "paper", tmp_path) == begun  # nothing else is there
    enough = write_plan(tmp_path, "signs", "fc", "paper", seeds=records.FEWEST_SEEDS)
    assert records.ranked("signs", "fc", directory=tmp_path) == [enough, tiny, begun]


def test_arrays_are_never_unpickled(tmp_path: Path) -> None:
    write(tmp_path)
    np.savez(tmp_path / f"{NAME}.npz", trap=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="is damaged"):
        records.read_arrays(NAME, tmp_path)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 10**6))
def test_packed_masks_unpack(shape: list[int], seed: int) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    packed = records.pack_mask(mask)
    assert packed.numel() == -(-mask.numel() // 8)
    assert torch.equal(records.unpack_mask(packed.numpy(), shape), mask)


# --- provenance -------------------------------------------------------------------------------


def test_the_commit_is_that_of_the_checkout_or_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dltlib import paths

    assert records.commit() == "unknown" or len(records.commit().rstrip("+")) == 40
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)  # a copy without git
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert records.commit() == "unknown"
    monkeypatch.setenv("PATH", "")
    assert records.commit() == "unknown"
