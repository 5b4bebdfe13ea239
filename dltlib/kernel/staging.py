"""Images turned round: from rows of bytes to tiles in which the batch is the vector."""

import numpy as np

from dltlib.kernel.intrinsics import STRIPS, compiled, strip_lanes, turn
from dltlib.kernel.layout import Net, Space


@compiled
def stage(images: np.ndarray, members: np.ndarray, rank: np.ndarray, staged: np.ndarray) -> None:
    """Gather tiles of images and turn them round: ``staged[tile, feature, column]``, as bytes.

    ``members[tile, column]`` says which image, or -1 for none; ``rank`` is each pixel's feature.
    Replicas that see the same data share this work.
    """
    tiles, features, columns = staged.shape
    pixels, rows, origins = images.reshape(-1), rank * columns, members * features
    for tile in range(tiles):
        here, begins = staged[tile].reshape(-1), origins[tile]
        if features < 16:
            for column in range(columns):
                for pixel in range(features):
                    lit = pixels[begins[column] + pixel] if begins[column] >= 0 else 0
                    here[rows[pixel] + column] = lit
            continue
        for column in range(0, columns, 16):
            for pixel in range(0, features, 16):
                # The last sixteen overlap the ones before.
                turn(pixels, begins, column, min(pixel, features - 16), here, rows, column)


@compiled
def load(net: Net, space: Space, staged: np.ndarray, tile: int) -> None:
    """Bytes to numbers, in the layout that the first layer wants."""
    if net.convolutions > 0:
        _load_strips(net, space, staged, tile)
    else:
        _load_rows(net, space, staged, tile)


@compiled
def _load_rows(net: Net, space: Space, staged: np.ndarray, tile: int) -> None:
    """For a dense layer: up to the last pixel that is lit in any image of the tile."""
    here = net.planes[0]
    columns = here.plane
    words = staged.view(np.uint64)
    end = words.size
    while end > 0 and words[end - 1] == 0:
        end -= 1
    lit = (8 * end + columns - 1) // columns
    space.lit[tile] = lit
    start = here.activity + tile * here.stride + columns
    inputs = space.activity[start : start + lit * columns]
    scale = space.activity.dtype.type(1.0 / 255.0)
    for i in range(inputs.size):
        inputs[i] = np.float32(staged[i]) * scale


@compiled
def _load_strips(net: Net, space: Space, staged: np.ndarray, tile: int) -> None:
    """For a convolution: inside the borders, strip by strip."""
    here = net.planes[0]
    lanes = strip_lanes(space.activity)
    scale = space.activity.dtype.type(1.0 / 255.0)
    for strip in range(STRIPS):
        start = here.activity + (tile * STRIPS + strip) * here.stride
        pixel = 0
        for channel in range(here.features):
            for y in range(here.height):
                at = start + (1 + channel) * here.plane + (1 + y) * here.row
                for _ in range(here.width):
                    at += lanes
                    values = space.activity[at : at + lanes]
                    lit = staged[pixel * lanes * STRIPS + strip * lanes :][:lanes]
                    for lane in range(lanes):
                        values[lane] = np.float32(lit[lane]) * scale
                    pixel += 1
