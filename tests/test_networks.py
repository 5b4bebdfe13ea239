"""The four networks of section 2, their initial weights, and R of them in one forward pass."""

import math

import pytest
import reference
import torch
from scipy import stats

from dltlib import networks
from dltlib.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("fc", MNIST, 266_200),
        ("conv2", CIFAR, 4_300_992),
        ("conv4", CIFAR, 2_425_024),
        ("conv6", CIFAR, 2_261_184),
    ],
)
def test_weight_counts_are_the_papers(name: str, shape: tuple, count: int) -> None:
    network = networks.build(name, shape)
    assert network.weight_count == count
    plain = reference.module(
        network,
        [weight[0] for weight in networks.initial_weights(network, [0])],
        [bias[0] for bias in networks.initial_biases(network, 1)],
    )
    assert count == sum(weight.numel() for weight in reference.weights_of(plain))


def test_layers_of_conv4() -> None:
    layers = networks.build("conv4", CIFAR).layers
    assert [(layer.name, layer.role, layer.shape) for layer in layers] == [
        ("conv1", "conv", (64, 3, 3, 3)),
        ("conv2", "conv", (64, 64, 3, 3)),
        ("conv3", "conv", (128, 64, 3, 3)),
        ("conv4", "conv", (128, 128, 3, 3)),
        ("dense1", "dense", (128 * 8 * 8, 256)),
        ("dense2", "dense", (256, 256)),
        ("output", "output", (256, 10)),
    ]
    assert [layer.units for layer in layers] == [64, 64, 128, 128, 256, 256, 10]
    biases = networks.initial_biases(networks.build("conv4", CIFAR), 3)
    assert [tuple(bias.shape) for bias in biases] == [(3, layer.units) for layer in layers]
    assert all((bias == 0).all() for bias in biases)


def test_initial_deviation_is_glorots() -> None:
    fc = networks.build("fc", MNIST)
    assert fc.layers[0].initial_deviation == pytest.approx(math.sqrt(2 / (784 + 300)))
    conv = networks.build("conv4", CIFAR)
    assert conv.layers[2].initial_deviation == pytest.approx(math.sqrt(2 / (9 * (64 + 128))))


@pytest.mark.parametrize(("name", "shape", "number"), [("fc", MNIST, 0), ("conv4", CIFAR, 2)])
def test_initial_weights_are_a_truncated_normal(name: str, shape: tuple, number: int) -> None:
    layer = networks.build(name, shape).layers[number]
    weights = networks.draw(layer, 7).double().flatten()
    # A normal cut at two of its standard deviations has 0.8796 of that deviation left.
    parent = layer.initial_deviation / stats.truncnorm(-2, 2).std()
    assert weights.abs().max() <= 2 * parent * (1 + 1e-6)
    assert weights.abs().max() > 1.99 * parent  # it is the cut that bounds it
    variance, expected = weights.var().item(), layer.initial_deviation**2
    assert variance == pytest.approx(expected, rel=5 * math.sqrt(2 / len(weights)))
    assert abs(weights.mean()) < 5 * layer.initial_deviation / math.sqrt(len(weights))
    test = stats.kstest(weights.numpy(), stats.truncnorm(-2, 2, scale=parent).cdf)
    assert test.pvalue > 1e-3


def test_initial_weights_depend_on_the_seed_alone() -> None:
    network = networks.build("conv2", (1, 8, 8), width=0.1)
    together = networks.initial_weights(network, [4, 0, 4])
    alone = networks.initial_weights(network, [4])
    for several, one in zip(together, alone, strict=True):
        assert torch.equal(several[0], one[0])
        assert torch.equal(several[2], one[0])
        assert not torch.equal(several[1], one[0])
    # Layers of the same shape draw numbers of their own.
    square = networks.build("conv4", (64, 8, 8))
    first, second = networks.initial_weights(square, [0])[:2]
    assert first.shape == second.shape
    assert not torch.equal(first, second)


def test_width_multiplies_hidden_sizes_only() -> None:
    network = networks.build("conv2", CIFAR, width=0.125)
    assert [layer.shape for layer in network.layers] == [
        (8, 3, 3, 3),
        (8, 8, 3, 3),
        (8 * 16 * 16, 32),
        (32, 32),
        (32, 10),
    ]
    assert networks.build("fc", MNIST, width=2.0).hidden == (600, 200)
    assert networks.build("fc", MNIST, width=1e-9).hidden == (1, 1)  # never an empty layer


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_bad_widths_are_refused(width: float) -> None:
    with pytest.raises(UserError, match="width must be a positive number"):
        networks.build("fc", MNIST, width)


def test_bad_networks_are_refused() -> None:
    with pytest.raises(UserError, match=r"'resnet'.*fc, conv2, conv4, conv6"):
        networks.build("resnet", MNIST)
    with pytest.raises(UserError, match="4x9 are too small for conv6, which halves them 3 times"):
        networks.build("conv6", (1, 4, 9))


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("streams", ["one", "each"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("fc", (1, 8, 8)), ("conv2", (3, 9, 8)), ("conv4", (1, 8, 8)), ("conv6", (3, 16, 17))],
)
def test_replicas_equal_modules_of_their_own(
    name: str, shape: tuple, together: bool, streams: str
) -> None:
    """Batched products and grouped convolutions against `nn.Linear` and `nn.Conv2d`, both ways."""
    replicas, batch = 3, 5
    network = networks.build(name, shape, width=0.1)
    generator = torch.Generator().manual_seed(1)

    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    weights = [random(replicas, *layer.shape).requires_grad_() for layer in network.layers]
    biases = [random(replicas, layer.units).requires_grad_() for layer in network.layers]
    images = random(replicas if streams == "each" else 1, batch, *shape)
    slope = random(replicas, batch, 10)

    logits = networks.forward(network, weights, biases, images, together)
    (logits * slope).sum().backward()

    for replica in range(replicas):
        own = reference.module(network, [w[replica] for w in weights], [b[replica] for b in biases])
        expected = own(images[replica if streams == "each" else 0])
        torch.testing.assert_close(logits[replica], expected, rtol=1e-10, atol=1e-10)
        (expected * slope[replica]).sum().backward()
        for layer, weight, bias in zip(reference.weighted(own), weights, biases, strict=True):
            dense = isinstance(layer, torch.nn.Linear)
            gradient = layer.weight.grad.T if dense else layer.weight.grad
            torch.testing.assert_close(weight.grad[replica], gradient, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(bias.grad[replica], layer.bias.grad, rtol=1e-9, atol=1e-9)


def test_a_cpu_takes_replicas_one_by_one() -> None:
    """So that the bits of one cannot depend on how many there are."""
    network = networks.build("fc", (1, 8, 8))
    weights = networks.initial_weights(network, [0, 1, 2])
    biases = networks.initial_biases(network, 3)
    images = torch.rand(1, 60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    several = networks.forward(network, weights, biases, images)
    alone = networks.forward(network, [w[1:2] for w in weights], [b[:1] for b in biases], images)
    assert torch.equal(several[1], alone[0])
