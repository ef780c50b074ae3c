"""Kernels that reorder the symbols of rows that are multisets, so that the columns' entropies fall."""

from __future__ import annotations

import heapq
import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["cover_column", "order_rows", "swap_columns"]


@kernel
def order_rows(counts, start, stop, rows):
    """Sort each row in [start, stop) by falling counts of its symbols, ties by symbol, in place."""
    n_columns = rows.shape[1]
    for i in range(start, stop):
        row = rows[i]
        for a in range(1, n_columns):
            symbol = row[a]
            count = counts[symbol]
            b = a
            while b > 0 and (
                counts[row[b - 1]] < count or (counts[row[b - 1]] == count and row[b - 1] > symbol)
            ):
                row[b] = row[b - 1]
                b -= 1
            row[b] = symbol


@helper
def _appears_before(row, first, place):
    """Tell whether a symbol of a row also stands at an earlier place from `first` on."""
    found = False
    for a in range(first, place):
        found |= row[a] == row[place]
    return found


@kernel
def cover_column(column, n_symbols, rows):
    """Move one symbol of every row, from `column` or behind it, to `column`, so that few symbols serve.

    Repeatedly, the symbol that most rows without one have (the lowest of equal ones) serves all of these
    rows.
    """
    n, n_columns = rows.shape
    counts = np.zeros(n_symbols, dtype=np.int64)
    for i in range(n):
        for a in range(column, n_columns):
            if not _appears_before(rows[i], column, a):
                counts[rows[i, a]] += 1
    places = np.zeros(n_symbols + 1, dtype=np.int64)
    for s in range(n_symbols):
        places[s + 1] = places[s] + counts[s]
    ends = places.copy()
    having = np.empty(places[n_symbols], dtype=np.int64)
    for i in range(n):
        for a in range(column, n_columns):
            if not _appears_before(rows[i], column, a):
                symbol = rows[i, a]
                having[ends[symbol]] = i
                ends[symbol] += 1
    heap = [(-counts[s], s) for s in range(n_symbols) if counts[s] > 0]
    heapq.heapify(heap)
    served = np.zeros(n, dtype=np.bool_)
    left = n
    while left > 0:
        count, symbol = heapq.heappop(heap)
        if -count != counts[symbol]:
            # Some of its rows have been served. Counts only fall, so a symbol on top with its true count is
            # the most frequent.
            if counts[symbol] > 0:
                heapq.heappush(heap, (-counts[symbol], symbol))
            continue
        for h in range(places[symbol], places[symbol + 1]):
            i = having[h]
            if served[i]:
                continue
            served[i] = True
            left -= 1
            row = rows[i]
            for a in range(column, n_columns):
                if not _appears_before(row, column, a):
                    counts[row[a]] -= 1
            for a in range(column, n_columns):
                if row[a] == symbol:
                    row[a] = row[column]
                    row[column] = symbol
                    break


@helper
def _gain(count, steps):
    """Return the increase of count * log2(count) when the count rises by one."""
    if count < steps.size:
        return steps[count]
    return (count + 1.0) * math.log2(count + 1.0) - count * math.log2(count)


@kernel
def swap_columns(steps, rows, counts):
    """Swap two symbols of a row wherever the sum of the columns' entropies falls; return the number of swaps.

    ``counts[j, s]`` is the number of times that column j has symbol s, and is kept up to date. The sum of n
    log2 n over all counts rises with every swap, so swapping ends, and entropies never rise.
    """
    n_columns = rows.shape[1]
    swaps = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        for a in range(n_columns):
            for b in range(a + 1, n_columns):
                x, y = row[a], row[b]
                if x == y:
                    continue
                before = _gain(counts[a, x] - 1, steps) + _gain(counts[b, y] - 1, steps)
                after = _gain(counts[a, y], steps) + _gain(counts[b, x], steps)
                if after > before + 1e-9:
                    row[a], row[b] = y, x
                    counts[a, x] -= 1
                    counts[b, y] -= 1
                    counts[a, y] += 1
                    counts[b, x] += 1
                    swaps += 1
    return swaps
