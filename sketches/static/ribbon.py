"""Ribbons: from keys and bits to the words that answer for them, shard by shard, and where they lie.

A *shard* is a range of key hashes, solved alone; a *ribbon* answers for one thing in every shard (a filter,
the first bits of the codes, the rest of the codes, raw values). See `lsh.ribbon_kernels` for the systems.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.ribbon import (
    BUCKET,
    COLUMNS,
    WINDOW,
    back_substitute,
    insert_all,
    insert_bumping,
    next_places,
    ribbon_windows,
)

__all__ = ["SIZES", "Shard", "Solved", "lay_out", "pack_thresholds", "padding", "solve"]

#: Equations a slot of the first two parts: the more, the fuller they get, and the more keys are bumped.
_LOAD = 1.08
#: Fewer equations than this go into the last part at once.
_FEWEST = 8 * BUCKET
#: Numbers that say how large a ribbon is in a shard: buckets, buckets of bumped keys, slots of the rest.
SIZES = 3


class Shard(NamedTuple):
    """Keys of a shard in the order of their places, with what all ribbons need of them."""

    keys: NDArray[np.uint64]
    places: NDArray[np.uint64]
    lows: NDArray[np.uint64]
    highs: NDArray[np.uint64]

    @classmethod
    def of(cls, keys: NDArray[np.uint64], places: NDArray[np.uint64]) -> Shard:
        lows, highs = np.empty_like(keys), np.empty_like(keys)
        ribbon_windows(keys, lows, highs)
        return cls(keys, places, lows, highs)

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Shard:
        return Shard(self.keys[which], self.places[which], self.lows[which], self.highs[which])

    def bumped(self, which: NDArray[np.int64]) -> tuple[Shard, NDArray[np.int64]]:
        """The bumped keys in the order of their next places, and that order."""
        part = self.take(which)
        next_places(part.places)
        order = np.argsort(part.places, kind="stable")
        return part.take(order), which[order]


class Solved(NamedTuple):
    """One ribbon of one shard: its sizes, a threshold for every bucket, and its words."""

    sizes: tuple[int, int, int]
    thresholds: NDArray[np.uint8]
    words: NDArray[np.uint64]


def _blocks(n_slots: int, max_length: int) -> int:
    """Blocks of 64 slots of a part whose starts lie in [0, n_slots)."""
    return -(-(n_slots + WINDOW - 1 + max_length - 1) // 64) if n_slots else 0


class _Rows(NamedTuple):
    lows: NDArray[np.uint64]
    highs: NDArray[np.uint64]
    sides: NDArray[np.uint64]

    @classmethod
    def empty(cls, n_blocks: int) -> _Rows:
        n = 64 * n_blocks
        return cls(np.zeros(n, np.uint64), np.empty(n, np.uint64), np.zeros(n, np.uint64))

    def solve(self, width: int) -> NDArray[np.uint64]:
        words = np.empty(self.lows.size // 64 * width, dtype=np.uint64)
        back_substitute(*self, width, words)
        return words


def solve(
    shard: Shard,
    words: NDArray[np.uint64],
    lengths: NDArray[np.uint8] | None = None,
    width: int = 1,
    max_length: int = 1,
) -> Solved:
    """The ribbon in which every key of `shard` reads its word.

    Parameters
    ----------
    shard : Shard
        Distinct keys in the order of their places.
    words : ndarray of shape (n,), uint64
        Without lengths: the `width` bits of each key, the first column lowest. With lengths: code words,
        right-aligned, the first bit highest.
    lengths : ndarray of shape (n,), uint8, optional
        Bits of each code word, 1 to max_length. Words of no bits must be left out.
    """
    mask = np.uint64(1)
    if lengths is None:
        lengths = np.ones(words.size, dtype=np.uint8)
        mask = np.uint64((1 << 64) - 1)
    sizes: list[int] = []
    thresholds: list[NDArray[np.uint8]] = []
    solutions: list[NDArray[np.uint64]] = []
    for _ in range(2):
        equations = int(lengths.sum(dtype=np.int64))
        n_buckets = int(equations / (_LOAD * BUCKET)) if equations >= _FEWEST else 0
        rows = _Rows.empty(_blocks(n_buckets * BUCKET, max_length))
        chosen = np.empty(n_buckets, dtype=np.uint8)
        bumped = np.empty(words.size, dtype=np.int64)
        n_bumped = insert_bumping(
            shard.places, shard.lows, shard.highs, words, lengths, mask, n_buckets, *rows, chosen, bumped
        )
        sizes.append(n_buckets)
        thresholds.append(chosen)
        solutions.append(rows.solve(width))
        shard, which = shard.bumped(bumped[:n_bumped])
        words, lengths = words[which], lengths[which]
    n_slots, last = _solve_rest(shard, words, lengths, mask, width, max_length)
    return Solved(
        (sizes[0], sizes[1], n_slots), np.concatenate(thresholds), np.concatenate([*solutions, last])
    )


def _solve_rest(
    shard: Shard,
    words: NDArray[np.uint64],
    lengths: NDArray[np.uint8],
    mask: np.uint64,
    width: int,
    max_length: int,
) -> tuple[int, NDArray[np.uint64]]:
    """One part for all keys that are left: as many slots as it takes."""
    n_slots = equations = int(lengths.sum(dtype=np.int64))
    if not equations:
        return 0, np.empty(0, dtype=np.uint64)
    for _ in range(64):
        rows = _Rows.empty(_blocks(n_slots, max_length))
        if insert_all(shard.places, shard.lows, shard.highs, words, lengths, mask, n_slots, *rows):
            return n_slots, rows.solve(width)
        n_slots += n_slots // 16 + 16
    raise AssertionError("distinct keys whose windows stay dependent in 64 ribbons of growing size")


def pack_thresholds(thresholds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Four thresholds a byte, the first lowest; one byte more, for a ribbon without buckets reads one too."""
    padded = np.zeros((thresholds.size // 4 + 1) * 4, dtype=np.uint8)
    padded[: thresholds.size] = thresholds
    quads = padded.reshape(-1, 4)
    weights = np.array([1, 4, 16, 64], dtype=np.uint8)
    packed: NDArray[np.uint8] = (quads * weights).sum(axis=1, dtype=np.uint8)
    return packed


def padding(ribbons: list[tuple[int, int]]) -> int:
    """Words after the last part: what is read beside a window must exist, whatever it holds."""
    return COLUMNS + 4 + 3 * max((width for width, _ in ribbons), default=0)


def lay_out(sizes: NDArray[np.uint32], ribbons: list[tuple[int, int]]) -> tuple[NDArray[np.uint32], int, int]:
    """Where every part of every ribbon lies.

    Parameters
    ----------
    sizes : ndarray of shape (n_ribbons, n_shards, 3), uint32
    ribbons : list of (width, longest word)

    Returns
    -------
    plan : ndarray of shape (n_ribbons, n_shards, 7), uint32
        Word where the first part starts, its buckets; the same of the second; the word where the third
        starts, its slots; the first part's first bucket. The ribbons of a shard follow each other.
    n_words, n_buckets : int
        `padding` aside.

    Raises
    ------
    ValueError
        If the sizes ask for 2**32 words, or a part for 2**32 slots, or more.
    """
    n_ribbons, n_shards, _ = sizes.shape
    plan = np.zeros((n_shards, n_ribbons, 7), dtype=np.uint64)
    wide = sizes.astype(np.uint64).transpose(1, 0, 2)
    slots = wide * np.array([BUCKET, BUCKET, 1], dtype=np.uint64)
    reach = np.array([WINDOW - 1 + longest - 1 + 63 for _, longest in ribbons], dtype=np.uint64)
    blocks = np.where(slots > 0, (slots + reach[:, None]) // np.uint64(64), np.uint64(0))
    words = (blocks * np.array([width for width, _ in ribbons], dtype=np.uint64)[:, None]).reshape(-1)
    # In floating point, for the sum of a stranger's sizes could wrap.
    if words.sum(dtype=np.float64) >= 1 << 32 or slots.max(initial=0) >= 1 << 32:
        raise ValueError(f"expected less than 2**32 words, got {words.sum(dtype=np.float64):.0f}")
    buckets = (wide[..., 0] + wide[..., 1]).reshape(-1)
    plan[..., 0:6:2] = (np.cumsum(words) - words).reshape(n_shards, n_ribbons, 3)
    plan[..., 1:6:2] = wide
    plan[..., 6] = (np.cumsum(buckets) - buckets).reshape(n_shards, n_ribbons)
    ordered = np.ascontiguousarray(plan.transpose(1, 0, 2)).astype(np.uint32)
    return ordered, int(words.sum()), int(buckets.sum())
