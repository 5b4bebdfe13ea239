"""Each criterion against an example worked by hand; the joint ones against a search for alpha."""

import dataclasses
import math

import hypothesis.strategies as st
import pytest
import reference
import torch
from hypothesis import given
from torch import Tensor, nn

from dltlib import catalogue, criteria, networks, pruning, training
from dltlib.criteria import CRITERIA
from dltlib.errors import UserError
from dltlib.history import History
from dltlib.randomness import generator

pytestmark = pytest.mark.usefixtures("one_thread")

# One layer of five weights. Training grew the first, shrank the second, flipped the third,
# doubled the fourth and halved the fifth.
INITIAL = [1.0, -2.0, 3.0, -4.0, 0.5]
FINAL = [2.0, -1.0, -3.0, -8.0, 0.25]
GRADIENT = [0.5, -1.0, 2.0, 0.0, -3.0]
# Named by seed, purpose, round and layer.
UNIFORM = torch.rand(5, generator=generator(7, "random criterion", 2, "layer")).tolist()
NO = -math.inf

BY_HAND = {
    "large_final": [2.0, 1.0, 3.0, 8.0, 0.25],
    "small_final": [-2.0, -1.0, -3.0, -8.0, -0.25],
    "random": UNIFORM,
    "large_init": [1.0, 2.0, 3.0, 4.0, 0.5],
    "small_init": [-1.0, -2.0, -3.0, -4.0, -0.5],
    # Ranks of |w_f| are 2 1 3 4 0, of |w_i| 1 2 3 4 0; of -|w_f| 2 3 1 0 4, of -|w_i| 3 2 1 0 4.
    "large_init_large_final": [1.0, 1.0, 3.0, 4.0, 0.0],
    "small_init_small_final": [2.0, 2.0, 1.0, 0.0, 4.0],
    "magnitude_increase": [1.0, -1.0, 0.0, 4.0, -0.25],
    "movement": [1.0, 1.0, 6.0, 4.0, 0.25],
    "large_final_same_sign": [2.0, 1.0, 0.0, 8.0, 0.25],
    "large_final_diff_sign": [0.0, 0.0, 3.0, 0.0, 0.0],
    "magnitude_increase_same_sign": [1.0, -1.0, NO, 4.0, -0.25],
    "snip": [0.5, 2.0, 6.0, 0.0, 1.5],
    "grad": [0.5, 1.0, 2.0, 0.0, 3.0],
}


def evidence(
    initial: Tensor,
    final: Tensor,
    alive: Tensor | None = None,
    gradient: Tensor | None = None,
) -> History:
    """The history of a layer whose replicas have seeds 7, 8, ... in round 2."""
    return History(
        layer=networks.Layer("layer", "dense", (initial.shape[1],)),
        seeds=range(7, 7 + len(initial)),
        round=2,
        initial=initial,
        final=final,
        mask=torch.ones_like(initial, dtype=torch.bool) if alive is None else alive,
        gradient=lambda: torch.ones_like(initial) if gradient is None else gradient,
    )


def by_hand(alive: Tensor | None = None) -> History:
    rows = [torch.tensor([values], dtype=torch.float64) for values in (INITIAL, FINAL, GRADIENT)]
    return evidence(rows[0], rows[1], alive, rows[2])


def test_every_criterion_has_an_example_and_the_papers_nine_come_first() -> None:
    assert set(BY_HAND) == set(CRITERIA)
    assert len(catalogue.PAPER_CRITERIA) == 9
    assert set(catalogue.PAPER_CRITERIA) <= set(CRITERIA)


@pytest.mark.parametrize("name", CRITERIA)
def test_scores_are_those_worked_by_hand(name: str) -> None:
    assert CRITERIA.find(name).score(by_hand())[0].tolist() == BY_HAND[name]


@pytest.mark.parametrize("name", CRITERIA)
def test_the_mask_keeps_the_highest_of_them(name: str) -> None:
    scores = BY_HAND[name]
    alive = torch.ones(1, 5, dtype=torch.bool)
    best = sorted(range(5), key=lambda index: (-scores[index], index))
    for count in range(1, 6):
        mask = pruning.prune(CRITERIA.find(name).score(by_hand()), alive, count)
        assert sorted(mask[0].nonzero().flatten().tolist()) == sorted(best[:count])


def test_joint_ranks_count_the_living_only() -> None:
    alive = torch.tensor([[True, True, True, False, True]])
    score = CRITERIA.find("large_init_large_final").score(by_hand(alive))
    assert score[0, :3].tolist() + score[0, 4:].tolist() == [1.0, 1.0, 3.0, 0.0]
    score = CRITERIA.find("small_init_small_final").score(by_hand(alive))
    assert score[0, :3].tolist() + score[0, 4:].tolist() == [1.0, 1.0, 0.0, 3.0]


def test_unknown_criteria_are_refused_with_the_known() -> None:
    with pytest.raises(UserError, match="'largest'.*large_final, small_final.*snip, grad"):
        CRITERIA.find("largest")


# --- ranks ------------------------------------------------------------------------------------

values = st.lists(st.sampled_from([0.0, 1.0, 1.5, -2.0, 7.0, -math.inf, math.inf]), min_size=1)


@given(values, st.data())
def test_ranks_count_the_smaller_living(numbers: list[float], data: st.DataObject) -> None:
    size = len(numbers)
    alive = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    ranks = criteria.ranks(torch.tensor([numbers, numbers[::-1]]), torch.tensor([alive] * 2))
    for row, own in ((ranks[0].tolist(), numbers), (ranks[1].tolist(), numbers[::-1])):
        for index in range(size):
            smaller = sum(
                (own[other], other) < (own[index], index) for other in range(size) if alive[other]
            )
            assert row[index] == (smaller if alive[index] else -1)


def test_ranks_keep_their_shape_and_count_beyond_float32() -> None:
    assert criteria.ranks(torch.rand(2, 3, 4), torch.ones(2, 3, 4, dtype=torch.bool)).shape == (
        2,
        3,
        4,
    )
    assert criteria.ranks(torch.rand(1, 3), torch.ones(1, 3, dtype=torch.bool)).dtype == (
        torch.float64
    )


# --- the joint criteria: alpha, searched ------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["large_init_large_final", "small_init_small_final"])
def test_joint_criteria_find_the_alpha_that_cuts_equal_shares(name: str, seed: int) -> None:
    """Where one alpha exists for which both thresholds cut the same share, its mask is ours."""
    generator = torch.Generator().manual_seed(seed)
    initial = torch.randn(10, generator=generator, dtype=torch.float64)
    final = initial + torch.randn(10, generator=generator, dtype=torch.float64)
    sign = 1 if name.startswith("large") else -1
    score = CRITERIA.find(name).score(evidence(initial[None], final[None]))
    alive = torch.ones(1, 10, dtype=torch.bool)
    found = 0
    # Every alpha that can matter lies between two quotients of an |w_i| and an |w_f|.
    edges = (initial.abs()[:, None] / final.abs()).flatten().sort().values
    for alpha in ((edges[1:] + edges[:-1]) / 2).tolist():
        joint = sign * torch.stack([alpha * final.abs(), initial.abs()])
        lower = joint.min(0).values  # for the small criterion -max(alpha |w_f|, |w_i|)
        for threshold in lower.tolist():
            above = joint > threshold
            if above[0].sum() != above[1].sum() or not above.all(0).any():
                continue
            kept = above.all(0)
            mask = pruning.prune(score, alive, int(kept.sum()))[0]
            assert torch.equal(mask, kept)
            found += 1
    assert found >= 10


# --- pairs ------------------------------------------------------------------------------------


def test_opposites_name_each_other() -> None:
    pairs = {(one.name, one.opposite) for one in CRITERIA.values() if one.opposite}
    assert all((other, name) in pairs for name, other in pairs)
    assert {frozenset(pair) for pair in pairs} == {
        frozenset({"large_final", "small_final"}),
        frozenset({"large_init", "small_init"}),
        frozenset({"large_init_large_final", "small_init_small_final"}),
        frozenset({"large_final_same_sign", "large_final_diff_sign"}),
    }


@given(st.permutations(range(12)), st.permutations(range(12)), st.integers(1, 11))
def test_one_of_an_opposite_pair_keeps_what_the_other_prunes(
    first: list[int], second: list[int], count: int
) -> None:
    w_i = torch.tensor([first]).double() + 1
    w_f = (torch.tensor([second]).double() + 1) * torch.tensor([1.0, -1.0] * 6)
    everything = torch.ones(1, 12, dtype=torch.bool)
    for large, small in (("large_final", "small_final"), ("large_init", "small_init")):
        kept = pruning.prune(CRITERIA[large].score(evidence(w_i, w_f)), everything, count)
        other = pruning.prune(CRITERIA[small].score(evidence(w_i, w_f)), everything, 12 - count)
        assert torch.equal(kept, ~other)
    same = CRITERIA["large_final_same_sign"].score(evidence(w_i, w_f))
    different = CRITERIA["large_final_diff_sign"].score(evidence(w_i, w_f))
    assert torch.equal(same + different, w_f.abs())
    assert torch.equal((same > 0), w_f > 0)


# --- diverged replicas ------------------------------------------------------------------------

NAN = math.nan


@pytest.mark.parametrize("name", sorted(set(CRITERIA) - {"random", "grad"}))
def test_a_weight_that_is_no_number_goes_first(name: str) -> None:
    """A NaN left by a diverged training is pruned before any number, by whatever looks at it."""
    initial, final = torch.tensor([[-1.0, 1.0, 3.0, 2.0]]), torch.tensor([[4.0, 5.0, NAN, 6.0]])
    if "init" in name and "final" not in name or name == "snip":
        initial, final = torch.tensor([[-1.0, 1.0, NAN, 3.0]]), torch.tensor([[4.0, 5.0, 2.0, 6.0]])
    if name.endswith("same_sign"):
        initial = initial.abs()  # else a flipped weight scores no better
    if name.endswith("diff_sign"):
        initial = -initial.abs()
    mask = pruning.prune(
        CRITERIA[name].score(evidence(initial, final)), torch.ones(1, 4, dtype=torch.bool), 3
    )
    assert mask[0].tolist() == [True, True, False, True]


@pytest.mark.parametrize("name", CRITERIA)
def test_a_diverged_replica_disturbs_no_other(name: str) -> None:
    one = by_hand()
    rows = [
        torch.cat([torch.full_like(tensor, NAN), tensor])
        for tensor in (one.initial, one.final, one.gradient())
    ]
    both = dataclasses.replace(evidence(rows[0], rows[1], None, rows[2]), seeds=[6, 7])
    scores = CRITERIA[name].score(both)
    assert torch.equal(scores[1:], CRITERIA[name].score(one))
    assert pruning.prune(scores, torch.ones(2, 5, dtype=torch.bool), 3).sum(1).tolist() == [3, 3]


# --- snip and grad ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_the_gradient_of_snip_and_grad_is_autograds(name: str) -> None:
    """That of the mean loss over the whole training split, of each replica's dense network."""
    data = reference.dataset(train=1_130)  # more than two evaluation batches, the last one short
    network = networks.build(name, data.input_shape, width=0.1)
    weights = networks.initial_weights(network, [0, 5])
    found = training.loss_gradient(network, [w.double() for w in weights], data.train)
    for replica in range(2):
        plain = reference.module(
            network,
            [weight[replica].double() for weight in weights],
            [torch.zeros(layer.units) for layer in network.layers],
        )
        logits = plain(data.train.images.double() / 255)
        nn.functional.cross_entropy(logits, data.train.labels).backward()
        for layer, gradient in zip(reference.weighted(plain), found, strict=True):
            expected = layer.weight.grad
            expected = expected.T if isinstance(layer, nn.Linear) else expected
            torch.testing.assert_close(gradient[replica], expected, rtol=1e-8, atol=1e-12)
