"""A GPU gives what a CPU gives: run by `make test` where torch sees one, skipped elsewhere.

Double precision holds the arithmetic to a few digits of the last; the precisions of single numbers
are then held to it. Nothing here needs real images.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import reference
import torch
from torch import Tensor

from dltlib import (
    bench,
    experiments,
    fingerprints,
    networks,
    parallel,
    records,
    runs,
    storage,
    supermasks,
    training,
)
from dltlib.errors import UserError
from dltlib.kinds import learned_masks
from dltlib.training import Settings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU")

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SHAPES = {"fc": (1, 8, 8), "conv2": (3, 8, 8)}


def case(name: str, dtype: torch.dtype = torch.float64) -> tuple:
    """A small network, images, and weights with masks at about a third, for three replicas."""
    network = networks.build(name, SHAPES[name], 0.1)
    generator = torch.Generator().manual_seed(3)
    weights = [weight.to(dtype) for weight in networks.initial_weights(network, [0, 0, 1])]
    masks = [torch.rand(weight.shape, generator=generator) < 0.35 for weight in weights]
    return network, reference.dataset(SHAPES[name]), weights, masks


def outcome(
    name: str, device: torch.device, dtype: torch.dtype, settings: Settings
) -> training.Outcome:
    network, dataset, weights, masks = case(name, dtype)
    return training.train(
        network,
        dataset.to(device),
        [weight.to(device) for weight in weights],
        [mask.to(device) for mask in masks],
        [0, 0, 1],
        settings,
    )


def trained(
    name: str, device: torch.device, dtype: torch.dtype, settings: Settings
) -> list[Tensor]:
    found = outcome(name, device, dtype, settings)
    return [value.cpu() for value in found.weights + found.biases]


def differ(one: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference, as a share of the largest value of its tensor."""
    return max(
        ((a.double() - b.double()).abs().max() / b.abs().max().clamp(min=1e-30)).item()
        for a, b in zip(one, other, strict=True)
    )


def eager(function: Callable, inputs: tuple, changes: object) -> Callable:
    """In the place of `parallel.repeatable`: nothing is captured."""
    return function


@pytest.mark.parametrize("name", SHAPES)
def test_tickets_are_those_of_the_kernel(name: str) -> None:
    settings = Settings(epochs=8, learning_rate=1e-3, batch_size=60, evaluate_every=7)
    there, here = (trained(name, device, torch.float64, settings) for device in (GPU, CPU))
    assert differ(there, here) < 1e-9


@pytest.mark.parametrize("name", SHAPES)
def test_frozen_weights_stay_bit_for_bit(name: str) -> None:
    *_, weights, masks = case(name, torch.float32)
    found = outcome(name, GPU, torch.float32, Settings(epochs=2, learning_rate=1e-3))
    for before, mask, after in zip(weights, masks, found.weights, strict=True):
        assert torch.equal(before[~mask], after.cpu()[~mask])
        assert not torch.equal(before[mask], after.cpu()[mask])


@pytest.mark.parametrize("name", SHAPES)
def test_a_captured_graph_is_the_eager_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(epochs=3, learning_rate=1e-3)
    captured = trained(name, GPU, torch.float64, settings)
    monkeypatch.setattr(parallel, "repeatable", eager)
    assert differ(trained(name, GPU, torch.float64, settings), captured) < 1e-11


def test_a_step_refuses_other_images_than_its_graph_has_seen() -> None:
    network, dataset, weights, masks = case("fc", torch.float32)
    weights, masks = ([layer.to(GPU) for layer in every] for every in (weights, masks))
    biases = networks.initial_biases(network, 3, GPU)
    step = training.TorchStep(network, weights, biases, masks, Settings(1, 1e-3))
    batches = torch.arange(60, device=GPU).view(1, 1, 60)
    stream = torch.zeros(3, dtype=torch.int64, device=GPU)
    train = dataset.train.to(GPU)
    step.advance(train.images, train.labels, batches, stream)
    with pytest.raises(ValueError, match="the images that it began with"):
        step.advance(train.images.clone(), train.labels, batches, stream)


@pytest.mark.parametrize("name", SHAPES)
def test_each_precision_is_what_it_says(name: str) -> None:
    """Losses, not weights: of a gradient that is nearly nothing Adam makes a whole step."""

    def losses(dtype: torch.dtype, precision: str) -> Tensor:
        settings = Settings(1, learning_rate=1e-4, precision=precision)
        return outcome(name, GPU, dtype, settings).training_loss.cpu().double()

    exact = losses(torch.float64, "fp32")
    error = {
        precision: ((losses(torch.float32, precision) - exact).abs() / exact).max().item()
        for precision in ("fp32", "tf32", "bf16")
    }
    assert error["fp32"] < 1e-5
    assert error["fp32"] < error["tf32"] < 1e-2
    assert error["fp32"] < error["bf16"] < 5e-2


@pytest.mark.parametrize(("precision", "smallest", "largest"), [
    ("fp32", 0.0, 2e-6), ("tf32", 2e-5, 2e-3), ("bf16", 2e-4, 2e-2),
])  # fmt: skip
def test_products_and_convolutions_round_as_their_precision_does(
    precision: str, smallest: float, largest: float
) -> None:
    generator = torch.Generator(GPU).manual_seed(1)
    a, b = (torch.rand(512, 512, device=GPU, generator=generator) for _ in range(2))
    images = torch.rand(8, 64, 32, 32, device=GPU, generator=generator)
    kernel = torch.rand(64, 64, 3, 3, device=GPU, generator=generator)
    with training.precision_of(precision, GPU):
        found = [a @ b, torch.nn.functional.conv2d(images, kernel, padding=1)]
    exact = [
        a.double() @ b.double(),
        torch.nn.functional.conv2d(images.double(), kernel.double(), padding=1),
    ]
    assert smallest <= differ([value.cpu() for value in found], [v.cpu() for v in exact]) < largest


def learned(name: str, device: torch.device, epochs: int) -> supermasks.Learner:
    network, dataset, *_ = case(name, torch.float32)
    sources = (
        "learned/initial/plain",
        "learned/constant/rescaled",
        "learned_identity/initial/plain",
    )
    arms = [learned_masks.parse(arm).variant for arm in sources]
    learner = supermasks.Learner.of_variants(network, arms, [0, 1, 2], device)
    for epoch in range(epochs):
        learner.learn(dataset.to(device), Settings(1, learning_rate=10.0, batch_size=50), epoch)
    return learner


@pytest.mark.parametrize("name", SHAPES)
def test_learned_masks_are_sampled_and_learned_as_on_a_cpu(name: str) -> None:
    samples = (learned(name, device, 0).sample(5) for device in (CPU, GPU))
    for here, there in zip(*samples, strict=True):
        assert torch.equal(here, there.cpu())
    # A mask whose draw falls within the last bit of its probability may tip over; few do.
    one, other = learned(name, CPU, 6), learned(name, GPU, 6)
    for here, there in zip(one.scores, other.scores, strict=True):
        close = (here - there.cpu()).abs() < 1e-3 * here.abs().max()
        assert close.double().mean() > 0.999
    split = reference.dataset(SHAPES[name]).test
    assert (one.accuracy(split) - other.accuracy(split.to(GPU)).cpu()).abs().max() < 0.01


@pytest.mark.parametrize("name", SHAPES)
def test_a_learners_captured_graph_is_the_eager_loop(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = learned(name, GPU, 3)
    monkeypatch.setattr(parallel, "repeatable", eager)
    again = learned(name, GPU, 3)
    for here, there in zip(captured.scores, again.scores, strict=True):
        close = (here - there).abs() < 1e-3 * here.abs().max()
        assert close.double().mean() > 0.999


def test_the_graph_of_a_learner_is_captured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = []
    capture = parallel.repeatable

    def counted(*arguments: object, **options: object) -> Callable:
        captures.append(arguments)
        return capture(*arguments, **options)

    monkeypatch.setattr(parallel, "repeatable", counted)
    network, dataset, *_ = case("fc", torch.float32)
    arms = [learned_masks.parse("learned/initial/plain").variant]
    learner = supermasks.Learner.of_variants(network, arms, [0], GPU)
    there, settings = dataset.to(GPU), Settings(1, learning_rate=10.0, batch_size=50)
    for epoch in range(4):
        learner.learn(there, settings, epoch)
    assert len(captures) == 1


@pytest.mark.parametrize("experiment", ["supermasks", "criteria"])
def test_a_small_experiment_gives_the_accuracies_of_a_cpu(experiment: str) -> None:
    """Within a few of the 300 test images: single precision sums in another order there."""
    plan = experiments.plan(experiment, "fc", "tiny", seeds=1, rounds=3)
    here, there = runs.table(plan, "cpu"), runs.table(plan, "cuda")
    assert here[records.KEY].equals(there[records.KEY])
    assert here["density"].equals(there["density"])
    assert (here["test_accuracy"] - there["test_accuracy"]).abs().max() < 0.05


@pytest.mark.parametrize(("begun", "ended"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_begun_on_one_goes_on_on_the_other_where_asked_for(
    begun: str, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path / "runs"))
    plan = experiments.plan("criteria", "fc", "tiny", seeds=1, rounds=2, epochs=1)
    dataset = experiments.load_dataset(plan)
    first, second = torch.device(begun), torch.device(ended)
    there = dataset.to(first)
    work = storage.resume(plan, fingerprints.take(plan, there, first), len(plan.replicas))
    next(runs.rounds(plan, work.checkpoints[0], first, there))
    with pytest.raises(UserError, match="another kind of processor"):
        runs.run(plan, second)
    target = runs.run(plan, second, accept_change=True)
    record = records.read(target.stem, target.parent)
    assert len(record.table) == len(plan.arms) * 3
    facts = {"cpu": "kernel", "cuda": "gpu"}
    assert facts[ended] in record.manifest["processor"]
    assert facts[begun] in record.manifest["continued_from"][0]["processor"]


@pytest.mark.parametrize("name", ["fc", "conv2"])
def test_memory_is_estimated_above_what_is_used_and_not_far_above(name: str) -> None:
    plan = experiments.plan("criteria", name, "paper", dataset="cifar10", seeds=1, epochs=1)
    network, replicas = experiments.build_network(plan), 8
    dataset = reference.dataset((3, 32, 32), train=600, validation=600, test=600).to(GPU)
    weights = networks.initial_weights(network, range(replicas), GPU)
    masks = [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    training.train(network, dataset, weights, masks, range(replicas), plan.settings())
    used = torch.cuda.max_memory_allocated() - before
    each, together = experiments.memory(plan, GPU)
    assert used < replicas * each + together < 10 * used


def test_the_bench_has_its_gpu_part() -> None:
    grey, colours = reference.dataset((1, 28, 28)), reference.dataset((3, 32, 32))
    network_cases = bench.gpu_cases(grey, colours, Settings(1, 1e-3), bench.QUICK, GPU)
    rows = bench.take_turns(network_cases, repetitions=1, seconds=0.01)
    assert {row["network"] for row in rows} >= {"fc", "conv6"}
    assert all(row["milliseconds"][0] > 0 for row in rows)
