"""Building static structures: keys in the order of their hashes, columns' codes, shards solved alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.progress import progress_bar
from ...lsh.support.threads import get_num_threads, run_tasks
from ..coding.value_counts import add_counts, count_words, keep_most
from ..kernels.key_order import count_shards, scatter_shards, sort_shard
from .column import Column
from .ribbon import Shard, Solved

__all__ = [
    "Clash",
    "Records",
    "make_columns",
    "number_of_shards",
    "order_records",
    "solve_shards",
    "solve_some",
]

#: Keys of a shard: what a thread works on at a time, some 20 MB.
_SHARD_KEYS = 1 << 17

Words = Callable[[int, int, int], NDArray[np.uint64]]


class Clash(Exception):
    """Two records with one hash and different values."""

    def __init__(self, hash_: int) -> None:
        super().__init__(hash_)
        self.hash = hash_


class Records(NamedTuple):
    """Distinct hashes, ascending, and what came with each."""

    hashes: NDArray[np.uint64]
    loads: NDArray[np.uint64]


def number_of_shards(n_keys: int) -> int:
    """A power of two: shards of 90,000 to 190,000 keys."""
    return 1 << max(0, round(float(np.log2(max(n_keys, 1) / _SHARD_KEYS))))


def order_records(
    hashes: NDArray[np.uint64],
    loads: NDArray[np.uint64],
    same: Callable[[NDArray[np.uint64], NDArray[np.uint64]], NDArray[np.bool_]],
) -> Records:
    """Records in the order of their hashes, equal ones once.

    Parameters
    ----------
    hashes, loads : ndarrays of shape (n,), uint64
    same : callable
        Whether the loads of records with one hash say the same.

    Raises
    ------
    Clash
        If two records have one hash and loads that are not the same.
    """
    n = hashes.size
    n_parts = max(1, 2 * number_of_shards(n))
    slices = get_num_threads() if n > _SHARD_KEYS else 1
    bounds = [n * i // slices for i in range(slices + 1)]
    counts = np.zeros((slices, n_parts), dtype=np.int64)
    run_tasks(lambda i: count_shards(hashes, bounds[i], bounds[i + 1], counts[i]), slices)
    before = np.cumsum(counts.T.reshape(-1)) - counts.T.reshape(-1)
    places = np.ascontiguousarray(before.reshape(n_parts, slices).T)
    starts = [*places[0].tolist(), n]
    keys, moved = np.empty_like(hashes), np.empty_like(loads)
    run_tasks(
        lambda i: scatter_shards(hashes, loads, bounds[i], bounds[i + 1], places[i], keys, moved), slices
    )

    def sort(part: int) -> NDArray[np.bool_] | None:
        some, load = keys[starts[part] : starts[part + 1]], moved[starts[part] : starts[part + 1]]
        bits = max(1, int(some.size).bit_length() - 1)
        starts_of = np.zeros((1 << bits) + 1, dtype=np.int64)
        sort_shard(n_parts, bits, some, load, starts_of, np.empty_like(some), np.empty_like(load))
        twice = some[1:] == some[:-1]
        if not twice.any():
            return None
        again = np.flatnonzero(twice)
        agree = same(load[again], load[again + 1])
        if not agree.all():
            raise Clash(int(some[again[~agree][0]]))
        return np.concatenate([[True], ~twice])

    first = run_tasks(sort, n_parts)
    if all(mask is None for mask in first):
        return Records(keys, moved)
    kept = np.concatenate(
        [np.ones(starts[p + 1] - starts[p], dtype=np.bool_) if m is None else m for p, m in enumerate(first)]
    )
    return Records(keys[kept], moved[kept])


def make_columns(words: Words, n: int, n_columns: int, shared: bool) -> list[Column]:
    """The code of every column; with `shared` one for all."""
    counted = [count_words(lambda a, b, j=j: words(j, a, b), n) for j in range(n_columns)]  # type: ignore[misc]
    if shared and n_columns:
        return [Column.build(keep_most(*add_counts(counted)), number_of_shards(n))] * n_columns
    return [Column.build(keep_most(*counts), number_of_shards(n)) for counts in counted]


def solve_shards(
    hashes: NDArray[np.uint64],
    n_shards: int,
    solve_shard: Callable[[Shard, int, int], list[Solved]],
    progress: bool,
) -> list[list[Solved]]:
    """``solve_shard(shard, start, stop)`` for every shard of ascending hashes, in their order."""
    with progress_bar("Solving", hashes.size, progress, " keys") as advance:
        return solve_some(hashes, n_shards, range(n_shards), solve_shard, advance)


def solve_some(
    hashes: NDArray[np.uint64],
    n_shards: int,
    shards: range,
    solve_shard: Callable[[Shard, int, int], list[Solved]],
    advance: Callable[[int], object],
) -> list[list[Solved]]:
    """The same for some shards, which all the hashes are in."""
    bits = n_shards.bit_length() - 1
    edges = np.array([shard << (64 - bits) for shard in shards[1:]], dtype=np.uint64)
    starts = [0, *np.searchsorted(hashes, edges).tolist(), hashes.size]

    def task(i: int) -> list[Solved]:
        start, stop = starts[i], starts[i + 1]
        keys = hashes[start:stop]
        solved = solve_shard(Shard.of(keys, keys << np.uint64(bits)), start, stop)
        advance(stop - start)
        return solved

    return run_tasks(task, len(shards))
