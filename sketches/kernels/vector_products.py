"""Products of queries and codes, both in bit planes, of eight rows at a time in the lanes of a register."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...lsh.kernels.compiled import helper
from ...lsh.kernels.registers import element_of, intrinsic, register_at, spread

__all__ = ["LANES", "PLANES", "load_tile", "tile_products"]

#: Rows that are scored together, a lane of 64 bits each.
LANES = 8
#: Planes of a query for which one look at a tile suffices; the planes of a query are a multiple.
PLANES = 4

_WORD = ir.IntType(64)
_WORDS = ir.VectorType(_WORD, LANES)


def _times(number: int) -> Any:
    return ir.Constant(_WORDS, [number] * LANES)


@intrinsic
def _add_plane(typing_context, tile, tile_at, n_words, planes, planes_at, n_planes, sums, sums_at):
    """Double eight sums, and add the products of one plane of eight rows and all planes of a query.

    Word w of the rows lies in ``tile[tile_at + 8 w]`` and the following places, and word w of the query's
    plane p in ``planes[planes_at + n_words p + w]``; the last plane counts below 0.
    """
    place = types.intp
    signature = types.void(tile, place, place, planes, place, place, sums, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, query, target = (element_of(context, builder, signature, arguments, i) for i in (0, 3, 6))
        n_words, n_planes = arguments[2], arguments[5]
        target = register_at(builder, target, _WORDS)
        of_words = ir.FunctionType(_WORDS, [_WORDS])
        bit_count = cgutils.get_or_insert_function(builder.module, of_words, f"llvm.ctpop.v{LANES}i64")
        product = cgutils.alloca_once_value(builder, _times(0))
        counts = [cgutils.alloca_once(builder, _WORDS) for _ in range(PLANES)]
        n_chunks = builder.udiv(n_planes, _WORD(PLANES))
        with cgutils.for_range(builder, n_chunks) as chunk:
            # The highest planes come first.
            number = builder.sub(builder.sub(n_chunks, _WORD(1)), chunk.index)
            first = builder.mul(builder.mul(number, _WORD(PLANES)), n_words)
            for count in counts:
                builder.store(_times(0), count)
            with cgutils.for_range(builder, n_words) as loop:
                at = builder.gep(rows, [builder.mul(loop.index, _WORD(LANES))])
                words = builder.load(register_at(builder, at, _WORDS), align=8)
                for i, count in enumerate(counts):
                    offset = builder.add(builder.add(first, builder.mul(_WORD(i), n_words)), loop.index)
                    plane = spread(builder, builder.load(builder.gep(query, [offset]), align=8), _WORDS)
                    ones = builder.call(bit_count, [builder.and_(words, plane)])
                    builder.store(builder.add(builder.load(count), ones), count)
            total = builder.shl(builder.load(product), _times(PLANES))
            for i, count in enumerate(counts):
                value = builder.shl(builder.load(count), _times(i))
                if i == PLANES - 1:
                    is_last = builder.icmp_unsigned("==", chunk.index, _WORD(0))
                    value = builder.select(is_last, builder.sub(_times(0), value), value)
                total = builder.add(total, value)
            builder.store(total, product)
        doubled = builder.shl(builder.load(target, align=8), _times(1))
        builder.store(builder.add(doubled, builder.load(product)), target, align=8)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _load_eight(typing_context, codes, codes_at, n_words, tile, tile_at):
    """Copy the words of eight rows that lie one after the other, word by word of all rows."""
    place = types.intp
    signature = types.void(codes, place, place, tile, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (element_of(context, builder, signature, arguments, i) for i in (0, 3))
        n_words = arguments[2]
        rows = [builder.gep(source, [builder.mul(n_words, _WORD(lane))]) for lane in range(LANES)]
        with cgutils.for_range(builder, n_words) as loop:
            words = ir.Constant(_WORDS, ir.Undefined)
            for lane, row in enumerate(rows):
                word = builder.load(builder.gep(row, [loop.index]), align=8)
                words = builder.insert_element(words, word, ir.IntType(32)(lane))
            at = builder.gep(target, [builder.mul(loop.index, _WORD(LANES))])
            builder.store(words, register_at(builder, at, _WORDS), align=8)
        return context.get_dummy_value()

    return signature, generate


@helper
def load_tile(codes, numbers, first, n_rows, tile):
    """Copy the words of rows to a tile: word w of eight rows side by side, then the next word of these rows.

    The rows are those of ``numbers[first:]``, or without numbers those from `first` on.
    """
    n_words, copied = codes.shape[1], 0
    if numbers.size == 0:
        flat = codes.reshape(-1)
        for i in range(0, n_rows - LANES + 1, LANES):
            _load_eight(flat, (first + i) * n_words, n_words, tile, i * n_words)
        copied = n_rows - n_rows % LANES
    for i in range(copied, n_rows):
        row = numbers[first + i] if numbers.size else first + i
        at = (i - i % LANES) * n_words + i % LANES
        for w in range(n_words):
            tile[at + LANES * w] = codes[row, w]


@helper
def tile_products(tile, n_rows, bits, n_words, planes, planes_at, n_planes, products):
    """Write the products of the rows' numbers, which begin at 0, with the integers of a query.

    Parameters
    ----------
    tile : ndarray, uint64
        Rows that `load_tile` has copied.
    n_words : int
        Words of a plane.
    planes : ndarray, uint64
        The planes of all queries; those of the query begin at `planes_at`.
    products : ndarray of shape (n_rows or more,), int64
        As many as there is room for in whole groups of eight rows.
    """
    products[:] = 0
    for row in range(0, n_rows, LANES):
        for b in range(bits - 1, -1, -1):
            at = (row * bits + LANES * b) * n_words
            _add_plane(tile, at, n_words, planes, planes_at, n_planes, products, row)
