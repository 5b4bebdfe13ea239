"""Convolutions in the kernel: against torch, against numpy spelled out, and against themselves."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernel import RATE, largest_difference, same_bits
from torch import Tensor

from dltlib import networks
from dltlib.kernel import KernelStep, intrinsics, layout, lists
from dltlib.networks import Network

pytestmark = pytest.mark.usefixtures("one_thread")

Parameters = tuple[list[Tensor], list[Tensor], list[Tensor]]


@contextmanager
def turned() -> Iterator[None]:
    """Every pooled layer goes back by its errors whose channels fill rows, small as it may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "TURNED_WORK", 0)
        patch.setattr(lists, "TURNED_DENSITY", 0)
        yield


def turned_layers(step: KernelStep, replica: int = 0) -> list[int]:
    """Which layers go back by their errors."""
    return np.flatnonzero(step._nets[replica].layers["turned"] >= 0).tolist()


def draw_images(network: Network, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    shape = (count, *network.input_shape)
    images = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    return images, torch.randint(0, 10, (count,), generator=generator)


def draw_network(
    network: Network,
    densities: list[float],
    frozen: list[bool],
    dtype: torch.dtype,
    generator: torch.Generator,
) -> Parameters:
    """One replica for each density; weights outside the mask are 0 unless ``frozen`` keeps them."""
    weights, biases, masks = [], [], []
    for layer in network.layers:
        shape = (len(densities), *layer.shape)
        view = (-1, *[1] * len(layer.shape))
        weight = torch.randn(shape, generator=generator) * layer.initial_deviation
        mask = torch.rand(shape, generator=generator) < torch.tensor(densities).view(view)
        weights.append((weight * (mask | torch.tensor(frozen).view(view))).to(dtype))
        biases.append(
            (0.1 * torch.randn(len(densities), layer.units, generator=generator)).to(dtype)
        )
        masks.append(mask)
    return weights, biases, masks


def start(network: Network, parameters: Parameters, batch: int) -> KernelStep:
    return KernelStep(
        *parameters, learning_rate=RATE, batch_size=batch, image_shape=network.input_shape
    )


def plain_loop(
    network: Network,
    weights: list[Tensor],
    biases: list[Tensor],
    masks: list[Tensor],
    images: Tensor,
    labels: Tensor,
    batches: Tensor,
) -> tuple[list[Tensor], list[Tensor], list[float]]:
    """What a user would write, for one network. The mask is applied to the gradient."""
    net = reference.module(network, weights, biases)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images[batch].to(weights[0].dtype) / 255), labels[batch])
        loss.backward()
        for layer, mask in zip(reference.weighted(net), masks, strict=True):
            layer.weight.grad *= mask.T if mask.ndim == 2 else mask
        optimizer.step()
        losses.append(loss.item())
    return reference.weights_of(net), reference.biases_of(net), losses


def hold_against_the_plain_loop(
    network: Network,
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    batches: Tensor,
    tolerance: float,
) -> None:
    step = start(network, parameters, batches.shape[1])
    replicas = len(parameters[0][0])
    losses = step.advance(images, labels, batches[None], torch.zeros(replicas, dtype=torch.int64))
    weights, biases = step.parameters()
    for replica in range(replicas):
        alone = [[part[replica] for part in parts] for parts in parameters]
        expected = plain_loop(network, *alone, images, labels, batches)
        assert losses[replica].item() == pytest.approx(np.mean(expected[2]), rel=tolerance)
        assert largest_difference(weights, expected[0], replica) < tolerance
        assert largest_difference(biases, expected[1], replica) < tolerance
    for weight, given_weight, mask in zip(weights, parameters[0], parameters[2], strict=True):
        assert same_bits([weight[~mask]], [given_weight[~mask]])


# --- what the loops do ------------------------------------------------------------------------


def numpy_walk_of_errors(
    weight: np.ndarray, planes: np.ndarray, errors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient ``[out, in, ky, kx]`` of a pooled wide layer and the errors of its input, before
    ReLU, by what is left of its errors ``[out, y, x, column]``.

    The kernel keeps all channels of a position side by side, so that each of the two lines below is
    a row times a number. ``planes`` have their border of zeros; the sum's has to be cut off.
    """
    rows = planes.transpose(3, 1, 2, 0)  # column, y + 1, x + 1, channel
    kernel = weight.transpose(2, 3, 0, 1)  # ky, kx, out, channel
    gradient, below = np.zeros_like(kernel), np.zeros_like(rows)
    for out, y, x, column in np.argwhere(errors):
        error = errors[out, y, x, column]
        gradient[:, :, out] += error * rows[column, y : y + 3, x : x + 3]
        below[column, y : y + 3, x : x + 3] += error * kernel[:, :, out]
    return gradient.transpose(2, 3, 0, 1), below[:, 1:-1, 1:-1].transpose(3, 1, 2, 0)


def numpy_step(
    network: Network,
    weights: list[np.ndarray],
    biases: list[np.ndarray],
    masks: list[np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    by_errors: Collection[int] = (),
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The first Adam step of one network, in the kernel's layout and order, weight by weight, but
    for layers that go back error by error.

    Activity is ``[channel, y + 1, x + 1, column]``, a column being one image, with a border of
    zeros. Output (y, x) reads input (y + ky - 1, x + kx - 1), which lies at (y + ky, x + kx) behind
    the border: seen from any output position, a tap is one constant offset. So a surviving weight
    is one window of the input, as large as the output, times a number.
    """
    count = len(network.channels)
    gradients = [np.zeros_like(weight) for weight in weights]
    bias_gradients = [np.zeros_like(bias) for bias in biases]

    def bordered(inside: np.ndarray) -> np.ndarray:
        return np.pad(inside, [(0, 0), (1, 1), (1, 1), (0, 0)])

    def window(planes: np.ndarray, channel: int, ky: int, kx: int) -> np.ndarray:
        height, width = planes.shape[1] - 2, planes.shape[2] - 2
        return planes[channel, ky : ky + height, kx : kx + width]

    # Forward. The kernel keeps four positions of 16 columns in registers while it walks the
    # weights of one output channel: what changes from weight to weight is the offset alone.
    planes = [bordered(images.transpose(1, 2, 3, 0) / 255)]
    winners = {}
    for index in range(count):
        total = np.stack([np.full(planes[-1][0, 1:-1, 1:-1].shape, bias) for bias in biases[index]])
        for out, channel, ky, kx in np.argwhere(weights[index] != 0):
            weight = weights[index][out, channel, ky, kx]
            total[out] += weight * window(planes[-1], channel, ky, kx)
        if index % 2:  # the largest of each 2x2, the first if tied; an odd row or column is lost
            height, width = total.shape[1] // 2, total.shape[2] // 2
            quarters = [
                total[:, y : 2 * height : 2, x : 2 * width : 2] for y in (0, 1) for x in (0, 1)
            ]
            winners[index] = total.shape, np.argmax(quarters, axis=0)
            total = np.max(quarters, axis=0)
        planes.append(bordered(np.maximum(total, 0)))
    # Flattened as (channel, y, x), the columns staying where they are.
    flat = planes[-1][:, 1:-1, 1:-1]
    rows = [flat.reshape(-1, flat.shape[-1])]
    for index in range(count, len(weights)):
        total = weights[index].T @ rows[-1] + biases[index][:, None]
        rows.append(np.maximum(total, 0) if index < len(weights) - 1 else total)

    # The loss, and backwards through the dense layers.
    share = np.exp(rows[-1] - rows[-1].max(0))
    errors = share / share.sum(0)
    errors[labels, np.arange(len(labels))] -= 1
    errors /= len(labels)
    for index in range(len(weights) - 1, count - 1, -1):
        below = rows[index - count]
        gradients[index] = below @ errors.T
        bias_gradients[index] = errors.sum(1)
        errors = (weights[index] @ errors) * (below > 0)

    # Backwards through the convolutions.
    errors = errors.reshape(flat.shape)
    for index in range(count - 1, -1, -1):
        if index % 2:  # each error to its winner, zero to the other three
            shape, chosen = winners[index]
            height, width = chosen.shape[1:3]
            spread = np.zeros(shape)
            for quarter in range(4):
                y, x = divmod(quarter, 2)
                spread[:, y : 2 * height : 2, x : 2 * width : 2] = errors * (chosen == quarter)
            errors = spread
        bias_gradients[index] = errors.sum((1, 2, 3))
        if index in by_errors:
            gradients[index], errors = numpy_walk_of_errors(weights[index], planes[index], errors)
            errors *= planes[index][:, 1:-1, 1:-1] > 0
            continue
        # A weight's gradient: its input's window against the errors of its output, summed over
        # positions and columns. The kernel takes four weights at a time over some image rows,
        # because they share the errors, and folds their vectors of partial sums at the end.
        for out, channel, ky, kx in np.argwhere(masks[index]):
            here = window(planes[index], channel, ky, kx)
            gradients[index][out, channel, ky, kx] = (here * errors[out]).sum()
        if index == 0:
            break
        # The input's errors: the same walk, inputs and outputs exchanged, each tap mirrored.
        behind_border = bordered(errors)
        errors = np.zeros_like(planes[index][:, 1:-1, 1:-1])
        for out, channel, ky, kx in np.argwhere(weights[index] != 0):
            weight = weights[index][out, channel, ky, kx]
            errors[channel] += weight * window(behind_border, out, 2 - ky, 2 - kx)
        errors *= planes[index][:, 1:-1, 1:-1] > 0

    # Adam's first step: both moments, corrected, are the gradient and its square.
    def moved(value: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        return value - RATE * gradient / (np.abs(gradient) + 1e-8)

    return (
        [
            np.where(mask, moved(weight, gradient), weight)
            for weight, gradient, mask in zip(weights, gradients, masks, strict=True)
        ],
        [moved(*pair) for pair in zip(biases, bias_gradients, strict=True)],
    )


@pytest.mark.parametrize(("channels", "by_errors"), [((3, 4, 5), []), ((32, 4, 5), [1])])
def test_one_step_is_that_of_numpy_spelled_out(generator, channels, by_errors):
    network = Network("conv", (2, 9, 6), channels, (7,))
    parameters = draw_network(network, [0.4], [True], torch.float64, generator)
    images, labels = draw_images(network, 10, generator)
    with turned():
        step = start(network, parameters, 10)
        step.advance(images, labels, torch.arange(10)[None, None], torch.tensor([0]))
    assert turned_layers(step) == by_errors
    alone = [[part[0].numpy() for part in parts] for parts in parameters]
    expected = numpy_step(network, *alone, images.numpy(), labels.numpy(), by_errors)
    for ours, theirs in zip(step.parameters(), expected, strict=True):
        theirs = [torch.from_numpy(np.ascontiguousarray(part)) for part in theirs]
        assert largest_difference(ours, theirs, 0) < 1e-9


# --- against torch ----------------------------------------------------------------------------


@pytest.mark.parametrize("density", [1.0, 0.3, 0.05])
@pytest.mark.parametrize(
    ("name", "shape", "batch"),
    [("conv2", (3, 9, 11), 60), ("conv4", (1, 8, 13), 70), ("conv6", (3, 8, 8), 33)],
)
def test_float64_ends_where_the_plain_loop_ends(generator, name, shape, batch, density):
    network = networks.build(name, shape, width=0.1)
    images, labels = draw_images(network, 100, generator)
    parameters = draw_network(network, [density] * 2, [False, True], torch.float64, generator)
    batches = torch.randint(0, 100, (50, batch), generator=generator)
    hold_against_the_plain_loop(network, parameters, images, labels, batches, 1e-9)


@settings(max_examples=30, deadline=None)
@given(
    channels=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    hidden=st.lists(st.integers(1, 20), max_size=2),
    shape=st.tuples(st.integers(1, 3), st.integers(4, 19), st.integers(4, 19)),
    batch=st.one_of(st.just(1), st.integers(1, 70)),
    replicas=st.lists(
        st.tuples(st.sampled_from([0.0, 0.02, 0.3, 1.0]), st.booleans()), min_size=1, max_size=2
    ),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_mask_trains_as_the_plain_loop_does(
    channels, hidden, shape, batch, replicas, seed
):
    draws = torch.Generator().manual_seed(seed)
    network = Network("any", shape, tuple(channels), tuple(hidden))
    images, labels = draw_images(network, 70, draws)
    densities, frozen = (list(x) for x in zip(*replicas, strict=True))
    parameters = draw_network(network, densities, frozen, torch.float64, draws)
    batches = torch.randint(0, 70, (4, batch), generator=draws)
    # A gradient that is nearly nothing is mostly rounding, and Adam makes a whole step of it.
    hold_against_the_plain_loop(network, parameters, images, labels, batches, 1e-6)


@settings(max_examples=20, deadline=None)
@given(
    channels=st.lists(
        st.tuples(st.sampled_from([32, 64]), st.integers(1, 9)), min_size=1, max_size=2
    ),
    shape=st.tuples(st.integers(1, 3), st.integers(4, 21), st.integers(4, 11)),
    batch=st.integers(1, 40),
    replicas=st.lists(
        st.tuples(st.sampled_from([0.02, 0.3, 1.0]), st.booleans()), min_size=1, max_size=2
    ),
    seed=st.integers(0, 1000),
)
def test_by_way_of_its_errors_a_layer_trains_as_the_plain_loop_does(
    channels, shape, batch, replicas, seed
):
    """More rows than one band has, and fewer; several rows of channels; odd sizes; frozen ones."""
    draws = torch.Generator().manual_seed(seed)
    network = Network("any", shape, tuple(np.ravel(channels).tolist()), (7,))
    images, labels = draw_images(network, 40, draws)
    densities, frozen = (list(x) for x in zip(*replicas, strict=True))
    parameters = draw_network(network, densities, frozen, torch.float64, draws)
    batches = torch.randint(0, 40, (4, batch), generator=draws)
    with turned():
        step = start(network, parameters, batch)
        step.correct(images, labels)
        assert turned_layers(step) == list(range(1, 2 * len(channels), 2))
        hold_against_the_plain_loop(network, parameters, images, labels, batches, 1e-6)


def test_by_way_of_its_errors_float64_ends_where_the_plain_loop_ends(generator):
    network = Network("wide", (3, 19, 10), (64, 5, 32, 6), (9,))
    images, labels = draw_images(network, 100, generator)
    parameters = draw_network(
        network, [1.0, 0.3, 0.05], [False, True, True], torch.float64, generator
    )
    batches = torch.randint(0, 100, (50, 33), generator=generator)
    with turned():
        hold_against_the_plain_loop(network, parameters, images, labels, batches, 1e-9)


@pytest.mark.parametrize(
    ("width", "density", "frozen", "layers"),
    [
        (1.0, 1.0, False, [1]),
        (1.0, 0.12, False, [1]),
        (1.0, 0.05, False, []),  # the weights are the shorter list
        (1.0, 0.05, True, [1]),  # but frozen ones are walked too
        (0.25, 1.0, False, []),  # its channels fill no row
    ],
)
def test_shape_and_density_decide_what_a_layer_goes_back_by(
    generator, width, density, frozen, layers
):
    network = networks.build("conv2", (3, 32, 32), width=width)
    parameters = draw_network(network, [density], [frozen], torch.float32, generator)
    images, labels = draw_images(network, 1, generator)
    step = start(network, parameters, 1)
    step.correct(images, labels)
    assert turned_layers(step) == layers


def test_float32_has_the_loss_of_the_plain_loop(generator):
    network = networks.build("conv2", (3, 32, 32), width=0.1)
    images, labels = draw_images(network, 100, generator)
    parameters = draw_network(network, [1.0, 0.2], [False, True], torch.float32, generator)
    batches = torch.randint(0, 100, (1, 20, 60), generator=generator)
    losses = start(network, parameters, 60).advance(images, labels, batches, torch.tensor([0, 0]))
    for replica in range(2):
        alone = [[part[replica] for part in parts] for parts in parameters]
        expected = plain_loop(network, *alone, images, labels, batches[0])[2]
        assert losses[replica].item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_channels_without_a_weight_and_one_channel(generator):
    network = Network("conv", (1, 8, 8), (1, 6), (5,))
    weights, biases, masks = draw_network(network, [1.0], [False], torch.float64, generator)
    for layer, channel in ((0, 0), (1, 2), (1, 5)):
        weights[layer][0, channel], masks[layer][0, channel] = 0, False
    weights[2][0, 16:32], masks[2][0, 16:32] = 0, False  # and one that nothing reads
    images, labels = draw_images(network, 50, generator)
    batches = torch.randint(0, 50, (20, 20), generator=generator)
    parameters = weights, biases, masks
    hold_against_the_plain_loop(network, parameters, images, labels, batches, 1e-9)


def test_where_a_pool_is_tied_the_first_has_the_gradient(generator):
    """Images of two even halves tie nearly everywhere; at borders it matters which one wins."""
    network = Network("conv", (1, 8, 8), (2, 3), (5,))
    images, labels = draw_images(network, 30, generator)
    images[:] = images[:, :, :1, :1]
    images[:, :, :, 4:] //= 2
    parameters = draw_network(network, [1.0], [False], torch.float64, generator)
    centre = torch.zeros(3, 3, dtype=torch.bool)
    centre[1, 1] = True
    for layer in range(2):
        parameters[0][layer] *= centre
        parameters[1][layer].abs_()
    parameters[0][1].abs_()
    batches = torch.randint(0, 30, (10, 20), generator=generator)
    hold_against_the_plain_loop(network, parameters, images, labels, batches, 1e-9)


@pytest.mark.parametrize("count", [1, 64, 150])
def test_correct_counts_right_answers(generator, count):
    network = networks.build("conv4", (3, 10, 9), width=0.1)
    images, labels = draw_images(network, count, generator)
    weights, biases, masks = draw_network(network, [1, 0.3], [False] * 2, torch.float64, generator)
    logits = networks.forward(network, weights, biases, (images.double() / 255)[None])
    expected = (logits.argmax(-1) == labels).sum(-1)
    step = start(network, (weights, biases, masks), 7)
    assert step.correct(images, labels).tolist() == expected.tolist()


# --- among others -----------------------------------------------------------------------------


@pytest.mark.parametrize("by_errors", [False, True])
def test_a_replica_gets_the_same_bits_in_any_company(generator, by_errors):
    network = networks.build("conv2", (3, 11, 8), width=1.0 if by_errors else 0.1)
    images, labels = draw_images(network, 100, generator)
    densities, frozen = [1.0, 0.3, 0.02, 0.3], [False, True, False, False]
    parameters = draw_network(network, densities, frozen, torch.float32, generator)
    batches = torch.randint(0, 100, (2, 12, 60), generator=generator)
    stream = torch.tensor([0, 1, 1, 0])

    def train(replicas: list[int], threads: int, cut: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        chosen = [[part[replicas] for part in parts] for parts in parameters]
        step = start(network, chosen, 60)
        for part in (slice(0, cut), slice(cut, None)):
            step.advance(images, labels, batches[:, part], stream[replicas])
            step.correct(images[:30], labels[:30])
        return [part for parts in step.parameters() for part in parts]

    with turned() if by_errors else nullcontext():
        together = train([0, 1, 2, 3], threads=2, cut=6)
        for order, threads, cut in [([3, 2, 0, 1], 2, 1), ([0, 1, 2, 3], 1, 6), ([1], 2, 11)]:
            assert same_bits(train(order, threads, cut), [part[order] for part in together])


@settings(max_examples=25, deadline=None)
@given(
    channels=st.lists(st.sampled_from([1, 5, 13, 16]), max_size=4),
    wide=st.booleans(),
    shape=st.tuples(st.integers(1, 3), st.integers(4, 13), st.integers(4, 11)),
    batch=st.integers(1, 70),
    replicas=st.lists(
        st.tuples(st.sampled_from([0.0, 0.02, 0.3, 1.0]), st.booleans(), st.integers(0, 1)),
        min_size=2,
        max_size=4,
    ),
    cut=st.integers(1, 3),
    data=st.data(),
)
def test_bits_depend_on_no_neighbour_order_thread_or_division(
    channels, wide, shape, batch, replicas, cut, data
):
    """Any network, dense ones included; ``wide``: some replicas go back by their errors and others,
    of few weights, do not, in the same room."""
    draws = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    if wide:
        channels = [64, 3, *channels[:2]]
    network = Network("any", shape, tuple(channels), (7,))
    images, labels = draw_images(network, 70, draws)
    densities, frozen, streams = (list(x) for x in zip(*replicas, strict=True))
    parameters = draw_network(network, densities, frozen, torch.float32, draws)
    batches = torch.randint(0, 70, (2, 4, batch), generator=draws)
    order = data.draw(st.permutations(range(len(replicas))))
    order = order[: data.draw(st.integers(1, len(order)))]

    def train(chosen: list[int], threads: int, cut: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        try:
            step = start(network, [[part[chosen] for part in parts] for parts in parameters], batch)
            for part in (slice(0, cut), slice(cut, None)):
                stream = torch.tensor([streams[replica] for replica in chosen])
                step.advance(images, labels, batches[:, part], stream)
            return [part for parts in step.parameters() for part in parts]
        finally:
            torch.set_num_threads(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "TURNED_WORK", 0)
        together = train(list(range(len(replicas))), 1, 2)
        assert same_bits(train(order, 2, cut), [part[order] for part in together])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_units_of_a_whole_layer_share_changes_no_bit(generator, dtype):
    """14 channels: two sixes of them and four threes, and some left over of either."""
    network = Network("made up", (2, 6, 7), (14, 13), (9,), classes=10)
    parameters = draw_network(network, [1.0], [False], dtype, generator)
    images, labels = draw_images(network, 40, generator)
    batches, stream = torch.arange(40).view(1, 4, 10), torch.zeros(1, dtype=torch.int64)
    steps = [start(network, parameters, 10) for _ in range(2)]
    for step, shared in zip(steps, [True, False], strict=True):
        step.correct(images, labels)  # builds the lists
        assert step._nets[0].layers["whole"].all()
        step._nets[0].layers["whole"][:] = shared
        step.advance(images, labels, batches, stream)
    ours, theirs = (sum(step.parameters(), []) for step in steps)
    assert same_bits(ours, theirs)


@pytest.mark.parametrize("by_errors", [False, True])
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])
def test_a_diverged_replica_says_nan_and_disturbs_no_other(generator, poison, by_errors):
    """Nor by what it leaves in the room that the next one works in."""
    network = networks.build("conv4", (3, 11, 9), width=1.0 if by_errors else 0.1)
    images, labels = draw_images(network, 100, generator)
    parameters = draw_network(network, [1.0] * 3, [False] * 3, torch.float32, generator)
    batches = torch.randint(0, 100, (1, 6, 30), generator=generator)

    def train() -> list[Tensor]:
        step = start(network, parameters, 30)
        losses = step.advance(images, labels, batches, torch.tensor([0, 0, 0]))
        right = step.correct(images, labels)
        return [losses, right, *step.parameters()[0], *step.parameters()[1]]

    with turned() if by_errors else nullcontext():
        healthy = train()
        parameters[0][1][1] = poison
        diverged = train()
    assert diverged[0].isnan().tolist() == [False, True, False]
    assert same_bits([part[[0, 2]] for part in diverged], [part[[0, 2]] for part in healthy])


# --- on another processor ---------------------------------------------------------------------


def bits_of_a_training() -> str:
    """A hash of what training FC and Conv2 for some iterations leaves; Conv2 at two widths, of
    which the larger one goes back by its errors."""
    hashed = hashlib.sha256()
    for name, width in (("fc", 0.1), ("conv2", 0.1), ("conv2", 1.0)):
        draws = torch.Generator().manual_seed(3)
        network = networks.build(name, (1, 12, 9), width=width)
        images, labels = draw_images(network, 100, draws)
        parameters = draw_network(network, [1.0, 0.2], [False, True], torch.float32, draws)
        batches = torch.randint(0, 100, (1, 5, 60), generator=draws)
        with turned():
            step = start(network, parameters, 60)
            losses = step.advance(images, labels, batches, torch.tensor([0, 0]))
        assert turned_layers(step) == ([1] if width == 1 else [])
        for part in (losses, *step.parameters()[0], *step.parameters()[1]):
            hashed.update(part.numpy().tobytes())
    return hashed.hexdigest()


def test_narrower_vectors_give_the_same_bits():
    """Compiled for any x86-64 with FMA, without what AVX2 and AVX-512 add."""
    environment = os.environ | {
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": "+avx,+fma",
        "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
    }
    program = "import test_kernel_convolutions as t; print(t.bits_of_a_training())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert done.stdout.strip() == bits_of_a_training()


def test_what_was_compiled_goes_stale_with_any_file_of_the_package(tmp_path):
    folder = Path(intrinsics.__file__).parent
    for file in folder.glob("*.py"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = intrinsics.sources(tmp_path)
    assert before == intrinsics.sources()
    (tmp_path / "dense.py").write_text("changed")
    assert intrinsics.sources(tmp_path) != before

    @intrinsics.compiled
    def double(x):
        return 2 * x

    assert double._cache._cache_file._source_stamp == before  # numba's own, which it compares
    assert double(2) == 4
