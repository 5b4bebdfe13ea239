"""Architectures as small frozen values; initial weights and forward pass of R replicas at once.

Section 2 of the paper: FC on MNIST, Conv2, Conv4 and Conv6 on CIFAR-10. Parameters are plain
lists over the layers, the replica axis first: weights ``[replica, in, out]`` (dense) or
``[replica, out, in, 3, 3]`` (convolution), biases ``[replica, out]``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from dltlib import catalogue, randomness
from dltlib.errors import UserError

# The standard deviation of a standard normal truncated at two, by which a truncated draw is
# rescaled so that its variance is the one Glorot & Bengio (2010) ask for.
TRUNCATED_DEVIATION = 0.8796256610342398


@dataclass(frozen=True)
class Layer:
    """One layer that has weights. ``role`` (conv, dense, output) decides its pruning rate."""

    name: str
    role: str
    shape: tuple[int, ...]  # (in, out), or (out, in, 3, 3) for a convolution

    @property
    def units(self) -> int:
        """Number of biases: output units or output channels."""
        return self.shape[0] if self.role == "conv" else self.shape[-1]

    @property
    def weight_count(self) -> int:
        """Number of weights, biases not counted."""
        return math.prod(self.shape)

    @property
    def initial_deviation(self) -> float:
        """Glorot: sqrt(2 / (fan_in + fan_out)). It is also the alpha of signed constants."""
        fan_in, fan_out = self.shape if self.role != "conv" else self.shape[1::-1]
        field = math.prod(self.shape[2:])
        return math.sqrt(2.0 / ((fan_in + fan_out) * field))


@dataclass(frozen=True)
class Network:
    """An architecture for images of ``input_shape`` (channels, height, width)."""

    name: str
    input_shape: tuple[int, int, int]
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    classes: int = 10

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that have weights, input first."""
        depth, height, width = self.input_shape
        layers = []
        for index, channels in enumerate(self.channels, 1):
            layers.append(Layer(f"conv{index}", "conv", (channels, depth, 3, 3)))
            depth = channels
            if index % 2 == 0:
                height, width = height // 2, width // 2
        units = depth * height * width
        for index, out in enumerate(self.hidden, 1):
            layers.append(Layer(f"dense{index}", "dense", (units, out)))
            units = out
        layers.append(Layer("output", "output", (units, self.classes)))
        return tuple(layers)

    @property
    def weight_count(self) -> int:
        """Number of weights, biases not counted."""
        return sum(layer.weight_count for layer in self.layers)


def build(
    name: str, input_shape: tuple[int, int, int], width: float = 1.0, classes: int = 10
) -> Network:
    """The network ``name`` of `catalogue.NETWORKS` for such images, all hidden sizes times width.

    Raises `UserError` for an unknown name, a width that is not positive or beyond
    `catalogue.WIDEST`, or images too small for the network's max pools.

    >>> [layer.shape for layer in networks.build("fc", (1, 28, 28)).layers]
    [(784, 300), (300, 100), (100, 10)]
    """
    architecture = catalogue.NETWORKS.find(name)
    catalogue.check_width(width)
    channels, hidden = architecture.channels, architecture.hidden
    pools = len(channels) // 2
    if min(input_shape[1:]) < 2**pools:
        raise UserError(
            f"images of {input_shape[1]}x{input_shape[2]} are too small for {name}, which halves "
            f"them {pools} times"
        )

    def scale(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, round(size * width)) for size in sizes)

    return Network(name, input_shape, scale(channels), scale(hidden), classes)


def draw(layer: Layer, *names: object) -> Float[Tensor, "*shape"]:
    """One replica's draw from the layer's initial distribution (section 2), named by ``names``.

    Glorot-normal: a normal truncated at two standard deviations, rescaled to variance
    2 / (fan_in + fan_out). float32, on the CPU.

    >>> networks.draw(layer, 0, "initial weights").shape
    torch.Size([1, 4])
    """
    deviation = layer.initial_deviation / TRUNCATED_DEVIATION
    return torch.nn.init.trunc_normal_(
        torch.empty(layer.shape),
        std=deviation,
        a=-2 * deviation,
        b=2 * deviation,
        generator=randomness.generator(*names, layer.name),
    )


def initial_weights(
    network: Network, seeds: Sequence[int], device: torch.device | str = "cpu"
) -> list[Float[Tensor, "replica ..."]]:
    """w_i for one replica a seed. Depends on the seed alone, so that arms are paired.

    >>> [tuple(weight.shape) for weight in networks.initial_weights(network, seeds=[0, 1])]
    [(2, 64, 15), (2, 15, 5), (2, 5, 10)]
    """
    return [
        torch.stack([draw(layer, seed, "initial weights") for seed in seeds]).to(device)
        for layer in network.layers
    ]


def initial_biases(
    network: Network, replicas: int, device: torch.device | str = "cpu"
) -> list[Float[Tensor, "replica _"]]:
    """Zeros (section 2).

    >>> [tuple(bias.shape) for bias in networks.initial_biases(network, replicas=2)]
    [(2, 15), (2, 5), (2, 10)]
    """
    return [torch.zeros(replicas, layer.units, device=device) for layer in network.layers]


def forward(
    network: Network,
    weights: Sequence[Float[Tensor, "replica ..."]],
    biases: Sequence[Float[Tensor, "replica _"]],
    images: Float[Tensor, "streams batch channels height width"],
    together: bool | None = None,
) -> Float[Tensor, "replica batch classes"]:
    """Logits of R replicas, each on its own batch, or all on one (``streams`` is R or 1).

    ``together`` chooses between one batched product and one grouped convolution for all replicas,
    and a loop over the replicas. Left out, a GPU takes them together (one large kernel instead of
    R small ones) and a CPU one by one: faster there (see the chapter on speed), and a replica's
    bits cannot depend on R, which a CPU's batched product does not promise (one alone takes
    another path through the library than several).

    >>> images = digits.test.images[:5].float() / 255
    >>> networks.forward(network, weights, biases, images[None]).shape
    torch.Size([2, 5, 10])
    """
    if together is None:
        together = images.is_cuda
    replicas = weights[0].shape[0]
    images = images.expand(replicas, *images.shape[1:])
    if together:
        return _forward_together(network, weights, biases, images)
    if replicas == 1:
        # A CPU trains replica by replica; the gradient of unbind would be a copy.
        weight, bias = ([value.squeeze(0) for value in values] for values in (weights, biases))
        return _forward_one(network, weight, bias, images[0])[None]
    replica_weights = zip(*(weight.unbind() for weight in weights), strict=True)
    replica_biases = zip(*(bias.unbind() for bias in biases), strict=True)
    return torch.stack(
        [
            _forward_one(network, *parameters)
            for parameters in zip(replica_weights, replica_biases, images, strict=True)
        ]
    )


def cross_entropy(
    logits: Float[Tensor, "replica batch classes"], labels: Int64[Tensor, "replica batch"]
) -> Float[Tensor, " replica"]:
    """Each replica's mean loss over its batch.

    >>> networks.cross_entropy(torch.zeros(1, 2, 10), torch.tensor([[3, 7]]))  # ln 10
    tensor([2.3026])
    """
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(1)


def _forward_one(
    network: Network, weights: Sequence[Tensor], biases: Sequence[Tensor], images: Tensor
) -> Float[Tensor, "batch classes"]:
    convolutions = len(network.channels)
    activity = images
    for index in range(convolutions):
        activity = _channels_last(activity)
        kernel = _channels_last(weights[index])
        activity = F.conv2d(activity, kernel, biases[index], padding=1)
        if index % 2:  # pooled first: the same values, and a quarter of them to rectify
            activity = F.max_pool2d(activity, 2)
        activity = F.relu(activity)
    activity = activity.flatten(1)
    for index in range(convolutions, len(weights)):
        activity = torch.addmm(biases[index], activity, weights[index])
        if index < len(weights) - 1:
            activity = F.relu(activity)
    return activity


def _forward_together(
    network: Network, weights: Sequence[Tensor], biases: Sequence[Tensor], images: Tensor
) -> Float[Tensor, "replica batch classes"]:
    replicas, batch = images.shape[:2]
    convolutions = len(network.channels)
    activity = images
    if convolutions:
        # [replica, batch, c, h, w] -> [batch, replica * c, h, w]: replicas are groups of channels.
        activity = _channels_last(activity.transpose(0, 1).flatten(1, 2))
        for index in range(convolutions):
            kernel = _channels_last(weights[index].flatten(0, 1))
            bias = biases[index].flatten()
            activity = F.conv2d(activity, kernel, bias, padding=1, groups=replicas)
            if index % 2:
                activity = F.max_pool2d(activity, 2)
            activity = F.relu(activity)
        activity = activity.reshape(batch, replicas, -1).transpose(0, 1)
    activity = activity.flatten(2)
    for index in range(convolutions, len(weights) - 1):
        activity = F.relu(torch.baddbmm(biases[index][:, None], activity, weights[index]))
    # Logits are never rounded to bf16, where two classes often tie.
    with torch.autocast(activity.device.type, enabled=False):
        return torch.baddbmm(biases[-1][:, None], activity.to(weights[-1].dtype), weights[-1])


def as_used(values: Shaped[Tensor, "replica *shape"]) -> Shaped[Tensor, "replica *shape"]:
    """The same values of a layer, kernels stored with their channels last, as convolutions on a GPU
    want them: no copy in each step. What is computed from such tensors number by number is stored
    likewise.

    >>> kernels = torch.zeros(2, 4, 3, 3, 3)
    >>> networks.as_used(kernels).flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    True
    """
    if values.ndim != 5:
        return values
    return values.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
