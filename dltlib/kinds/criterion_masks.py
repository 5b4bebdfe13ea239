"""Supermasks by criterion: masks of a trained network over its untrained weights (section 5)."""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch

from dltlib import criteria, networks, parallel, pruning, supermasks, training
from dltlib.catalogue import Architecture
from dltlib.history import Masks, Past, Weights
from dltlib.kinds import masks as mask_arms
from dltlib.kinds import rows, tickets
from dltlib.kinds.kind import KINDS, Kind, Shard
from dltlib.kinds.masks import MaskArm
from dltlib.plans import Plan, Replica


def parse(text: str) -> MaskArm:
    """A `MaskArm` whose source is a criterion."""
    return mask_arms.parse(text, criteria.CRITERIA.find)


def preset(network: Architecture, name: str) -> dict[str, Any]:
    """The dense training of tickets; on two cores, fewer shares for convolutions."""
    values = tickets.training_preset(network, name)
    if name == "cpu" and network.channels:
        values |= tickets.coarse_rounds(network) | {"rounds": 8, "seeds": 2}
    return values


def iterations(plan: Plan, training: int, images: int) -> int:
    """A dense training a seed, and masks that are tested at what that costs."""
    tests = plan.seeds * len(plan.arms) * (plan.rounds + 1)
    return plan.seeds * training + tests * _cost_of_a_test(plan, images)


def _cost_of_a_test(plan: Plan, images: int) -> int:
    """In training iterations, which go forwards once and backwards for twice that."""
    return max(1, round(images / (3 * plan.batch_size)))


def run(shard: Shard) -> Iterator[None]:
    """Train dense once a seed, then prune w_i in one shot at every keep fraction, a round each,
    and test the untrained networks."""
    plan, network, checkpoint = shard.plan, shard.network, shard.checkpoint
    seeds = sorted(set(shard.seeds))
    dense = networks.initial_weights(network, seeds, shard.device)
    full = [torch.ones_like(weight, dtype=torch.bool) for weight in dense]
    images = len(shard.dataset.validation) + len(shard.dataset.test)

    @cache
    def gradient() -> Weights:
        return training.loss_gradient(network, dense, shard.dataset.train)

    by_source: dict[str, list[Replica]] = {}
    for replica in shard.replicas:
        by_source.setdefault(parse(replica.arm).source, []).append(replica)
    final = checkpoint.layers("final", shard.device)
    for round_ in range(checkpoint.round + 1, plan.rounds + 1):
        found: list[rows.Row] = []
        if round_ == 0:
            outcome = training.train(
                network, shard.dataset, dense, full, seeds, plan.settings(), shard.in_round(0),
                rest=checkpoint.rest, resume=checkpoint.training(),
            )  # fmt: skip
            final = outcome.weights
            found += rows.trained([Replica("trained", seed) for seed in seeds], 0, full, outcome)
        past = Past(network, seeds, round_, dense, final, full, gradient)
        for source, replicas in sorted(by_source.items()):
            found += _tested(shard, past, _masks(plan, source, past), replicas)
            shard.progress(len(replicas) * _cost_of_a_test(plan, images), math.nan, round_)
        checkpoint.save(round_, found, {"final": final}, {}, round_ == plan.rounds)
        yield


def _masks(plan: Plan, source: str, past: Past) -> Masks:
    """A criterion's masks for every seed."""
    criterion, everyone = criteria.CRITERIA.find(source), range(len(past.seeds))
    return [
        pruning.next_mask(
            criterion, past.layer(number, everyone), plan.keep_fraction(layer.role, past.round)
        )
        for number, layer in enumerate(past.network.layers)
    ]


def _tested(shard: Shard, past: Past, masks: Masks, replicas: Sequence[Replica]) -> list[rows.Row]:
    """A row for each replica: what its seed's masks make of the untrained weights.

    A CPU tests a replica in each thread, a GPU all of them at once.
    """
    density, layer_density = rows.densities(masks)
    found: list[rows.Row] = [{} for _ in replicas]

    def test(group: slice) -> None:
        members = replicas[group]
        arms = [parse(replica.arm) for replica in members]
        positions = [past.seeds.index(replica.seed) for replica in members]
        values = [
            torch.cat(
                [
                    supermasks.base_values(layer, weight[None, position], arm.values)
                    for position, arm in zip(positions, arms, strict=True)
                ]
            )
            for layer, weight in zip(past.network.layers, past.initial, strict=True)
        ]
        rescaled = torch.tensor([arm.scaling == "rescaled" for arm in arms], device=shard.device)
        weights = supermasks.apply_masks(values, [mask[positions] for mask in masks], rescaled)
        validation, test = (
            supermasks.accuracy(past.network, weights, split).tolist()
            for split in (shard.dataset.validation, shard.dataset.test)
        )
        found[group] = [
            {
                "arm": replica.arm,
                "seed": replica.seed,
                "round": past.round,
                "density": density[position],
                "layer_density": layer_density[position],
                "validation_accuracy": validation[index],
                "test_accuracy": test[index],
            }
            for index, (replica, position) in enumerate(zip(members, positions, strict=True))
        ]

    parallel.spread(test, parallel.groups(len(replicas), shard.device))
    return found


KINDS.add(Kind("criterion_masks", mask_arms.GRAMMAR, parse, preset, iterations, run))
