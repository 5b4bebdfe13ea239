"""What the library is held to: plain modules and loops, as a user of PyTorch would write them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltlib import randomness, training
from dltlib.datasets import Dataset, Split
from dltlib.networks import Network
from dltlib.supermasks import Learner
from dltlib.training import Settings


def dataset(
    shape: tuple[int, int, int] = (1, 8, 8),
    train: int = 300,
    validation: int = 120,
    test: int = 140,
    seed: int = 0,
) -> Dataset:
    """Made-up images that can be learned, though not at once: ten patterns under much noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(10, *shape, generator=generator)

    def split(count: int) -> Split:
        labels = torch.randint(10, (count,), generator=generator)
        noise = torch.rand(count, *shape, generator=generator)
        return Split(((patterns[labels] + 2 * noise) * 85).to(torch.uint8), labels)

    return Dataset("made up", split(train), split(validation), split(test))


def module(network: Network, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> nn.Sequential:
    """One network of `torch.nn` layers with these weights, in the library's layout of one replica.

    Its layers with weights are, in order, those of ``network.layers``.
    """
    layers: list[nn.Module] = []
    depth = network.input_shape[0]
    for index, channels in enumerate(network.channels):
        layers += [nn.Conv2d(depth, channels, 3, padding="same"), nn.ReLU()]
        if index % 2 == 1:
            layers.append(nn.MaxPool2d(2))
        depth = channels
    layers.append(nn.Flatten())
    units = network.layers[len(network.channels)].shape[0]
    for out in network.hidden:
        layers += [nn.Linear(units, out), nn.ReLU()]
        units = out
    layers.append(nn.Linear(units, 10))
    result = nn.Sequential(*layers).to(weights[0].dtype)
    with torch.no_grad():
        for layer, weight, bias in zip(weighted(result), weights, biases, strict=True):
            layer.weight.copy_(weight.T if isinstance(layer, nn.Linear) else weight)
            layer.bias.copy_(bias)
    return result


def weighted(net: nn.Sequential) -> list[nn.Module]:
    """Its layers that have weights."""
    return [layer for layer in net if isinstance(layer, (nn.Conv2d, nn.Linear))]


def weights_of(net: nn.Sequential) -> list[Tensor]:
    """Its weights in the library's layout, without the replica axis."""
    return [
        (layer.weight.T if isinstance(layer, nn.Linear) else layer.weight).detach()
        for layer in weighted(net)
    ]


def biases_of(net: nn.Sequential) -> list[Tensor]:
    return [layer.bias.detach() for layer in weighted(net)]


@dataclass
class Trace:
    """What a plain training was like."""

    net: nn.Sequential
    losses: list[float] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)


def share_right(net: nn.Sequential, split: Split, dtype: torch.dtype) -> float:
    with torch.no_grad():
        return (net(split.images.to(dtype) / 255).argmax(1) == split.labels).double().mean().item()


@contextmanager
def one_thread() -> Iterator[None]:
    """Small operations in one thread: where others are at work, threads stall one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train(
    network: Network,
    data: Dataset,
    weights: Sequence[Tensor],
    masks: Sequence[Tensor],
    seed: int,
    settings: Settings,
    iterations: int | None = None,
) -> Trace:
    """The loop a user would write: a module, `torch.optim.Adam`, hooks that mask gradients."""
    dtype = weights[0].dtype
    zeros = [torch.zeros(layer.units, dtype=dtype) for layer in network.layers]
    trace = Trace(module(network, weights, zeros))
    for layer, mask in zip(weighted(trace.net), masks, strict=True):
        mask = mask.T if isinstance(layer, nn.Linear) else mask
        layer.weight.register_hook(lambda gradient, mask=mask: gradient * mask)
    optimizer = torch.optim.Adam(trace.net.parameters(), lr=settings.learning_rate)
    size = settings.batch_size
    length = len(data.train) // size
    total = iterations or length * settings.epochs
    for iteration in range(1, total + 1):
        epoch, batch = divmod(iteration - 1, length)
        order = training.data_order(seed, epoch, len(data.train))
        own = order[batch * size : (batch + 1) * size]
        loss = F.cross_entropy(
            trace.net(data.train.images[own].to(dtype) / 255), data.train.labels[own]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trace.losses.append(loss.item())
        if iteration % settings.evaluate_every == 0 or iteration == total:
            trace.looks.append(iteration)
            trace.validation.append(share_right(trace.net, data.validation, dtype))
            trace.test.append(share_right(trace.net, data.test, dtype))
    return trace


class MaskedModule(nn.Module):
    """A learned mask by autograd: w' = w * mask, mask = p + (b - p).detach(), p = sigma(m).

    Or, where the gradient goes straight through to m: the same w', with the gradient of w * m.
    """

    def __init__(self, own: Learner, replica: int) -> None:
        super().__init__()
        self.network, self.replica, self.own = own.network, replica, own
        self.scores = nn.ParameterList(
            [nn.Parameter(torch.zeros(layer.shape)) for layer in own.network.layers]
        )

    def forward(self, images: Tensor, step: int) -> Tensor:
        weights = []
        for layer, score, value in zip(
            self.network.layers, self.scores, self.own.values, strict=True
        ):
            keys = randomness.stream(layer.shape, self.own.seeds[self.replica], "mask", layer.name)
            p = torch.sigmoid(score)
            b = (randomness.uniform_at(keys, torch.tensor(step)) < p).float()
            mask = p + (b - p).detach()
            weight = value[self.replica] * mask
            if self.own.rescaled[self.replica]:
                weight = weight * (b.numel() / b.sum())
            if self.own.identity[self.replica]:
                direct = value[self.replica] * score
                weight = direct + (weight - direct).detach()
            weights.append(weight)
        activity = images
        convolutions = len(self.network.channels)
        for index, weight in enumerate(weights):
            if index < convolutions:
                activity = nn.functional.conv2d(activity, weight, padding=1).relu()
                if index % 2:
                    activity = nn.functional.max_pool2d(activity, 2)
                continue
            activity = activity.flatten(1) @ weight
            if index < len(weights) - 1:
                activity = activity.relu()
        return activity
