"""Kernels that rank the candidates of an index by scores of vector codes; none has a twin on a GPU."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from .heaps import keep_best, sort_nearest

__all__ = ["ALL_FOUND", "nearest_scored", "numbers_of_ids"]

#: What `numbers_of_ids` returns if every candidate has a row.
ALL_FOUND = -1


@kernel
def numbers_of_ids(candidates, offsets, sizes, ids, n_rows, bounds, numbers):
    """Write the numbers of the rows of candidates, those of one query after those of another.

    Parameters
    ----------
    candidates, offsets, sizes
        Ids plus one: see `rank_vectors`.
    ids : ndarray of shape (n_rows,) or (0,), int64
        The ids of rows, rising; without ids, rows have their numbers as ids.
    bounds : ndarray of shape (n_queries + 1,), int64
        The numbers of query i go to ``numbers[bounds[i] : bounds[i + 1]]``.

    Returns
    -------
    int
        ALL_FOUND, or a candidate's id that no row has.
    """
    for i in range(sizes.size):
        to = bounds[i]
        for c in range(offsets[i], offsets[i] + sizes[i]):
            number = np.int64(candidates[c]) - 1
            if ids.size:
                wanted = number
                # Ids that follow each other need no search.
                number = wanted - ids[0]
                if number < 0 or number >= ids.size or ids[number] != wanted:
                    number = np.searchsorted(ids, wanted)
                    if number == ids.size or ids[number] != wanted:
                        return wanted
            elif number < 0 or number >= n_rows:
                return number if number >= 0 else np.int64(n_rows)
            numbers[to] = number
            to += 1
    return ALL_FOUND


@kernel
def nearest_scored(candidates, offsets, sizes, bounds, scores, sign, k, first, ids, keys):
    """Find the k best of the candidates of each query, for queries ``first + i``, by their scores.

    Parameters
    ----------
    candidates, offsets, sizes, k, first, ids
        See `rank_vectors`.
    bounds : ndarray of shape (n_queries + 1,), int64
        The candidates of query i have ``scores[bounds[i] : bounds[i + 1]]``.
    sign : float
        1.0 for distances, -1.0 for similarities.
    keys : ndarray of shape (all queries, k), float64
        Scores times `sign`, the lowest first; infinite where there is no id.
    """
    out_ids, out = ids.reshape(-1), keys.reshape(-1)
    for i in range(sizes.size):
        place, n_best = (first + i) * k, 0
        begin, at = offsets[i], bounds[i]
        for c in range(sizes[i]):
            key = sign * scores[at + c]
            if n_best < k or key <= out[place]:
                number = np.int64(candidates[begin + c]) - 1
                n_best = keep_best(number, key, k, place, n_best, out_ids, out)
        sort_nearest(place, n_best, k, out_ids, out)
