"""Counters that codes of a hash family point to: rows added to them, kernel sums read from them.

What `Race` is made of, and with it all sketches that count codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.rows import Rows
from ...lsh.support.backend import backend_of
from ...lsh.support.checks import check_int
from ...lsh.support.threads import get_num_threads, map_blocks
from ..core.guard import check_interrupt, uninterrupted
from ..core.hashed_rows import hash_block, row_blocks
from ..kernels import code_counters

__all__ = [
    "add_rows",
    "counter_range",
    "kernel_densities",
    "kernel_sums",
    "mean_counts",
    "scatter",
    "standard_errors",
    "without_chance",
]

#: Codes that are worth a thread of their own.
_CODES_BLOCK = 1 << 16
#: What no repetition of R showed has a probability of at most 3 / R, with 95 % confidence: the rule of three,
#: in standard errors, of which 1.96 make a 95 % interval.
_UNSEEN = -math.log(0.05) / 1.96
#: Codes that a thread hashes and counts before the next, and counters that it may have to itself: 1 MiB.
_APART_CODES, _APART_COUNTERS = 1 << 18, 1 << 17


def add_rows(
    family: HashFamily,
    rows: Rows,
    weights: NDArray[Any],
    reserve: Callable[[], None],
    counters: Callable[[], NDArray[Any]],
    finish: Callable[[], None],
) -> None:
    """Hash rows and add their weights to counters of shape (R, W) or (R, W, outputs): all or nothing.

    `weights` are empty for 1 each. `reserve` is called once the first rows are known to be good, and may
    replace the array that `counters` returns; `finish`, which must not fail, once all rows are added.
    """
    n, device, shape = rows.n, rows.backend.device, counters().shape
    if device == "cpu" and counters().dtype.kind == "i" and _is_worth_apart(n, shape):
        added = _count_apart(family, rows, weights, shape)
        with uninterrupted():
            reserve()
            counters()[...] += added.astype(counters().dtype)
            finish()
        return
    # Hashed block by block, so a row that the family refuses may come after rows that were added. The
    # first block is refused before anything is reserved; later ones are undone: integers by taking the
    # rows out again, which adding to real counters would not undo exactly.
    before: NDArray[Any] | None = None
    done = 0
    with uninterrupted():
        try:
            for start, stop in row_blocks(n, family.n_hashes, device):
                codes = hash_block(family, family.hash, rows, start, stop)
                check_interrupt()
                if start == 0:
                    reserve()
                    if stop < n and counters().dtype.kind == "f":
                        before = counters().copy()
                scatter(counters(), codes, weights[start:stop])
                done = stop
        except BaseException:
            if before is not None:
                counters()[...] = before
            elif done:
                for start, stop in row_blocks(done, family.n_hashes, device):
                    codes = hash_block(family, family.hash, rows, start, stop)
                    xp = backend_of(codes).xp
                    taken = weights[start:stop] if weights.size else xp.ones(stop - start, np.int64)
                    scatter(counters(), codes, -taken)
            raise
        finish()


def _is_worth_apart(n: int, shape: tuple[int, ...]) -> bool:
    """Whether threads had better count rows of their own, each into a table of its own."""
    least = get_num_threads() * max(1, _APART_CODES // shape[0])
    return get_num_threads() > 1 and n >= least and math.prod(shape) <= _APART_COUNTERS


def _count_apart(
    family: HashFamily, rows: Rows, weights: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return what rows add to integer counters of that shape; a thread hashes and counts some of the rows.

    Sums of integers are the same in any order, and codes go from cache to cache of one core.
    """
    backend = backend_of(weights)
    kernel = (
        backend.kernels(code_counters).scatter_add
        if len(shape) == 2
        else backend.kernels(code_counters).scatter_add_outputs
    )
    block = max(1, _APART_CODES // shape[0])

    def count(start: int, stop: int) -> NDArray[np.int64]:
        own = np.zeros(shape, np.int64)
        for left in range(start, stop, block):
            right = min(left + block, stop)
            codes = hash_block(family, family.hash, rows, left, right)
            kernel(codes, weights[left:right], 0, shape[0], own)
        return own

    # One row first: it draws the family's random parameters, which every thread would otherwise.
    hash_block(family, family.hash, rows, 0, min(rows.n, 1))
    total = np.zeros(shape, np.int64)
    for part in map_blocks(count, rows.n, block):
        total += part
    return total


def scatter(counts: NDArray[Any], codes: NDArray[np.uint32], weights: NDArray[Any]) -> None:
    backend = backend_of(codes)
    kernel = (
        backend.kernels(code_counters).scatter_add
        if counts.ndim == 2
        else backend.kernels(code_counters).scatter_add_outputs
    )
    # A thread owns whole repetitions, so that no two add into one counter; as many as there are for
    # it, since each range of repetitions reads its part of every row of codes.
    block = max(-(-codes.shape[1] // get_num_threads()), _CODES_BLOCK // max(1, codes.shape[0]))
    backend.map_blocks(lambda a, b: kernel(codes, weights, a, b, counts), codes.shape[1], block)


def kernel_sums(
    family: HashFamily, counts: NDArray[Any], total: Any, Q: Any, groups: int | None, return_std: bool
) -> Any:
    """What `Race.query` returns, from counters of shape (R, W) or (R, W, outputs)."""
    repetitions = family.n_hashes
    if groups is not None:
        groups = check_int("groups", groups, 1, repetitions)
    rows = family.read_rows(Q, "Q")
    n, device = rows.n, rows.backend.device
    single = counts.ndim == 2
    counts = counts.reshape(*counts.shape[:2], -1)
    xp = backend_of(counts).xp
    sums, std = xp.empty((n, counts.shape[2])), xp.empty((n, counts.shape[2]))
    block = max(1, _APART_CODES // repetitions)

    def ask(start: int, stop: int) -> None:
        for left in range(start, stop, block):
            right = min(left + block, stop)
            codes = hash_block(family, family.hash_query, rows, left, right)
            _estimate(counts, codes, groups, sums[left:right], std[left:right])

    if device == "cpu" and n * repetitions >= 2 * _CODES_BLOCK:
        # A thread hashes and looks up its own rows, so that codes go from cache to cache of one core. One row
        # first: it draws the family's random parameters, which every thread would otherwise.
        ask(0, 1)
        map_blocks(lambda start, stop: ask(start + 1, stop + 1), n - 1, max(1, _CODES_BLOCK // repetitions))
    else:
        for start, stop in row_blocks(n, repetitions, device):
            codes = hash_block(family, family.hash_query, rows, start, stop)
            _estimate(counts, codes, groups, sums[start:stop], std[start:stop])
    if return_std:
        least, most = counter_range(counts)
        std = standard_errors(family, std, xp.maximum(most - sums, sums - least))
        std /= 1.0 - family.chance_collision
    sums = without_chance(family, sums, total)
    if single:
        sums, std = sums[:, 0], std[:, 0]
    return (sums, std) if return_std else sums


def without_chance(family: HashFamily, means: NDArray[np.float64], total: Any) -> NDArray[np.float64]:
    """Kernel sums from mean counters of rows of that total weight: less what lies there by chance."""
    chance = family.chance_collision
    sums: NDArray[np.float64] = (means - total * chance) / (1.0 - chance)
    return sums


def counter_range(counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the largest counter of a repetition, on average, of counters (R, W, outputs)."""
    least, most = counts.min(axis=1), counts.max(axis=1)
    return least.mean(axis=0, dtype=np.float64), most.mean(axis=0, dtype=np.float64)


def standard_errors(family: HashFamily, spread: NDArray[np.float64], reach: NDArray[Any]) -> Any:
    """Standard errors of means over repetitions, from those that their spread tells.

    A spread knows nothing of what no repetition showed: buckets that a query would have shared with other
    rows had one more repetition been drawn. Their probability is at most 3 / R, and the mean would have been
    off by as much of `reach`, the most that a counter can differ from the mean. Where repetitions depend on
    each other, there are fewer of them by the family's design effect.
    """
    effect = family.design_effect
    xp = backend_of(spread).xp
    return xp.hypot(math.sqrt(effect) * spread, _UNSEEN * effect / family.n_hashes * reach)


def _estimate(
    counts: NDArray[Any],
    codes: NDArray[np.uint32],
    groups: int | None,
    sums: NDArray[np.float64],
    std: NDArray[np.float64],
) -> None:
    """Mean, or median of means, of the counters of each row of codes, and its standard error."""
    backend, repetitions = backend_of(codes), codes.shape[1]
    block = max(1, _CODES_BLOCK // repetitions)
    backend.map_blocks(
        lambda a, b: backend.kernels(code_counters).gather_mean(counts, codes, a, b, sums, std),
        len(codes),
        block,
    )
    std /= math.sqrt(repetitions)
    if groups is None:
        return
    edges = np.append(np.arange(groups) * repetitions // groups, repetitions)
    means = backend.xp.empty((len(codes), groups, counts.shape[2]))
    backend.map_blocks(
        lambda a, b: backend.kernels(code_counters).gather_groups(counts, codes, edges, a, b, means),
        len(codes),
        block,
    )
    medians = backend.xp.median(means, axis=1)
    if groups == 1:
        std[...] = np.nan
    else:
        # From all repetitions, for few groups know their own spread badly. The median of skewed numbers is
        # biased, by what it differs from their mean.
        std[...] = backend.xp.hypot(math.sqrt(math.pi / 2.0) * std, sums - medians)
    sums[...] = medians


def mean_counts(counts: NDArray[Any], codes: NDArray[np.uint32]) -> NDArray[np.float64]:
    """The mean over repetitions of the counters that each row of codes points to."""
    xp = backend_of(codes).xp
    sums, std = xp.empty((len(codes), 1)), xp.empty((len(codes), 1))
    _estimate(counts[..., None], codes, None, sums, std)
    return sums[:, 0]


def kernel_densities(sums: Any, total: Any) -> Any:
    """What `Race.query` returned over the total weight, which must be above 0."""
    if np.any(total <= 0):
        raise ValueError(f"density needs a sketch of total weight above 0, got {total}")
    return tuple(part / total for part in sums) if isinstance(sums, tuple) else sums / total
