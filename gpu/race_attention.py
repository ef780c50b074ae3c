"""Launchers of ``race_attention.cu``, the twins of ``sketches/kernels/race_attention.py``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, launch

__all__ = [
    "add_tokens",
    "add_tokens_hard",
    "attend_causally",
    "attend_causally_hard",
    "query_counters",
    "query_counters_hard",
]

#: Sums of single tables that are kept at a time.
_PARTS = 1 << 24


def _check(codes: Any, counters: Any, columns: Any = None) -> tuple[int, int, int]:
    """Check codes, weights of all buckets or numbers of buckets, and return the shape of the counters."""
    n_tables, n_codes, m = (int(size) for size in counters.shape)
    check_array("counters", counters, np.float64)
    if codes.ndim == 3:
        check_array("weights", codes, np.float32, shape=(None, n_tables, n_codes))
    else:
        check_array("codes", codes, np.uint32, shape=(None, n_tables))
    if columns is not None:
        check_array("columns", columns, np.float64, shape=(len(codes), m))
    return n_tables, n_codes, m


def add_tokens(weights: Any, columns: Any, start: int, stop: int, counters: Any) -> None:
    n_tables, n_codes, m = _check(weights, counters, columns)
    given = (weights, columns, len(weights), n_tables, n_codes, m, start, stop, counters)
    launch("race_attention", "add_tokens", (stop - start) * n_codes * m, *given)


def add_tokens_hard(codes: Any, columns: Any, start: int, stop: int, counters: Any) -> None:
    n_tables, n_codes, m = _check(codes, counters, columns)
    given = (codes, columns, len(codes), n_tables, n_codes, m, start, stop, counters)
    launch("race_attention", "add_tokens_hard", (stop - start) * n_codes * m, *given)


def query_counters(weights: Any, counters: Any, start: int, stop: int, out: Any) -> None:
    n_tables, n_codes, m = _check(weights, counters)
    check_array("out", out, np.float64, shape=(len(weights), m))
    given = (weights, counters, n_tables, n_codes, m, start, stop, out)
    launch("race_attention", "query_counters", (stop - start) * m, *given)


def query_counters_hard(codes: Any, counters: Any, start: int, stop: int, out: Any) -> None:
    n_tables, n_codes, m = _check(codes, counters)
    check_array("out", out, np.float64, shape=(len(codes), m))
    given = (codes, counters, n_tables, n_codes, m, start, stop, out)
    launch("race_attention", "query_counters_hard", (stop - start) * m, *given)


def attend_causally(
    query_weights: Any, key_weights: Any, columns: Any, start: int, stop: int, counters: Any, out: Any
) -> None:
    _attend("attend_parts", query_weights, key_weights, columns, start, stop, counters, out)


def attend_causally_hard(
    query_codes: Any, key_codes: Any, columns: Any, start: int, stop: int, counters: Any, out: Any
) -> None:
    _attend("attend_parts_hard", query_codes, key_codes, columns, start, stop, counters, out)


def _attend(
    name: str, queries: Any, keys: Any, columns: Any, start: int, stop: int, counters: Any, out: Any
) -> None:
    n_tables, n_codes, m = _check(keys, counters, columns)
    _check(queries, counters, columns)
    check_array("out", out, np.float64, shape=columns.shape)
    block = max(1, _PARTS // (n_tables * m))
    for first in range(0, len(keys), block):
        last = min(len(keys), first + block)
        n = last - first
        parts = cupy.empty((n, n_tables, m))
        given = (queries[first:last], keys[first:last], columns[first:last], n, n_tables, n_codes, m)
        launch("race_attention", name, n_tables * (stop - start), *given, start, stop, counters, parts)
        sums = (parts, n, n_tables, m, start, stop, out[first:last])
        launch("race_attention", "add_parts", n * (stop - start), *sums)
