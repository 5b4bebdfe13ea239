"""The step: replicas in training, one thread to each, and the passes of one iteration."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor

from dltlib import parallel
from dltlib.errors import UserError
from dltlib.kernel import convolution, dense, staging
from dltlib.kernel.intrinsics import STRIPS, TILE_BYTES, compiled
from dltlib.kernel.layout import Net, Space, geometry, workspace
from dltlib.kernel.learning import BETA1, BETA2, adam, loss
from dltlib.kernel.lists import flatten, join

STAGE_BYTES = 8 << 20  # transposed batches kept at a time: they should stay in the shared cache
SAMPLE = 10_000  # images that decide the order of the pixels
STATE = 2  # version of what `KernelStep.state` returns; the first was in the order of the lists


@compiled
def _forward(net: Net, space: Space, staged: np.ndarray, tile: int) -> None:
    """Activity of every layer for one tile of images."""
    staging.load(net, space, staged, tile)
    for strip in range(STRIPS):
        for index in range(net.convolutions):
            convolution.forward(net, space, index, tile * STRIPS + strip)
    if net.convolutions > 0:
        convolution.flatten(net, space, tile)
    for index in range(net.convolutions, net.layers.size):
        dense.forward(net, space, index, tile)


@compiled
def _train(
    net: Net, space: Space, staged: np.ndarray, labels: np.ndarray, steps: int,
    learning_rate: float, total: float,
) -> float:  # fmt: skip
    """One Adam step for each batch of ``staged [iteration, tile, feature * column]``.

    Returns ``total`` plus the mean losses of these batches.
    """
    iterations, tiles, _ = staged.shape
    for iteration in range(iterations):
        for tile in range(tiles):
            _forward(net, space, staged[iteration, tile], tile)
        total += loss(net, space, labels[iteration])
        steps += 1
        rate = learning_rate / (1 - BETA1**steps)
        correction = 1 / np.sqrt(1 - BETA2**steps)
        for i in range(net.order.size):
            net.backward.values[i] = net.forward.values[net.order[i]]
        for index in range(net.layers.size - 1, net.convolutions - 1, -1):
            if index > 0:
                for tile in range(tiles):
                    dense.backward(net, space, index, tile)
            dense.update(net, space, index, tiles, rate, correction)
        if net.convolutions > 0:
            convolution.backward(net, space, tiles * STRIPS)
            stop = convolution.trained(net)
            adam(net, space.gradients, np.int64(0), stop, rate, correction)
    return total


@compiled
def _correct(net: Net, space: Space, staged: np.ndarray, labels: np.ndarray) -> int:
    """Right answers on ``staged [tile, feature * column]``, all tiles but the last one full."""
    last = net.planes[net.planes.size - 1]
    columns, first = last.plane, last.activity + last.plane
    correct = 0
    for tile in range(staged.shape[0]):
        _forward(net, space, staged[tile], np.int64(0))
        for column in range(min(columns, labels.size - tile * columns)):
            answer = 0
            for unit in range(1, last.features):
                mine = space.activity[first + unit * columns + column]
                if mine > space.activity[first + answer * columns + column]:
                    answer = unit
            correct += answer == labels[tile * columns + column]
    return correct


class KernelStep:
    """R networks in training: ReLU between the layers, cross entropy, Adam.

    Parameters
    ----------
    weights: one tensor a layer, float32 or float64, on the CPU: first 3x3 'same' convolutions
        ``[replica, out, in, 3, 3]``, if any, with a 2x2 max pool after every second; then dense
        layers ``[replica, in, out]``, of which the first reads (channel, y, x).
    biases: ``[replica, out]``; always trained.
    trained: like ``weights``: True is updated, False stays as it is, bit for bit.
    learning_rate, batch_size: of every replica.
    image_shape: channels, height and width, which only convolutions need.

    As many threads are used as `torch.get_num_threads` says. The first images seen decide in
    which order a unit's inputs are summed (most often lit first), for all replicas alike.
    """

    def __init__(
        self,
        weights: Sequence[Float[Tensor, "replica *shape"]],
        biases: Sequence[Float[Tensor, "replica outputs"]],
        trained: Sequence[Bool[Tensor, "replica *shape"]],
        *,
        learning_rate: float,
        batch_size: int,
        image_shape: tuple[int, int, int] | None = None,
    ) -> None:
        self._weights = [weight.detach().clone() for weight in weights]
        self._biases = [bias.detach().clone() for bias in biases]
        self._trained = [mask.clone() for mask in trained]
        self._learning_rate = learning_rate
        self._batch_size = batch_size
        image_shape = image_shape or (weights[0].shape[1], 1, 1)
        self._features = math.prod(image_shape)
        self._columns = TILE_BYTES // weights[0].element_size()
        self._tiles = -(-batch_size // self._columns)
        self._geometry = geometry(
            [tuple(weight.shape[1:]) for weight in weights],
            image_shape,
            np.dtype(str(weights[0].dtype).removeprefix("torch.")),
            self._tiles,
        )
        self._steps = 0
        self._nets: list[Net] = []
        self._spaces: list[Space] = []  # those that no thread is working in

    def advance(
        self,
        images: UInt8[Tensor, "images *pixels"],
        labels: Int64[Tensor, " images"],
        batches: Int64[Tensor, "streams iterations batch"],
        stream: Int64[Tensor, " replica"],
    ) -> Float64[Tensor, " replica"]:
        """One update of every replica for each iteration; returns the mean loss over them.

        ``batches`` are indices into ``images``; ``stream`` says which of its rows a replica reads.
        A replica whose loss is no longer a number says so (nan) and disturbs no other.
        Raises ValueError for indices or labels out of range (the kernel does not look).
        """
        pixels = self._open(images)
        if batches.shape[2] != self._batch_size:
            raise ValueError(f"batches must hold {self._batch_size} images, the batch_size given")
        classes = self._weights[-1].shape[2]
        if batches.numel() and not (batches.min() >= 0 and batches.max() < len(pixels)):
            raise ValueError(f"batches must index {len(pixels)} images")
        if not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(f"labels must lie between 0 and {classes - 1}")
        used, rows = stream.unique(return_inverse=True)
        rows = rows.tolist()
        batches = batches[used]
        streams, iterations, batch = batches.shape
        tiles = self._tiles
        members = np.full((streams, iterations, tiles * self._columns), -1)
        members[..., :batch] = batches.numpy()
        targets = labels[batches].contiguous().numpy()
        losses = [0.0] * len(self._nets)

        block = max(1, STAGE_BYTES // (streams * tiles * self._columns * pixels.shape[1]))
        for first in range(0, iterations, block):
            part = members[:, first : first + block]
            staged = self._stage(pixels, part.reshape(-1, self._columns))
            staged = staged.reshape(streams, part.shape[1], tiles, -1)

            def train(replica: int) -> None:
                row = rows[replica]
                with self._space() as space:
                    losses[replica] = _train(
                        self._nets[replica],
                        space,
                        staged[row],  # noqa: B023
                        targets[row, first : first + block],  # noqa: B023
                        self._steps,
                        self._learning_rate,
                        losses[replica],
                    )

            parallel.spread(train, self._by_cost)
            self._steps += part.shape[1]
        return torch.tensor(losses, dtype=torch.float64) / iterations

    def correct(
        self, images: UInt8[Tensor, "images *pixels"], labels: Int64[Tensor, " images"]
    ) -> Int64[Tensor, " replica"]:
        """Number of right answers with the present parameters."""
        pixels = self._open(images)
        right = np.zeros(len(self._nets), np.int64)
        block = max(1, STAGE_BYTES // (self._columns * pixels.shape[1])) * self._columns
        for first in range(0, len(pixels), block):
            targets = labels[first : first + block].contiguous().numpy()
            members = np.full(-(-len(targets) // self._columns) * self._columns, -1)
            members[: len(targets)] = np.arange(first, first + len(targets))
            staged = self._stage(pixels, members.reshape(-1, self._columns))
            staged = staged.reshape(len(staged), -1)

            def count(replica: int) -> None:
                with self._space() as space:
                    right[replica] += _correct(
                        self._nets[replica],
                        space,
                        staged,  # noqa: B023
                        targets,  # noqa: B023
                    )

            parallel.spread(count, self._by_cost)
        return torch.from_numpy(right)

    def keep_best(self, which: Bool[Tensor, " replica"]) -> None:
        """Remember the present parameters of these replicas as their best."""
        self._build(None)
        for replica in which.nonzero().flatten().tolist():
            self._best[replica][:] = self._nets[replica].forward.values

    def restore_best(self) -> None:
        """Make the best parameters the present ones (at first: the ones training began from)."""
        self._build(None)
        for net, best in zip(self._nets, self._best, strict=True):
            net.forward.values[:] = best

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases as dense tensors; frozen ones bit for bit as they were given."""
        weights = [weight.clone() for weight in self._weights]
        biases = [bias.clone() for bias in self._biases]
        for replica, net in enumerate(self._nets):
            dense = self._dense(replica)
            dense[self._numbers[replica]] = net.forward.values
            start = 0
            for parts in zip(weights, biases, strict=True):
                for part in parts:
                    stop = start + part[replica].numel()
                    part[replica] = torch.from_numpy(dense[start:stop]).view_as(part[replica])
                    start = stop
        return weights, biases

    def state(self) -> dict[str, Tensor]:
        """All that decides what comes next: of each replica values, moments and best values.

        In the order of `networks.join`, without the pruned ones, whichever way they are laid out.
        """
        self._build(None)
        state = {name: torch.from_numpy(part[order]) for name, part, order in self._parts()}
        return state | {"steps": torch.tensor(self._steps), "version": torch.tensor(STATE)}

    def load(self, state: Mapping[str, Tensor], images: UInt8[Tensor, "images *pixels"]) -> None:
        """Go on from a `state` of a step that was begun with the same arguments and images.

        Raises `UserError` for a state of another version.
        """
        if "version" not in state or int(state["version"]) != STATE:
            raise UserError(
                "the checkpoint was left in the middle of a round by another version of the "
                "kernel: finish the run with that version, or begin anew with --force"
            )
        self._open(images)
        self._steps = int(state["steps"])
        for name, part, order in self._parts():
            part[order] = state[name].numpy()

    def _parts(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """What training changes, by name: the arrays themselves, and their order in `state`."""
        for replica, (net, best) in enumerate(zip(self._nets, self._best, strict=True)):
            every = np.argsort(self._numbers[replica])
            trained = np.argsort(self._numbers[replica][: len(net.momentum)])
            yield f"values/{replica:05d}", net.forward.values, every
            yield f"momentum/{replica:05d}", net.momentum, trained
            yield f"variance/{replica:05d}", net.variance, trained
            yield f"best values/{replica:05d}", best, every

    def _dense(self, replica: int) -> np.ndarray:
        return join(*([x[replica].numpy() for x in y] for y in (self._weights, self._biases)))

    def _open(self, images: Tensor) -> np.ndarray:
        pixels = np.ascontiguousarray(images.flatten(1).numpy())
        if pixels.dtype != np.uint8 or pixels.shape[1] != self._features:
            raise ValueError(f"images must be uint8 with {self._features} pixels")
        self._build(pixels)
        return pixels

    def _build(self, pixels: np.ndarray | None) -> None:
        if self._nets:
            return
        self._order = np.arange(self._features)
        if pixels is not None and not self._geometry.convolutions:
            self._order = np.argsort(-np.count_nonzero(pixels[:SAMPLE], axis=0), kind="stable")
        self._rank = np.argsort(self._order)
        self._numbers, self._best = [], []
        for replica in range(len(self._weights[0])):
            parts = (
                [x[replica].numpy() for x in y]
                for y in (self._weights, self._biases, self._trained)
            )
            net, numbers = flatten(*parts, self._geometry, self._order)
            self._nets.append(net)
            self._numbers.append(numbers)
            self._best.append(net.forward.values.copy())
        # The costliest first, so that the threads end at about the same time.
        costs = [-net.forward.values.size for net in self._nets]
        self._by_cost = np.argsort(costs, kind="stable").tolist()

    @contextmanager
    def _space(self) -> Iterator[Space]:
        """Room for one thread, which others use after it: a replica leaves nothing in it."""
        try:
            space = self._spaces.pop()
        except IndexError:
            longest = max(net.momentum.size for net in self._nets)
            space = workspace(self._geometry, self._nets[0].momentum.dtype, self._tiles, longest)
        yield space
        self._spaces.append(space)

    def _stage(self, pixels: np.ndarray, members: np.ndarray) -> np.ndarray:
        staged = np.empty((len(members), pixels.shape[1], self._columns), np.uint8)
        edges = np.linspace(0, len(members), torch.get_num_threads() + 1).astype(int)

        def stage(part: int) -> None:
            here = slice(edges[part], edges[part + 1])
            staging.stage(pixels, members[here], self._rank, staged[here])

        parallel.spread(stage, range(len(edges) - 1))
        return staged
