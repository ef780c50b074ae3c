"""Rows that are multisets: an order of each row that makes the columns predictable."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.threads import map_blocks
from ..kernels.permutation import cover_column, order_rows, swap_columns

__all__ = ["permute_columns"]

_BLOCK = 1 << 14
#: Values are exchanged only if the counts of all symbols in all columns, 8 bytes each, are at most this many.
_MOST_COUNTS = 1 << 26
#: Largest number of passes over all rows; most of the gain comes in the first two.
_PASSES = 6
#: Length of a table of the differences of n log2 n, which stays in the cache.
_STEPS = 1 << 14


def permute_columns(values: NDArray[Any], method: str) -> NDArray[Any]:
    """Reorder the values within each row.

    Parameters
    ----------
    values : ndarray of shape (n, columns)
        The array does not change.
    method : {"none", "entropy", "global"}
        "global" sorts each row by the frequency of its values in the whole array, the most frequent value
        first. "entropy" fills column after column: the value that occurs in most rows is put into the column
        in all these rows, then the value that occurs in most of the remaining rows, and so on. It then
        exchanges two values of a row wherever that reduces the sum of the columns' entropies, until a pass
        over all rows finds little or six passes are done.

    Returns
    -------
    ndarray of shape (n, columns)
        A new array, unless method is "none". "entropy" never increases the sum of the columns' entropies.

    Notes
    -----
    Time O(n columns log(n columns)) for "global". "entropy" takes about 100 ns for each pair of columns and
    row, and 8 bytes for each row and column beside the copy. Its exchanges take 8 bytes for each column and
    distinct value; they are omitted beyond 512 MB.
    """
    if method == "none" or values.size == 0:
        return values
    n, n_columns = values.shape
    symbols, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    given = inverse.reshape(values.shape).astype(np.int64)
    rows = given.copy()
    if method == "global":
        frequency = counts.astype(np.int64)
        map_blocks(lambda start, stop: order_rows(frequency, start, stop, rows), n, _BLOCK)
    else:
        for column in range(n_columns - 1):
            cover_column(column, symbols.size, rows)
        if _column_entropies(given) < _column_entropies(rows):
            rows = given
        if symbols.size * n_columns <= _MOST_COUNTS:
            _swap(rows, symbols.size)
    return symbols[rows]


def _swap(rows: NDArray[np.int64], n_symbols: int) -> None:
    counts = np.stack([np.bincount(column, minlength=n_symbols) for column in rows.T]).astype(np.int64)
    n = np.arange(_STEPS, dtype=np.float64)
    steps = (n + 1) * np.log2(n + 1) - n * np.log2(np.maximum(n, 1))
    for _ in range(_PASSES):
        if swap_columns(steps, rows, counts) <= rows.shape[0] // 1000:
            break


def _column_entropies(rows: NDArray[np.int64]) -> float:
    """Return the sum of the columns' entropies, in bits a row."""
    total = 0.0
    for column in rows.T:
        counts = np.unique(column, return_counts=True)[1]
        total += float(np.log2(rows.shape[0]) - (counts * np.log2(counts)).sum() / rows.shape[0])
    return total
