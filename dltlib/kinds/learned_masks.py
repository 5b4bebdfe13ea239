"""Learned supermasks: a Bernoulli probability for each untrained weight (section 5).

A fourth part of an arm gives it a rate of SGD of its own: ``rate=50``, in place of the plan's, or
``rate=4x``, four times the plan's.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dltlib import catalogue, parallel, records, supermasks, training
from dltlib.catalogue import Architecture
from dltlib.datasets import Dataset, Split
from dltlib.errors import UserError
from dltlib.kinds import masks as mask_arms
from dltlib.kinds import rows, tickets, timing
from dltlib.kinds.kind import KINDS, Kind, Shard
from dltlib.kinds.masks import MaskArm
from dltlib.networks import Network
from dltlib.plans import Plan

EVALUATIONS = 12  # of a learned mask over its epochs, or fewer: see `_tested`
UNUSED = frozenset({"rounds", "keep_conv", "keep_dense", "keep_output", "evaluate_every"})


GRAMMAR = f"{mask_arms.GRAMMAR}[/rate=NUMBER[x]]"


class LearnedMask(NamedTuple):
    """A learned mask, written ``source/values/scaling`` and, with a rate of its own, ``/rate``."""

    source: str
    values: str = "initial"
    scaling: str = "plain"
    rate: str = ""

    def __str__(self) -> str:
        return "/".join(self if self.rate else self[:3])

    @property
    def variant(self) -> MaskArm:
        """What is learned, whatever the rate."""
        return MaskArm(*self[:3])


def parse(text: str) -> LearnedMask:
    """A `LearnedMask` of one of `catalogue.LEARNED_SOURCES`, its rate written one way."""
    parts = text.split("/")
    arm = LearnedMask(*mask_arms.parse("/".join(parts[:3]), _find_source), *parts[3:4])
    if len(parts) > 4:
        raise UserError(f"a learned supermask is {GRAMMAR}, not {text!r}")
    if len(parts) == 4:
        number, times = _own_rate(arm)
        arm = arm._replace(rate=f"rate={mask_arms.written(number)}{times}")
    return arm


def rate_of(arm: LearnedMask, plan: Plan) -> float:
    """SGD's rate for an arm: its own, or else the plan's for its scaling, or so many times that."""
    number, times = _own_rate(arm) if arm.rate else (1.0, "x")
    if not times:
        return number
    if arm.scaling == "rescaled" and plan.rescaled_rate is not None:
        return number * plan.rescaled_rate
    return number * plan.learning_rate


def _own_rate(arm: LearnedMask) -> tuple[float, str]:
    """The number, and "x" if it is how many times; `UserError` for one that is not positive."""
    name, _, text = arm.rate.partition("=")
    number = text.removesuffix("x")
    try:
        rate = float(number)
    except ValueError:
        rate = math.nan
    if name != "rate" or not 0 < rate < math.inf:
        raise UserError(
            f"{arm.rate!r} is no rate of learning: write rate=50, or rate=4x for four times the "
            "plan's"
        )
    return rate, text[len(number) :]


def _find_source(name: str) -> None:
    if name not in catalogue.LEARNED_SOURCES:
        raise UserError(
            f"a learned supermask is {GRAMMAR}, the source one of "
            f"{', '.join(catalogue.LEARNED_SOURCES)}, not {name!r}"
        )


def preset(network: Architecture, name: str) -> dict[str, Any]:
    """Section 5 of the paper, reduced at the presets cpu and tiny."""
    values = tickets.training_preset(network, "paper") | {
        "rounds": 0,
        "epochs": 2000,
        "learning_rate": network.learned_rate,
        "rescaled_rate": network.rescaled_rate,
        "batch_size": 250,
    }
    if name == "tiny":
        values |= {"dataset": "digits", "seeds": 3, "evaluate_every": 20}
        values |= {"epochs": 60, "batch_size": 50, "learning_rate": 10.0, "rescaled_rate": None}
        if network.channels:
            values |= {"width": 0.125, "seeds": 2}
    elif name == "cpu" and network.channels:
        values |= {"width": 0.5, "train_images": 20_000, "seeds": 3, "epochs": 24, "batch_size": 60}
        values |= {"interim_masks": 2}  # a test by ten takes as long as two and a half epochs
    elif name == "cpu":
        values |= {"seeds": 3, "epochs": 60}
    return values


def iterations(plan: Plan, training: int, images: int) -> int:
    """Every replica learns by itself, and is tested now and then at what that costs."""
    facts = catalogue.DATASETS[plan.dataset]
    on_the_way = len(_tested(plan, training // plan.epochs, images)) - 1
    masks = on_the_way * plan.interim_masks + catalogue.SAMPLED_MASKS
    cost = sum(timing.cost_of_a_test(plan, split) for split in (facts.validation, facts.test))
    return plan.seeds * len(plan.arms) * (training + masks * cost)


def _tested(plan: Plan, length: int, images: int) -> set[int]:
    """Before which epochs of ``length`` iterations the masks are tested on so many images, and
    after the last: `EVALUATIONS` times over all, unless that took longer than learning does."""
    testing = plan.interim_masks * images / (3 * plan.batch_size)
    every = max(1, plan.epochs // EVALUATIONS, math.ceil(testing / length))
    return {*range(0, plan.epochs, every), plan.epochs}


def seconds(plan: Plan, network: Network, device: torch.device, iterations: int) -> float:
    """See `Kind`."""
    variants = [parse(arm).variant for arm in plan.arms]
    replicas = timing.side_by_side(plan, device)
    some = [variants[index % len(variants)] for index in range(replicas)]
    learner = supermasks.Learner.of_variants(network, some, range(replicas), device)
    images = timing.made_up(network, 2 * plan.batch_size, device)
    dataset = Dataset("made up", images, images, images)

    def learn() -> int:
        learner.learn(dataset, plan.settings(), 0)
        return 2 * replicas

    return iterations * timing.seconds(learn, device)


def run(shard: Shard) -> Iterator[None]:
    """Learn a mask for each replica, side by side; measure and checkpoint it every few epochs."""
    plan, checkpoint, dataset = shard.plan, shard.checkpoint, shard.dataset
    arms = [parse(replica.arm) for replica in shard.replicas]
    rates = [rate_of(arm, plan) for arm in arms]
    variants = [arm.variant for arm in arms]
    learner = supermasks.Learner.of_variants(
        shard.network, variants, shard.seeds, shard.device, rates
    )
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
    tested = _tested(plan, length, len(dataset.validation) + len(dataset.test))
    lock = Lock()

    def report(iterations: int) -> None:
        with lock:  # replicas learn and are tested in several threads
            shard.progress(iterations, math.nan, min(epoch + 1, plan.epochs))

    for epoch in range(first, plan.epochs + 1):
        # Measured before the epoch of that number, so that the untrained mask is measured too.
        if epoch != checkpoint.round and epoch in tested:
            finished = epoch == plan.epochs
            checkpoint.save(
                epoch,
                _rows(shard, learner, epoch, loss, report),
                layers,
                _packed_masks(shard, learner) if finished else {},
                finished,
            )
            yield
        if epoch < plan.epochs:
            loss = learner.learn(dataset, plan.settings(), epoch, report).cpu()
            checkpoint.rest(state)


def _named(layers: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    return {
        f"{name}/{index:03d}": layer
        for name, every in layers.items()
        for index, layer in enumerate(every)
    }


def _rows(
    shard: Shard,
    learner: supermasks.Learner,
    epoch: int,
    loss: Tensor,
    report: Callable[[int], None],
) -> list[rows.Row]:
    masks = catalogue.SAMPLED_MASKS if epoch == shard.plan.epochs else shard.plan.interim_masks

    def accuracy(split: Split) -> Tensor:
        cost = timing.cost_of_a_test(shard.plan, len(split))
        return learner.accuracy(split, lambda tested: report(tested * cost), masks)

    validation, test = accuracy(shard.dataset.validation), accuracy(shard.dataset.test)
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
    """The likely masks, eight weights a byte (see `records.unpack_mask`).

    Random bits do not compress: a rate that is only tried leaves none, and convolutional networks
    leave those of seed 0.
    """
    seeds = {0} if shard.network.channels else set(shard.seeds)
    return {
        f"mask/{replica.arm}/{replica.seed}/{layer.name}": records.pack_mask(mask[index])
        for layer, mask in zip(shard.network.layers, learner.likely(), strict=True)
        for index, replica in enumerate(shard.replicas)
        if not parse(replica.arm).rate and replica.seed in seeds
    }


SCORE_AND_MOMENTUM = 8  # bytes a weight
KINDS.add(
    Kind(
        "learned_masks",
        GRAMMAR,
        parse,
        preset,
        iterations,
        run,
        UNUSED,
        seconds,
        SCORE_AND_MOMENTUM,
        counts="epochs",
    )  # fmt: skip
)
