"""Tickets: train, score, prune, act, train again (sections 1 to 4 of the paper)."""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dltlib import actions, criteria, networks, pruning, randomness, training
from dltlib.catalogue import Architecture
from dltlib.errors import UserError
from dltlib.history import Masks, Past, Weights, split_iteration, with_iteration
from dltlib.kinds import rows, timing
from dltlib.kinds.kind import KINDS, Kind, Shard
from dltlib.networks import Network
from dltlib.plans import Plan

GRAMMAR = "criterion/mask-1 action/mask-0 action"
UNUSED = frozenset({"rescaled_rate", "interim_masks"})


class Arm(NamedTuple):
    """What is done to a ticket, written ``criterion/mask-1 action/mask-0 action``."""

    criterion: str
    mask1: str = "rewind"
    mask0: str = "zero"

    def __str__(self) -> str:
        return "/".join(self)

    def iterations(self) -> set[int]:
        """Iterations of the dense training at which it needs the weights, w_i left out."""
        return {split_iteration(name)[1] for name in (self.criterion, self.mask1)} - {0}


def parse(text: str) -> Arm:
    """An `Arm` from ``criterion[/mask1[/mask0]]``; the actions default to rewind and zero."""
    parts = text.split("/")
    if len(parts) > 3:
        raise UserError(f"an arm is {GRAMMAR}, not {text!r}")
    arm = Arm(*parts)
    criterion, mask1 = split_iteration(arm.criterion), split_iteration(arm.mask1)
    criteria.CRITERIA.find(criterion[0])
    actions.MASK1_ACTIONS.find(mask1[0])
    actions.MASK0_ACTIONS.find(arm.mask0)
    return Arm(with_iteration(*criterion), with_iteration(*mask1), arm.mask0)


# --- presets and cost ---------------------------------------------------------------------------


def preset(network: Architecture, name: str) -> dict[str, Any]:
    """Section 2 of the paper, reduced at the presets cpu and tiny."""
    values = training_preset(network, name)
    if name == "cpu":
        values |= coarse_rounds(network) | {"rounds": 12}
    if name == "cpu" and network.channels:
        # Chosen by the records of the experiment `pilot`: so short a training agrees between seeds
        # at this rate, and hardly at the paper's.
        values |= {"width": 0.25, "train_images": 5_000, "epochs": 8, "learning_rate": 1e-3}
    return values


def training_preset(network: Architecture, name: str) -> dict[str, Any]:
    """How networks are trained at a preset: section 2, and what of it is reduced.

    At preset cpu each kind reduces the training of convolutions as it needs.
    """
    values: dict[str, Any] = {
        "dataset": network.dataset,
        "seeds": 5,
        "rounds": 24,
        "epochs": network.epochs,
        "learning_rate": network.learning_rate,
        "keep_conv": network.keep_conv,
        "keep_dense": network.keep_dense,
        "keep_output": network.keep_output,
    }
    if name == "tiny":
        values |= {"dataset": "digits", "evaluate_every": 20, "epochs": 8, "rounds": 8, "seeds": 3}
        if network.channels:
            values |= {"width": 0.125, "seeds": 2, "rounds": 2}
    elif name == "cpu" and not network.channels:
        values |= {"epochs": 5, "evaluate_every": 300}
    return values


def coarse_rounds(network: Architecture) -> dict[str, float]:
    """Every second of the paper's keep fractions, in as many rounds."""
    return {
        f"keep_{role}": round(getattr(network, f"keep_{role}") ** 2, 4)
        for role in ("conv", "dense", "output")
    }


def iterations(plan: Plan, length: int, images: int) -> int:
    """The dense trainings are shared by the arms of a seed.

    Raises `UserError` for weights of a later iteration than the dense training keeps.
    """
    for arm in plan.arms:
        training.check_snapshots(parse(arm).iterations(), length, length // plan.epochs)
    return length * plan.seeds * (1 + plan.rounds * len(plan.arms))


TRIED = 4  # rounds that a forecast measures, evenly spread


def seconds(plan: Plan, network: Network, device: torch.device, iterations: int) -> float:
    """See `Kind`: rounds cost what their tickets' sizes do."""
    rounds = sorted({round(plan.rounds * part / (TRIED - 1)) for part in range(TRIED)})
    measured = [
        timing.seconds(timing.training_slice(plan, network, device, round_), device)
        for round_ in rounds
    ]
    pruned = plan.rounds * len(plan.arms)
    return iterations * (measured[0] + pruned * statistics.fmean(measured)) / (1 + pruned)


# --- running ------------------------------------------------------------------------------------


def run(shard: Shard) -> Iterator[None]:
    """The algorithm of section 1, round by round, for every replica of the shard."""
    plan, network, checkpoint = shard.plan, shard.network, shard.checkpoint
    arms, seeds = [parse(replica.arm) for replica in shard.replicas], shard.seeds
    iterations = sorted(set().union(*(arm.iterations() for arm in arms)))
    # All arms of a seed share one dense network.
    unique = sorted(set(seeds))
    network_of = torch.tensor([unique.index(seed) for seed in seeds], device=shard.device)
    dense = networks.initial_weights(network, unique, shard.device)
    initial = [weight[network_of] for weight in dense]

    @cache
    def gradient() -> Weights:
        found = training.loss_gradient(network, dense, shard.dataset.train)
        return [layer[network_of] for layer in found]

    under_way = checkpoint.training()
    for round_ in range(checkpoint.round + 1, plan.rounds + 1):
        session = training.Session(shard.in_round(round_), rest=checkpoint.rest, resume=under_way)
        if round_ == 0:
            full = [torch.ones_like(weight, dtype=torch.bool) for weight in dense]
            session = dataclasses.replace(session, snapshots=iterations)
            outcome = training.train(
                network, shard.dataset, dense, full, unique, plan.settings(), session
            )
            snapshots = {
                at: [weight[network_of] for weight in weights]
                for at, weights in outcome.snapshots.items()
            }
            final = [weight[network_of] for weight in outcome.weights]
            masks = [mask[network_of] for mask in full]
            found = rows.trained(shard.replicas, 0, masks, outcome, network_of.tolist())
            start, facts = initial, {}
            keepsakes = _weight_sample(network, dense, outcome.weights, unique)
        else:
            past = Past(
                network=network,
                seeds=seeds,
                round=round_,
                initial=initial,
                final=checkpoint.layers("final", shard.device),
                masks=checkpoint.layers("mask", shard.device),
                gradient=gradient,
                snapshots={at: checkpoint.layers(f"at/{at}", shard.device) for at in iterations},
            )
            masks = next_masks(plan, arms, past)
            start = start_weights(arms, past, masks)
            facts = _pruning_facts(past, masks)
            outcome = training.train(
                network, shard.dataset, start, masks, seeds, plan.settings(), session
            )
            final, snapshots = outcome.weights, dict(past.snapshots)
            found = rows.trained(shard.replicas, round_, masks, outcome)
            keepsakes = {}
        facts |= {"turned_share": _share(_flipped(start, final), masks)}
        for index, row in enumerate(found):
            row.update({name: values[index] for name, values in facts.items()})
        layers = {"mask": masks, "final": final}
        layers |= {f"at/{at}": weights for at, weights in snapshots.items()}
        under_way = None
        checkpoint.save(round_, found, layers, keepsakes, round_ == plan.rounds)
        yield


def _positions(arms: Sequence[Arm]) -> Mapping[Arm, list[int]]:
    """Which replicas an arm has."""
    positions: dict[Arm, list[int]] = {}
    for index, arm in enumerate(arms):
        positions.setdefault(arm, []).append(index)
    return positions


def next_masks(plan: Plan, arms: Sequence[Arm], past: Past) -> Masks:
    """Step 1 of the algorithm: each replica's masks for this round, within those it had."""
    masks = [mask.clone() for mask in past.masks]
    for arm, replicas in _positions(arms).items():
        name, iteration = split_iteration(arm.criterion)
        criterion = criteria.CRITERIA.find(name)
        decides = actions.MASK0_ACTIONS.find(arm.mask0).kept
        for number, layer in enumerate(past.network.layers):
            history = past.layer(number, replicas)
            if decides:
                masks[number][replicas] = decides(history)
            else:
                keep = plan.keep_fraction(layer.role, past.round)
                masks[number][replicas] = pruning.next_mask(
                    criterion, history.since(iteration), keep
                )
    return masks


def start_weights(arms: Sequence[Arm], past: Past, masks: Masks) -> Weights:
    """Steps 2 and 3: what every weight starts this round from, under the round's ``masks``."""
    now = past.with_masks(masks)
    weights = [torch.empty_like(weight) for weight in past.initial]
    for arm, replicas in _positions(arms).items():
        for number, weight in enumerate(weights):
            history = now.layer(number, replicas)
            weight[replicas] = actions.start_values(history, arm.mask1, arm.mask0)
    return weights


def _pruning_facts(past: Past, masks: Masks) -> dict[str, list[float]]:
    """What training had done to the weights that were then pruned or kept (zeros-4)."""
    pairs = zip(past.initial, past.final, strict=True)
    shrunk = [actions.moved_towards_zero(w_i, w_f) for w_i, w_f in pairs]
    pruned = [before & ~after for before, after in zip(past.masks, masks, strict=True)]
    return {
        "shrunk_share": _share(shrunk, past.masks),
        "pruned_shrunk_share": _share(shrunk, pruned),
        "kept_flipped_share": _share(_flipped(past.initial, past.final), masks),
    }


def _flipped(before: Weights, after: Weights) -> Masks:
    """Which weights have another sign than before."""
    pairs = zip(before, after, strict=True)
    return [torch.signbit(old) != torch.signbit(new) for old, new in pairs]


def _share(having: Masks, among: Masks) -> list[float]:
    """Of each replica's weights ``among``, over all layers, how many are in ``having``, too."""

    def count(masks: Masks) -> Tensor:
        return torch.stack([mask.flatten(1).sum(1) for mask in masks]).sum(0).double()

    both = [left & right for left, right in zip(having, among, strict=True)]
    return (count(both) / count(among)).tolist()


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


KINDS.add(
    Kind("tickets", GRAMMAR, parse, preset, iterations, run, UNUSED, seconds, stock_torch=False)
)
