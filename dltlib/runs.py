"""Running a plan: in shards that fit the memory, resumably, into one record.

Replicas are independent of one another, so a plan may run whole, in shards, resumed or on several
machines, and leaves the same records. Replicas that an earlier record holds, made by code that
gives the same numbers, are taken from there and not trained again.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dltlib import (
    catalogue,
    datasets,
    experiments,
    files,
    fingerprints,
    paths,
    plans,
    processor,
    records,
    training,
)
from dltlib.checkpoints import Checkpoint
from dltlib.datasets import Dataset
from dltlib.errors import UserError
from dltlib.fingerprints import Fingerprint
from dltlib.kinds import KINDS, Progress, Shard
from dltlib.networks import Network
from dltlib.plans import Plan, Replica

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Reused:
    """Replicas that an earlier record holds, with their rows and small arrays."""

    record: str
    replicas: list[Replica]
    rows: list[dict[str, Any]]
    keepsakes: dict[str, Tensor]


@dataclass
class Run:
    """A plan under way: a checkpoint for each shard, and what is taken from earlier records."""

    plan: Plan
    checkpoints: list[Checkpoint]
    reused: list[Reused] = field(default_factory=list)


# --- running ------------------------------------------------------------------------------------


def run(
    plan: Plan,
    device: torch.device | str = "cpu",
    dataset: Dataset | None = None,
    at_once: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
    accept_change: bool = False,
) -> Path:
    """Run a plan, or go on where an earlier run of it stopped; returns the record's path.

    Records of stock presets go to `paths.records()`, others to their directory under
    `paths.runs()`. A finished record of the same plan is returned as it is unless ``force``d.
    ``dataset`` saves loading the plan's data once more. ``at_once`` limits how many replicas train
    side by side; it never changes the numbers. ``accept_change`` goes on with checkpoints that
    code or a processor began which give other numbers; the manifest then names both.
    """
    device = torch.device(device)
    experiments.size(plan)  # refuses what no machine finishes
    if not force and is_finished(plan):
        return record_path(plan)
    check_device(plan, device)
    files.check_writable(record_directory(plan))
    files.check_writable(run_directory(plan))
    dataset = (dataset or load_dataset(plan)).to(device)
    fitting = at_once or replicas_at_once(plan, experiments.build_network(plan), device)
    fingerprint = fingerprints.take(plan, dataset, device)
    under_way = prepare(plan, fingerprint, fitting, force, accept_change, progress)
    for checkpoint in under_way.checkpoints:
        for _ in rounds(plan, checkpoint, device, dataset, progress):
            pass
    return gather(under_way, processor.describe(device))


def table(
    plan: Plan, device: torch.device | str = "cpu", progress: Progress | None = None
) -> "pandas.DataFrame":
    """Run a plan and return the table of its record, leaving nothing behind: for trying things.

    No earlier run is resumed and no record read, so this is for small plans. Columns are those of
    `records.COLUMNS` that the experiment measures.
    """
    device = torch.device(device)
    experiments.size(plan)
    check_device(plan, device)
    checkpoint = Checkpoint(None, plan.hash(), plan.replicas())
    for _ in rounds(plan, checkpoint, device, load_dataset(plan).to(device), progress):
        pass
    return records.as_table(checkpoint.rows)


def rounds(
    plan: Plan,
    checkpoint: Checkpoint,
    device: torch.device,
    dataset: Dataset,
    progress: Progress | None = None,
) -> Iterator[None]:
    """Run a shard from its checkpoint to its end, pausing whenever the checkpoint was saved."""
    if checkpoint.finished:
        return

    def report(iterations: int, accuracy: float, round_: int, *, earlier: bool = False) -> None:
        checkpoint.iterations += iterations
        if progress:
            progress(iterations, accuracy, round_)

    network = experiments.build_network(plan)
    shard = Shard(plan, network, dataset, device, checkpoint, report)
    yield from KINDS.find(plan.kind).run(shard)


def check_device(plan: Plan, device: torch.device) -> None:
    """Raise `UserError` for a precision that the device does not compute in."""
    if device.type == "cpu" and plan.precision != "fp32":
        raise UserError(
            f"precision {plan.precision} is a GPU's, and a CPU computes in fp32: leave it out, or "
            "run with --device cuda"
        )


def load_dataset(plan: Plan) -> Dataset:
    """The plan's data, on the CPU."""
    return datasets.load(plan.dataset).with_train_images(plan.train_images)


# --- from checkpoints and records to what is left to do -----------------------------------------


def prepare(
    plan: Plan,
    fingerprint: Fingerprint,
    fitting: int,
    force: bool = False,
    accept_change: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Open the plan's checkpoints, find what earlier records hold, and divide up the rest.

    ``fitting`` replicas train side by side at most. ``force`` begins anew: checkpoints go, and
    nothing is taken from records. ``progress`` learns of the work that is there already. Raises
    `UserError` for a checkpoint that is damaged, or that was begun by what gives other numbers
    (unless ``accept_change``).
    """
    found = [] if force else _resumable(plan)
    if force:
        for file in run_directory(plan).glob("shard-*.safetensors"):
            file.unlink(missing_ok=True)
    for checkpoint in found:
        _hold_to(checkpoint, fingerprint, accept_change)
    held = {replica for checkpoint in found for replica in checkpoint.replicas}
    missing = [replica for replica in plan.replicas() if replica not in held]
    reused = [] if force else _reusable(plan, missing, fingerprint)
    taken = {replica for part in reused for replica in part.replicas}
    missing = [replica for replica in missing if replica not in taken]
    for shard in shards(missing, division(len(missing), fitting)):
        checkpoint = Checkpoint(shard_path(plan, shard), plan.hash(), shard)
        checkpoint.origins = [_origin(fingerprint)]
        found.append(checkpoint)
    if progress:
        for checkpoint in found:
            if checkpoint.iterations:
                progress(checkpoint.iterations, math.nan, checkpoint.round, earlier=True)
        if taken:
            share = len(taken) / len(plan.replicas())
            progress(round(experiments.size(plan).iterations * share), math.nan, 0, earlier=True)
    return Run(plan, found, reused)


def _resumable(plan: Plan) -> list[Checkpoint]:
    """The checkpoints of earlier runs of the plan, however they divided it.

    How much memory is free, or how many workers there are, must not decide what is resumed. Of
    two that hold the same replica the further one counts.
    """
    paths_ = sorted(run_directory(plan).glob("shard-*.safetensors"))
    there = [Checkpoint.open(path, plan.hash()) for path in paths_]
    wanted, found = set(plan.replicas()), []
    for checkpoint in sorted(there, key=lambda one: (-one.round, str(one.path))):
        if checkpoint.path != shard_path(plan, checkpoint.replicas):
            raise UserError(
                f"the checkpoint {checkpoint.path} holds the replicas of another shard: give it "
                f"its own name back ({shard_path(plan, checkpoint.replicas).name}), or delete it"
            )
        if wanted.issuperset(checkpoint.replicas):
            wanted -= set(checkpoint.replicas)
            found.append(checkpoint)
    return found


def _origin(fingerprint: Fingerprint) -> dict[str, Any]:
    return {"commit": records.commit(), **fingerprint.as_dict()}


def _hold_to(checkpoint: Checkpoint, fingerprint: Fingerprint, accept_change: bool) -> None:
    """Refuse to mix numbers of two codes or processors in a record, or note that it was asked
    for."""
    origin = checkpoint.origins[-1] if checkpoint.origins else None
    differences = ["nobody knows which code"] if origin is None else fingerprint.differences(origin)
    if not differences:
        return
    if not accept_change:
        raise UserError(
            f"the checkpoint {checkpoint.path} was begun by what gives {'; '.join(differences)}: "
            "go on all the same with --accept-change, and the record will say so, or begin anew "
            "with --force"
            if origin
            else f"the checkpoint {checkpoint.path} does not say which code began it: go on with "
            "--accept-change, and the record will say so, or begin anew with --force"
        )
    checkpoint.origins = [*(checkpoint.origins or [{"commit": "unknown"}]), _origin(fingerprint)]


def _reusable(plan: Plan, missing: Sequence[Replica], fingerprint: Fingerprint) -> list[Reused]:
    """Of the missing replicas, those that records hold which the same code would make again."""
    left, found = set(missing), []
    for file in _manifests():
        if not left:
            break
        try:
            manifest = json.loads(file.read_text())
            origin = manifest["fingerprint"]
            same = plans.shared(manifest["plan"]) == plan.shared()
        except (OSError, ValueError, KeyError, UserError):
            continue  # an older record, or none: nothing to take
        if not same or origin["data"] != fingerprint.data or "continued_from" in manifest:
            continue
        arms = {arm for arm, value in origin["arms"].items() if fingerprint.arms.get(arm) == value}
        try:
            record = records.read(file.stem, file.parent)
            replicas = [
                replica for replica in record.replicas() if replica in left and replica.arm in arms
            ]
            if not replicas:
                continue
            keepsakes = _keepsakes(file, record, replicas)
        except UserError:
            continue  # damaged: `dltlib status` says so
        found.append(Reused(record.name, replicas, record.rows_of(replicas), keepsakes))
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


def shards(replicas: Sequence[Replica], size: int) -> Iterator[list[Replica]]:
    """The replicas in runs of at most ``size``."""
    for first in range(0, len(replicas), size):
        yield list(replicas[first : first + size])


def division(replicas: int, fitting: int) -> int:
    """How many of so many replicas a shard gets, when at most ``fitting`` fit into memory: the
    least that makes as few shards of about one size."""
    return max(1, math.ceil(replicas / max(1, math.ceil(replicas / fitting))))


def replicas_at_once(plan: Plan, network: Network, device: torch.device) -> int:
    """How many replicas fit into the memory that is free now, at most all of the plan.

    Raises `UserError` if not even one does.
    """
    import psutil

    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
    each, together = memory(plan, network, device)
    # Half stays free: for the data set, the allocator and everybody else.
    count = int((free / 2 - together) // each)
    if count < 1:
        raise UserError(
            f"one replica of {plan.network} at width {plan.width} needs about "
            f"{(each + together) / 1e9:.1f} GB and twice that should be free, but "
            f"{free / 1e9:.1f} GB are: choose a smaller width, or a machine with more memory"
        )
    return min(count, len(plan.replicas()))


def memory(plan: Plan, network: Network, device: torch.device) -> tuple[int, int]:
    """Bytes that each replica needs, and that all of them need once."""
    # w_i, w_f, the start, the present, the best, gradient, two moments of Adam, scores and ranks
    # while pruning (float64 and int64), masks.
    state = network.weight_count * (8 * 4 + 4 * 8 + 4)
    _, height, width = network.input_shape
    pixels = sum(
        channels * height * width // 4 ** (index // 2)
        for index, channels in enumerate(network.channels)
    )
    # Activations of an evaluation batch, or of a training batch with gradients.
    images = max(3 * training.EVALUATION_BATCH, 6 * plan.batch_size)
    activations = 4 * images * (pixels + sum(network.hidden))
    return (state, activations) if device.type == "cpu" else (state + activations, 0)


# --- places and records -------------------------------------------------------------------------


def shard_path(plan: Plan, shard: Sequence[Replica]) -> Path:
    """The checkpoint of these replicas, named by the plan and by what the shard holds."""
    text = json.dumps([list(replica) for replica in shard])
    part = hashlib.sha256(text.encode()).hexdigest()[:8]
    return run_directory(plan) / f"shard-{part}.safetensors"


def run_directory(plan: Plan) -> Path:
    """Where the plan's checkpoints lie."""
    return paths.runs() / f"{plan.experiment}-{plan.network}-{plan.preset}-{plan.hash()}"


def record_directory(plan: Plan) -> Path:
    """Where the plan's record goes: among the book's if the preset is unchanged."""
    return paths.records() if plan == experiments.stock(plan) else run_directory(plan)


def record_path(plan: Plan) -> Path:
    """The plan's table, whether it is there yet or not."""
    return record_directory(plan) / f"{experiments.name(plan)}.parquet"


def is_finished(plan: Plan) -> bool:
    """Whether a whole record of exactly this plan is there.

    Raises `UserError` if what is there is damaged, or belongs to another configuration: nothing
    is overwritten without ``--force``.
    """
    path = record_path(plan)
    if not path.exists():
        return False
    record = records.read(path.stem, path.parent)
    if record.plan != plan.as_dict():
        changed = sorted(
            key for key, value in plan.as_dict().items() if record.plan.get(key) != value
        )
        raise UserError(
            f"the record {path.stem} in {path.parent} was made with other values of "
            f"{', '.join(changed)}: keep it, or remake it with --force"
        )
    return True


def gather(under_way: Run, device: str) -> Path:
    """Write the record of a plan from its finished shards, then drop the plan's checkpoints."""
    plan, parts = under_way.plan, under_way.checkpoints
    rows = [row for earlier in under_way.reused for row in earlier.rows]
    rows += [row for part in parts for row in part.rows]
    # Shards that share a seed both know its dense network: one row of it is enough.
    unique = {tuple(row[column] for column in records.KEY): row for row in rows}
    keepsakes: dict[str, Tensor] = {}
    for taken in under_way.reused:
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
        **_origins(under_way),
    )
    # Those of earlier runs, if divided otherwise, are superseded too.
    for file in run_directory(plan).glob("shard-*.safetensors"):
        file.unlink(missing_ok=True)
    if not any(run_directory(plan).iterdir()):
        run_directory(plan).rmdir()
    return target


def _origins(under_way: Run) -> dict[str, Any]:
    """For the manifest: by what the rows were made, and what was taken from where."""
    facts: dict[str, Any] = {}
    origins = [part.origins for part in under_way.checkpoints]
    made = [origin for part in origins for origin in part[-1:]]
    if made:
        arms = {arm: value for origin in made for arm, value in origin["arms"].items()}
        facts["processor"] = made[0]["processor"]
        facts["fingerprint"] = {"data": made[0]["data"], "arms": arms}
    earlier = [origin for part in origins for origin in part[:-1]]
    if earlier:
        facts["continued_from"] = earlier
    if under_way.reused:
        facts["reused"] = [
            {"record": part.record, "replicas": [list(replica) for replica in part.replicas]}
            for part in under_way.reused
        ]
    return facts


# --- what there is ------------------------------------------------------------------------------


def status() -> list[str]:
    """Lines about finished records and unfinished runs, for people."""
    lines = [f"records in {paths.records()}:", *_grid()]
    for name in records.available():
        try:
            record = records.read(name)
            minutes = record.manifest["seconds"] / 60
            lines.append(
                f"  {name}: {len(record.table)} rows, {record.manifest['finished'][:10]}, "
                f"{minutes:.1f} min on {record.manifest['device']}"
            )
        except UserError as error:
            lines.append(f"  {name}: {error}")
    lines.append(f"unfinished runs in {paths.runs()}:")
    for directory in sorted(paths.runs().glob("*-*")):
        for file in sorted(directory.glob("shard-*.safetensors")):
            try:
                checkpoint = Checkpoint.open(file, directory.name.rsplit("-", 1)[1])
                state = "finished" if checkpoint.finished else f"after round {checkpoint.round}"
                state += f", {len(checkpoint.replicas)} replicas"
            except UserError as error:
                state = str(error)
            lines.append(f"  {directory.name}/{file.stem}: {state}")
    return lines


def _grid() -> list[str]:
    """Experiments by networks: the largest preset that is there, or a dash."""
    there = set(records.available())
    wide = max(map(len, catalogue.EXPERIMENTS)) + 4
    lines = [" " * wide + "".join(f"{name:8}" for name in catalogue.NETWORKS)]
    for experiment in catalogue.EXPERIMENTS:
        found = [
            next((p for p in catalogue.PRESETS if f"{experiment}-{network}-{p}" in there), "-")
            for network in catalogue.NETWORKS
        ]
        lines.append(f"  {experiment:{wide - 2}}" + "".join(f"{preset:8}" for preset in found))
    return lines
