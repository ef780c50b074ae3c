"""Rows of weights that are read, multiplied and moved: the inner loops of `SlideClassifier`.

Rows are padded with zeros to a multiple of 16 numbers, so that loops over registers need no remainder.
Weights are float32, or bfloat16: the upper half of a float32, stored in uint16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from ...lsh.kernels.compiled import helper
from ...lsh.kernels.prefetch import prefetch_read
from ...lsh.kernels.registers import intrinsic, multiply_add, register_at

__all__ = ["LANES", "add_scaled", "dot", "fetch_row", "move_number", "move_row", "read_row", "write_row"]

#: Rows have a multiple of this number of entries.
LANES = 16
_WORD = ir.IntType(64)
_REGISTER = ir.VectorType(ir.FloatType(), LANES)


@intrinsic
def dot(typing_context, x, y, n):
    """Return the inner product of n float32 numbers at two addresses; n > 0 is a multiple of LANES.

    Product j is added to sum j mod LANES, and the sums are added up half onto half. So the result does not
    depend on how the compiler orders additions.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, n = arguments
        fused = multiply_add(builder, _REGISTER)
        before, loop = builder.block, builder.append_basic_block("products")
        after = builder.append_basic_block("sum")
        builder.branch(loop)
        builder.position_at_end(loop)
        j, sums = builder.phi(_WORD), builder.phi(_REGISTER)
        j.add_incoming(_WORD(0), before)
        sums.add_incoming(ir.Constant(_REGISTER, None), before)

        def load(address: Any) -> Any:
            place = builder.inttoptr(
                builder.add(address, builder.shl(j, _WORD(2))), ir.IntType(8).as_pointer()
            )
            return builder.load(register_at(builder, place, _REGISTER), align=4)

        added = builder.call(fused, [load(x), load(y), sums])
        following = builder.add(j, _WORD(LANES))
        j.add_incoming(following, loop)
        sums.add_incoming(added, loop)
        builder.cbranch(builder.icmp_signed("<", following, n), loop, after)
        builder.position_at_end(after)
        width = LANES
        while width > 1:
            width //= 2
            kind = ir.VectorType(ir.IntType(32), width)
            low = builder.shuffle_vector(added, added, ir.Constant(kind, list(range(width))))
            high = builder.shuffle_vector(added, added, ir.Constant(kind, list(range(width, 2 * width))))
            added = builder.fadd(low, high)
        return builder.extract_element(added, ir.IntType(32)(0))

    return types.float32(types.uint64, types.uint64, types.int64), generate


@helper
def fetch_row(array, row):
    """Fetch a row of a matrix into the caches, without waiting for it."""
    if array.shape[0] > 0:
        first, line = np.int64(row) * array.shape[1], 64 // array.itemsize
        for j in range(first, first + array.shape[1], line):
            prefetch_read(array, j)


@helper
def read_row(weights, halves, row, out):
    """Copy a row of float32 or, where there are none, of bfloat16 weights to the bits `out`, uint32."""
    if halves.shape[0] > 0:
        source = halves[row]
        for j in range(out.size):
            out[j] = np.uint32(source[j]) << np.uint32(16)
    else:
        out[:] = weights[row].view(np.uint32)


@helper
def write_row(bits, word, column, weights, halves, row):
    """Store the bits of a row of float32 numbers, rounded where the weights are bfloat16.

    With the word 0 they are rounded to the nearest, else up with the probability that makes the mean exact;
    the word and the number of the first column select the random numbers.
    """
    if halves.shape[0] == 0:
        weights[row].view(np.uint32)[:] = bits
        return
    target = halves[row]
    if word == 0:
        for j in range(bits.size):
            x = bits[j]
            odd = (x >> np.uint32(16)) & np.uint32(1)
            target[j] = np.uint16((x + np.uint32(0x7FFF) + odd) >> np.uint32(16))
        return
    key = np.uint32((word >> np.uint64(32)) + np.uint64(column) * np.uint64(0x9E3779B9))
    for j in range(bits.size):
        z = np.uint32(key + np.uint32(j) * np.uint32(0x9E3779B9))
        z = np.uint32((z ^ (z >> np.uint32(16))) * np.uint32(0x85EBCA6B))
        z = np.uint32((z ^ (z >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        z ^= z >> np.uint32(16)
        target[j] = np.uint16((bits[j] + (z & np.uint32(0xFFFF))) >> np.uint32(16))


@helper
def add_scaled(row, factor, out):
    """Add a row times a factor to another row."""
    for j in range(out.size):
        out[j] += factor * row[j]


# Python's division, which raises an error for 0, would keep the loop out of registers.
@helper(error_model="numpy")
def move_row(gradient, first, second, step, root, settings, row):
    """Take a step of Adam with a row, from its gradient and its two moments.

    step, root : the learning rate over 1 - beta_1^t, and 1 over the root of 1 - beta_2^t, for the t-th step.
    settings : (beta_1, beta_2, epsilon), float32.
    """
    keep, keep_squares, epsilon = settings
    new, new_squares = np.float32(1.0) - keep, np.float32(1.0) - keep_squares
    for j in range(row.size):
        g = gradient[j]
        m = keep * first[j] + new * g
        v = keep_squares * second[j] + new_squares * (g * g)
        first[j] = m
        second[j] = v
        row[j] -= step * m / (np.sqrt(v) * root + epsilon)


@helper
def move_number(g, step, root, settings, state):
    """Take a step of Adam with one number: `state` has the number and its two moments."""
    keep, keep_squares, epsilon = settings
    m = keep * state[1] + (np.float32(1.0) - keep) * g
    v = keep_squares * state[2] + (np.float32(1.0) - keep_squares) * (g * g)
    state[1] = m
    state[2] = v
    state[0] -= step * m / (np.sqrt(v) * root + epsilon)
