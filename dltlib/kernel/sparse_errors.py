"""Back through a pooled layer by way of its errors, most of which are zero.

Pooling gives an error to one position in four, and ReLU stops some of those: of a pooled layer's
errors about one in six is left. As long as more of its weights than that are left, it is the errors
that should be the list. An error is then what a weight is elsewhere, a number that a row is
multiplied by, and the row is 256 bytes of channels, all of one position of one image::

    errors of the input   [y + ky, x + kx, :] +=  error[unit, y, x] * weights[ky, kx, unit, :]
    gradient      [ky, kx, unit, :]           +=  error[unit, y, x] * input[y + ky, x + kx, :]

The first is one list for each position, the second one for each unit; both are of one image. All
weights of the layer are read, zeros where there is none, and all have a gradient, whatever is
trained of them; so the cost depends on the errors alone.

Image rows are taken a band at a time: its inputs are turned round, from columns to channels, and
the errors of its inputs are turned back. A band's errors reach a row beyond it on either side, so
that two rows are not complete before the next band, to which they are handed on.
"""

from dltlib.kernel.intrinsics import (
    TILE_BYTES,
    accumulate_channels,
    compiled,
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
    height, lanes = net.planes[index].height, strip_lanes(space.errors)
    space.turned.errors[: lanes * _image(net, index)] = 0
    for top in range(0, height, TURNED_ROWS):
        bottom = min(top + TURNED_ROWS, height)
        _turn(net, space, index, strip, top, bottom)
        _list(net, space, index, strip, top, bottom)
        for lane in range(lanes):
            _correlate(net, space, index, lane)
            _convolve(net, space, index, lane)
        if bottom == height:
            _turn_back(net, space, index, top, height)
        else:
            _turn_back(net, space, index, top, bottom - 1)
            _hand_on(net, space, index)


@compiled
def _image(net: Net, index: int) -> int:
    """From one image to the next: ``[y, x, channel]``, the band's rows and a border about it."""
    below = net.planes[index]
    return (TURNED_ROWS + 2) * (below.width + 2) * below.features


@compiled
def _turn(net: Net, space: Space, index: int, strip: int, top: int, bottom: int) -> None:
    """A band's inputs, and the rows above and below it: columns to channels."""
    below, image = net.planes[index], _image(net, index)
    lanes = strip_lanes(space.activity)
    source = below.activity + strip * below.stride + below.plane
    for y in range(bottom - top + 2):
        for channel in range(0, below.features, lanes):
            here = source + channel * below.plane + (top + y) * below.row
            at = y * (below.width + 2) * below.features + channel
            for _ in range(below.width + 2):
                transpose_strips(
                    space.turned.activity, at, image, space.activity, here, below.plane
                )
                at += below.features
                here += lanes


@compiled
def _turn_back(net: Net, space: Space, index: int, top: int, stop: int) -> None:
    """Errors from the row above the band up to ``stop``, where the input was positive."""
    below, image = net.planes[index], _image(net, index)
    lanes = strip_lanes(space.errors)
    row = (below.width + 2) * below.features
    first = 1 if top == 0 else 0  # no image row lies above the first
    for lane in range(lanes):
        begin, end = lane * image + first * row, lane * image + (stop - top + 1) * row
        errors, activity = space.turned.errors[begin:end], space.turned.activity[begin:end]
        for i in range(errors.size):
            if activity[i] <= 0:
                errors[i] = 0
    target = below.errors + below.plane
    for y in range(first, stop - top + 1):
        for channel in range(0, below.features, lanes):
            here = target + channel * below.plane + (top + y) * below.row
            at = y * row + channel
            for _ in range(below.width):
                at += below.features
                here += lanes
                transpose_strips(space.errors, here, below.plane, space.turned.errors, at, image)


@compiled
def _hand_on(net: Net, space: Space, index: int) -> None:
    """The band's last two rows, to which the next one adds, become its first."""
    image, errors = _image(net, index), space.turned.errors
    rows = image // (TURNED_ROWS + 2) * 2
    for lane in range(strip_lanes(errors)):
        here = errors[lane * image : (lane + 1) * image]
        here[:rows] = here[image - rows :]
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
    count = 0
    for lane in range(lanes):
        begin = count
        for unit in range(layer.units):
            units.starts[lane * layer.units + unit] = count
            errors = above.errors + (1 + unit) * above.plane + above.row + lanes + lane
            winners = layer.winners + (strip * layer.units + unit) * size + lane
            for y in range(top // 2, min(bottom // 2, above.height)):
                for x in range(above.width):
                    error = space.errors[errors + y * above.row + x * lanes]
                    winner = space.winners[winners + (y * above.width + x) * lanes]
                    # No branch: what is not kept is overwritten by the next.
                    units.values[count] = error
                    units.indices[count] = (
                        (2 * y - top + (winner >> 1)) * across + 2 * x + (winner & 1)
                    )
                    count += error != 0
        # The same by position: count, add up, and put each behind those before it.
        starts = positions.starts[lane * TURNED_ROWS * across :][: TURNED_ROWS * across + 1]
        starts[:] = 0
        for i in range(begin, count):
            starts[units.indices[i] + 1] += 1
        starts[0] = begin
        for position in range(1, starts.size):
            starts[position] += starts[position - 1]
        for unit in range(layer.units):
            last = lane * layer.units + unit + 1
            stop = units.starts[last] if unit + 1 < layer.units else count
            for i in range(units.starts[last - 1], stop):
                place = starts[units.indices[i]]
                starts[units.indices[i]] += 1
                positions.values[place] = units.values[i]
                positions.indices[place] = unit
        starts[1:] = starts[:-1]
        starts[0] = begin
    units.starts[lanes * layer.units] = count


@compiled
def _correlate(net: Net, space: Space, index: int, lane: int) -> None:
    """Add a band's part of one image to the gradients of all weights and biases."""
    layer, below, errors = net.layers[index], net.planes[index], space.turned.by_unit
    image, features = lane * _image(net, index), below.features
    biases = layer.turned + 9 * layer.units * features
    for unit in range(layer.units):
        start, stop = errors.starts[lane * layer.units + unit :][:2]
        for i in range(start, stop):
            space.turned.gradients[biases + unit] += errors.values[i]
        for tap in range(9):
            source = image + (tap // 3 * (below.width + 2) + tap % 3) * features
            target = layer.turned + (tap * layer.units + unit) * features
            for channel in range(0, features, _channels(space)):
                accumulate_channels(
                    space.turned.gradients, target + channel, space.turned.activity,
                    source + channel, features, errors.indices, errors.values, start, stop,
                )  # fmt: skip


@compiled
def _convolve(net: Net, space: Space, index: int, lane: int) -> None:
    """Add what the errors of a band of one image give to those of its input."""
    layer, below, errors = net.layers[index], net.planes[index], space.turned.by_position
    image, features = lane * _image(net, index), below.features
    across = TURNED_ROWS * (below.width + 2)
    for tap in range(9):
        target = image + (tap // 3 * (below.width + 2) + tap % 3) * features
        source = layer.turned + tap * layer.units * features
        for channel in range(0, features, _channels(space)):
            for position in range(across):
                start, stop = errors.starts[lane * across + position :][:2]
                if start < stop:
                    accumulate_channels(
                        space.turned.errors, target + position * features + channel,
                        space.turned.weights, source + channel, features, errors.indices,
                        errors.values, start, stop,
                    )  # fmt: skip


@compiled
def _channels(space: Space) -> int:
    """Channels in a row."""
    return TILE_BYTES // space.errors.itemsize
