"""Products of a block of rows and panels of vectors in float32, added up in registers.

`docs/developers/decisions/own-product.md` explains why this is not left to a BLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from .compiled import kernel
from .registers import first_element_of, intrinsic, multiply_add, processor_features, register_at, spread

__all__ = ["PANEL", "ROWS", "longest_sum", "make_panels", "multiply_panels"]

#: Vectors of a panel, in which they are interleaved feature by feature.
PANEL = 64
#: Rows that are multiplied together; blocks of rows are padded to a multiple.
ROWS = 6
#: Features of a part, whose products are added up before the sum is added to the other parts': a panel's part
#: stays in cache, and the error of a product grows with the longest sum.
PART = 512


def _register_shape() -> tuple[int, int]:
    """Return the lanes of a float32 register, and how many registers of vectors fit ROWS times."""
    features = processor_features()
    if "+avx512f" in features:
        return 16, 4
    if "+avx2" in features:
        return 8, 2
    return 4, 4 if "+neon" in features else 2


LANES, REGISTERS = _register_shape()
_WIDTH = LANES * REGISTERS


@intrinsic
def _multiply_registers(typing_context, x, x_at, x_stride, w, w_at, depth, out, out_at, out_stride, add):
    """Multiply ROWS rows from ``x[x_at]`` by _WIDTH vectors from ``w[w_at]``, over `depth` features.

    Sums over k of ``x[x_at + i x_stride + k] w[w_at + PANEL k + v]`` are stored in, or with `add` added
    to, ``out[out_at + i out_stride + v]``. It is written in the compiler's intermediate code, because the
    compiler keeps arrays of sums in memory.
    """
    place = types.intp
    signature = types.void(x, place, place, w, place, place, out, place, place, types.boolean)
    vector = ir.VectorType(ir.FloatType(), LANES)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, x_at, x_stride, _, w_at, depth, _, out_at, out_stride, add = arguments
        x, w, out = (first_element_of(context, builder, signature, arguments, i) for i in (0, 3, 6))
        index, product_and_sum = x_at.type, multiply_add(builder, vector)
        rows = [builder.gep(x, [builder.add(x_at, builder.mul(x_stride, index(i)))]) for i in range(ROWS)]
        before, loop, after = (
            builder.block,
            builder.append_basic_block("features"),
            builder.append_basic_block("sums"),
        )
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(index)
        k.add_incoming(index(0), before)
        sums = [[builder.phi(vector) for _ in range(REGISTERS)] for _ in range(ROWS)]
        panel = builder.gep(w, [builder.add(w_at, builder.mul(k, index(PANEL)))])
        weights = [
            builder.load(register_at(builder, builder.gep(panel, [index(v * LANES)]), vector), align=4)
            for v in range(REGISTERS)
        ]
        added: list[list[Any]] = []
        for row in rows:
            value = spread(builder, builder.load(builder.gep(row, [k]), align=4), vector)
            before_it = sums[len(added)]
            added.append(
                [builder.call(product_and_sum, [value, weights[v], before_it[v]]) for v in range(REGISTERS)]
            )
        following = builder.add(k, index(1))
        k.add_incoming(following, loop)
        for old, new in zip(sums, added, strict=True):
            for phi, value in zip(old, new, strict=True):
                phi.add_incoming(ir.Constant(vector, [0.0] * LANES), before)
                phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
        builder.position_at_end(after)

        def target(i: int, v: int) -> Any:
            at = builder.add(out_at, builder.add(builder.mul(out_stride, index(i)), index(v)))
            return register_at(builder, builder.gep(out, [at]), vector)

        targets = [[target(i, v) for v in range(0, _WIDTH, LANES)] for i in range(ROWS)]
        pairs = [
            pair
            for row_of_targets, values in zip(targets, added, strict=True)
            for pair in zip(row_of_targets, values, strict=True)
        ]
        with builder.if_else(add) as (then, otherwise):
            with then:
                for to, value in pairs:
                    builder.store(builder.fadd(builder.load(to, align=4), value), to, align=4)
            with otherwise:
                for to, value in pairs:
                    builder.store(value, to, align=4)
        return context.get_dummy_value()

    return signature, generate


def make_panels(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay vectors, shape (P, d), in panels of shape (ceil(P / PANEL), d, PANEL); zeros fill the last."""
    n_vectors, n_features = vectors.shape
    n_panels = -(-n_vectors // PANEL)
    panels = np.zeros((n_panels, n_features, PANEL), dtype=np.float32)
    for i in range(n_panels):
        part = vectors[i * PANEL : (i + 1) * PANEL]
        panels[i, :, : len(part)] = part.T
    return panels


@kernel
def longest_sum(n_features):
    """Return the most additions that a product of `multiply_panels` takes."""
    return min(n_features, PART) + (n_features + PART - 1) // PART


@kernel
def multiply_panels(X, panels, n, first, last, values):
    """Set ``values[i, v]`` to the product of row i < n of X and vector v of the panels [first, last).

    Parameters
    ----------
    X : ndarray of shape (m, d), float32
        m at least n rounded up to a multiple of ROWS, d at least 1.
    panels : ndarray of shape (P, d, PANEL), float32
    values : ndarray of shape (m, at least PANEL * (last - first)), float32
        Rows from n up to the next multiple of ROWS are overwritten too.
    """
    size, stride = X.shape[1], values.shape[1]
    for panel in range(first, last):
        for left in range(0, size, PART):
            depth = min(PART, size - left)
            at = (panel * size + left) * PANEL
            for i in range(0, n, ROWS):
                to = i * stride + (panel - first) * PANEL
                for v in range(0, PANEL, _WIDTH):
                    _multiply_registers(
                        X, i * size + left, size, panels, at + v, depth, values, to + v, stride, left > 0
                    )
