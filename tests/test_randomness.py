"""Named draws: decided by their names, and as random as they are meant to be."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from scipy import stats

from dltlib import randomness

pytestmark = pytest.mark.usefixtures("one_thread")
names = st.lists(
    st.one_of(st.integers(), st.sampled_from(["weights", "order", "mask"])), max_size=4
)


@given(names, names, st.integers(1, 64))
def test_names_alone_decide(one: list, other: list, bits: int) -> None:
    number = randomness.name_to_integer(*one, bits=bits)
    assert number == randomness.name_to_integer(*one, bits=bits)
    assert 0 <= number < 2**bits
    if list(map(str, one)) != list(map(str, other)):
        assert randomness.name_to_integer(*one) != randomness.name_to_integer(*other)


def test_draws_are_what_they_were() -> None:
    """In every process and on every machine. Whoever changes them has to remake the records."""
    assert randomness.name_to_integer(0, "data order", 1) == 5_109_241_985_338_895_872
    keys = randomness.stream((3,), 0, "mask", "dense1")
    assert keys.tolist() == [-147_651_145, 156_207_879, -1_086_953_156]
    keys = torch.tensor([1, -2, 3], dtype=torch.int32)
    draws = randomness.uniform_at(keys, torch.tensor(5))
    assert (draws * 2**24).tolist() == [14_186_248, 3_535_764, 16_503_952]


def test_keys_are_distinct_within_a_stream_and_streams_are_distinct() -> None:
    keys = randomness.stream((300, 784), 0, "mask", "dense1")
    assert keys.shape == (300, 784)
    assert keys.dtype == torch.int32
    assert len(keys.unique()) == keys.numel()
    other = randomness.stream((300, 784), 1, "mask", "dense1")
    assert (keys == other).sum() == 0


# --- the counter-based uniform draws ----------------------------------------------------------

COUNT, STEPS = 10_000, 24


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    """Draws ``[step, key]``: consecutive steps, some of them negative, and neighbouring keys."""
    keys = randomness.stream((COUNT,), 3, "mask", "dense1")
    steps = torch.arange(-10, STEPS - 10, dtype=torch.int32)
    return randomness.uniform_at(keys, steps[:, None]).double().numpy()


def test_draws_lie_in_the_half_open_interval(field: np.ndarray) -> None:
    assert field.min() >= 0
    assert field.max() < 1
    assert len(np.unique(field)) > 0.97 * field.size  # 24 bits: few coincidences


def test_draws_of_a_step_are_uniform_over_keys(field: np.ndarray) -> None:
    smallest = min(stats.kstest(row, "uniform").pvalue for row in field)
    assert smallest > 0.001 / STEPS
    assert stats.kstest(field.ravel(), "uniform").pvalue > 1e-3


def test_draws_of_a_key_are_uniform_over_steps() -> None:
    keys = randomness.stream((20,), 3, "mask", "dense1")
    draws = randomness.uniform_at(keys, torch.arange(5_000)[:, None]).double().numpy()
    assert min(stats.kstest(column, "uniform").pvalue for column in draws.T) > 0.001 / 20


def correlation(left: np.ndarray, right: np.ndarray) -> float:
    return abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) * math.sqrt(left.size)


def test_steps_and_neighbouring_keys_are_uncorrelated(field: np.ndarray) -> None:
    """In units of the deviation that independent draws would have: none beyond five."""
    for lag in (1, 2, 3, 8, 16):
        assert correlation(field[lag:], field[:-lag]) < 5
        assert correlation(field[:, lag:], field[:, :-lag]) < 5
        assert correlation(field[lag:, lag:], field[:-lag, :-lag]) < 5
    # Each pair of steps by itself, and whether they fall on the same side of a half together.
    for first in range(STEPS):
        for second in range(first):
            assert correlation(field[first], field[second]) < 5.5
    halves = field < 0.5
    agree = (halves[1:] == halves[:-1]).mean()
    assert abs(agree - 0.5) * 2 * math.sqrt(halves[1:].size) < 5


def test_successive_draws_fill_the_square(field: np.ndarray) -> None:
    """Chi-squared over 16 x 16 cells, for pairs along steps and along keys."""
    for left, right in ((field[:-1], field[1:]), (field[:, :-1], field[:, 1:])):
        cells = np.histogram2d(left.ravel(), right.ravel(), bins=16, range=[[0, 1]] * 2)[0]
        assert stats.chisquare(cells.ravel()).pvalue > 1e-3


def test_every_output_bit_answers_to_every_bit_of_key_and_step() -> None:
    """Avalanche: one flipped input bit flips each of the 24 output bits about half of the time."""
    keys = randomness.stream((4_000,), 0, "avalanche")
    base = (randomness.uniform_at(keys, torch.tensor(77)) * 2**24).to(torch.int64)
    for bit in range(31):
        flipped = [
            randomness.uniform_at(keys ^ (1 << bit), torch.tensor(77)),
            randomness.uniform_at(keys, torch.tensor(77 ^ (1 << bit))),
        ]
        for draws in flipped:
            changed = base ^ (draws * 2**24).to(torch.int64)
            for place in range(24):
                share = ((changed >> place) & 1).double().mean().item()
                assert abs(share - 0.5) < 0.06


def test_a_draw_depends_on_its_own_key_alone() -> None:
    keys = randomness.stream((1_000,), 0, "mask")
    step = torch.tensor(9, dtype=torch.int32)
    together = randomness.uniform_at(keys, step)
    order = torch.randperm(1_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(together[order], randomness.uniform_at(keys[order], step))
    assert torch.equal(together[17:18], randomness.uniform_at(keys[17:18], step))
