"""What each kind of experiment does with a shard of replicas, from its checkpoint to its end.

A runner trains or learns its replicas side by side, adds rows to the checkpoint round by round,
and goes on from the last round that the checkpoint holds. It is a generator that pauses whenever
it has saved, so that its caller may stop there, or carry on elsewhere.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from dltlib import (
    actions,
    criteria,
    networks,
    parallel,
    pruning,
    randomness,
    records,
    supermasks,
    training,
)
from dltlib.checkpoints import Checkpoint
from dltlib.datasets import Dataset
from dltlib.networks import Network
from dltlib.plans import Arm, Plan, Replica, parse_arm, parse_criterion_mask, parse_learned_mask
from dltlib.training import Masks, Weights

Rows = list[dict[str, Any]]


class Progress(Protocol):
    """Called with replica-iterations done, mean validation accuracy (or nan) and round;
    ``earlier`` says that they were done before this run, which goes on from there."""

    def __call__(
        self, iterations: int, accuracy: float, round_: int, *, earlier: bool = False
    ) -> None:
        """Report; see above."""


def _in_round(progress: Progress, round_: int) -> Callable[[int, float], None]:
    """What training reports to: ``progress`` of that round."""
    return lambda iterations, accuracy: progress(iterations, accuracy, round_)


# --- tickets: train, score, prune, act, train again -----------------------------------------


def run_tickets(
    plan: Plan,
    network: Network,
    dataset: Dataset,
    shard: Sequence[Replica],
    device: torch.device,
    checkpoint: Checkpoint,
    progress: Progress,
) -> Iterator[None]:
    """The algorithm of section 1, round by round, for every replica of the shard."""
    arms = [parse_arm(replica.arm) for replica in shard]
    seeds = [replica.seed for replica in shard]
    unique = sorted(set(seeds))
    place = torch.tensor([unique.index(seed) for seed in seeds], device=device)
    dense = networks.initial_weights(network, unique, device)
    initial = [weight[place] for weight in dense]
    gradient = _Once(lambda: training.loss_gradient(network, dense, dataset.train))

    for round_ in range(checkpoint.round + 1, plan.rounds + 1):
        if round_ == 0:
            # All arms of a seed share one dense training.
            masks = [torch.ones_like(weight, dtype=torch.bool) for weight in dense]
            outcome = training.train(
                network, dataset, dense, masks, unique, plan.settings(), _in_round(progress, round_)
            )
            final = [weight[place] for weight in outcome.weights]
            masks = [mask[place] for mask in masks]
            rows = _rows(shard, 0, masks, outcome, place.tolist())
            keepsakes = _weight_sample(network, dense, outcome.weights, unique)
        else:
            alive, final = checkpoint.layers("mask"), checkpoint.layers("final")
            alive = [mask.to(device) for mask in alive]
            final = [weight.to(device) for weight in final]
            masks = next_masks(
                plan,
                network,
                arms,
                seeds,
                round_,
                initial,
                final,
                alive,
                lambda layer: gradient()[layer][place],
            )
            start = _start(network, arms, seeds, round_, initial, final, masks)
            facts = _pruning_facts(initial, final, alive, masks)
            outcome = training.train(
                network, dataset, start, masks, seeds, plan.settings(), _in_round(progress, round_)
            )
            final = outcome.weights
            rows = _rows(shard, round_, masks, outcome, range(len(shard)))
            for index, row in enumerate(rows):
                row.update({name: values[index] for name, values in facts.items()})
            keepsakes = {}
        checkpoint.save(
            round_, rows, {"mask": masks, "final": final}, keepsakes, round_ == plan.rounds
        )
        yield


def next_masks(
    plan: Plan,
    network: Network,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    round_: int,
    initial: Weights,
    final: Weights,
    alive: Masks,
    gradient: Callable[[int], Tensor],
) -> Masks:
    """Step 1 of the algorithm: each replica's masks for this round, within those it had."""
    masks = [mask.clone() for mask in alive]
    for arm in sorted(set(arms)):
        own = [index for index, other in enumerate(arms) if other == arm]
        own_mask = actions.find_mask0(arm.mask0).own_mask
        for number, layer in enumerate(network.layers):
            w_i, w_f, living = initial[number][own], final[number][own], alive[number][own]
            if own_mask:
                masks[number][own] = own_mask(w_i, w_f, living)
                continue
            evidence = criteria.Evidence(
                initial=w_i,
                final=w_f,
                alive=living,
                uniform=lambda own=own, layer=layer, like=w_i: torch.stack(
                    [
                        torch.rand(
                            layer.shape,
                            generator=randomness.generator(
                                seeds[index], "random criterion", round_, layer.name
                            ),
                        )
                        for index in own
                    ]
                ).to(like.device),
                gradient=lambda own=own, number=number: gradient(number)[own],
            )
            score = criteria.find(arm.criterion).score(evidence)
            count = pruning.kept_count(layer.weight_count, plan.keep_rate(layer.role) ** round_)
            masks[number][own] = pruning.prune(score, living, count)
    return masks


def _start(
    network: Network,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    round_: int,
    initial: Weights,
    final: Weights,
    masks: Masks,
) -> Weights:
    """Steps 2 and 3: what every weight starts this round from."""
    return [
        torch.stack(
            [
                actions.start_values(
                    layer,
                    initial[number][index],
                    final[number][index],
                    masks[number][index],
                    arm.mask1,
                    arm.mask0,
                    (seeds[index], round_),
                )
                for index, arm in enumerate(arms)
            ]
        )
        for number, layer in enumerate(network.layers)
    ]


def _pruning_facts(
    initial: Weights, final: Weights, alive: Masks, masks: Masks
) -> dict[str, list[float]]:
    """What training had done to the weights that were then pruned or kept (zeros-4)."""

    def count(layers: Sequence[Tensor]) -> Tensor:
        return torch.stack([layer.flatten(1).sum(1) for layer in layers]).sum(0).double()

    shrunk = [actions.moved_towards_zero(w_i, w_f) for w_i, w_f in zip(initial, final, strict=True)]
    pruned = [before & ~after for before, after in zip(alive, masks, strict=True)]
    flipped = [
        torch.signbit(w_i) != torch.signbit(w_f) for w_i, w_f in zip(initial, final, strict=True)
    ]

    def share(property_: Sequence[Tensor], among: Masks) -> list[float]:
        both = [left & right for left, right in zip(property_, among, strict=True)]
        return (count(both) / count(among)).tolist()

    return {
        "shrunk_share": share(shrunk, alive),
        "pruned_shrunk_share": share(shrunk, pruned),
        "kept_flipped_share": share(flipped, masks),
    }


def _rows(
    shard: Sequence[Replica],
    round_: int,
    masks: Masks,
    outcome: training.Outcome,
    place: Sequence[int],
) -> Rows:
    """A record row for each replica; ``place`` says which trained network is whose."""
    density, layer_density = _densities(masks)
    return [
        {
            "arm": replica.arm,
            "seed": replica.seed,
            "round": round_,
            "density": density[index],
            "layer_density": layer_density[index],
            "early_iteration": outcome.early_iteration[own].item(),
            "validation_accuracy": outcome.early_validation[own].item(),
            "test_accuracy": outcome.early_test[own].item(),
            "final_test_accuracy": outcome.final_test[own].item(),
            "training_loss": outcome.training_loss[own].item(),
        }
        for index, (replica, own) in enumerate(zip(shard, place, strict=True))
    ]


def _densities(masks: Sequence[Tensor]) -> tuple[list[float], list[list[float]]]:
    """Share of weights left of each replica: of all, and layer by layer."""
    kept = torch.stack([mask.flatten(1).sum(1, dtype=torch.float64) for mask in masks], dim=1)
    sizes = torch.tensor([mask[0].numel() for mask in masks], dtype=torch.float64).to(kept.device)
    return (kept.sum(1) / sizes.sum()).tolist(), (kept / sizes).tolist()


SAMPLE = 2_000  # weights of each layer that a record keeps for scatter plots


def _weight_sample(
    network: Network, initial: Weights, final: Weights, seeds: Sequence[int]
) -> dict[str, Tensor]:
    """Of the dense network of seed 0, a random sample of (w_i, w_f) for the figures."""
    if 0 not in seeds:
        return {}
    index = list(seeds).index(0)
    sample = {}
    for number, layer in enumerate(network.layers):
        order = torch.randperm(
            layer.weight_count, generator=randomness.generator("weight sample", layer.name)
        )[:SAMPLE]
        pair = torch.stack([initial[number][index].flatten(), final[number][index].flatten()])
        sample[f"weights/{layer.name}"] = pair.cpu()[:, order]
    return sample


class _Once:
    """A computation done at its first use and kept."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute, self.value = compute, None

    def __call__(self) -> Any:
        if self.value is None:
            self.value = self.compute()
        return self.value


# --- supermasks by criterion ------------------------------------------------------------------


def run_criterion_masks(
    plan: Plan,
    network: Network,
    dataset: Dataset,
    shard: Sequence[Replica],
    device: torch.device,
    checkpoint: Checkpoint,
    progress: Progress,
) -> Iterator[None]:
    """Train dense once a seed, then prune w_i in one shot at every keep fraction, a round each,
    and test the untrained networks."""
    seeds = sorted({replica.seed for replica in shard})
    dense = networks.initial_weights(network, seeds, device)
    full = [torch.ones_like(weight, dtype=torch.bool) for weight in dense]
    gradient = _Once(lambda: training.loss_gradient(network, dense, dataset.train))
    by_source: dict[str, list[Replica]] = {}
    for replica in shard:
        by_source.setdefault(parse_criterion_mask(replica.arm).source, []).append(replica)
    final = [weight.to(device) for weight in checkpoint.layers("final")]
    for round_ in range(checkpoint.round + 1, plan.rounds + 1):
        rows: Rows = []
        if round_ == 0:
            outcome = training.train(
                network, dataset, dense, full, seeds, plan.settings(), _in_round(progress, 0)
            )
            final = outcome.weights
            trained = [Replica("trained", seed) for seed in seeds]
            rows += _rows(trained, 0, full, outcome, range(len(seeds)))
        for source, own in sorted(by_source.items()):
            masks = next_masks(
                plan,
                network,
                [Arm(source)] * len(seeds),
                seeds,
                round_,
                dense,
                final,
                full,
                lambda layer: gradient()[layer],
            )
            rows += _tested_masks(network, dataset, dense, masks, seeds, own, round_)
            progress(len(own), math.nan, round_)
        checkpoint.save(round_, rows, {"final": final}, {}, round_ == plan.rounds)
        yield


def _tested_masks(
    network: Network,
    dataset: Dataset,
    initial: Weights,
    masks: Masks,
    seeds: Sequence[int],
    replicas: Sequence[Replica],
    round_: int,
) -> Rows:
    """A record row for each replica: what its seed's masks make of the untrained weights."""
    density, layer_density = _densities(masks)
    rows: Rows = [{} for _ in replicas]

    def work(index: int) -> None:
        replica = replicas[index]
        arm = parse_criterion_mask(replica.arm)
        place = seeds.index(replica.seed)
        own = slice(place, place + 1)
        weights = supermasks.apply_masks(
            [
                supermasks.base_values(layer, weight[own], arm.values)
                for layer, weight in zip(network.layers, initial, strict=True)
            ],
            [mask[own] for mask in masks],
            torch.tensor([arm.scaling == "rescaled"], device=initial[0].device),
        )
        validation, test = (
            supermasks.accuracy(network, weights, split).item()
            for split in (dataset.validation, dataset.test)
        )
        rows[index] = {
            "arm": replica.arm,
            "seed": replica.seed,
            "round": round_,
            "density": density[place],
            "layer_density": layer_density[place],
            "validation_accuracy": validation,
            "test_accuracy": test,
        }

    parallel.spread(work, range(len(replicas)))
    return rows


# --- learned supermasks -----------------------------------------------------------------------

LOOKS = 12  # how often over its epochs a learned mask is measured


def run_learned_masks(
    plan: Plan,
    network: Network,
    dataset: Dataset,
    shard: Sequence[Replica],
    device: torch.device,
    checkpoint: Checkpoint,
    progress: Progress,
) -> Iterator[None]:
    """Learn a mask for each replica, side by side; measure and checkpoint it every few epochs."""
    arms = [parse_learned_mask(replica.arm) for replica in shard]
    seeds = [replica.seed for replica in shard]
    learner = supermasks.Learner.of_variants(network, arms, seeds, device)
    length = training.iterations_per_epoch(dataset, plan.settings())
    if checkpoint.round >= 0:
        for name in ("scores", "momentum"):
            for own, saved in zip(getattr(learner, name), checkpoint.layers(name), strict=True):
                own.copy_(saved)
        learner.step = checkpoint.round * length
    every = max(1, plan.epochs // LOOKS)
    loss = torch.full((len(shard),), math.nan)
    for epoch in range(max(checkpoint.round, 0), plan.epochs + 1):
        # The look comes before the epoch of that number, so that the untrained mask is one too.
        if epoch != checkpoint.round and (epoch % every == 0 or epoch == plan.epochs):
            rows = _mask_rows(learner, shard, epoch, dataset, loss)
            finished = epoch == plan.epochs
            keepsakes = _packed_masks(network, learner, shard) if finished else {}
            checkpoint.save(
                epoch,
                rows,
                {"scores": learner.scores, "momentum": learner.momentum},
                keepsakes,
                finished,
            )
            yield
        if epoch < plan.epochs:
            loss = learner.learn(dataset, plan.settings(), epoch).cpu()
            progress(length * len(shard), math.nan, epoch + 1)


def _mask_rows(
    learner: supermasks.Learner,
    shard: Sequence[Replica],
    epoch: int,
    dataset: Dataset,
    loss: Tensor,
) -> Rows:
    validation, test = learner.accuracy(dataset.validation), learner.accuracy(dataset.test)
    rows: Rows = [{} for _ in shard]

    def work(index: int) -> None:
        # Each replica by itself: the order in which a sum is taken must not depend on the others.
        own = [layer[None, index].sigmoid() for layer in learner.scores]
        density, layer_density = _densities(own)
        flat = torch.cat([layer.flatten() for layer in own]).cpu()
        rows[index] = {
            "arm": shard[index].arm,
            "seed": shard[index].seed,
            "round": epoch,
            "density": density[0],
            "layer_density": layer_density[0],
            "validation_accuracy": validation[index].item(),
            "test_accuracy": test[index].item(),
            "training_loss": loss[index].item(),
            "probability_histogram": (flat.histc(20, 0, 1) / len(flat)).tolist(),
        }

    parallel.spread(work, range(len(shard)))
    return rows


def _packed_masks(
    network: Network, learner: supermasks.Learner, shard: Sequence[Replica]
) -> dict[str, Tensor]:
    """The likely mask of every replica, eight weights a byte (see `records.unpack_mask`)."""
    return {
        f"mask/{replica.arm}/{replica.seed}/{layer.name}": records.pack_mask(mask[index])
        for layer, mask in zip(network.layers, learner.likely(), strict=True)
        for index, replica in enumerate(shard)
    }


RUNNERS: dict[str, Callable[..., Iterator[None]]] = {
    "tickets": run_tickets,
    "criterion_masks": run_criterion_masks,
    "learned_masks": run_learned_masks,
}
