"""Kernels of shared parameters: rows of virtual tables are read from one array, gradients are added to it.

A row consists of runs. A run of n entries lies at consecutive places from a start on, and goes on at place 0
behind the end of the array. The 64-bit word of a run gives each of its entries a sign: entry t has bit t mod
64 of the mixed word ``mix64(word + t div 64 + 1)``, and a negative sign if the bit is set.

Every entry has a sign of its own. With one sign for a run, two runs that overlap in several places would add
up the products of their entries, and the variance of inner products would depend on how the numbers in
a row relate to each other.

A *bag* is one or more rows that are added up, each times its factor. Without `offsets` every row is a bag.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64

__all__ = [
    "cyclic_runs",
    "gather_hashed",
    "gather_runs",
    "hashed_runs",
    "scatter_hashed",
    "scatter_runs",
    "tile_runs",
]

#: Words of consecutive runs of a row differ by the odd number of SplitMix64.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
_BITS = 64
#: The bits of a word that decide on a place. A float64 holds them exactly.
_LOW = np.uint64((1 << 52) - 1)


@helper
def _start(word, m):
    """Return the lower 52 bits of a word modulo m, in a fraction of the time of a division of integers."""
    low = np.int64(word & _LOW)
    # The quotient is rounded, so it may be wrong by one.
    place = low - np.int64(np.float64(low) * (1.0 / np.float64(m))) * m
    if place < 0:
        place += m
    elif place >= m:
        place -= m
    return place


@helper
def _copy(weights, place, bits, factor, n, row, column):
    # Indices without a sign spare the tests for negative ones, which keep the loop out of SIMD registers.
    place, column, double = np.uint64(place), np.uint64(column), factor + factor
    for t in range(np.uint64(n)):
        sign = factor - double * weights.dtype.type((bits >> t) & _ONE)
        row[column + t] = weights[place + t] * sign


@helper
def _accumulate(weights, place, bits, factor, n, row, column):
    place, column, double = np.uint64(place), np.uint64(column), factor + factor
    for t in range(np.uint64(n)):
        sign = factor - double * weights.dtype.type((bits >> t) & _ONE)
        row[column + t] += weights[place + t] * sign


@helper
def _read_run(weights, start, word, is_signed, factor, n, is_first, row, column):
    """Write a run to `row` from `column` on, or add it to what is there unless it `is_first`."""
    place, t, m = start, 0, weights.size
    while t < n:
        # Up to the end of the bits of a word, of the run, and of the array.
        size = min(n - t, _BITS - t % _BITS, m - place)
        bits = np.uint64(0)
        if is_signed:
            bits = mix64(word + np.uint64(t // _BITS + 1)) >> np.uint64(t % _BITS)
        if is_first:
            _copy(weights, place, bits, factor, size, row, column + t)
        else:
            _accumulate(weights, place, bits, factor, size, row, column + t)
        t += size
        place += size
        if place == m:
            place = 0


@helper
def _add_run(row, column, start, word, is_signed, factor, n, first, last, weights):
    """Add a run of `row`, which begins at `column`, to those of its places that lie in [first, last)."""
    place, t, m = start, 0, weights.size
    while t < n:
        size = min(n - t, _BITS - t % _BITS, m - place)
        low, high = max(first, place), min(last, place + size)
        if low < high:
            bits = np.uint64(0)
            skipped = t % _BITS + low - place
            if is_signed:
                bits = mix64(word + np.uint64(t // _BITS + 1)) >> np.uint64(skipped)
            _accumulate(row, column + t + low - place, bits, factor, high - low, weights, low)
        t += size
        place += size
        if place == m:
            place = 0


@kernel
def gather_hashed(weights, words, offsets, factors, keys, block, scale, start, stop, out):
    """Set ``out[b]`` to the sum of the rows of bag b, for b in [start, stop).

    Parameters
    ----------
    weights : array of m numbers
    words : array of uint64
        A row's number or hash.
    offsets : array of int64
        Bag b has the rows from ``offsets[b]`` to ``offsets[b + 1]``. If it is empty, bag b is row b.
    factors : array of numbers of the dtype of `weights`
        The factor of each row. If it is empty, all are 1.
    keys : array of uint64
        A row is the sum of its copies, one for each key.
    block : int
        Entries of a run.
    scale : float
        The factor of everything.
    start, stop : int
    out : array of shape (number of bags, columns)
    """
    m, n_columns = np.int64(weights.size), out.shape[1]
    for b in range(start, stop):
        row = out[b]
        first, last = (b, b + 1) if offsets.size == 0 else (offsets[b], offsets[b + 1])
        if first == last:
            row[:] = 0
        for i in range(first, last):
            factor = weights.dtype.type(scale if factors.size == 0 else scale * factors[i])
            for j in range(keys.size):
                row_word = mix64(words[i] ^ keys[j])
                for column in range(0, n_columns, block):
                    row_word += _STEP
                    word = mix64(row_word)
                    n, is_first = min(block, n_columns - column), i == first and j == 0
                    _read_run(weights, _start(word, m), word, True, factor, n, is_first, row, column)


@kernel
def scatter_hashed(words, offsets, factors, gradients, keys, block, scale, start, stop, weights):
    """Add the gradients of all bags to the places [start, stop): the transpose of `gather_hashed`."""
    m, n_columns = np.int64(weights.size), gradients.shape[1]
    for b in range(gradients.shape[0]):
        row = gradients[b]
        first, last = (b, b + 1) if offsets.size == 0 else (offsets[b], offsets[b + 1])
        for i in range(first, last):
            factor = weights.dtype.type(scale if factors.size == 0 else scale * factors[i])
            for j in range(keys.size):
                row_word = mix64(words[i] ^ keys[j])
                for column in range(0, n_columns, block):
                    row_word += _STEP
                    word = mix64(row_word)
                    n = min(block, n_columns - column)
                    _add_run(row, column, _start(word, m), word, True, factor, n, start, stop, weights)


@kernel
def hashed_runs(words, keys, block, n_columns, m, start, stop, starts, lengths, run_words):
    """Set the runs of rows [start, stop), of shape (rows, copies, runs), as `gather_hashed` finds them."""
    for i in range(start, stop):
        for j in range(keys.size):
            row_word = mix64(words[i] ^ keys[j])
            for r in range(starts.shape[2]):
                row_word += _STEP
                word = mix64(row_word)
                starts[i, j, r], run_words[i, j, r] = _start(word, m), word
                lengths[i, j, r] = min(block, n_columns - r * block)


@kernel
def tile_runs(words, key, n_rows, n_columns, width, m, start, stop, starts, lengths, run_words):
    """Set the runs of rows [start, stop) of a matrix of `width` columns in tiles of n_rows by n_columns.

    The entries of a tile lie side by side, row after row, from the start that the tile's word gives. A run is
    the row of a tile.
    """
    for i in range(start, stop):
        tile_row, row = words[i] // np.uint64(n_rows), words[i] % np.uint64(n_rows)
        row_word = mix64(tile_row ^ key)
        for r in range(starts.shape[2]):
            row_word += _STEP
            word = mix64(row_word)
            starts[i, 0, r] = (_start(word, m) + np.int64(row) * n_columns) % m
            run_words[i, 0, r] = mix64(word ^ row)
            lengths[i, 0, r] = min(n_columns, width - r * n_columns)


@kernel
def cyclic_runs(words, key, first, n_columns, m, start, stop, starts, lengths):
    """Set the runs of rows [start, stop) of a table whose entries are numbered from `first` on, row by row.

    The entries [c m, (c + 1) m) of all tables are chunk c. It fills the array, and begins at a place of its
    own. So a row has a run for each chunk that it has a part in, and runs of no entries after those.
    """
    for i in range(start, stop):
        entry, left = first + np.int64(words[i]) * n_columns, n_columns
        for r in range(starts.shape[2]):
            chunk = entry // m
            position = entry - chunk * m
            size = min(left, m - position)
            starts[i, 0, r] = (_start(mix64(np.uint64(chunk) ^ key), m) + position) % m
            lengths[i, 0, r] = size
            entry += size
            left -= size


@kernel
def gather_runs(weights, starts, lengths, run_words, offsets, factors, scale, start, stop, out):
    """Set ``out[b]`` to the sum of the rows of bag b, for b in [start, stop), from the runs of each row.

    Parameters
    ----------
    weights : array of m numbers
    starts, lengths : array of int64, shape (rows, copies, runs)
        The runs of a copy follow each other in a row. Starts lie in [0, m).
    run_words : array of uint64 of the same shape
        If it is empty, no entry has a sign.
    offsets, factors, scale, start, stop, out
        As for `gather_hashed`.
    """
    is_signed = run_words.size > 0
    for b in range(start, stop):
        row = out[b]
        first, last = (b, b + 1) if offsets.size == 0 else (offsets[b], offsets[b + 1])
        if first == last:
            row[:] = 0
        for i in range(first, last):
            factor = weights.dtype.type(scale if factors.size == 0 else scale * factors[i])
            for j in range(starts.shape[1]):
                column, is_first = 0, i == first and j == 0
                for r in range(starts.shape[2]):
                    word = run_words[i, j, r] if is_signed else np.uint64(0)
                    n = lengths[i, j, r]
                    _read_run(weights, starts[i, j, r], word, is_signed, factor, n, is_first, row, column)
                    column += n


@kernel
def scatter_runs(starts, lengths, run_words, offsets, factors, gradients, scale, start, stop, weights):
    """Add the gradients of all bags to the places [start, stop): the transpose of `gather_runs`."""
    is_signed = run_words.size > 0
    for b in range(gradients.shape[0]):
        row = gradients[b]
        first, last = (b, b + 1) if offsets.size == 0 else (offsets[b], offsets[b + 1])
        for i in range(first, last):
            factor = weights.dtype.type(scale if factors.size == 0 else scale * factors[i])
            for j in range(starts.shape[1]):
                column = 0
                for r in range(starts.shape[2]):
                    word = run_words[i, j, r] if is_signed else np.uint64(0)
                    n, place = lengths[i, j, r], starts[i, j, r]
                    _add_run(row, column, place, word, is_signed, factor, n, start, stop, weights)
                    column += n
