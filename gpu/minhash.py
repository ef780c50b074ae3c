"""Launchers of ``minhash.cu``, the twins of ``lsh/kernels/minhash.py``."""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from .launch import check_array, constant, launch

__all__ = [
    "compare_bins",
    "concatenate_codes",
    "count_equal",
    "densify_signatures",
    "minhash_fast_similarity",
    "minhash_one_permutation",
    "minhash_permutations",
    "throw_tokens",
]

#: Values of signatures that are densified in one launch; each has room for the number of a bin.
_DENSIFIED = 1 << 27


def _check_sets(tokens: Any, offsets: Any, out: Any) -> tuple[int, int]:
    """Return the numbers of sets and of values."""
    check_array("tokens", tokens, np.int32, np.uint64, shape=(None,))
    check_array("offsets", offsets, np.int64, shape=(None,))
    check_array("out", out, np.uint32, shape=(offsets.size - 1, None))
    return offsets.size - 1, out.shape[1]


def minhash_permutations(tokens: Any, offsets: Any, key: Any, a: Any, b: Any, out: Any) -> None:
    n, m = _check_sets(tokens, offsets, out)
    name = f"minhash_permutations_{tokens.dtype.name}"
    drawn = (np.uint64(key), constant(a), constant(b))
    launch("minhash", name, 32 * n, tokens, offsets, n, *drawn, m, out)


def minhash_one_permutation(
    tokens: Any, offsets: Any, key: Any, multiplier: Any, walk_key: Any, rank_key: Any, out: Any
) -> None:
    n, m = _check_sets(tokens, offsets, out)
    native = cupy.empty_like(out)
    name = f"throw_sets_{tokens.dtype.name}"
    launch("minhash", name, 32 * n, tokens, offsets, n, np.uint64(key), np.uint64(multiplier), m, native)
    densify_signatures(native, walk_key, rank_key, 0, n, out)


def minhash_fast_similarity(
    tokens: Any, offsets: Any, key: Any, multipliers: Any, a: Any, b: Any, out: Any
) -> None:
    n, m = _check_sets(tokens, offsets, out)
    name = f"minhash_fast_similarity_{tokens.dtype.name}"
    drawn = (np.uint64(key), constant(multipliers), multipliers.size, constant(a), constant(b))
    launch("minhash", name, 32 * n, tokens, offsets, n, *drawn, m, out)


def concatenate_codes(signatures: Any, keys: Any, n_buckets: Any, out: Any) -> None:
    check_array("signatures", signatures, np.uint32, shape=(None, None))
    check_array("out", out, np.uint32, shape=(signatures.shape[0], keys.size))
    n, n_hashes, power = signatures.shape[0], keys.size, signatures.shape[1] // keys.size
    how = (signatures, constant(keys), np.uint64(n_buckets), n, n_hashes, power, out)
    launch("minhash", "concatenate_codes", n * n_hashes, *how)


def count_equal(A: Any, B: Any, start: int, stop: int, out: Any) -> None:
    check_array("A", A, np.uint32, shape=(None, None))
    check_array("B", B, np.uint32, shape=A.shape)
    check_array("out", out, np.uint32, shape=(A.shape[0],))
    launch("minhash", "count_equal", 32 * (stop - start), A, B, A.shape[1], start, stop, out)


def throw_tokens(
    tokens: Any,
    sets: Any,
    key: Any,
    multiplier: Any,
    first_set: int,
    last_set: int,
    start: int,
    stop: int,
    minima: Any,
) -> None:
    check_array("tokens", tokens, np.uint64, shape=(None,))
    check_array("sets", sets, np.int64, shape=(None,))
    check_array("minima", minima, np.uint32, shape=(last_set - first_set, None))
    how = (np.uint64(key), np.uint64(multiplier), first_set, last_set, start, stop, minima.shape[1], minima)
    launch("minhash", "throw_tokens", stop - start, tokens, sets, np.bool_(sets.size == 0), *how)


def densify_signatures(minima: Any, walk_key: Any, rank_key: Any, start: int, stop: int, out: Any) -> None:
    check_array("minima", minima, np.uint32, shape=(None, None))
    check_array("out", out, np.uint32, shape=minima.shape)
    m = minima.shape[1]
    rows = max(1, _DENSIFIED // max(1, m))
    full = cupy.empty((min(rows, max(0, stop - start)), m), np.uint32)
    keys = (np.uint64(walk_key), np.uint64(rank_key), 1 + int(math.sqrt(m)))
    for first in range(start, stop, rows):
        last = min(stop, first + rows)
        launch("minhash", "densify_signatures", 32 * (last - first), minima, *keys, first, last, m, full, out)


def compare_bins(
    minima: Any, left: Any, right: Any, start: int, stop: int, full: Any, equal: Any, total: Any
) -> None:
    check_array("minima", minima, np.uint32, shape=(None, None))
    check_array("left", left, np.int64, shape=(None,))
    n = left.size
    for name, array, dtype in (
        ("right", right, np.int64),
        ("full", full, np.int64),
        ("equal", equal, np.int64),
        ("total", total, np.float64),
    ):
        check_array(name, array, dtype, shape=(n,))
    how = (minima, left, right, minima.shape[1], start, stop, full, equal, total)
    launch("minhash", "compare_bins", 32 * (stop - start), *how)
