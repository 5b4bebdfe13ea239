"""Learned masks in compiled passes: against torch's operations, and bit for bit by themselves."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from torch import Tensor, nn

from dltlib import networks, parallel, randomness, training
from dltlib.datasets import Dataset, Split
from dltlib.kernel import masks
from dltlib.networks import Network
from dltlib.supermasks import Learner
from dltlib.training import Settings

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = [
    (source, values, scaling)
    for source in ("learned", "learned_identity")
    for values in ("initial", "constant")
    for scaling in ("plain", "rescaled")
]
# A mask's probability may be this much off, in units of its last place, and torch's as well.
ULPS = 3


def learner(
    name: str,
    kinds: Sequence[tuple[str, str, str]],
    seeds: Sequence[int] | None = None,
    shape: tuple[int, int, int] = (1, 8, 8),
    width: float = 0.1,
) -> Learner:
    network = networks.build(name, shape, width)
    own = Learner.of_variants(network, kinds, seeds or range(len(kinds)))
    # Sums of signed constants times whole pixels cancel to zero, or tie in a max pool, and which
    # side they come down on is a matter of rounding: so the first layer is made uneven.
    count = own.values[0][0].numel()
    own.values[0] *= torch.linspace(0.9, 1.1, count).view(own.values[0].shape[1:])
    return own


def state(own: Learner, replica: int) -> list[Tensor]:
    return [part[replica].clone() for part in (*own.scores, *own.momentum)]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


# --- drawing ----------------------------------------------------------------------------------


@njit
def _over(scores: np.ndarray, result: np.ndarray) -> None:
    for i in range(scores.size):
        result[i] = masks._sigmoid(scores[i])


def sigmoid(scores: np.ndarray) -> np.ndarray:
    result = np.empty_like(scores)
    _over(scores, result)
    return result


def test_sigmoid_is_as_exact_as_torchs() -> None:
    scores = np.linspace(-87, 87, 1_000_003, dtype=np.float32)
    exact = 1 / (1 + np.exp(-scores.astype(np.float64)))
    ulp = np.spacing(exact.astype(np.float32))
    ours, torchs = sigmoid(scores), torch.from_numpy(scores).sigmoid().numpy()
    assert np.max(np.abs(ours - exact) / ulp) < 2.5
    assert np.max(np.abs(ours - torchs) / ulp) <= ULPS
    near = np.abs(scores) < 8
    assert np.mean(ours[near] == torchs[near]) > 0.98
    odd = np.array([np.nan, np.inf, 1e30, 0, -0.0, -1e30, -np.inf], np.float32)
    assert sigmoid(odd)[1:5].tolist() == [1, 1, 0.5, 0.5]
    assert np.isnan(sigmoid(odd)[0])
    assert (sigmoid(odd)[5:] < 1e-38).all()


@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple),
    spread=st.sampled_from([0.0, 1.0, 5.0, 40.0]),
    seed=st.integers(0, 2**31 - 1),
    step=st.integers(-10, 2**31 - 1),
)
def test_masks_are_the_named_draws(
    shape: tuple[int, ...], spread: float, seed: int, step: int
) -> None:
    keys = randomness.stream(shape, seed, "mask")
    scores = spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    draws = randomness.uniform_at(keys, torch.tensor(step, dtype=torch.int32))
    chance = scores.sigmoid()
    mask = masks.draw(keys, scores, step)
    decided = (draws - chance).abs() > ULPS * torch.from_numpy(np.spacing(chance.numpy()))
    assert torch.equal(mask[decided], (draws < chance)[decided])
    if spread == 0:  # one half, to the bit
        assert torch.equal(mask, draws < 0.5)


# --- an update --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fc", "conv2"])
@pytest.mark.parametrize("kind", KINDS, ids="/".join)
def test_updates_are_those_of_autograd_and_sgd(name: str, kind: tuple[str, str, str]) -> None:
    """Weights, momentum and scores of one replica of every kind, step for step."""
    data = reference.dataset(train=130)
    own = learner(name, [kind], seeds=[3])
    plain = reference.MaskedModule(own, 0)
    rate = 10.0
    optimizer = torch.optim.SGD(plain.parameters(), lr=rate, momentum=0.9)
    order = training.data_order(3, 0, 130)[:125].view(5, 25)
    own.learn(data, Settings(epochs=1, learning_rate=rate, batch_size=25), 0)
    for step, batch in enumerate(order):
        images, labels = data.train.images[batch].float() / 255, data.train.labels[batch]
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(images, step), labels).backward()
        optimizer.step()
    for index, score in enumerate(plain.scores):
        speed = optimizer.state[score]["momentum_buffer"]
        assert speed.abs().max() > 1e-5
        scale = speed.abs().max().item()
        torch.testing.assert_close(own.momentum[index][0], speed, rtol=1e-4, atol=1e-4 * scale)
        torch.testing.assert_close(
            own.scores[index][0], score.detach(), rtol=1e-4, atol=1e-4 * rate * scale
        )


@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_a_gpus_operations_do_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU captures, run on a CPU; it is captured once, and anew for another purpose."""
    data, captured = reference.dataset(train=130), []
    ours, theirs = learner(name, KINDS), learner(name, KINDS)
    monkeypatch.setattr(theirs, "_advance_one_by_one", theirs._advance_together)
    repeatable = parallel.repeatable

    def counted(*arguments: object, **options: object) -> object:
        captured.append(arguments)
        return repeatable(*arguments, **options)

    monkeypatch.setattr(parallel, "repeatable", counted)
    rule = Settings(epochs=4, learning_rate=10.0, batch_size=40)
    losses = [own.learn(data, rule, 0) for own in (ours, theirs)]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=0)
    for one, other in zip(ours.scores, theirs.scores, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * one.abs().max().item())
    theirs.learn(data, rule, 1)
    assert len(captured) == 1
    rule = Settings(epochs=4, learning_rate=5.0, batch_size=40)
    theirs.learn(data, rule, 2)
    assert len(captured) == 2
    theirs.scores = [score.clone() for score in theirs.scores]
    theirs.learn(data, rule, 3)
    assert len(captured) == 3
    theirs.learn(reference.dataset(train=130, seed=1), rule, 3)
    assert len(captured) == 4


def test_dark_pixels_count_in_the_mask_and_keep_moving() -> None:
    """Images with one pixel lit, another one in each batch, and with none."""
    network = Network("small", (1, 3, 5), (), (20,))
    own = Learner.of_variants(network, [("learned", "initial", "rescaled")], [1])
    images = torch.zeros(12, 1, 3, 5, dtype=torch.uint8)
    order = training.data_order(1, 0, 12)
    images[order[:4], 0, 1, 2] = torch.tensor([9, 0, 255, 100], dtype=torch.uint8)
    images[order[4:8], 0, 2, 4] = 200
    data = Dataset("dark", *[Split(images, torch.arange(12) % 10)] * 3)
    plain = reference.MaskedModule(own, 0)
    optimizer = torch.optim.SGD(plain.parameters(), lr=5.0, momentum=0.9)
    for step, batch in enumerate(order.view(3, 4)):
        optimizer.zero_grad()
        logits = plain(images[batch].float() / 255, step)
        nn.functional.cross_entropy(logits, data.train.labels[batch]).backward()
        optimizer.step()
    own.learn(data, Settings(epochs=1, learning_rate=5.0, batch_size=4), 0)
    for ours, theirs in zip(own.scores, plain.scores, strict=True):
        torch.testing.assert_close(ours[0], theirs.detach(), rtol=1e-4, atol=1e-6)
    moved = own.scores[0][0].abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == [7, 14]


@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_an_empty_mask_is_not_rescaled(name: str) -> None:
    data = reference.dataset(train=50)
    rule = Settings(epochs=1, learning_rate=10.0, batch_size=25)
    own = learner(name, [("learned", "initial", "rescaled")])
    own.scores[1].fill_(-80)  # one layer empty: the others sample and learn nothing
    before = state(own, 0)
    assert own.learn(data, rule, 0).item() == pytest.approx(np.log(10), rel=1e-6)
    assert same(state(own, 0)[:1], before[:1])
    assert all(part.isfinite().all() for part in state(own, 0))


@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_what_is_not_a_number_stays_with_its_replica(name: str) -> None:
    data = reference.dataset(train=100)
    rule = Settings(epochs=1, learning_rate=10.0, batch_size=25)
    kinds = [KINDS[1], KINDS[1], KINDS[6]]
    together = learner(name, kinds)
    together.scores[-1][0, 0, 0] = torch.nan
    together.values[-1][2].fill_(torch.inf)
    losses = together.learn(data, rule, 0)
    assert not together.sample(3)[-1][0, 0, 0], "such a weight is not drawn"
    assert losses[:2].isfinite().all()
    assert losses[2].isnan()
    alone = learner(name, kinds[1:2], seeds=[1])
    assert alone.learn(data, rule, 0)[0] == losses[1]
    assert same(state(alone, 0), state(together, 1))


def test_labels_out_of_range_are_refused() -> None:
    data = reference.dataset(train=50)
    data.train.labels[7] = 10
    with pytest.raises(ValueError, match="between 0 and 9"):
        learner("fc", KINDS[:1]).learn(data, Settings(1, 1.0, batch_size=25), 0)


# --- bit for bit ------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    hidden=st.lists(st.integers(1, 21), min_size=0, max_size=2).map(tuple),
    channels=st.sampled_from([(), (), (2, 3)]),
    side=st.integers(2, 9),
    replicas=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2)), min_size=2, max_size=4),
    batch=st.integers(1, 40),
    threads=st.integers(1, 3),
    stop=st.integers(1, 2),
)
def test_bits_depend_on_neither_neighbours_nor_threads_nor_a_stop(
    hidden: tuple[int, ...],
    channels: tuple[int, ...],
    side: int,
    replicas: list[tuple[tuple[str, str, str], int]],
    batch: int,
    threads: int,
    stop: int,
) -> None:
    network = Network("any", (1, side, side), channels, hidden)
    data = reference.dataset((1, side, side), train=90)
    data.train.images[data.train.images < 100] = 0
    rule = Settings(epochs=3, learning_rate=8.0, batch_size=batch)
    kinds, seeds = zip(*replicas, strict=True)
    together = Learner.of_variants(network, kinds, seeds)
    torch.set_num_threads(threads)
    losses = [together.learn(data, rule, epoch) for epoch in range(3)]
    torch.set_num_threads(1)
    for index, (kind, seed) in enumerate(replicas):
        alone = Learner.of_variants(network, [kind], [seed])
        for epoch in range(3):
            if epoch == stop:
                resumed = Learner.of_variants(network, [kind], [seed])
                resumed.scores = [part.clone() for part in alone.scores]
                resumed.momentum = [part.clone() for part in alone.momentum]
                resumed.step = alone.step
                alone = resumed
            assert alone.learn(data, rule, epoch)[0] == losses[epoch][index]
        assert same(state(alone, 0), state(together, index))


def digest() -> str:
    """Of what the passes leave of made-up numbers; run in this process and in others."""
    generator = np.random.default_rng(0)
    rows, columns, batch = 37, 29, 23

    def numbers(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    keys = generator.integers(0, 2**32, rows * columns, dtype=np.uint32)
    scores, values, momentum = (5 * numbers(rows * columns) for _ in range(3))
    weights, gradients, slopes = numbers(rows, columns), numbers(rows, columns), 0 * scores
    images = generator.integers(0, 256, (50, rows), dtype=np.uint8)
    images[:, 5:9] = 0
    staged, errors = numbers(batch * rows), numbers(batch, 10)
    members = generator.integers(0, 50, batch)
    labels = generator.integers(0, 10, 50)
    runs, _ = masks._stage(images, members, masks.BRIGHTNESS, staged)
    layer = masks._Flat(keys, values, scores, momentum, slopes)
    rule = masks.Rule(rescaled=True, identity=False, momentum=0.9, rate=3.0)
    factor = masks._sample(layer, rule, np.uint32(7), runs, weights)
    masks._update(layer, rule, gradients, factor, runs)
    masks._cross_entropy(9 * numbers(batch, 10), labels, members, errors)
    found = hashlib.sha256()
    for part in (scores, momentum, slopes, weights, staged, errors):
        found.update(part.tobytes())
    return found.hexdigest()


def test_bits_do_not_depend_on_the_width_of_vectors() -> None:
    """A process that may use only what every processor of the kind has (on x86-64, SSE2)."""
    program = "import test_kernel_masks; print(test_kernel_masks.digest())"
    environment = os.environ | {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == digest(), done.stderr
