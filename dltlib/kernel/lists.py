"""Surviving weights as lists, in the order in which the compiled loops walk them."""

from collections.abc import Sequence

import numpy as np

from dltlib.kernel.intrinsics import STRIP_BYTES
from dltlib.kernel.layout import Geometry, Lists, Net, aligned

# Inputs whose activity fits the first-level cache with something to spare: rows of a tile in a
# dense layer, taps (channel, y, x) in a convolution. 64 channels to 64 at density 1: no difference
# between 72 and 144 that stood out of noise, a tenth slower at 200; 150 keeps 16 channels whole.
CACHED_ROWS, CACHED_TAPS = 100, 150
# Share of a pooled layer's weights, the mean of those walked and those trained, from which its
# errors are the list: one costs about half of what a weight does. At full width, with random masks
# and after some steps, whole steps of Conv2 and Conv4 took 0.81 and 0.88 of the time at a density
# of 0.1; those of Conv4 and Conv6 as long at 0.07, and 1.10 and 1.15 times as long at 0.05.
TURNED_DENSITY = 0.07
SHORTEST_RUN = 24  # weights of one unit in one block, on average: fewer are not worth a block


class _Pile:
    """Lists of layers one after another, while they are being made."""

    def __init__(self) -> None:
        self.offsets, self.numbers, self.pointers = [], [], []
        self.count = self.pointer_count = 0

    def add(
        self, selected: np.ndarray, numbers: np.ndarray, offsets: np.ndarray, blocks: int
    ) -> tuple[int, int]:
        """Append the True of ``selected [in, out]``: where the pointers begin, and ``blocks``.

        ``numbers [in, out]`` names the parameters, ``offsets [in]`` says where each input is.
        """
        first = self.pointer_count
        edges = [len(selected) * block // max(1, blocks) for block in range(blocks + 1)]
        for begin, end in zip(edges[:-1], edges[1:], strict=True):
            units, rows = np.nonzero(selected[begin:end].T)
            rows += begin
            self.offsets.append(offsets[rows])
            self.numbers.append(numbers[rows, units])
            ends = np.cumsum(np.bincount(units, minlength=selected.shape[1]))
            self.pointers.append(self.count + ends)
            self.count += len(rows)
        self.pointer_count += blocks * selected.shape[1]
        return first, blocks


def _blocks(present: np.ndarray, cached: int) -> int:
    """How many blocks a layer's inputs are cut into: by shape and density, never by timing."""
    inputs, units = present.shape
    if not present.any():
        return 0
    runs = present.sum() / units / SHORTEST_RUN
    return max(1, min(-(-inputs // cached), round(runs)))


def join(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> np.ndarray:
    """All parameters of one network in one row, each layer's biases after its weights."""
    pairs = zip(weights, biases, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])


def _forward(part: np.ndarray) -> np.ndarray:
    """A layer's weights, or what goes with them, as ``[in, out]``; a tap is an input."""
    return part if part.ndim == 2 else part.reshape(len(part), -1).T


def _backward(part: np.ndarray) -> np.ndarray:
    """The same as ``[out, in]``: a convolution's kernels point the other way."""
    if part.ndim == 2:
        return part.T
    return part[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).reshape(-1, part.shape[1])


def _offsets(shape: tuple[int, ...], features: int, planes: np.void, lanes: int) -> np.ndarray:
    """Where the inputs of ``features`` lie: each itself, or nine taps of each."""
    begins = np.arange(features) * planes["plane"]
    if len(shape) == 2:
        return begins
    taps = np.arange(3)[:, None] * planes["row"] + np.arange(3) * lanes
    return (begins[:, None] + taps.ravel()).ravel()


def _places(begin: int, weight: np.ndarray, bias: np.ndarray, lanes: int) -> list[np.ndarray]:
    """Where a layer's weights and biases are in `Turned`, in the order in which they are given."""
    size = weight.size + bias.size
    if begin < 0:
        return [np.full(size, -1, np.int32)]
    places = np.arange(begin, begin + size, dtype=np.int32)
    units, channels = weight.shape[:2]
    turned = places[: weight.size].reshape(channels // lanes, units, 3, 3, lanes)
    return [turned.transpose(1, 0, 4, 2, 3).ravel(), places[weight.size :]]


def flatten(
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    trained: Sequence[np.ndarray],
    shape: Geometry,
    order: np.ndarray,
) -> tuple[Net, np.ndarray]:
    """One network (no replica axis) for the kernel, and where its values are in `join`.

    ``order`` is the one in which the inputs of a dense first layer are summed.
    """
    dtype = weights[0].dtype
    lanes = STRIP_BYTES // dtype.itemsize
    layers = shape.layers.copy()
    forward, backward = _Pile(), _Pile()
    places = []  # in the order of `join`
    for frozen in range(2):
        base = 0
        for index, (weight, bias, mask) in enumerate(zip(weights, biases, trained, strict=True)):
            convolution = weight.ndim == 4
            cached = CACHED_TAPS if convolution else CACHED_ROWS
            below = shape.planes[layers["below"][index]]
            numbers = np.arange(base, base + weight.size, dtype=np.int32).reshape(weight.shape)
            base += weight.size
            selected = mask if frozen == 0 else ~mask & (weight != 0)
            layers["whole"][index] = mask.all()

            # The bias is the weight of a feature that is always one, and comes first.
            inputs = order if index == 0 and not convolution else slice(None)
            present = np.concatenate(
                [np.full((1, len(bias)), frozen == 0), _forward(selected)[inputs]]
            )
            names = np.concatenate(
                [np.arange(base, base + len(bias), dtype=np.int32)[None], _forward(numbers)[inputs]]
            )
            base += len(bias)
            one = below["row"] + lanes if convolution else 0
            offsets = below["plane"] + _offsets(weight.shape, below["features"], below, lanes)
            offsets = np.append(one, offsets)
            blocks = _blocks(present, cached)
            layers["forward"][index, frozen] = forward.add(present, names, offsets, blocks)
            if index == 0:
                continue
            present = _backward(selected)
            above = below if convolution else shape.planes[layers["below"][index] + 1]
            offsets = _offsets(weight.shape, layers["units"][index], above, lanes)
            blocks = _blocks(present, cached) if convolution else int(present.any())
            if frozen == 0:
                blocks = max(1, blocks)
            layers["backward"][index, frozen] = backward.add(
                present, _backward(numbers), offsets, blocks
            )
        if frozen == 0:
            count, back_count = forward.count, backward.count

    for layer, weight, bias, mask in zip(layers, weights, biases, trained, strict=True):
        if mask.sum() + np.count_nonzero(mask | (weight != 0)) < 2 * TURNED_DENSITY * mask.size:
            layer["turned"] = -1
        places += _places(layer["turned"], weight, bias, lanes)
    numbers = np.concatenate(forward.numbers)
    position = np.empty(base, np.int32)
    position[numbers] = np.arange(len(numbers), dtype=np.int32)
    order = position[np.concatenate([np.zeros(0, np.int32), *backward.numbers])]
    values = join(weights, biases)[numbers]

    def lists(pile: _Pile, values: np.ndarray) -> Lists:
        offsets = np.concatenate([np.zeros(0, np.int32), *pile.offsets]).astype(np.int32)
        pointers = np.concatenate([np.zeros(1, np.int64), *pile.pointers])
        return Lists(aligned(values), offsets, pointers)

    replica = Net(
        planes=shape.planes,
        layers=layers,
        convolutions=shape.convolutions,
        forward=lists(forward, values),
        backward=lists(backward, values[order]),
        order=order[:back_count],
        places=np.concatenate(places)[numbers],
        momentum=aligned(np.zeros(count, dtype)),
        variance=aligned(np.zeros(count, dtype)),
    )
    return replica, numbers
