"""Records of hashed keys: sorted by their hashes, and cut into shards that are solved independently."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.threads import get_num_threads, run_tasks
from ..kernels.key_order import count_shards, scatter_shards, sort_shard
from .ribbon import Shard, Solved

__all__ = ["Clash", "Records", "number_of_shards", "order_records", "solve_shards"]

#: Keys of a shard, which one thread solves in some 20 MB of memory.
_SHARD_KEYS = 1 << 17


class Clash(Exception):
    """An error: two records have one hash and different values."""

    def __init__(self, hash_: int) -> None:
        super().__init__(hash_)
        self.hash = hash_


class Records(NamedTuple):
    """The hashes of keys, and the words of their values: of shape (n,) or (n, columns)."""

    hashes: NDArray[np.uint64]
    values: NDArray[np.uint64]

    @classmethod
    def joined(cls, parts: list[Records]) -> Records:
        """Return the records of several parts in their order, with one word each."""
        none = np.empty(0, dtype=np.uint64)
        return cls(*(np.concatenate(arrays) for arrays in zip((none, none), *parts, strict=True)))

    def between(self, start: int, stop: int) -> Records:
        """Return the records with hashes in [start, stop), from ascending hashes; `stop` may be 2**64."""
        first = int(np.searchsorted(self.hashes, np.uint64(start)))
        last = self.hashes.size if stop >> 64 else int(np.searchsorted(self.hashes, np.uint64(stop)))
        return Records(self.hashes[first:last], self.values[first:last])


def number_of_shards(n_keys: int) -> int:
    """Return the power of two that gives shards of 90,000 to 190,000 keys, or 1 for fewer keys."""
    return 1 << max(0, round(float(np.log2(max(n_keys, 1) / _SHARD_KEYS))))


def order_records(hashes: NDArray[np.uint64], values: NDArray[np.uint64]) -> Records:
    """Sort records by their hashes, in ascending order, and keep one record of each hash.

    Parameters
    ----------
    hashes : ndarray of shape (n,), uint64
    values : ndarray of shape (n,) or (n, columns), uint64

    Raises
    ------
    Clash
        If two records have one hash and different values.
    """
    n = hashes.size
    n_parts = max(1, 2 * number_of_shards(n))
    slices = get_num_threads() if n > _SHARD_KEYS else 1
    bounds = [n * i // slices for i in range(slices + 1)]
    counts = np.zeros((slices, n_parts), dtype=np.int64)
    run_tasks(lambda i: count_shards(hashes, bounds[i], bounds[i + 1], counts[i]), slices)
    before = np.cumsum(counts.T.reshape(-1)) - counts.T.reshape(-1)
    places = np.ascontiguousarray(before.reshape(n_parts, slices).T)
    parts = [slice(*pair) for pair in pairwise([*places[0].tolist(), n])]
    # The kernels move one word a record: the value itself, or the number of a row of values.
    table = None if values.ndim == 1 else values
    words = values if table is None else np.arange(n, dtype=np.uint64)
    keys, moved = np.empty_like(hashes), np.empty_like(words)
    run_tasks(
        lambda i: scatter_shards(hashes, words, bounds[i], bounds[i + 1], places[i], keys, moved), slices
    )
    firsts = run_tasks(lambda i: _sort_part(keys[parts[i]], moved[parts[i]], n_parts, table), n_parts)
    if any(first is not None for first in firsts):
        kept = np.ones(n, dtype=np.bool_)
        for part, first in zip(parts, firsts, strict=True):
            if first is not None:
                kept[part] = first
        keys, moved = keys[kept], moved[kept]
    return Records(keys, moved if table is None else table[moved.view(np.int64)])


def _sort_part(
    keys: NDArray[np.uint64], words: NDArray[np.uint64], n_parts: int, table: NDArray[np.uint64] | None
) -> NDArray[np.bool_] | None:
    """Sort the records of a part in place; return the mask of those to keep, or None to keep all."""
    bits = max(1, int(keys.size).bit_length() - 1)
    starts = np.zeros((1 << bits) + 1, dtype=np.int64)
    sort_shard(n_parts, bits, keys, words, starts, np.empty_like(keys), np.empty_like(words))
    is_repeated = keys[1:] == keys[:-1]
    if not is_repeated.any():
        return None
    again = np.flatnonzero(is_repeated)
    one, other = words[again], words[again + 1]
    if table is None:
        agree = one == other
    else:
        agree = (table[one.view(np.int64)] == table[other.view(np.int64)]).all(axis=1)
    if not agree.all():
        raise Clash(int(keys[again[~agree][0]]))
    return np.concatenate([[True], ~is_repeated])


def solve_shards(
    records: Records,
    shards: range,
    n_shards: int,
    solve: Callable[[Shard, NDArray[np.uint64]], list[Solved]],
    advance: Callable[[int], object],
) -> list[Solved]:
    """Solve some shards on all threads.

    Parameters
    ----------
    records : Records
        All records of the shards, and no others.
    shards : range
    n_shards : int
        The number of all shards, a power of two.
    solve : callable
        Returns the ribbons of a shard from its keys and their values.
    advance : callable
        Takes the number of keys of each shard that has been solved.

    Returns
    -------
    list of Solved
        The ribbons of the first shard, then those of the second, and so on.
    """
    bits = n_shards.bit_length() - 1
    edges = np.array([shard << (64 - bits) for shard in shards[1:]], dtype=np.uint64)
    starts = [0, *np.searchsorted(records.hashes, edges).tolist(), records.hashes.size]

    def solve_one(i: int) -> list[Solved]:
        keys, values = (array[starts[i] : starts[i + 1]] for array in records)
        ribbons = solve(Shard.of(keys, keys << np.uint64(bits)), values)
        advance(keys.size)
        return ribbons

    return [ribbon for ribbons in run_tasks(solve_one, len(shards)) for ribbon in ribbons]
