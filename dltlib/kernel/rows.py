"""One row of every unit of a layer: what forward and backward passes of all layers consist of."""

import numpy as np

from dltlib.kernel.intrinsics import TOGETHER, accumulate, accumulate_together, compiled
from dltlib.kernel.layout import Lists

EVERYTHING = np.int64(2**62)  # an offset that no weight has


@compiled
def lit_end(lists: Lists, start: int, stop: int, darkness: int) -> int:
    """End of the run of values whose inputs are lit: those at offsets up to ``darkness``."""
    while stop > start and lists.offsets[stop - 1] > darkness:
        stop -= 1
    return stop


@compiled
def accumulate_units(
    lists: Lists, first: int, units: int, whole: bool, darkness: int, target: np.ndarray, at: int,
    pitch: int, apart: int, source: np.ndarray, origin: int, fresh: bool, gate: np.ndarray,
    gate_at: int,
) -> None:  # fmt: skip
    """Rows of all units, ``pitch`` apart, from one block's runs, of which ``first`` is the first.

    ``apart`` is from one strip of a row to the next.

    Where the layer is ``whole``, all units read the same inputs, so that some can share each load
    of them; every number is still the same sum in the same order.
    """
    done = 0
    if whole:
        run = lists.pointers[first]
        length = lists.pointers[first + 1] - run
        count = lit_end(lists, run, run + length, darkness) - run
        while done + TOGETHER <= units:
            row = done * pitch
            accumulate_together(
                target, at + row, pitch, apart, source, origin, lists.offsets, run, lists.values,
                run + done * length, length, count, fresh, gate,
                gate_at + row if gate_at >= 0 else gate_at,
            )  # fmt: skip
            done += TOGETHER
    for unit in range(done, units):
        start = lists.pointers[first + unit]
        count = lit_end(lists, start, lists.pointers[first + unit + 1], darkness) - start
        row = unit * pitch
        accumulate(
            target, at + row, pitch, apart, source, origin, lists.offsets, start, lists.values,
            start, np.int64(0), count, fresh, gate, gate_at + row if gate_at >= 0 else gate_at,
        )  # fmt: skip
