"""Products for probing: the distance of each value from where its bit or step would change.

Products are in float32, with their signs and steps corrected to those of the codes. They only order probes,
but the order must not depend on the batch, nor on dense or sparse rows. So products of sparse rows are added
up here in the order in which `multiply_panels` adds up those of dense ones, which a feature of 0 does not
change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .compiled import helper, kernel
from .multiply import PANEL, PART, ROWS, longest_sum, multiply_panels
from .packing import fix_steps, quantize
from .products import (
    error_bounds,
    exact_dots_csr,
    exact_dots_dense,
    largest_of,
    scale_rows_csr,
    scale_rows_dense,
)
from .registers import intrinsic, multiply_add

__all__ = ["sign_margins_csr", "sign_margins_dense", "step_margins_csr", "step_margins_dense"]

_LEAST = np.float32(np.finfo(np.float32).tiny)


@intrinsic
def _multiply_add(typing_context, x, y, total):
    """Compute ``x * y + total``, rounded as in `multiply_panels`."""
    signature = types.float32(types.float32, types.float32, types.float32)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.call(multiply_add(builder, ir.FloatType()), arguments)

    return signature, generate


@helper
def _dense_products(X, panels, start, stop, scales, norms, errors):
    n = stop - start
    m = (n + ROWS - 1) // ROWS * ROWS
    scaled = np.zeros((m, X.shape[1]), np.float32)
    values = np.empty((m, panels.shape[0] * PANEL), np.float32)
    scale_rows_dense(X, start, stop, scaled, scales, norms)
    error_bounds(norms, longest_sum(X.shape[1]), n, errors)
    multiply_panels(scaled, panels, n, 0, panels.shape[0], values)
    return values


@helper
def _csr_products(indptr, indices, data, panels, start, stop, scales, norms, errors):
    n, begin = stop - start, indptr[start]
    scaled = np.empty(indptr[stop] - begin, np.float32)
    values = np.zeros((n, panels.shape[0] * PANEL), np.float32)
    scale_rows_csr(indptr, data, start, stop, scaled, scales, norms)
    error_bounds(norms, longest_sum(panels.shape[1]), n, errors)
    sums = np.empty(PANEL, np.float32)
    for panel in range(panels.shape[0]):
        for i in range(n):
            out = values[i, panel * PANEL : (panel + 1) * PANEL]
            j, end = indptr[start + i], indptr[start + i + 1]
            while j < end:
                right = (indices[j] // PART + 1) * PART
                sums[:] = 0
                while j < end and indices[j] < right:
                    x, column = scaled[j - begin], panels[panel, indices[j]]
                    for v in range(PANEL):
                        sums[v] = _multiply_add(x, column[v], sums[v])
                    j += 1
                for v in range(PANEL):
                    out[v] += sums[v]
    return values


@helper
def _list_doubted(values, errors, largest_norm, n_values, n, rows, places):
    """List the products whose sign their error bound leaves in doubt, as `pack_signs` does."""
    listed = 0
    for i in range(n):
        limit = np.float32(errors[i] * largest_norm)
        for p in range(n_values):
            if abs(values[i, p]) < limit:
                rows[listed] = i
                places[listed] = p
                listed += 1
    return listed


@helper
def _fix_products(rows, places, dots, n, values):
    """Give the listed products the sign of the exact ones, and change nothing else."""
    for a in range(n):
        magnitude = abs(values[rows[a], places[a]])
        values[rows[a], places[a]] = magnitude if dots[a] >= 0 else -max(magnitude, _LEAST)


@kernel
def sign_margins_dense(X, vectors, panels, vector_norms, start, stop):
    """Return the products of the rows [start, stop) in float32, each with the sign that decides its bit.

    Parameters are those of `project_signs_dense`; the result has shape (stop - start or more, n_values or
    more). Rows are scaled by a power of two each.
    """
    n, n_values = stop - start, vectors.shape[0]
    scales, norms, errors = np.empty(n), np.empty(n), np.empty(n)
    values = _dense_products(X, panels, start, stop, scales, norms, errors)
    rows, places = np.empty(n * n_values, np.int32), np.empty(n * n_values, np.int32)
    doubted = _list_doubted(values, errors, largest_of(vector_norms), n_values, n, rows, places)
    dots = np.empty(doubted)
    exact_dots_dense(X, scales, vectors, rows, places, start, doubted, dots)
    _fix_products(rows, places, dots, doubted, values)
    return values


@kernel
def sign_margins_csr(indptr, indices, data, vectors, panels, vector_norms, start, stop):
    """Return the products of sparse rows, whose indices rise, as `sign_margins_dense` does."""
    n, n_values = stop - start, vectors.shape[0]
    scales, norms, errors = np.empty(n), np.empty(n), np.empty(n)
    values = _csr_products(indptr, indices, data, panels, start, stop, scales, norms, errors)
    rows, places = np.empty(n * n_values, np.int32), np.empty(n * n_values, np.int32)
    doubted = _list_doubted(values, errors, largest_of(vector_norms), n_values, n, rows, places)
    dots = np.empty(doubted)
    exact_dots_csr(indptr, indices, data, scales, vectors, rows, places, start, doubted, dots)
    _fix_products(rows, places, dots, doubted, values)
    return values


@helper
def _above(values, scales, offsets, width, steps):
    """Return each value's distance from its cell's lower border, in cells; 1/2 where overflow hides it."""
    above = np.empty(steps.shape)
    shifts = offsets / width
    for i in range(steps.shape[0]):
        by = 1.0 / scales[i] / width
        for p in range(steps.shape[1]):
            distance = np.float64(values[i, p]) * by + shifts[p] - np.float64(steps[i, p])
            above[i, p] = min(max(distance, 0.0), 1.0) if np.isfinite(distance) else 0.5
    return above


@kernel
def step_margins_dense(X, vectors, panels, vector_norms, offsets, width, start, stop):
    """Return ``(steps, above)`` of the rows [start, stop): the codes' steps, and the distances above them.

    Parameters are those of `project_steps_dense`; both results have shape (stop - start, n_values), int64
    and float64.
    """
    n, n_values = stop - start, vectors.shape[0]
    scales, norms, errors = np.empty(n), np.empty(n), np.empty(n)
    values = _dense_products(X, panels, start, stop, scales, norms, errors)
    steps = np.empty((n, n_values), np.int64)
    rows, places = np.empty(steps.size, np.int32), np.empty(steps.size, np.int32)
    doubted = quantize(values, errors, vector_norms, scales, offsets, width, 0, n, steps, rows, places)
    dots = np.empty(doubted)
    exact_dots_dense(X, scales, vectors, rows, places, start, doubted, dots)
    fix_steps(rows, places, dots, scales, offsets, width, 0, doubted, steps)
    return steps, _above(values, scales, offsets, width, steps)


@kernel
def step_margins_csr(indptr, indices, data, vectors, panels, vector_norms, offsets, width, start, stop):
    """Return the steps and distances of sparse rows, whose indices rise, as `step_margins_dense` does."""
    n, n_values = stop - start, vectors.shape[0]
    scales, norms, errors = np.empty(n), np.empty(n), np.empty(n)
    values = _csr_products(indptr, indices, data, panels, start, stop, scales, norms, errors)
    steps = np.empty((n, n_values), np.int64)
    rows, places = np.empty(steps.size, np.int32), np.empty(steps.size, np.int32)
    doubted = quantize(values, errors, vector_norms, scales, offsets, width, 0, n, steps, rows, places)
    dots = np.empty(doubted)
    exact_dots_csr(indptr, indices, data, scales, vectors, rows, places, start, doubted, dots)
    fix_steps(rows, places, dots, scales, offsets, width, 0, doubted, steps)
    return steps, _above(values, scales, offsets, width, steps)
