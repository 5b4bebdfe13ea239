"""What is timed, part by part: each measurement is a `Case` that can do so many iterations."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dltlib import experiments, networks, parallel, supermasks, training
from dltlib.bench.results import LAST_ROUND, LEARNED, conv_part
from dltlib.bench.sides import arithmetic, engine, plain_loop, tickets
from dltlib.datasets import Dataset
from dltlib.history import Masks
from dltlib.kinds import learned_masks
from dltlib.networks import Network
from dltlib.settings import Settings

ROUNDS = (0, 4, 7, 10, 15, 21)  # densities 1, 0.41, 0.21, 0.11, 0.04 and 0.01
MORE_ROUNDS = (2, 24)  # for the cost of a whole experiment of `LAST_ROUND` rounds
CONV_ROUNDS = (0, 10, 21)  # of Conv4 and Conv6; Conv2 has all of the above
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
