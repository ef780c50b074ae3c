"""Kernels that count codes into a table of counters, and read the counters of codes.

A table has R rows of W counters, or R rows of W groups of K counters, one for each output. A code picks
a counter (or group) of its row, so one hash of a row of data serves all outputs.
"""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.words import mix64

__all__ = [
    "code_keys",
    "find_keys",
    "gather_groups",
    "gather_mean",
    "gather_ratio",
    "scatter_add",
    "scatter_add_outputs",
]

#: Rows of codes that are counted together: their cache lines stay in the cache for the next columns.
BLOCK = 256
#: Columns that are counted together: an addition to a counter waits for the last one to it, and additions to
#: other counters fill the wait.
COLUMNS = 4


@kernel
def scatter_add(codes, weights, start, stop, counts):
    """Add: ``counts[r, codes[i, r]] += weights[i]`` for every i, and r in [start, stop).

    Parameters
    ----------
    counts : ndarray of shape (R, W)
    codes : ndarray of shape (n, R), uint32
        Below W.
    weights : ndarray of shape (n,) or (0,)
        Empty for weights of 1.
    start, stop : int
        The rows of `counts` that this call owns.

    Notes
    -----
    4 n R bytes of codes are read once and n R counters updated in rows of W counters, a few at a
    time in the first-level cache. A counter takes its additions in the order of the rows, so real
    counters do not depend on how the table's rows are shared out.
    """
    whole = stop - (stop - start) % COLUMNS
    for left in range(0, codes.shape[0], BLOCK):
        right = min(left + BLOCK, codes.shape[0])
        if weights.size == 0:
            for r in range(start, whole, COLUMNS):
                for i in range(left, right):
                    for column in range(r, r + COLUMNS):
                        counts[column, codes[i, column]] += 1
            for r in range(whole, stop):
                for i in range(left, right):
                    counts[r, codes[i, r]] += 1
        else:
            for r in range(start, whole, COLUMNS):
                for i in range(left, right):
                    for column in range(r, r + COLUMNS):
                        counts[column, codes[i, column]] += weights[i]
            for r in range(whole, stop):
                for i in range(left, right):
                    counts[r, codes[i, r]] += weights[i]


@kernel
def scatter_add_outputs(codes, weights, start, stop, counts):
    """Add: ``counts[r, codes[i, r], k] += weights[i, k]`` for every i and k, and r in [start, stop)."""
    n_outputs = counts.shape[2]
    for left in range(0, codes.shape[0], BLOCK):
        right = min(left + BLOCK, codes.shape[0])
        for r in range(start, stop):
            for i in range(left, right):
                code = codes[i, r]
                for k in range(n_outputs):
                    counts[r, code, k] += weights[i, k]


@kernel
def gather_mean(counts, codes, start, stop, means, stds):
    """Compute mean and standard deviation over r of ``counts[r, codes[i, r], k]``, for i in [start, stop).

    Parameters
    ----------
    counts : ndarray of shape (R, W, K)
    codes : ndarray of shape (n, R), uint32
        Below W.
    means, stds : ndarray of shape (n, K), float64
        The standard deviation is that of a sample (R - 1); NaN for R = 1.

    Notes
    -----
    A row of codes takes R random reads of K counters, twice; the second time they are in the first-level
    cache. Deviations are taken from the mean, so nothing cancels.
    """
    n_rows, n_outputs = codes.shape[1], counts.shape[2]
    for i in range(start, stop):
        for k in range(n_outputs):
            means[i, k] = 0.0
            stds[i, k] = 0.0
        for r in range(n_rows):
            code = codes[i, r]
            for k in range(n_outputs):
                means[i, k] += np.float64(counts[r, code, k])
        for k in range(n_outputs):
            means[i, k] /= n_rows
        for r in range(n_rows):
            code = codes[i, r]
            for k in range(n_outputs):
                deviation = np.float64(counts[r, code, k]) - means[i, k]
                stds[i, k] += deviation * deviation
        for k in range(n_outputs):
            stds[i, k] = math.sqrt(stds[i, k] / (n_rows - 1)) if n_rows > 1 else np.nan


@kernel
def gather_groups(counts, codes, edges, start, stop, out):
    """Set ``out[i, g, k]`` to the mean of ``counts[r, codes[i, r], k]`` over r in [edges[g], edges[g+1])."""
    n_outputs = counts.shape[2]
    for i in range(start, stop):
        for g in range(edges.size - 1):
            for k in range(n_outputs):
                out[i, g, k] = 0.0
            for r in range(edges[g], edges[g + 1]):
                code = codes[i, r]
                for k in range(n_outputs):
                    out[i, g, k] += np.float64(counts[r, code, k])
            for k in range(n_outputs):
                out[i, g, k] /= edges[g + 1] - edges[g]


@kernel
def gather_ratio(counts, codes, totals, chance, start, stop, mass, mass_std, ratio, ratio_std):
    """Compute the ratios of the means of counters 1 to K to that of counter 0, and their standard errors.

    Parameters
    ----------
    counts : ndarray of shape (R, W, 1 + K), float64
    codes : ndarray of shape (n, R), uint32
        Below W.
    totals : ndarray of shape (1 + K,), float64
        Of all counters of a row of the table; `chance` of them lie in any counter by chance.
    mass, mass_std : ndarray of shape (n,)
        The mean of counter 0 without chance collisions, and its standard error; NaN for R = 1.
    ratio, ratio_std : ndarray of shape (n, K)
        The standard error is that of ``counter k - ratio_k counter 0``, over the mass: the ratio's to
        first order.
    """
    n_rows, n_outputs = codes.shape[1], counts.shape[2]
    means = np.empty(n_outputs)
    for i in range(start, stop):
        means[:] = 0.0
        for r in range(n_rows):
            code = codes[i, r]
            for k in range(n_outputs):
                means[k] += counts[r, code, k]
        for k in range(n_outputs):
            means[k] /= n_rows
        mass[i] = (means[0] - chance * totals[0]) / (1.0 - chance)
        for k in range(n_outputs - 1):
            numerator = (means[k + 1] - chance * totals[k + 1]) / (1.0 - chance)
            ratio[i, k] = numerator / mass[i] if mass[i] != 0.0 else np.nan
            ratio_std[i, k] = 0.0
        spread = 0.0
        for r in range(n_rows):
            code = codes[i, r]
            below = counts[r, code, 0] - means[0]
            spread += below * below
            for k in range(n_outputs - 1):
                residual = (counts[r, code, k + 1] - means[k + 1]) - ratio[i, k] * below
                ratio_std[i, k] += residual * residual
        # The variance of a mean of R numbers follows from the sample's; debiasing divides by 1 - chance.
        scale = 1.0 / n_rows / (n_rows - 1) if n_rows > 1 else np.nan
        mass_std[i] = math.sqrt(spread * scale) / (1.0 - chance)
        for k in range(n_outputs - 1):
            error = math.sqrt(ratio_std[i, k] * scale) / (1.0 - chance)
            ratio_std[i, k] = error / abs(mass[i]) if mass[i] != 0.0 else np.nan


@kernel
def code_keys(codes, key, start, stop, out):
    """Set ``out[i]`` to a 64-bit hash of the codes of row i, for i in [start, stop).

    Four chains of `mix64` take every fourth code each, so that none waits for another; their four words are
    mixed at the end.
    """
    n_codes = codes.shape[1]
    whole = n_codes - n_codes % 4
    for i in range(start, stop):
        a = key ^ np.uint64(1)
        b = key ^ np.uint64(2)
        c = key ^ np.uint64(3)
        d = key ^ np.uint64(4)
        for j in range(0, whole, 4):
            a = mix64(a ^ np.uint64(codes[i, j]))
            b = mix64(b ^ np.uint64(codes[i, j + 1]))
            c = mix64(c ^ np.uint64(codes[i, j + 2]))
            d = mix64(d ^ np.uint64(codes[i, j + 3]))
        for j in range(whole, n_codes):
            a = mix64(a ^ np.uint64(codes[i, j]))
        # The words are mixed one after the other, so that exchanging two changes the result.
        out[i] = mix64(mix64(mix64(a ^ np.uint64(5)) ^ b) ^ mix64(mix64(c ^ np.uint64(6)) ^ d))


@kernel
def find_keys(keys, rising, start, stop, places):
    """Set ``places[i]`` to the place of ``keys[i]`` in `rising`, or to -1, for i in [start, stop).

    Parameters
    ----------
    keys : ndarray of shape (n,), uint64
    rising : ndarray of shape (m,), uint64
        Different keys in rising order. Where they are hashes, a few guesses from a key's value find its
        place; for other keys a search by halves follows.
    places : ndarray of shape (n,), int64
    """
    m = rising.size
    density = m / (float(rising[m - 1]) + 1.0) if m else 0.0
    for i in range(start, stop):
        key = keys[i]
        places[i] = -1
        if m == 0 or key > rising[m - 1]:
            continue
        low, high = 0, m - 1  # the first key that is not smaller is at one of these
        guess = min(int(float(key) * density), m - 1)
        for _ in range(4):
            if low == high:
                break
            there = rising[guess]
            if there < key:
                low = guess + 1
                guess = low + int(float(key - there) * density)
            else:
                high = guess
                guess = high - int(float(there - key) * density) - 1
            guess = min(max(guess, low), high)
        while low < high:
            middle = (low + high) // 2
            if rising[middle] < key:
                low = middle + 1
            else:
                high = middle
        if rising[low] == key:
            places[i] = low
