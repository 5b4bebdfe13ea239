"""Masks: exact counts, nested, ties and missing numbers resolved as promised."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from dltlib import pruning
from dltlib.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

fractions = st.floats(0, 1, exclude_min=True)


@given(st.integers(1, 10**7), fractions)
def test_counts_are_the_rounded_share_and_never_none(total: int, keep: float) -> None:
    count = pruning.kept_count(total, keep)
    assert 1 <= count <= total
    assert count == 1 or abs(count - total * keep) <= 0.5


@given(st.integers(1, 10**7), fractions, fractions)
def test_counts_grow_with_the_share(total: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert pruning.kept_count(total, low) <= pruning.kept_count(total, high)
    assert pruning.kept_count(total, 1.0) == total


def test_24_rounds_are_rounded_once() -> None:
    count = 2_048
    for _ in range(24):
        count = round(count * 0.9)
    assert count == 164  # rounded in every round, the errors add up
    assert pruning.kept_count(2_048, 0.9**24) == round(2_048 * 0.9**24) == 163


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.0001, math.nan, math.inf])
def test_bad_shares_are_refused(keep: float) -> None:
    with pytest.raises(UserError, match=r"keep_fraction must lie in \(0, 1\]"):
        pruning.kept_count(100, keep)


# Few distinct values, so that ties are the rule; with all that is not an ordinary number.
score = st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, -1.0, 3e38, math.inf, math.nan])


@st.composite
def layers(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and living weights ``[replica, *shape]`` of any shape."""
    shape = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    size = math.prod(shape)
    scores = draw(st.lists(score, min_size=size, max_size=size))
    alive = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return torch.tensor(scores).reshape(shape), torch.tensor(alive).reshape(shape)


def best(scores: list[float], alive: list[bool], count: int) -> list[bool]:
    """The definition, one replica: living weights by falling score, then by position."""
    living = [index for index, lives in enumerate(alive) if lives]
    ranked = sorted(
        living,
        key=lambda index: (
            math.isnan(scores[index]),
            -scores[index] if scores[index] == scores[index] else 0,
            index,
        ),
    )
    return [index in ranked[:count] for index in range(len(scores))]


@given(layers(), st.integers(1, 300))
def test_the_best_living_weights_stay(case: tuple[torch.Tensor, torch.Tensor], count: int) -> None:
    scores, alive = case
    before = scores.clone(), alive.clone()
    mask = pruning.prune(scores, alive, count)
    assert mask.shape == alive.shape
    assert mask.dtype == torch.bool
    assert not (mask & ~alive).any()  # nested
    for own, living, values in zip(mask, alive, scores, strict=True):
        assert own.sum() == min(count, living.sum())
        expected = best(values.flatten().tolist(), living.flatten().tolist(), count)
        assert own.flatten().tolist() == expected
    torch.testing.assert_close(scores, before[0], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(alive, before[1])


@given(layers(), st.lists(st.floats(0.3, 1), min_size=1, max_size=8), st.data())
def test_masks_are_nested_round_after_round_with_exact_counts(
    case: tuple[torch.Tensor, torch.Tensor], keeps: list[float], data: st.DataObject
) -> None:
    scores, _ = case
    mask, share = torch.ones_like(scores, dtype=torch.bool), 1.0
    for keep in keeps:
        share *= keep
        count = pruning.kept_count(scores[0].numel(), share)
        order = data.draw(st.permutations(range(scores[0].numel())))
        smaller = pruning.prune(scores.flatten(1)[:, order].reshape(scores.shape), mask, count)
        assert not (smaller & ~mask).any()
        assert (smaller.flatten(1).sum(1) == count).all()
        mask = smaller


@given(layers(), st.integers(1, 300))
def test_a_replica_is_pruned_alone_as_among_others(
    case: tuple[torch.Tensor, torch.Tensor], count: int
) -> None:
    scores, alive = case
    together = pruning.prune(scores, alive, count)
    for index in range(len(scores)):
        own = slice(index, index + 1)
        assert torch.equal(together[own], pruning.prune(scores[own], alive[own], count))
