"""The whole benchmark: cases take turns, images, memory, a slice of the programme, the record."""

import gc
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

from dltlib import (
    catalogue,
    datasets,
    experiments,
    files,
    networks,
    paths,
    processor,
    records,
    runs,
    training,
)
from dltlib.bench.cases import (
    FULL,
    Case,
    Effort,
    conv_cases,
    fc_cases,
    gpu_cases,
    learned_mask_cases,
    peak_cases,
    replica_cases,
    width_cases,
)
from dltlib.bench.results import all_ratios, conv_part, peaks, read, record_path, write
from dltlib.bench.sides import engine, tickets
from dltlib.checkpoints import Checkpoint
from dltlib.datasets import Dataset, Split
from dltlib.errors import UserError
from dltlib.settings import Settings

# Shares of pixels that are not black.
LIT = {"mnist": 0.191, "cifar10": 0.995}


def run(size: Effort = FULL, report: Callable[[str], None] = print, gpu: bool = False) -> Path:
    """Measure everything that a CPU does, or a ``gpu``, and write its record; returns the path.

    The full benchmark's goes to `paths.records()`, any other's to `paths.runs()`. Raises
    `UserError` if a GPU is asked for and none is there.
    """
    device = processor.choose("cuda" if gpu else "cpu")
    target = record_path(gpu, paths.records() if size == FULL else paths.runs())
    files.check_writable(target.parent)
    begin, started, load = time.perf_counter(), _processor_times(), os.getloadavg()[0]
    dataset, data = load_images(size)
    colours, colour_data = load_images(size, "cifar10")
    colours = colours.with_train_images(size.conv_images)
    settings = Settings(epochs=1, learning_rate=1.2e-3)
    parts: dict[str, Callable[[], list[Case]]]
    whole: dict[str, Any] = {}  # what is measured of a CPU besides
    if gpu:
        parts = {"GPU": lambda: gpu_cases(dataset, colours, settings, size, device)}
    else:
        report(f"memory, on {data}")
        whole["memory"] = memory_used(dataset, settings)
        parts = {
            "FC by density": lambda: fc_cases(dataset, settings, size) + peak_cases(size),
            "FC by replicas": lambda: replica_cases(dataset, settings, size),
            "FC by width": lambda: width_cases(dataset, settings, size),
            "learned masks": lambda: learned_mask_cases(dataset),
        }
        convs = list(itertools.product(("conv2", "conv4", "conv6"), size.conv_widths))
        parts |= {conv_part(*conv): partial(conv_cases, *conv, colours, size) for conv in convs}
    cases = []
    for name, make in parts.items():
        report(name)
        long = name.startswith("conv")  # an iteration takes up to a second
        cases += take_turns(
            make(), size.conv_repetitions if long else size.repetitions, size.seconds
        )
        gc.collect()
    if not gpu:
        report("a slice of the paper's programme")
        with tempfile.TemporaryDirectory() as directory:
            whole["slice"] = measure_slice(dataset, size, Path(directory))
        whole["before"] = _earlier_ratios(target)
    ours, everybody = (now - then for now, then in zip(_processor_times(), started, strict=True))
    facts = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - begin, 1),
        "device": processor.describe(device),
        "threads": torch.get_num_threads(),
        "load_before": round(load, 2),
        "busy_with_others": round(max(0.0, everybody - ours) / max(everybody, 1e-9), 3),
        "data": f"{data}; convolutions: {colour_data}",
        "batch_size": settings.batch_size,
        "command": f"dltlib bench{' --gpu' * gpu}{' --quick' * (size != FULL)}",
        "commit": records.commit(),
        "versions": records.versions(),
    }
    write(target, facts | whole, cases)
    return target


def take_turns(cases: Sequence[Case], repetitions: int, seconds: float) -> list[dict[str, Any]]:
    """Time the cases in turn; for each its facts and milliseconds per replica and iteration.

    How many iterations a turn has is found first (which warms up, too): about ``seconds`` worth.
    """
    counts = [_iterations_in(case, seconds) for case in cases]
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(repetitions):
        for case, count, measured in zip(cases, counts, times, strict=True):
            measured.append(_clock(case.run, count) / count / case.replicas * 1e3)
    return [
        {
            **case.facts,
            "replicas": case.replicas,
            "iterations": count,
            "milliseconds": [float(f"{value:.5g}") for value in measured],
        }
        for case, count, measured in zip(cases, counts, times, strict=True)
    ]


def _iterations_in(case: Case, seconds: float) -> int:
    count = 1
    case.run(count)
    for _ in range(2):  # the second time from a count that is no longer all overhead
        count = max(1, min(500, round(seconds * count / _clock(case.run, count))))
    return count


def _clock(run: Callable[[int], object], iterations: int) -> float:
    begin = time.perf_counter()
    run(iterations)
    return time.perf_counter() - begin


def measure_slice(dataset: Dataset, size: Effort, directory: Path) -> dict[str, Any]:
    """One seed and one epoch of every arm of criteria, signs and zeros: all rounds, all work.

    Run as any experiment is, with looks at the validation split, masks, checkpoints and tests.
    Returned are, for each round, the seconds that one epoch of all arms takes (looks included),
    and the seconds spent once a training.
    """
    arms = list(
        dict.fromkeys(
            arm
            for experiment in ("criteria", "signs", "zeros")
            for arm in catalogue.EXPERIMENTS[experiment].arms
        )
    )
    plan = experiments.plan(
        "criteria", "fc", "paper", arms=tuple(arms), seeds=1, epochs=1, rounds=size.slice_rounds,
        evaluate_every=min(100, (size.slice_images or 60_000) // 60 // 2),
    )  # fmt: skip
    dataset = dataset.with_train_images(size.slice_images)
    looks: list[tuple[int, int, float]] = []  # round, replica-iterations, when

    def look(iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
        looks.append((round_, iterations, time.perf_counter()))

    path = directory / "slice.safetensors"
    checkpoint = Checkpoint(path, plan.hash, plan.replicas)
    begin = ended = time.perf_counter()
    for _ in runs.rounds(plan, checkpoint, torch.device("cpu"), dataset, look):
        pass
    end = time.perf_counter()
    epochs, once = [], []
    for round_ in range(plan.rounds + 1):
        reports = [(done, when) for number, done, when in looks if number == round_]
        work = sum(done for done, _ in reports)
        # What came before the first look holds the masks too, so the pace is that of the others.
        pace = (reports[-1][1] - reports[0][1]) / (work - reports[0][0])
        epochs.append(round(pace * work, 4))
        once.append(round(max(0.0, reports[0][1] - ended - pace * reports[0][0]), 4))
        ended = reports[-1][1]
    once.append(round(end - ended, 4))
    return {
        "arms": arms,
        "iterations": training.iterations_per_epoch(dataset, plan.settings()),
        "epoch_seconds": epochs,
        "other_seconds": once,
        "seconds": round(end - begin, 2),
    }


def memory_used(dataset: Dataset, settings: Settings) -> dict[str, float]:
    """Megabytes: what the engine holds for a replica, by round, and the images on either side."""
    network = networks.build("fc", dataset.input_shape)
    used = {
        "data, engine": dataset.train.images.nbytes / 1e6,
        "data, plain": dataset.train.images.nbytes * 4 / 1e6,
    }
    for round_, weights, masks in tickets(network, dataset, settings, 1, (0, 15)):
        step = engine(network, weights, masks, settings, dataset.train, [0] * len(weights[0]))(1)
        held = sum(array.nbytes for array in _arrays(vars(step)))
        used[f"replica, round {round_}"] = round(held / len(weights[0]) / 1e6, 2)
    return used


def _arrays(value: Any) -> Iterator[Tensor | np.ndarray]:
    """All arrays in nested containers."""
    if isinstance(value, Tensor | np.ndarray):
        yield value
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _arrays(item)


def load_images(size: Effort, name: str = "mnist") -> tuple[Dataset, str]:
    """The data set where it is at hand, else random images as large and dark; and which it is."""
    if size == FULL:
        try:
            return datasets.load(name), name
        except UserError:
            pass
    shape = (1, 28, 28) if name == "mnist" else (3, 32, 32)
    # Lit more often towards the middle, as digits are, and never at the rim; or nearly everywhere.
    across = 1 - torch.linspace(-1, 1, shape[1]) ** 2
    digit = (across[:, None] + across[None] - 1).clamp(min=0).expand(shape)
    chance = digit * (LIT[name] / digit.mean()) if name == "mnist" else torch.tensor(LIT[name])
    split = _random_split(size.images, shape, chance)
    cut = size.images // 12
    return (
        Dataset(
            "random",
            split.first(size.images - cut),
            Split(split.images[-cut:], split.labels[-cut:]),
            split.first(cut * 2),
        ),
        f"random images of {name}'s shape, {LIT[name]:.0%} of their pixels lit",
    )


def _random_split(count: int, shape: tuple[int, ...], chance: Tensor) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    lit = torch.rand(count, *shape, generator=generator) < chance
    return Split(images * lit, torch.randint(10, (count,), generator=generator))


def _processor_times() -> tuple[float, float]:
    """Seconds of processor time used so far: by this process, and by all there are."""
    process = psutil.Process().cpu_times()
    every = psutil.cpu_times()
    idle = every.idle + getattr(every, "iowait", 0)
    return process.user + process.system, sum(every) - idle - getattr(every, "guest", 0)


def _earlier_ratios(target: Path) -> dict[str, Any] | None:
    """Ratios of the run before, if it was made on a machine of this name: do they hold? Its peaks
    say whether it was the same machine in more than its name, its commit whether the same code."""
    try:
        earlier = read(target)
    except UserError:
        return None
    if earlier.facts["device"] != processor.describe(torch.device("cpu")):
        return None
    facts = {name: earlier.facts[name] for name in ("finished", "commit")}
    return facts | {"peaks": peaks(earlier), "ratios": all_ratios(earlier)}
