"""Fully connected layers: a tile of 64 columns at a time."""

import numpy as np

from dltlib.kernel.intrinsics import compiled, correlate_columns, strip_lanes
from dltlib.kernel.layout import Net, Space
from dltlib.kernel.learning import adam
from dltlib.kernel.rows import EVERYTHING, Block, Gate, Inputs, Rows, accumulate_units, lit_end

PENDING = 1024  # gradients collected before Adam takes them


@compiled
def _darkness(net: Net, space: Space, index: int, tile: int) -> int:
    """The offset of the last input that is lit in this tile: only images have dark ones."""
    return space.lit[tile] * net.planes[0].plane if index == 0 else EVERYTHING


@compiled
def forward(net: Net, space: Space, index: int, tile: int) -> None:
    """A layer's output from its input; rectified, save at the last layer."""
    layer = net.layers[index]
    below, above = net.planes[layer.below], net.planes[layer.below + 1]
    strip = strip_lanes(space.activity)
    source = below.activity + tile * below.stride
    target = above.activity + tile * above.stride + above.plane
    inputs = Inputs(space.activity, source, _darkness(net, space, index, tile))
    rows = Rows(space.activity, target, above.plane, strip)
    gate = Gate(space.activity, target if index < net.layers.size - 1 else np.int64(-1))
    for frozen in range(2):
        first, blocks = layer.forward[frozen, 0], layer.forward[frozen, 1]
        last = frozen == 1 or layer.forward[1, 1] == 0  # of the lists that there are
        for number in range(blocks):
            block = Block(
                first + number * layer.units, layer.units, layer.whole, frozen + number == 0,
                last and number == blocks - 1,
            )  # fmt: skip
            accumulate_units(net.forward, block, inputs, rows, gate, np.int64(0))


@compiled
def backward(net: Net, space: Space, index: int, tile: int) -> None:
    """Errors of a layer's input from those of its output."""
    layer = net.layers[index]
    below, above = net.planes[layer.below], net.planes[layer.below + 1]
    strip = strip_lanes(space.errors)
    source = above.errors + tile * above.stride + above.plane
    target = below.errors + tile * below.stride + below.plane
    inputs = Inputs(space.errors, source, EVERYTHING)
    rows = Rows(space.errors, target, below.plane, strip)
    gate = Gate(space.activity, below.activity + tile * below.stride + below.plane)
    for frozen in range(2):
        first, blocks = layer.backward[frozen, 0], layer.backward[frozen, 1]
        if blocks:
            last = frozen == 1 or layer.backward[1, 1] == 0
            block = Block(first, below.features, layer.whole, frozen == 0, last)
            accumulate_units(net.backward, block, inputs, rows, gate, np.int64(0))


@compiled
def update(net: Net, space: Space, index: int, tiles: int, rate: float, correction: float) -> None:
    """Gradients of a layer's trained weights, and at once their update."""
    layer, lists = net.layers[index], net.forward
    below, above = net.planes[layer.below], net.planes[layer.below + 1]
    first, blocks = layer.forward[0, 0], layer.forward[0, 1]
    begin = lists.pointers[first]
    for block in range(blocks):
        for unit in range(layer.units):
            p = first + block * layer.units + unit
            start, stop = lists.pointers[p], lists.pointers[p + 1]
            for tile in range(tiles):
                source = below.activity + tile * below.stride
                errors = above.errors + tile * above.stride + (1 + unit) * above.plane
                lit = lit_end(lists, start, stop, _darkness(net, space, index, tile))
                correlate_columns(
                    space.gradients, start - begin, space.activity, source, lists.offsets,
                    space.errors, errors, start, lit, tile,
                )  # fmt: skip
                if tile == 0:
                    for k in range(lit, stop):
                        space.gradients[k - begin] = 0
            # Long runs suit Adam's vectors; short enough ones are still in the nearest cache.
            if stop - begin >= PENDING or (block == blocks - 1 and unit == layer.units - 1):
                adam(net, space.gradients, begin, stop, rate, correction)
                begin = stop
