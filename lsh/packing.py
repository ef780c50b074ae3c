"""From projections to integers, exactly: signs packed into codes, and quantised steps.

The integers are defined by the float64 dot product of row and projection vector, added up in one fixed
order, so that a row's code depends on nothing else: not on its batch, on threads, on float32 or float64
input, or on the BLAS at hand. The fast float32 product is only a filter: where its rigorous error bound
leaves the integer in doubt (about one value in a thousand), the float64 product decides.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .minhash_kernels import mix64

__all__ = [
    "csr_products",
    "exact_dots_csr",
    "exact_dots_dense",
    "fix_signs",
    "fix_steps",
    "mix_codes",
    "pack_signs",
    "quantize",
    "scale_rows_csr",
    "scale_rows_dense",
]

#: Values that are tested for doubt together, before any of them is looked at alone.
STRIP = 64


@njit(cache=True, nogil=True)
def _power_of_two(largest):  # type: ignore[no-untyped-def]
    """The power of two that brings `largest` into [1/2, 1), as far as float64 has it; 1 for 0."""
    if largest == 0.0:
        return 1.0
    exponent = -math.frexp(largest)[1]
    return math.ldexp(1.0, min(max(exponent, -1022), 1022))


@njit(cache=True, nogil=True)
def scale_rows_dense(X, start, stop, scaled, scales, norms):  # type: ignore[no-untyped-def]
    """Rows times a power of two each, as float32, so that no product over- or underflows; and norms.

    ``scaled[i] = X[start + i] * scales[i]``, of Euclidean norm ``norms[i]``.
    """
    for i in range(stop - start):
        row = X[start + i]
        largest = 0.0
        for j in range(row.size):
            largest = max(largest, abs(np.float64(row[j])))
        scale = _power_of_two(largest)
        total = 0.0
        for j in range(row.size):
            value = np.float64(row[j]) * scale
            scaled[i, j] = value
            total += value * value
        scales[i] = scale
        norms[i] = math.sqrt(total)


@njit(cache=True, nogil=True)
def scale_rows_csr(indptr, data, start, stop, scaled, scales, norms):  # type: ignore[no-untyped-def]
    """`scale_rows_dense` for the entries of sparse rows, which come one after another in `scaled`."""
    first = indptr[start]
    for i in range(stop - start):
        largest = 0.0
        for j in range(indptr[start + i], indptr[start + i + 1]):
            largest = max(largest, abs(np.float64(data[j])))
        scale = _power_of_two(largest)
        total = 0.0
        for j in range(indptr[start + i], indptr[start + i + 1]):
            value = np.float64(data[j]) * scale
            scaled[j - first] = value
            total += value * value
        scales[i] = scale
        norms[i] = math.sqrt(total)


@njit(cache=True, nogil=True)
def csr_products(indptr, indices, scaled, columns, start, stop, values):  # type: ignore[no-untyped-def]
    """``values[i] = row start + i times columns``, in float32; `columns` has shape (features, P)."""
    first = indptr[start]
    for i in range(stop - start):
        out = values[i]
        out[:] = 0
        for j in range(indptr[start + i], indptr[start + i + 1]):
            x = scaled[j - first]
            column = columns[indices[j]]
            for p in range(out.size):
                out[p] += x * column[p]


@njit(cache=True, nogil=True)
def exact_dots_dense(X, start, scales, vectors, rows, places, n, dots):  # type: ignore[no-untyped-def]
    """``dots[a]``: scaled row ``start + rows[a]`` times ``vectors[places[a]]``, in the defining order.

    Feature j goes to accumulator j mod 8, in the order of j; a feature of 0 changes nothing, so sparse
    rows give the very same number.
    """
    sums = np.empty(8, np.float64)
    for a in range(n):
        row, vector, scale = X[start + rows[a]], vectors[places[a]], scales[rows[a]]
        sums[:] = 0.0
        whole = row.size - row.size % 8
        for j in range(0, whole, 8):
            for lane in range(8):
                sums[lane] += (np.float64(row[j + lane]) * scale) * np.float64(vector[j + lane])
        for j in range(whole, row.size):
            sums[j - whole] += (np.float64(row[j]) * scale) * np.float64(vector[j])
        dots[a] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))


@njit(cache=True, nogil=True)
def exact_dots_csr(indptr, indices, data, start, scales, vectors, rows, places, n, dots):  # type: ignore[no-untyped-def]
    """`exact_dots_dense` for sparse rows whose indices rise."""
    sums = np.empty(8, np.float64)
    for a in range(n):
        vector, scale = vectors[places[a]], scales[rows[a]]
        sums[:] = 0.0
        for j in range(indptr[start + rows[a]], indptr[start + rows[a] + 1]):
            feature = indices[j]
            sums[feature & 7] += (np.float64(data[j]) * scale) * np.float64(vector[feature])
        dots[a] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))


@njit(cache=True, nogil=True)
def pack_signs(values, doubt, n, n_hashes, power, out, rows, places):  # type: ignore[no-untyped-def]
    """Codes of the first n rows: bit k of code h is set unless ``values[i, k * n_hashes + h]`` is below 0.

    Values below ``doubt[i]`` in magnitude are listed in `rows` and `places`; returns how many there are.
    """
    listed = 0
    for i in range(n):
        code = out[i]
        code[:] = 0
        limit = np.float32(doubt[i])
        for k in range(power):
            bit = np.uint32(k)
            for left in range(0, n_hashes, STRIP):
                right = min(left + STRIP, n_hashes)
                strip = values[i, k * n_hashes + left : k * n_hashes + right]
                unsure = 0
                for h in range(right - left):
                    code[left + h] |= np.uint32(strip[h] >= 0) << bit
                    unsure += abs(strip[h]) < limit
                if unsure:
                    for h in range(right - left):
                        if abs(strip[h]) < limit:
                            rows[listed] = i
                            places[listed] = k * n_hashes + left + h
                            listed += 1
    return listed


@njit(cache=True, nogil=True)
def fix_signs(out, rows, places, n, dots, n_hashes):  # type: ignore[no-untyped-def]
    """Set the bits that `pack_signs` listed by the sign of the exact products."""
    for a in range(n):
        bit = np.uint32(1) << np.uint32(places[a] // n_hashes)
        h = places[a] % n_hashes
        if dots[a] >= 0:
            out[rows[a], h] |= bit
        else:
            out[rows[a], h] &= ~bit


@njit(cache=True, nogil=True)
def _step(product, scale, offset, width):  # type: ignore[no-untyped-def]
    value = math.floor((product / scale + offset) / width)
    # Beyond 2**62 neighbouring steps can no longer be told apart: they are one.
    return np.int64(min(max(value, -4.611686018427388e18), 4.611686018427388e18))


@njit(cache=True, nogil=True)
def quantize(values, doubt, vector_norms, scales, offsets, width, n, steps, rows, places):  # type: ignore[no-untyped-def]
    """``floor((product + offset) / width)`` of the first n rows; those in doubt are listed.

    The product is ``values[i, p] / scales[i]``, in error by at most ``doubt[i] * vector_norms[p]`` before
    that division.
    """
    listed = 0
    for i in range(n):
        for p in range(values.shape[1]):
            exact = (np.float64(values[i, p]) / scales[i] + offsets[p]) / width
            error = doubt[i] * vector_norms[p] / scales[i] / width + 4e-16 * abs(exact)
            below = exact - math.floor(exact)
            if below <= error or below >= 1.0 - error or not error < 0.5:
                rows[listed] = i
                places[listed] = p
                listed += 1
            else:
                steps[i, p] = _step(np.float64(values[i, p]), scales[i], offsets[p], width)
    return listed


@njit(cache=True, nogil=True)
def fix_steps(steps, rows, places, n, dots, scales, offsets, width):  # type: ignore[no-untyped-def]
    """Set the steps that `quantize` listed by the exact products."""
    for a in range(n):
        steps[rows[a], places[a]] = _step(dots[a], scales[rows[a]], offsets[places[a]], width)


@njit(cache=True, nogil=True)
def mix_codes(steps, keys, n_buckets, n, power, out):  # type: ignore[no-untyped-def]
    """Codes of the first n rows: `power` integers a hash, mixed and reduced to n_buckets.

    ``word = mix64(word ^ steps[i, k * n_hashes + h])`` for each k, from ``keys[h]``; the high half of the
    word times n_buckets, shifted down by 32 bits, is the code.
    """
    words = np.empty(keys.size, np.uint64)
    for i in range(n):
        for h in range(keys.size):
            words[h] = keys[h]
        for k in range(power):
            for h in range(keys.size):
                words[h] = mix64(words[h] ^ np.uint64(steps[i, k * keys.size + h]))
        for h in range(keys.size):
            out[i, h] = np.uint32(((words[h] >> np.uint64(32)) * n_buckets) >> np.uint64(32))
