"""One row of every unit of a layer: what forward and backward passes of all layers consist of."""

from typing import NamedTuple

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


class Rows(NamedTuple):
    """Where the units' rows lie that are accumulated."""

    values: np.ndarray
    at: int  # the first unit's
    pitch: int  # from one unit's row to the next
    apart: int  # from one strip of a row to the next


class Inputs(NamedTuple):
    """Where the rows lie that offsets point to."""

    values: np.ndarray
    origin: int  # of the offsets
    lit: int  # those at offsets beyond it are dark, and passed over


class Gate(NamedTuple):
    """Numbers, one for each of the units' rows, of which only positive ones let through."""

    values: np.ndarray
    at: int  # below zero: everything passes


class Block(NamedTuple):
    """Some inputs' weights, of all units."""

    run: int  # the first unit's, among the pointers
    units: int
    whole: bool  # all weights are there, so that units share what they read
    begins: bool  # rows begin at zero
    ends: bool  # the gate closes behind it


@compiled
def accumulate_units(
    lists: Lists, block: Block, inputs: Inputs, rows: Rows, gate: Gate, here: int
) -> None:
    """Add what a block's weights give to every unit's row, everything shifted by ``here``.

    Where the layer is whole, all units read the same inputs, so that some can share each load
    of them; every number is still the same sum in the same order.
    """
    origin, at = inputs.origin + here, rows.at + here
    closes = block.ends and gate.at >= 0
    gate_at = gate.at + here if closes else np.int64(-1)
    done = 0
    if block.whole:
        run = lists.pointers[block.run]
        length = lists.pointers[block.run + 1] - run
        count = lit_end(lists, run, run + length, inputs.lit) - run
        while done + TOGETHER <= block.units:
            row = done * rows.pitch
            accumulate_together(
                rows.values, at + row, rows.pitch, rows.apart, inputs.values, origin,
                lists.offsets, run, lists.values, run + done * length, length, count,
                block.begins, gate.values, gate_at + row if closes else gate_at,
            )  # fmt: skip
            done += TOGETHER
    for unit in range(done, block.units):
        start = lists.pointers[block.run + unit]
        count = lit_end(lists, start, lists.pointers[block.run + unit + 1], inputs.lit) - start
        row = unit * rows.pitch
        accumulate(
            rows.values, at + row, rows.pitch, rows.apart, inputs.values, origin, lists.offsets,
            start, lists.values, start, np.int64(0), count, block.begins, gate.values,
            gate_at + row if closes else gate_at,
        )  # fmt: skip
