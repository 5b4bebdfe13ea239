"""R replicas trained in lock-step, and the only place that knows how a step is made fast.

Every replica trains on the data order of its own seed, with Adam, for a number of epochs; the
validation split is looked at every ``evaluate_every`` iterations, and the best look is the early
stopping iteration of section 2. Pruned weights hold their value because they are not updated,
not because the forward pass multiplies by a mask, so that one trainer serves every mask-0 action.

Two steps do the same arithmetic: `TorchStep` (CPU or GPU; on a GPU one captured CUDA graph) and
`kernel.KernelStep` (CPU; touches only weights that exist). The device chooses between them, never
a timing: records must not depend on a machine's mood.
"""

import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from dltlib import networks, parallel, randomness
from dltlib.datasets import Dataset, Images, Labels, Split
from dltlib.errors import UserError
from dltlib.history import Masks, Weights
from dltlib.networks import Network
from dltlib.settings import Settings

Biases = list[Float[Tensor, "replica _"]]
State = Mapping[str, Tensor]  # of a training between two epochs

EVALUATION_BATCH = 500


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
    history: Float64[Tensor, "evaluation replica"]  # validation accuracy at each evaluation
    iterations: Int64[Tensor, " evaluation"]
    snapshots: dict[int, Weights]  # at the iterations that were asked for


@runtime_checkable
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

    def state(self) -> dict[str, Tensor]:
        """All that decides what comes next, for `load` of a step begun from the same weights."""

    def load(self, state: Mapping[str, Tensor], images: Images) -> None:
        """Go on from there; ``images`` are those to be trained on."""


StepFactory = Callable[[Network, Weights, Biases, Masks, Settings], Step]


def check_snapshots(iterations: Collection[int], total: int, epoch_length: int) -> None:
    """Raise `UserError` for iterations at which a training of ``total`` keeps no weights.

    >>> training.check_snapshots([100], total=168, epoch_length=21)
    """
    late = [iteration for iteration in iterations if not 0 < iteration <= total - epoch_length]
    if late:
        raise UserError(
            f"weights can be kept at iterations 1 to {total - epoch_length} of this training, "
            f"before its last epoch, and not at {', '.join(map(str, late))}"
        )


@dataclass(frozen=True)
class Session:
    """Who hears of a training, what is kept of it, and where it goes on from.

    ``progress`` is called with the number of replica-iterations done since its last call and the
    mean validation accuracy. ``look`` is called wherever validation accuracy is measured, with the
    iteration and the parameters then. ``snapshots`` are iterations after which the weights are
    kept; none may lie in the last epoch. ``rest`` is called after each epoch but the last with a
    function that gives the state of the training; to ``resume`` from one, everything else must be
    the same, and then so is what comes out.
    """

    progress: Callable[[int, float], None] | None = None
    look: Callable[[int, Weights, Biases], None] | None = None
    snapshots: Collection[int] = ()
    rest: Callable[[Callable[[], State]], None] | None = None
    resume: State | None = None


def train(
    network: Network,
    dataset: Dataset,
    weights: Weights,
    masks: Masks,
    seeds: Sequence[int],
    settings: Settings,
    session: Session = Session(),  # a value without state
    make_step: StepFactory | None = None,
) -> Outcome:
    """Train one replica for each entry of ``seeds`` from ``weights``, updating under ``masks``.

    ``seeds`` may repeat: replicas of one seed see the same batches. ``make_step`` overrides the
    fixed choice of the step (for tests and benchmarks).
    Raises `UserError` if the training split holds less than one batch, or for a snapshot that
    cannot be kept.

    >>> outcome = training.train(network, digits, weights, masks, [0, 1], one_epoch)
    >>> outcome.early_test.shape, bool((outcome.early_test > 0.1).all())  # better than chance
    (torch.Size([2]), True)
    """
    device = weights[0].device
    epoch_length = iterations_per_epoch(dataset, settings)
    total = epoch_length * settings.epochs
    snapshots, resume = session.snapshots, session.resume
    check_snapshots(snapshots, total, epoch_length)
    unique = sorted(set(seeds))
    stream = torch.tensor([unique.index(seed) for seed in seeds], device=device)
    biases = networks.initial_biases(network, len(seeds), device)
    biases = [bias.to(weights[0].dtype) for bias in biases]
    make_step = make_step or choose_step(device)
    step = make_step(network, weights, biases, masks, settings)

    best = torch.full((len(seeds),), -1.0, dtype=torch.float64, device=device)
    early = torch.zeros(len(seeds), dtype=torch.int64, device=device)
    loss = torch.zeros(len(seeds), dtype=torch.float64, device=device)
    history: list[Tensor] = []
    evaluated: list[int] = []
    kept: dict[int, Weights] = {}
    done = reported = 0
    if resume is not None:
        step.load(resume, dataset.train.images)
        best, early, loss = (resume[name].to(device) for name in ("best", "early", "loss"))
        history = list(resume["history"].to(device))
        evaluated = resume["evaluated"].tolist()
        done, reported = resume["done"].tolist()
        kept = {
            at: [resume[f"kept/{at}/{layer:03d}"].to(device) for layer in range(len(weights))]
            for at in snapshots
            if at <= done
        }

    def state() -> State:
        return step.state() | {
            "best": best,
            "early": early,
            "loss": loss,
            "history": torch.stack(history) if history else torch.zeros(0, len(seeds)),
            "evaluated": torch.tensor(evaluated, dtype=torch.int64),
            "done": torch.tensor([done, reported]),
            **{
                f"kept/{at}/{index:03d}": layer
                for at, layers in kept.items()
                for index, layer in enumerate(layers)
            },
        }

    for batches in _chunks(dataset, unique, settings, device, snapshots, done):
        if session.rest and done and done % epoch_length == 0:
            session.rest(state)
        chunk_loss = step.advance(dataset.train.images, dataset.train.labels, batches, stream)
        if done >= total - epoch_length:  # the last epoch
            loss += chunk_loss * (batches.shape[1] / epoch_length)
        done += batches.shape[1]
        if done in snapshots:
            kept[done] = step.parameters()[0]
        if done % settings.evaluate_every and done < total:
            continue
        accuracy = _share_correct(step, dataset.validation)
        better = accuracy > best
        step.keep_best(better)
        best = torch.where(better, accuracy, best)
        early = torch.where(better, done, early)
        history.append(accuracy)
        evaluated.append(done)
        if session.look:
            session.look(done, *step.parameters())
        # Reading the accuracy makes a GPU wait, so there it is done once an epoch.
        due = device.type == "cpu" or done - reported >= epoch_length or done == total
        if session.progress and due:
            session.progress((done - reported) * len(seeds), accuracy.mean().item())
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
        iterations=torch.tensor(evaluated),
        snapshots=kept,
    )


def iterations_per_epoch(dataset: Dataset, settings: Settings) -> int:
    """Full batches in the training split; the rest of an epoch's permutation is left out.

    >>> training.iterations_per_epoch(digits, one_epoch)
    21
    """
    count = len(dataset.train) // settings.batch_size
    if count == 0:
        raise UserError(
            f"{len(dataset.train)} training images are less than one batch of "
            f"{settings.batch_size}: choose a smaller batch_size or more train_images"
        )
    return count


def data_order(seed: int, epoch: int, images: int) -> Int64[Tensor, " images"]:
    """The order in which a replica of this seed sees the training images in this epoch.

    >>> training.data_order(seed=0, epoch=0, images=1_297).sort().values[:3]
    tensor([0, 1, 2])
    """
    return torch.randperm(images, generator=randomness.generator(seed, "data order", epoch))


def evaluate(
    network: Network, weights: Weights, biases: Biases, images: Images, labels: Labels
) -> Float64[Tensor, " replica"]:
    """Share of right answers of each replica, in fp32.

    >>> test = digits.test
    >>> bool((training.evaluate(network, weights, biases, test.images, test.labels) < 0.5).all())
    True
    """
    with precision_of("fp32", weights[0].device):
        return count_correct(network, weights, biases, images, labels).double() / len(labels)


def count_correct(
    network: Network, weights: Weights, biases: Biases, images: Images, labels: Labels
) -> Int64[Tensor, " replica"]:
    """Number of right answers of each replica, all on the same images.

    >>> test = digits.test
    >>> training.count_correct(network, weights, biases, test.images, test.labels).shape
    torch.Size([2])
    """
    replicas, device = len(weights[0]), weights[0].device
    correct = torch.zeros(replicas, dtype=torch.int64, device=device)

    @torch.no_grad()
    def work(group: slice) -> None:
        own_weights = [weight[group] for weight in weights]
        own_biases = [bias[group] for bias in biases]
        for first in range(0, len(labels), EVALUATION_BATCH):
            part = slice(first, first + EVALUATION_BATCH)
            batch = images[part].to(weights[0].dtype).div(255)
            answers = networks.forward(network, own_weights, own_biases, batch[None]).argmax(-1)
            correct[group] += (answers == labels[part]).sum(-1)

    parallel.spread(work, parallel.groups(replicas, device))
    return correct


def _share_correct(step: Step, split: Split) -> Float64[Tensor, " replica"]:
    return step.correct(split.images, split.labels).double() / len(split)


def _chunks(
    dataset: Dataset,
    seeds: Sequence[int],
    settings: Settings,
    device: torch.device,
    snapshots: Collection[int],
    done: int = 0,
) -> Iterator[Int64[Tensor, "seed iterations batch"]]:
    """The batches of all epochs after ``done`` iterations (whole epochs), cut where an epoch ends,
    where the validation split is looked at and where weights are kept."""
    length = iterations_per_epoch(dataset, settings)
    for epoch in range(done // length, settings.epochs):
        order = torch.stack([data_order(seed, epoch, len(dataset.train)) for seed in seeds])
        order = order[:, : length * settings.batch_size].to(device)
        batches = order.reshape(len(seeds), length, settings.batch_size)
        first = 0
        while first < length:
            last = min(length, first + settings.evaluate_every - done % settings.evaluate_every)
            last = min([last, *(first + at - done for at in snapshots if at > done)])
            yield batches[:, first:last]
            done += last - first
            first = last


def uses_stock_torch(device: torch.device) -> bool:
    """The fixed rule: the kernel on a CPU, stock torch on a GPU.

    >>> [training.uses_stock_torch(torch.device(name)) for name in ("cpu", "cuda")]
    [False, True]
    """
    return device.type != "cpu"


# Of the weights of a network without convolutions. Measured with masks by criterion on FC, 15,000
# images, two threads: stock torch takes 56 ms at any density; the kernel 45 at density 1, 34 at
# 0.41, 25 at 0.28 and 7 at 0.01. Records were made when it took longer than stock torch above this
# share, and what they count right near a tie depends on who counts it.
SPARSE = 0.3


def evaluates_sparsely(network: Network, weights: Weights) -> bool:
    """The fixed rule for networks that are not trained: on a CPU the kernel, which skips zeros,
    wherever there are convolutions or few weights; stock torch elsewhere.

    >>> training.evaluates_sparsely(network, weights)
    False
    >>> training.evaluates_sparsely(network, [weight * (weight > 0.2) for weight in weights])
    True
    """
    if weights[0].device.type != "cpu":
        return False
    count = len(weights[0]) * network.weight_count
    left = sum(weight.count_nonzero().item() for weight in weights)
    return bool(network.channels) or left < SPARSE * count


def choose_step(device: torch.device) -> StepFactory:
    """See `uses_stock_torch`.

    >>> training.choose_step(torch.device("cuda")).__name__
    'TorchStep'
    """
    return TorchStep if uses_stock_torch(device) else kernel_step


def kernel_step(
    network: Network, weights: Weights, biases: Biases, masks: Masks, settings: Settings
) -> Step:
    """The step that touches only weights that exist.

    >>> step = training.kernel_step(network, weights, biases, masks, one_epoch)
    >>> step.correct(digits.test.images, digits.test.labels).shape
    torch.Size([2])
    """
    from dltlib.kernel import KernelStep  # compiles; whoever has a GPU never needs it

    return KernelStep(
        weights,
        biases,
        masks,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        image_shape=network.input_shape,
    )


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
        self.values = [networks.as_used(value.detach().clone()) for value in weights + biases]
        self.best = [value.clone() for value in self.values]
        self.loss = torch.zeros(len(weights[0]), dtype=torch.float64, device=self.device)
        self.groups = [
            _Group(group, self.values, masks, settings)
            for group in parallel.groups(len(weights[0]), self.device)
        ]

    def advance(
        self,
        images: Images,
        labels: Labels,
        batches: Int64[Tensor, "streams iterations batch"],
        stream: Int64[Tensor, " replica"],
    ) -> Float64[Tensor, " replica"]:
        """See `Step`."""
        self.loss.zero_()

        def work(group: _Group) -> None:
            rows = batches[stream[group.replicas]]
            if group.update is None:
                group.seen = images, labels
                group.update = parallel.repeatable(
                    partial(self._iterate, group, images, labels),
                    (rows[:, 0],),
                    changes=[*self.values, self.loss],
                )
                for moment, start in zip(group.moments(), group.start, strict=True):
                    moment.copy_(start)  # what warming up left goes
            if not all(map(operator.is_, group.seen, (images, labels))):
                raise ValueError("a step trains on the images that it began with")
            for index in range(rows.shape[1]):
                group.update(rows[:, index])

        parallel.spread(work, self.groups)
        return self.loss / batches.shape[1]

    def correct(self, images: Images, labels: Labels) -> Int64[Tensor, " replica"]:
        """See `Step`."""
        with precision_of(self.settings.precision, self.device):
            return count_correct(self.network, *self._parameters(), images, labels)

    def keep_best(self, which: Bool[Tensor, " replica"]) -> None:
        """See `Step`."""
        for best, value in zip(self.best, self.values, strict=True):
            torch.where(which.view(-1, *[1] * (value.ndim - 1)), value, best, out=best)

    def restore_best(self) -> None:
        """See `Step`."""
        for best, value in zip(self.best, self.values, strict=True):
            value.copy_(best)

    def parameters(self) -> tuple[Weights, Biases]:
        """See `Step`."""
        weights, biases = self._parameters()
        return [weight.clone() for weight in weights], [bias.clone() for bias in biases]

    def state(self) -> dict[str, Tensor]:
        """See `Step`."""
        return {name: value.detach().clone() for name, value in self._parts()}

    def load(self, state: Mapping[str, Tensor], images: Images) -> None:
        """See `Step`."""
        with torch.no_grad():
            for name, value in self._parts():
                value.copy_(state[name])
        for group in self.groups:
            group.start = [moment.clone() for moment in group.moments()]

    def _parts(self) -> Iterator[tuple[str, Tensor]]:
        """What training changes, by name: the tensors themselves."""
        for index, (value, best) in enumerate(zip(self.values, self.best, strict=True)):
            yield f"value/{index:03d}", value
            yield f"best value/{index:03d}", best
        for number, group in enumerate(self.groups):
            for index, moment in enumerate(group.moments()):
                yield f"adam/{number}/{index:03d}", moment

    def _parameters(self) -> tuple[Weights, Biases]:
        layers = len(self.network.layers)
        return self.values[:layers], self.values[layers:]

    def _iterate(
        self, group: "_Group", images: Images, labels: Labels, rows: Int64[Tensor, "replica batch"]
    ) -> None:
        """One update of a group's replicas, each on its row of image indices."""
        layers = len(self.network.layers)
        batch = images[rows].to(self.values[0].dtype).div(255)
        group.optimizer.zero_grad(set_to_none=True)
        with precision_of(self.settings.precision, self.device):
            logits = networks.forward(
                self.network, group.leaves[:layers], group.leaves[layers:], batch
            )
            losses = networks.cross_entropy(logits.to(self.values[0].dtype), labels[rows])
            losses.sum().backward()  # the sum leaves every replica's gradient its own
        for leaf, pruned in zip(group.leaves[:layers], group.pruned, strict=True):
            if pruned is not None:  # filled, not multiplied: a diverged gradient times 0 is nan
                leaf.grad.masked_fill_(pruned, 0.0)  # type: ignore[union-attr]  # it has one
        group.optimizer.step()
        self.loss[group.replicas] += losses.detach()


class _Group:
    """Replicas that share operations: their leaves (views of all values), masks and optimiser."""

    def __init__(
        self, replicas: slice, values: list[Tensor], masks: Masks, settings: Settings
    ) -> None:
        self.replicas = replicas
        self.leaves = [value[replicas].requires_grad_() for value in values]
        trained = [mask[replicas] for mask in masks]
        self.pruned = [None if mask.all() else networks.as_used(~mask) for mask in trained]
        self.optimizer = torch.optim.Adam(
            self.leaves, lr=settings.learning_rate, fused=True, capturable=values[0].is_cuda
        )
        for leaf in self.leaves:  # a step without gradients changes no value and makes the moments
            leaf.grad = torch.zeros_like(leaf)
        self.optimizer.step()
        for moment in self.moments():
            moment.zero_()
        self.start = [moment.clone() for moment in self.moments()]
        self.update: Callable[..., object] | None = None
        self.seen: tuple[Tensor, ...] = ()  # what the update goes on using

    def moments(self) -> list[Tensor]:
        """Adam's moments and counts of steps, leaf by leaf."""
        states = [self.optimizer.state[leaf] for leaf in self.leaves]
        return [state[name] for state in states for name in ("step", "exp_avg", "exp_avg_sq")]


def mean_loss(
    network: Network, weights: Weights, biases: Biases, split: Split
) -> Float64[Tensor, " replica"]:
    """Cross-entropy of each replica in the mean of a split, in fp32.

    >>> training.mean_loss(network, weights, biases, digits.test).shape
    torch.Size([2])
    """
    total = torch.zeros(len(weights[0]), dtype=torch.float64, device=weights[0].device)

    @torch.no_grad()
    def work(group: slice) -> None:
        for first in range(0, len(split), EVALUATION_BATCH):
            members = slice(first, first + EVALUATION_BATCH)
            batch = split.images[members].to(weights[0].dtype).div(255)
            labels = split.labels[members]
            own, own_biases = ([layer[group] for layer in part] for part in (weights, biases))
            logits = networks.forward(network, own, own_biases, batch[None])
            losses = networks.cross_entropy(logits, labels.expand(len(logits), -1))
            total[group] += losses * len(labels)

    with precision_of("fp32", weights[0].device):
        parallel.spread(work, parallel.groups(len(weights[0]), weights[0].device))
    return total / len(split)


def loss_gradient(network: Network, weights: Weights, split: Split) -> Weights:
    """The gradient of the mean loss over a whole split in fp32, biases at zero (for snip and grad).

    >>> gradient = training.loss_gradient(network, weights, digits.train)
    >>> [layer.shape == weight.shape for layer, weight in zip(gradient, weights)]
    [True, True, True]
    """
    gradients = [torch.zeros_like(weight) for weight in weights]
    biases = networks.initial_biases(network, len(weights[0]), weights[0].device)

    def work(group: slice) -> None:
        leaves = [weight[group].detach().requires_grad_() for weight in weights]
        own_biases = [bias[group].to(weights[0].dtype) for bias in biases]
        for first in range(0, len(split), EVALUATION_BATCH):
            part = slice(first, first + EVALUATION_BATCH)
            batch = split.images[part].to(weights[0].dtype).div(255)
            labels = split.labels[part]
            logits = networks.forward(network, leaves, own_biases, batch[None])
            losses = networks.cross_entropy(logits, labels.expand(len(logits), -1))
            share = losses.sum() * (len(labels) / len(split))
            for gradient, addend in zip(gradients, torch.autograd.grad(share, leaves), strict=True):
                gradient[group] += addend

    with precision_of("fp32", weights[0].device):
        parallel.spread(work, parallel.groups(len(weights[0]), weights[0].device))
    return gradients


@contextmanager
def precision_of(name: str, device: torch.device) -> Iterator[None]:
    """Matrix products and convolutions in that precision, forward and backward, on a GPU.

    A CPU computes in fp32, and plans refuse anything else there. fp32 is fp32: cudnn's own default
    would be TF32.

    >>> with training.precision_of("tf32", torch.device("cpu")):
    ...     torch.backends.cuda.matmul.allow_tf32  # a CPU computes in fp32
    False
    """
    if device.type != "cuda":
        yield
        return
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = name == "tf32"
        # A cache of cast weights would outlive the graph that captured the casts.
        with torch.autocast("cuda", torch.bfloat16, enabled=name == "bf16", cache_enabled=False):
            yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value
