"""Launchers of ``counting.cu``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, constant, launch

__all__ = ["count_min_add", "count_min_query", "count_sketch_add", "count_sketch_query", "find_frequent"]


def _check(counts: Any, keys: Any) -> None:
    check_array("counts", counts, np.int32, np.int64, shape=(None, None))
    check_array("keys", keys, np.uint64, shape=(None,))


def _add(kind: str, counts: Any, words: Any, keys: Any, weights: Any, row_start: int, row_stop: int) -> None:
    _check(counts, keys)
    weighted = weights.size > 0
    if weighted:
        check_array("weights", weights, np.int64, shape=keys.shape)
    else:
        weights = cupy.empty(0, np.int64)
    name, buckets = f"{kind}_{counts.dtype.name}", np.uint64(counts.shape[1])
    words = constant(words)
    launch(
        "counting",
        name,
        keys.size,
        counts,
        words,
        keys,
        weights,
        keys.size,
        buckets,
        row_start,
        row_stop,
        weighted * 1,
    )


def count_min_add(counts: Any, words: Any, keys: Any, weights: Any, row_start: int, row_stop: int) -> None:
    """Add each key's weight (1 where `weights` is empty) to its bucket of rows [row_start, row_stop)."""
    _add("count_min_add", counts, words, keys, weights, row_start, row_stop)


def count_sketch_add(counts: Any, words: Any, keys: Any, weights: Any, row_start: int, row_stop: int) -> None:
    """Add each key's weight times its sign to its bucket of rows [row_start, row_stop)."""
    _add("count_sketch_add", counts, words, keys, weights, row_start, row_stop)


def _query(kind: str, counts: Any, words: Any, keys: Any, out: Any, start: int, stop: int) -> None:
    _check(counts, keys)
    name, (rows, buckets) = f"{kind}_{counts.dtype.name}", counts.shape
    launch(
        "counting",
        name,
        stop - start,
        counts,
        constant(words),
        keys,
        out,
        rows,
        np.uint64(buckets),
        start,
        stop,
    )


def count_min_query(counts: Any, words: Any, keys: Any, out: Any, start: int, stop: int) -> None:
    """``out[i]`` = the least counter of key i, for i in [start, stop)."""
    check_array("out", out, np.int64, shape=keys.shape)
    _query("count_min_query", counts, words, keys, out, start, stop)


def count_sketch_query(counts: Any, words: Any, keys: Any, out: Any, start: int, stop: int) -> None:
    """``out[i]`` = the median over rows of key i's signed counters, for i in [start, stop)."""
    check_array("out", out, np.float64, shape=keys.shape)
    _query("count_sketch_query", counts, words, keys, out, start, stop)


def find_frequent(
    counts: Any,
    words: Any,
    keys: Any,
    weights: Any,
    least: int,
    found: Any,
    sums: Any,
    start: int,
    stop: int,
) -> int:
    """Write to ``found[start:]`` the places in [start, stop) of keys counted above `least`; return how many.

    Their weights go to ``sums[start:]``, 1 where `weights` is empty.
    """
    check_array("found", found, np.int64, shape=keys.shape)
    check_array("sums", sums, np.int64, shape=keys.shape)
    estimates = cupy.empty(keys.size, np.int64)
    count_min_query(counts, words, keys, estimates, start, stop)
    places = cupy.flatnonzero(estimates[start:stop] > least) + start
    found[start : start + places.size] = places
    sums[start : start + places.size] = weights[places] if weights.size else 1
    return int(places.size)
