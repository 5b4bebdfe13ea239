"""Convolutions: a strip of 16 columns at a time, of four positions one below the other."""

from typing import NamedTuple

import numpy as np

from dltlib.kernel import sparse_errors
from dltlib.kernel.intrinsics import (
    ALIKE,
    STRIPS,
    compiled,
    correlate_positions,
    correlate_together,
    pool,
    strip_lanes,
    unpool,
)
from dltlib.kernel.layout import Lists, Net, Space
from dltlib.kernel.rows import EVERYTHING, Block, Gate, Inputs, Rows, accumulate_units

# Positions whose gradients are folded at once, in whole rows of the image: as many as make the
# folding cheap, while the rows of some channels stay in the nearest cache.
BAND = 64
# Columns of the image that are walked for one block of inputs after the other.
ACROSS = 16


class Walk(NamedTuple):
    """What of a layer is walked, forwards or back."""

    runs: np.ndarray  # [trained or frozen, 2]: see `LAYER`
    units: int
    whole: bool


@compiled
def _walk(
    lists: Lists, walk: Walk, planes: np.ndarray, top: int, inputs: Inputs, rows: Rows, gate: Gate
) -> None:
    """Convolve four image rows from ``top`` on: every output channel, four positions at a time.

    Inputs and rows are those of the image's first position. Below the image's last row it leaves
    what has to be cleared where it is read, unless a gate is closed there.
    """
    lanes = strip_lanes(rows.values)
    for left in range(0, planes.width, ACROSS):
        right = min(left + ACROSS, planes.width)
        for frozen in range(2):
            first, blocks = walk.runs[frozen, 0], walk.runs[frozen, 1]
            last = frozen == 1 or walk.runs[1, 1] == 0
            for number in range(blocks):
                block = Block(
                    first + number * walk.units, walk.units, walk.whole, frozen + number == 0,
                    last and number == blocks - 1,
                )  # fmt: skip
                for x in range(left, right):
                    here = top * planes.row + x * lanes
                    accumulate_units(lists, block, inputs, rows, gate, here)


@compiled
def _clear_below(values: np.ndarray, start: int, units: int, planes: np.ndarray) -> None:
    """Zero every unit's plane below the image; ``start`` is the first pixel of the first plane."""
    for unit in range(units):
        begin = start + unit * planes["plane"] + planes["height"] * planes["row"]
        end = start + (1 + unit) * planes["plane"] - 2 * planes["row"]
        values[begin:end] = 0


@compiled
def forward(net: Net, space: Space, index: int, strip: int) -> None:
    """A layer's output from its input, pooled where that is due, and rectified."""
    layer = net.layers[index]
    below, above = net.planes[index], net.planes[index + 1]
    lanes = strip_lanes(space.activity)
    walk = Walk(layer.forward, layer.units, layer.whole)
    inputs = Inputs(space.activity, below.activity + strip * below.stride, EVERYTHING)
    if layer.pooled:
        gate = Gate(space.errors, np.int64(-1))  # what is pooled is rectified
        for top in range(0, below.height, STRIPS):
            # Any four image rows have the same room.
            at = layer.pooling - top * below.row
            rows = Rows(space.errors, at, layer.pitch, below.row)
            _walk(net.forward, walk, below, top, inputs, rows, gate)
            _pool(net, space, index, strip, top)
    else:
        target = above.activity + strip * above.stride + above.plane + above.row + lanes
        rows = Rows(space.activity, target, below.plane, below.row)
        gate = Gate(space.activity, target)
        for top in range(0, below.height, STRIPS):
            _walk(net.forward, walk, below, top, inputs, rows, gate)
        _clear_below(space.activity, target, layer.units, above)


@compiled
def _pool(net: Net, space: Space, index: int, strip: int, top: int) -> None:
    """The largest of each 2x2 (the first if tied, as torch has it), rectified, and which it was,
    in four image rows from ``top`` on."""
    layer = net.layers[index]
    below, above = net.planes[index], net.planes[index + 1]
    lanes = strip_lanes(space.activity)
    size = above.height * above.width * lanes
    for unit in range(layer.units):
        source = layer.pooling + unit * layer.pitch - top * below.row
        target = above.activity + strip * above.stride + (1 + unit) * above.plane
        winners = layer.winners + (strip * layer.units + unit) * size
        for y in range(top // 2, min(top // 2 + STRIPS // 2, above.height)):
            for x in range(above.width):
                at = target + (1 + y) * above.row + (1 + x) * lanes
                to = winners + (y * above.width + x) * lanes
                left = source + 2 * y * below.row + 2 * x * lanes
                pool(space.activity, at, space.winners, to, space.errors, left, below.row)


@compiled
def _unpool(net: Net, space: Space, index: int, strip: int) -> None:
    """Errors go back to the winners, and the others of their 2x2 get none (what is in none of them
    never has one)."""
    layer = net.layers[index]
    below, above = net.planes[index], net.planes[index + 1]
    lanes = strip_lanes(space.activity)
    size = above.height * above.width * lanes
    for unit in range(layer.units):
        target = layer.unpooled + (1 + unit) * below.plane + below.row + lanes
        source = above.errors + (1 + unit) * above.plane
        winners = layer.winners + (strip * layer.units + unit) * size
        for y in range(above.height):
            for x in range(above.width):
                at = source + (1 + y) * above.row + (1 + x) * lanes
                to = winners + (y * above.width + x) * lanes
                left = target + 2 * y * below.row + 2 * x * lanes
                unpool(space.errors, left, below.row, space.errors, at, space.winners, to)


@compiled
def flatten(net: Net, space: Space, tile: int) -> None:
    """What the convolutions leave as the first dense layer's input: (channel, y, x), as torch."""
    below, above = net.planes[net.convolutions], net.planes[net.convolutions + 1]
    lanes = strip_lanes(space.activity)
    for strip in range(STRIPS):
        source = below.activity + (STRIPS * tile + strip) * below.stride
        at = above.activity + tile * above.stride + strip * lanes
        for channel in range(below.features):
            for y in range(below.height):
                here = source + (1 + channel) * below.plane + (1 + y) * below.row
                for _ in range(below.width):
                    at += above.plane
                    here += lanes
                    for lane in range(lanes):
                        space.activity[at + lane] = space.activity[here + lane]


@compiled
def _unflatten(net: Net, space: Space, strip: int) -> None:
    """Errors the other way, for one strip."""
    below, above = net.planes[net.convolutions], net.planes[net.convolutions + 1]
    lanes = strip_lanes(space.activity)
    at = above.errors + (strip // STRIPS) * above.stride + strip % STRIPS * lanes
    for channel in range(below.features):
        for y in range(below.height):
            here = below.errors + (1 + channel) * below.plane + (1 + y) * below.row
            for _ in range(below.width):
                at += above.plane
                here += lanes
                for lane in range(lanes):
                    space.errors[here + lane] = space.errors[at + lane]


@compiled
def trained(net: Net) -> int:
    """Number of trained weights of all convolutions, which come first among the values."""
    return net.forward.pointers[net.layers[net.convolutions].forward[0, 0]]


@compiled
def backward(net: Net, space: Space, strips: int) -> None:
    """Errors of all convolutions, and the gradients of their trained weights."""
    space.gradients[: trained(net)] = 0
    for index in range(net.convolutions):
        if net.layers[index].turned >= 0:
            sparse_errors.begin(net, space, index)
    for strip in range(strips):
        _backward(net, space, strip)
    for index in range(net.convolutions):
        if net.layers[index].turned >= 0:
            sparse_errors.end(net, space, index)


@compiled
def _backward(net: Net, space: Space, strip: int) -> None:
    """A strip's errors, last layer to first, and what they add to the gradients."""
    lanes = strip_lanes(space.activity)
    _unflatten(net, space, strip)
    for index in range(net.convolutions - 1, -1, -1):
        layer = net.layers[index]
        below, above = net.planes[index], net.planes[index + 1]
        if layer.turned >= 0:
            sparse_errors.backward(net, space, index, strip)
            continue
        errors = above.errors
        if layer.pooled:
            _unpool(net, space, index, strip)
            errors = layer.unpooled
        errors += below.plane
        _correlate(net, space, index, strip, errors + below.row + lanes)
        if index == 0:
            break
        inside = below.plane + below.row + lanes
        walk = Walk(layer.backward, below.features, layer.whole)
        inputs = Inputs(space.errors, errors, EVERYTHING)
        rows = Rows(space.errors, below.errors + inside, below.plane, below.row)
        gate = Gate(space.activity, below.activity + strip * below.stride + inside)
        for top in range(0, below.height, STRIPS):
            _walk(net.backward, walk, below, top, inputs, rows, gate)


@compiled
def _correlate(net: Net, space: Space, index: int, strip: int, errors: int) -> None:
    """Add a strip's part of the gradients of a layer's trained weights."""
    layer, below, lists = net.layers[index], net.planes[index], net.forward
    lanes = strip_lanes(space.activity)
    first, blocks = layer.forward[0, 0], layer.forward[0, 1]
    source = below.activity + strip * below.stride
    rows = max(2, BAND // below.width // 2 * 2)
    for top in range(0, below.height, rows):
        height = min(rows, below.height - top)
        for block in range(blocks):
            done = 0
            if layer.whole:
                p = first + block * layer.units
                start, stop = lists.pointers[p], lists.pointers[p + 1]
                while done + ALIKE <= layer.units:
                    before = done * (stop - start)
                    correlate_together(
                        space.gradients, space.activity, source + top * below.row, lists.offsets,
                        space.errors, errors + done * below.plane + top * below.row, below.plane,
                        start + before, stop + before, height, below.width * lanes, below.row,
                    )  # fmt: skip
                    done += ALIKE
            for unit in range(done, layer.units):
                p = first + block * layer.units + unit
                correlate_positions(
                    space.gradients, space.activity, source + top * below.row, lists.offsets,
                    space.errors, errors + unit * below.plane + top * below.row, below.plane,
                    lists.pointers[p], lists.pointers[p + 1], height, below.width * lanes,
                    below.row,
                )  # fmt: skip
