"""R replicas trained in lock-step, and the only place that knows how a step is made fast.

Every replica trains on the data order of its own seed, with Adam, for a number of epochs; the
validation split is looked at every ``evaluate_every`` iterations, and the best look is the early
stopping iteration of section 2. Pruned weights hold their value because they are not updated,
not because the forward pass multiplies by a mask, so that one trainer serves every mask-0 action.

Two steps do the same arithmetic: `TorchStep` (any network, CPU or GPU; on a GPU one captured
CUDA graph) and `kernel.KernelStep` (fully connected networks on a CPU; touches only weights that
exist). A fixed rule chooses between them, never a timing: records must not depend on a machine's
mood.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from dltlib import networks, randomness
from dltlib.datasets import Dataset, Images, Labels, Split
from dltlib.errors import UserError
from dltlib.networks import Network

Weights = list[Float[Tensor, "replica *shape"]]
Biases = list[Float[Tensor, "replica units"]]
Masks = list[Bool[Tensor, "replica *shape"]]

PRECISIONS = ("fp32", "tf32", "bf16")
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Settings:
    """How a network is trained. Section 2 of the paper gives the values for each network."""

    epochs: int
    learning_rate: float
    batch_size: int = 60
    evaluate_every: int = 100  # iterations
    precision: str = "fp32"  # of matrix products on a GPU; weights are always fp32

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"learning_rate must be a positive number, not {self.learning_rate}")
        if self.precision not in PRECISIONS:
            raise UserError(
                f"unknown precision {self.precision!r}: choose one of {', '.join(PRECISIONS)}"
            )


@dataclass(frozen=True)
class Outcome:
    """What training R replicas gave. Accuracies are shares between 0 and 1."""

    weights: Weights  # w_f, after the last iteration
    biases: Biases
    early_iteration: Int64[Tensor, " replica"]  # of the best validation accuracy, first if tied
    early_validation: Float64[Tensor, " replica"]
    early_test: Float64[Tensor, " replica"]
    final_test: Float64[Tensor, " replica"]
    training_loss: Float64[Tensor, " replica"]  # mean over the last epoch
    history: Float64[Tensor, "evaluation replica"]  # validation accuracy at each look
    iterations: Int64[Tensor, " evaluation"]


class Step(Protocol):
    """A way to train replicas in lock-step; holds their parameters and optimiser state."""

    def advance(
        self,
        images: Images,
        labels: Labels,
        batches: Int64[Tensor, "streams iterations batch"],
        stream: Int64[Tensor, " replica"],
    ) -> Float64[Tensor, " replica"]:
        """One Adam update for each row of ``batches``; returns the mean loss over them."""

    def correct(self, images: Images, labels: Labels) -> Int64[Tensor, " replica"]:
        """Number of right answers with the present parameters."""

    def keep_best(self, which: Bool[Tensor, " replica"]) -> None:
        """Remember the present parameters of these replicas as their best."""

    def restore_best(self) -> None:
        """Make the parameters last remembered as best the present ones."""

    def parameters(self) -> tuple[Weights, Biases]:
        """The present parameters (copies)."""


StepFactory = Callable[[Network, Weights, Biases, Masks, Settings], Step]


def train(
    network: Network,
    dataset: Dataset,
    weights: Weights,
    masks: Masks,
    seeds: Sequence[int],
    settings: Settings,
    progress: Callable[[int, float], None] | None = None,
    make_step: StepFactory | None = None,
) -> Outcome:
    """Train one replica for each entry of ``seeds`` from ``weights``, updating under ``masks``.

    ``seeds`` may repeat: replicas of one seed see the same batches. ``progress`` is called with
    the number of replica-iterations done since its last call and the mean validation accuracy.
    ``make_step`` overrides the fixed choice of the step (for tests and benchmarks).
    Raises `UserError` if the training split holds less than one batch.
    """
    device = weights[0].device
    epoch_length = iterations_per_epoch(dataset, settings)
    total = epoch_length * settings.epochs
    unique = sorted(set(seeds))
    stream = torch.tensor([unique.index(seed) for seed in seeds], device=device)
    biases = networks.initial_biases(network, len(seeds), device)
    biases = [bias.to(weights[0].dtype) for bias in biases]
    make_step = make_step or choose_step(network, device)
    step = make_step(network, weights, biases, masks, settings)

    best = torch.full((len(seeds),), -1.0, dtype=torch.float64, device=device)
    early = torch.zeros(len(seeds), dtype=torch.int64, device=device)
    loss = torch.zeros(len(seeds), dtype=torch.float64, device=device)
    history, looks = [], []
    done = reported = 0
    for batches in _chunks(dataset, unique, settings, device):
        chunk_loss = step.advance(dataset.train.images, dataset.train.labels, batches, stream)
        if done >= total - epoch_length:  # the last epoch
            loss += chunk_loss * (batches.shape[1] / epoch_length)
        done += batches.shape[1]
        if done % settings.evaluate_every and done < total:
            continue
        accuracy = _share_correct(step, dataset.validation)
        better = accuracy > best
        step.keep_best(better)
        best = torch.where(better, accuracy, best)
        early = torch.where(better, done, early)
        history.append(accuracy)
        looks.append(done)
        # Reading the accuracy makes a GPU wait, so there it is done once an epoch.
        if progress and (device.type == "cpu" or done - reported >= epoch_length or done == total):
            progress((done - reported) * len(seeds), accuracy.mean().item())
            reported = done

    final_test = _share_correct(step, dataset.test)
    final_weights, final_biases = step.parameters()
    step.restore_best()
    return Outcome(
        weights=final_weights,
        biases=final_biases,
        early_iteration=early.cpu(),
        early_validation=best.cpu(),
        early_test=_share_correct(step, dataset.test).cpu(),
        final_test=final_test.cpu(),
        training_loss=loss.cpu(),
        history=torch.stack(history).cpu(),
        iterations=torch.tensor(looks),
    )


def iterations_per_epoch(dataset: Dataset, settings: Settings) -> int:
    """Full batches in the training split; the rest of an epoch's permutation is left out."""
    count = len(dataset.train) // settings.batch_size
    if count == 0:
        raise UserError(
            f"{len(dataset.train)} training images are less than one batch of "
            f"{settings.batch_size}: choose a smaller batch_size or more train_images"
        )
    return count


def data_order(seed: int, epoch: int, images: int) -> Int64[Tensor, " images"]:
    """The order in which a replica of this seed sees the training images in this epoch."""
    return torch.randperm(images, generator=randomness.generator(seed, "data order", epoch))


def evaluate(
    network: Network, weights: Weights, biases: Biases, images: Images, labels: Labels
) -> Float64[Tensor, " replica"]:
    """Share of right answers of each replica."""
    return count_correct(network, weights, biases, images, labels).double() / len(labels)


@torch.no_grad()
def count_correct(
    network: Network, weights: Weights, biases: Biases, images: Images, labels: Labels
) -> Int64[Tensor, " replica"]:
    """Number of right answers of each replica, all on the same images."""
    correct = torch.zeros(weights[0].shape[0], dtype=torch.int64, device=weights[0].device)
    for first in range(0, len(labels), EVALUATION_BATCH):
        batch = images[first : first + EVALUATION_BATCH].to(weights[0].dtype).div(255)
        answers = networks.forward(network, weights, biases, batch[None]).argmax(-1)
        correct += (answers == labels[first : first + EVALUATION_BATCH]).sum(-1)
    return correct


def _share_correct(step: Step, split: Split) -> Float64[Tensor, " replica"]:
    return step.correct(split.images, split.labels).double() / len(split)


def _chunks(
    dataset: Dataset, seeds: Sequence[int], settings: Settings, device: torch.device
) -> Iterator[Int64[Tensor, "seed iterations batch"]]:
    """The batches of all epochs, cut where an epoch ends or the validation split is looked at."""
    length = iterations_per_epoch(dataset, settings)
    done = 0
    for epoch in range(settings.epochs):
        order = torch.stack([data_order(seed, epoch, len(dataset.train)) for seed in seeds])
        order = order[:, : length * settings.batch_size].to(device)
        batches = order.reshape(len(seeds), length, settings.batch_size)
        first = 0
        while first < length:
            last = min(length, first + settings.evaluate_every - done % settings.evaluate_every)
            yield batches[:, first:last]
            done += last - first
            first = last


def choose_step(network: Network, device: torch.device) -> StepFactory:
    """The fixed rule: the kernel for fully connected networks on a CPU, else stock torch."""
    return kernel_step if device.type == "cpu" and not network.channels else TorchStep


def kernel_step(
    network: Network, weights: Weights, biases: Biases, masks: Masks, settings: Settings
) -> Step:
    """The step that touches only weights that exist."""
    from dltlib.kernel import KernelStep  # compiles; whoever has a GPU never needs it

    return KernelStep(
        weights,
        biases,
        masks,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
    )


def together(replicas: int, device: torch.device) -> list[slice]:
    """Which replicas share an operation: all of them on a GPU, each its own on a CPU.

    A CPU's vectorised loops treat the ends of a tensor with other instructions than its middle,
    so that a replica's bits would depend on its place among the others.
    """
    size = 1 if device.type == "cpu" else replicas
    return [slice(first, first + size) for first in range(0, replicas, size)]


def repeatable(
    function: Callable[..., object], inputs: tuple[Tensor, ...], changes: Sequence[Tensor]
) -> Callable[..., object]:
    """``function``, to be called many times with values like ``inputs``.

    On a GPU it is captured once as a CUDA graph, and each call replays it, which costs the host
    two launches instead of hundreds; on a CPU it is returned as it is. Warming up runs the
    function, so the tensors that it changes in place (``changes``) are put back.
    """
    if not inputs[0].is_cuda:
        return function
    places = [value.clone() for value in inputs]
    before = [value.detach().clone() for value in changes]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function(*places)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function(*places)
    with torch.no_grad():
        for value, old in zip(changes, before, strict=True):
            value.copy_(old)

    def replay(*values: Tensor | int) -> None:
        for place, value in zip(places, values, strict=True):
            if isinstance(value, Tensor):
                place.copy_(value)
            else:
                place.fill_(value)
        graph.replay()

    return replay


class TorchStep:
    """Stock torch operations: matrix products, convolutions, fused Adam, for any network."""

    def __init__(
        self,
        network: Network,
        weights: Weights,
        biases: Biases,
        masks: Masks,
        settings: Settings,
    ) -> None:
        self.network, self.settings = network, settings
        self.device = weights[0].device
        self.values = [value.detach().clone() for value in weights + biases]
        self.best = [value.clone() for value in self.values]
        self.slices = together(len(weights[0]), self.device)
        # The leaves of each group of replicas are views of the stacked values.
        self.leaves = [
            [value[group].requires_grad_() for value in self.values] for group in self.slices
        ]
        self.masks = [
            [None if mask[group].all() else mask[group].to(weights[0].dtype) for mask in masks]
            for group in self.slices
        ]
        self.optimizer = torch.optim.Adam(
            [leaf for leaves in self.leaves for leaf in leaves],
            lr=settings.learning_rate,
            fused=True,
            capturable=self.device.type == "cuda",
        )
        self.loss = torch.zeros(len(weights[0]), dtype=torch.float64, device=self.device)
        self.update: Callable[..., object] | None = None

    def advance(
        self,
        images: Images,
        labels: Labels,
        batches: Int64[Tensor, "streams iterations batch"],
        stream: Int64[Tensor, " replica"],
    ) -> Float64[Tensor, " replica"]:
        if self.update is None:
            self.update = repeatable(
                partial(self._iterate, images, labels, stream), (batches[:, 0],), self.values
            )
            for state in self.optimizer.state.values():  # what warming up left
                for tensor in state.values():
                    tensor.zero_()
        self.loss.zero_()
        for index in range(batches.shape[1]):
            self.update(batches[:, index])
        return self.loss / batches.shape[1]

    def correct(self, images: Images, labels: Labels) -> Int64[Tensor, " replica"]:
        with _precision(self.settings.precision, self.device):
            return count_correct(self.network, *self._parameters(), images, labels)

    def keep_best(self, which: Bool[Tensor, " replica"]) -> None:
        for best, value in zip(self.best, self.values, strict=True):
            torch.where(which.view(-1, *[1] * (value.ndim - 1)), value, best, out=best)

    def restore_best(self) -> None:
        for best, value in zip(self.best, self.values, strict=True):
            value.copy_(best)

    def parameters(self) -> tuple[Weights, Biases]:
        weights, biases = self._parameters()
        return [weight.clone() for weight in weights], [bias.clone() for bias in biases]

    def _parameters(self) -> tuple[Weights, Biases]:
        layers = len(self.network.layers)
        return self.values[:layers], self.values[layers:]

    def _iterate(
        self,
        images: Images,
        labels: Labels,
        stream: Int64[Tensor, " replica"],
        rows: Int64[Tensor, "streams batch"],
    ) -> None:
        """One update of all replicas, each on its stream's row of image indices."""
        batch = images[rows].to(self.values[0].dtype).div(255)
        targets = labels[rows]
        layers = len(self.network.layers)
        self.optimizer.zero_grad(set_to_none=True)
        for group, leaves, masks in zip(self.slices, self.leaves, self.masks, strict=True):
            with _precision(self.settings.precision, self.device):
                logits = networks.forward(
                    self.network, leaves[:layers], leaves[layers:], batch[stream[group]]
                )
            losses = cross_entropy(logits.to(self.values[0].dtype), targets[stream[group]])
            losses.sum().backward()  # the sum leaves every replica's gradient its own
            for leaf, mask in zip(leaves[:layers], masks, strict=True):
                if mask is not None:
                    leaf.grad.mul_(mask)
            self.loss[group] += losses.detach()
        self.optimizer.step()


def cross_entropy(
    logits: Float[Tensor, "replica batch classes"], labels: Int64[Tensor, "replica batch"]
) -> Float[Tensor, " replica"]:
    """Each replica's mean loss over its batch."""
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(1)


def loss_gradient(network: Network, weights: Weights, split: Split) -> Weights:
    """The gradient of the mean loss over a whole split, biases at zero (for snip and grad)."""
    gradients = [torch.zeros_like(weight) for weight in weights]
    biases = networks.initial_biases(network, len(weights[0]), weights[0].device)
    for group in together(len(weights[0]), weights[0].device):
        leaves = [weight[group].detach().requires_grad_() for weight in weights]
        for first in range(0, len(split), EVALUATION_BATCH):
            images = split.images[first : first + EVALUATION_BATCH].to(weights[0].dtype).div(255)
            labels = split.labels[first : first + EVALUATION_BATCH]
            logits = networks.forward(
                network, leaves, [bias[group] for bias in biases], images[None]
            )
            share = len(labels) / len(split)
            loss = cross_entropy(logits, labels.expand(len(logits), -1)).sum() * share
            for gradient, part in zip(gradients, torch.autograd.grad(loss, leaves), strict=True):
                gradient[group] += part
    return gradients


@contextmanager
def _precision(precision: str, device: torch.device) -> Iterator[None]:
    """Matrix products and convolutions in that precision, on a GPU; a CPU computes in fp32."""
    if device.type != "cuda" or precision == "fp32":
        yield
    elif precision == "bf16":
        with torch.autocast("cuda", torch.bfloat16):
            yield
    else:
        backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
        before = [backend.allow_tf32 for backend in backends]
        try:
            for backend in backends:
                backend.allow_tf32 = True
            yield
        finally:
            for backend, value in zip(backends, before, strict=True):
                backend.allow_tf32 = value
