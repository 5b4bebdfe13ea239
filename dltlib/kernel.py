"""Training fully connected networks on a CPU, touching only the weights that exist.

A pruned network has few weights; a matrix product does not know that. Here each unit's surviving
weights lie in a compressed list, one replica after another is trained by one thread, and cost
falls with density. Replicas share nothing but the images, so each gets the same bits whatever
runs beside it, in whatever order, on however many threads.

How it is laid out, and why
---------------------------
*The batch is the vector.* Activity is stored ``[feature, column]``, a column being one image of
the batch, in tiles of `TILE_BYTES` (64 columns in float32): as many accumulators as the
processor's vector registers hold with some to spare. A weight then costs one scalar load and
a run of fused multiply-adds with no shuffling, wherever in the layer it sits.

*Biases are weights* of an input that is always one: each layer's activity has a first row of ones.

*Two lists*: trained weights first, then weights that are frozen at a value other than zero; the
second is left out where gradients are taken. Frozen zeros are in neither.

*Blocks of inputs*: a list is ordered by block of inputs, then by unit, so that the activity that a
block needs stays in the first-level cache while all units read it. Pixels are ordered by how
often they are lit, so that the last blocks are dark in many batches and can be passed over: a
weight there has no gradient (its momentum still moves it).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from dltlib import parallel

TILE_BYTES = 256  # one row of a tile: 64 columns of float32 or 32 of float64
STAGE_BYTES = 8 << 20  # transposed batches kept at a time: they should stay in the shared cache
CACHED_ROWS = 100  # rows of a tile that fit the first-level cache with something to spare
SHORTEST_RUN = 24  # weights of one unit in one block, on average: fewer are not worth a block
PENDING = 1024  # gradients collected before Adam takes them
SAMPLE = 10_000  # images that decide the order of the pixels
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch.optim.Adam's defaults


class Replica(NamedTuple):
    """One network, flattened for the kernel. Offsets and indices count elements, not bytes."""

    sizes: np.ndarray  # units of each layer, the input's features first
    values: np.ndarray  # weights and biases: trained ones of all layers, then frozen nonzero ones
    momentum: np.ndarray  # Adam's first and second moments, of the trained ones
    variance: np.ndarray
    columns: np.ndarray  # the input that each value multiplies
    pointers: np.ndarray  # where the values of each block and unit begin, and the last ones end
    lists: np.ndarray  # [2, layer, 2]: trained or frozen; place in `pointers`, number of blocks
    back_values: np.ndarray  # above the first layer: the weights once more, ordered by input
    back_order: np.ndarray  # where each of the trained ones among them is in `values`
    back_columns: np.ndarray  # the unit that each belongs to
    back_pointers: np.ndarray
    back_lists: np.ndarray  # [2, layer]: place in `back_pointers`
    activity: np.ndarray  # every layer's [tile, 1 + feature, column], ones in the first row
    lit: np.ndarray  # [tile]: the pixels from here on are dark in all its images
    errors: np.ndarray  # gradient of the loss with respect to `activity`, same layout
    offsets: np.ndarray  # where each layer begins in `activity`
    scratch: np.ndarray  # gradients of the weights that Adam has not yet been given


def _compiled(function: Callable) -> Callable:
    """Compile at the first call, and keep the result on disk where there is a place for it."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(**options, cache=True)(function)
    except RuntimeError:  # neither the package nor the user's cache directory can be written
        return njit(**options)(function)


I32, I64 = ir.IntType(32), ir.IntType(64)


def _unpack(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """Arguments of an intrinsic in LLVM's terms, an array being the pointer to its data."""
    return [
        context.make_array(kind)(context, builder, argument).data
        if isinstance(kind, types.Array)
        else argument
        for kind, argument in zip(signature.args, arguments, strict=True)
    ]


def _vector(kind: types.Array, size: int) -> tuple[ir.VectorType, int]:
    """The vector of ``size`` bytes of an array's elements, and the bytes of one element."""
    element = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
    width = kind.dtype.bitwidth // 8
    return ir.VectorType(element, size // width), width


def _load(builder: Any, pointer: Any, index: Any, kind: ir.Type, align: int) -> Any:
    address = builder.gep(pointer, [index])
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=align)


def _multiply_add(builder: Any, kind: ir.Type, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, fused where the processor can."""
    element = "f32" if isinstance(kind.element, ir.FloatType) else "f64"
    name = f"llvm.fmuladd.v{kind.count}{element}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), name
    )
    return builder.call(function, [a, b, c])


def _shuffle(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """The chosen lanes of two vectors one after the other."""
    order = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
    return builder.shuffle_vector(a, b, order)


@intrinsic
def _accumulate(
    typing: Any, target: Any, at: Any, source: Any, origin: Any, columns: Any, values: Any,
    start: Any, stop: Any, fresh: Any, gate: Any, gate_at: Any,
) -> Any:  # fmt: skip
    """target[at:] += sum over k of values[k] * source[origin + lanes * columns[k] :], one row each.

    Written in LLVM's terms because it must keep the whole row in registers throughout. ``fresh``:
    begin at zero. ``gate_at`` >= 0: at the end let through only where gate[gate_at:] is positive,
    the result itself serving as gate if ``gate_at`` is ``at`` and ``gate`` is ``target``.
    """
    signature = types.void(
        target, at, source, origin, columns, values, start, stop, fresh, gate, gate_at
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (target, at, source, origin, columns, values, start, stop, fresh, gate, gate_at) = _unpack(
            context, builder, signature, arguments
        )
        row, width = _vector(signature.args[0], TILE_BYTES)
        zero = ir.Constant(row, None)
        source = builder.gep(source, [origin])
        place = builder.bitcast(builder.gep(target, [at]), row.as_pointer())
        total = cgutils.alloca_once(builder, row)
        builder.store(zero, total)
        with builder.if_then(builder.not_(fresh)):
            builder.store(builder.load(place, align=width), total)
        with cgutils.for_range_slice(builder, start, stop, I64(1)) as (k, _):
            column = builder.sext(builder.load(builder.gep(columns, [k])), I64)
            inputs = _load(builder, source, builder.mul(column, I64(row.count)), row, width)
            weight = builder.load(builder.gep(values, [k]))
            weight = builder.insert_element(zero, weight, I32(0))
            weight = _shuffle(builder, weight, weight, [0] * row.count)
            builder.store(_multiply_add(builder, row, weight, inputs, builder.load(total)), total)
        builder.store(builder.load(total), place, align=width)
        with builder.if_then(builder.icmp_signed(">=", gate_at, I64(0))):
            # Not max(0, x): what is not a number must stay so, for the loss to show it.
            closed = builder.fcmp_ordered("<=", _load(builder, gate, gate_at, row, width), zero)
            builder.store(builder.select(closed, zero, builder.load(total)), place, align=width)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _correlate(
    typing: Any, target: Any, at: Any, source: Any, origin: Any, columns: Any, errors: Any,
    where: Any, start: Any, stop: Any, add: Any,
) -> Any:  # fmt: skip
    """target[at + k - start] (+)= errors[where:] . source[origin + lanes * columns[k] :].

    The errors of one unit stay in registers; four inputs are taken at a time, so that their four
    sums are folded together. The list's end is done one by one with the same arithmetic.
    """
    signature = types.void(target, at, source, origin, columns, errors, where, start, stop, add)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (target, at, source, origin, columns, errors, where, start, stop, add) = _unpack(
            context, builder, signature, arguments
        )
        chunk, width = _vector(signature.args[0], 32)  # one vector register of AVX
        lanes = TILE_BYTES // width
        source = builder.gep(source, [origin])
        errors = builder.gep(errors, [where])
        parts = [_load(builder, errors, I64(i), chunk, width) for i in range(0, lanes, chunk.count)]

        def add_lanes(a: Any, b: Any, some: list[int], others: list[int]) -> Any:
            return builder.fadd(_shuffle(builder, a, b, some), _shuffle(builder, a, b, others))

        def product(k: Any) -> Any:  # four partial sums
            column = builder.sext(builder.load(builder.gep(columns, [k])), I64)
            index = builder.mul(column, I64(lanes))
            total = None
            for i, part in enumerate(parts):
                place = builder.add(index, I64(i * chunk.count))
                inputs = _load(builder, source, place, chunk, width)
                if total is None:
                    total = builder.fmul(part, inputs)
                else:
                    total = _multiply_add(builder, chunk, part, inputs, total)
            if chunk.count == 8:
                total = add_lanes(total, total, [0, 1, 2, 3], [4, 5, 6, 7])
            return total

        def fold(a: Any, b: Any, c: Any, d: Any) -> Any:  # the sums of four partial sums each
            ab = add_lanes(a, b, [0, 4, 1, 5], [2, 6, 3, 7])
            cd = add_lanes(c, d, [0, 4, 1, 5], [2, 6, 3, 7])
            return add_lanes(ab, cd, [0, 1, 4, 5], [2, 3, 6, 7])

        def put(k: Any, value: Any) -> None:
            index = builder.add(at, builder.sub(k, start))
            place = builder.bitcast(builder.gep(target, [index]), value.type.as_pointer())
            old = builder.load(place, align=width)
            zero = ir.Constant(value.type, None)
            old = builder.select(builder.icmp_signed("!=", add, add.type(0)), old, zero)
            builder.store(builder.fadd(old, value), place, align=width)

        count = builder.sub(stop, start)
        middle = builder.sub(stop, builder.srem(count, I64(4)))
        with cgutils.for_range_slice(builder, start, middle, I64(4)) as (k, _):
            put(k, fold(*(product(builder.add(k, I64(i))) for i in range(4))))
        with cgutils.for_range_slice(builder, middle, stop, I64(1)) as (k, _):
            one = product(k)
            put(k, builder.extract_element(fold(one, one, one, one), I32(0)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _turn(
    typing: Any, images: Any, origins: Any, first: Any, pixel: Any, tile: Any, rows: Any,
    column: Any,
) -> Any:  # fmt: skip
    """Transpose the bytes of 16 pixels of 16 images.

    images[origins[first + i] + pixel + j] becomes tile[rows[pixel + j] + column + i]; an image
    with a negative origin is dark.
    """
    signature = types.void(images, origins, first, pixel, tile, rows, column)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (images, origins, first, pixel, tile, rows, column) = _unpack(
            context, builder, signature, arguments
        )
        sixteen = ir.VectorType(ir.IntType(8), 16)
        vectors = []
        for i in range(16):
            origin = builder.load(builder.gep(origins, [builder.add(first, I64(i))]))
            none = builder.icmp_signed("<", origin, I64(0))
            place = builder.add(builder.select(none, I64(0), origin), pixel)
            pixels = _load(builder, images, place, sixteen, 1)
            vectors.append(builder.select(none, ir.Constant(sixteen, None), pixels))
        # Interleaving vector i with i + 8, four times over, turns rows into columns.
        low, high = ([x for j in range(h, h + 8) for x in (j, j + 16)] for h in (0, 8))
        for _ in range(4):
            vectors = [
                _shuffle(builder, vectors[i], vectors[i + 8], half)
                for i in range(8)
                for half in (low, high)
            ]
        for j, vector in enumerate(vectors):
            row = builder.load(builder.gep(rows, [builder.add(pixel, I64(j))]))
            place = builder.gep(tile, [builder.add(row, column)])
            builder.store(vector, builder.bitcast(place, sixteen.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, generate


@_compiled
def _stage(images: np.ndarray, members: np.ndarray, rank: np.ndarray, staged: np.ndarray) -> None:
    """Gather tiles of images and turn them round: ``staged[tile, feature, column]``, as bytes.

    ``members[tile, column]`` says which image, or -1 for none; ``rank`` is each pixel's feature.
    Replicas that see the same data share this work.
    """
    tiles, features, lanes = staged.shape
    pixels, rows, origins = images.reshape(-1), rank * lanes, members * features
    for tile in range(tiles):
        here, begins = staged[tile].reshape(-1), origins[tile]
        if features < 16:
            for column in range(lanes):
                for pixel in range(features):
                    lit = pixels[begins[column] + pixel] if begins[column] >= 0 else 0
                    here[rows[pixel] + column] = lit
            continue
        for column in range(0, lanes, 16):
            for pixel in range(0, features, 16):
                # The last sixteen overlap the ones before.
                _turn(pixels, begins, column, min(pixel, features - 16), here, rows, column)


@_compiled
def _load_tile(net: Replica, staged: np.ndarray, tile: int, lanes: int) -> None:
    """Bytes to numbers, up to the last pixel that is lit in any image of the tile."""
    words = staged.view(np.uint64)
    end = words.size
    while end > 0 and words[end - 1] == 0:
        end -= 1
    lit = (8 * end + lanes - 1) // lanes
    net.lit[tile] = lit
    start = net.offsets[0] + (tile * (net.sizes[0] + 1) + 1) * lanes
    inputs = net.activity[start : start + lit * lanes]
    scale = net.values.dtype.type(1.0 / 255.0)
    for i in range(inputs.size):
        inputs[i] = np.float32(staged[i]) * scale


@_compiled
def _stop(net: Replica, layer: int, tile: int, start: int, stop: int) -> int:
    """End of the run of values whose inputs are lit."""
    if layer == 0:
        while stop > start and net.columns[stop - 1] > net.lit[tile]:
            stop -= 1
    return stop


@_compiled
def _forward(net: Replica, tile: int, lanes: int) -> None:
    """Activity of every layer from that of the input, for one tile."""
    layers = net.sizes.size - 1
    for layer in range(layers):
        units = net.sizes[layer + 1]
        source = net.offsets[layer] + tile * (net.sizes[layer] + 1) * lanes
        target = net.offsets[layer + 1] + (tile * (units + 1) + 1) * lanes
        for kind in range(2):
            first, blocks = net.lists[kind, layer]
            ends = kind == 1 or net.lists[1, layer, 1] == 0  # the last list there is
            for block in range(blocks):
                rectify = ends and block == blocks - 1 and layer < layers - 1
                for unit in range(units):
                    p = first + block * units + unit
                    start = net.pointers[p]
                    stop = _stop(net, layer, tile, start, net.pointers[p + 1])
                    row = target + unit * lanes
                    _accumulate(
                        net.activity, row, net.activity, source, net.columns, net.values, start,
                        stop, kind + block == 0, net.activity, row if rectify else -1,
                    )  # fmt: skip


@_compiled
def _loss(net: Replica, labels: np.ndarray, lanes: int) -> float:
    """Mean softmax cross entropy over the batch; leaves its gradient in the last errors."""
    classes, last = net.sizes[-1], net.sizes.size - 1
    total = 0.0
    for position in range(labels.size):
        tile, column = position // lanes, position % lanes
        at = net.offsets[last] + (tile * (classes + 1) + 1) * lanes + column
        highest = net.activity[at]
        for unit in range(1, classes):
            highest = max(highest, net.activity[at + unit * lanes])
        mass = net.values.dtype.type(0)
        for unit in range(classes):
            share = np.exp(net.activity[at + unit * lanes] - highest)
            net.errors[at + unit * lanes] = share
            mass += share
        total += np.log(mass) + highest - net.activity[at + labels[position] * lanes]
        scale = 1 / (mass * labels.size)
        for unit in range(classes):
            net.errors[at + unit * lanes] *= scale
        net.errors[at + labels[position] * lanes] -= net.values.dtype.type(1 / labels.size)
    return total / labels.size


@_compiled
def _backward(net: Replica, layer: int, tile: int, lanes: int) -> None:
    """Errors of a layer's input from those of its output."""
    units = net.sizes[layer]
    target = net.offsets[layer] + (tile * (units + 1) + 1) * lanes
    source = net.offsets[layer + 1] + (tile * (net.sizes[layer + 1] + 1) + 1) * lanes
    for kind in range(2):
        first = net.back_lists[kind, layer]
        if kind == 1 and net.lists[1, layer, 1] == 0:
            break
        ends = kind == 1 or net.lists[1, layer, 1] == 0
        for unit in range(units):
            row = target + unit * lanes
            _accumulate(
                net.errors, row, net.errors, source, net.back_columns, net.back_values,
                net.back_pointers[first + unit], net.back_pointers[first + unit + 1],
                kind == 0, net.activity, row if ends else -1,
            )  # fmt: skip


@_compiled
def _adam(net: Replica, start: int, stop: int, rate: float, correction: float) -> None:
    """torch.optim.Adam's update of values[start:stop] by the gradients in `scratch`."""
    kind = net.values.dtype.type
    one, two = kind(1 - BETA1), kind(1 - BETA2)
    keep, rate, correction, epsilon = kind(BETA2), kind(rate), kind(correction), kind(EPSILON)
    # Slices, because a loop from zero over an array's own length is what numba vectorises.
    values, gradients = net.values[start:stop], net.scratch[: stop - start]
    momenta, variances = net.momentum[start:stop], net.variance[start:stop]
    for i in range(values.size):
        momenta[i] += one * (gradients[i] - momenta[i])
        variances[i] = keep * variances[i] + two * gradients[i] * gradients[i]
        values[i] -= rate * momenta[i] / (np.sqrt(variances[i]) * correction + epsilon)


@_compiled
def _update(
    net: Replica, layer: int, tiles: int, lanes: int, rate: float, correction: float
) -> None:
    """Gradients of a layer's trained weights, and at once their update."""
    units = net.sizes[layer + 1]
    first, blocks = net.lists[0, layer]
    begin = net.pointers[first]
    for block in range(blocks):
        for unit in range(units):
            p = first + block * units + unit
            start, stop = net.pointers[p], net.pointers[p + 1]
            for tile in range(tiles):
                source = net.offsets[layer] + tile * (net.sizes[layer] + 1) * lanes
                errors = net.offsets[layer + 1] + (tile * (units + 1) + 1 + unit) * lanes
                lit = _stop(net, layer, tile, start, stop)
                _correlate(
                    net.scratch, start - begin, net.activity, source, net.columns, net.errors,
                    errors, start, lit, tile,
                )  # fmt: skip
                if tile == 0:
                    for k in range(lit, stop):
                        net.scratch[k - begin] = 0
            # Long runs suit Adam's vectors; short enough ones are still in the nearest cache.
            if stop - begin >= PENDING or (block == blocks - 1 and unit == units - 1):
                _adam(net, begin, stop, rate, correction)
                begin = stop


@_compiled
def _train(
    net: Replica, staged: np.ndarray, labels: np.ndarray, steps: int, learning_rate: float,
    total: float,
) -> float:  # fmt: skip
    """One Adam step for each batch of ``staged [iteration, tile, feature * column]``.

    Returns ``total`` plus the mean losses of these batches.
    """
    iterations, tiles, size = staged.shape
    lanes = size // net.sizes[0]
    layers = net.sizes.size - 1
    for iteration in range(iterations):
        for tile in range(tiles):
            _load_tile(net, staged[iteration, tile], tile, lanes)
            _forward(net, tile, lanes)
        total += _loss(net, labels[iteration], lanes)
        steps += 1
        rate = learning_rate / (1 - BETA1**steps)
        correction = 1 / np.sqrt(1 - BETA2**steps)
        for i in range(net.back_order.size):
            net.back_values[i] = net.values[net.back_order[i]]
        for layer in range(layers - 1, -1, -1):
            if layer > 0:
                for tile in range(tiles):
                    _backward(net, layer, tile, lanes)
            _update(net, layer, tiles, lanes, rate, correction)
    return total


@_compiled
def _correct(net: Replica, staged: np.ndarray, labels: np.ndarray) -> int:
    """Right answers on ``staged [tile, feature * column]``, all tiles but the last one full."""
    lanes = staged.shape[1] // net.sizes[0]
    last = net.offsets[net.sizes.size - 1] + lanes
    correct = 0
    for tile in range(staged.shape[0]):
        _load_tile(net, staged[tile], 0, lanes)
        _forward(net, 0, lanes)
        for column in range(min(lanes, labels.size - tile * lanes)):
            answer = 0
            for unit in range(1, net.sizes[-1]):
                mine = net.activity[last + unit * lanes + column]
                if mine > net.activity[last + answer * lanes + column]:
                    answer = unit
            correct += answer == labels[tile * lanes + column]
    return correct


def _aligned(values: np.ndarray) -> np.ndarray:
    """A copy that begins at a cache line, lest every row of a tile straddle one more."""
    raw = np.empty(values.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + values.nbytes].view(values.dtype)
    copy[:] = values
    return copy


def _compress(selected: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, units and run lengths of the True of ``selected [in, out]``, block by block."""
    rows, units, counts = [], [], []
    edges = [len(selected) * block // max(1, blocks) for block in range(max(1, blocks) + 1)]
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        unit, row = np.nonzero(selected[begin:end].T)
        rows.append(row + begin)
        units.append(unit)
        counts.append(np.bincount(unit, minlength=selected.shape[1]))
    return np.concatenate(rows), np.concatenate(units), np.concatenate(counts)


def _flatten(
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    trained: Sequence[np.ndarray],
    order: np.ndarray,
    tiles: int,
) -> tuple[Replica, np.ndarray]:
    """One network (no replica axis) for the kernel, and where its values are in `_dense`."""
    dtype = weights[0].dtype
    lanes = TILE_BYTES // dtype.itemsize
    sizes = np.array([len(weights[0]), *(len(bias) for bias in biases)])
    bases = np.concatenate([[0], np.cumsum((sizes[:-1] + 1) * sizes[1:])])
    index = np.zeros(bases[-1], np.int64)  # of each parameter in `values`
    columns, places, pointers, back_order, back_columns, back_pointers = ([] for _ in range(6))
    lists = np.zeros((2, len(weights), 2), np.int64)
    back_lists = np.zeros((2, len(weights)), np.int64)
    count = back_count = pointer_count = back_pointer_count = 0
    for kind in range(2):
        for layer, (weight, mask) in enumerate(zip(weights, trained, strict=True)):
            selected = mask if kind == 0 else ~mask & (weight != 0)
            inputs = order if layer == 0 else np.arange(len(mask))
            bias = np.full((1, mask.shape[1]), kind == 0)
            present = np.concatenate([bias, selected[inputs]])
            blocks = _blocks(present)
            rows, units, counts = _compress(present, blocks)
            place = bases[layer] + np.append(len(mask), inputs)[rows] * mask.shape[1] + units
            index[place] = count + np.arange(len(place))
            lists[kind, layer] = pointer_count, blocks
            pointers.append(count + np.concatenate([[0], np.cumsum(counts)]))
            columns.append(rows)
            places.append(place)
            count += len(place)
            pointer_count += len(counts) + 1
            if layer > 0:
                row, unit = np.nonzero(selected)
                back_lists[kind, layer] = back_pointer_count
                ends = np.cumsum(np.bincount(row, minlength=len(weight)))
                back_pointers.append(back_count + np.concatenate([[0], ends]))
                back_columns.append(unit)
                back_order.append(index[bases[layer] + row * mask.shape[1] + unit])
                back_count += len(row)
                back_pointer_count += len(weight) + 1
        if kind == 0:
            trained_count, back_trained_count = count, back_count

    def join(parts: list[np.ndarray], kind: type) -> np.ndarray:
        return np.concatenate([np.zeros(0, kind), *parts]).astype(kind)

    place = join(places, np.int32)
    values = _aligned(_dense(weights, biases)[place])
    back_order = join(back_order, np.int32)
    offsets = np.concatenate([[0], np.cumsum((sizes + 1) * tiles * lanes)])
    activity = np.zeros(offsets[-1], dtype)
    for offset, size in zip(offsets, sizes, strict=False):
        activity[offset:][: tiles * (size + 1) * lanes].reshape(tiles, -1, lanes)[:, 0] = 1
    net = Replica(
        sizes=sizes,
        values=values,
        momentum=_aligned(np.zeros(trained_count, dtype)),
        variance=_aligned(np.zeros(trained_count, dtype)),
        columns=join(columns, np.int32),
        pointers=join(pointers, np.int64),
        lists=lists,
        back_values=_aligned(values[back_order]),
        back_order=back_order[:back_trained_count],
        back_columns=join(back_columns, np.int32),
        back_pointers=join(back_pointers, np.int64),
        back_lists=back_lists,
        activity=_aligned(activity),
        lit=np.zeros(tiles, np.int64),
        errors=_aligned(np.zeros_like(activity)),
        offsets=offsets,
        scratch=np.zeros(PENDING + sizes.max() + 1, dtype),
    )
    return net, place


def _blocks(present: np.ndarray) -> int:
    """How many blocks a layer's inputs are cut into: by shape and density, never by timing."""
    inputs, units = present.shape
    if not present.any():
        return 0
    runs = present.sum() / units / SHORTEST_RUN
    return max(1, min(-(-inputs // CACHED_ROWS), round(runs)))


def _dense(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> np.ndarray:
    """All parameters of one network in one row, each layer's biases after its weights."""
    pairs = zip(weights, biases, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])


class KernelStep:
    """R fully connected networks in training: ReLU between the layers, cross entropy, Adam.

    Parameters
    ----------
    weights: one tensor ``[replica, in, out]`` a layer, float32 or float64, on the CPU.
    biases: ``[replica, out]``; always trained.
    trained: like ``weights``: True is updated, False stays as it is, bit for bit.
    learning_rate, batch_size: of every replica.

    As many threads are used as `torch.get_num_threads` says. The first images seen decide in
    which order a unit's inputs are summed (most often lit first), for all replicas alike.
    """

    def __init__(
        self,
        weights: Sequence[Float[Tensor, "replica inputs outputs"]],
        biases: Sequence[Float[Tensor, "replica outputs"]],
        trained: Sequence[Bool[Tensor, "replica inputs outputs"]],
        *,
        learning_rate: float,
        batch_size: int,
    ) -> None:
        self._weights = [weight.detach().clone() for weight in weights]
        self._biases = [bias.detach().clone() for bias in biases]
        self._trained = [mask.clone() for mask in trained]
        self._learning_rate = learning_rate
        self._batch_size = batch_size
        self._lanes = TILE_BYTES // weights[0].element_size()
        self._steps = 0
        self._nets: list[Replica] = []

    def advance(
        self,
        images: UInt8[Tensor, "images *pixels"],
        labels: Int64[Tensor, " images"],
        batches: Int64[Tensor, "streams iterations batch"],
        stream: Int64[Tensor, " replica"],
    ) -> Float64[Tensor, " replica"]:
        """One update of every replica for each iteration; returns the mean loss over them.

        ``batches`` are indices into ``images``; ``stream`` says which of its rows a replica reads.
        A replica whose loss is no longer a number says so (nan) and disturbs no other.
        Raises ValueError for indices or labels out of range (the kernel does not look).
        """
        pixels = self._open(images)
        if batches.shape[2] != self._batch_size:
            raise ValueError(f"batches must hold {self._batch_size} images, the batch_size given")
        classes = self._weights[-1].shape[2]
        if batches.numel() and not (batches.min() >= 0 and batches.max() < len(pixels)):
            raise ValueError(f"batches must index {len(pixels)} images")
        if not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(f"labels must lie between 0 and {classes - 1}")
        used, rows = stream.unique(return_inverse=True)
        rows = rows.tolist()
        batches = batches[used]
        streams, iterations, batch = batches.shape
        tiles = -(-self._batch_size // self._lanes)
        members = np.full((streams, iterations, tiles * self._lanes), -1)
        members[..., :batch] = batches.numpy()
        targets = labels[batches].contiguous().numpy()
        losses = [0.0] * len(self._nets)

        block = max(1, STAGE_BYTES // (streams * tiles * self._lanes * pixels.shape[1]))
        for first in range(0, iterations, block):
            part = members[:, first : first + block]
            staged = self._stage(pixels, part.reshape(-1, self._lanes))
            staged = staged.reshape(streams, part.shape[1], tiles, -1)

            def train(replica: int) -> None:
                row = rows[replica]
                losses[replica] = _train(
                    self._nets[replica],
                    staged[row],  # noqa: B023
                    targets[row, first : first + block],  # noqa: B023
                    self._steps,
                    self._learning_rate,
                    losses[replica],
                )

            parallel.spread(train, self._by_cost)
            self._steps += part.shape[1]
        return torch.tensor(losses, dtype=torch.float64) / iterations

    def correct(
        self, images: UInt8[Tensor, "images *pixels"], labels: Int64[Tensor, " images"]
    ) -> Int64[Tensor, " replica"]:
        """Number of right answers with the present parameters."""
        pixels = self._open(images)
        right = np.zeros(len(self._nets), np.int64)
        block = max(1, STAGE_BYTES // (self._lanes * pixels.shape[1])) * self._lanes
        for first in range(0, len(pixels), block):
            targets = labels[first : first + block].contiguous().numpy()
            members = np.full(-(-len(targets) // self._lanes) * self._lanes, -1)
            members[: len(targets)] = np.arange(first, first + len(targets))
            staged = self._stage(pixels, members.reshape(-1, self._lanes))
            staged = staged.reshape(len(staged), -1)

            def count(replica: int) -> None:
                right[replica] += _correct(self._nets[replica], staged, targets)  # noqa: B023

            parallel.spread(count, self._by_cost)
        return torch.from_numpy(right)

    def keep_best(self, which: Bool[Tensor, " replica"]) -> None:
        """Remember the present parameters of these replicas as their best."""
        self._build(None)
        for replica in which.nonzero().flatten().tolist():
            self._best[replica][:] = self._nets[replica].values

    def restore_best(self) -> None:
        """Make the best parameters the present ones (at first: the ones training began from)."""
        self._build(None)
        for net, best in zip(self._nets, self._best, strict=True):
            net.values[:] = best

    def parameters(self, best: bool = False) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases as dense tensors; frozen ones bit for bit as they were given."""
        weights = [weight.clone() for weight in self._weights]
        biases = [bias.clone() for bias in self._biases]
        for replica, net in enumerate(self._nets):
            dense = self._dense(replica)
            dense[self._places[replica]] = self._best[replica] if best else net.values
            start = 0
            for parts in zip(weights, biases, strict=True):
                for part in parts:
                    stop = start + part[replica].numel()
                    part[replica] = torch.from_numpy(dense[start:stop]).view_as(part[replica])
                    start = stop
        return weights, biases

    def _dense(self, replica: int) -> np.ndarray:
        return _dense(*([x[replica].numpy() for x in y] for y in (self._weights, self._biases)))

    def _open(self, images: Tensor) -> np.ndarray:
        features = self._weights[0].shape[1]
        pixels = np.ascontiguousarray(images.flatten(1).numpy())
        if pixels.dtype != np.uint8 or pixels.shape[1] != features:
            raise ValueError(f"images must be uint8 with {features} pixels")
        self._build(pixels)
        return pixels

    def _build(self, pixels: np.ndarray | None) -> None:
        if self._nets:
            return
        self._order = np.arange(self._weights[0].shape[1])
        if pixels is not None:
            self._order = np.argsort(-np.count_nonzero(pixels[:SAMPLE], axis=0), kind="stable")
        self._rank = np.argsort(self._order)
        tiles = -(-self._batch_size // self._lanes)
        self._places, self._best = [], []
        for replica in range(len(self._weights[0])):
            parts = (
                [x[replica].numpy() for x in y]
                for y in (self._weights, self._biases, self._trained)
            )
            net, place = _flatten(*parts, self._order, tiles)
            self._nets.append(net)
            self._places.append(place)
            self._best.append(net.values.copy())
        # The costliest first, so that the threads end at about the same time.
        costs = [-net.values.size for net in self._nets]
        self._by_cost = np.argsort(costs, kind="stable").tolist()

    def _stage(self, pixels: np.ndarray, members: np.ndarray) -> np.ndarray:
        staged = np.empty((len(members), pixels.shape[1], self._lanes), np.uint8)
        edges = np.linspace(0, len(members), torch.get_num_threads() + 1).astype(int)

        def stage(part: int) -> None:
            here = slice(edges[part], edges[part + 1])
            _stage(pixels, members[here], self._rank, staged[here])

        parallel.spread(stage, range(len(edges) - 1))
        return staged
