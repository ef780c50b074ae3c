"""Launchers of ``counting.cu``, the twins of ``sketches/kernels/counting.py``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, constant, launch

__all__ = ["count_min_add", "count_min_query", "count_sketch_add", "count_sketch_query", "find_frequent"]


def _check(counts: Any, keys: Any) -> None:
    check_array("counts", counts, np.int32, np.int64, shape=(None, None))
    check_array("keys", keys, np.uint64, shape=(None,))


def _add(kind: str, keys: Any, weights: Any, words: Any, start: int, stop: int, counts: Any) -> None:
    _check(counts, keys)
    weighted = weights.size > 0
    if weighted:
        check_array("weights", weights, np.int64, shape=keys.shape)
    else:
        weights = cupy.empty(0, np.int64)
    name, buckets = f"{kind}_{counts.dtype.name}", np.uint64(counts.shape[1])
    how = (keys, weights, constant(words), keys.size, buckets, int(weighted), start, stop, counts)
    launch("counting", name, keys.size, *how)


def count_min_add(keys: Any, weights: Any, words: Any, start: int, stop: int, counts: Any) -> None:
    _add("count_min_add", keys, weights, words, start, stop, counts)


def count_sketch_add(keys: Any, weights: Any, words: Any, start: int, stop: int, counts: Any) -> None:
    _add("count_sketch_add", keys, weights, words, start, stop, counts)


def _query(kind: str, counts: Any, keys: Any, words: Any, start: int, stop: int, out: Any) -> None:
    _check(counts, keys)
    name, (rows, buckets) = f"{kind}_{counts.dtype.name}", counts.shape
    how = (counts, keys, constant(words), rows, np.uint64(buckets), start, stop, out)
    launch("counting", name, stop - start, *how)


def count_min_query(counts: Any, keys: Any, words: Any, start: int, stop: int, out: Any) -> None:
    check_array("out", out, np.int64, shape=keys.shape)
    _query("count_min_query", counts, keys, words, start, stop, out)


def count_sketch_query(counts: Any, keys: Any, words: Any, start: int, stop: int, out: Any) -> None:
    check_array("out", out, np.float64, shape=keys.shape)
    _query("count_sketch_query", counts, keys, words, start, stop, out)


def find_frequent(
    counts: Any,
    keys: Any,
    weights: Any,
    words: Any,
    threshold: int,
    start: int,
    stop: int,
    found: Any,
    sums: Any,
) -> int:
    check_array("found", found, np.int64, shape=keys.shape)
    check_array("sums", sums, np.int64, shape=keys.shape)
    estimates = cupy.empty(keys.size, np.int64)
    count_min_query(counts, keys, words, start, stop, estimates)
    places = cupy.flatnonzero(estimates[start:stop] > threshold) + start
    found[start : start + places.size] = places
    sums[start : start + places.size] = weights[places] if weights.size else 1
    return int(places.size)
