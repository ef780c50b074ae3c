"""Numbers that are read, multiplied by a factor and a sign of their own, and added, a register at a time.

The functions take addresses and not arrays: Numba counts the references to arrays whenever a helper is called
with them, which takes as long as the work on a short run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...lsh.kernels.compiled import helper
from ...lsh.kernels.registers import first_element_of, intrinsic, register_at, spread

__all__ = ["add_signed", "address_of"]

_LANES = 16
_WORD, _INT, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
_MASK = ir.VectorType(_BIT, _LANES)


@intrinsic
def address_of(typing_context, array):
    """Return the address of the first element of an array, as uint64."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(first_element_of(context, builder, signature, arguments, 0), _WORD)

    return types.uint64(array), generate


def _lanes(partial: bool) -> Any:
    def lanes(typing_context, source, target, keeps, bits, factor, n):
        signature = types.void(types.uint64, types.uint64, types.boolean, types.uint64, factor, types.int64)
        size = factor.bitwidth // 8

        def generate(context, builder, signature, arguments):
            source, target, keeps, bits, factor, n = arguments
            vector = ir.VectorType(context.get_value_type(signature.args[4]), _LANES)
            zeros = ir.Constant(vector, None)
            inside = _first_bits(builder, n) if partial else None

            def load(address):
                return _load(builder, _at(builder, address, vector), size, inside, zeros)

            numbers = builder.fmul(load(source), spread(builder, factor, vector))
            signs = builder.bitcast(builder.trunc(bits, ir.IntType(_LANES)), _MASK)
            signed = builder.select(signs, builder.fneg(numbers), numbers)
            before = builder.select(keeps, load(target), zeros)
            _store(builder, builder.fadd(before, signed), _at(builder, target, vector), size, inside)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(lanes)


def _at(builder: Any, address: Any, vector: ir.VectorType) -> Any:
    return register_at(builder, builder.inttoptr(address, ir.IntType(8).as_pointer()), vector)


def _first_bits(builder: Any, n: Any) -> Any:
    """Return a mask of the first n lanes, for n below the number of lanes."""
    one = ir.Constant(_WORD, 1)
    ones = builder.sub(builder.shl(one, n), one)
    return builder.bitcast(builder.trunc(ones, ir.IntType(_LANES)), _MASK)


def _load(builder: Any, pointer: Any, size: int, inside: Any, zeros: Any) -> Any:
    if inside is None:
        return builder.load(pointer, align=size)
    kind = ir.FunctionType(zeros.type, [pointer.type, _INT, _MASK, zeros.type])
    name = f"llvm.masked.load.v{_LANES}f{8 * size}.p0"
    load = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(load, [pointer, _INT(size), inside, zeros])


def _store(builder: Any, numbers: Any, pointer: Any, size: int, inside: Any) -> None:
    if inside is None:
        builder.store(numbers, pointer, align=size)
        return
    kind = ir.FunctionType(ir.VoidType(), [numbers.type, pointer.type, _INT, _MASK])
    name = f"llvm.masked.store.v{_LANES}f{8 * size}.p0"
    store = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(store, [numbers, pointer, _INT(size), inside])


_all_lanes, _first_lanes = _lanes(partial=False), _lanes(partial=True)


@helper
def add_signed(source, target, keeps, bits, factor, size, n):
    """Set n numbers at `target` to those at `source`, times the factor, or add them to what is there.

    Number t changes its sign if bit t of `bits` is set. The size of a number is given in bytes. With `keeps`
    the numbers at `target` are added to, else they are overwritten.
    """
    step = np.uint64(_LANES) * size
    while n >= _LANES:
        _all_lanes(source, target, keeps, bits, factor, n)
        source += step
        target += step
        bits >>= np.uint64(_LANES)
        n -= _LANES
    if n > 0:
        _first_lanes(source, target, keeps, bits, factor, n)
