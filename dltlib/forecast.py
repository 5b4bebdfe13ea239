"""What a plan will cost on this machine, before it runs: ``dltlib run --dry-run``."""

import statistics
import time

import torch

from dltlib import datasets, experiments, networks, resources, training
from dltlib.networks import Network
from dltlib.plans import Plan

MEASURED = 0.4  # seconds of training at each density that is tried
TRIED = 4  # rounds, evenly spread


def describe(plan: Plan, device: torch.device | str) -> list[str]:
    """Lines for people: trainings, iterations, memory, checkpoints, and the time to be expected.

    The time is measured in a second or two, on made-up images of the data set's shape, and leaves
    out evaluation and pruning.
    """
    device = torch.device(device)
    resources.check_precision(plan, device)
    size, network = experiments.size(plan), experiments.build_network(plan)
    each, together = resources.memory(plan, network, device)
    at_once = resources.replicas_at_once(plan, network, device)
    # Masks and w_f, or scores and momentum.
    state = size.replicas * network.weight_count * (5 if plan.kind != "learned_masks" else 8)
    seconds = expected_seconds(plan, network, device)
    return [
        f"{experiments.name(plan)}: {experiments.command(plan)}",
        f"  {size.replicas:,} replicas (arms: {len(plan.arms)}, seeds: {plan.seeds}), "
        f"{network.weight_count:,} weights each; {size.rows:,} rows",
        f"  {size.iterations:,} training iterations, of all replicas together",
        f"  memory: {each / 1e6:,.0f} MB a replica, {together / 1e6:,.0f} MB once; "
        f"{at_once:,} replicas fit side by side now",
        f"  checkpoint: about {state / 1e6:,.0f} MB",
        f"  time: about {_duration(seconds)} of training on this machine as it is now; evaluation "
        "comes on top",
    ]


def expected_seconds(plan: Plan, network: Network, device: torch.device) -> float:
    """Training alone, from a slice measured now; `Size.iterations` as `experiments.size` has it."""
    if plan.kind != "tickets":
        return experiments.size(plan).iterations * _seconds(plan, network, device, 0)
    rounds = sorted({round(plan.rounds * part / (TRIED - 1)) for part in range(TRIED)})
    measured = {round_: _seconds(plan, network, device, round_) for round_ in rounds}
    dense = experiments.size(plan).iterations / (1 + plan.rounds * len(plan.arms))
    if not plan.rounds:
        return dense * measured[0]
    pruned = plan.rounds * len(plan.arms)
    return dense * (measured[0] + pruned * statistics.fmean(measured.values()))


def _seconds(plan: Plan, network: Network, device: torch.device, round_: int) -> float:
    """Of one replica's iteration in that round, with as many side by side as the machine likes."""
    replicas = 2 * torch.get_num_threads() if device.type == "cpu" else min(32, plan.seeds * 8)
    seeds = list(range(replicas))
    weights = networks.initial_weights(network, seeds, device)
    source = torch.Generator().manual_seed(0)
    masks = []
    for layer, weight in zip(network.layers, weights, strict=True):
        keep = plan.keep_fraction(layer.role, round_)
        masks.append((torch.rand(weight.shape, generator=source) < keep).to(device))
    images = torch.randint(
        0, 256, (20 * plan.batch_size, *network.input_shape), generator=source, dtype=torch.uint8
    ) * (torch.rand(network.input_shape, generator=source) < 0.2)  # most pixels are dark
    labels = torch.randint(0, network.classes, (len(images),), generator=source)
    split = datasets.Split(images.to(device), labels.to(device))
    biases = networks.initial_biases(network, replicas, device)
    started = [weight * mask for weight, mask in zip(weights, masks, strict=True)]
    make = training.choose_step(device)
    step = make(network, started, biases, masks, plan.settings())
    batches = torch.arange(len(images)).reshape(1, -1, plan.batch_size).to(device)
    stream = torch.zeros(replicas, dtype=torch.int64, device=device)
    step.advance(split.images, split.labels, batches[:, :1], stream)  # compiles, warms up
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < MEASURED:
        step.advance(split.images, split.labels, batches[:, :2], stream)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        done += 2
    return (time.perf_counter() - begin) / done / replicas


def _duration(seconds: float) -> str:
    """In words of one unit.

    >>> _duration(5400)
    '1.5 hours'
    """
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * length or (unit == "hours" and seconds >= length):
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"
