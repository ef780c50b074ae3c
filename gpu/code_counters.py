"""Launchers of ``code_counters.cu``, the twins of ``sketches/kernels/code_counters.py``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import SHARED, check_array, constant, launch

__all__ = [
    "code_keys",
    "find_keys",
    "gather_groups",
    "gather_mean",
    "gather_ratio",
    "scatter_add",
    "scatter_add_outputs",
]

#: Repetitions whose counters a block keeps in shared memory, rows for each counter that make this worth
#: while, and rows of a chunk.
_TILE, _ROWS_A_COUNTER, _CHUNK = 8, 16, 8192
_MOST_BLOCKS = 4096
_COUNTERS = (np.int32, np.int64, np.float32, np.float64)


def _check(counts: Any, codes: Any) -> None:
    check_array("counts", counts, *_COUNTERS)
    check_array("codes", codes, np.uint32, shape=(None, counts.shape[0]))


def scatter_add(codes: Any, weights: Any, start: int, stop: int, counts: Any) -> None:
    _scatter(codes, weights, start, stop, counts[..., None])


def scatter_add_outputs(codes: Any, weights: Any, start: int, stop: int, counts: Any) -> None:
    _scatter(codes, weights, start, stop, counts)


def _scatter(codes: Any, weights: Any, start: int, stop: int, counts: Any) -> None:
    _check(counts, codes)
    R, W, K = counts.shape
    n, real = codes.shape[0], counts.dtype.kind == "f"
    weighted = weights.size > 0
    if weighted:
        if real and weights.dtype.kind == "i":  # an update that failed is undone
            weights = weights.astype(np.float64)
        check_array("weights", weights, np.float64 if real else np.int64)
    else:
        weights = cupy.empty(0, np.float64 if real else np.int64)
    read = (codes, weights, n, R, W, K, int(weighted))
    rows = (start, stop, counts)
    group = W * K * counts.dtype.itemsize
    tile = min(_TILE, SHARED // group, stop - start)
    if not real and tile > 0 and n >= _ROWS_A_COUNTER * W:
        chunk = max(_CHUNK, _ROWS_A_COUNTER * W)
        jobs = -(-(stop - start) // tile) * -(-n // chunk)
        name = f"scatter_tiles_{counts.dtype.name}"
        blocks = min(jobs, _MOST_BLOCKS)
        launch("code_counters", name, n, *read, tile, chunk, *rows, blocks=blocks, shared=tile * group)
        return
    # A warp owns the real counters of a row of the table; any thread may add to integer ones.
    work = (stop - start) * (32 if real else n)
    launch("code_counters", f"scatter_add_{counts.dtype.name}", work if n else 0, *read, *rows)


def code_keys(codes: Any, key: Any, start: int, stop: int, out: Any) -> None:
    check_array("codes", codes, np.uint32, shape=(None, None))
    check_array("out", out, np.uint64, shape=(codes.shape[0],))
    launch(
        "code_counters", "code_keys", stop - start, codes, codes.shape[1], np.uint64(key), start, stop, out
    )


def gather_mean(counts: Any, codes: Any, start: int, stop: int, means: Any, stds: Any) -> None:
    _check(counts, codes)
    R, W, K = counts.shape
    for name, array in (("means", means), ("stds", stds)):
        check_array(name, array, np.float64, shape=(codes.shape[0], K))
    work = (stop - start) * K
    name = f"gather_mean_{counts.dtype.name}"
    launch("code_counters", name, work, counts, codes, R, W, K, start, stop, means, stds)


def gather_groups(counts: Any, codes: Any, edges: Any, start: int, stop: int, out: Any) -> None:
    _check(counts, codes)
    R, W, K = counts.shape
    groups = edges.size - 1
    check_array("out", out, np.float64, shape=(codes.shape[0], groups, K))
    edges = constant(edges)
    name, work = f"gather_groups_{counts.dtype.name}", (stop - start) * groups * K
    launch("code_counters", name, work, counts, codes, edges, R, W, K, groups, start, stop, out)


def gather_ratio(
    counts: Any,
    codes: Any,
    totals: Any,
    chance: float,
    start: int,
    stop: int,
    mass: Any,
    mass_std: Any,
    ratio: Any,
    ratio_std: Any,
) -> None:
    _check(counts, codes)
    R, W, outputs = counts.shape
    K, n = outputs - 1, codes.shape[0]
    check_array("counts", counts, np.float64)
    check_array("totals", totals, np.float64, shape=(outputs,))
    for name, array in (("mass", mass), ("mass_std", mass_std)):
        check_array(name, array, np.float64, shape=(n,))
    for name, array in (("ratio", ratio), ("ratio_std", ratio_std)):
        check_array(name, array, np.float64, shape=(n, K))
    means = cupy.empty((n, outputs))
    how = (float(chance), R, W, K, start, stop, means, mass, mass_std, ratio, ratio_std)
    launch("code_counters", "gather_ratio", stop - start, counts, codes, totals, *how)


def find_keys(keys: Any, rising: Any, start: int, stop: int, places: Any) -> None:
    check_array("keys", keys, np.uint64, shape=(None,))
    check_array("places", places, np.int64, shape=keys.shape)
    asked = keys[start:stop]
    if not rising.size:
        places[start:stop] = -1
        return
    at = cupy.minimum(cupy.searchsorted(rising, asked), rising.size - 1)
    places[start:stop] = cupy.where(rising[at] == asked, at, -1)
