"""Supermasks by criterion: masks of a trained network over its untrained weights (section 5).

A fourth part of an arm says where the training that the mask is read from stops: ``epoch=5`` after
so many epochs, ``accuracy=0.5`` once so many validation images are right. A training that does not
get there, or that no arm stops, goes on to its end.
"""

import dataclasses
import math
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

from dltlib import catalogue, criteria, networks, parallel, pruning, supermasks, training
from dltlib.catalogue import Architecture
from dltlib.errors import UserError
from dltlib.history import Masks, Past, Weights
from dltlib.kinds import masks as mask_arms
from dltlib.kinds import rows, tickets, timing
from dltlib.kinds.kind import KINDS, Kind, Shard
from dltlib.networks import Network
from dltlib.plans import Plan, Replica

GRAMMAR = f"{mask_arms.GRAMMAR}[/epoch=NUMBER or /accuracy=SHARE]"
END = "end"


class CriterionMask(NamedTuple):
    """A mask by criterion, written ``source/values/scaling`` and, unless it is `END`, ``/stop``."""

    source: str
    values: str = "initial"
    scaling: str = "plain"
    stop: str = END

    def __str__(self) -> str:
        return "/".join(self[:3] if self.stop == END else self)


def parse(text: str) -> CriterionMask:
    """A `CriterionMask` from ``criterion[/values[/scaling[/stop]]]``, numbers written one way."""
    parts = text.split("/")
    mask = mask_arms.parse("/".join(parts[:3]), criteria.CRITERIA.find)
    arm = CriterionMask(*mask, *parts[3:4])
    if len(parts) > 4:
        raise UserError(f"a supermask by criterion is {GRAMMAR}, not {text!r}")
    epoch, share = stop_of(arm.stop)
    if epoch is not None:
        return arm._replace(stop=f"epoch={epoch}")
    if share is not None:
        return arm._replace(stop=f"accuracy={mask_arms.written(share)}")
    return arm


def stop_of(text: str) -> tuple[int | None, float | None]:
    """After how many epochs, or at which validation accuracy, training stops; both None at its end.

    Raises `UserError` for anything else.
    """
    name, _, number = text.partition("=")
    if text == END:
        return None, None
    if name == "epoch" and number.isdecimal() and int(number) > 0:
        return int(number), None
    if name == "accuracy" and number.replace(".", "", 1).isdecimal() and 0 < float(number) < 1:
        return None, float(number)
    raise UserError(
        f"{text!r} is no place to stop a training: write epoch=5, accuracy=0.5 or {END}"
    )


def preset(network: Architecture, name: str) -> dict[str, Any]:
    """The dense training of tickets; on two cores, fewer shares for convolutions."""
    values = tickets.training_preset(network, name)
    if name == "cpu" and network.channels:
        values |= tickets.coarse_rounds(network) | {"rounds": 8}
        values |= {"width": 0.5, "train_images": 20_000, "epochs": 10}
    return values


def iterations(plan: Plan, training: int, images: int) -> int:
    """A dense training a seed, and masks that are tested at what that costs."""
    tests = sum(_cost_of_a_test(plan, images, round_) for round_ in range(plan.rounds + 1))
    looking = 0
    if plan.epochs > 1 and any(stop_of(parse(arm).stop)[1] for arm in plan.arms):
        looking = training // plan.epochs * _cost_of_a_look(plan)
    return plan.seeds * (training + looking + len(plan.arms) * tests)


# What does not get cheaper with the weights of a test on a CPU. Measured with FC on 15,000 images
# and two threads: of its time at full density the kernel takes 0.55 with 28 % left, 0.16 with 1 %.
FIXED = 0.15


def _cost_of_a_test(plan: Plan, images: int, round_: int) -> int:
    """Of masks of that round."""
    role = "conv" if catalogue.NETWORKS[plan.network].channels else "dense"
    left = min(1.0, FIXED + plan.keep_fraction(role, round_))
    return timing.cost_of_a_test(plan, images, left)


def _cost_of_a_look(plan: Plan) -> int:
    """An iteration, and a test on the validation images."""
    return 1 + _cost_of_a_test(plan, catalogue.DATASETS[plan.dataset].validation, 0)


def seconds(plan: Plan, network: Network, device: torch.device, iterations: int) -> float:
    """See `Kind`: tests are counted in iterations of the dense training."""
    return iterations * timing.seconds(timing.training_slice(plan, network, device, 0), device)


def run(shard: Shard) -> Iterator[None]:
    """Train dense once a seed, then prune w_i in one shot at every keep fraction, a round each,
    and test the untrained networks."""
    plan, network, checkpoint = shard.plan, shard.network, shard.checkpoint
    seeds = sorted(set(shard.seeds))
    last = plan.epochs * training.iterations_per_epoch(shard.dataset, plan.settings())
    dense = networks.initial_weights(network, seeds, shard.device)
    full = [torch.ones_like(weight, dtype=torch.bool) for weight in dense]
    images = len(shard.dataset.validation) + len(shard.dataset.test)

    @cache
    def gradient() -> Weights:
        return training.loss_gradient(network, dense, shard.dataset.train)

    # Masks of one criterion, read off where training stopped, are made once for all their arms.
    made_from: dict[tuple[str, str], list[Replica]] = {}
    for replica in shard.replicas:
        arm = parse(replica.arm)
        made_from.setdefault((arm.source, arm.stop), []).append(replica)
    stops = sorted({stop for _, stop in made_from})
    final = {stop: checkpoint.layers(f"final/{stop}", shard.device) for stop in stops}
    for round_ in range(checkpoint.round + 1, plan.rounds + 1):
        found: list[rows.Row] = []
        if round_ == 0:
            outcome, ends = _train(shard, seeds, dense, full, stops, last)
            final = {stop: _weights_at(outcome, ends[stop]) for stop in stops}
            found += rows.trained([Replica("trained", seed) for seed in seeds], 0, full, outcome)
        for (source, stop), replicas in sorted(made_from.items()):
            past = Past(network, seeds, round_, dense, final[stop], full, gradient)
            tested = _tested(shard, past, _masks(plan, source, past), replicas)
            if round_ == 0 and stop != END:
                for row in tested:
                    row["stop_iteration"] = ends[stop][seeds.index(row["seed"])]
            found += tested
            shard.progress(len(replicas) * _cost_of_a_test(plan, images, round_), math.nan, round_)
        layers = {f"final/{stop}": weights for stop, weights in final.items()}
        checkpoint.save(round_, found, layers, {}, round_ == plan.rounds)
        yield


def _train(
    shard: Shard,
    seeds: Sequence[int],
    dense: Weights,
    full: Masks,
    stops: Collection[str],
    last: int,
) -> tuple[training.Outcome, dict[str, list[int]]]:
    """Train dense, with the weights at every stop, and say where those are.

    They are looked for once, however often training is resumed: on a GPU a second look may find
    them elsewhere.
    """
    under_way = shard.checkpoint.training()
    ends = (
        {stop: under_way[f"ends/{stop}"].tolist() for stop in stops}
        if under_way
        else _stopping_iterations(shard, seeds, dense, full, stops, last)
    )
    kept = {f"ends/{stop}": torch.tensor(at) for stop, at in ends.items()}
    session = training.Session(
        progress=shard.in_round(0),
        snapshots={at for of_seeds in ends.values() for at in of_seeds} - {last},
        rest=lambda state: shard.checkpoint.rest(lambda: {**state(), **kept}),
        resume=under_way,
    )
    settings = shard.plan.settings()
    return training.train(shard.network, shard.dataset, dense, full, seeds, settings, session), ends


def _stopping_iterations(
    shard: Shard,
    seeds: Sequence[int],
    dense: Weights,
    full: Masks,
    stops: Collection[str],
    last: int,
) -> dict[str, list[int]]:
    """Where training stops, for each stop and seed; ``last`` where it does not get there.

    An accuracy is looked for after every iteration of the first epoch, which is trained twice.
    """
    parts = {stop: stop_of(stop) for stop in stops}
    length = last // shard.plan.epochs
    ends = {
        stop: [min(last, epoch * length) if epoch else last] * len(seeds)
        for stop, (epoch, _) in parts.items()
    }
    wanted = {stop: accuracy for stop, (_, accuracy) in parts.items() if accuracy}
    if wanted and last > length:  # of the last epoch no weights are kept
        looks = training.train(
            shard.network, shard.dataset, dense, full, seeds,
            dataclasses.replace(shard.plan.settings(), epochs=1, evaluate_every=1),
            training.Session(
                lambda done, mean: shard.progress(done * _cost_of_a_look(shard.plan), mean, 0)
            ),
        ).history  # fmt: skip
        for stop, accuracy in wanted.items():
            for index, reached in enumerate((looks >= accuracy).T):
                if reached.any():
                    ends[stop][index] = 1 + int(reached.int().argmax())
    return ends


def _weights_at(outcome: training.Outcome, ends: Sequence[int]) -> Weights:
    """Every seed's weights where its training stopped."""
    stopped = [outcome.snapshots.get(at, outcome.weights) for at in ends]
    return [
        torch.stack([weights[layer][seed] for seed, weights in enumerate(stopped)])
        for layer in range(len(outcome.weights))
    ]


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


KINDS.add(Kind("criterion_masks", GRAMMAR, parse, preset, iterations, run, tickets.UNUSED, seconds))
