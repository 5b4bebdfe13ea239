"""Operations on whole rows of a tile, in LLVM's terms: numba would not keep them in registers.

A vector here is as long as the layout says and not as the processor's registers are: LLVM cuts it
up (256 bytes are eight registers of AVX2, four of AVX-512). Every number in it is computed alone,
and the sums over a vector are spelled out, so that the bits are those of any x86-64 with FMA.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

TILE_BYTES = 256  # one row of a tile: 64 columns of float32 or 32 of float64
STRIP_BYTES = 64  # the columns that a convolution takes at a time, of four positions
STRIPS = TILE_BYTES // STRIP_BYTES  # in a tile
SHARED = 4  # weights that share a load of errors: with 64 bytes each, half of AVX2's registers

I32, I64 = ir.IntType(32), ir.IntType(64)


def sources(folder: Path = Path(__file__).parent) -> str:
    """A hash of the package's text."""
    files = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_SOURCES = sources()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and keep the result on disk where there is a place for it."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        dispatcher = njit(**options, cache=True)(function)
    except RuntimeError:  # neither the package nor the user's cache directory can be written
        return njit(**options)(function)
    kept = dispatcher._cache._cache_file
    # By itself numba asks whether the function's file has changed, not those it calls into.
    kept._source_stamp = _SOURCES
    try:
        kept._load_index()
    except Exception:  # what another version of this package left may name types that are gone
        kept.flush()
    return dispatcher


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
    width = kind.dtype.bitwidth // 8  # type: ignore[attr-defined]
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


def _spread(builder: Any, number: Any, kind: ir.VectorType) -> Any:
    """A vector of one number."""
    vector = builder.insert_element(ir.Constant(kind, None), number, I32(0))
    return _shuffle(builder, vector, vector, [0] * kind.count)


def _transpose(builder: Any, vectors: list[Any]) -> list[Any]:
    """As many vectors as one has lanes, rows to columns.

    Interleaving the first half of them with the second does it, repeated until each vector has
    had to do with each.
    """
    count = len(vectors)
    half = count // 2
    low, high = ([x for j in range(h, h + half) for x in (j, j + count)] for h in (0, half))
    for _ in range(half.bit_length()):
        vectors = [
            _shuffle(builder, vectors[i], vectors[i + half], order)
            for i in range(half)
            for order in (low, high)
        ]
    return vectors


def _fold(builder: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """The sums of four vectors of four."""

    def add(x: Any, y: Any, some: list[int], others: list[int]) -> Any:
        return builder.fadd(_shuffle(builder, x, y, some), _shuffle(builder, x, y, others))

    ab = add(a, b, [0, 4, 1, 5], [2, 6, 3, 7])
    cd = add(c, d, [0, 4, 1, 5], [2, 6, 3, 7])
    return add(ab, cd, [0, 1, 4, 5], [2, 3, 6, 7])


def _halve(builder: Any, vector: Any) -> Any:
    """The sum of a vector's two halves."""
    half = vector.type.count // 2
    low, high = list(range(half)), list(range(half, 2 * half))
    return builder.fadd(
        _shuffle(builder, vector, vector, low), _shuffle(builder, vector, vector, high)
    )


@intrinsic
def strip_lanes(typing: Any, array: Any) -> Any:
    """Columns in a strip of the array's numbers: known when compiling, so that loops unroll."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return I64(STRIP_BYTES * 8 // array.dtype.bitwidth)

    return types.int64(array), generate


def _accumulator(units: int) -> Any:
    """The intrinsic that accumulates one row of so many units, as their registers allow: one
    unit's whole row at a time, or a strip of several units'."""

    def accumulate(
        typing: Any, target: Any, at: Any, pitch: Any, apart: Any, source: Any, origin: Any,
        offsets: Any, run: Any, values: Any, start: Any, length: Any, count: Any, fresh: Any,
        gate: Any, gate_at: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(
            target, at, pitch, apart, source, origin, offsets, run, values, start, length, count,
            fresh, gate, gate_at,
        )  # fmt: skip

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                target, at, pitch, apart, source, origin, offsets, run, values, start, length,
                count, fresh, gate, gate_at,
            ) = _unpack(context, builder, signature, arguments)  # fmt: skip
            strip, width = _vector(signature.args[0], STRIP_BYTES)
            zero = ir.Constant(strip, None)
            gated = builder.icmp_signed(">=", gate_at, I64(0))
            runs = [builder.add(start, builder.mul(length, I64(unit))) for unit in range(units)]
            places = [
                (builder.mul(apart, I64(part)), builder.mul(pitch, I64(unit)), begin)
                for part in range(STRIPS)
                for unit, begin in enumerate(runs)
            ]
            for first in range(0, len(places), max(units, STRIPS)):
                together = places[first : first + max(units, STRIPS)]
                totals = [cgutils.alloca_once(builder, strip) for _ in together]
                # Strips of one unit differ in their inputs, those of several in their weights.
                inputs = {
                    part: builder.gep(source, [builder.add(origin, part)])
                    for part, _, _ in together
                }
                addresses = []
                for (part, row, _), total in zip(together, totals, strict=True):
                    index = builder.add(builder.add(at, row), part)
                    pointer = builder.bitcast(builder.gep(target, [index]), strip.as_pointer())
                    addresses.append(pointer)
                    builder.store(zero, total)
                with builder.if_then(builder.not_(fresh)):
                    for address, total in zip(addresses, totals, strict=True):
                        builder.store(builder.load(address, align=width), total)
                with cgutils.for_range(builder, count) as loop:
                    k = loop.index
                    offset = builder.load(builder.gep(offsets, [builder.add(run, k)]))
                    offset = builder.sext(offset, I64)
                    here = {
                        part: _load(builder, pointer, offset, strip, width)
                        for part, pointer in inputs.items()
                    }
                    weights = {}
                    for begin in dict.fromkeys(begin for _, _, begin in together):
                        weight = builder.load(builder.gep(values, [builder.add(begin, k)]))
                        weights[begin] = _spread(builder, weight, strip)
                    for (part, _, begin), total in zip(together, totals, strict=True):
                        more = _multiply_add(
                            builder, strip, weights[begin], here[part], builder.load(total)
                        )
                        builder.store(more, total)
                for address, total in zip(addresses, totals, strict=True):
                    builder.store(builder.load(total), address, align=width)
                with builder.if_then(gated):
                    # Not max(0, x): what is not a number must stay so, for the loss to show it.
                    for (part, row, _), address, total in zip(
                        together, addresses, totals, strict=True
                    ):
                        index = builder.add(builder.add(gate_at, row), part)
                        through = _load(builder, gate, index, strip, width)
                        closed = builder.fcmp_ordered("<=", through, zero)
                        value = builder.select(closed, zero, builder.load(total))
                        builder.store(value, address, align=width)
            return context.get_dummy_value()

        return signature, generate

    accumulate.__doc__ = _ACCUMULATE
    return intrinsic(accumulate)


_ACCUMULATE = """One row of each of some units: target[at + u pitch :] += a sum over k < count of
    values[start + u length + k] * source[origin + offsets[run + k] :].

    A row is `STRIPS` strips, in target, source and gate ``apart`` from one to the next.
    ``fresh``: begin at zero. ``gate_at`` >= 0: at the end let through only where gate[gate_at:] is
    positive, the result itself serving as gate if ``gate_at`` is ``at`` and ``gate`` is ``target``.
    """
TOGETHER = 6  # units that share a load of inputs, a strip of each: 12 of 16 registers of AVX2
accumulate, accumulate_together = _accumulator(1), _accumulator(TOGETHER)


@intrinsic
def correlate_columns(
    typing: Any, target: Any, at: Any, source: Any, origin: Any, offsets: Any, errors: Any,
    where: Any, start: Any, stop: Any, add: Any,
) -> Any:  # fmt: skip
    """target[at + k - start] (+)= errors[where:] . source[origin + offsets[k] :], one row each.

    The errors of one unit stay in registers; four inputs are taken at a time, so that their four
    sums are folded together. The list's end is done one by one with the same arithmetic.
    """
    signature = types.void(target, at, source, origin, offsets, errors, where, start, stop, add)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (target, at, source, origin, offsets, errors, where, start, stop, add) = _unpack(
            context, builder, signature, arguments
        )
        chunk, width = _vector(signature.args[0], 32)  # one vector register of AVX
        lanes = TILE_BYTES // width
        source = builder.gep(source, [origin])
        errors = builder.gep(errors, [where])
        parts = [_load(builder, errors, I64(i), chunk, width) for i in range(0, lanes, chunk.count)]

        def product(k: Any) -> Any:  # four partial sums
            offset = builder.sext(builder.load(builder.gep(offsets, [k])), I64)
            total = None
            for i, part in enumerate(parts):
                index = builder.add(offset, I64(i * chunk.count))
                inputs = _load(builder, source, index, chunk, width)
                if total is None:
                    total = builder.fmul(part, inputs)
                else:
                    total = _multiply_add(builder, chunk, part, inputs, total)
            return _halve(builder, total) if chunk.count == 8 else total

        def put(k: Any, value: Any) -> None:
            index = builder.add(at, builder.sub(k, start))
            address = builder.bitcast(builder.gep(target, [index]), value.type.as_pointer())
            old = builder.load(address, align=width)
            zero = ir.Constant(value.type, None)
            old = builder.select(builder.icmp_signed("!=", add, add.type(0)), old, zero)
            builder.store(builder.fadd(old, value), address, align=width)

        count = builder.sub(stop, start)
        middle = builder.sub(stop, builder.srem(count, I64(4)))
        with cgutils.for_range_slice(builder, start, middle, I64(4)) as (k, _):
            put(k, _fold(builder, *(product(builder.add(k, I64(i))) for i in range(4))))
        with cgutils.for_range_slice(builder, middle, stop, I64(1)) as (k, _):
            one = product(k)
            put(k, builder.extract_element(_fold(builder, one, one, one, one), I32(0)))
        return context.get_dummy_value()

    return signature, generate


def _correlator(units: int, shared: int) -> Any:
    """The intrinsic for so many units of the same inputs, so many of their weights at a time."""

    def correlate(
        typing: Any, target: Any, source: Any, origin: Any, offsets: Any, errors: Any, where: Any,
        apart: Any, start: Any, stop: Any, rows: Any, columns: Any, pitch: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(
            target, source, origin, offsets, errors, where, apart, start, stop, rows, columns, pitch
        )

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (
                target, source, origin, offsets, errors, where, apart, start, stop, rows, columns,
                pitch,
            ) = _unpack(context, builder, signature, arguments)  # fmt: skip
            strip, width = _vector(signature.args[0], STRIP_BYTES)
            source = builder.gep(source, [origin])
            outputs = [
                builder.gep(errors, [builder.add(where, builder.mul(apart, I64(unit)))])
                for unit in range(units)
            ]
            length = builder.sub(stop, start)
            sums = [
                [cgutils.alloca_once(builder, strip) for _ in range(shared)] for _ in range(units)
            ]
            last = builder.sub(stop, I64(1))
            with cgutils.for_range_slice(builder, start, stop, I64(shared)) as (first, _):
                weights, inputs = [], []
                for i in range(shared):
                    k = builder.add(first, I64(i))
                    k = builder.select(builder.icmp_signed("<", k, last), k, last)
                    weights.append(k)
                    offset = builder.sext(builder.load(builder.gep(offsets, [k])), I64)
                    inputs.append(builder.gep(source, [offset]))
                    for own in sums:
                        builder.store(ir.Constant(strip, None), own[i])
                with cgutils.for_range(builder, rows) as row:
                    begin = builder.mul(row.index, pitch)
                    end = builder.add(begin, columns)
                    with cgutils.for_range_slice(builder, begin, end, I64(strip.count)) as (i, _):
                        values = [_load(builder, pointer, i, strip, width) for pointer in inputs]
                        for output, own in zip(outputs, sums, strict=True):
                            error = _load(builder, output, i, strip, width)
                            for total, value in zip(own, values, strict=True):
                                more = _multiply_add(
                                    builder, strip, error, value, builder.load(total)
                                )
                                builder.store(more, total)
                places, folded = [], []
                for unit, own in enumerate(sums):
                    before = builder.mul(length, I64(unit))
                    places += [builder.gep(target, [builder.add(k, before)]) for k in weights]
                    folded += [builder.load(total) for total in own]
                while folded[0].type.count > 4:
                    folded = [_halve(builder, vector) for vector in folded]
                folded += folded[-1:] * (-len(folded) % 4)
                fours = [_fold(builder, *folded[i : i + 4]) for i in range(0, len(folded), 4)]
                # All are read before one is written: a stand-in writes what the last weight does.
                old = [builder.load(place) for place in places]
                for i, place in enumerate(places):
                    sum_ = builder.extract_element(fours[i // 4], I32(i % 4))
                    builder.store(builder.fadd(old[i], sum_), place)
            return context.get_dummy_value()

        return signature, generate

    correlate.__doc__ = _CORRELATE
    return intrinsic(correlate)


_CORRELATE = """For each of some units u, whose lists are n = stop - start long:
    target[k + u n] += errors[where + u apart :] . source[origin + offsets[k] :], over some rows of
    an image.

    A row is ``columns`` numbers, and the next begins ``pitch`` numbers further on. Some weights
    share each load of errors, and the units each load of inputs; each weight has a strip of partial
    sums that is folded once at the end. The last of a list overlap themselves: the last weight
    stands in for those that are missing.
    """
ALIKE = 3  # units that share loads of inputs, two weights of each: 12 of 16 registers of AVX2
correlate_positions, correlate_together = _correlator(1, SHARED), _correlator(ALIKE, 2)


@intrinsic
def accumulate_taps(
    typing: Any, target: Any, at: Any, target_row: Any, source: Any, origin: Any, source_row: Any,
    pitch: Any, indices: Any, values: Any, start: Any, stop: Any,
) -> Any:  # fmt: skip
    """A 3x3 of strips at once: target[at + y target_row + x lanes :] += a sum over k from start to
    stop of values[k] * source[origin + indices[k] pitch + y source_row + x lanes :].

    Nine accumulators are nine registers of AVX-512; of AVX2's they want eighteen, two too many.
    """
    signature = types.void(
        target, at, target_row, source, origin, source_row, pitch, indices, values, start, stop
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (
            target,
            at,
            target_row,
            source,
            origin,
            source_row,
            pitch,
            indices,
            values,
            start,
            stop,
        ) = _unpack(context, builder, signature, arguments)
        strip, width = _vector(signature.args[0], STRIP_BYTES)

        def taps(rows: Any) -> list[Any]:
            return [
                builder.add(builder.mul(rows, I64(y)), I64(x * strip.count))
                for y in range(3)
                for x in range(3)
            ]

        source = builder.gep(source, [origin])
        addresses = [
            builder.bitcast(builder.gep(target, [builder.add(at, tap)]), strip.as_pointer())
            for tap in taps(target_row)
        ]
        inputs = taps(source_row)
        totals = [cgutils.alloca_once(builder, strip) for _ in addresses]
        for address, total in zip(addresses, totals, strict=True):
            builder.store(builder.load(address, align=width), total)
        with cgutils.for_range_slice(builder, start, stop, I64(1)) as (k, _):
            index = builder.sext(builder.load(builder.gep(indices, [k])), I64)
            here = builder.gep(source, [builder.mul(index, pitch)])
            value = _spread(builder, builder.load(builder.gep(values, [k])), strip)
            for tap, total in zip(inputs, totals, strict=True):
                more = _load(builder, here, tap, strip, width)
                builder.store(
                    _multiply_add(builder, strip, value, more, builder.load(total)), total
                )
        for address, total in zip(addresses, totals, strict=True):
            builder.store(builder.load(total), address, align=width)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def nonzero_lanes(typing: Any, source: Any, at: Any) -> Any:
    """Which numbers of the strip at source[at:] are not zero, a bit for each."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, at = _unpack(context, builder, signature, arguments)
        strip, width = _vector(signature.args[0], STRIP_BYTES)
        value = _load(builder, source, at, strip, width)
        kept = builder.fcmp_unordered("!=", value, ir.Constant(strip, None))
        return builder.zext(builder.bitcast(kept, ir.IntType(strip.count)), I64)

    return types.int64(source, at), generate


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """The place of the lowest bit that is set; one of them must be."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def transpose_strips(
    typing: Any, target: Any, at: Any, apart: Any, source: Any, origin: Any, pitch: Any
) -> Any:
    """As many strips as one has numbers, rows to columns.

    source[origin + i pitch + j] becomes target[at + j apart + i].
    """
    signature = types.void(target, at, apart, source, origin, pitch)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (target, at, apart, source, origin, pitch) = _unpack(context, builder, signature, arguments)
        strip, width = _vector(signature.args[0], STRIP_BYTES)
        vectors = [
            _load(builder, source, builder.add(origin, builder.mul(pitch, I64(i))), strip, width)
            for i in range(strip.count)
        ]
        for j, vector in enumerate(_transpose(builder, vectors)):
            index = builder.add(at, builder.mul(apart, I64(j)))
            address = builder.bitcast(builder.gep(target, [index]), strip.as_pointer())
            builder.store(vector, address, align=width)
        return context.get_dummy_value()

    return signature, generate


def _window(builder: Any, origin: Any, row: Any, lanes: int) -> list[Any]:
    """Where the four positions of a 2x2 are, in the order in which torch looks at them."""
    return [
        builder.add(builder.add(origin, I64(x * lanes)), builder.mul(row, I64(y)))
        for y in range(2)
        for x in range(2)
    ]


@intrinsic
def pool(
    typing: Any, target: Any, at: Any, winners: Any, to: Any, source: Any, origin: Any, row: Any
) -> Any:
    """The largest of the 2x2 at ``origin``, rectified, into ``target``; which it is, ``winners``.

    As torch has it: the first if tied, and what is not a number is larger than any.
    """
    signature = types.void(target, at, winners, to, source, origin, row)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (target, at, winners, to, source, origin, row) = _unpack(
            context, builder, signature, arguments
        )
        strip, width = _vector(signature.args[0], STRIP_BYTES)
        small = ir.VectorType(ir.IntType(8), strip.count)
        zero, best, which = ir.Constant(strip, None), None, ir.Constant(small, None)
        for number, index in enumerate(_window(builder, origin, row, strip.count)):
            value = _load(builder, source, index, strip, width)
            if best is None:
                best = value
                continue
            better = builder.or_(
                builder.fcmp_ordered(">", value, best), builder.fcmp_unordered("uno", value, value)
            )
            best = builder.select(better, value, best)
            which = builder.select(better, ir.Constant(small, [number] * strip.count), which)
        best = builder.select(builder.fcmp_ordered("<=", best, zero), zero, best)
        address = builder.bitcast(builder.gep(target, [at]), strip.as_pointer())
        builder.store(best, address, align=width)
        address = builder.bitcast(builder.gep(winners, [to]), small.as_pointer())
        builder.store(which, address, align=1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def unpool(
    typing: Any, target: Any, origin: Any, row: Any, source: Any, at: Any, winners: Any, to: Any
) -> Any:
    """The way back of `pool`: each error to its winner, zero to the other three."""
    signature = types.void(target, origin, row, source, at, winners, to)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (target, origin, row, source, at, winners, to) = _unpack(
            context, builder, signature, arguments
        )
        strip, width = _vector(signature.args[0], STRIP_BYTES)
        small = ir.VectorType(ir.IntType(8), strip.count)
        error = _load(builder, source, at, strip, width)
        which = _load(builder, winners, to, small, 1)
        for number, index in enumerate(_window(builder, origin, row, strip.count)):
            won = builder.icmp_signed("==", which, ir.Constant(small, [number] * strip.count))
            value = builder.select(won, error, ir.Constant(strip, None))
            address = builder.bitcast(builder.gep(target, [index]), strip.as_pointer())
            builder.store(value, address, align=width)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def turn(
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
            index = builder.add(builder.select(none, I64(0), origin), pixel)
            pixels = _load(builder, images, index, sixteen, 1)
            vectors.append(builder.select(none, ir.Constant(sixteen, None), pixels))
        for j, vector in enumerate(_transpose(builder, vectors)):
            row = builder.load(builder.gep(rows, [builder.add(pixel, I64(j))]))
            address = builder.gep(tile, [builder.add(row, column)])
            builder.store(vector, builder.bitcast(address, sixteen.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, generate
