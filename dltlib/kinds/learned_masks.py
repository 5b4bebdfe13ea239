"""Learned supermasks: a Bernoulli probability for each untrained weight (section 5)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dltlib import catalogue, parallel, records, supermasks, training
from dltlib.catalogue import Architecture
from dltlib.errors import UserError
from dltlib.kinds import masks as mask_arms
from dltlib.kinds import rows, tickets
from dltlib.kinds.kind import KINDS, Kind, Shard
from dltlib.kinds.masks import MaskArm
from dltlib.plans import Plan

EVALUATIONS = 12  # of a learned mask over its epochs
UNUSED = frozenset({"rounds", "keep_conv", "keep_dense", "keep_output", "evaluate_every"})


def parse(text: str) -> MaskArm:
    """A `MaskArm` whose source is one of `catalogue.LEARNED_SOURCES`."""
    return mask_arms.parse(text, _find_source)


def _find_source(name: str) -> None:
    if name not in catalogue.LEARNED_SOURCES:
        raise UserError(
            f"a learned supermask is {mask_arms.GRAMMAR}, the source one of "
            f"{', '.join(catalogue.LEARNED_SOURCES)}, not {name!r}"
        )


def preset(network: Architecture, name: str) -> dict[str, Any]:
    """Section 5 of the paper, reduced at the presets cpu and tiny."""
    values = tickets.training_preset(network, "paper") | {
        "rounds": 0,
        "epochs": 2000,
        "learning_rate": network.learned_rate,
        "batch_size": 250,
    }
    if name == "tiny":
        values |= {"dataset": "digits", "seeds": 3, "evaluate_every": 20}
        values |= {"epochs": 60, "batch_size": 50, "learning_rate": 10.0}
        if network.channels:
            values |= {"width": 0.125, "seeds": 2}
    elif name == "cpu" and network.channels:
        values |= {"width": 0.125, "train_images": 6_000, "seeds": 2, "epochs": 24}
    elif name == "cpu":
        values |= {"seeds": 3, "epochs": 60}
    return values


def iterations(plan: Plan, training: int, images: int) -> int:
    """Every replica learns by itself."""
    return training * plan.seeds * len(plan.arms)


def run(shard: Shard) -> Iterator[None]:
    """Learn a mask for each replica, side by side; measure and checkpoint it every few epochs."""
    plan, checkpoint, dataset = shard.plan, shard.checkpoint, shard.dataset
    arms = [parse(replica.arm) for replica in shard.replicas]
    learner = supermasks.Learner.of_variants(shard.network, arms, shard.seeds, shard.device)
    length = training.iterations_per_epoch(dataset, plan.settings())
    first = max(checkpoint.round, 0)
    loss = torch.full((len(arms),), math.nan, dtype=torch.float64)

    layers = {"scores": learner.scores, "momentum": learner.momentum}

    def state() -> dict[str, Tensor]:
        return _named(layers) | {"epoch": torch.tensor(epoch + 1), "loss": loss}

    saved = _named({name: checkpoint.layers(name) for name in layers})
    if under_way := checkpoint.training():
        saved, first, loss = under_way, int(under_way["epoch"]), under_way["loss"]
    if saved:
        for name, layer in _named(layers).items():
            layer.copy_(saved[name])
        learner.step = first * length
    every = max(1, plan.epochs // EVALUATIONS)
    for epoch in range(first, plan.epochs + 1):
        # Measured before the epoch of that number, so that the untrained mask is measured too.
        if epoch != checkpoint.round and (epoch % every == 0 or epoch == plan.epochs):
            finished = epoch == plan.epochs
            checkpoint.save(
                epoch,
                _rows(shard, learner, epoch, loss),
                layers,
                _packed_masks(shard, learner) if finished else {},
                finished,
            )
            yield
        if epoch < plan.epochs:
            loss = learner.learn(dataset, plan.settings(), epoch).cpu()
            shard.progress(length * len(arms), math.nan, epoch + 1)
            checkpoint.rest(state)


def _named(layers: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    return {
        f"{name}/{index:03d}": layer
        for name, every in layers.items()
        for index, layer in enumerate(every)
    }


def _rows(shard: Shard, learner: supermasks.Learner, epoch: int, loss: Tensor) -> list[rows.Row]:
    validation = learner.accuracy(shard.dataset.validation)
    test = learner.accuracy(shard.dataset.test)
    found: list[rows.Row] = [{} for _ in shard.replicas]

    def measure(index: int) -> None:
        # Each replica by itself: the order in which a sum is taken must not depend on the others.
        probabilities = [layer[None, index].sigmoid() for layer in learner.scores]
        density, layer_density = rows.densities(probabilities)
        flat = torch.cat([layer.flatten() for layer in probabilities]).cpu()
        found[index] = {
            "arm": shard.replicas[index].arm,
            "seed": shard.replicas[index].seed,
            "round": epoch,
            "density": density[0],
            "layer_density": layer_density[0],
            "validation_accuracy": validation[index].item(),
            "test_accuracy": test[index].item(),
            "training_loss": loss[index].item(),
            "probability_histogram": (flat.histc(20, 0, 1) / len(flat)).tolist(),
        }

    parallel.spread(measure, range(len(found)))
    return found


def _packed_masks(shard: Shard, learner: supermasks.Learner) -> dict[str, Tensor]:
    """The likely mask of every replica, eight weights a byte (see `records.unpack_mask`)."""
    return {
        f"mask/{replica.arm}/{replica.seed}/{layer.name}": records.pack_mask(mask[index])
        for layer, mask in zip(shard.network.layers, learner.likely(), strict=True)
        for index, replica in enumerate(shard.replicas)
    }


KINDS.add(Kind("learned_masks", mask_arms.GRAMMAR, parse, preset, iterations, run, UNUSED))
