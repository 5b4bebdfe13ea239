"""What an iteration costs here and now, measured on made-up images: for forecasts."""

import time
from collections.abc import Callable

import torch

from dltlib import networks, training
from dltlib.datasets import Split
from dltlib.networks import Network
from dltlib.plans import Plan

MEASURED = 0.4  # seconds of computing for each figure
LIT = 0.2  # share of a made-up image's pixels that are not black, as of MNIST's

Slice = Callable[[], int]
"""Computes some iterations of some replicas, and says how many that were."""


def cost_of_a_test(plan: Plan, images: int, share: float = 1.0) -> int:
    """Of testing a network on so many images, in iterations of the plan, which go forwards once and
    backwards for twice that; ``share`` is what of a whole network's work it takes."""
    return max(1, round(share * images / (3 * plan.batch_size)))


def side_by_side(plan: Plan, device: torch.device) -> int:
    """How many replicas a machine likes to compute at once."""
    return 2 * torch.get_num_threads() if device.type == "cpu" else min(32, plan.seeds * 8)


def made_up(network: Network, count: int, device: torch.device) -> Split:
    """So many images of the network's shape, most of their pixels dark."""
    source = torch.Generator().manual_seed(0)
    size = (count, *network.input_shape)
    images = torch.randint(0, 256, size, generator=source, dtype=torch.uint8)
    images *= torch.rand(network.input_shape, generator=source) < LIT
    labels = torch.randint(0, network.classes, (count,), generator=source)
    return Split(images.to(device), labels.to(device))


def training_slice(plan: Plan, network: Network, device: torch.device, round_: int) -> Slice:
    """Training of tickets pruned at random to that round's size."""
    replicas = side_by_side(plan, device)
    source = torch.Generator().manual_seed(0)
    weights = networks.initial_weights(network, list(range(replicas)), device)
    masks = []
    for layer, weight in zip(network.layers, weights, strict=True):
        keep = plan.keep_fraction(layer.role, round_)
        masks.append((torch.rand(weight.shape, generator=source) < keep).to(device))
    biases = networks.initial_biases(network, replicas, device)
    started = [weight * mask for weight, mask in zip(weights, masks, strict=True)]
    step = training.choose_step(device)(network, started, biases, masks, plan.settings())
    split = made_up(network, 20 * plan.batch_size, device)
    batches = torch.arange(2 * plan.batch_size, device=device).reshape(1, 2, plan.batch_size)
    stream = torch.zeros(replicas, dtype=torch.int64, device=device)

    def advance() -> int:
        step.advance(split.images, split.labels, batches, stream)
        return 2 * replicas

    return advance


def seconds(computes: Slice, device: torch.device) -> float:
    """Of one iteration of one replica."""

    def finish() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    computes()  # compiles, warms up
    done, begin = 0, finish()
    while finish() - begin < MEASURED:
        done += computes()
    return (finish() - begin) / done
