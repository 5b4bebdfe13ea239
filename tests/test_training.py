"""The engine against a plain loop, a replica against itself among others, and early stopping."""

from collections.abc import Callable, Mapping

import pytest
import reference
import torch
from torch import Tensor

from dltlib import networks, training
from dltlib.datasets import Dataset
from dltlib.errors import UserError
from dltlib.networks import Network
from dltlib.settings import PRECISIONS
from dltlib.training import Session, Settings

STEPS = {"kernel": training.kernel_step, "torch": training.TorchStep}


def some_masks(weights: list[Tensor], share: float, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(weight.shape, generator=generator) < share for weight in weights]


def frozen_somewhere(weights: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
    """Half of the pruned weights at zero, half at their initial values."""
    return [
        torch.where(
            mask | (torch.arange(weight[0].numel()) % 2 == 0).view(weight[0].shape), weight, 0
        )
        for weight, mask in zip(weights, masks, strict=True)
    ]


# --- against the plain loop -------------------------------------------------------------------


@pytest.mark.parametrize("share", [1.0, 0.04])
def test_the_same_weights_as_a_plain_loop_after_200_steps(share: float) -> None:
    """FC as in the paper, in float64, either step: 1e-9, relative."""
    data = reference.dataset((1, 28, 28), train=60 * 40)
    network = networks.build("fc", data.input_shape)
    weights = [weight.double() for weight in networks.initial_weights(network, [0])]
    masks = some_masks(weights, share)
    weights = frozen_somewhere(weights, masks)
    settings = Settings(epochs=5, learning_rate=1.2e-3, evaluate_every=100)
    plain = reference.train(
        network, data, [weight[0] for weight in weights], [mask[0] for mask in masks], 0, settings
    )
    assert len(plain.losses) == 200
    expected = reference.weights_of(plain.net) + reference.biases_of(plain.net)
    for step in STEPS.values():
        outcome = training.train(network, data, weights, masks, [0], settings, make_step=step)
        for ours, theirs in zip(outcome.weights + outcome.biases, expected, strict=True):
            assert (ours[0] - theirs).norm() / theirs.norm() < 1e-9
        for ours, start in zip(outcome.weights, weights, strict=True):
            assert (ours - start).norm() / start.norm() > 0.01


def test_the_same_loss_curve_as_a_plain_loop_over_100_steps() -> None:
    """In float32, either step: 1e-4."""
    data = reference.dataset((1, 28, 28), train=60 * 100)
    network = networks.build("fc", data.input_shape)
    weights = networks.initial_weights(network, [1])
    masks = some_masks(weights, 0.4)
    settings = Settings(epochs=1, learning_rate=1.2e-3)
    plain = reference.train(
        network, data, [weight[0] for weight in weights], [mask[0] for mask in masks], 1, settings
    )
    order = training.data_order(1, 0, len(data.train)).reshape(1, 100, 1, 60)
    for make_step in STEPS.values():
        step = make_step(network, weights, networks.initial_biases(network, 1), masks, settings)
        losses = [
            step.advance(data.train.images, data.train.labels, order[:, index], torch.tensor([0]))
            for index in range(100)
        ]
        expected = torch.tensor(plain.losses, dtype=torch.float64)
        torch.testing.assert_close(torch.cat(losses), expected, rtol=1e-4, atol=1e-4)
        assert losses[-1] < losses[0] / 2  # it learned


def test_an_ensemble_of_conv2_equals_plain_loops_over_50_steps() -> None:
    """In float64, two replicas with seeds and masks of their own."""
    data = reference.dataset((3, 8, 8), train=20 * 25)
    network = networks.build("conv2", data.input_shape, width=0.15)
    weights = [weight.double() for weight in networks.initial_weights(network, [3, 0])]
    masks = some_masks(weights, 0.5)
    settings = Settings(epochs=2, learning_rate=1e-3, batch_size=20, evaluate_every=10)
    outcome = training.train(network, data, weights, masks, [3, 0], settings)
    for replica, seed in enumerate((3, 0)):
        plain = reference.train(
            network,
            data,
            [weight[replica] for weight in weights],
            [mask[replica] for mask in masks],
            seed,
            settings,
        )
        assert len(plain.losses) == 50
        for ours, theirs in zip(outcome.weights, reference.weights_of(plain.net), strict=True):
            assert (ours[replica] - theirs).norm() / theirs.norm() < 1e-9
        for ours, theirs in zip(outcome.biases, reference.biases_of(plain.net), strict=True):
            torch.testing.assert_close(ours[replica], theirs, rtol=1e-7, atol=1e-10)
        last = sum(plain.losses[-25:]) / 25
        assert outcome.training_loss[replica].item() == pytest.approx(last, rel=1e-9)


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_the_two_steps_do_the_same_arithmetic(share: float) -> None:
    data = reference.dataset(train=300)
    network = networks.build("fc", data.input_shape, width=0.5)
    weights = [weight.double() for weight in networks.initial_weights(network, [0, 1, 0])]
    masks = some_masks(weights, share)
    weights = frozen_somewhere(weights, masks)
    settings = Settings(epochs=5, learning_rate=2e-3, evaluate_every=7)
    kernel, stock = (
        training.train(network, data, weights, masks, [0, 1, 0], settings, make_step=make)
        for make in STEPS.values()
    )
    for one, other in zip(
        kernel.weights + kernel.biases, stock.weights + stock.biases, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert torch.equal(kernel.history, stock.history)
    assert torch.equal(kernel.early_iteration, stock.early_iteration)
    assert torch.equal(kernel.early_test, stock.early_test)
    assert torch.equal(kernel.final_test, stock.final_test)
    torch.testing.assert_close(kernel.training_loss, stock.training_loss, rtol=1e-9, atol=0)


def test_which_step_is_a_fixed_rule() -> None:
    assert training.choose_step(torch.device("cpu")) is training.kernel_step
    assert training.choose_step(torch.device("cuda")) is training.TorchStep


# --- among others -----------------------------------------------------------------------------


def same(one: training.Outcome, index: int, other: training.Outcome, position: int) -> None:
    """Bit for bit the same outcome of two replicas."""
    for left, right in zip(one.weights + one.biases, other.weights + other.biases, strict=True):
        assert left[index].numpy().tobytes() == right[position].numpy().tobytes()
    for name in (
        "early_iteration",
        "early_validation",
        "early_test",
        "final_test",
        "training_loss",
    ):
        assert getattr(one, name)[index].item() == getattr(other, name)[position].item()
    assert torch.equal(one.history[:, index], other.history[:, position])


@pytest.mark.parametrize(
    ("name", "step"), [("fc", "kernel"), ("fc", "torch"), ("conv2", "torch"), ("conv4", "kernel")]
)
def test_a_replica_trains_among_others_as_it_does_alone(name: str, step: str) -> None:
    """Whatever runs beside it, at any place, with any number of threads: the same bits."""
    data = reference.dataset((3, 9, 9) if name != "fc" else (1, 8, 8), train=130)
    network = networks.build(name, data.input_shape, width=0.11)
    seeds = [4, 0, 2, 4, 1]
    weights = networks.initial_weights(network, seeds)
    masks = some_masks(weights, 0.4)
    masks[0][2] = True  # one of them dense in its first layer
    settings = Settings(epochs=3, learning_rate=2e-3, batch_size=33, evaluate_every=2)

    def run(which: list[int]) -> training.Outcome:
        return training.train(
            network,
            data,
            [weight[which] for weight in weights],
            [mask[which] for mask in masks],
            [seeds[index] for index in which],
            settings,
            make_step=STEPS[step],
        )

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = run([0, 1, 2, 3, 4])
        backwards = run([4, 3, 2, 1, 0])
        torch.set_num_threads(1)
        for index in range(5):
            same(together, index, backwards, 4 - index)
        for index in (0, 2, 4):
            same(together, index, run([index]), 0)
        same(together, 3, run([1, 3]), 1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("step", STEPS)
def test_training_leaves_its_inputs_alone_and_needs_no_global_generator(step: str) -> None:
    data = reference.dataset(train=120)
    network = networks.build("fc", data.input_shape, width=0.1)
    weights = networks.initial_weights(network, [0])
    masks = some_masks(weights, 0.5)
    kept = [value.clone() for value in weights + masks]
    settings = Settings(epochs=2, learning_rate=1e-2, batch_size=40)
    torch.manual_seed(1)
    one = training.train(network, data, weights, masks, [0], settings, make_step=STEPS[step])
    torch.manual_seed(2)
    torch.rand(5)
    same(
        one,
        0,
        training.train(network, data, weights, masks, [0], settings, make_step=STEPS[step]),
        0,
    )
    assert all(torch.equal(*pair) for pair in zip(kept, weights + masks, strict=True))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_a_diverged_replica_disturbs_no_other_and_no_frozen_weight(name: str, step: str) -> None:
    data = reference.dataset(train=120)
    network = networks.build(name, data.input_shape, width=0.1)
    weights = networks.initial_weights(network, [0, 0])
    masks = some_masks(weights, 0.5)
    weights[0][0] = torch.where(masks[0][0], weights[0][0] * 1e30, weights[0][0])
    weights[1][0] = torch.where(masks[1][0], weights[1][0] * 1e30, weights[1][0])
    settings = Settings(epochs=2, learning_rate=1e-2, batch_size=40)
    outcome = training.train(network, data, weights, masks, [0, 0], settings, make_step=STEPS[step])
    assert not outcome.training_loss[0].isfinite()
    own = [[value[1:] for value in group] for group in (weights, masks)]
    same(outcome, 1, training.train(network, data, *own, [0], settings, make_step=STEPS[step]), 0)
    for before, after, mask in zip(weights, outcome.weights, masks, strict=True):
        assert torch.equal(before[~mask], after[~mask])


# --- early stopping ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_early_stopping_is_that_of_a_plain_loop(step: str) -> None:
    """Looks every so many iterations across epochs and after the last; best look, first if tied."""
    data = reference.dataset(train=300, validation=37, test=41)
    network = networks.build("fc", data.input_shape, width=0.3)
    seeds = [0, 1, 2, 3]
    weights = [weight.double() for weight in networks.initial_weights(network, seeds)]
    masks = some_masks(weights, 0.6)
    settings = Settings(epochs=3, learning_rate=6e-3, batch_size=40, evaluate_every=4)
    reports: list[tuple[int, float]] = []
    outcome = training.train(
        network,
        data,
        weights,
        masks,
        seeds,
        settings,
        Session(lambda done, accuracy: reports.append((done, accuracy))),
        make_step=STEPS[step],
    )
    # 300 images give 7 full batches an epoch, 21 iterations in all.
    assert outcome.iterations.tolist() == [4, 8, 12, 16, 20, 21]
    for replica, seed in enumerate(seeds):
        plain = reference.train(
            network,
            data,
            [weight[replica] for weight in weights],
            [mask[replica] for mask in masks],
            seed,
            settings,
        )
        assert plain.looks == outcome.iterations.tolist()
        assert outcome.history[:, replica].tolist() == plain.validation
        best = max(plain.validation)
        first = plain.validation.index(best)
        assert outcome.early_validation[replica].item() == best
        assert outcome.early_iteration[replica].item() == plain.looks[first]
        assert outcome.early_test[replica].item() == plain.test[first]
        assert outcome.final_test[replica].item() == plain.test[-1]
        last_epoch = sum(plain.losses[14:]) / 7
        assert outcome.training_loss[replica].item() == pytest.approx(last_epoch, rel=1e-9)
    assert sum(done for done, _ in reports) == 21 * len(seeds)
    assert [accuracy for _, accuracy in reports] == pytest.approx(outcome.history.mean(1).tolist())


class Scripted:
    """A step that answers as it is told, and whose parameters count the iterations."""

    def __init__(self, script: list[list[int]]) -> None:
        self.script, self.asked = iter(script), 0
        self.now, self.best = 0, [0, 0]

    def advance(self, images: Tensor, labels: Tensor, batches: Tensor, stream: Tensor) -> Tensor:
        self.now += batches.shape[1]
        return torch.zeros(2, dtype=torch.float64)

    def correct(self, images: Tensor, labels: Tensor) -> Tensor:
        if len(labels) == 100:  # the validation split
            return torch.tensor(next(self.script))
        return torch.tensor(self.best if self.now < 0 else [self.now, self.now])

    def keep_best(self, which: Tensor) -> None:
        self.best = [self.now if new else old for new, old in zip(which, self.best, strict=True)]

    def restore_best(self) -> None:
        self.now = -1

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        return [torch.tensor([self.now, self.now]).float()], []

    def state(self) -> dict[str, Tensor]:
        raise NotImplementedError  # never asked for: nobody rests

    def load(self, state: object, images: object) -> None:
        raise NotImplementedError


def test_ties_go_to_the_first_look_and_test_accuracy_is_taken_there() -> None:
    data = reference.dataset(train=10, validation=100, test=50)
    network = networks.build("fc", data.input_shape, width=0.01)
    step = Scripted([[10, 0], [70, 0], [70, 0], [30, 0], [70, 1]])
    weights = networks.initial_weights(network, [0, 1])
    outcome = training.train(
        network,
        data,
        weights,
        some_masks(weights, 1.0),
        [0, 1],
        Settings(epochs=5, learning_rate=1, batch_size=1, evaluate_every=10),
        make_step=lambda *_: step,
    )
    assert outcome.early_iteration.tolist() == [20, 50]
    assert outcome.early_validation.tolist() == [0.7, 0.01]
    assert outcome.early_test.tolist() == [20 / 50, 50 / 50]
    assert outcome.final_test.tolist() == [1.0, 1.0]
    assert outcome.weights[0].tolist() == [50, 50]  # w_f is the last iteration's, not the best's
    assert outcome.history[:, 0].tolist() == [0.1, 0.7, 0.7, 0.3, 0.7]


# --- data order and settings ------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_a_training_goes_on_from_where_it_rested(name: str, step: str) -> None:
    data = reference.dataset((1, 8, 8), train=90, validation=40, test=40)
    network = networks.build(name, data.input_shape, width=0.1)
    weights = networks.initial_weights(network, [0, 1])
    masks = some_masks(weights, 0.4)
    settings = Settings(epochs=5, learning_rate=0.003, batch_size=20, evaluate_every=3)
    states: list[dict[str, Tensor]] = []

    def rest(state: Callable[[], Mapping[str, Tensor]]) -> None:
        states.append({key: value.clone() for key, value in state().items()})

    def run(**options: object) -> training.Outcome:
        return training.train(
            network, data, frozen_somewhere(weights, masks), masks, [0, 1], settings,
            Session(snapshots=(2, 7), **options), STEPS[step],
        )  # fmt: skip

    whole = run(rest=rest)
    assert [state["done"][0].item() for state in states] == [4, 8, 12, 16]
    for state in states:
        again = run(resume=state)
        for index in range(2):
            same(again, index, whole, index)
        assert torch.equal(again.history, whole.history)
        assert torch.equal(again.iterations, whole.iterations)
        for at in (2, 7):
            assert all(map(torch.equal, again.snapshots[at], whole.snapshots[at]))


def test_data_order_is_a_permutation_named_by_seed_and_epoch() -> None:
    order = training.data_order(3, 1, 1000)
    assert sorted(order.tolist()) == list(range(1000))
    assert torch.equal(order, training.data_order(3, 1, 1000))
    for other in (training.data_order(3, 2, 1000), training.data_order(4, 1, 1000)):
        assert (order == other).sum() < 20


def test_every_epoch_sees_full_batches_of_different_images() -> None:
    data = reference.dataset(train=103)
    seen: list[Tensor] = []

    class Watching(Scripted):
        def advance(
            self, images: Tensor, labels: Tensor, batches: Tensor, stream: Tensor
        ) -> Tensor:
            seen.append(batches[stream])
            return super().advance(images, labels, batches, stream)

        def correct(self, images: Tensor, labels: Tensor) -> Tensor:
            return torch.zeros(2, dtype=torch.int64)

    network = networks.build("fc", data.input_shape, width=0.01)
    weights = networks.initial_weights(network, [9, 5])
    training.train(
        network,
        data,
        weights,
        some_masks(weights, 1.0),
        [9, 5],
        Settings(epochs=2, learning_rate=1, batch_size=10, evaluate_every=4),
        make_step=lambda *_: Watching([]),
    )
    batches = torch.cat(seen, 1)
    assert batches.shape == (2, 20, 10)
    for replica, seed in enumerate((9, 5)):
        for epoch in range(2):
            own = batches[replica, epoch * 10 : epoch * 10 + 10].flatten()
            assert torch.equal(own, training.data_order(seed, epoch, 103)[:100])


def tiny() -> tuple[Network, Dataset]:
    data = reference.dataset(train=20)
    return networks.build("fc", data.input_shape, width=0.01), data


def test_less_than_one_batch_is_refused() -> None:
    network, data = tiny()
    weights = networks.initial_weights(network, [0])
    with pytest.raises(UserError, match="20 training images are less than one batch of 60"):
        training.train(network, data, weights, some_masks(weights, 1), [0], Settings(1, 1e-3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"evaluate_every": -1}, "evaluate_every must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate must be a positive number"),
        ({"learning_rate": float("inf")}, "learning_rate must be a positive number"),
        ({"precision": "fp8"}, "'fp8': choose one of fp32, tf32, bf16"),
    ],
)
def test_bad_settings_are_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings(**{"epochs": 1, "learning_rate": 1e-3} | change)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_cpu_computes_in_fp32_whatever_the_precision(precision: str) -> None:
    data = reference.dataset(train=40)
    network = networks.build("conv2", data.input_shape, width=0.05)
    weights = networks.initial_weights(network, [0])

    def run(name: str) -> training.Outcome:
        settings = Settings(1, 1e-3, batch_size=20, precision=name)
        return training.train(network, data, weights, some_masks(weights, 1), [0], settings)

    same(run("fp32"), 0, run(precision), 0)


def test_accuracy_is_the_share_of_right_answers() -> None:
    data = reference.dataset(test=1_203)
    network = networks.build("conv2", data.input_shape, width=0.1)
    weights = networks.initial_weights(network, [0, 1])
    biases = networks.initial_biases(network, 2)
    found = training.evaluate(network, weights, biases, data.test.images, data.test.labels)
    for replica in range(2):
        plain = reference.module(
            network, [w[replica] for w in weights], [b[replica] for b in biases]
        )
        assert found[replica].item() == reference.share_right(plain, data.test, torch.float32)
