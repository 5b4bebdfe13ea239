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
from typing import TYPE_CHECKING, Any, NamedTuple

from dltlib import files, fingerprints, paths, processor, runs, storage
from dltlib.checkpoints import Checkpoint, Fingerprint
from dltlib.errors import UserError
from dltlib.kinds import Progress
from dltlib.plans import Plan, Replica

if TYPE_CHECKING:
    import distributed
    import torch

    from dltlib.datasets import Dataset


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
    accept_change: bool = False,
) -> Path:
    """`runs.run`, its shards spread over the workers; returns the record's path.

    ``at_once`` limits the replicas of a shard; left out, a shard is what each worker thread would
    get of the whole plan, so that some get none where earlier records hold the rest.
    Shards that an earlier run left, here or there, go on as they are. The fingerprint is that of
    one worker; another on which the arms give other numbers is refused.
    """
    runs.check_at_once(at_once)
    record = storage.ready(plan, force)
    if record and not storage.is_own(plan):
        return storage.record_path(plan)
    with _lost_workers_told(address), connect(address) as client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(f"the scheduler at {address} has no workers yet: start some")
        _refuse_shared_gpus(client, device)
        taken = Fingerprint(**client.submit(fingerprint, plan, device, pure=False).result())
        size = math.ceil(len(plan.replicas) / threads) if at_once is None else at_once

        def train(work: storage.Work) -> str:
            devices = _spread(client, work, device, progress)
            return f"{threads} Dask threads on {', '.join(sorted(devices)) or 'unknown'}"

        return runs.complete(plan, record, taken, size, train, progress, force, accept_change)


def _spread(
    client: "distributed.Client", work: storage.Work, device: str, progress: Progress | None
) -> set[str]:
    """Have workers finish the shards; returns the devices on which they did."""
    import distributed

    plan = work.plan
    parts = {tuple(part.replicas): part for part in work.checkpoints}
    waiting = distributed.as_completed()
    for checkpoint in parts.values():
        if not checkpoint.finished:
            waiting.add(_submit(client, plan, checkpoint, device))
    devices = set()
    for future in waiting:
        done = future.result()
        devices.add(done.device)
        path = storage.shard_path(plan, done.replicas)
        files.replace_file(path, functools.partial(Path.write_bytes, data=done.checkpoint))
        checkpoint = parts[done.replicas] = Checkpoint.open(path, plan.hash)
        if progress:
            progress(done.iterations, done.accuracy, checkpoint.round)
        if not checkpoint.finished:
            waiting.add(_submit(client, plan, checkpoint, device))
    work.checkpoints = list(parts.values())
    return devices


@contextmanager
def _lost_workers_told(address: str) -> Iterator[None]:
    """`UserError` for what a cluster does when its workers or its scheduler are gone."""
    try:
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError
    except ImportError:  # `connect` says what is missing
        yield
        return
    goes_on = "what is done is kept, and the same command goes on from there"
    try:
        yield
    except KilledWorker as error:
        raise UserError(
            f"workers died one after another over the same networks (out of memory?): give them "
            f"more memory, or choose fewer networks with --at-once; {goes_on}"
        ) from error
    except (CommClosedError, TimeoutError) as error:
        raise UserError(f"the scheduler at {address} is gone: {goes_on}") from error


def _refuse_shared_gpus(client: "distributed.Client", device: str) -> None:
    """A process captures one CUDA graph at a time, so a worker with a GPU has one thread."""
    if device == "cpu":
        return
    busy = [
        address
        for address, (gpu, threads) in client.run(_gpu_and_threads).items()
        if gpu and threads > 1
    ]
    if busy:
        raise UserError(
            f"workers with a GPU need one thread each: start {', '.join(busy)} with --nthreads 1, "
            "or choose --device cpu"
        )


def _gpu_and_threads(dask_worker: Any) -> tuple[bool, int]:
    import torch

    return torch.cuda.is_available(), dask_worker.state.nthreads


def _submit(
    client: "distributed.Client", plan: Plan, checkpoint: Checkpoint, device: str
) -> "distributed.Future[Advance]":
    path, origins = checkpoint.path, checkpoint.origins
    state = path.read_bytes() if path and path.exists() else None
    # Not pure: a shard that is run again with --force must not be answered from memory.
    return client.submit(advance, plan, checkpoint.replicas, origins, state, device, pure=False)


class Advance(NamedTuple):
    """A shard one checkpoint further: the checkpoint's bytes and what it took."""

    replicas: tuple[Replica, ...]
    checkpoint: bytes
    device: str
    iterations: int
    accuracy: float  # the last mean on the validation split


def _device(name: str) -> "torch.device":
    import torch

    device = processor.choose(name)
    torch.set_num_threads(1 if device.type == "cpu" else torch.get_num_threads())
    return device


def fingerprint(plan: Plan, device: str) -> dict[str, Any]:
    """On a worker: what decides the numbers there."""
    where = _device(device)
    data = _dataset(plan.dataset, paths.data(), plan.train_images)
    return fingerprints.take(plan, data, where).as_dict()


def advance(
    plan: Plan,
    replicas: list[Replica],
    origins: list[dict[str, Any]],
    state: bytes | None,
    device: str,
) -> Advance:
    """On a worker: one shard from a checkpoint (its bytes) to the next one.

    Raises `UserError` where the worker gives other numbers than the shard began with.
    """
    where = _device(device)
    done, last = 0, math.nan

    def progress(iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
        nonlocal done, last
        done, last = done + iterations, accuracy

    differences = Fingerprint(**fingerprint(plan, device)).differences(origins[-1])
    if differences:
        raise UserError(
            f"a worker ({processor.describe(where)}) gives {'; '.join(differences)}: leave it out"
        )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "shard.safetensors"
        if state is None:
            checkpoint = Checkpoint(path, plan.hash, replicas)
        else:
            path.write_bytes(state)
            checkpoint = Checkpoint.open(path, plan.hash)
        checkpoint.origins = origins  # the caller may have accepted a change since it was saved
        dataset = _dataset(plan.dataset, paths.data(), plan.train_images).to(where)
        next(runs.rounds(plan, checkpoint, where, dataset, progress))
        name = processor.describe(where)
        return Advance(tuple(replicas), path.read_bytes(), name, done, last)


@functools.lru_cache(maxsize=1)
def _dataset(name: str, directory: Path, train_images: int | None) -> "Dataset":
    """A worker loads its data once, not every round."""
    from dltlib import datasets

    return datasets.load(name, directory).with_train_images(train_images)
