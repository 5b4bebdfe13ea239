"""What is trusted is checked: whose a checkpoint is, what code began it, where rows come from."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pandas as pd
import pytest
import torch

from dltlib import (
    catalogue,
    cli,
    criteria,
    datasets,
    experiments,
    files,
    fingerprints,
    paths,
    plans,
    processor,
    records,
    runs,
    storage,
)
from dltlib.checkpoints import Checkpoint
from dltlib.errors import UserError
from dltlib.experiments import plan
from dltlib.kernel import lists
from dltlib.plans import Plan

ARMS = ("large_final", "random", "movement/signed_reinit")


def small(experiment: str = "criteria", **changes: object) -> Plan:
    values = {"seeds": 2, "rounds": 2, "epochs": 1, "train_images": 240, "batch_size": 40}
    values |= {"arms": ARMS, "width": 0.1}
    return plan(experiment, "fc", "tiny", **(values | changes))


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path / "records"))
    fingerprints.probe.cache_clear()


class Stop(Exception):
    """Instead of a kill, within one process."""


def stop_after(round_: int, some: Plan, **options: object) -> None:
    """Run until that round is saved."""
    real = Checkpoint.save

    def save(self: Checkpoint, at: int, *arguments: object) -> None:
        real(self, at, *arguments)
        if self.path and at == round_:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save)
        with pytest.raises(Stop):
            runs.run(some, **options)


def turn_round(monkeypatch: pytest.MonkeyPatch, name: str = "large_final") -> None:
    """The code changes between two runs: a criterion's sign."""
    found = criteria.CRITERIA[name]
    other = dataclasses.replace(found, score=lambda history: -found.score(history))
    monkeypatch.setitem(criteria.CRITERIA, name, other)
    fingerprints.probe.cache_clear()


# --- checkpoints ------------------------------------------------------------------------------


def test_a_shards_checkpoint_in_anothers_place_is_refused() -> None:
    some = small()
    stop_after(0, some, at_once=3)
    (first,) = storage.run_directory(some).glob("shard-*")
    second = storage.shard_path(some, some.replicas[3:])
    assert second != first
    first.rename(second)
    with pytest.raises(UserError, match=f"another shard: give it its own name back.*{first.name}"):
        runs.run(some)
    second.rename(first)
    assert len(pd.read_parquet(runs.run(some))) == 2 * 3 * 3


def test_going_on_under_changed_code_is_refused_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = small()
    stop_after(1, some)
    with monkeypatch.context() as patch:
        turn_round(patch)
        with pytest.raises(
            UserError, match=r"other numbers for large_final/rewind/zero: .*--accept-change"
        ):
            runs.run(some)
        target = runs.run(some, accept_change=True)
    manifest = records.read(target.stem, target.parent).manifest
    (earlier,) = manifest["continued_from"]
    name = "large_final/rewind/zero"
    assert earlier["arms"][name] != manifest["fingerprint"]["arms"][name]
    assert (
        earlier["arms"]["random/rewind/zero"]
        == (manifest["fingerprint"]["arms"]["random/rewind/zero"])
    )


def test_the_same_numbers_by_other_code_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    some = small()
    stop_after(1, some)
    found = criteria.CRITERIA["large_final"]
    rewritten = dataclasses.replace(
        found, score=lambda history: history.final.where(history.final > 0, -history.final)
    )
    monkeypatch.setitem(criteria.CRITERIA, "large_final", rewritten)
    assert "continued_from" not in manifest_of(runs.run(some))


def test_going_on_with_other_data_is_refused() -> None:
    some = small()
    data = experiments.load_dataset(some)
    stop_after(1, some, dataset=data)
    darker = dataclasses.replace(
        data, train=dataclasses.replace(data.train, images=data.train.images // 2)
    )
    with pytest.raises(UserError, match="other data"):
        runs.run(some, dataset=darker)


def test_a_checkpoint_that_names_no_code_goes_on_only_if_asked_for() -> None:
    """Those of earlier versions say neither their replicas nor their code; their rows are kept."""
    some = small()
    stop_after(1, some)
    (path,) = storage.run_directory(some).glob("shard-*")
    checkpoint = Checkpoint.open(path, some.hash)
    checkpoint.origins = []
    layers = {name: checkpoint.layers(name) for name in checkpoint.names()}
    checkpoint.save(1, [], layers, {}, False)
    with pytest.raises(UserError, match=r"nobody knows which numbers: .*--accept-change"):
        runs.run(some)
    target = runs.run(some, accept_change=True)
    assert records.read(target.stem, target.parent).manifest["continued_from"] == [
        {"commit": "unknown"}
    ]


def test_another_kind_of_processor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are tested by stock torch, whose sums depend on it."""
    some = small("supermasks", seeds=1, rounds=1, arms=("random",))
    stop_after(0, some)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX1024")
    fingerprints.probe.cache_clear()
    with pytest.raises(UserError, match=r"another kind of processor \(torch with .*AVX1024"):
        runs.run(some)


# --- finished replicas ------------------------------------------------------------------------


def manifest_of(target: Path) -> dict:
    return json.loads(target.with_suffix(".json").read_text())


@pytest.mark.parametrize("kind", ["tickets", "criterion_masks", "learned_masks"])
def test_a_sixth_seed_costs_only_itself(kind: str) -> None:
    """And the record is the same, to the byte, as that of a run from the start."""
    changes: dict = {"arms": None}
    name = "criteria"
    if kind == "tickets":
        changes = {"arms": ARMS}
    elif kind == "criterion_masks":
        name, changes = "supermasks", {"arms": ("large_final", "random/constant/rescaled")}
    else:
        name, changes = "learned_supermasks", {"arms": ("learned", "learned/constant/rescaled")}
    if kind != "learned_masks":
        changes["rounds"] = 2
    base = {"epochs": 2, "train_images": 240, "batch_size": 40, "width": 0.1} | changes
    some = plan(name, "fc", "tiny", seeds=2, **base)
    more = plan(name, "fc", "tiny", seeds=3, **base)
    assert some.kind == kind
    runs.run(some)
    trained: list[int] = []
    taken: list[int] = []
    told: list[str] = []

    def progress(done: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
        (taken if earlier else trained).append(done)
        told.extend([earlier] if earlier else [])

    grown = runs.run(more, progress=progress)
    total = experiments.size(more).iterations
    assert 0 < sum(trained) <= total / 2
    assert sum(taken) + sum(trained) == total  # the bar ends full
    (said,) = told
    assert said.endswith(f"are taken over: {len(some.replicas)} from {experiments.name(some)}")
    (reused,) = manifest_of(grown)["reused"]
    assert reused["record"] == experiments.name(some)
    assert sorted(map(tuple, reused["replicas"])) == sorted(some.replicas)
    content = grown.read_bytes()
    arrays = grown.with_suffix(".npz")
    kept = arrays.read_bytes() if arrays.exists() else None
    runs.run(more, force=True)
    assert grown.read_bytes() == content
    assert kept is None or arrays.read_bytes() == kept
    assert "reused" not in manifest_of(grown)


def test_large_final_is_trained_once_for_criteria_signs_and_zeros() -> None:
    runs.run(small("criteria"))
    runs.run(small("signs", arms=("large_final", "large_final/reinit")))
    target = runs.run(small("zeros", arms=("large_final", "large_final/rewind/freeze_init")))
    (reused,) = manifest_of(target)["reused"]
    assert {arm for arm, _ in reused["replicas"]} == {"large_final/rewind/zero"}
    tables = [pd.read_parquet(file) for file in sorted(paths.runs().glob("*/*.parquet"))]
    rows = [
        table[table["arm"] == "large_final/rewind/zero"].reset_index(drop=True) for table in tables
    ]
    assert len(rows) == 3
    assert rows[0].equals(rows[1]) or rows[0].to_json() == rows[1].to_json() == rows[2].to_json()


def test_nothing_is_taken_from_what_other_code_made(monkeypatch: pytest.MonkeyPatch) -> None:
    runs.run(small("criteria"))
    turn_round(monkeypatch)
    target = runs.run(small("criteria", seeds=3))
    (reused,) = manifest_of(target)["reused"]
    assert {arm for arm, _ in reused["replicas"]} == {
        "random/rewind/zero",
        "movement/signed_reinit/zero",
    }


def test_a_record_that_is_remade_gives_nothing_to_itself() -> None:
    some = small(arms=ARMS[:2])
    runs.run(some, at_once=2)
    stop_after(some.rounds, some, at_once=2, force=True)
    assert len(storage.status()) > 0
    manifest = manifest_of(runs.run(some, at_once=2))
    assert "reused" not in manifest


def test_what_was_taken_twice_still_says_who_trained_it(monkeypatch: pytest.MonkeyPatch) -> None:
    first = runs.run(small(seeds=1))
    monkeypatch.setattr(processor, "describe", lambda device: "another machine")
    runs.run(small(seeds=2))
    for file in first.parent.iterdir():  # all that is left is what the second took from it
        file.unlink()
    manifest = manifest_of(runs.run(small(seeds=3)))
    elsewhere = {
        seed: part["device"] == "another machine"
        for part in manifest["reused"]
        for _, seed in part["replicas"]
    }
    assert elsewhere == {0: False, 1: True}


def test_nothing_is_taken_from_a_damaged_record() -> None:
    target = runs.run(small("criteria"))
    target.write_bytes(target.read_bytes()[:-50])
    assert "reused" not in manifest_of(runs.run(small("criteria", seeds=3)))


def test_rows_that_several_committed_records_share_are_the_same() -> None:
    """Wherever the same plan, code and processor made them; older records do not say which."""
    shared: dict[tuple, tuple[str, str]] = {}
    compared = 0
    for file in sorted((paths.book() / "records").glob("*.json")):
        manifest = json.loads(file.read_text())
        if "fingerprint" not in manifest:
            continue
        record = records.read(file.stem, file.parent)
        for replica in record.replicas:
            same = json.dumps(
                [
                    plans.shared(record.plan),
                    replica,
                    manifest["fingerprint"]["data"],
                    manifest["fingerprint"]["arms"].get(replica.arm),
                ],
                sort_keys=True,
            )
            rows = json.dumps(record.rows_of([replica]), sort_keys=True)
            name, before = shared.setdefault(same, (file.stem, rows))
            assert rows == before, f"{replica} differs between {name} and {file.stem}"
            compared += name != file.stem
    assert compared


# --- ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_asked_to_end_says_that_it_can_go_on(number: int, tmp_path: Path) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("these tests run under nohup, and so does what they start")
    some = small(epochs=40, rounds=40, width=1.0, train_images=1_200)
    process = subprocess.Popen(
        [sys.executable, "-m", "dltlib.cli", *experiments.command(some).split()[1:], "--quiet"],
        env=os.environ | {"PYTHONPATH": str(paths.REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(storage.run_directory(some).glob("shard-*.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors.splitlines()[-1] == "dltlib: stopped; the same command goes on from here"


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(
    tmp_path: Path,
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = uuid.getnode()
    left = [
        f".shard-1.safetensors.{here:x}-{dead.pid}.part",
        f".b.npz.{here + 1:x}-{dead.pid}.part",  # on another machine
        f".a.npz.{here:x}-{os.getpid()}.part",  # being written
        ".gitignore",
    ]
    for name in left:
        (tmp_path / name).touch()
    files.check_writable(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(left[1:])


def test_a_finished_stock_run_leaves_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    from dltlib.kinds import KINDS, tickets

    values = tickets.preset(catalogue.NETWORKS["fc"], "tiny")
    values |= {"seeds": 1, "rounds": 0, "epochs": 1}
    kind = dataclasses.replace(KINDS["tickets"], preset=lambda *_: values)
    monkeypatch.setitem(KINDS, "tickets", kind)
    runs.run(plan("zeros"))
    assert [path.name for path in paths.runs().iterdir()] == ["locks"]


def test_a_full_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dltlib.cli", "status"], stdout=full, stderr=subprocess.PIPE,
            text=True, env=os.environ | {"PYTHONPATH": str(paths.REPOSITORY)},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot write the output (No space left on device)" in done.stderr


def test_an_error_of_the_system_is_not_taken_for_one_of_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def broken() -> None:
        raise OSError("libtorch.so: cannot open shared object file")

    monkeypatch.setattr(storage, "status", broken)
    assert cli.main(["status"]) == 2
    assert capsys.readouterr().err == (
        "dltlib: error: libtorch.so: cannot open shared object file\n"
    )


def test_reduced_precision_is_refused_on_a_cpu() -> None:
    for run in (runs.run, runs.table):
        with pytest.raises(UserError, match="precision bf16 is a GPU's"):
            run(small(precision="bf16"))


def test_a_criterion_that_a_cell_defines_again_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process: nothing is taken from before, and the finished record is not passed off."""
    found = criteria.CRITERIA["movement"]
    some = small(seeds=1, arms=("movement",))
    runs.run(some)
    runs.run(some)  # finished already
    turned = dataclasses.replace(found, score=lambda history: -found.score(history))
    monkeypatch.setitem(criteria.CRITERIA, "movement", turned)
    with pytest.raises(UserError, match=r"other numbers for movement/rewind/zero: .*--force"):
        runs.run(some)
    assert cli.main(experiments.command(some).split()[1:]) == 2
    more = manifest_of(runs.run(dataclasses.replace(some, seeds=2)))
    assert "reused" not in more
    assert "reused" not in manifest_of(runs.run(some, force=True))


def test_a_network_that_halves_digits_too_often_is_known_by_its_own_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep = dataclasses.replace(catalogue.NETWORKS["conv2"], name="deep", channels=(2,) * 8)
    monkeypatch.setitem(catalogue.NETWORKS, "deep", deep)
    noise = torch.randint(0, 256, (300, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    whole = datasets.Split(noise.to(torch.uint8), torch.arange(300) % 10)
    facts = catalogue.DataSource("noise", "noise", (1, 16, 16), 150, 50, 100, "made up")
    monkeypatch.setitem(catalogue.DATASETS, "noise", facts)
    made = datasets.Dataset("noise", whole.first(150), whole.first(50), whole.first(100))
    monkeypatch.setitem(datasets._READERS, "noise", lambda directory: made)
    some = plan(
        "criteria", "deep", "tiny", dataset="noise", arms=("random",), seeds=1, rounds=1, epochs=1
    )
    assert fingerprints.take(some, made, torch.device("cpu")).arms.keys() == {"random/rewind/zero"}


def test_a_shard_counts_no_seconds_of_those_before_it() -> None:
    some = small()
    began = time.monotonic()
    target = runs.run(some, at_once=1)
    assert manifest_of(target)["seconds"] <= time.monotonic() - began


def test_a_record_that_is_all_taken_says_where_it_was_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs.run(small())
    monkeypatch.setattr(processor, "describe", lambda device: "another machine")
    manifest = manifest_of(runs.run(small(seeds=1)))
    assert manifest["device"] != "another machine"
    assert manifest["reused"][0]["device"] == manifest["device"]


def test_what_only_wide_layers_go_through_is_known_by_a_network_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The probe is a narrow network; the kernel has a pass that no narrow layer takes."""
    images, cpu = datasets.load("digits"), torch.device("cpu")

    def arms(width: float) -> dict[str, str]:
        fingerprints._of_wide_layers.cache_clear()
        some = plan("criteria", "conv2", "paper", arms=("random",), width=width)
        return fingerprints.take(some, images, cpu).arms

    narrow, wide = arms(0.25), arms(1.0)
    by_errors = fingerprints._of_wide_layers()
    assert wide.keys() == narrow.keys()
    assert wide != narrow
    monkeypatch.setattr(lists, "TURNED_DENSITY", 2.0)  # never: the same sums in another order
    assert arms(0.25) == narrow
    assert arms(1.0) != wide
    assert fingerprints._of_wide_layers() != by_errors
    fingerprints._of_wide_layers.cache_clear()
