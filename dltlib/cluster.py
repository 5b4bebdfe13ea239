"""Past one machine: shards of replicas on a Dask cluster, with the records of a local run.

A task takes one shard from its checkpoint to its next one; the checkpoint travels with it and
comes back to the caller, who keeps it on disk as a local run would. So nothing of worth lives on a
worker: one that is lost costs its shard's current round, which Dask starts again elsewhere, and a
caller that is stopped goes on later. Workers read the data set from their own `paths.data()`.
"""

import functools
import logging
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dltlib import experiments, paths, records
from dltlib.checkpoints import Checkpoint
from dltlib.errors import UserError
from dltlib.plans import Plan, Replica
from dltlib.runners import Progress


@contextmanager
def connect(address: str) -> Iterator["distributed.Client"]:
    """A client of the scheduler at ``address``; ``local`` starts a cluster on this machine.

    Raises `UserError` if dask is not installed or no scheduler answers.
    """
    try:
        import distributed
    except ImportError as error:
        raise UserError("--dask needs an extra: pip install 'dltlib[dask]'") from error
    if address == "local":
        # One thread a worker: a replica never uses more, and processes share no GIL.
        with (
            distributed.LocalCluster(
                threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
            ) as local,
            distributed.Client(local) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"no Dask scheduler answers at {address!r} ({type(error).__name__}): give its address, "
            "tcp://HOST:PORT, or 'local' for a cluster on this machine"
        ) from error
    with client:
        yield client


def run(
    plan: Plan,
    address: str,
    device: str = "auto",
    at_once: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Path:
    """`experiments.run`, its shards spread over the workers; returns the record's path.

    ``at_once`` limits the replicas of a shard; left out, every worker thread gets one shard. The
    division is not the local run's, so each resumes its own checkpoints; the records are the same.
    """
    if not force and experiments.is_finished(plan):
        return experiments.record_path(plan)
    records.check_writable(experiments.record_directory(plan))
    records.check_writable(experiments.run_directory(plan))
    with connect(address) as client:
        import distributed

        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(f"the scheduler at {address} has no workers yet: start some")
        replicas = plan.replicas()
        size = at_once or math.ceil(len(replicas) / threads)
        parts = {}
        waiting = distributed.as_completed()
        for shard in experiments.shards(replicas, size):
            checkpoint = experiments.open_checkpoint(plan, shard, force, progress)
            parts[tuple(shard)] = checkpoint
            if not checkpoint.finished:
                waiting.add(_submit(client, plan, shard, checkpoint, device))
        devices = set()
        for future in waiting:
            shard, state, where, iterations, accuracy = future.result()
            devices.add(where)
            path = experiments.shard_path(plan, shard)
            records.replace_file(path, lambda temporary, state=state: temporary.write_bytes(state))
            checkpoint = Checkpoint.open(path, plan.hash())
            parts[tuple(shard)] = checkpoint
            if progress:
                progress(iterations, accuracy, checkpoint.round)
            if not checkpoint.finished:
                waiting.add(_submit(client, plan, shard, checkpoint, device))
    where = ", ".join(sorted(devices)) or "unknown"
    return experiments.gather(plan, list(parts.values()), f"{threads} Dask threads on {where}")


def _submit(client, plan: Plan, shard: list[Replica], checkpoint: Checkpoint, device: str):
    state = checkpoint.path.read_bytes() if checkpoint.path.exists() else None
    # Not pure: a shard that is run again with --force must not be answered from memory.
    return client.submit(advance, plan, shard, state, device, pure=False)


def advance(
    plan: Plan, shard: list[Replica], state: bytes | None, device: str
) -> tuple[list[Replica], bytes, str, int, float]:
    """On a worker: one shard from a checkpoint (its bytes) to the next one.

    Returns the shard, the new checkpoint, the device's name, the replica-iterations done and the
    last mean validation accuracy.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    torch.set_num_threads(1 if device == "cpu" else torch.get_num_threads())
    done, last = 0, math.nan

    def progress(iterations: int, accuracy: float, round_: int, *, earlier: bool = False) -> None:
        nonlocal done, last
        done, last = done + iterations, accuracy

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "shard.safetensors"
        if state is not None:
            path.write_bytes(state)
        checkpoint = Checkpoint.open(path, plan.hash())
        dataset = _dataset(plan.dataset, paths.data(), plan.train_images).to(place)
        next(experiments.rounds(plan, shard, checkpoint, place, dataset, progress))
        return shard, path.read_bytes(), experiments.describe_device(place), done, last


@functools.lru_cache(maxsize=1)
def _dataset(name: str, directory: Path, train_images: int | None):
    """A worker loads its data once, not every round."""
    from dltlib import datasets

    return datasets.load(name, directory).with_train_images(train_images)
