"""Data of the playground: what the browser needs to learn a supermask as `dltlib` would.

The network, its initial weights, the digits and the order in which they are seen are those of the
experiment ``learned_supermasks`` (FC, preset tiny, seed 0), so that the browser's curve can be
laid over the record's. The tickets are trained here, by the library, in seconds.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltlib import datasets, experiments, networks, randomness, records, runs, training
from dltlib.checkpoints import Checkpoint
from dltlib.figures.styles import style
from dltlib.interactive.scripts import numbers, packed

SEED = 0
ORDERS = 60  # epochs whose data orders the page holds; afterwards they come again
# Of the tickets whose input pixels are shown: what they are pruned by, and how often.
TICKET_CRITERIA = ("large_final", "magnitude_increase", "movement", "random")
TICKET_ROUNDS = 24


def scripts(directory: Path) -> Iterator[tuple[str, object]]:
    """(name, value) of every script: the supermask's, and the tickets'."""
    yield "playground/supermask", supermask(directory)
    yield "playground/tickets", tickets()


def supermask(directory: Path) -> dict[str, Any]:
    """The frozen network, the digits, their order, and the curves of the record if it is there."""
    plan = experiments.plan("learned_supermasks", "fc", "tiny")
    dataset = datasets.load(plan.dataset)
    network = networks.build(plan.network, dataset.input_shape)
    initial = networks.initial_weights(network, [SEED])
    orders = [training.data_order(SEED, epoch, len(dataset.train)) for epoch in range(ORDERS)]
    length = training.iterations_per_epoch(dataset, plan.settings()) * plan.batch_size
    name = experiments.name(plan)
    curves = {}
    if (directory / f"{name}.parquet").exists():
        table = records.read(name, directory).table
        for arm, rows in table[table["seed"] == SEED].groupby("arm"):
            points = rows.sort_values("round")
            accuracy = numbers(points["test_accuracy"], 6)
            curves[arm] = list(zip(points["round"].tolist(), accuracy, strict=True))
    return {
        "seed": SEED,
        "rate": plan.learning_rate,
        "batch_size": plan.batch_size,
        "layers": [
            {
                "name": layer.name,
                "inputs": layer.shape[0],
                "outputs": layer.shape[1],
                "deviation": layer.initial_deviation,
                "key": randomness.name_to_integer(SEED, "mask", layer.name, bits=31),
                "initial": packed(weight[0].numpy()),
            }
            for layer, weight in zip(network.layers, initial, strict=True)
        ],
        "orders": packed(torch.stack(orders)[:, :length].numpy().astype(np.uint16)),
        "splits": {
            part: {
                "images": packed(split.images.flatten(1).numpy()),
                "labels": packed(split.labels.numpy().astype(np.uint8)),
            }
            for part, split in (("train", dataset.train), ("test", dataset.test))
        },
        "record": {"name": name, "curves": curves},
    }


def tickets() -> dict[str, Any]:
    """Round by round, how many weights each input pixel of a digits ticket has left."""
    arms = tuple(f"{criterion}/rewind/zero" for criterion in TICKET_CRITERIA)
    plan = experiments.plan("criteria", "fc", "tiny", arms=arms, seeds=1, rounds=TICKET_ROUNDS)
    checkpoint = Checkpoint(None, plan.hash, plan.replicas)
    frames: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for _ in runs.rounds(plan, checkpoint, torch.device("cpu"), experiments.load_dataset(plan)):
        masks = checkpoint.layers("mask")
        rows = {row["arm"]: row for row in checkpoint.rows[-len(arms) :]}
        for index, arm in enumerate(arms):
            frames[arm].append(
                {
                    "density": float(f"{rows[arm]['density']:.6g}"),
                    "test_accuracy": float(f"{rows[arm]['test_accuracy']:.6g}"),
                    **pixels([mask[index] for mask in masks]),
                }
            )
    return {
        "arms": [
            {"name": arm, "label": arm.split("/")[0], "color": style(arm).color} for arm in frames
        ],
        "frames": frames,
        "scale": f"fc/{plan.dataset}, {plan.epochs} epochs a round, seed 0",
        "command": "dltlib run criteria --network fc --preset tiny "
        f"--arms {' '.join(arms)} --seeds 1 --rounds {TICKET_ROUNDS}",
    }


def pixels(masks: list[Tensor]) -> dict[str, Any]:
    """Of one ticket's masks, ``[in, out]`` each: for every input the weights it has left, and
    whether a chain of weights leads from it to the output; and how many units of each hidden layer
    lie on such a chain from an input."""
    leads_on = torch.ones(masks[-1].shape[1], dtype=torch.bool)
    onward = []
    for mask in reversed(masks):
        leads_on = (mask & leads_on).any(1)
        onward.append(leads_on)
    onward = onward[::-1]  # of the inputs of each layer: does a chain lead to the output?
    reached, units = onward[0], []
    for mask, further in zip(masks[:-1], onward[1:], strict=True):
        reached = (mask & reached[:, None]).any(0) & further
        units.append(int(reached.sum()))
    return {
        "weights": masks[0].sum(1).tolist(),
        "seen": onward[0].int().tolist(),
        "units": units,
    }
