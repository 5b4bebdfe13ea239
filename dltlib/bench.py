"""How fast: this engine against the loop that a user would write, in one run, taking turns.

Every measurement is a `Case` that can do so many iterations. The cases of a part take turns, round
after round, so that whatever else the machine does meets them all; a ratio is taken within a
repetition and reported as a median with the range from the 10th to the 90th percentile. Evaluation
is in no case, and the batches' indices are drawn before the clock starts, on either side.

The result is one JSON file (`write`, `read`): it holds times, which differ from run to run, so it
is no record of an experiment; `dltlib.records` holds those.
"""

import gc
import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from dltlib import (
    catalogue,
    datasets,
    experiments,
    files,
    networks,
    parallel,
    paths,
    processor,
    records,
    runs,
    supermasks,
    training,
)
from dltlib.checkpoints import Checkpoint
from dltlib.datasets import Dataset, Split
from dltlib.errors import UserError
from dltlib.history import Masks, Past, Weights
from dltlib.kinds import learned_masks
from dltlib.kinds import tickets as ticket_kind
from dltlib.networks import Network
from dltlib.settings import Settings

ROUNDS = (0, 4, 7, 10, 15, 21)  # densities 1, 0.41, 0.21, 0.11, 0.04 and 0.01
MORE_ROUNDS = (2, 24)  # for the cost of a whole experiment of `LAST_ROUND` rounds
LAST_ROUND = 24
CONV_ROUNDS = (0, 10, 21)  # of Conv4 and Conv6; Conv2 has all of the above
# The programme to be done in a night: every arm of criteria, signs and zeros.
SEEDS, EPOCHS = 5, 30
# Shares of pixels that are not black.
LIT = {"mnist": 0.191, "cifar10": 0.995}
BYTES_PER_WEIGHT = 24  # Adam reads and writes a weight and its two moments, four bytes each


@dataclass(frozen=True)
class Effort:
    """How thorough a benchmark is."""

    repetitions: int = 11
    seconds: float = 0.15  # that each case gets in each repetition
    images: int = 60_000  # made-up ones, where the real ones are not at hand
    rounds: tuple[int, ...] = ROUNDS
    more_rounds: tuple[int, ...] = MORE_ROUNDS
    seeds: int = 5
    widths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    conv_widths: tuple[float, ...] = (0.25, 1.0)
    conv_rounds: tuple[int, ...] = CONV_ROUNDS
    conv_repetitions: int = 5
    conv_images: int = 1_200
    peak_side: int = 2048  # of the matrices
    peak_floats: int = 1 << 25
    slice_rounds: int = LAST_ROUND
    slice_images: int | None = None


FULL = Effort()
QUICK = Effort(
    repetitions=2,
    seconds=0.002,
    images=2_000,
    rounds=(0, 10),
    more_rounds=(),
    seeds=2,
    widths=(0.25,),
    conv_widths=(1 / 16,),
    conv_rounds=(0, 10),
    conv_repetitions=2,
    conv_images=120,
    peak_side=64,
    peak_floats=1 << 12,
    slice_rounds=1,
    slice_images=600,
)


@dataclass(frozen=True)
class Case:
    """Something to be timed: ``run(n)`` does n iterations of ``replicas`` networks."""

    facts: Mapping[str, Any]  # part, way, network, width, round, density, ...
    run: Callable[[int], object]
    replicas: int = 1


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


# --- what is compared -------------------------------------------------------------------------


def engine(
    network: Network,
    weights: Weights,
    masks: Masks,
    settings: Settings,
    split: Split,
    seeds: Sequence[int],
) -> Callable[[int], training.Step]:
    """The step that `training.choose_step` takes here, on batches of the replicas' seeds."""
    device = weights[0].device
    biases = networks.initial_biases(network, len(seeds), device)
    step = training.choose_step(device)(network, weights, biases, masks, settings)
    unique = sorted(set(seeds))
    stream = torch.tensor([unique.index(seed) for seed in seeds], device=device)
    following = batches(unique, split.images, settings.batch_size)

    def run(iterations: int) -> training.Step:
        step.advance(split.images, split.labels, following(iterations), stream)
        _wait(device)
        return step

    return run


def plain_loop(
    network: Network,
    weights: Weights,
    masks: Masks,
    settings: Settings,
    images: Float[Tensor, "images channels height width"],
    labels: Int64[Tensor, " images"],
    seed: int = 0,
    memory_format: torch.memory_format = torch.contiguous_format,
    **optimizer_options: Any,
) -> Callable[[int], nn.Sequential]:
    """The loop that a user would write, for the first replica: a module, Adam, data in memory.

    ``images`` are floating-point numbers already. Pruned weights stay at zero because their
    gradients are masked; a dense network's loop has no masks. ``optimizer_options`` are Adam's.
    """
    module = plain_module(network, weights)
    module.to(images.device, memory_format=memory_format)  # type: ignore[call-overload]  # torch's
    optimizer = torch.optim.Adam(
        module.parameters(), lr=settings.learning_rate, **optimizer_options
    )
    layers = [part for part in module if isinstance(part, nn.Conv2d | nn.Linear)]
    pruned = [
        (layer.weight, _as_module(mask[0]).to(images.dtype))
        for layer, mask in zip(layers, masks, strict=True)
        if not mask[0].all()
    ]
    following = batches([seed], images, settings.batch_size)

    def run(iterations: int) -> nn.Sequential:
        for indices in following(iterations)[0]:
            batch = images[indices].contiguous(memory_format=memory_format)
            optimizer.zero_grad()
            with training.precision_of(settings.precision, images.device):  # anew for each step
                loss = F.cross_entropy(module(batch), labels[indices])
                loss.backward()
            for weight, mask in pruned:
                weight.grad.mul_(mask)  # type: ignore[union-attr]  # backward() has made it
            optimizer.step()
        _wait(images.device)
        return module

    return run


def plain_module(network: Network, weights: Weights) -> nn.Sequential:
    """The first replica as a module of `torch.nn` layers, its biases at zero."""
    layers: list[nn.Module] = []
    depth = network.input_shape[0]
    for index, channels in enumerate(network.channels):
        layers += [nn.Conv2d(depth, channels, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if index % 2 else []
        depth = channels
    layers.append(nn.Flatten())
    for layer in network.layers[len(network.channels) :]:
        inputs, outputs = layer.shape
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    module = nn.Sequential(*layers[:-1]).to(weights[0].dtype)
    with torch.no_grad():
        weighted = [part for part in module if isinstance(part, nn.Conv2d | nn.Linear)]
        for part, weight in zip(weighted, weights, strict=True):
            part.weight.copy_(_as_module(weight[0]))
            nn.init.zeros_(part.bias)  # type: ignore[arg-type]  # they all have one
    return module


def _as_module(values: Tensor) -> Tensor:
    """One replica's layer as `torch.nn` has it: dense weights the other way round."""
    return values.T if values.ndim == 2 else values


def batches(
    seeds: Sequence[int], images: Shaped[Tensor, "images ..."], batch_size: int
) -> Callable[[int], Int64[Tensor, "seed iterations batch"]]:
    """A function that hands out the next so many batches of every seed, epoch after epoch."""
    length = len(images) // batch_size
    order = torch.stack([training.data_order(seed, 0, len(images)) for seed in seeds])
    order = order[:, : length * batch_size].reshape(len(seeds), length, batch_size)
    order = order.to(images.device)
    done = 0

    def following(iterations: int) -> Tensor:
        nonlocal done
        places = torch.arange(done, done + iterations, device=order.device) % length
        done += iterations
        return order[:, places]

    return following


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tickets(
    network: Network,
    dataset: Dataset,
    settings: Settings,
    seeds: int,
    rounds: Sequence[int],
    arms: int | None = None,
) -> Iterator[tuple[int, Weights, Masks]]:
    """Networks as the criteria experiment trains them in these rounds: all arms for each seed.

    The masks are made in one shot, from one epoch of dense training; the weights are rewound.
    ``arms``: only the first so many, the paper's large_final being the very first.
    """
    plan = experiments.plan("criteria", network.name, "paper")
    dense = networks.initial_weights(network, range(seeds))
    full = [torch.ones_like(weight, dtype=torch.bool) for weight in dense]
    trained = training.train(network, dataset, dense, full, range(seeds), settings).weights
    ours = [ticket_kind.parse(arm) for arm in plan.arms[:arms]]
    seed_of = torch.arange(seeds).repeat_interleave(len(ours))
    initial, final, alive = (
        [layer[seed_of] for layer in every] for every in (dense, trained, full)
    )
    for round_ in rounds:
        masks = alive
        if round_:
            past = Past(network, seed_of.tolist(), round_, initial, final, alive, lambda: [])
            masks = ticket_kind.next_masks(plan, ours * seeds, past)
        yield round_, [w * mask for w, mask in zip(initial, masks, strict=True)], masks


def arithmetic(network: Network, masks: Masks, batch_size: int) -> float:
    """Operations that one iteration of a replica cannot do without, its pruned weights left out.

    Two for each weight, image and position, three times over: forward, for the weights' gradient,
    and (save in the first layer) for the inputs' gradient.
    """
    total = 0.0
    for index, (layer, mask) in enumerate(zip(network.layers, masks, strict=True)):
        positions = 1.0
        if layer.role == "conv":
            positions = math.prod(network.input_shape[1:]) / 4 ** (index // 2)
        kept = mask.sum().item() / len(mask)
        total += 2 * batch_size * positions * kept * (3 if index else 2)
    return total


# --- the parts of the benchmark ---------------------------------------------------------------


def _describe(
    part: str, way: str, network: Network, width: float, round_: int, masks: Masks, batch: int
) -> dict[str, Any]:
    kept = sum(mask.sum().item() for mask in masks) / len(masks[0])
    return {
        "part": part,
        "way": way,
        "network": network.name,
        "width": width,
        "round": round_,
        "density": round(kept / network.weight_count, 5),
        "operations": arithmetic(network, masks, batch),
        "bytes": kept * BYTES_PER_WEIGHT,
    }


def peak_cases(size: Effort) -> list[Case]:
    """What the machine can do: a product of large matrices, a copy and a triad of large arrays."""
    a, b, product = (torch.rand(size.peak_side, size.peak_side) for _ in range(3))
    x, y, z = (torch.rand(size.peak_floats) for _ in range(3))

    def repeat(work: Callable[[], object]) -> Callable[[int], object]:
        return lambda iterations: [work() for _ in range(iterations)]

    def facts(way: str, operations: float, moved: float) -> dict[str, Any]:
        return {"part": "peaks", "way": way, "operations": operations, "bytes": moved}

    return [
        Case(
            facts("matrix product", 2.0 * size.peak_side**3, 0),
            repeat(partial(torch.mm, a, b, out=product)),
        ),
        Case(facts("copy", 0, 8.0 * size.peak_floats), repeat(partial(y.copy_, x))),
        Case(
            facts("triad", 0, 12.0 * size.peak_floats),
            repeat(partial(torch.add, x, y, alpha=2, out=z)),
        ),
    ]


def fc_cases(dataset: Dataset, settings: Settings, size: Effort) -> list[Case]:
    """FC at the densities asked for: two seeds of nine arms, against the plain loop."""
    network = networks.build("fc", dataset.input_shape)
    images = dataset.train.images.float().div(255)
    labels = dataset.train.labels
    cases = []
    for round_, weights, masks in tickets(
        network, dataset, settings, 2, sorted({*size.rounds, *size.more_rounds})
    ):
        describe = partial(
            _describe,
            part="fc", network=network, width=1.0, round_=round_, masks=masks,
            batch=settings.batch_size,
        )  # fmt: skip
        count = len(weights[0])
        every = network, weights, masks, settings
        seeds = [replica * 2 // count for replica in range(count)]
        cases += [
            Case(describe(way="engine"), engine(*every, dataset.train, seeds), count),
            Case(describe(way="plain"), plain_loop(*every, images, labels)),
        ]
        if round_ in size.rounds:
            cases += [
                Case(
                    describe(way="engine, no seed shared"),
                    engine(*every, dataset.train, range(count)),
                    count,
                ),
                Case(describe(way="plain, fused"), plain_loop(*every, images, labels, fused=True)),
            ]
    return cases


def replica_cases(dataset: Dataset, settings: Settings, size: Effort) -> list[Case]:
    """How cost grows with the number of replicas, dense and in round 7 (or the last there is)."""
    network = networks.build("fc", dataset.input_shape)
    rounds = (0, 7 if 7 in size.rounds else size.rounds[-1])
    cases = []
    for round_, weights, masks in tickets(network, dataset, settings, size.seeds, rounds):
        arms = len(weights[0]) // size.seeds
        for count in [1, 2, 4, *(arms * seeds for seeds in (1, 2, size.seeds))]:
            first = [layer[:count] for layer in weights], [mask[:count] for mask in masks]
            facts = _describe(
                "replicas", "engine", network, 1.0, round_, first[1], settings.batch_size
            )
            seeds = [replica // arms for replica in range(count)]
            run = engine(network, *first, settings, dataset.train, seeds)
            cases.append(Case(facts, run, count))
    return cases


def width_cases(dataset: Dataset, settings: Settings, size: Effort) -> list[Case]:
    """How cost grows with the width of the hidden layers, dense and in round 10."""
    images = dataset.train.images.float().div(255)
    cases = []
    for width in size.widths:
        network = networks.build("fc", dataset.input_shape, width)
        for round_, weights, masks in tickets(network, dataset, settings, 1, (0, 10)):
            every = network, weights, masks, settings
            facts = partial(
                _describe, "width", network=network, width=width, round_=round_, masks=masks,
                batch=settings.batch_size,
            )  # fmt: skip
            count = len(weights[0])
            cases += [
                Case(facts(way="engine"), engine(*every, dataset.train, [0] * count), count),
                Case(facts(way="plain"), plain_loop(*every, images, dataset.train.labels)),
            ]
    return cases


def conv_cases(name: str, width: float, dataset: Dataset, size: Effort) -> list[Case]:
    """A convolutional network by density: a replica for each thread, against the plain loop."""
    network = networks.build(name, dataset.input_shape, width)
    settings = Settings(epochs=1, learning_rate=2e-4)
    images = dataset.train.images.float().div(255)
    seeds = range(torch.get_num_threads())
    more = {*size.rounds, *size.more_rounds} if name == "conv2" else set()
    rounds = sorted({*size.conv_rounds, *more})
    cases = []
    for round_, weights, masks in tickets(network, dataset, settings, len(seeds), rounds, arms=1):
        facts = partial(
            _describe, conv_part(name, width), network=network, width=width, round_=round_,
            masks=masks, batch=settings.batch_size,
        )  # fmt: skip
        every = network, weights, masks, settings
        plain = partial(plain_loop, *every, images, dataset.train.labels)
        cases += [
            Case(facts(way="engine"), engine(*every, dataset.train, seeds), len(seeds)),
            Case(facts(way="plain"), plain()),
        ]
        if round_ in size.conv_rounds:
            cases.append(Case(facts(way="plain, fused"), plain(fused=True)))
    return cases


def conv_part(name: str, width: float) -> str:
    """What the part of such a network is called in the record."""
    return f"{name}, width {width:g}"


LEARNED = "learned masks"


def learned_mask_cases(dataset: Dataset) -> list[Case]:
    """Masks learned on FC as the preset `paper` does, beside as much arithmetic at its fastest.

    That is one square product of as many operations as an update's matrix products have together,
    in each thread. Case "engine" is whole epochs: the order of the data and the staging included.
    """
    plan = experiments.plan("learned_supermasks", "fc", "paper")
    settings, network = plan.settings(), networks.build("fc", dataset.input_shape)
    threads = torch.get_num_threads()
    arms = [learned_masks.parse(arm).variant for arm in plan.arms] * threads
    learner = supermasks.Learner.of_variants(network, arms, range(len(arms)))
    length = training.iterations_per_epoch(dataset, settings)
    epochs = itertools.count()

    def learn(iterations: int) -> None:
        for first in range(0, iterations, length):
            images = min(length, iterations - first) * settings.batch_size
            learner.learn(dataset.with_train_images(images), settings, next(epochs))

    full = [torch.ones_like(layer[:1], dtype=torch.bool) for layer in learner.values]
    facts = partial(
        _describe, LEARNED, network=network, width=1.0, round_=0, masks=full,
        batch=settings.batch_size,
    )  # fmt: skip
    side = round((arithmetic(network, full, settings.batch_size) / 2) ** (1 / 3))
    squares = [[torch.rand(side, side) for _ in range(3)] for _ in range(threads)]

    def multiply(iterations: int) -> None:
        def work(square: list[Tensor]) -> None:
            for _ in range(iterations):
                torch.mm(square[0], square[1], out=square[2])

        parallel.spread(work, squares)

    return [
        Case(facts(way="engine"), learn, len(arms)),
        Case(facts(way="square product"), multiply, threads),
    ]


def gpu_cases(
    dataset: Dataset, colours: Dataset, settings: Settings, size: Effort, device: torch.device
) -> list[Case]:
    """The same on a GPU: FC, and Conv2 and Conv6 in bf16, each beside the eager loop."""
    fc = networks.build("fc", dataset.input_shape)
    conv2, conv6 = (
        networks.build(name, colours.input_shape, size.conv_widths[-1])
        for name in ("conv2", "conv6")
    )
    half = Settings(epochs=1, learning_rate=3e-4, precision="bf16")
    cases = []
    for network, split, how, counts in (
        (fc, dataset.train, settings, (1, 16, 64, 128)),
        (conv2, colours.train, half, (1, 8, 32)),
        (conv6, colours.train, half, (1, 8, 32)),
    ):
        split = split.to(device)
        images = split.images.float().div(255)
        for count in counts:
            seeds = range(count)
            weights = networks.initial_weights(network, seeds, device)
            masks = [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
            facts = partial(
                _describe, "gpu", network=network, width=1.0, round_=0, masks=masks,
                batch=how.batch_size,
            )  # fmt: skip
            every = network, weights, masks, how
            cases.append(Case(facts(way="engine"), engine(*every, split, seeds), count))
            if count == 1:
                cases += [
                    Case(facts(way="plain"), plain_loop(*every, images, split.labels)),
                    Case(
                        facts(way="plain, fused"),
                        plain_loop(*every, images, split.labels, fused=True),
                    ),
                ]
    return cases


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


# --- the whole benchmark, its record ----------------------------------------------------------


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


def write(target: Path, facts: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> None:
    """Write a record of a benchmark, atomically."""
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = json.dumps(dict(facts), indent=1)[:-2] + f',\n "cases": [\n{lines}\n]\n}}\n'
    files.replace_file(target, lambda temporary: temporary.write_text(text))


@dataclass(frozen=True)
class Bench:
    """A benchmark's record. ``table`` has one row for each case and repetition."""

    facts: dict[str, Any]
    table: pd.DataFrame

    def provenance(self) -> str:
        """One sentence for a caption: machine, versions, date, commit and command."""
        facts = self.facts
        commit = facts["commit"][:10] + ("+" if facts["commit"].endswith("+") else "")
        shared = ""
        if facts["busy_with_others"] > 0.02:
            shared = f" (shared: {facts['busy_with_others']:.0%} of the work done was others')"
        return (
            f"{facts['device']}{shared}, data: {facts['data']}, torch "
            f"{facts['versions']['torch']}, numba {facts['versions']['numba']}, "
            f"{facts['finished'][:10]}, commit {commit}. "
            f"Remake: `{facts['command']}`."
        )


def record_path(gpu: bool = False, directory: Path | None = None) -> Path:
    """Where the record of a benchmark is: a CPU's and a GPU's are two."""
    return (directory or paths.records()) / ("bench-gpu.json" if gpu else "bench.json")


def read(path: Path | None = None) -> Bench:
    """The committed benchmark of a CPU, or the one at ``path``.

    Raises `UserError` if it is missing or damaged.
    """
    path = path or record_path()
    try:
        facts = json.loads(path.read_text())
        table = pd.DataFrame(facts.pop("cases")).explode("milliseconds", ignore_index=True)
        table["milliseconds"] = table["milliseconds"].astype(float)
        table["repetition"] = table.groupby(_KEY, dropna=False).cumcount()
    except FileNotFoundError as error:
        raise UserError(f"no benchmark at {path}: 'dltlib bench' makes one") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged: restore it with git, or remake it with 'dltlib bench'"
        ) from error
    return Bench(facts, table)


_KEY = ["part", "way", "network", "width", "round", "replicas"]


# --- what the numbers say ---------------------------------------------------------------------


def times(bench: Bench, part: str) -> pd.DataFrame:
    """Median milliseconds per replica and iteration, with the 10th and 90th percentile."""
    rows = bench.table[bench.table["part"] == part]
    facts = ["density", "operations", "bytes"]
    table = rows.groupby([*_KEY, *facts], dropna=False, sort=False)["milliseconds"].quantile(
        [0.1, 0.5, 0.9]
    )
    return table.unstack().rename(columns={0.1: "low", 0.5: "median", 0.9: "high"}).reset_index()


def ratios(
    bench: Bench, part: str = "fc", way: str = "engine", against: str = "plain"
) -> pd.DataFrame:
    """How many times faster one way is than another, taken within each repetition.

    Columns: width, round, density, median, low, high (10th and 90th percentile).
    """
    rows = bench.table[bench.table["part"] == part]
    keys = ["width", "round", "repetition"]
    fast, slow = (rows[rows["way"] == name].set_index(keys) for name in (way, against))
    both = fast.join(slow["milliseconds"].rename("slow"), how="inner")
    both["ratio"] = both["slow"] / both["milliseconds"]
    table = both.groupby(["width", "round", "density"])["ratio"].quantile([0.1, 0.5, 0.9])
    table = table.unstack().rename(columns={0.1: "low", 0.5: "median", 0.9: "high"}).reset_index()
    return table.sort_values(["width", "round"], ignore_index=True)


def times_of_arithmetic(bench: Bench) -> pd.DataFrame:
    """What learning a mask costs, in terms of its matrix products at the machine's peak.

    As `ratios`; without a row where the record is older than this part.
    """
    return ratios(bench, LEARNED, way="square product", against="engine")


def peaks(bench: Bench) -> dict[str, float]:
    """The best seen: ``operations`` and ``bytes`` a second."""
    rows = bench.table[bench.table["part"] == "peaks"]
    seconds = rows["milliseconds"] / 1e3
    return {name: float((rows[name] / seconds).max()) for name in ("operations", "bytes")}


def shares_of_peak(bench: Bench, part: str) -> pd.DataFrame:
    """`times` with ``matrix_share`` and ``memory_share``: of the machine's measured peaks.

    What counts is what the surviving weights need (`arithmetic`; Adam's reading and writing), so
    a loop that multiplies by zeros gets no credit for it.
    """
    table, best = times(bench, part), peaks(bench)
    seconds = table["median"] / 1e3
    table["matrix_share"] = table["operations"] / seconds / best["operations"]
    table["memory_share"] = table["bytes"] / seconds / best["bytes"]
    return table


def arm_ratio(bench: Bench, part: str = "fc", rounds: int = LAST_ROUND) -> float:
    """How many times faster than the plain loop an arm is trained over rounds 0 to ``rounds``.

    No evaluation; rounds that were not measured lie on the line between those that were.
    """
    table = times(bench, part)
    costs = {}
    for way in ("engine", "plain"):
        times_of_way = table[table["way"] == way].set_index("round")["median"]
        every = times_of_way.reindex(range(rounds + 1)).interpolate(limit_direction="both")
        costs[way] = float(every.sum())
    return costs["plain"] / costs["engine"]


def conv_parts(bench: Bench) -> list[str]:
    """The parts that are about convolutions, in the order in which they were measured."""
    return [part for part in bench.table["part"].unique() if part.startswith("conv")]


def conv_ratios(bench: Bench, against: str = "plain") -> pd.DataFrame:
    """`ratios` of all convolutional networks, with the column network besides."""
    return pd.concat(
        [
            ratios(bench, part, against=against).assign(network=part.split(",")[0])
            for part in conv_parts(bench)
        ],
        ignore_index=True,
    )


def all_ratios(bench: Bench) -> dict[str, float]:
    """The median of each ratio to the plain loop, by part and round."""
    return {
        f"{part}, round {int(row.round)}": round(row.median, 3)
        for part in ("fc", *conv_parts(bench))
        for row in ratios(bench, part).itertuples()
    }


def programme_hours(bench: Bench, seeds: int = SEEDS, epochs: int = EPOCHS) -> float:
    """Hours for all arms of criteria, signs and zeros, projected from the slice measured."""
    part = bench.facts["slice"]
    seconds = seeds * (epochs * sum(part["epoch_seconds"]) + sum(part["other_seconds"]))
    return float(seconds) / 3600


def gpu_speeds(bench: Bench) -> pd.DataFrame:
    """Of a GPU's benchmark, a row for each case: network, way, number of replicas, microseconds
    per replica and iteration, and TFLOP/s."""
    found = times(bench, "gpu")
    return found[["network", "way", "replicas"]].assign(
        microseconds=1e3 * found["median"],
        teraflops=found["operations"] / found["median"] / 1e9,
    )


def describe(bench: Bench) -> list[str]:
    """What a terminal shows at the end: a few lines."""
    if (bench.table["part"] == "gpu").any():
        return [f"training steps on {bench.facts['device']}:"] + [
            f"  {row.network}, {row.way}, {row.replicas} replicas: {row.microseconds:.2f} us per "
            f"replica and iteration, {row.teraflops:.1f} TFLOP/s"
            for row in gpu_speeds(bench).itertuples()
        ]
    lines = [f"FC, milliseconds per replica and iteration ({bench.facts['device']}):"]
    medians = times(bench, "fc").set_index(["round", "way"])["median"]
    for row, fused in _beside_fused(bench, "fc"):
        ours, plain = medians[row.round, "engine"], medians[row.round, "plain"]
        lines.append(
            f"  density {row.density:5.3f}: engine {ours:.3f}, plain loop {plain:.3f}: "
            f"{row.median:.1f} times ({row.low:.1f} to {row.high:.1f})"
            + ("" if math.isnan(fused) else f", fused Adam's {fused:.1f}")
        )
    for part in conv_parts(bench):
        listed = ", ".join(
            f"{row.median:.2f}{'' if math.isnan(fused) else f' ({fused:.2f})'} at density "
            f"{row.density:.3f}"
            for row, fused in _beside_fused(bench, part)
        )
        lines.append(
            f"{part}, times faster (than fused Adam): {listed}; "
            f"over an arm {arm_ratio(bench, part):.1f}"
        )
    for row in times_of_arithmetic(bench).itertuples():
        lines.append(
            f"learned masks, FC: {row.median:.2f} times their arithmetic at its fastest "
            f"({row.low:.2f} to {row.high:.2f})"
        )
    lines.append(f"24 rounds of one arm of FC: {arm_ratio(bench):.1f} times")
    lines.append(
        f"criteria, signs and zeros, {SEEDS} seeds, {EPOCHS} epochs: {programme_hours(bench):.1f} h"
    )
    return lines


def _beside_fused(bench: Bench, part: str) -> Iterator[tuple[Any, float]]:
    """The rows of `ratios`, and for each the median ratio to the loop with fused Adam."""
    fused = ratios(bench, part, against="plain, fused").set_index("round")["median"]
    for row in ratios(bench, part).itertuples():
        yield row, float(fused.get(row.round, math.nan))
