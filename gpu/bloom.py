"""Launchers of ``bloom.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = ["bloom_add", "bloom_contains", "bloom_fills"]

_BLOCK_WORDS = 8


def _check(words: Any, keys: Any) -> None:
    check_array("words", words, np.uint64, shape=(None,))
    check_array("keys", keys, np.uint64, shape=(None,))


def bloom_add(words: Any, n_hashes: int, keys: Any, seed: Any, hashed: bool, low: Any, width: Any) -> None:
    """Set the bits of those keys whose hash is in [low, low + width]."""
    _check(words, keys)
    how = (np.uint64(seed), np.bool_(hashed), np.uint64(low), np.uint64(width))
    launch(
        "bloom", "bloom_add", keys.size, words, words.size // _BLOCK_WORDS, n_hashes, keys, keys.size, *how
    )


def bloom_contains(
    words: Any, n_hashes: int, keys: Any, seed: Any, hashed: bool, out: Any, start: int, stop: int
) -> None:
    """``out[i]`` = whether all bits of key i are set, for i in [start, stop)."""
    _check(words, keys)
    check_array("out", out, np.bool_, shape=keys.shape)
    how = (words.size // _BLOCK_WORDS, n_hashes, keys, np.uint64(seed), np.bool_(hashed))
    launch("bloom", "bloom_contains", stop - start, words, *how, out, start, stop)


def bloom_fills(words: Any, others: Any, fills: Any, start: int, stop: int) -> None:
    """``fills[b]`` += how many of the blocks [start, stop) have b bits set in `words` or `others`."""
    check_array("words", words, np.uint64, shape=(None,))
    check_array("others", others, np.uint64, shape=words.shape)
    check_array("fills", fills, np.int64, shape=(64 * _BLOCK_WORDS + 1,))
    launch("bloom", "bloom_fills", stop - start, words, others, fills, start, stop)
