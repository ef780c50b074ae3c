"""Launchers of ``cross_polytope.cu``, the twins of ``lsh/kernels/cross_polytope.py``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, given_keys, with_memory
from .rotation import check_rows, rotate

__all__ = [
    "cross_polytope_codes_csr",
    "cross_polytope_codes_dense",
    "cross_polytope_probes_csr",
    "cross_polytope_probes_dense",
]

#: Coordinates that are kept together for probing: 256 MB.
_COORDINATES = 1 << 26
_NO_KEYS = np.empty(0, np.uint64)


def _codes(
    rows: tuple[Any, ...],
    scatter_keys: Any,
    masks: Any,
    dimension: int,
    power: int,
    keys: Any,
    n_buckets: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    check_array("out", out, np.uint32, shape=(None, None))
    n_hashes = out.shape[1]
    room = 4 * (masks.shape[1] // 3 * 16 + n_hashes * power)
    how = (*given_keys(scatter_keys), dimension, power, *given_keys(keys), np.uint64(n_buckets), n_hashes)
    rotate("cross_polytope", "cross_polytope_codes", rows, masks, room, start, stop, *how, start, stop, out)


def cross_polytope_codes_dense(
    X: Any, masks: Any, dimension: int, power: int, keys: Any, n_buckets: Any, start: int, stop: int, out: Any
) -> None:
    rows = check_rows(X)
    _codes(rows, _NO_KEYS, masks, dimension, power, keys, n_buckets, start, stop, out)


def cross_polytope_codes_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    scatter_keys: Any,
    masks: Any,
    dimension: int,
    power: int,
    keys: Any,
    n_buckets: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    rows = check_rows(indptr, indices, data)
    _codes(rows, scatter_keys, masks, dimension, power, keys, n_buckets, start, stop, out)


def _probes(
    rows: tuple[Any, ...],
    scatter_keys: Any,
    masks: Any,
    dimension: int,
    power: int,
    keys: Any,
    n_buckets: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    check_array("out", out, np.uint32, shape=(None, None, None))
    n_hashes, n_probes = out.shape[1:]
    size = masks.shape[1] // 3 * 16
    stride = masks.shape[0] * size
    keep = min(dimension, n_probes)
    doubles, integers = 2 * keep + 3 * n_probes + 1, power * (keep + 2 * n_probes) + max(n_probes + 1, power)
    together = max(1, _COORDINATES // stride)
    for left in range(start, stop, together):
        right = min(left + together, stop)
        n = right - left
        given = cupy.empty((n, stride), np.float32)
        how: tuple[Any, ...] = (*given_keys(scatter_keys), left, right, given)
        rotate("cross_polytope", "cross_polytope_coordinates", rows, masks, 4 * size, left, right, *how)
        mixing = (dimension, power, *given_keys(keys), np.uint64(n_buckets))
        how = (given, stride, size, *mixing, n, n_hashes, n_probes)
        room = 8 * doubles + 4 * integers
        with_memory("cross_polytope", "cross_polytope_probes", n * n_hashes, room, *how, last=out[left:right])


def cross_polytope_probes_dense(
    X: Any, masks: Any, dimension: int, power: int, keys: Any, n_buckets: Any, start: int, stop: int, out: Any
) -> None:
    rows = check_rows(X)
    _probes(rows, _NO_KEYS, masks, dimension, power, keys, n_buckets, start, stop, out)


def cross_polytope_probes_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    scatter_keys: Any,
    masks: Any,
    dimension: int,
    power: int,
    keys: Any,
    n_buckets: Any,
    start: int,
    stop: int,
    out: Any,
) -> None:
    rows = check_rows(indptr, indices, data)
    _probes(rows, scatter_keys, masks, dimension, power, keys, n_buckets, start, stop, out)
