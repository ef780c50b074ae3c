"""Distances of rows in float32, whose terms are added up in one order on all processors."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...lsh.kernels.compiled import helper
from ...lsh.kernels.registers import element_of, intrinsic, register_at
from .rank_vectors import ANGLE, EUCLIDEAN

__all__ = ["row_distance"]

_FLOAT, _PLACE = ir.FloatType(), ir.IntType(64)
#: Columns that are added up side by side, as long as there are as many left.
_WIDTHS = (16, 4, 1)


def _difference(builder: Any, x: Any, y: Any) -> Any:
    difference = builder.fsub(x, y)
    return builder.fmul(difference, difference)


def _product(builder: Any, x: Any, y: Any) -> Any:
    return builder.fmul(x, y)


def _size(builder: Any, x: Any, y: Any) -> Any:
    kind = x.type
    name = f"llvm.fabs.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.fabs.f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
    return builder.call(function, [builder.fsub(x, y)])


def _halves_added(builder: Any, total: Any) -> Any:
    """Add the upper half of a register to the lower half, until one number is left."""
    while isinstance(total.type, ir.VectorType):
        half = total.type.count // 2
        lanes = ir.VectorType(ir.IntType(32), half)
        undefined = ir.Constant(total.type, ir.Undefined)
        low, high = (
            builder.shuffle_vector(total, undefined, ir.Constant(lanes, list(range(at, at + half))))
            for at in (0, half)
        )
        total = builder.fadd(low, high)
        if half == 1:
            return builder.extract_element(total, ir.IntType(32)(0))
    return total


def _sum_of(term: Any) -> Any:
    """Return an intrinsic that adds up ``term(x, y)`` of the columns of two rows.

    No additions are reordered, and none is fused with a multiplication, so that all processors find the same
    sum: column j of the first multiples of 16 goes to accumulator j mod 16, and so on for the rest.
    """

    def total(typingctx, x, x_at, y, y_at, width):
        place = types.int64
        signature = types.float32(x, place, y, place, place)

        def generate(context, builder, signature, arguments):
            ours, theirs = (element_of(context, builder, signature, arguments, i) for i in (0, 2))
            at, sums = _PLACE(0), []
            left = arguments[4]
            for count in _WIDTHS:
                kind = ir.VectorType(_FLOAT, count) if count > 1 else _FLOAT
                zero = ir.Constant(kind, [0.0] * count if count > 1 else 0.0)
                added = cgutils.alloca_once_value(builder, zero)
                n_steps = builder.udiv(left, _PLACE(count))
                with cgutils.for_range(builder, n_steps) as loop:
                    here = builder.add(at, builder.mul(loop.index, _PLACE(count)))
                    values = []
                    for row in (ours, theirs):
                        pointer = builder.gep(row, [here])
                        pointer = register_at(builder, pointer, kind) if count > 1 else pointer
                        values.append(builder.load(pointer, align=4))
                    builder.store(builder.fadd(builder.load(added), term(builder, *values)), added)
                done = builder.mul(n_steps, _PLACE(count))
                at, left = builder.add(at, done), builder.sub(left, done)
                sums.append(_halves_added(builder, builder.load(added)))
            return builder.fadd(builder.fadd(sums[0], sums[1]), sums[2])

        return signature, generate

    return intrinsic(total)


_sum_of_squares = _sum_of(_difference)
_sum_of_products = _sum_of(_product)
_sum_of_sizes = _sum_of(_size)


@helper(forceinline=True)
def row_distance(metric, x, x_at, y, y_at, width):
    """Return a key that rises with the distance of two rows of flat arrays.

    The key is the negative product for angles of rows of length 1, the square of the Euclidean distance, and
    the city block distance itself.
    """
    if metric == ANGLE:
        return -_sum_of_products(x, x_at, y, y_at, width)
    if metric == EUCLIDEAN:
        return _sum_of_squares(x, x_at, y, y_at, width)
    return _sum_of_sizes(x, x_at, y, y_at, width)
