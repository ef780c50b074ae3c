"""Sums of entries of tables of 16 bytes, which processors with shuffles of bytes look up in a register.

A shuffle takes 32 numbers of 4 bits, and replaces each by the entry of a table of 16 bytes. So one
instruction does 32 look-ups. Where there is none, a plain loop finds the same sums, for all are integers.

Rows come in tiles of `TILE` rows. A byte of a row has two numbers, the first one in its low bits. A tile has
the first bytes of its rows side by side, then their second bytes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...lsh.kernels.compiled import helper
from ...lsh.kernels.registers import (
    element_of,
    first_element_of,
    intrinsic,
    processor_features,
    register_at,
)

__all__ = ["HAS_SHUFFLES", "MOST_BYTES", "TILE", "add_lookups", "load_tile"]

#: Rows of a tile.
TILE = 64
#: Bytes of a row for which sums of two look-ups each fit 16 bits.
MOST_BYTES = 128
#: True if the processor shuffles 32 bytes.
HAS_SHUFFLES = "+avx2" in processor_features()

_LANES = 32
_BYTES, _HALF_BYTES = ir.VectorType(ir.IntType(8), _LANES), ir.VectorType(ir.IntType(8), _LANES // 2)
_PAIRS, _WORDS = ir.VectorType(ir.IntType(16), _LANES // 2), ir.VectorType(ir.IntType(32), _LANES)


def _lanes(numbers: Any) -> ir.Constant:
    numbers = list(numbers)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)


@intrinsic
def _add_by_shuffles(typing_context, tile, tile_at, n_bytes, tables, tables_at, sums, sums_at):
    """Add to 64 sums the entries for two numbers of each of `n_bytes` bytes of 64 rows."""
    place = types.intp
    signature = types.void(tile, place, place, tables, place, sums, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, entries, target = (element_of(context, builder, signature, arguments, i) for i in (0, 3, 5))
        shuffle = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_BYTES, [_BYTES, _BYTES]), "llvm.x86.avx2.pshuf.b"
        )
        low_bits, four = ir.Constant(_BYTES, [15] * _LANES), ir.Constant(_PAIRS, [4] * (_LANES // 2))
        eight, nothing = ir.Constant(_PAIRS, [8] * (_LANES // 2)), ir.Constant(_PAIRS, [0] * (_LANES // 2))
        undefined = ir.Constant(_HALF_BYTES, ir.Undefined)
        # Of two neighbouring rows, `both` has the sum of the first one plus 256 times that of the second one,
        # without what exceeds 16 bits, and `second` that of the second one.
        both, second = (
            [cgutils.alloca_once_value(builder, nothing) for _ in range(TILE // _LANES)] for _ in range(2)
        )
        with cgutils.for_range(builder, arguments[2]) as loop:
            first = builder.mul(loop.index, ir.IntType(64)(TILE))
            table = builder.mul(loop.index, ir.IntType(64)(32))
            looked_up = []
            for part in range(2):
                at = builder.gep(entries, [builder.add(table, ir.IntType(64)(16 * part))])
                half = builder.load(register_at(builder, at, _HALF_BYTES), align=1)
                looked_up.append(builder.shuffle_vector(half, undefined, _lanes([*range(16), *range(16)])))
            for i in range(TILE // _LANES):
                at = builder.gep(rows, [builder.add(first, ir.IntType(64)(_LANES * i))])
                codes = builder.load(register_at(builder, at, _BYTES), align=1)
                shifted = builder.bitcast(builder.lshr(builder.bitcast(codes, _PAIRS), four), _BYTES)
                for numbers, entry in zip((codes, shifted), looked_up, strict=True):
                    found = builder.call(shuffle, [entry, builder.and_(numbers, low_bits)])
                    pairs = builder.bitcast(found, _PAIRS)
                    builder.store(builder.add(builder.load(both[i]), pairs), both[i])
                    builder.store(builder.add(builder.load(second[i]), builder.lshr(pairs, eight)), second[i])
        order = _lanes([lane // 2 + (_LANES // 2) * (lane % 2) for lane in range(_LANES)])
        for i in range(TILE // _LANES):
            seconds = builder.load(second[i])
            firsts = builder.sub(builder.load(both[i]), builder.shl(seconds, eight))
            added = builder.zext(builder.shuffle_vector(firsts, seconds, order), _WORDS)
            at = register_at(builder, builder.gep(target, [ir.IntType(64)(_LANES * i)]), _WORDS)
            builder.store(builder.add(builder.load(at, align=4), added), at, align=4)
        return context.get_dummy_value()

    return signature, generate


@helper
def _shuffled_lookups(tile, tile_at, n_bytes, tables, tables_at, sums):
    _add_by_shuffles(tile, tile_at, n_bytes, tables, tables_at, sums, 0)


@helper
def _loop_lookups(tile, tile_at, n_bytes, tables, tables_at, sums):
    """Do what `add_lookups` does, on every processor."""
    for b in range(n_bytes):
        table = tables_at + 32 * b
        for i in range(TILE):
            code = tile[tile_at + TILE * b + i]
            sums[i] += tables[table + (code & 15)] + tables[table + 16 + (code >> 4)]


#: Add to 64 sums (int32) the entries for both numbers of `n_bytes` bytes (at most `MOST_BYTES`) of the rows
#: of ``tile[tile_at:]``. Byte b has its two tables of 16 entries in ``tables[tables_at + 32 * b:]``, one
#: after the other.
add_lookups: Any = _shuffled_lookups if HAS_SHUFFLES else _loop_lookups


@intrinsic
def _transpose(typing_context, rows, rows_at, stride, tile, tile_at):
    """Copy 16 bytes of 16 rows, `stride` apart, to a tile; portable shuffles transpose them."""
    place = types.intp
    signature = types.void(rows, place, place, tile, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = first_element_of(context, builder, signature, arguments, 0)
        first = builder.gep(first, [arguments[1]])
        target = element_of(context, builder, signature, arguments, 3)
        found = []
        for i in range(16):
            at = builder.gep(first, [builder.mul(arguments[2], ir.IntType(64)(i))])
            found.append(builder.load(register_at(builder, at, _HALF_BYTES), align=1))
        low = _lanes([lane // 2 + 16 * (lane % 2) for lane in range(16)])
        high = _lanes([8 + lane // 2 + 16 * (lane % 2) for lane in range(16)])
        for _ in range(4):
            # Four times, the first half is interleaved with the second one, as cards are shuffled.
            found = [
                builder.shuffle_vector(*pair, lanes)
                for pair in zip(found[:8], found[8:], strict=True)
                for lanes in (low, high)
            ]
        for b, register in enumerate(found):
            at = builder.gep(target, [ir.IntType(64)(TILE * b)])
            builder.store(register, register_at(builder, at, _HALF_BYTES), align=1)
        return context.get_dummy_value()

    return signature, generate


@helper
def load_tile(packed, first, size, tile):
    """Copy the rows [first, first + size) of bytes to a tile; its further rows stay as they are."""
    width = packed.shape[1]
    whole = size - size % 16 if width >= 16 else 0
    for i in range(0, whole, 16):
        for byte in range(0, width, 16):
            # The last 16 bytes may have some that were copied before.
            b = min(byte, width - 16)
            _transpose(packed, (first + i) * width + b, width, tile, TILE * b + i)
    for b in range(width):
        for i in range(whole, size):
            tile[TILE * b + i] = packed[first + i, b]
