"""Launchers of ``rank.cu``, the twins of ``sketches/kernels/rank.py``.

`fast_Q` and `slack` are for the CPU only; of several ids that cannot be ranked, the least is returned.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from ..sketches.kernels.rank_sets import UNORDERED
from ..sketches.kernels.rank_vectors import ANGLE, RANKED
from .launch import check_array, launch_blocks

__all__ = ["order_sets", "rank_bits", "rank_sets", "rank_vectors", "rank_weights"]

_NOBODY = 2**64 - 1


def _rank(
    kernel: str,
    how: tuple[Any, ...],
    n_rows: int,
    candidates: Any,
    offsets: Any,
    sizes: Any,
    k: int,
    first: int,
    ids: Any,
    distances: Any,
) -> int:
    n = sizes.size
    check_array("candidates", candidates, np.uint32, np.uint64, shape=(None,))
    check_array("offsets", offsets, np.int64, shape=(n + 1,))
    check_array("sizes", sizes, np.int64, shape=(n,))
    check_array("ids", ids, np.int64, shape=(None, k))
    check_array("distances", distances, np.float64, shape=ids.shape)
    if n == 0:
        return RANKED
    size = 1 << max(4, (int(sizes.max()) - 1).bit_length())
    refused = cupy.asarray(np.array([_NOBODY, 0], np.uint64))
    before = (*how, n_rows, candidates, offsets, sizes, n, k, first, size)
    name = f"{kernel}_{candidates.dtype.name}"
    launch_blocks("rank", name, n, 16 * size, *before, after=(refused, ids, distances))
    number, unordered = refused.tolist()
    if unordered:
        return UNORDERED
    return RANKED if number == _NOBODY else int(number)


def rank_vectors(
    Q: Any,
    fast_Q: Any,
    slack: Any,
    lengths: Any,
    rows: Any,
    candidates: Any,
    offsets: Any,
    sizes: Any,
    metric: int,
    k: int,
    first: int,
    ids: Any,
    distances: Any,
) -> int:
    check_array("Q", Q, np.float64, shape=(None, None))
    check_array("rows", rows, np.float32, np.float64, shape=(None, Q.shape[1]))
    check_array("lengths", lengths, np.float64, shape=(len(Q),))
    how, found = (
        (Q, lengths, rows, metric, Q.shape[1]),
        (candidates, offsets, sizes, k, first, ids, distances),
    )
    refused = _rank(f"rank_vectors_{rows.dtype.name}", how, len(rows), *found)
    if metric == ANGLE:
        part = distances[first : first + sizes.size]
        angles = 2.0 * cupy.arcsin(cupy.minimum(1.0, cupy.sqrt(part)))
        part[...] = cupy.where(cupy.isfinite(part), angles, part)
    return refused


def rank_bits(
    Q: Any,
    rows: Any,
    candidates: Any,
    offsets: Any,
    sizes: Any,
    last_mask: Any,
    k: int,
    first: int,
    ids: Any,
    distances: Any,
) -> int:
    check_array("Q", Q, np.uint8, shape=(None, None))
    check_array("rows", rows, np.uint8, shape=(None, Q.shape[1]))
    how, found = (
        (Q, rows, Q.shape[1], np.uint32(last_mask)),
        (candidates, offsets, sizes, k, first, ids, distances),
    )
    return _rank("rank_bits", how, len(rows), *found)


def rank_sets(
    Q: Any,
    Q_begins: Any,
    Q_ends: Any,
    rows: Any,
    begins: Any,
    ends: Any,
    candidates: Any,
    offsets: Any,
    sizes: Any,
    k: int,
    first: int,
    ids: Any,
    distances: Any,
) -> int:
    for name, tokens, starts, stops in (("Q", Q, Q_begins, Q_ends), ("rows", rows, begins, ends)):
        check_array(name, tokens, np.uint64, shape=(None,))
        check_array(f"{name} begins", starts, np.int64, shape=(None,))
        check_array(f"{name} ends", stops, np.int64, shape=starts.shape)
    how, found = (
        (Q, Q_begins, Q_ends, rows, begins, ends),
        (candidates, offsets, sizes, k, first, ids, distances),
    )
    return _rank("rank_sets", how, begins.size, *found)


def rank_weights(
    Q: Any,
    Q_csr: Any,
    rows: Any,
    rows_csr: Any,
    candidates: Any,
    offsets: Any,
    sizes: Any,
    k: int,
    first: int,
    ids: Any,
    distances: Any,
) -> int:
    for name, starts, (features, weights) in (("Q", Q, Q_csr), ("rows", rows, rows_csr)):
        check_array(f"{name} offsets", starts, np.int64, shape=(None,))
        check_array(f"{name} features", features, np.int64, shape=(None,))
        check_array(f"{name} weights", weights, np.float64, shape=features.shape)
    how, found = (Q, *Q_csr, rows, *rows_csr), (candidates, offsets, sizes, k, first, ids, distances)
    return _rank("rank_weights", how, rows.size - 1, *found)


def order_sets(begins: Any, start: int, stop: int, tokens: Any, ends: Any) -> None:
    check_array("tokens", tokens, np.uint64, shape=(None,))
    check_array("begins", begins, np.int64, shape=(None,))
    check_array("ends", ends, np.int64, shape=begins.shape)
    if (start, stop) != (0, begins.size):
        raise ValueError(f"sets on a GPU are ordered all at once, got [{start}, {stop}) of {begins.size}")
    if tokens.size == 0:
        return
    place = cupy.arange(tokens.size)
    row = cupy.searchsorted(begins, place, side="right") - 1
    tokens[...] = tokens[cupy.lexsort(cupy.stack([tokens, row.astype(np.uint64)]))]
    kept = cupy.ones(tokens.size, np.bool_)
    kept[1:] = (tokens[1:] != tokens[:-1]) | (row[1:] != row[:-1])
    before = cupy.zeros(tokens.size + 1, np.int64)
    before[1:] = cupy.cumsum(kept)
    to = (begins[row] + before[:-1] - before[begins[row]])[kept]
    tokens[to] = tokens[kept]
    ends[...] = begins + before[ends] - before[begins]
