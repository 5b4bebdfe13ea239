"""Running a plan: in shards that fit the memory, resumably, into one record.

Replicas are independent of one another, so a plan may run whole, in shards, resumed or on several
machines, and leaves the same records.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dltlib import experiments, fingerprints, processor, records, storage
from dltlib.checkpoints import Checkpoint, Fingerprint
from dltlib.datasets import Dataset
from dltlib.errors import UserError
from dltlib.kinds import KINDS, Progress, Shard, unheard
from dltlib.plans import Plan
from dltlib.storage import Work

if TYPE_CHECKING:
    import pandas


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
    `paths.runs()`. A finished record of the same plan is returned as it is unless ``force``d; if it
    is one of your own, and code or data would give other numbers now, that is a `UserError`.
    ``dataset`` saves loading the plan's data once more. ``at_once`` limits how many replicas (at
    least one) train side by side; on a CPU it never changes the numbers, on a GPU no more than
    rounding does. While another process runs the plan, that is a `UserError`, too.
    ``accept_change`` goes on with checkpoints that code or a processor began which give other
    numbers; the manifest then names both.
    """
    check_at_once(at_once)
    device = torch.device(device)
    record = storage.ready(plan, force)
    if record and not storage.is_own(plan):
        return storage.record_path(plan)
    dataset = (dataset or experiments.load_dataset(plan)).to(device)
    fingerprint = fingerprints.take(plan, dataset, device)
    fitting = experiments.replicas_at_once(plan, device) if at_once is None else at_once

    def train(work: Work) -> str:
        for checkpoint in work.checkpoints:
            for _ in rounds(plan, checkpoint, device, dataset, progress):
                pass
        return processor.describe(device)

    return complete(plan, record, fingerprint, fitting, train, progress, force, accept_change)


def complete(
    plan: Plan,
    record: records.Record | None,
    fingerprint: Fingerprint,
    fitting: int,
    train: Callable[[Work], str],
    progress: Progress | None,
    force: bool,
    accept_change: bool,
) -> Path:
    """The end of `run`, wherever shards are trained: hold the plan's own finished ``record`` to the
    ``fingerprint``, or else have ``train`` finish shards of at most ``fitting`` replicas, and say
    where it did; returns the record's path."""
    if record:
        fingerprint.hold_record(record.manifest)
        return storage.record_path(plan)
    with storage.sole(plan):
        if not force and storage.is_done(plan):  # by another process, since we looked
            return storage.record_path(plan)
        work = storage.resume(plan, fingerprint, fitting, force, accept_change)
        _report_earlier(work, progress)
        return storage.finish(work, train(work))


def check_at_once(at_once: int | None) -> None:
    """Raise `UserError` for a number of replicas side by side that is none."""
    if at_once is not None and at_once < 1:
        raise UserError(f"at_once (--at-once) must be at least 1, not {at_once}")


def table(
    plan: Plan, device: torch.device | str = "cpu", progress: Progress | None = None
) -> "pandas.DataFrame":
    """Run a plan and return the table of its record, leaving nothing behind: for trying things.

    No earlier run is resumed and no record read, so this is for small plans. Columns are those of
    `records.COLUMNS` that the experiment measures.
    """
    checkpoint = experiments.in_memory(plan, torch.device(device), progress or unheard)
    return records.as_table(checkpoint.rows)


def _report_earlier(work: Work, progress: Progress | None) -> None:
    """Tell of the work of a plan that is there already."""
    if progress is None:
        return
    for checkpoint in work.checkpoints:
        if checkpoint.iterations:
            within = f"after round {checkpoint.round}" if checkpoint.round >= 0 else "in round 0"
            told = f"{len(checkpoint.replicas)} networks go on {within}"
            progress(checkpoint.iterations, math.nan, max(0, checkpoint.round), earlier=told)
    if work.reused:
        taken = (f"{len(part.replicas)} from {part.record.name}" for part in work.reused)
        told = f"networks trained already are taken over: {', '.join(taken)}"
        progress(work.saved, math.nan, 0, earlier=told)


def rounds(
    plan: Plan,
    checkpoint: Checkpoint,
    device: torch.device,
    dataset: Dataset,
    progress: Progress | None = None,
) -> Iterator[None]:
    """Run a shard from its checkpoint to its end, pausing whenever the checkpoint was saved.

    Raises `UserError` if the device's memory does not suffice.
    """
    if checkpoint.finished:
        return
    checkpoint.begin()

    def report(iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
        checkpoint.iterations += iterations
        (progress or unheard)(iterations, accuracy, round_)

    network = experiments.build_network(plan)
    shard = Shard(plan, network, dataset, device, checkpoint, report)
    try:
        yield from KINDS.find(plan.kind).run(shard)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the memory of {processor.describe(device)} does not hold that many networks side by "
            "side: choose fewer with --at-once; the same command goes on from the last checkpoint"
        ) from error
