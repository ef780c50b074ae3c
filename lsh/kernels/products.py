"""Products of rows and vectors: a fast float32 one with an error bound, and the exact one that decides.

The exact product is the float64 one, added up in one fixed order that zeros do not change, so that it depends
on row and vector only. `docs/developers/decisions/exact-products.md` has the reasons.
"""

from __future__ import annotations

import math

import numpy as np

from .compiled import helper, kernel
from .multiply import PANEL

__all__ = [
    "csr_products",
    "error_bounds",
    "exact_dots_csr",
    "exact_dots_dense",
    "largest_of",
    "longest_row",
    "own_scale",
    "power_of_two",
    "scale_rows_csr",
    "scale_rows_dense",
]

#: Accumulators of an exact product: feature j goes to accumulator j mod LANES. They fill four AVX-512
#: registers of float64, because an addition takes four cycles.
LANES = 32


@helper
def power_of_two(largest):
    """Return the power of two that brings `largest` into [1/2, 1), as far as float64 has one; 1 for 0."""
    if largest == 0.0:
        return 1.0
    exponent = -math.frexp(largest)[1]
    return math.ldexp(1.0, min(max(exponent, -1022), 1022))


@helper
def largest_of(values):
    """Return the largest of finite numbers that are at least 0, or 0 if there are none."""
    largest = 0.0
    for i in range(values.size):
        largest = max(largest, values[i])
    return largest


@helper
def own_scale(values):
    """Return the power of two that brings the largest magnitude of some numbers into [1/2, 1)."""
    largest = 0.0
    for j in range(values.size):
        largest = max(largest, abs(np.float64(values[j])))
    return power_of_two(largest)


@helper
def longest_row(indptr, start, stop):
    """Return the most entries that one of the sparse rows [start, stop) has."""
    longest = 0
    for i in range(start, stop):
        longest = max(longest, indptr[i + 1] - indptr[i])
    return longest


@helper
def scale_rows_dense(X, start, stop, scaled, scales, norms):
    """Scale rows by powers of two, as float32, so that no product over- or underflows; compute their norms.

    ``scaled[i] = X[start + i] * scales[i]``, of Euclidean norm ``norms[i]``.
    """
    # Eight running values are used, because the compiler may not reorder the operations of one.
    lanes = np.empty(8, np.float64)
    size = X.shape[1]
    whole = size - size % 8
    for i in range(stop - start):
        row, target = X[start + i], scaled[i]
        lanes[:] = 0.0
        for j in range(0, whole, 8):
            for lane in range(8):
                lanes[lane] = max(lanes[lane], abs(np.float64(row[j + lane])))
        largest = 0.0
        for j in range(whole, size):
            largest = max(largest, abs(np.float64(row[j])))
        for lane in range(8):
            largest = max(largest, lanes[lane])
        scale = power_of_two(largest)
        lanes[:] = 0.0
        for j in range(0, whole, 8):
            for lane in range(8):
                value = np.float64(row[j + lane]) * scale
                target[j + lane] = value
                lanes[lane] += value * value
        total = 0.0
        for j in range(whole, size):
            value = np.float64(row[j]) * scale
            target[j] = value
            total += value * value
        for lane in range(8):
            total += lanes[lane]
        scales[i] = scale
        norms[i] = math.sqrt(total)


@helper
def scale_rows_csr(indptr, data, start, stop, scaled, scales, norms):
    """Scale the entries of sparse rows as `scale_rows_dense` does, one row after another."""
    first = indptr[start]
    for i in range(stop - start):
        largest = 0.0
        for j in range(indptr[start + i], indptr[start + i + 1]):
            largest = max(largest, abs(np.float64(data[j])))
        scale = power_of_two(largest)
        total = 0.0
        for j in range(indptr[start + i], indptr[start + i + 1]):
            value = np.float64(data[j]) * scale
            scaled[j - first] = value
            total += value * value
        scales[i] = scale
        norms[i] = math.sqrt(total)


@helper
def csr_products(indptr, indices, scaled, panels, first, last, start, stop, values):
    """Set ``values[i, v]`` to the float32 product of row start + i and vector v of panels [first, last)."""
    begin = indptr[start]
    # All rows are multiplied by one panel, which stays in cache if it fits.
    for panel in range(first, last):
        to = (panel - first) * PANEL
        for i in range(stop - start):
            out = values[i, to : to + PANEL]
            out[:] = 0
            for j in range(indptr[start + i], indptr[start + i + 1]):
                x = scaled[j - begin]
                column = panels[panel, indices[j]]
                for v in range(PANEL):
                    out[v] += x * column[v]


@helper
def add_up(sums):
    """Return the sum of the accumulators, added by halves."""
    half = LANES // 2
    while half:
        for lane in range(half):
            sums[lane] += sums[lane + half]
        half //= 2
    return sums[0]


@helper
def exact_dots_dense(X, scales, vectors, rows, places, start, n, dots):
    """Set ``dots[a]`` to scaled row ``start + rows[a]`` times ``vectors[places[a]]``, for a < n.

    Feature j goes to accumulator j mod 32, in the order of j; a feature of 0 changes nothing, so sparse
    rows give the very same number.
    """
    sums = np.empty(LANES, np.float64)
    size = X.shape[1]
    whole = size - size % LANES
    for a in range(n):
        row, vector, scale = X[start + rows[a]], vectors[places[a]], scales[rows[a]]
        sums[:] = 0.0
        for j in range(0, whole, LANES):
            for lane in range(LANES):
                sums[lane] += (np.float64(row[j + lane]) * scale) * np.float64(vector[j + lane])
        for j in range(whole, size):
            sums[j - whole] += (np.float64(row[j]) * scale) * np.float64(vector[j])
        dots[a] = add_up(sums)


@helper
def exact_dots_csr(indptr, indices, data, scales, vectors, rows, places, start, n, dots):
    """Compute exact products of sparse rows, whose indices rise, as `exact_dots_dense` does."""
    sums = np.empty(LANES, np.float64)
    for a in range(n):
        vector, scale = vectors[places[a]], scales[rows[a]]
        sums[:] = 0.0
        for j in range(indptr[start + rows[a]], indptr[start + rows[a] + 1]):
            feature = indices[j]
            sums[feature % LANES] += (np.float64(data[j]) * scale) * np.float64(vector[feature])
        dots[a] = add_up(sums)


@kernel
def error_bounds(norms, longest, n, errors):
    """Bound the error of a float32 product over the norm of its vector, for each of n rows.

    A product of m terms, in any order, errs by at most m u / (1 - m u) times the product of the norms,
    u = 2**-24 (Higham 2002, section 3.1). Eight more u allow for rounding the row, norms and bounds
    themselves, and for the error of the float64 product. The bound is 0 for rows of zeros, which are exact.
    """
    unit = (longest + 8) * 2.0**-24
    factor = unit / (1.0 - unit) if unit < 0.5 else np.inf
    for i in range(n):
        errors[i] = factor * norms[i] if norms[i] > 0.0 else 0.0
