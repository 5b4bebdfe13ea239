"""Supermasks: sampling, the straight-through gradient by hand, rescaling, learning side by side."""

import functools
import math

import pytest
import reference
import torch
from torch import Tensor, nn

from dltlib import experiments, networks, supermasks, training
from dltlib.kinds import learned_masks
from dltlib.networks import Layer
from dltlib.supermasks import Learner
from dltlib.training import Settings

pytestmark = pytest.mark.usefixtures("one_thread")


def learner(
    name: str = "fc",
    seeds: tuple[int, ...] = (0,),
    rescaled: tuple[bool, ...] = (False,),
    identity: tuple[bool, ...] | None = None,
    shape: tuple[int, int, int] = (1, 8, 8),
    width: float = 0.2,
) -> Learner:
    network = networks.build(name, shape, width)
    values = networks.initial_weights(network, seeds)
    choice = None if identity is None else torch.tensor(identity)
    return Learner.start(network, values, torch.tensor(rescaled), seeds, choice)


# --- what masks lie over ----------------------------------------------------------------------


def test_base_values_are_w_i_or_its_signs_times_alpha() -> None:
    layer = Layer("dense1", "dense", (3, 5))
    initial = torch.tensor([[[0.1, -0.2, 0.3, -0.4, 0.5]] * 3])
    assert torch.equal(supermasks.base_values(layer, initial, "initial"), initial)
    alpha = math.sqrt(2 / 8)
    expected = torch.tensor([[[1.0, -1.0, 1.0, -1.0, 1.0]] * 3]) * alpha
    torch.testing.assert_close(supermasks.base_values(layer, initial, "constant"), expected)


def test_rescaling_is_weights_over_ones() -> None:
    mask = torch.tensor([[[True, False], [False, False]], [[True, True], [True, False]]])
    assert supermasks.rescaling(mask).tolist() == [4.0, pytest.approx(4 / 3)]
    assert supermasks.rescaling(mask.float()).tolist() == [4.0, pytest.approx(4 / 3)]
    assert supermasks.rescaling(torch.zeros(1, 2, 2, dtype=torch.bool)).tolist() == [1.0]


def test_masks_are_applied_and_rescaled_layer_by_layer_where_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(2, *shape, generator=generator) for shape in ((4, 3), (2, 2, 3, 3))]
    masks = [torch.rand(value.shape, generator=generator) < 0.5 for value in values]
    found = supermasks.apply_masks(values, masks, torch.tensor([False, True]))
    for value, mask, result in zip(values, masks, found, strict=True):
        assert torch.equal(result[0], torch.where(mask[0], value[0], 0.0))
        factor = mask[1].numel() / mask[1].sum().item()
        torch.testing.assert_close(result[1], torch.where(mask[1], value[1] * factor, 0.0))


def test_accuracy_is_that_of_the_untrained_masked_network() -> None:
    data = reference.dataset()
    network = networks.build("conv2", data.input_shape, width=0.1)
    weights = networks.initial_weights(network, [0, 1])
    found = supermasks.accuracy(network, weights, data.test)
    for replica in range(2):
        plain = reference.module(
            network,
            [weight[replica] for weight in weights],
            [torch.zeros(layer.units) for layer in network.layers],
        )
        assert found[replica].item() == reference.share_right(plain, data.test, torch.float32)


# --- sampling ---------------------------------------------------------------------------------


def test_weights_are_kept_as_often_as_sigma_of_their_score() -> None:
    own = learner(seeds=(0, 1), rescaled=(False, False))
    levels = torch.linspace(-4, 4, 9)
    for score in own.scores:
        score.copy_(levels[torch.arange(score.numel()) % 9].view(score.shape))
    steps = 200
    counts = [torch.zeros_like(score) for score in own.scores]
    for step in range(steps):
        for count, mask in zip(counts, own.sample(step), strict=True):
            assert mask.dtype == torch.bool
            count += mask
    for level in levels:
        p = 1 / (1 + math.exp(-level))
        for replica in range(2):
            kept = torch.cat(
                [
                    count[replica][score[replica] == level]
                    for count, score in zip(counts, own.scores, strict=True)
                ]
            )
            draws = steps * len(kept)
            assert abs(kept.sum().item() - draws * p) < 4.5 * math.sqrt(draws * p * (1 - p))
            # Each weight by itself: the spread of its counts is the binomial's.
            spread = kept.double().var().item() / (steps * p * (1 - p))
            assert 0.8 < spread < 1.25


def test_masks_are_drawn_afresh_and_named_by_seed_layer_and_step() -> None:
    own = learner(seeds=(0, 1, 0), rescaled=(False, False, True))
    first, again, later = own.sample(3), own.sample(torch.tensor(3)), own.sample(4)
    for one, same, other in zip(first, again, later, strict=True):
        assert torch.equal(one, same)
        assert 0.3 < (one ^ other).float().mean() < 0.7
        assert torch.equal(one[0], one[2])  # arms of one seed see the same draws
        assert 0.3 < (one[0] ^ one[1]).float().mean() < 0.7
    alone = learner(seeds=(1,)).sample(3)
    assert all(torch.equal(one[1], single[0]) for one, single in zip(first, alone, strict=True))
    group = own.sample(3, slice(1, 2))
    assert all(torch.equal(one[1:2], part) for one, part in zip(first, group, strict=True))


def test_likely_masks_keep_what_is_kept_more_often_than_not() -> None:
    own = learner()
    own.scores[0].copy_(torch.linspace(-1, 1, own.scores[0].numel()).view(own.scores[0].shape))
    assert torch.equal(own.likely()[0], own.probabilities()[0] >= 0.5)
    assert own.likely()[1].all()  # nothing learned yet: all at one half


# --- learning ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_learning_is_sgd_on_the_straight_through_gradient(name: str) -> None:
    """Against autograd and `torch.optim.SGD`, replicas of all four kinds side by side."""
    data = reference.dataset(train=205)
    own = learner(
        name,
        seeds=(2, 2, 5, 2, 5),
        rescaled=(False, True, True, False, True),
        identity=(False, False, False, True, True),
    )
    settings = Settings(epochs=2, learning_rate=20.0, batch_size=50)
    losses = [own.learn(data, settings, epoch) for epoch in range(2)]
    assert own.step == 8
    for replica, seed in enumerate(own.seeds):
        plain = reference.MaskedModule(own, replica)
        optimizer = torch.optim.SGD(plain.parameters(), lr=20.0, momentum=0.9)
        step = 0
        for epoch in range(2):
            order = training.data_order(seed, epoch, 205)
            total = 0.0
            for batch in order[:200].view(4, 50):
                loss = nn.functional.cross_entropy(
                    plain(data.train.images[batch].float() / 255, step), data.train.labels[batch]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() / 4
                step += 1
            assert losses[epoch][replica].item() == pytest.approx(total, rel=1e-4)
        for ours, theirs in zip(own.scores, plain.scores, strict=True):
            assert theirs.abs().max() > 1e-3  # something was learned
            torch.testing.assert_close(ours[replica], theirs.detach(), rtol=1e-3, atol=1e-4)


def test_the_straight_through_gradient_by_hand() -> None:
    """One linear layer, one image: slope = x_i (softmax_j - [label = j]) w_ij f s (1 - s)."""
    network = networks.Network("linear", (1, 2, 2), (), ())
    values = [torch.randn(1, 4, 10, generator=torch.Generator().manual_seed(0))]
    for rescaled in (False, True):
        own = Learner.start(network, values, torch.tensor([rescaled]), [0])
        own.scores[0].copy_(torch.linspace(-2, 2, 40).view(1, 4, 10))
        score = own.scores[0][0].clone()
        pixels = torch.tensor([[[[10, 20], [30, 250]]]], dtype=torch.uint8)
        data = reference.dataset((1, 2, 2), train=1)
        data.train.images.copy_(pixels)
        label = int(data.train.labels[0])
        mask = own.sample(0)[0][0].float()
        factor = 40 / mask.sum() if rescaled else 1.0
        x = pixels.flatten() / 255
        chance = torch.softmax(x @ (values[0][0] * mask * factor), 0)
        chance[label] -= 1
        sigma = torch.sigmoid(score)
        by_hand = x[:, None] * chance * values[0][0] * factor * sigma * (1 - sigma)
        own.learn(data, Settings(epochs=1, learning_rate=3.0, batch_size=1), 0)
        torch.testing.assert_close(own.momentum[0][0], by_hand, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(own.scores[0][0], score - 3.0 * by_hand, rtol=1e-5, atol=1e-6)
        # A weight that the sample dropped learns as well: the gradient passes straight through.
        assert (by_hand[mask == 0] != 0).all()


def test_laid_out_for_a_gpu_no_kernel_is_copied_and_the_numbers_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the operations that a GPU takes, on a CPU: all replicas together, channels last."""
    data = reference.dataset((3, 8, 8), train=40)
    members = torch.arange(40).view(2, 20)
    settings = Settings(epochs=1, learning_rate=5.0, batch_size=20)
    forward, channels_last = networks.forward, networks._channels_last
    copied: list[bool] = []

    def watched(images: Tensor) -> Tensor:
        used = channels_last(images)
        copied.append(used.data_ptr() != images.data_ptr())
        return used

    monkeypatch.setattr(networks, "forward", functools.partial(forward, together=True))
    monkeypatch.setattr(networks, "_channels_last", watched)
    plain, laid_out = (
        learner("conv2", (0, 1), (True, False), (False, True), (3, 8, 8)) for _ in range(2)
    )
    laid_out.lay_out()
    for step in range(3):
        copied.clear()
        losses = plain._update(data.train, members, step, settings)
        assert copied == [True, True, True], "images and two kernels: the test would notice"
        copied.clear()
        again = laid_out._update(data.train, members, step, settings)
        assert copied == [True, False, False], "the images alone"
        torch.testing.assert_close(again, losses, rtol=1e-5, atol=0)
    for one, other in zip(plain.scores, laid_out.scores, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-6)


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_a_mask_learns_among_others_as_it_does_alone(name: str) -> None:
    data = reference.dataset(train=130)
    seeds, rescaled = (4, 0, 4, 2), (False, True, True, False)
    identity = (False, False, True, True)
    settings = Settings(epochs=2, learning_rate=20.0, batch_size=33)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    together = learner(name, seeds, rescaled, identity)
    losses = [together.learn(data, settings, epoch) for epoch in range(2)]
    accuracy = together.accuracy(data.test)
    torch.set_num_threads(before)
    for index in range(4):
        own = slice(index, index + 1)
        alone = learner(name, seeds[own], rescaled[own], identity[own])
        for epoch in range(2):
            assert alone.learn(data, settings, epoch)[0] == losses[epoch][index]
        assert same([score[index] for score in together.scores], [s[0] for s in alone.scores])
        assert same([speed[index] for speed in together.momentum], [s[0] for s in alone.momentum])
        assert alone.accuracy(data.test)[0] == accuracy[index]


def test_learning_and_testing_tell_how_far_they_are() -> None:
    """Before an epoch is over, too: on convolutions it lasts for minutes."""
    data = reference.dataset(train=130)
    own, told = learner("fc", (0, 1, 2), (False,) * 3), []
    own.learn(data, Settings(epochs=1, learning_rate=1.0, batch_size=5), 0, told.append)
    assert sum(told) == 3 * 26
    assert max(told) < 26
    told.clear()
    own.accuracy(data.test, told.append, masks=4)
    assert told == [1] * 3 * 4


def test_fewer_masks_on_the_way_change_only_what_is_measured_there() -> None:
    few, many = (
        experiments.plan(
            "learned_supermasks",
            dataset="digits",
            seeds=2,
            epochs=2,
            width=0.2,
            interim_masks=masks,
        )
        for masks in (2, 10)
    )
    ours, theirs = (
        {
            (row["arm"], row["seed"], row["round"]): row
            for row in experiments.in_memory(one, torch.device("cpu")).rows
        }
        for one in (few, many)
    )
    assert ours.keys() > theirs.keys()  # cheaper tests are more, as they may take as long in all
    accuracies = {"validation_accuracy", "test_accuracy"}
    for key, row in theirs.items():
        changed = {name for name in row if repr(row[name]) != repr(ours[key][name])}
        assert changed == (set() if key[2] == few.epochs else accuracies)
    # Untrained, every kind of arm draws the same masks: the first two of the ten.
    network = networks.build("fc", (1, 8, 8), few.width)
    data = experiments.load_dataset(few)
    variants = [learned_masks.parse(arm).variant for arm in few.arms]
    untrained = Learner.of_variants(network, variants, (1,) * len(variants))
    expected = untrained.accuracy(data.test, masks=2).tolist()
    assert [ours[arm, 1, 0]["test_accuracy"] for arm in few.arms] == expected
    assert expected != untrained.accuracy(data.test).tolist()


def test_an_arm_with_a_rate_of_its_own_learns_as_if_it_were_the_plans() -> None:
    data = reference.dataset(train=130)
    arms = ("learned/initial/plain/rate=5", "learned/initial/plain", "learned/initial/rescaled")
    choices = {"dataset": "digits", "seeds": 1, "epochs": 2, "width": 0.2}

    def last(arms: tuple[str, ...], rate: float) -> dict[str, dict[str, object]]:
        of = experiments.plan("learned_supermasks", arms=arms, learning_rate=rate, **choices)
        found = experiments.in_memory(of, torch.device("cpu")).rows
        return {row["arm"]: row | {"arm": ""} for row in found if row["round"] == of.epochs}

    mixed, own = last(arms, 40.0), last(arms[1:], 5.0)
    assert mixed[arms[0]] == own[arms[1]] != mixed[arms[1]]
    # The GPU's form of the update, here by torch's operations.
    network = networks.build("fc", (1, 8, 8), 0.2)
    variants = [("learned", "initial", "plain")] * 2
    settings = Settings(epochs=1, learning_rate=40.0, batch_size=26)
    both = Learner.of_variants(network, variants, (0, 0), rates=[5.0, 40.0])
    slow = Learner.of_variants(network, variants[:1], (0,), rates=[5.0])
    usual = Learner.of_variants(network, variants[:1], (0,))
    for one in (both, slow, usual):
        batches = torch.arange(130).reshape(1, 5, 26).expand(len(one.seeds), -1, -1)
        one._advance_together(data.train, batches, settings)
    for together, first, second in zip(both.scores, slow.scores, usual.scores, strict=True):
        torch.testing.assert_close(together, torch.cat([first, second]))
        assert not torch.equal(first, second)


def test_matched_steps_begin_as_the_identitys() -> None:
    """The experiment `matched_steps`: the first update of its arms is that of identity_supermasks,
    to the bit without rescaling, and with it but for how many weights the first masks keep."""
    data = reference.dataset(train=30)
    plan = experiments.plan("matched_steps", width=0.5)
    ours = [learned_masks.parse(arm) for arm in plan.arms]
    settings = Settings(epochs=1, learning_rate=plan.learning_rate, batch_size=30)
    network = networks.build("fc", (1, 8, 8), plan.width)
    theirs = [("learned_identity", *arm.variant[1:]) for arm in ours]
    rates = [learned_masks.rate_of(arm, plan) for arm in ours]
    matched = Learner.of_variants(network, [arm.variant for arm in ours], (0,) * 4, rates=rates)
    identity = Learner.of_variants(network, theirs, (0,) * 4)
    unmatched = Learner.of_variants(network, [arm.variant for arm in ours], (0,) * 4)
    for one in (matched, identity, unmatched):
        one.learn(data, settings, 0)
    for index, arm in enumerate(ours):
        for own, other, slow in zip(matched.scores, identity.scores, unmatched.scores, strict=True):
            if arm.scaling == "plain":
                assert torch.equal(own[index], other[index])
            else:
                torch.testing.assert_close(own[index], other[index], rtol=0.05, atol=0)
            assert not torch.allclose(slow[index], other[index], rtol=0.4, atol=0)


def test_a_learner_goes_on_from_scores_momentum_and_step() -> None:
    data = reference.dataset(train=130)
    settings = Settings(epochs=4, learning_rate=20.0, batch_size=30)
    straight = learner(seeds=(0, 1), rescaled=(False, True))
    for epoch in range(4):
        straight.learn(data, settings, epoch)
    first = learner(seeds=(0, 1), rescaled=(False, True))
    for epoch in range(2):
        first.learn(data, settings, epoch)
    resumed = learner(seeds=(0, 1), rescaled=(False, True))
    resumed.scores = [score.clone() for score in first.scores]
    resumed.momentum = [speed.clone() for speed in first.momentum]
    resumed.step = first.step
    for epoch in range(2, 4):
        resumed.learn(data, settings, epoch)
    assert same(straight.scores, resumed.scores)
    assert same(straight.momentum, resumed.momentum)
    assert torch.equal(straight.accuracy(data.test), resumed.accuracy(data.test))


def test_the_values_under_a_mask_never_change() -> None:
    data = reference.dataset(train=100)
    own = learner("conv2")
    kept = [value.clone() for value in own.values]
    own.learn(data, Settings(epochs=1, learning_rate=50.0, batch_size=25), 0)
    assert same(kept, own.values)
    assert all((bias == 0).all() for bias in own.biases)


def test_accuracy_is_the_mean_over_ten_masks_not_met_in_learning() -> None:
    data = reference.dataset(train=100)
    own = learner(seeds=(0, 3), rescaled=(False, True))
    own.learn(data, Settings(epochs=1, learning_rate=20.0, batch_size=25), 0)
    for split in (data.validation, data.test):
        shares = torch.zeros(2, dtype=torch.float64)
        for step in range(-10, 0):
            weights = supermasks.apply_masks(own.values, own.sample(step), own.rescaled)
            shares += supermasks.accuracy(own.network, weights, split) / 10
        torch.testing.assert_close(own.accuracy(split), shares, rtol=1e-12, atol=0)
    assert torch.equal(own.accuracy(data.test), own.accuracy(data.test))
    seen = [torch.cat([m.flatten() for m in own.sample(step)]) for step in range(own.step)]
    for step in range(-10, 0):
        mask = torch.cat([m.flatten() for m in own.sample(step)])
        assert not any(torch.equal(mask, other) for other in seen)


def test_learning_makes_the_masks_better_than_chance() -> None:
    data = reference.dataset(train=500)
    own = learner(seeds=(0, 0), rescaled=(False, True), width=1.0)
    before = own.accuracy(data.test)
    for epoch in range(8):
        own.learn(data, Settings(epochs=8, learning_rate=100.0, batch_size=50), epoch)
    assert (own.accuracy(data.test) > before + 0.1).all()
