"""The kernel against a plain `nn.Module` loop, and replicas against themselves in other company."""

import hashlib
import pickle
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dltlib.errors import UserError
from dltlib.kernel import KernelStep, intrinsics, lists
from dltlib.kernel import step as step_module

RATE = 1.2e-3


def draw_images(
    count: int, pixels: int, generator: torch.Generator, classes: int = 10
) -> tuple[Tensor, Tensor]:
    """Images in which some pixels are lit often, some seldom and some never."""
    chance = torch.rand(pixels, generator=generator) ** 3
    chance[::7] = 0
    lit = torch.rand(count, pixels, generator=generator) < chance
    values = torch.randint(1, 256, (count, pixels), generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return (values * lit).to(torch.uint8), labels


def draw_networks(
    sizes: list[int],
    densities: list[float],
    frozen: list[bool],
    dtype: torch.dtype,
    generator: torch.Generator,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """One replica for each density; weights outside the mask are 0 unless ``frozen`` keeps them."""
    weights, biases, masks = [], [], []
    density = torch.tensor(densities)[:, None, None]
    keep = torch.tensor(frozen)[:, None, None]
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        weight = torch.randn(len(densities), inputs, outputs, generator=generator)
        weight *= (2 / (inputs + outputs)) ** 0.5
        mask = torch.rand(weight.shape, generator=generator) < density
        weights.append((weight * (mask | keep)).to(dtype))
        biases.append((0.1 * torch.randn(len(densities), outputs, generator=generator)).to(dtype))
        masks.append(mask)
    return weights, biases, masks


def plain_loop(
    weights: list[Tensor],
    biases: list[Tensor],
    masks: list[Tensor],
    images: Tensor,
    labels: Tensor,
    batches: Tensor,
) -> tuple[list[Tensor], list[Tensor], list[float]]:
    """What a user would write, for one network. The mask is applied to the gradient."""
    linears = []
    for weight, bias in zip(weights, biases, strict=True):
        linear = nn.Linear(*weight.shape, dtype=weight.dtype)
        linear.weight.data, linear.bias.data = weight.T.clone(), bias.clone()
        linears.append(linear)
    modules = [module for linear in linears for module in (linear, nn.ReLU())][:-1]
    network = nn.Sequential(*modules)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images[batch].to(weight.dtype) / 255), labels[batch])
        loss.backward()
        for linear, mask in zip(linears, masks, strict=True):
            linear.weight.grad *= mask.T
        optimizer.step()
        losses.append(loss.item())
    return (
        [linear.weight.detach().T for linear in linears],
        [linear.bias.detach() for linear in linears],
        losses,
    )


def largest_difference(ours: list[Tensor], theirs: list[Tensor], replica: int) -> float:
    """Relative to the largest parameter of each layer."""
    return max(
        ((mine[replica] - yours).abs().max() / yours.abs().max().clamp(min=1e-3)).item()
        for mine, yours in zip(ours, theirs, strict=True)
    )


def same_bits(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(
        np.array_equal(mine.contiguous().numpy().view(np.uint8), yours.numpy().view(np.uint8))
        for mine, yours in zip(ours, [x.contiguous() for x in theirs], strict=True)
    )


@pytest.fixture(autouse=True)
def one_thread():
    """Networks as small as these are no faster on more, and torch's threads spin when waiting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_float64_ends_where_the_plain_loop_ends(generator):
    images, labels = draw_images(400, 230, generator)
    networks = draw_networks(
        [230, 40, 30, 10],
        [1.0, 0.3, 0.05],
        [False, True, False],
        torch.float64,
        generator,
    )
    batches = torch.randint(0, 400, (2, 200, 60), generator=generator)
    stream = torch.tensor([0, 1, 1])
    step = KernelStep(*networks, learning_rate=RATE, batch_size=60)
    losses = step.advance(images, labels, batches, stream)
    weights, biases = step.parameters()
    for replica in range(3):
        alone = [[part[replica] for part in parts] for parts in networks]
        expected = plain_loop(*alone, images, labels, batches[stream[replica]])
        assert largest_difference(weights, expected[0], replica) < 1e-9
        assert largest_difference(biases, expected[1], replica) < 1e-9
        assert losses[replica].item() == pytest.approx(np.mean(expected[2]), rel=1e-9)


def test_float32_has_the_loss_curve_of_the_plain_loop(generator):
    images, labels = draw_images(300, 64, generator)
    networks = draw_networks([64, 50, 10], [1.0, 0.2], [False, True], torch.float32, generator)
    batches = torch.randint(0, 300, (1, 100, 60), generator=generator)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=60)
    stream = torch.tensor([0, 0])
    curve = torch.stack(
        [step.advance(images, labels, batches[:, i : i + 1], stream) for i in range(100)]
    )
    for replica in range(2):
        alone = [[part[replica] for part in parts] for parts in networks]
        expected = torch.tensor(plain_loop(*alone, images, labels, batches[0])[2])
        assert (curve[:, replica] - expected).abs().max() < 1e-4
        assert expected[-10:].mean() < expected[:10].mean() - 0.01  # there was something to follow


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=0, max_size=3),
    pixels=st.integers(1, 240),
    classes=st.integers(1, 12),
    batch=st.one_of(st.just(1), st.integers(1, 150)),
    replicas=st.lists(
        st.tuples(st.sampled_from([0.0, 0.02, 0.3, 1.0]), st.booleans()), min_size=1, max_size=3
    ),
    double=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_mask_trains_as_the_plain_loop_does(
    sizes, pixels, classes, batch, replicas, double, seed
):
    generator = torch.Generator().manual_seed(seed)
    images, labels = draw_images(70, pixels, generator, classes)
    densities, frozen = (list(x) for x in zip(*replicas, strict=True))
    dtype = torch.float64 if double else torch.float32
    networks = draw_networks([pixels, *sizes, classes], densities, frozen, dtype, generator)
    batches = torch.randint(0, 70, (1, 6, batch), generator=generator)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=batch)
    losses = step.advance(images, labels, batches, torch.zeros(len(replicas), dtype=torch.int64))
    weights, biases = step.parameters()
    # A gradient that is nearly nothing has a sign that rounding decides, and Adam makes a whole
    # step of it: in float32 only the losses can be held against one another.
    for replica in range(len(replicas)):
        alone = [[part[replica] for part in parts] for parts in networks]
        expected = plain_loop(*alone, images, labels, batches[0])
        tolerance = 1e-7 if double else 1e-4
        assert losses[replica].item() == pytest.approx(np.mean(expected[2]), abs=tolerance)
        if double:
            assert largest_difference(weights, expected[0], replica) < 1e-6
            assert largest_difference(biases, expected[1], replica) < 1e-6
    for weight, given_weight, mask in zip(weights, networks[0], networks[2], strict=True):
        assert same_bits([weight[~mask]], [given_weight[~mask]])


def test_momentum_moves_a_weight_whose_pixel_has_gone_dark(generator):
    images, labels = draw_images(100, 40, generator)
    images[:, 3] = 0
    images[:20, 3] = 255
    networks = draw_networks([40, 10], [1.0], [False], torch.float64, generator)
    lit = torch.randint(0, 20, (1, 4, 60), generator=generator)
    dark = torch.randint(20, 100, (1, 20, 60), generator=generator)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=60)
    stream = torch.tensor([0])
    step.advance(images, labels, lit, stream)
    before = step.parameters()[0][0][0, 3]
    step.advance(images, labels, dark, stream)
    after = step.parameters()[0][0][0, 3]
    assert (after - before).abs().min() > 1e-4
    alone = [[part[0] for part in parts] for parts in networks]
    expected = plain_loop(*alone, images, labels, torch.cat([lit, dark], 1)[0])
    assert (after - expected[0][0][3]).abs().max() < 1e-12


def test_a_replica_gets_the_same_bits_in_any_company(generator):
    images, labels = draw_images(300, 230, generator)
    densities = [1.0, 0.3, 0.02, 0.3, 0.1]
    frozen = [False, True, False, False, True]
    networks = draw_networks([230, 40, 10], densities, frozen, torch.float32, generator)
    batches = torch.randint(0, 300, (2, 30, 60), generator=generator)
    stream = torch.tensor([0, 1, 1, 0, 1])

    def train(replicas: list[int], threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        chosen = [[part[replicas] for part in parts] for parts in networks]
        step = KernelStep(*chosen, learning_rate=RATE, batch_size=60)
        losses = step.advance(images, labels, batches, stream[replicas])
        right = step.correct(images, labels)
        return [losses, right, *step.parameters()[0], *step.parameters()[1]]

    together = train([0, 1, 2, 3, 4], threads=2)
    for order, threads in [([4, 2, 0, 3, 1], 2), ([0, 1, 2, 3, 4], 1), ([1], 2), ([2], 1)]:
        expected = [part[order] for part in together]
        assert same_bits(train(order, threads), expected)
    assert not same_bits([together[2][1]], [together[2][3]])  # replicas do differ


def test_the_same_bits_however_the_iterations_are_cut(generator, monkeypatch):
    images, labels = draw_images(200, 64, generator)
    networks = draw_networks([64, 30, 10], [0.5, 0.1], [False, True], torch.float32, generator)
    batches = torch.randint(0, 200, (2, 40, 60), generator=generator)
    stream = torch.tensor([1, 0])

    def train(cuts: list[int]) -> list[Tensor]:
        step = KernelStep(*networks, learning_rate=RATE, batch_size=60)
        for first, last in zip([0, *cuts], [*cuts, 40], strict=True):
            step.advance(images, labels, batches[:, first:last], stream)
        return [part for parts in step.parameters() for part in parts]

    whole = train([])
    assert same_bits(train([1, 20, 33]), whole)
    monkeypatch.setattr(step_module, "STAGE_BYTES", 3 * 2 * 64 * 64)  # three iterations at a time
    assert same_bits(train([]), whole)


def test_a_state_goes_on_however_the_weights_are_laid_out(generator, monkeypatch):
    images, labels = draw_images(200, 300, generator)
    networks = draw_networks(
        [300, 30, 10], [0.9, 0.1, 0.5], [False, True, True], torch.float32, generator
    )
    batches = torch.randint(0, 200, (1, 20, 60), generator=generator)
    stream = torch.zeros(3, dtype=torch.int64)

    def begun() -> KernelStep:
        return KernelStep(*networks, learning_rate=RATE, batch_size=60)

    whole, half, resumed = begun(), begun(), begun()
    whole.advance(images, labels, batches, stream)
    half.advance(images, labels, batches[:, :10], stream)
    half.keep_best(torch.tensor([True, False, True]))
    state = half.state()
    monkeypatch.setattr(lists, "CACHED_ROWS", 7)  # blocks of few rows: another order of the lists
    resumed.load(state, images)
    assert any(
        not np.array_equal(*both) for both in zip(half._numbers, resumed._numbers, strict=True)
    )
    resumed.advance(images, labels, batches[:, 10:], stream)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        for part, again in zip(one, other, strict=True):
            torch.testing.assert_close(part, again, rtol=1e-3, atol=1e-5)
    for step in (half, resumed):
        step.restore_best()
    for one, other in zip(half.parameters(), resumed.parameters(), strict=True):
        assert same_bits(one, other)


def test_a_state_of_another_version_is_refused(generator):
    images, _ = draw_images(100, 50, generator)
    networks = draw_networks([50, 10], [0.5], [False], torch.float32, generator)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=60)
    state = step.state()
    for older in ({"version": torch.tensor(1)}, {}):
        with pytest.raises(UserError, match="in the middle of a round by another version"):
            step.load({name: state[name] for name in state if name != "version"} | older, images)


def test_frozen_weights_keep_every_bit(generator):
    images, labels = draw_images(100, 50, generator)
    networks = draw_networks([50, 20, 10], [0.3], [True], torch.float32, generator)
    weights, _, masks = networks
    weights[0][0, 0, 0], masks[0][0, 0, 0] = -0.0, False
    weights[0][0, 1, 0], masks[0][0, 1, 0] = 1e-42, False
    batches = torch.randint(0, 100, (1, 20, 60), generator=generator)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=60)
    step.advance(images, labels, batches, torch.tensor([0]))
    for after, before, mask in zip(step.parameters()[0], weights, masks, strict=True):
        assert same_bits([after[~mask]], [before[~mask]])
        assert (after[mask] != before[mask]).float().mean() > 0.5


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])
def test_a_diverged_replica_says_nan_and_disturbs_no_other(generator, poison):
    images, labels = draw_images(200, 30, generator)
    networks = draw_networks([30, 20, 10], [1.0] * 3, [False] * 3, torch.float32, generator)
    batches = torch.randint(0, 200, (1, 10, 60), generator=generator)
    stream = torch.tensor([0, 0, 0])

    def train() -> list[Tensor]:
        step = KernelStep(*networks, learning_rate=RATE, batch_size=60)
        losses = step.advance(images, labels, batches, stream)
        step.correct(images, labels)
        return [losses, *step.parameters()[0], *step.parameters()[1]]

    healthy = train()
    networks[0][0][1] = poison
    diverged = train()
    assert diverged[0].isnan().tolist() == [False, True, False]
    others = [0, 2]
    assert same_bits([part[others] for part in diverged], [part[others] for part in healthy])


@pytest.mark.parametrize("count", [1, 64, 65, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_correct_counts_right_answers(generator, monkeypatch, count, dtype):
    monkeypatch.setattr(step_module, "STAGE_BYTES", 2 * 64 * 40)  # several rounds of staging
    images, labels = draw_images(count, 40, generator)
    networks = draw_networks([40, 20, 10], [1.0, 0.3], [False, True], dtype, generator)
    weights, biases, _ = networks
    hidden = F.relu(
        torch.baddbmm(
            biases[0][:, None], (images / 255).to(dtype)[None].expand(2, -1, -1), weights[0]
        )
    )
    answers = torch.baddbmm(biases[1][:, None], hidden, weights[1]).argmax(-1)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=7)
    assert step.correct(images, labels).tolist() == (answers == labels).sum(-1).tolist()


def test_best_parameters_are_kept_replica_by_replica(generator):
    images, labels = draw_images(100, 30, generator)
    networks = draw_networks([30, 10], [1.0, 0.5], [False, False], torch.float32, generator)
    batches = torch.randint(0, 100, (1, 5, 60), generator=generator)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=60)
    stream = torch.tensor([0, 0])
    step.advance(images, labels, batches, stream)
    first = step.parameters()[0][0]
    step.keep_best(torch.tensor([True, True]))
    step.advance(images, labels, batches, stream)
    second = step.parameters()[0][0]
    step.keep_best(torch.tensor([False, True]))
    step.advance(images, labels, batches, stream)
    best = torch.stack([first[0], second[1]])
    assert not same_bits([step.parameters()[0][0]], [best])
    step.restore_best()
    assert same_bits([step.parameters()[0][0]], [best])


def test_what_the_kernel_would_not_notice_is_refused(generator):
    images, labels = draw_images(100, 30, generator)
    networks = draw_networks([30, 10], [1.0], [False], torch.float32, generator)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=4)
    stream = torch.tensor([0])
    for wrong in (-1, 100):
        with pytest.raises(ValueError, match="index 100 images"):
            step.advance(images, labels, torch.full((1, 1, 4), wrong), stream)
    batches = torch.zeros((1, 1, 4), dtype=torch.int64)
    with pytest.raises(ValueError, match="between 0 and 9"):
        step.advance(images, labels + 5, batches, stream)
    with pytest.raises(ValueError, match="30 pixels"):
        step.advance(images[:, :20], labels, batches, stream)
    with pytest.raises(ValueError, match="uint8"):
        step.correct(images.float(), labels)
    with pytest.raises(ValueError, match="4 images"):
        step.advance(images, labels, batches[..., :3], stream)


def test_compiles_without_a_cache_where_none_can_be_written(monkeypatch):
    def refuse(*, cache: bool = False, **options: object):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(intrinsics, "njit", refuse)
    assert intrinsics.compiled(max) is max


def test_fully_connected_bits_stay_what_they_were(generator):
    """Committed records of FC come from these: what changes them makes all of them be run anew."""
    images, labels = draw_images(300, 230, generator)
    networks = draw_networks([230, 40, 30, 10], [1.0, 0.1], [False, True], torch.float32, generator)
    batches = torch.randint(0, 300, (2, 30, 100), generator=generator)
    step = KernelStep(*networks, learning_rate=RATE, batch_size=100)
    step.advance(images, labels, batches, torch.tensor([0, 1]))
    parameters = [part.numpy().tobytes() for parts in step.parameters() for part in parts]
    digest = hashlib.sha256(b"".join(parameters)).hexdigest()
    assert digest[:16] == "51e00e0a01130c08"


def test_what_an_older_version_compiled_is_no_obstacle() -> None:
    """Its index may name types that are gone, and then cannot be read."""

    def twice(number: int) -> int:
        return 2 * number

    index = Path(intrinsics.compiled(twice)._cache._cache_file._index_path)
    version = pickle.dumps(numba.__version__)
    index.write_bytes(version + b"cdltlib.kernel.layout\nGone\n.")
    assert intrinsics.compiled(twice)(21) == 42
