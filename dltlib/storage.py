"""Where a plan's checkpoints and record lie, what of them is there, and what is left to do.

Checkpoints are kept in `paths.runs()`, records of stock presets in `paths.records()`. Replicas that
an earlier record holds, made by code that gives the same numbers, are taken from there and not
trained again.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import torch
from torch import Tensor

from dltlib import catalogue, checkpoints, experiments, files, paths, plans, records
from dltlib.checkpoints import Checkpoint, Fingerprint
from dltlib.errors import UserError
from dltlib.plans import Plan, Replica


@dataclass(frozen=True)
class Reused:
    """Replicas that an earlier record holds, with their small arrays."""

    record: records.Record
    replicas: list[Replica]
    keepsakes: dict[str, Tensor]


@dataclass
class Work:
    """A plan under way: a checkpoint for each shard, and what is taken from earlier records, which
    saves so many replica-iterations."""

    plan: Plan
    fingerprint: Fingerprint
    checkpoints: list[Checkpoint]
    reused: list[Reused]
    saved: int


# --- where --------------------------------------------------------------------------------------


def run_directory(plan: Plan) -> Path:
    """Where the plan's checkpoints lie."""
    return paths.runs() / f"{plan.experiment}-{plan.network}-{plan.preset}-{plan.hash}"


def shard_path(plan: Plan, shard: Sequence[Replica]) -> Path:
    """The checkpoint of these replicas of the plan."""
    return run_directory(plan) / checkpoints.file_name(shard)


def is_own(plan: Plan) -> bool:
    """Whether the plan is a user's own, and not that of an unchanged preset."""
    return plan != experiments.stock(plan)


def record_directory(plan: Plan) -> Path:
    """Where the plan's record goes: among the book's unless it `is_own`."""
    return run_directory(plan) if is_own(plan) else paths.records()


def record_path(plan: Plan) -> Path:
    """The plan's table, whether it is there yet or not."""
    return record_directory(plan) / f"{experiments.name(plan)}.parquet"


def finished(plan: Plan) -> records.Record | None:
    """The whole record of exactly this plan, if it is there.

    Raises `UserError` if what is there is damaged, or belongs to another configuration: nothing
    is overwritten without ``--force``.
    """
    path = record_path(plan)
    if not path.exists():
        return None
    record = records.read(path.stem, path.parent)
    made = plans.defaults() | record.plan
    if made != plan.as_dict():
        changed = sorted(key for key, value in plan.as_dict().items() if made.get(key) != value)
        raise UserError(
            f"the record {path.stem} in {path.parent} was made with other values of "
            f"{', '.join(changed)}: keep it, or remake it with --force"
        )
    return record


def is_done(plan: Plan) -> bool:
    """Whether the plan's record is there, and no run under way that remakes it (``--force``)."""
    there = record_path(plan).exists()
    return there and not checkpoints.furthest_first(run_directory(plan), plan.hash)


def ready(plan: Plan, force: bool = False) -> records.Record | None:
    """The plan's finished record, unless it is to be remade by ``force``, or is being remade.

    Where there is none, raises `UserError` now, and not after hours, if checkpoints or the record
    cannot be written.
    """
    if not force and is_done(plan):
        return finished(plan)
    for directory in (record_directory(plan), run_directory(plan)):
        files.check_writable(directory)
    return None


@contextlib.contextmanager
def sole(plan: Plan) -> Iterator[None]:
    """Let no other process run the plan meanwhile, which would write to the same checkpoints.

    Raises `UserError` if one does. A process that is killed leaves no lock behind.
    """
    directory = run_directory(plan)
    # Not in the run's own directory, which goes when the run is finished.
    path = paths.runs() / "locks" / f"{directory.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=0)
        lock.acquire()
    except filelock.Timeout as error:
        raise UserError(
            f"{experiments.name(plan)} is being run by another process, which keeps its "
            f"checkpoints in {directory}: wait for it, or stop it and give the same command again, "
            "which goes on from there"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): choose a directory that can be "
            "written (DLTLIB_RUNS)"
        ) from error
    try:
        yield
    finally:
        lock.release()


# --- from checkpoints and records to what is left to do -----------------------------------------


def resume(
    plan: Plan,
    fingerprint: Fingerprint,
    fitting: int,
    force: bool = False,
    accept_change: bool = False,
) -> Work:
    """Open the plan's checkpoints, find what earlier records hold, and divide up the rest.

    ``fitting`` replicas train side by side at most. ``force`` begins anew: checkpoints go, and
    nothing is taken from records. Raises `UserError` for a checkpoint that is damaged, or that was
    begun by what gives other numbers (unless ``accept_change``).
    """
    if force:
        checkpoints.delete(run_directory(plan))
    found, reused, missing = inventory(plan, fingerprint, nothing_taken=force)
    for checkpoint in found:
        checkpoint.hold(fingerprint, accept_change)
    saved = experiments.size(plan).iterations - experiments.iterations(
        plan, [replica for part in found for replica in part.replicas] + missing
    )
    for shard in checkpoints.shards(missing, checkpoints.division(len(missing), fitting)):
        checkpoint = Checkpoint(shard_path(plan, shard), plan.hash, shard)
        checkpoint.origins = [fingerprint.origin()]
        found.append(checkpoint)
    return Work(plan, fingerprint, found, reused, saved)


def inventory(
    plan: Plan, fingerprint: Fingerprint | None = None, nothing_taken: bool = False
) -> tuple[list[Checkpoint], list[Reused], list[Replica]]:
    """The plan's checkpoints, what earlier records hold of the rest, and the replicas left.

    Without a fingerprint this is what manifests say, whatever code and data give now; records are
    left aside if ``nothing_taken``.
    """
    found = _resumable(plan)
    held = {replica for checkpoint in found for replica in checkpoint.replicas}
    missing = [replica for replica in plan.replicas if replica not in held]
    reused = [] if nothing_taken else _reusable(plan, missing, fingerprint)
    taken = {replica for part in reused for replica in part.replicas}
    return found, reused, [replica for replica in missing if replica not in taken]


def _resumable(plan: Plan) -> list[Checkpoint]:
    """The checkpoints of earlier runs of the plan, however they divided it.

    How much memory is free, or how many workers there are, must not decide what is resumed. Of
    two that hold the same replica the further one counts.
    """
    there = checkpoints.furthest_first(run_directory(plan), plan.hash)
    wanted, found = set(plan.replicas), []
    for checkpoint in there:
        if wanted.issuperset(checkpoint.replicas):
            wanted -= set(checkpoint.replicas)
            found.append(checkpoint)
    return found


def _reusable(
    plan: Plan, missing: Sequence[Replica], fingerprint: Fingerprint | None
) -> list[Reused]:
    """Of the missing replicas, those that records hold which the same code would make again.

    Without a fingerprint (a dry run reads no data) neither data nor code are compared.
    """
    left, found = set(missing), []
    for file in _manifests():
        if not left:
            break
        try:
            manifest = json.loads(file.read_text())
            origin = manifest["fingerprint"]
            same = plans.shared(manifest["plan"]) == plan.shared
            made = dict(origin["arms"])
            if fingerprint:
                same = same and origin["data"] == fingerprint.data
                made = {arm: made[arm] for arm in made if made[arm] == fingerprint.arms.get(arm)}
        except (OSError, ValueError, KeyError, TypeError, UserError):
            continue  # an older record, or none: nothing to take
        if not same or "continued_from" in manifest:
            continue
        if plans.defaults() | manifest["plan"] == plan.as_dict():  # its own, made anew (--force)
            continue
        try:
            record = records.read(file.stem, file.parent)
            replicas = [
                replica for replica in record.replicas if replica in left and replica.arm in made
            ]
            if not replicas:
                continue
            keepsakes = _keepsakes(file, record, replicas)
        except UserError:
            continue  # damaged: `dltlib status` says so
        found.append(Reused(record, replicas, keepsakes))
        left -= set(replicas)
    return found


def _manifests() -> list[Path]:
    """Of all records: the book's, those that are still growing, and those of runs of one's own."""
    return [
        file
        for folder, pattern in (
            (paths.records(), "*.json"),
            (paths.records() / "growing", "*.json"),
            (paths.runs(), "*/*.json"),
        )
        for file in sorted(folder.glob(pattern))
    ]


def _keepsakes(
    file: Path, record: records.Record, replicas: Sequence[Replica]
) -> dict[str, Tensor]:
    """The record's arrays, of the masks only those of the replicas."""
    if "arrays_sha256" not in record.manifest:
        return {}
    masks = tuple(f"mask/{replica.arm}/{replica.seed}/" for replica in replicas)
    return {
        name: torch.from_numpy(value)
        for name, value in records.read_arrays(file.stem, file.parent).items()
        if name.startswith(masks) or not name.startswith("mask/")
    }


# --- the record ---------------------------------------------------------------------------------


def finish(work: Work, device: str) -> Path:
    """Write the record of a plan from its finished shards, then drop the plan's checkpoints.

    Its device is the one on which they were trained, or where the first of them was taken from.
    """
    plan, parts = work.plan, work.checkpoints
    if not parts:
        first = work.reused[0]
        device = first.record.made_on(first.replicas[0])["device"]
    rows = [row for earlier in work.reused for row in earlier.record.rows_of(earlier.replicas)]
    rows += [row for part in parts for row in part.rows]
    # Shards that share a seed both know its dense network: one row of it is enough.
    unique = {tuple(row[column] for column in records.KEY): row for row in rows}
    keepsakes: dict[str, Tensor] = {}
    for taken in work.reused:
        keepsakes |= taken.keepsakes
    for part in parts:
        keepsakes |= part.keepsakes()
    target = records.write(
        record_directory(plan),
        experiments.name(plan),
        list(unique.values()),
        plan.as_dict(),
        keepsakes,
        device=device,
        seconds=round(sum(part.seconds for part in parts), 1),
        command=experiments.command(plan),
        **_origins(work),
    )
    # Those of earlier runs, if divided otherwise, are superseded too.
    checkpoints.delete(run_directory(plan))
    with contextlib.suppress(OSError):  # it holds the record of one's own, or was never needed
        run_directory(plan).rmdir()
    return target


def _origins(work: Work) -> dict[str, Any]:
    """For the manifest: by what the rows were made, and what was taken from where.

    What was taken has the present fingerprint too, else it would have been trained.
    """
    facts = work.fingerprint.as_dict()
    processor = facts.pop("processor")
    if not work.checkpoints:
        first = work.reused[0]
        processor = first.record.made_on(first.replicas[0])["processor"]
    facts = {"processor": processor, "fingerprint": facts}
    earlier = [origin for part in work.checkpoints for origin in part.origins[:-1]]
    if earlier:
        facts["continued_from"] = earlier
    if work.reused:
        facts["reused"] = [
            {"record": part.record.name, **made, "replicas": replicas}
            for part in work.reused
            for made, replicas in _by_machine(part)
        ]
    return facts


def _by_machine(part: Reused) -> list[tuple[dict[str, Any], list[list[Any]]]]:
    """A record's replicas by where they were trained, as `records.Record.made_on` has it."""
    found: list[tuple[dict[str, Any], list[list[Any]]]] = []
    for replica in part.replicas:
        made = part.record.made_on(replica)
        if not found or found[-1][0] != made:
            found.append((made, []))
        found[-1][1].append(list(replica))
    return found


# --- what there is ------------------------------------------------------------------------------


def status() -> list[str]:
    """Lines about finished records and unfinished runs, for people."""
    lines = [f"records in {paths.records()}:", *_grid()]
    lines += [_record_in_words(name, paths.records()) for name in records.available()]
    own = [
        _record_in_words(name, directory)
        for directory in sorted(paths.runs().glob("*-*"))
        for name in records.available(directory)
    ]
    if own:
        lines += [f"records of runs of your own, in {paths.runs()}:", *own]
    unfinished = []
    for directory in sorted(paths.runs().glob("*-*")):
        for file in sorted(directory.glob("shard-*.safetensors")):
            try:
                checkpoint = Checkpoint.open(file, directory.name.rsplit("-", 1)[1])
                state = "finished" if checkpoint.finished else f"after round {checkpoint.round}"
                state += f", {len(checkpoint.replicas)} replicas"
            except UserError as error:
                state = str(error)
            unfinished.append(f"  {directory.name}/{file.stem}: {state}")
    if unfinished:
        lines += [f"unfinished runs in {paths.runs()}:", *unfinished]
    return lines


def _record_in_words(name: str, directory: Path) -> str:
    try:
        record = records.read(name, directory)
    except UserError as error:
        return f"  {name}: {error}"
    manifest = record.manifest
    return (
        f"  {name}: {len(record.table)} rows, {manifest['finished'][:10]}, "
        f"{manifest['seconds'] / 60:.1f} min on {manifest['device']}"
    )


def find_record(name: str) -> records.Record:
    """A finished record by its name: the book's, or one of a run of one's own."""
    own = (folder for folder in paths.runs().glob("*-*") if name in records.available(folder))
    return records.read(name, None if name in records.available() else next(own, None))


def _grid() -> list[str]:
    """Experiments by networks: the preset of the largest record that is there, or a dash."""
    wide = max(map(len, catalogue.EXPERIMENTS)) + 4
    lines = [" " * wide + "".join(f"{name:8}" for name in catalogue.NETWORKS)]
    for experiment in catalogue.EXPERIMENTS:
        found = [_largest_preset(experiment, network) for network in catalogue.NETWORKS]
        lines.append(f"  {experiment:{wide - 2}}" + "".join(f"{preset:8}" for preset in found))
    return lines


def _largest_preset(experiment: str, network: str) -> str:
    try:
        name = records.largest(experiment, network)
        return "-" if name is None else str(records.read(name).plan["preset"])
    except UserError:  # its own line below says what is wrong
        return "damaged"
