"""The two sides of a comparison: the engine's step, and the loop that a user would write.

Both train the same tickets (`tickets`), with the same order of the data drawn before the clock
starts, and `arithmetic` counts what neither can do without.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from dltlib import experiments, networks, training
from dltlib.datasets import Dataset, Split
from dltlib.history import Masks, Past, Weights
from dltlib.kinds import tickets as ticket_kind
from dltlib.networks import Network
from dltlib.settings import Settings


def engine(
    network: Network,
    weights: Weights,
    masks: Masks,
    settings: Settings,
    split: Split,
    seeds: Sequence[int],
) -> Callable[[int], training.Step]:
    """The step that `training.choose_step` takes here, on batches of the replicas' seeds."""
    device = weights[0].device
    biases = networks.initial_biases(network, len(seeds), device)
    step = training.choose_step(device)(network, weights, biases, masks, settings)
    unique = sorted(set(seeds))
    stream = torch.tensor([unique.index(seed) for seed in seeds], device=device)
    following = batches(unique, split.images, settings.batch_size)

    def run(iterations: int) -> training.Step:
        step.advance(split.images, split.labels, following(iterations), stream)
        _wait(device)
        return step

    return run


def plain_loop(
    network: Network,
    weights: Weights,
    masks: Masks,
    settings: Settings,
    images: Float[Tensor, "images channels height width"],
    labels: Int64[Tensor, " images"],
    seed: int = 0,
    memory_format: torch.memory_format = torch.contiguous_format,
    **optimizer_options: Any,
) -> Callable[[int], nn.Sequential]:
    """The loop that a user would write, for the first replica: a module, Adam, data in memory.

    ``images`` are floating-point numbers already. Pruned weights stay at zero because their
    gradients are masked; a dense network's loop has no masks. ``optimizer_options`` are Adam's.
    """
    module = plain_module(network, weights)
    module.to(images.device, memory_format=memory_format)  # type: ignore[call-overload]  # torch's
    optimizer = torch.optim.Adam(
        module.parameters(), lr=settings.learning_rate, **optimizer_options
    )
    layers = [part for part in module if isinstance(part, nn.Conv2d | nn.Linear)]
    pruned = [
        (layer.weight, _as_module(mask[0]).to(images.dtype))
        for layer, mask in zip(layers, masks, strict=True)
        if not mask[0].all()
    ]
    following = batches([seed], images, settings.batch_size)

    def run(iterations: int) -> nn.Sequential:
        for indices in following(iterations)[0]:
            batch = images[indices].contiguous(memory_format=memory_format)
            optimizer.zero_grad()
            with training.precision_of(settings.precision, images.device):  # anew for each step
                loss = F.cross_entropy(module(batch), labels[indices])
                loss.backward()
            for weight, mask in pruned:
                weight.grad.mul_(mask)  # type: ignore[union-attr]  # backward() has made it
            optimizer.step()
        _wait(images.device)
        return module

    return run


def plain_module(network: Network, weights: Weights) -> nn.Sequential:
    """The first replica as a module of `torch.nn` layers, its biases at zero."""
    layers: list[nn.Module] = []
    depth = network.input_shape[0]
    for index, channels in enumerate(network.channels):
        layers += [nn.Conv2d(depth, channels, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if index % 2 else []
        depth = channels
    layers.append(nn.Flatten())
    for layer in network.layers[len(network.channels) :]:
        inputs, outputs = layer.shape
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    module = nn.Sequential(*layers[:-1]).to(weights[0].dtype)
    with torch.no_grad():
        weighted = [part for part in module if isinstance(part, nn.Conv2d | nn.Linear)]
        for part, weight in zip(weighted, weights, strict=True):
            part.weight.copy_(_as_module(weight[0]))
            nn.init.zeros_(part.bias)  # type: ignore[arg-type]  # they all have one
    return module


def _as_module(values: Tensor) -> Tensor:
    """One replica's layer as `torch.nn` has it: dense weights the other way round."""
    return values.T if values.ndim == 2 else values


def batches(
    seeds: Sequence[int], images: Shaped[Tensor, "images ..."], batch_size: int
) -> Callable[[int], Int64[Tensor, "seed iterations batch"]]:
    """A function that hands out the next so many batches of every seed, epoch after epoch."""
    length = len(images) // batch_size
    order = torch.stack([training.data_order(seed, 0, len(images)) for seed in seeds])
    order = order[:, : length * batch_size].reshape(len(seeds), length, batch_size)
    order = order.to(images.device)
    done = 0

    def following(iterations: int) -> Tensor:
        nonlocal done
        places = torch.arange(done, done + iterations, device=order.device) % length
        done += iterations
        return order[:, places]

    return following


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tickets(
    network: Network,
    dataset: Dataset,
    settings: Settings,
    seeds: int,
    rounds: Sequence[int],
    arms: int | None = None,
) -> Iterator[tuple[int, Weights, Masks]]:
    """Networks as the criteria experiment trains them in these rounds: all arms for each seed.

    The masks are made in one shot, from one epoch of dense training; the weights are rewound.
    ``arms``: only the first so many, the paper's large_final being the very first.
    """
    plan = experiments.plan("criteria", network.name, "paper")
    dense = networks.initial_weights(network, range(seeds))
    full = [torch.ones_like(weight, dtype=torch.bool) for weight in dense]
    trained = training.train(network, dataset, dense, full, range(seeds), settings).weights
    ours = [ticket_kind.parse(arm) for arm in plan.arms[:arms]]
    seed_of = torch.arange(seeds).repeat_interleave(len(ours))
    initial, final, alive = (
        [layer[seed_of] for layer in every] for every in (dense, trained, full)
    )
    for round_ in rounds:
        masks = alive
        if round_:
            past = Past(network, seed_of.tolist(), round_, initial, final, alive, lambda: [])
            masks = ticket_kind.next_masks(plan, ours * seeds, past)
        yield round_, [w * mask for w, mask in zip(initial, masks, strict=True)], masks


def arithmetic(network: Network, masks: Masks, batch_size: int) -> float:
    """Operations that one iteration of a replica cannot do without, its pruned weights left out.

    Two for each weight, image and position, three times over: forward, for the weights' gradient,
    and (save in the first layer) for the inputs' gradient.
    """
    total = 0.0
    for index, (layer, mask) in enumerate(zip(network.layers, masks, strict=True)):
        positions = 1.0
        if layer.role == "conv":
            positions = math.prod(network.input_shape[1:]) / 4 ** (index // 2)
        kept = mask.sum().item() / len(mask)
        total += 2 * batch_size * positions * kept * (3 if index else 2)
    return total
