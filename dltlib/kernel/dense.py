"""Fully connected layers: a tile of 64 columns at a time."""

from dltlib.kernel.intrinsics import accumulate, compiled, correlate_columns
from dltlib.kernel.layout import Replica, Space
from dltlib.kernel.learning import adam

PENDING = 1024  # gradients collected before Adam takes them


@compiled
def _stop(net: Replica, space: Space, index: int, tile: int, start: int, stop: int) -> int:
    """End of the run of values whose inputs are lit."""
    if index == 0:
        darkness = space.lit[tile] * net.planes[0].plane
        while stop > start and net.forward.offsets[stop - 1] > darkness:
            stop -= 1
    return stop


@compiled
def forward(net: Replica, space: Space, index: int, tile: int) -> None:
    """A layer's output from its input; rectified, save at the last layer."""
    layer, lists = net.layers[index], net.forward
    below, above = net.planes[layer.below], net.planes[layer.below + 1]
    source = below.activity + tile * below.stride
    target = above.activity + tile * above.stride + above.plane
    for kind in range(2):
        first, blocks = layer.forward[kind, 0], layer.forward[kind, 1]
        ends = kind == 1 or layer.forward[1, 1] == 0  # the last list there is
        for block in range(blocks):
            rectify = ends and block == blocks - 1 and index < net.layers.size - 1
            for unit in range(layer.units):
                p = first + block * layer.units + unit
                start = lists.pointers[p]
                stop = _stop(net, space, index, tile, start, lists.pointers[p + 1])
                row = target + unit * above.plane
                accumulate(
                    space.activity, row, space.activity, source, lists.offsets, lists.values,
                    start, stop, kind + block == 0, space.activity, row if rectify else -1,
                )  # fmt: skip


@compiled
def backward(net: Replica, space: Space, index: int, tile: int) -> None:
    """Errors of a layer's input from those of its output."""
    layer, lists = net.layers[index], net.backward
    below, above = net.planes[layer.below], net.planes[layer.below + 1]
    target = below.errors + tile * below.stride + below.plane
    gate = below.activity + tile * below.stride + below.plane
    source = above.errors + tile * above.stride + above.plane
    for kind in range(2):
        first, blocks = layer.backward[kind, 0], layer.backward[kind, 1]
        ends = kind == 1 or layer.backward[1, 1] == 0
        for p in range(first, first + blocks * below.features):
            row = (p - first) * below.plane
            accumulate(
                space.errors, target + row, space.errors, source, lists.offsets, lists.values,
                lists.pointers[p], lists.pointers[p + 1], kind == 0, space.activity,
                gate + row if ends else -1,
            )  # fmt: skip


@compiled
def update(
    net: Replica, space: Space, index: int, tiles: int, rate: float, correction: float
) -> None:
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
                lit = _stop(net, space, index, tile, start, stop)
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
