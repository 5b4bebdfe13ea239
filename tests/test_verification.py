"""`dltlib verify` bears out a sound record, and finds a wrong one out."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dltlib import cli, datasets, experiments, records, runs, verification
from dltlib.errors import UserError
from dltlib.records import Record


@pytest.fixture(scope="module")
def sound() -> Record:
    plan = experiments.plan(
        "signs", "fc", "tiny", rounds=2, epochs=2, seeds=2, arms=("large_final/rewind/zero",)
    )
    target = runs.run(plan)
    return records.read(target.stem, target.parent)


def changed(record: Record, by: float, round_: int | None = None, **facts: Any) -> Record:
    """Test accuracies moved, everywhere or in one round; facts of the manifest replaced."""
    table = record.table.copy()
    where = table["round"] == round_ if round_ is not None else table["round"] >= 0
    table.loc[where, "test_accuracy"] += by
    return dataclasses.replace(record, table=table, manifest=record.manifest | facts)


ELSEWHERE = {"torch": "NEON", "kernel": "128 bits, fused"}


def verified(record: Record, rounds: int | None = None) -> verification.Verdict:
    return verification.verify(record, verification.sample(record, 1), rounds=rounds)


def test_a_sound_record_is_identical(sound: Record) -> None:
    verdict = verification.verify(sound, verification.sample(sound, 2))
    assert not verdict.unlike
    assert verdict.identical
    assert verdict.holds
    assert verdict.rows == len(sound.table)
    assert verdict.difference == 0
    assert "to the last bit" in verdict.describe()


def test_an_older_record_that_measured_less_is_held_to_what_it_has(sound: Record) -> None:
    older = dataclasses.replace(sound, table=sound.table.drop(columns="turned_share"))
    assert verified(older).identical
    wrong = changed(older, 2**-50)
    assert not verified(wrong).identical


def test_a_number_of_rounds_that_is_none_is_refused(sound: Record) -> None:
    with pytest.raises(UserError, match="rounds must not be negative, as -3 is"):
        verified(sound, rounds=-3)


def test_on_a_like_processor_one_last_bit_is_too_much(sound: Record) -> None:
    verdict = verified(changed(sound, 2**-50, round_=2))
    assert not verdict.unlike
    assert not verdict.identical
    assert not verdict.holds
    assert verified(changed(sound, 2**-50, round_=2), rounds=1).holds  # the round is not reached


def test_elsewhere_a_stated_tolerance_is_allowed(sound: Record) -> None:
    near = verified(changed(sound, 0.9 * verification.TOLERANCE, processor=ELSEWHERE))
    assert near.unlike == "on another kind of processor"
    assert not near.identical
    assert near.holds
    far = verified(changed(sound, 1.1 * verification.TOLERANCE, processor=ELSEWHERE))
    assert not far.holds
    assert "another kind of processor" in far.describe()


def test_where_a_record_was_continued_by_other_numbers_a_tolerance_is_allowed(
    sound: Record,
) -> None:
    origin = {"commit": "unknown", "arms": {}}
    near = verified(changed(sound, 0.9 * verification.TOLERANCE, continued_from=[origin]))
    assert near.holds
    assert "continued by what gives other numbers" in near.describe()


def test_a_replica_taken_over_is_held_to_the_processor_that_trained_it(sound: Record) -> None:
    first, second = sound.replicas
    part = {"record": "earlier", "device": "a phone", "processor": ELSEWHERE}
    mixed = changed(sound, 2**-50, reused=[part | {"replicas": [list(second)]}])
    assert mixed.made_on(second) == {"processor": ELSEWHERE, "device": "a phone"}
    assert not verification.verify(mixed, [first]).holds
    assert verification.verify(mixed, [second]).holds


def test_what_stock_torch_computes_is_held_to_its_version_and_machine() -> None:
    """The kernel's sums are fixed in its code, on all of a kind of processor."""
    some = experiments.plan("learned_supermasks", seeds=1, epochs=1, arms=("learned",))
    target = runs.run(some)
    record = records.read(target.stem, target.parent)
    versions = record.manifest["versions"] | {"torch": "1.0"}
    for facts, said in (
        ({}, ""),
        ({"versions": versions}, "by another version of torch"),
        ({"device": "abacus"}, "on another kind of processor or number of threads"),
    ):
        verdict = verified(changed(record, 2**-50 if facts else 0, **facts))
        assert (verdict.unlike, verdict.holds) == (said, True)


def test_what_the_kernel_computes_is_held_to_the_bit_by_any_version(sound: Record) -> None:
    versions = sound.manifest["versions"] | {"torch": "1.0"}
    assert not verified(changed(sound, 2**-50, versions=versions, device="abacus")).holds


def test_a_sample_is_spread_over_arms_and_seeds(sound: Record) -> None:
    assert [replica.seed for replica in verification.sample(sound, 2)] == [0, 1]
    for count in (0, 3):
        with pytest.raises(UserError, match="choose 1 to 2"):
            verification.sample(sound, count)


def test_the_command_says_so_and_ends_with_a_status(
    sound: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path))
    for by, status, word in ((0.0, 0, "holds"), (0.1, 1, "DOES NOT HOLD")):
        rows = changed(sound, by).table.to_dict("records")
        facts = {name: sound.manifest[name] for name in ("device", "processor", "seconds")}
        records.write(tmp_path, sound.name, rows, sound.plan, **facts)
        assert cli.main(["verify", sound.name, "--quiet"]) == status
        assert capsys.readouterr().out.startswith(f"{sound.name}: {word}\n")


def test_other_data_are_refused(sound: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    real = datasets.load

    def darkened(name: str) -> datasets.Dataset:
        whole = real(name)
        train = dataclasses.replace(whole.train, images=whole.train.images // 2)
        return dataclasses.replace(whole, train=train)

    monkeypatch.setattr(datasets, "load", darkened)
    with pytest.raises(UserError, match="made of other images or labels"):
        verification.verify(sound, sound.replicas[:1])


def test_bits_of_a_gpu_are_not_asked_for() -> None:
    """There they depend on how many replicas share an operation."""
    close = verification.Verdict([], 1, unlike="on a GPU", identical=False, difference=0.01)
    assert close.holds
