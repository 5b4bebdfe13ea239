"""Back through a pooled layer by way of its errors, most of which are zero.

Pooling gives an error to one position in four, and ReLU stops some of those. Unless few of a
layer's weights are left, it is the errors that should be the list. An error is then what a weight
is elsewhere, a number that rows are multiplied by, and a row is a strip of channels, all of one
position of one image. An error has nine of them, one for each tap::

    errors of the input   [y + ky, x + kx, :] +=  error[unit, y, x] * weights[unit, ky, kx, :]
    gradient      [unit, ky, kx, :]           +=  error[unit, y, x] * input[y + ky, x + kx, :]

The first is one list for each position, the second one for each unit; both are of one image. All
weights of the layer are read, zeros where there is none, and all have a gradient, whatever is
trained of them; so the cost depends on the errors alone.

Why a strip: nine sums stay in registers (of AVX-512; nearly so of AVX2), and the band of image rows
that all units read for their gradients, a strip of channels wide, stays in the first-level cache.
With rows of 64 channels and a tap at a time it did not, and the pass took a fifth longer.

Image rows are taken a band at a time: its inputs are turned round, from columns to channels, and
the errors of its inputs are turned back. A band's errors reach a row beyond it on either side, so
that two rows are not complete before the next band, to which they are handed on.
"""

from dltlib.kernel.intrinsics import (
    accumulate_taps,
    compiled,
    lowest_bit,
    nonzero_lanes,
    strip_lanes,
    transpose_strips,
)
from dltlib.kernel.layout import TURNED_ROWS, Net, Space


@compiled
def begin(net: Net, space: Space, index: int) -> None:
    """The layer's weights as they are now, and no gradients yet."""
    layer, lists = net.layers[index], net.forward
    stop = layer.turned + (9 * net.planes[index].features + 1) * layer.units
    space.turned.weights[layer.turned : stop] = 0
    space.turned.gradients[layer.turned : stop] = 0
    for frozen in range(2):
        first, blocks = layer.forward[frozen, 0], layer.forward[frozen, 1]
        for i in range(lists.pointers[first], lists.pointers[first + blocks * layer.units]):
            space.turned.weights[net.places[i]] = lists.values[i]


@compiled
def end(net: Net, space: Space, index: int) -> None:
    """The gradients of what is trained, in the order of the lists."""
    layer, lists = net.layers[index], net.forward
    first, blocks = layer.forward[0, 0], layer.forward[0, 1]
    for i in range(lists.pointers[first], lists.pointers[first + blocks * layer.units]):
        space.gradients[i] = space.turned.gradients[net.places[i]]


@compiled
def backward(net: Net, space: Space, index: int, strip: int) -> None:
    """Errors of the layer's input, and what a strip adds to the gradients."""
    height = net.planes[index].height
    space.turned.errors[:] = 0
    for top in range(0, height, TURNED_ROWS):
        bottom = min(top + TURNED_ROWS, height)
        _turn(net, space, index, strip, top, bottom)
        _list(net, space, index, strip, top, bottom)
        for lane in range(strip_lanes(space.errors)):
            _correlate(net, space, index, lane)
            _convolve(net, space, index, lane)
        if bottom == height:
            _turn_back(net, space, index, top, height)
        else:
            _turn_back(net, space, index, top, bottom - 1)
            _hand_on(net, space, index)


@compiled
def _row(net: Net, space: Space, index: int) -> int:
    """From one image row to the next, of a strip of channels: ``[x, channel]``, with a border."""
    return (net.planes[index].width + 2) * strip_lanes(space.errors)


@compiled
def _band(net: Net, space: Space, index: int) -> int:
    """From one strip of channels to the next: the band's rows and one more on either side."""
    return (TURNED_ROWS + 2) * _row(net, space, index)


@compiled
def _turn(net: Net, space: Space, index: int, strip: int, top: int, bottom: int) -> None:
    """A band's inputs, and the rows above and below it: columns to channels."""
    below, band = net.planes[index], _band(net, space, index)
    lanes, apart = strip_lanes(space.activity), space.turned.activity.shape[1]
    for number in range(below.features // lanes):
        source = below.activity + strip * below.stride + (1 + number * lanes) * below.plane
        at = number * band
        for y in range(bottom - top + 2):
            here = source + (top + y) * below.row
            for _ in range(below.width + 2):
                transpose_strips(
                    space.turned.activity, at, apart, space.activity, here, below.plane
                )
                at += lanes
                here += lanes


@compiled
def _turn_back(net: Net, space: Space, index: int, top: int, stop: int) -> None:
    """Errors from the row above the band up to ``stop``, where the input was positive."""
    below, band, row = net.planes[index], _band(net, space, index), _row(net, space, index)
    lanes, apart = strip_lanes(space.errors), space.turned.errors.shape[1]
    first = 1 if top == 0 else 0  # no image row lies above the first
    for number in range(below.features // lanes):
        begin, end = number * band + first * row, number * band + (stop - top + 1) * row
        for lane in range(lanes):
            errors = space.turned.errors[lane, begin:end]
            activity = space.turned.activity[lane, begin:end]
            for i in range(errors.size):
                if activity[i] <= 0:
                    errors[i] = 0
        target = below.errors + (1 + number * lanes) * below.plane
        for y in range(first, stop - top + 1):
            at = number * band + y * row
            here = target + (top + y) * below.row
            for _ in range(below.width):
                at += lanes
                here += lanes
                transpose_strips(space.errors, here, below.plane, space.turned.errors, at, apart)


@compiled
def _hand_on(net: Net, space: Space, index: int) -> None:
    """The band's last two rows, to which the next one adds, become its first."""
    band, rows = _band(net, space, index), 2 * _row(net, space, index)
    for lane in range(strip_lanes(space.errors)):
        for number in range(net.planes[index].features // strip_lanes(space.errors)):
            here = space.turned.errors[lane, number * band : (number + 1) * band]
            here[:rows] = here[band - rows :]
            here[rows:] = 0


@compiled
def _list(net: Net, space: Space, index: int, strip: int, top: int, bottom: int) -> None:
    """A band's errors other than zero, of each image by unit and by position.

    A position is where the error's first tap lies, in the band's rows with their borders.
    """
    layer, below, above = net.layers[index], net.planes[index], net.planes[index + 1]
    units, positions = space.turned.by_unit, space.turned.by_position
    lanes, across = strip_lanes(space.errors), below.width + 2
    size = above.height * above.width * lanes
    units.starts[:, 0] = 0
    for unit in range(layer.units):
        units.starts[:, unit + 1] = units.starts[:, unit]
        errors = above.errors + (1 + unit) * above.plane + above.row + lanes
        winners = layer.winners + (strip * layer.units + unit) * size
        for y in range(top // 2, min(bottom // 2, above.height)):
            for x in range(above.width):
                here = errors + y * above.row + x * lanes
                there = winners + (y * above.width + x) * lanes
                which = nonzero_lanes(space.errors, here)
                while which != 0:
                    lane = lowest_bit(which)
                    which &= which - 1
                    winner = space.winners[there + lane]
                    end = units.starts[lane, unit + 1]
                    units.values[lane, end] = space.errors[here + lane]
                    units.indices[lane, end] = (
                        (2 * y - top + (winner >> 1)) * across + 2 * x + (winner & 1)
                    )
                    units.starts[lane, unit + 1] = end + 1
    # The same by position: ``ends`` is first the number of its errors, then where its list begins,
    # and at last, each put behind those before it, where it ends.
    for lane in range(lanes):
        indices, ends = units.indices[lane], positions.starts[lane, 1:]
        ends[: TURNED_ROWS * across] = 0
        for i in range(units.starts[lane, layer.units]):
            ends[indices[i]] += 1
        total = 0
        for position in range(TURNED_ROWS * across):
            count = ends[position]
            ends[position] = total
            total += count
        for unit in range(layer.units):
            for i in range(units.starts[lane, unit], units.starts[lane, unit + 1]):
                place = ends[indices[i]]
                positions.values[lane, place] = units.values[lane, i]
                positions.indices[lane, place] = unit
                ends[indices[i]] = place + 1


@compiled
def _correlate(net: Net, space: Space, index: int, lane: int) -> None:
    """Add a band's part of one image to the gradients of all weights and biases."""
    layer, listed = net.layers[index], space.turned.by_unit
    values, indices, starts = listed.values[lane], listed.indices[lane], listed.starts[lane]
    activity, gradients = space.turned.activity[lane], space.turned.gradients
    lanes, row, band = strip_lanes(values), _row(net, space, index), _band(net, space, index)
    target = layer.turned
    for number in range(net.planes[index].features // lanes):
        for unit in range(layer.units):
            accumulate_taps(
                gradients, target, 3 * lanes, activity, number * band, row, lanes, indices, values,
                starts[unit], starts[unit + 1],
            )  # fmt: skip
            target += 9 * lanes
    for unit in range(layer.units):  # the biases come after the weights
        for i in range(starts[unit], starts[unit + 1]):
            gradients[target + unit] += values[i]


@compiled
def _convolve(net: Net, space: Space, index: int, lane: int) -> None:
    """Add what the errors of a band of one image give to those of its input."""
    layer, below, listed = net.layers[index], net.planes[index], space.turned.by_position
    values, indices, starts = listed.values[lane], listed.indices[lane], listed.starts[lane]
    errors, weights = space.turned.errors[lane], space.turned.weights
    lanes, row, band = strip_lanes(values), _row(net, space, index), _band(net, space, index)
    for number in range(below.features // lanes):
        source = layer.turned + number * 9 * layer.units * lanes
        for position in range(TURNED_ROWS * (below.width + 2)):
            if starts[position] < starts[position + 1]:
                accumulate_taps(
                    errors, number * band + position * lanes, row, weights, source, 3 * lanes,
                    9 * lanes, indices, values, starts[position], starts[position + 1],
                )  # fmt: skip
