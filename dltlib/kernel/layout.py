"""What a compiled pass sees: one network's lists of weights, and the arrays it works in.

Offsets and indices count numbers, not bytes, unless they say so.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dltlib.kernel.intrinsics import STRIP_BYTES, STRIPS, TILE_BYTES

# Image rows at a time in `sparse_errors`, an even number: of one image's inputs under them, a strip
# of channels lies in the first-level cache and all lie in the second; a fifth is handed on.
TURNED_ROWS = 8
# Input channels x units x positions from which a layer is worth turning round, if its channels are
# a multiple of a tile's columns: narrower ones keep the bits that their records have.
TURNED_WORK = 1 << 20

# Activity of one layer, the images being the first. A dense layer's tile is ``[1 + feature,
# column]``; a convolution's strip is ``[1 + channel, y + 1, x + 1, column]``, where the right
# border of one row is the left one of the next, and below there are zeros enough to make the rows
# a multiple of four. The errors lie in the same way, but for
# convolutions only those of one strip are kept.
PLANES = np.dtype(
    [
        ("features", np.int64),  # units or channels
        ("height", np.int64),
        ("width", np.int64),
        ("row", np.int64),  # from one image row to the next
        ("plane", np.int64),  # from one feature to the next
        ("stride", np.int64),  # from one tile or strip to the next
        ("activity", np.int64),  # where the first tile or strip begins
        ("errors", np.int64),
    ],
    align=True,
)

# A layer with weights, which leads from one activity to the next. Of the lists, ``[trained or
# frozen, 2]``: where they begin in the pointers, and the number of blocks.
LAYER = np.dtype(
    [
        ("pooled", np.bool_),
        ("below", np.int64),  # its input among the planes; its output is the next of them
        ("units", np.int64),
        ("whole", np.bool_),  # all its weights are trained
        ("forward", np.int64, (2, 2)),
        ("backward", np.int64, (2, 2)),
        ("pooling", np.int64),  # in errors: four image rows of a strip that are to be pooled
        ("pitch", np.int64),  # from one unit's four rows to the next one's
        ("unpooled", np.int64),  # in errors: a strip's errors before the pooling, laid out as input
        ("winners", np.int64),  # where the first strip's choices of the pooling begin
        ("turned", np.int64),  # see `Turned`: where its weights begin, below zero if not there
    ],
    align=True,
)


class Lists(NamedTuple):
    """Weights in the order in which they are walked: by block of inputs, then by unit."""

    values: np.ndarray
    offsets: np.ndarray  # of the activity that each multiplies
    pointers: np.ndarray  # where the values of each block and unit begin, and the last ones end


class Net(NamedTuple):
    """One network."""

    planes: np.ndarray  # of `PLANES`, one more than layers
    layers: np.ndarray  # of `LAYER`
    convolutions: int  # the first of them
    forward: Lists  # weights and biases: trained ones of all layers, then frozen nonzero ones
    backward: Lists  # above the first layer: the weights once more, ordered by input
    order: np.ndarray  # where each of the trained ones among them is in ``forward``
    places: np.ndarray  # where each of ``forward`` is in `Turned`, below zero if not there
    momentum: np.ndarray  # Adam's first and second moments, of the trained ones
    variance: np.ndarray


class Errors(NamedTuple):
    """Errors other than zero, a list for each of a strip's images."""

    values: np.ndarray  # ``[lane, error]``
    indices: np.ndarray  # likewise
    starts: np.ndarray  # ``[lane, unit or position]``: where its values begin, and the last ends


class Turned(NamedTuple):
    """Room for `sparse_errors`, where the vector is the channels and not the batch."""

    # As many channels as make a strip lie side by side, as images do elsewhere.
    weights: np.ndarray  # of a layer ``[strip, unit, tap, channel]``, zeros too, then biases
    gradients: np.ndarray  # likewise
    activity: np.ndarray  # ``[lane, (strip, y, x, channel)]``: a band of rows, a border about it
    errors: np.ndarray  # likewise
    by_unit: Errors  # the indices being positions
    by_position: Errors  # the indices being units


class Space(NamedTuple):
    """What a thread works in, one replica after another: nothing in it outlives an iteration."""

    activity: np.ndarray
    errors: np.ndarray  # gradient of the loss with respect to the activity
    winners: np.ndarray  # which of its four each pooled activity is
    gradients: np.ndarray  # of the weights that Adam has not yet been given
    lit: np.ndarray  # [tile]: the pixels from here on are dark in all its images
    turned: Turned


def aligned(values: np.ndarray) -> np.ndarray:
    """A copy that begins at a cache line, lest every row of a tile straddle one more."""
    raw = np.empty(values.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[:] = values
    return copy


class Geometry(NamedTuple):
    """What networks of one shape have in common."""

    planes: np.ndarray
    layers: np.ndarray  # their lists left out
    convolutions: int
    sizes: tuple[int, int, int]  # of a space's activity, errors and winners
    turned: tuple[int, int, int, int, int]  # of its weights, images, errors, units and positions


def geometry(
    shapes: Sequence[tuple[int, ...]], image: tuple[int, int, int], dtype: np.dtype, tiles: int
) -> Geometry:
    """Where everything is, for weights of these ``shapes`` and batches of that many tiles.

    A 2x2 max pool follows every second convolution, and what the last leaves is flattened.
    """
    lanes, columns = STRIP_BYTES // dtype.itemsize, TILE_BYTES // dtype.itemsize
    convolutions = sum(len(shape) == 4 for shape in shapes)
    layers = np.zeros(len(shapes), LAYER)
    index = np.arange(len(shapes))
    layers["pooled"] = (index < convolutions) & (index % 2 == 1)
    layers["units"] = [shape[0] if len(shape) == 4 else shape[1] for shape in shapes]
    layers["below"] = index + ((index >= convolutions) & (convolutions > 0))

    planes = np.zeros(layers["below"][-1] + 2, PLANES)
    depth, height, width = image
    activity = errors = winners = 0
    for index, here in enumerate(planes):
        if index <= convolutions > 0:
            if index > 0:
                depth = layers["units"][index - 1]
                if layers["pooled"][index - 1]:
                    height, width = height // 2, width // 2
                    layers["winners"][index - 1] = winners
                    winners += tiles * STRIPS * depth * height * width * lanes
            here["features"], here["height"], here["width"] = depth, height, width
            here["row"] = (1 + width) * lanes
            here["plane"] = (-(-height // STRIPS) * STRIPS + 2) * here["row"]
            # One position more, because the last border ends where the next strip begins.
            here["stride"] = (1 + depth) * here["plane"] + lanes
            count, kept = tiles * STRIPS, 1
        else:
            dense = index - (convolutions > 0)
            features = shapes[dense][0] if dense < len(shapes) else shapes[-1][1]
            here["features"], here["height"], here["width"] = features, 1, 1
            here["row"] = here["plane"] = columns
            here["stride"] = (1 + features) * columns
            count = kept = tiles
        here["activity"], here["errors"] = activity, errors
        activity += count * here["stride"]
        errors += kept * here["stride"]
    layers["turned"] = -1
    weights, turned = 0, np.zeros(4, np.int64)
    for index in np.flatnonzero(layers["pooled"]):
        below, units = planes[index], layers["units"][index]
        layers["unpooled"][index] = errors
        errors += (1 + units) * below["plane"] + lanes
        layers["pooling"][index] = errors
        # Four rows and a strip: an odd number of cache lines, lest units compete for the same ones.
        layers["pitch"][index] = STRIPS * below["row"] + lanes
        errors += units * layers["pitch"][index]
        work = below["features"] * units * below["height"] * below["width"]
        if below["features"] % columns == 0 and work >= TURNED_WORK:
            layers["turned"][index] = weights
            weights += (9 * below["features"] + 1) * units
            across = below["width"] + 2
            sizes = [
                (TURNED_ROWS + 2) * across * below["features"],
                units * (TURNED_ROWS // 2) * (below["width"] // 2),
                units,
                TURNED_ROWS * across,
            ]
            turned = np.maximum(turned, sizes)
    return Geometry(
        planes,
        layers,
        convolutions,
        (int(activity), int(errors), int(winners)),
        (int(weights), *turned.tolist()),
    )


def goes_by_errors(shapes: Sequence[tuple[int, ...]], image: tuple[int, int, int]) -> bool:
    """Whether some layer of float32 weights of these ``shapes`` is walked back by its errors while
    most of its weights are there.

    >>> layout.goes_by_errors([(64, 3, 3, 3), (64, 64, 3, 3), (16384, 10)], (3, 32, 32))
    True
    """
    layers = geometry(shapes, image, np.dtype(np.float32), 1).layers
    return bool((layers["turned"] >= 0).any())


def workspace(shape: Geometry, dtype: np.dtype, tiles: int, gradients: int) -> Space:
    """Room for one thread, borders and ones in place."""
    activity, errors, winners = shape.sizes
    weights, images, listed, units, positions = shape.turned

    lanes = STRIP_BYTES // dtype.itemsize

    def listing(starts: int) -> Errors:
        return Errors(
            np.zeros((lanes, listed), dtype),
            np.zeros((lanes, listed), np.int32),
            np.zeros((lanes, starts + 1), np.int64),
        )

    values = np.zeros(activity, dtype)
    for index, here in enumerate(shape.planes):
        if index <= shape.convolutions > 0:
            ones = np.zeros((here["plane"] // here["row"], 1 + here["width"], lanes))
            ones[1 : 1 + here["height"], 1:] = 1
            count = tiles * STRIPS
        else:
            ones, count = np.ones(here["plane"]), tiles
        strips = values[here["activity"] :][: count * here["stride"]].reshape(count, -1)
        strips[:, : here["plane"]] = ones.ravel()
    return Space(
        activity=aligned(values),
        errors=aligned(np.zeros(errors, dtype)),
        winners=np.zeros(winners, np.uint8),
        gradients=np.zeros(gradients, dtype),
        lit=np.zeros(tiles, np.int64),
        turned=Turned(
            weights=aligned(np.zeros(weights, dtype)),
            gradients=aligned(np.zeros(weights, dtype)),
            activity=aligned(np.zeros((lanes, images), dtype)),
            errors=aligned(np.zeros((lanes, images), dtype)),
            by_unit=listing(units),
            by_position=listing(positions),
        ),
    )
