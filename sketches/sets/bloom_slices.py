"""The slices of a Bloom filter that grows: their sizes and error rates, and how they merge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from ...lsh.hashing.keys import HASH_COLLISION
from ..kernels.bloom import BLOCK_WORDS
from .bloom_capacity import MOST_KEYS
from .bloom_theory import MAX_BLOCKS, MAX_HASHES, size_for

__all__ = [
    "TIGHTENING",
    "Slice",
    "check_slices",
    "slice_capacity",
    "slice_rate",
    "slice_size",
    "united",
]

#: A slice is made for so many times the keys of the one before it, and has so many times its error rate.
_GROWTH, TIGHTENING = 2, 0.8
#: The least error rate of a slice: the rates of blocks are not exact below it.
_LEAST_RATE = 1e-15


class Slice(NamedTuple):
    """Part of a filter: blocks of bits for a fixed number of keys, of which it has `n_keys`."""

    level: int
    n_blocks: int
    n_hashes: int
    n_keys: int
    blocks: NDArray[np.uint64]


def slice_capacity(initial_capacity: int, level: int) -> int:
    """Return the number of keys that a slice is made for."""
    capacity = initial_capacity * _GROWTH**level
    if capacity > MOST_KEYS:
        raise OverflowError(f"a ScalableBloomFilter cannot have more than {MOST_KEYS:,} keys")
    return capacity


def slice_rate(initial_capacity: int, error_rate: float, level: int) -> float:
    """Return the error rate of a slice: the rates of all levels sum to `error_rate`.

    No rate is below what 64-bit hashes have.
    """
    least = max(4 * slice_capacity(initial_capacity, level) * HASH_COLLISION, _LEAST_RATE)
    return max(error_rate * (1.0 - TIGHTENING) * TIGHTENING**level, least)


@lru_cache(maxsize=256)
def slice_size(initial_capacity: int, error_rate: float, level: int) -> tuple[int, int]:
    """Return the number of blocks of a slice, and of the bits of a key."""
    rate = slice_rate(initial_capacity, error_rate, level)
    return size_for(slice_capacity(initial_capacity, level), rate)


def united(slices: Iterable[Slice], initial_capacity: int) -> list[Slice]:
    """Return the slices of a merged filter.

    Of the slices of one level, those become one that have room for each other's keys, fewest keys first.
    Equal slices are kept once. The result does not depend on the order of the slices. Slices of a level are
    in the order of falling numbers of keys.
    """

    def size(part: Slice) -> tuple[int, int, int]:
        return part.level, part.n_blocks, part.n_hashes

    found: list[Slice] = []
    for (level, *_), group in groupby(sorted(slices, key=size), key=size):
        room, rest = slice_capacity(initial_capacity, level), _ordered(group)
        merged = rest[:1]
        for part in rest[1:]:
            last = merged[-1]
            if last.n_keys + part.n_keys <= room:
                blocks = last.blocks | part.blocks
                merged[-1] = last._replace(n_keys=last.n_keys + part.n_keys, blocks=blocks)
            else:
                merged.append(part)
        found += reversed(_ordered(merged))
    return found


def _ordered(slices: Iterable[Slice]) -> list[Slice]:
    """Return different slices of one size by rising numbers of keys, and then by their bits."""
    parts = list(slices)
    if len(parts) < 2:
        return parts
    by_bits = {(part.n_keys, xxh3_128_digest(part.blocks.data)): part for part in parts}
    return [by_bits[key] for key in sorted(by_bits)]


def views_of(slices: NDArray[np.int64], blocks: NDArray[np.uint64]) -> list[Slice]:
    """Return slices with views of their blocks."""
    stops = np.cumsum(slices[:, 1]).tolist()
    return [
        Slice(level, n_blocks, n_hashes, n_keys, blocks[stop - n_blocks : stop])
        for (level, n_blocks, n_hashes, n_keys), stop in zip(slices.tolist(), stops, strict=True)
    ]


def arrays_of(slices: list[Slice]) -> dict[str, NDArray[Any]]:
    """Return the blocks and slices of a filter, which share no memory with `slices`."""
    return {
        "blocks": np.concatenate([np.empty((0, BLOCK_WORDS), np.uint64), *(part.blocks for part in slices)]),
        "slices": np.array([part[:4] for part in slices], dtype=np.int64).reshape(-1, 4),
    }


def open_slices_of(
    slices: NDArray[np.int64], initial_capacity: int, every: bool = False
) -> list[tuple[int, int]]:
    """Return the slices that take new keys, in order, and their room: those of the highest level with keys.

    With `every`, those of higher levels come after them.
    """
    levels, n_keys = slices[:, 0], slices[:, 3]
    known = levels[n_keys > 0]
    top = int(known.max()) if known.size else -1
    return [
        (i, room)
        for i, level in enumerate(levels.tolist())
        if (level >= top if every else level == top)
        and (room := slice_capacity(initial_capacity, level) - int(n_keys[i])) > 0
    ]


def check_slices(arrays: Mapping[str, NDArray[Any]], initial_capacity: int, error_rate: float) -> None:
    """Raise ValueError unless arrays of a file can be slices.

    A slice has at least half of the blocks that this version gives it, so that the next one, which a file may
    ask for, is not much larger than the file.
    """
    blocks, slices = arrays["blocks"], arrays["slices"]
    if slices.shape[1] != 4 or blocks.shape[1] != BLOCK_WORDS:
        raise ValueError(
            f"expected slices of 4 and blocks of 8 numbers, got {slices.shape[1]} and {blocks.shape[1]}"
        )
    before = -1, 0
    n_blocks = 0
    for level, size, n_hashes, n_keys in slices.tolist():
        if not 0 <= level <= MOST_KEYS.bit_length() or initial_capacity * _GROWTH**level > MOST_KEYS:
            raise ValueError(f"slices must have levels from 0, got {level}")
        least = slice_size(initial_capacity, error_rate, level)[0] // 2
        if not (max(1, least) <= size <= MAX_BLOCKS and 1 <= n_hashes <= MAX_HASHES):
            raise ValueError(f"no slice of level {level} has {size} blocks and {n_hashes} hashes")
        if not 0 <= n_keys <= slice_capacity(initial_capacity, level):
            raise ValueError(f"no slice of level {level} has {n_keys} keys")
        if (level, -n_keys) < before:
            raise ValueError("slices must be ordered by their levels, and by falling numbers of keys")
        before, n_blocks = (level, -n_keys), n_blocks + size
    if n_blocks != len(blocks):
        raise ValueError(f"slices must have {len(blocks)} blocks, got {n_blocks}")
    if not 0 <= int(arrays["n_updates"][0]) < 1 << 62:
        raise ValueError(f"n_updates must be at least 0, got {arrays['n_updates'][0]}")
