"""Counters that codes of a hash family point to, and the addition of rows to them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.rows import Rows
from ...lsh.support.backend import Backend, backend_of, read_only
from ...lsh.support.threads import cut_range, get_num_threads, map_blocks
from ..core.guard import check_interrupt
from ..core.hashed_rows import hash_block, row_blocks
from ..kernels import code_counters

__all__ = ["CODES_BLOCK", "GROUP_CODES", "add_rows", "count_apart", "scatter"]

#: Codes that are worth a thread of their own.
CODES_BLOCK = 1 << 16
#: Codes that a thread hashes and looks up before the next, so that they stay in its cache.
GROUP_CODES = 1 << 18
#: Counters of which every thread may have a table of its own: 1 MiB.
_APART_COUNTERS = 1 << 17


def add_rows(family: HashFamily, rows: Rows, weights: NDArray[Any], counters: NDArray[Any]) -> None:
    """Hash rows and add their weights to counters of shape (R, W) or (R, W, outputs): all or nothing.

    `weights` are empty for 1 each.
    """
    # Hashed block by block, so that a block may fail after rows were added. Then the rows are taken out again
    # from integer counters; real counters, where that would not be exact, are copied before.
    device, before, done = rows.backend.device, None, 0
    try:
        for start, stop in row_blocks(rows.n, family.n_hashes, device):
            codes = hash_block(family, family.hash, rows, start, stop)
            check_interrupt()
            if start == 0 and stop < rows.n and counters.dtype.kind == "f":
                before = counters.copy()
            scatter(counters, codes, weights[start:stop])
            done = stop
    except BaseException:
        if before is not None:
            counters[...] = before
        elif done:
            for start, stop in row_blocks(done, family.n_hashes, device):
                codes = hash_block(family, family.hash, rows, start, stop)
                xp = backend_of(codes).xp
                taken = weights[start:stop] if weights.size else xp.ones(stop - start, np.int64)
                scatter(counters, codes, -taken)
        raise


def count_apart(
    family: HashFamily, rows: Rows, weights: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.int64] | None:
    """Return what rows add to integer counters of that shape; None where adding block by block is faster.

    Threads hash and count rows of their own, each into a table of its own, so that codes go from cache to
    cache of one core. Sums of integers are the same in any order.
    """
    n_threads, block = get_num_threads(), max(1, GROUP_CODES // shape[0])
    is_small = rows.n < n_threads * block or math.prod(shape) > _APART_COUNTERS
    if n_threads == 1 or is_small or rows.backend.device == "gpu":
        return None
    kernel = _scatter_kernel(backend_of(weights), len(shape))

    def count(start: int, stop: int) -> NDArray[np.int64]:
        own = np.zeros(shape, np.int64)
        for left, right in cut_range(start, stop, block):
            codes = hash_block(family, family.hash, rows, left, right)
            kernel(codes, read_only(weights[left:right]), 0, shape[0], own)
        return own

    # One row first: it draws the family's random parameters, which every thread would draw otherwise.
    hash_block(family, family.hash, rows, 0, min(rows.n, 1))
    total = np.zeros(shape, np.int64)
    for part in map_blocks(count, rows.n, block):
        total += part
    return total


def _scatter_kernel(backend: Backend, n_dimensions: int) -> Any:
    kernels = backend.kernels(code_counters)
    return kernels.scatter_add if n_dimensions == 2 else kernels.scatter_add_outputs


def scatter(counts: NDArray[Any], codes: NDArray[np.uint32], weights: NDArray[Any]) -> None:
    """Add the weights of hashed rows, empty for 1 each, to the counters that their codes point to."""
    backend = backend_of(codes)
    kernel, weights = _scatter_kernel(backend, counts.ndim), read_only(weights)
    # A thread owns whole repetitions, so that no two threads add to one counter. Ranges of repetitions are
    # large, since each of them reads its part of every row of codes.
    block = max(-(-codes.shape[1] // get_num_threads()), CODES_BLOCK // max(1, codes.shape[0]))
    backend.map_blocks(lambda a, b: kernel(codes, weights, a, b, counts), codes.shape[1], block)
