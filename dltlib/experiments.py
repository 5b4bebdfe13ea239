"""Running a plan: in shards that fit the memory, resumably, into one record.

Replicas are independent of one another, so a plan may run whole, in shards, resumed or on several
machines, and leaves the same records.
"""

import hashlib
import json
import math
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dltlib import datasets, networks, paths, plans, records, runners, training
from dltlib.checkpoints import Checkpoint
from dltlib.datasets import Dataset
from dltlib.errors import UserError
from dltlib.networks import Network
from dltlib.plans import Plan, Replica
from dltlib.runners import Progress

if TYPE_CHECKING:
    import pandas


def shards(replicas: Sequence[Replica], size: int) -> Iterator[list[Replica]]:
    """The replicas in runs of at most ``size``."""
    for first in range(0, len(replicas), size):
        yield list(replicas[first : first + size])


def replicas_at_once(plan: Plan, network: Network, device: torch.device) -> int:
    """How many replicas fit into the memory that is free now, at most all of the plan.

    Raises `UserError` if not even one does.
    """
    import psutil

    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
    # w_i, w_f, the start, the present, the best, gradient, two moments of Adam, scores and ranks
    # while pruning (float64 and int64), masks.
    state = network.weight_count * (8 * 4 + 4 * 8 + 4)
    _, height, width = network.input_shape
    pixels = sum(
        channels * height * width // 4 ** (index // 2)
        for index, channels in enumerate(network.channels)
    )
    # Activations of one evaluation batch, which is larger than a training batch with gradients.
    activations = 4 * training.EVALUATION_BATCH * 3 * (pixels + sum(network.hidden))
    shared = activations if device.type == "cpu" else 0
    each = state if device.type == "cpu" else state + activations
    # Half stays free: for the data set, the allocator and everybody else.
    count = int((free / 2 - shared) // each)
    if count < 1:
        raise UserError(
            f"one replica of {plan.network} at width {plan.width} needs about "
            f"{(each + shared) / 1e9:.1f} GB and twice that should be free, but {free / 1e9:.1f} "
            "GB are: choose a smaller width, or a machine with more memory"
        )
    return min(count, len(plan.replicas()))


def run(
    plan: Plan,
    device: torch.device | str = "cpu",
    dataset: Dataset | None = None,
    at_once: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Path:
    """Run a plan, or go on where an earlier run of it stopped; returns the record's path.

    Records of stock presets go to `paths.records()`, others to their directory under
    `paths.runs()`. A finished record of the same plan is returned as it is unless ``force``d.
    ``dataset`` saves loading the plan's data once more. ``at_once`` limits how many replicas train
    side by side; it never changes the numbers.
    """
    device = torch.device(device)
    if not force and is_finished(plan):
        return record_path(plan)
    records.check_writable(record_directory(plan))
    records.check_writable(run_directory(plan))
    dataset = (dataset or load_dataset(plan)).to(device)
    network = networks.build(plan.network, dataset.input_shape, plan.width)
    size = at_once or division(plan, replicas_at_once(plan, network, device))
    parts = []
    for shard in shards(plan.replicas(), size):
        checkpoint = open_checkpoint(plan, shard, force, progress)
        for _ in rounds(plan, shard, checkpoint, device, dataset, progress):
            pass
        parts.append(checkpoint)
    return gather(plan, parts, describe_device(device))


def table(plan: Plan, device: torch.device | str = "cpu") -> "pandas.DataFrame":
    """Run a plan and return the table of its record, leaving nothing behind: for trying things.

    No earlier run is resumed and no record read, so this is for small plans. Columns are those of
    `records.COLUMNS` that the experiment measures.
    """
    device = torch.device(device)
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = Checkpoint.open(Path(directory) / "shard.safetensors", plan.hash())
        dataset = load_dataset(plan).to(device)
        for _ in rounds(plan, plan.replicas(), checkpoint, device, dataset):
            pass
    return records.as_table(checkpoint.rows)


def division(plan: Plan, fitting: int) -> int:
    """How many replicas a shard gets, when at most ``fitting`` fit into memory.

    The whole plan, or a half, a quarter, ... of it. Checkpoints are named by their shard, so an
    earlier run's division is kept: how much memory is free must not decide what is resumed.
    """
    replicas = plan.replicas()
    sizes = []
    while not sizes or sizes[-1] > 1:
        sizes.append(math.ceil(len(replicas) / 2 ** len(sizes)))
    for size in sizes:
        if any(shard_path(plan, shard).exists() for shard in shards(replicas, size)):
            return size
    return next(size for size in sizes if size <= fitting)


def open_checkpoint(
    plan: Plan,
    shard: Sequence[Replica],
    force: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """The shard's checkpoint; a fresh one if there is none, or if ``force`` drops it.

    ``progress`` learns of the work that the checkpoint holds.
    """
    path = shard_path(plan, shard)
    if force:
        path.unlink(missing_ok=True)
    checkpoint = Checkpoint.open(path, plan.hash())
    if progress and checkpoint.iterations:
        progress(checkpoint.iterations, math.nan, checkpoint.round, earlier=True)
    return checkpoint


def rounds(
    plan: Plan,
    shard: Sequence[Replica],
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

    network = networks.build(plan.network, dataset.input_shape, plan.width)
    runner = runners.RUNNERS[plans.find(plan.experiment).kind]
    yield from runner(plan, network, dataset, shard, device, checkpoint, report)


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
    return paths.records() if plan.is_stock else run_directory(plan)


def record_path(plan: Plan) -> Path:
    """The plan's table, whether it is there yet or not."""
    return record_directory(plan) / f"{plan.name}.parquet"


def is_finished(plan: Plan) -> bool:
    """Whether a whole record of exactly this plan is there.

    Raises `UserError` if what is there is damaged, or belongs to another configuration: nothing
    is overwritten without ``--force``.
    """
    path = record_path(plan)
    if not path.exists():
        return False
    record = records.read(plan.name, path.parent)
    if record.plan != plan.as_dict():
        changed = sorted(
            key for key, value in plan.as_dict().items() if record.plan.get(key) != value
        )
        raise UserError(
            f"the record {plan.name} in {path.parent} was made with other values of "
            f"{', '.join(changed)}: keep it, or remake it with --force"
        )
    return True


def gather(plan: Plan, parts: Sequence[Checkpoint], device: str) -> Path:
    """Write the record of a plan from its finished shards, then drop the plan's checkpoints."""
    # Shards that share a seed both know its dense network: one row of it is enough.
    rows = {
        tuple(row[column] for column in records.KEY): row for part in parts for row in part.rows
    }
    keepsakes = {name: value for part in parts for name, value in part.keepsakes().items()}
    directory = record_directory(plan)
    if keepsakes:
        records.write_arrays(directory, plan.name, keepsakes)
    target = records.write(
        directory,
        plan.name,
        list(rows.values()),
        plan.as_dict(),
        device=device,
        seconds=round(sum(part.seconds for part in parts), 1),
        command=plan.command,
    )
    # Those of earlier runs, if divided otherwise, are superseded too.
    for file in run_directory(plan).glob("shard-*.safetensors"):
        file.unlink(missing_ok=True)
    return target


def load_dataset(plan: Plan) -> Dataset:
    """The plan's data, on the CPU."""
    return datasets.load(plan.dataset).with_train_images(plan.train_images)


def describe_device(device: torch.device) -> str:
    """For manifests: the GPU's name, or the CPU's with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass  # not Linux: the plain name must do
    return f"{processor}, {torch.get_num_threads()} threads"


def total_iterations(plan: Plan, dataset: Dataset) -> int:
    """Replica-iterations of a whole plan, the dense trainings shared by the arms of a seed; a mask
    by criterion that is only tested counts as one."""
    each = training.iterations_per_epoch(dataset, plan.settings()) * plan.epochs
    kind = plans.find(plan.experiment).kind
    if kind == "learned_masks":
        return each * plan.seeds * len(plan.arms)
    if kind == "criterion_masks":
        return plan.seeds * (each + (plan.rounds + 1) * len(plan.arms))
    return each * plan.seeds * (1 + plan.rounds * len(plan.arms))


def status() -> list[str]:
    """Lines about finished records and unfinished runs, for people."""
    lines = [f"records in {paths.records()}:"]
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
            except UserError as error:
                state = str(error)
            lines.append(f"  {directory.name}/{file.stem}: {state}")
    return lines
