"""Kernels of layers of which few units are computed: their selection, and the forward pass over them."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from .slide_rows import LANES, dot, fetch_row

__all__ = ["GELU", "RELU", "SILU", "forward_selected", "measure_activations", "pick_units"]

#: The numbers of the activation functions.
RELU, GELU, SILU = 0, 1, 2

#: Units by which rows are prefetched, and bytes of a number.
_AHEAD, _SIZE = 4, np.uint64(4)


@helper
def _activate(z, activation):
    """Return the activation of a number, in float64."""
    if activation == RELU:
        return max(z, 0.0)
    if activation == GELU:
        return z * 0.5 * (1.0 + math.erf(z * math.sqrt(0.5)))
    return z / (1.0 + math.exp(-z))


@kernel
def measure_activations(scores, activation, start, stop, out):
    """Write the magnitudes of the activations of the rows [start, stop) of scores, float32."""
    for q in range(start, stop):
        for i in range(scores.shape[1]):
            out[q, i] = np.float32(abs(_activate(np.float64(scores[q, i]), activation)))


@kernel
def pick_units(strengths, limits, start, stop, out):
    """Write the k strongest units of the rows [start, stop), rising; the first ones among equals.

    Parameters
    ----------
    strengths : ndarray of shape (n, n_units), float32
        No NaN.
    limits : ndarray of shape (n,), float32
        The k-th largest strength of each row.
    out : ndarray of shape (n, k), int64
    """
    k = out.shape[1]
    for q in range(start, stop):
        row, limit, above = strengths[q], limits[q], 0
        for i in range(row.size):
            above += row[i] > limit
        equals, size = k - above, 0
        for i in range(row.size):
            if row[i] > limit or (row[i] == limit and equals > 0):
                equals -= row[i] == limit
                out[q, size] = i
                size += 1


@helper
def _multiply_row(W, i, x, at, whole):
    """Return the product of row i of W with x, whose address is `at`; `whole` features fill registers."""
    product = np.float32(0.0)
    if whole > 0:
        width = np.uint64(W.shape[1]) * _SIZE
        product = dot(np.uint64(W.ctypes.data) + np.uint64(i) * width, at, whole)
    for j in range(whole, x.size):
        product += x[j] * W[i, j]
    return product


@kernel
def forward_selected(X, W, bias, up, V, output_bias, units, activation, start, stop, out):
    """Write the outputs of a layer of which only some units are computed, for the inputs [start, stop).

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
    W : ndarray of shape (n_units, d), float32
    bias : ndarray of shape (n_units,) or (0,), float32
        Without entries there is no bias.
    up : ndarray of shape (n_units, d) or (0, d), float32
        Without rows the layer is not gated.
    V : ndarray of shape (n_units, m), float32
    output_bias : ndarray of shape (m,), float32
    units : ndarray of shape (n, k), int64
        Below n_units; those below 0 are left out.
    activation : int
    out : ndarray of shape (n, m), float32
        A row of NaN marks an input with a product that is not finite.
    """
    d, m, k = X.shape[1], V.shape[1], units.shape[1]
    whole = d - d % LANES
    rows, active = np.empty(k, np.int64), np.empty(k, np.float32)
    for q in range(start, stop):
        x, size, is_finite = X[q], 0, True
        at = np.uint64(X.ctypes.data) + np.uint64(q) * np.uint64(d) * _SIZE
        for t in range(k):
            if t + _AHEAD < k and units[q, t + _AHEAD] >= 0:
                fetch_row(W, units[q, t + _AHEAD])
            unit = units[q, t]
            if unit < 0:
                continue
            z = _multiply_row(W, unit, x, at, whole)
            if bias.size > 0:
                z += bias[unit]
            is_finite = is_finite and math.isfinite(z)
            a = np.float32(_activate(np.float64(z), activation))
            # Of a unit that is not active, the rows of `up` and V are not read.
            if a != 0.0:
                rows[size] = unit
                active[size] = a
                size += 1
        if up.shape[0] > 0:
            for t in range(size):
                if t + _AHEAD < size:
                    fetch_row(up, rows[t + _AHEAD])
                active[t] *= _multiply_row(up, rows[t], x, at, whole)
                is_finite = is_finite and math.isfinite(active[t])
        sums = out[q]
        if not is_finite:
            sums[:] = np.nan
            continue
        sums[:] = output_bias
        # Four rows at a time, so that sums are read and written less often.
        fours = size - size % 4
        for t in range(0, fours, 4):
            for ahead in range(t + 4, min(t + 8, size)):
                fetch_row(V, rows[ahead])
            first, second, third, fourth = V[rows[t]], V[rows[t + 1]], V[rows[t + 2]], V[rows[t + 3]]
            a, b, c, e = active[t], active[t + 1], active[t + 2], active[t + 3]
            for j in range(m):
                sums[j] += (a * first[j] + b * second[j]) + (c * third[j] + e * fourth[j])
        for t in range(fours, size):
            row, a = V[rows[t]], active[t]
            for j in range(m):
                sums[j] += a * row[j]
