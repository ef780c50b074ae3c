"""Ribbons: systems of linear equations whose solution gives every key its bits, and their layout in arrays.

A *shard* is a range of key hashes that is solved independently. A *ribbon* stores one thing for the keys of
every shard: a filter, the first bits of the codes, their other bits, or raw values. `sketches.kernels.ribbon`
describes the systems.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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

__all__ = [
    "SIZES",
    "Ribbon",
    "Shard",
    "Solved",
    "joined",
    "lay_out",
    "padding",
    "solve",
    "stored_arrays",
]

#: Equations for each slot of the first two parts. With more, slots are fuller, and more keys are bumped.
_LOAD = 1.08
#: Fewer equations than this are all solved in the last part.
_FEWEST = 8 * BUCKET
#: Numbers that give the size of a ribbon in a shard: buckets, buckets of bumped keys, slots of the last part.
SIZES = 3


class Ribbon(NamedTuple):
    """The shape of a ribbon: `width` bits a key, or one column for words of up to `max_length` bits."""

    width: int
    max_length: int = 1


class Shard(NamedTuple):
    """Keys of a shard in the order of their places, and their windows in two halves."""

    keys: NDArray[np.uint64]
    places: NDArray[np.uint64]
    lows: NDArray[np.uint64]
    highs: NDArray[np.uint64]

    @classmethod
    def of(cls, keys: NDArray[np.uint64], places: NDArray[np.uint64]) -> Shard:
        lows, highs = np.empty_like(keys), np.empty_like(keys)
        ribbon_windows(keys, lows, highs)
        return cls(keys, places, lows, highs)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Shard:
        return Shard(*(array[rows] for array in self))

    def bumped(self, rows: NDArray[np.int64]) -> tuple[Shard, NDArray[np.int64]]:
        """Return the bumped keys in the order of their next places, and their rows in that order."""
        part = self.take(rows)
        next_places(part.places)
        order = np.argsort(part.places, kind="stable")
        return part.take(order), rows[order]


class Solved(NamedTuple):
    """One ribbon of one shard, or several in their order.

    Attributes
    ----------
    sizes : ndarray of uint32
        `SIZES` numbers a ribbon.
    thresholds : ndarray of uint8
        One for every bucket.
    words : ndarray of uint64
    """

    sizes: NDArray[np.uint32]
    thresholds: NDArray[np.uint8]
    words: NDArray[np.uint64]


def _blocks(n_slots: int, max_length: int) -> int:
    """Return the number of blocks of 64 slots in a part in which words start in [0, n_slots)."""
    return -(-(n_slots + WINDOW - 1 + max_length - 1) // 64) if n_slots else 0


class _Rows(NamedTuple):
    """The equations of a part after elimination: coefficients in two halves, and right-hand sides."""

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
    """Return the ribbon from which every key of a shard reads its word.

    Parameters
    ----------
    shard : Shard
        Distinct keys in the order of their places.
    words : ndarray of shape (n,), uint64
        Without lengths: the `width` bits of each key, the first column lowest. With lengths: code words,
        right-aligned, the first bit highest.
    lengths : ndarray of shape (n,), uint8, optional
        The number of bits of each code word, from 1 to max_length. Leave out words without bits.
    width, max_length : int
        The shape of the ribbon.
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
        shard, rows_left = shard.bumped(bumped[:n_bumped])
        words, lengths = words[rows_left], lengths[rows_left]
    n_slots, last = _solve_rest(shard, words, lengths, mask, width, max_length)
    return Solved(
        np.array([*sizes, n_slots], dtype=np.uint32),
        np.concatenate(thresholds),
        np.concatenate([*solutions, last]),
    )


def _solve_rest(
    shard: Shard,
    words: NDArray[np.uint64],
    lengths: NDArray[np.uint8],
    mask: np.uint64,
    width: int,
    max_length: int,
) -> tuple[int, NDArray[np.uint64]]:
    """Return the slots and the words of the last part; slots are added until the system has a solution."""
    n_slots = equations = int(lengths.sum(dtype=np.int64))
    if not equations:
        return 0, np.empty(0, dtype=np.uint64)
    for _ in range(64):
        rows = _Rows.empty(_blocks(n_slots, max_length))
        if insert_all(shard.places, shard.lows, shard.highs, words, lengths, mask, n_slots, *rows):
            return n_slots, rows.solve(width)
        n_slots += n_slots // 16 + 16
    raise AssertionError("distinct keys whose windows stay dependent in 64 ribbons of growing size")


def joined(ribbons: list[Solved]) -> Solved:
    """Return the arrays of several ribbons, concatenated."""
    none = Solved(np.empty(0, np.uint32), np.empty(0, np.uint8), np.empty(0, np.uint64))
    return Solved(*(np.concatenate(arrays) for arrays in zip(none, *ribbons, strict=True)))


def stored_arrays(solved: list[Solved], n_shards: int, ribbons: list[Ribbon]) -> dict[str, NDArray[Any]]:
    """Return the arrays that a structure stores.

    Parameters
    ----------
    solved : list of Solved
        All ribbons of the first shard, then those of the second, and so on.
    n_shards : int
    ribbons : list of Ribbon
        The shapes of the ribbons of each shard.
    """
    end = Solved(np.empty(0, np.uint32), np.empty(0, np.uint8), np.zeros(padding(ribbons), np.uint64))
    sizes, thresholds, solution = joined([*solved, end])
    sizes = sizes.reshape(n_shards, len(ribbons), SIZES).transpose(1, 0, 2)
    return {
        "sizes": np.ascontiguousarray(sizes),
        "thresholds": _pack_thresholds(thresholds),
        "solution": solution,
    }


def _pack_thresholds(thresholds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return four thresholds a byte, the first lowest, and one more byte for ribbons without buckets."""
    padded = np.zeros((thresholds.size // 4 + 1) * 4, dtype=np.uint8)
    padded[: thresholds.size] = thresholds
    quads = padded.reshape(-1, 4)
    weights = np.array([1, 4, 16, 64], dtype=np.uint8)
    return (quads * weights).sum(axis=1, dtype=np.uint8)


def padding(ribbons: list[Ribbon]) -> int:
    """Return the number of words after the last part: kernels read, and ignore, words next to a window."""
    return COLUMNS + 4 + 3 * max((ribbon.width for ribbon in ribbons), default=0)


def lay_out(sizes: NDArray[np.uint32], ribbons: list[Ribbon]) -> tuple[NDArray[np.uint32], int, int]:
    """Return the place of every part of every ribbon.

    Parameters
    ----------
    sizes : ndarray of shape (n_ribbons, n_shards, 3), uint32
    ribbons : list of Ribbon

    Returns
    -------
    plan : ndarray of shape (n_ribbons, n_shards, 7), uint32
        The first word and the number of buckets of the first part; the same of the second part; the first
        word and the number of slots of the third part; the first bucket of the first part. The ribbons of a
        shard are consecutive.
    n_words, n_buckets : int
        All words without the padding, and all buckets.

    Raises
    ------
    ValueError
        If the sizes ask for 2**32 words, or a part for 2**32 slots, or more.
    """
    n_ribbons, n_shards, _ = sizes.shape
    plan = np.zeros((n_shards, n_ribbons, 7), dtype=np.uint64)
    wide = sizes.astype(np.uint64).transpose(1, 0, 2)
    slots = wide * np.array([BUCKET, BUCKET, 1], dtype=np.uint64)
    widths, lengths = np.array(ribbons, dtype=np.uint64).reshape(-1, 2, 1).transpose(1, 0, 2)
    reach = lengths + np.uint64(WINDOW - 1 - 1 + 63)
    blocks = np.where(slots > 0, (slots + reach) // np.uint64(64), np.uint64(0))
    words = (blocks * widths).reshape(-1)
    # The sum is taken in floating point: the sizes of a damaged file could wrap around.
    if words.sum(dtype=np.float64) >= 1 << 32 or slots.max(initial=0) >= 1 << 32:
        raise ValueError(f"expected less than 2**32 words, got {words.sum(dtype=np.float64):.0f}")
    buckets = (wide[..., 0] + wide[..., 1]).reshape(-1)
    plan[..., 0:6:2] = (np.cumsum(words) - words).reshape(n_shards, n_ribbons, 3)
    plan[..., 1:6:2] = wide
    plan[..., 6] = (np.cumsum(buckets) - buckets).reshape(n_shards, n_ribbons)
    ordered = np.ascontiguousarray(plan.transpose(1, 0, 2)).astype(np.uint32)
    return ordered, int(words.sum()), int(buckets.sum())
