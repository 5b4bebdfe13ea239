"""Mask-1 and mask-0 actions: what they keep and what they change, for any layer and mask."""

import functools
import math
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import reference
import torch
from hypothesis import given
from scipy import stats
from torch import Tensor

from dltlib import actions, networks, training
from dltlib.actions import MASK0_ACTIONS, MASK1_ACTIONS
from dltlib.criteria import CRITERIA
from dltlib.errors import UserError
from dltlib.experiments import plan
from dltlib.history import History, Past
from dltlib.kinds import tickets
from dltlib.kinds.tickets import Arm
from dltlib.networks import Layer

pytestmark = pytest.mark.usefixtures("one_thread")

SIGNED = ("signed_reinit", "signed_reshuffle", "signed_constant")
Case = tuple[Layer, Tensor, Tensor, Tensor]


def case_of(shape: tuple[int, ...], seed: int, some_still: bool, share: float) -> Case:
    """A layer of that shape, its w_i and w_f, and a mask that keeps about that share.

    ``some_still``: training put some weights exactly at zero, and left others alone.
    """
    layer = Layer("layer", "conv" if len(shape) == 4 else "dense", shape)
    initial = networks.draw(layer, seed)
    generator = torch.Generator().manual_seed(seed)
    final = initial + torch.randn(shape, generator=generator) * layer.initial_deviation
    if some_still:
        still = torch.rand(shape, generator=generator) < 0.3
        final = torch.where(still, initial, final).masked_fill(still & (final > 0), 0.0)
    return layer, initial, final, torch.rand(shape, generator=generator) < share


def given_cases(*others: st.SearchStrategy) -> Callable[[Callable], Callable]:
    """`given` a case, and others: it is made inside the test, since the checks of the library's
    signatures draw from `random`, which Hypothesis allows no strategy to do."""
    recipes = st.tuples(
        st.one_of(
            st.tuples(st.integers(1, 12), st.integers(1, 12)),
            st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(3), st.just(3)),
        ),
        st.integers(0, 10**6),
        st.booleans(),
        st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    )

    def wrap(test: Callable) -> Callable:
        @functools.wraps(test)
        def made(case: tuple, **rest: object) -> None:
            test(case_of(*case), **rest)

        return given(recipes, *others)(made)

    return wrap


def start(case: Case, mask1: str = "rewind", mask0: str = "zero", seed: int = 0) -> Tensor:
    return actions.start_values(history(case, seed), mask1, mask0)[0]


def history(case: Case, seed: int = 0, round_: int = 3) -> History:
    """Of one replica with that layer."""
    layer, *tensors = case
    return History(layer, [seed], round_, *(tensor[None] for tensor in tensors))


def multiset(values: Tensor) -> list[float]:
    return values.flatten().sort().values.tolist()


def negative(values: Tensor) -> Tensor:
    return torch.signbit(values)


# --- mask-1 actions ---------------------------------------------------------------------------


def test_there_are_the_papers_seven_and_five() -> None:
    unsigned = ("reinit", "reshuffle", "constant")
    assert set(MASK1_ACTIONS) == {"rewind", *unsigned, *SIGNED}
    assert set(MASK0_ACTIONS) == {"zero", "freeze_init", "variant_1", "variant_2", "move_to_zero"}


@given_cases()
def test_rewind_gives_the_initial_values(case: Case) -> None:
    _, initial, _, mask = case
    assert torch.equal(start(case)[mask], initial[mask])


@given_cases(st.sampled_from(SIGNED))
def test_signed_actions_keep_every_sign(case: Case, name: str) -> None:
    _, initial, _, mask = case
    assert torch.equal(negative(start(case, name))[mask], negative(initial)[mask])


@given_cases(st.sampled_from(["reshuffle", "signed_reshuffle"]))
def test_reshuffling_keeps_the_kept_values(case: Case, name: str) -> None:
    _, initial, _, mask = case
    assert multiset(start(case, name)[mask]) == multiset(initial[mask])


@given_cases(st.sampled_from(["constant", "signed_constant"]))
def test_constants_are_plus_or_minus_the_initial_deviation(case: Case, name: str) -> None:
    layer, initial, _, mask = case
    fan = {2: layer.shape, 4: (9 * layer.shape[0], 9 * layer.shape[1])}[len(layer.shape)]
    alpha = torch.tensor(math.sqrt(2 / sum(fan)))
    values = start(case, name)
    torch.testing.assert_close(values[mask].abs(), alpha.expand(int(mask.sum())), rtol=1e-6, atol=0)
    assert len(values[mask].abs().unique()) <= 1  # {-alpha, 0, alpha}, to the bit
    assert (values[~mask] == 0).all()
    assert negative(values[mask]).sum() == negative(initial[mask]).sum()  # permuted, not drawn


@given_cases()
def test_reinit_draws_anew_and_signed_reinit_draws_the_same_magnitudes(case: Case) -> None:
    layer, initial, _, mask = case
    random, signed = start(case, "reinit"), start(case, "signed_reinit")
    assert torch.equal(random.abs(), signed.abs())  # so the two arms differ by the signs alone
    assert not (random == initial)[mask].any()
    bound = 2 * layer.initial_deviation / networks.TRUNCATED_DEVIATION
    assert (random.abs() <= bound * (1 + 1e-6)).all()


@given_cases(st.sampled_from(sorted(MASK1_ACTIONS)), st.sampled_from(sorted(MASK0_ACTIONS)))
def test_draws_are_named_and_look_at_kept_weights_only(case: Case, mask1: str, mask0: str) -> None:
    layer, initial, final, mask = case
    before = initial.clone(), final.clone(), mask.clone()
    values = start(case, mask1, mask0)
    assert torch.equal(values, start(case, mask1, mask0))  # the same names, the same values
    assert values.shape == initial.shape
    assert values.dtype == initial.dtype
    assert all(torch.equal(*pair) for pair in zip(before, case[1:], strict=True))
    # What the pruned weights were has no part in what the kept ones become.
    other = torch.where(mask, initial, -3.0), torch.where(mask, final, 5.0)
    changed = start((layer, *other, mask), mask1, mask0)
    assert torch.equal(values[mask], changed[mask])


@pytest.mark.parametrize("name", sorted(set(MASK1_ACTIONS) - {"rewind", "signed_constant"}))
def test_draws_differ_by_seed_round_and_layer(name: str) -> None:
    layer = Layer("dense1", "dense", (30, 30))
    initial = networks.draw(layer, 0)
    mask = torch.rand(30, 30, generator=torch.Generator().manual_seed(0)) < 0.5
    action = actions.MASK1_ACTIONS.find(name).values
    values = [
        torch.where(mask, action(history((layer, initial, initial, mask), *names))[0], 0.0)
        for layer, names in (
            (layer, (0, 1)),
            (layer, (1, 1)),
            (layer, (0, 2)),
            (Layer("dense2", "dense", (30, 30)), (0, 1)),
        )
    ]
    assert not any(torch.equal(values[0], other) for other in values[1:])
    assert not torch.equal(values[0], torch.where(mask, initial, 0.0))


def test_reinit_follows_the_original_distribution_and_random_signs_are_even() -> None:
    layer = Layer("dense1", "dense", (300, 100))
    initial = networks.draw(layer, 0)
    everything = torch.ones_like(initial, dtype=torch.bool)
    seen = history((layer, initial, initial, everything), 5, 1)
    parent = layer.initial_deviation / stats.truncnorm(-2, 2).std()
    for name in ("reinit", "signed_reinit"):
        drawn = actions.MASK1_ACTIONS.find(name).values(seen)[0].flatten()
        cut = stats.truncnorm(-2, 2, scale=parent)
        assert stats.kstest(drawn.numpy(), cut.cdf).pvalue > 1e-3
    for name in ("reinit", "reshuffle", "constant"):
        drawn = actions.MASK1_ACTIONS.find(name).values(seen)[0]
        agree = (negative(drawn) == negative(initial)).double().mean().item()
        assert abs(agree - 0.5) < 4 * 0.5 / math.sqrt(30_000)  # no sign is remembered


def test_unknown_actions_are_refused_with_the_known() -> None:
    with pytest.raises(UserError, match="mask-1 action 'again'.*rewind, reinit.*signed_constant"):
        actions.MASK1_ACTIONS.find("again")
    with pytest.raises(UserError, match="mask-0 action 'one'.*zero, freeze_init.*move_to_zero"):
        actions.MASK0_ACTIONS.find("one")


def test_signs_are_never_zero() -> None:
    assert actions.signs(torch.tensor([2.0, -3.0, 0.0, -0.0])).tolist() == [1.0, -1.0, 1.0, -1.0]


# --- mask-0 actions ---------------------------------------------------------------------------


@given_cases(st.sampled_from(sorted(MASK1_ACTIONS)), st.sampled_from(sorted(MASK0_ACTIONS)))
def test_kept_and_pruned_weights_get_exactly_what_their_action_says(
    case: Case, mask1: str, mask0: str
) -> None:
    layer, initial, final, mask = case
    values = start(case, mask1, mask0).flatten().tolist()
    kept = actions.MASK1_ACTIONS.find(mask1).values(history(case)).flatten().tolist()
    rows = zip(
        values, kept, initial.flatten().tolist(), final.flatten().tolist(), mask.flatten().tolist(),
        strict=True,
    )  # fmt: skip
    for value, kept_value, w_i, w_f, lives in rows:
        shrank = abs(w_f) < abs(w_i)
        if lives:
            assert value == (0.0 if mask0 == "variant_2" and shrank else kept_value)
        elif mask0 in ("zero", "move_to_zero"):
            assert value == 0.0
        elif mask0 == "freeze_init":
            assert value == w_i
        else:
            assert value == (0.0 if shrank else w_i)


@given_cases()
def test_moving_to_zero_prunes_what_shrank_and_nothing_else(case: Case) -> None:
    _, initial, final, mask = case
    decides = actions.MASK0_ACTIONS.find("move_to_zero").kept
    assert decides is not None
    assert torch.equal(decides(history(case))[0], mask & (final.abs() >= initial.abs()))


@given_cases()
def test_variant_1_decides_once(case: Case) -> None:
    """A weight frozen by variant_1 is frozen at the same value in all later rounds."""
    layer, initial, _, mask = case
    first = start(case, mask0="variant_1")
    later = start((layer, initial, first, mask), mask0="variant_1")
    assert torch.equal(first[~mask], later[~mask])


@pytest.mark.parametrize("make_step", [training.kernel_step, training.TorchStep])
@pytest.mark.parametrize("mask0", MASK0_ACTIONS)
def test_frozen_weights_are_the_same_bits_after_training(mask0: str, make_step: object) -> None:
    frozen_stay(mask0, "fc", make_step)


@pytest.mark.parametrize("mask0", MASK0_ACTIONS)
def test_frozen_convolutions_are_the_same_bits_after_training(mask0: str) -> None:
    frozen_stay(mask0, "conv2", training.TorchStep)


def frozen_stay(mask0: str, name: str, make_step: object) -> None:
    data = reference.dataset(train=120)
    network = networks.build(name, data.input_shape, width=0.15)
    initial = networks.initial_weights(network, [0, 1])
    generator = torch.Generator().manual_seed(0)
    final = [w + 0.1 * torch.randn(w.shape, generator=generator) for w in initial]
    masks = [torch.rand(w.shape, generator=generator) < 0.3 for w in initial]
    masks[-1][1] = False  # one replica has lost its whole output layer
    begin = [
        actions.start_values(History(layer, [0, 1], 1, w, f, m), "rewind", mask0)
        for layer, w, f, m in zip(network.layers, initial, final, masks, strict=True)
    ]
    settings = training.Settings(epochs=2, learning_rate=0.01, batch_size=30, evaluate_every=3)
    outcome = training.train(network, data, begin, masks, [0, 1], settings, make_step=make_step)
    for before, after, mask in zip(begin, outcome.weights, masks, strict=True):
        assert after[~mask].numpy().tobytes() == before[~mask].numpy().tobytes()
        moved = (before != after)[0][mask[0]]
        assert moved.float().mean() > 0.3  # the others did move


# --- arms in the runner -----------------------------------------------------------------------


def test_an_arm_is_pruned_and_started_alone_as_among_others() -> None:
    """Neither masks nor starting values depend on which other replicas are there."""
    some = plan("criteria", "fc", "tiny", seeds=1)
    network = networks.build("conv2", (1, 8, 8), width=0.1)
    arms = [Arm(criterion) for criterion in CRITERIA]
    arms += [Arm("large_final", mask1, mask0) for mask1 in MASK1_ACTIONS for mask0 in MASK0_ACTIONS]
    arms = arms + arms[:5]
    seeds = [index % 3 for index in range(len(arms))]
    initial = networks.initial_weights(network, seeds)
    generator = torch.Generator().manual_seed(0)
    final = [w + 0.1 * torch.randn(w.shape, generator=generator) for w in initial]
    gradient = [torch.randn(w.shape, generator=generator) for w in initial]
    alive = [torch.rand(w.shape, generator=generator) < 0.9 for w in initial]

    def round_2(which: list[int]) -> tuple[list[Tensor], list[Tensor]]:
        own = [arms[index] for index in which], [seeds[index] for index in which]
        parts = [[layer[which] for layer in group] for group in (initial, final, alive)]
        past = Past(network, own[1], 2, *parts, lambda: [layer[which] for layer in gradient])
        masks = tickets.next_masks(some, own[0], past)
        return masks, tickets.start_weights(own[0], past, masks)

    together = round_2(list(range(len(arms))))
    for index in range(len(arms)):
        alone = round_2([index])
        for several, one in zip(together, alone, strict=True):
            for layer, own in zip(several, one, strict=True):
                assert torch.equal(layer[index], own[0])
