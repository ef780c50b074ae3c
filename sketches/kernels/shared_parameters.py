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
from ...lsh.kernels.prefetch import prefetch_read
from ...lsh.kernels.words import mix64
from .signed_lanes import add_signed, address_of

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
#: Runs whose places are computed at a time, and then fetched into the nearest cache.
_CHUNK = 64
#: Rows that a register of words has, and the most runs that are worth filling it.
_LANES, _MOST_RUNS = 8, 1 << 12
#: The most entries of a cache line.
_LINE = 16


@helper
def _start(word, m):
    """Return the lower 52 bits of a word modulo m, in a fraction of the time of a division of integers."""
    low = np.int64(word & _LOW)
    # The quotient is rounded, so it may be wrong by one.
    place = low - np.int64(np.float64(low) * (1.0 / np.float64(m))) * m
    place = place + m if place < 0 else place
    return place - m if place >= m else place


@helper
def _read_run(weights, m, start, word, bits, is_signed, factor, size, n, row, keeps):
    """Write a run to the address `row`, or add it to what is there with `keeps`.

    `weights` is the address of the m parameters, whose size is given in bytes. `bits` are the signs of the
    first 64 entries.
    """
    place, t = start, 0
    while t < n:
        # Up to the end of the bits of a word, of the run, and of the array.
        some = min(n - t, _BITS - (t & (_BITS - 1)), m - place)
        add_signed(weights + np.uint64(place) * size, row, keeps, bits, factor, size, some)
        row += np.uint64(some) * size
        t += some
        place += some
        if place == m:
            place = 0
        if (t & (_BITS - 1)) > 0:
            bits >>= np.uint64(some)
        elif is_signed and t < n:
            bits = mix64(word + np.uint64(t // _BITS + 1))


@helper
def _add_run(row, start, word, bits, is_signed, factor, size, n, first, last, weights, m):
    """Add a run at the address `row` to those of its places that lie in [first, last)."""
    place, t = start, 0
    if start + n <= m and (start + n <= first or start >= last):
        t = n
    while t < n:
        some = min(n - t, _BITS - (t & (_BITS - 1)), m - place)
        low, high = max(first, place), min(last, place + some)
        if low < high:
            skipped = np.uint64(low - place)
            target = weights + np.uint64(low) * size
            add_signed(row + skipped * size, target, True, bits >> skipped, factor, size, high - low)
        row += np.uint64(some) * size
        t += some
        place += some
        if place == m:
            place = 0
        if (t & (_BITS - 1)) > 0:
            bits >>= np.uint64(some)
        elif is_signed and t < n:
            bits = mix64(word + np.uint64(t // _BITS + 1))


@helper
def _rows_at_a_time(n_runs):
    """Return the number of rows of n_runs runs each whose places are computed at a time."""
    return max(1, _CHUNK // n_runs, min(_LANES, _MOST_RUNS // n_runs))


@helper
def _prepare(words, first, last, keys, block, n_columns, weights, row_words, starts, run_words, bits):
    """Compute the runs of the rows [first, last), and fetch what they read.

    Run r of row i lies at ``r * row_words.size + i``, for that loops over rows take several at a time.
    """
    m, n, size = np.int64(weights.size), np.uint64(last - first), np.uint64(row_words.size)
    offset, base = np.uint64(first), np.uint64(0)
    for j in range(keys.size):
        for i in range(n):
            row_words[i] = mix64(words[offset + i] ^ keys[j])
        step = np.uint64(0)
        for _ in range(0, n_columns, block):
            step += _STEP
            for i in range(n):
                word = mix64(row_words[i] + step)
                run_words[base + i] = word
                bits[base + i] = mix64(word + _ONE)
                starts[base + i] = _start(word, m)
            base += size
    for run in range(np.uint64(0), base, size):
        for i in range(n):
            place = starts[run + i]
            end = min(place + block, m)
            for line in range(place, end, _LINE):
                prefetch_read(weights, line)
            prefetch_read(weights, end - 1)


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
    m, n_columns, size = np.int64(weights.size), out.shape[1], np.uint64(out.itemsize)
    n_runs = keys.size * ((n_columns + block - 1) // block)
    row_words = np.empty(_rows_at_a_time(n_runs), np.uint64)
    starts = np.empty(n_runs * row_words.size, np.int64)
    run_words, bits = np.empty(starts.size, np.uint64), np.empty(starts.size, np.uint64)
    runs = (starts, run_words, bits)
    source, target, end = address_of(weights), address_of(out), stop if offsets.size == 0 else offsets[stop]
    base = filled = 0
    for b in range(start, stop):
        row = target + np.uint64(b * n_columns) * size
        first, last = (b, b + 1) if offsets.size == 0 else (offsets[b], offsets[b + 1])
        if first == last:
            out[b] = 0
        for i in range(first, last):
            if i >= filled:
                base, filled = i, min(i + row_words.size, end)
                _prepare(words, i, filled, keys, block, n_columns, weights, row_words, *runs)
            factor = weights.dtype.type(scale if factors.size == 0 else scale * factors[i])
            run, keeps = i - base, i > first
            for _ in range(keys.size):
                for column in range(0, n_columns, block):
                    n, at = min(block, n_columns - column), row + np.uint64(column) * size
                    place, word, signs = starts[run], run_words[run], bits[run]
                    _read_run(source, m, place, word, signs, True, factor, size, n, at, keeps)
                    run += row_words.size
                keeps = True


@kernel
def scatter_hashed(words, offsets, factors, gradients, keys, block, scale, start, stop, weights):
    """Add the gradients of all bags to the places [start, stop): the transpose of `gather_hashed`."""
    m, n_columns, size = np.int64(weights.size), gradients.shape[1], np.uint64(weights.itemsize)
    n_runs = keys.size * ((n_columns + block - 1) // block)
    row_words = np.empty(_rows_at_a_time(n_runs), np.uint64)
    starts = np.empty(n_runs * row_words.size, np.int64)
    run_words, bits = np.empty(starts.size, np.uint64), np.empty(starts.size, np.uint64)
    runs = (starts, run_words, bits)
    source, target = address_of(gradients), address_of(weights)
    base = filled = 0
    for b in range(gradients.shape[0]):
        row = source + np.uint64(b * n_columns) * size
        first, last = (b, b + 1) if offsets.size == 0 else (offsets[b], offsets[b + 1])
        for i in range(first, last):
            if i >= filled:
                base, filled = i, min(i + row_words.size, words.size)
                _prepare(words, i, filled, keys, block, n_columns, weights, row_words, *runs)
            factor = weights.dtype.type(scale if factors.size == 0 else scale * factors[i])
            run = i - base
            for _ in range(keys.size):
                for column in range(0, n_columns, block):
                    n, at = min(block, n_columns - column), row + np.uint64(column) * size
                    place, word, signs = starts[run], run_words[run], bits[run]
                    _add_run(at, place, word, signs, True, factor, size, n, start, stop, target, m)
                    run += row_words.size


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
        row_word, within = mix64(tile_row ^ key), np.int64(row) * n_columns % m
        for r in range(starts.shape[2]):
            row_word += _STEP
            word = mix64(row_word)
            place = _start(word, m) + within
            starts[i, 0, r] = place - m if place >= m else place
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
    m, n_columns, size = np.int64(weights.size), out.shape[1], np.uint64(out.itemsize)
    source, target, is_signed = address_of(weights), address_of(out), run_words.size > 0
    for b in range(start, stop):
        first, last = (b, b + 1) if offsets.size == 0 else (offsets[b], offsets[b + 1])
        if first == last:
            out[b] = 0
        for i in range(first, last):
            factor = weights.dtype.type(scale if factors.size == 0 else scale * factors[i])
            keeps = i > first
            for j in range(starts.shape[1]):
                row = target + np.uint64(b * n_columns) * size
                for r in range(starts.shape[2]):
                    word = run_words[i, j, r] if is_signed else np.uint64(0)
                    signs = mix64(word + _ONE) if is_signed else np.uint64(0)
                    n, place = lengths[i, j, r], starts[i, j, r]
                    _read_run(source, m, place, word, signs, is_signed, factor, size, n, row, keeps)
                    row += np.uint64(n) * size
                keeps = True


@kernel
def scatter_runs(starts, lengths, run_words, offsets, factors, gradients, scale, start, stop, weights):
    """Add the gradients of all bags to the places [start, stop): the transpose of `gather_runs`."""
    m, n_columns, size = np.int64(weights.size), gradients.shape[1], np.uint64(weights.itemsize)
    source, target, is_signed = address_of(gradients), address_of(weights), run_words.size > 0
    for b in range(gradients.shape[0]):
        first, last = (b, b + 1) if offsets.size == 0 else (offsets[b], offsets[b + 1])
        for i in range(first, last):
            factor = weights.dtype.type(scale if factors.size == 0 else scale * factors[i])
            for j in range(starts.shape[1]):
                row = source + np.uint64(b * n_columns) * size
                for r in range(starts.shape[2]):
                    word = run_words[i, j, r] if is_signed else np.uint64(0)
                    signs = mix64(word + _ONE) if is_signed else np.uint64(0)
                    n, place = lengths[i, j, r], starts[i, j, r]
                    _add_run(row, place, word, signs, is_signed, factor, size, n, start, stop, target, m)
                    row += np.uint64(n) * size
