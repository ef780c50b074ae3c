"""Launchers of ``bloom.cu``, the twins of ``sketches/kernels/bloom.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, launch

__all__ = ["bloom_add", "bloom_contains", "bloom_fills"]

_BLOCK_WORDS = 8


def _check(words: Any, keys: Any) -> None:
    check_array("words", words, np.uint64, shape=(None,))
    check_array("keys", keys, np.uint64, shape=(None,))


def bloom_add(keys: Any, seed: Any, hashed: bool, n_hashes: int, low: Any, width: Any, words: Any) -> None:
    _check(words, keys)
    how = (np.uint64(seed), np.bool_(hashed), words.size // _BLOCK_WORDS, n_hashes)
    interval = (np.uint64(low), np.uint64(width))
    launch("bloom", "bloom_add", keys.size, keys, keys.size, *how, *interval, words)


def bloom_contains(
    words: Any, keys: Any, seed: Any, hashed: bool, n_hashes: int, start: int, stop: int, out: Any
) -> None:
    _check(words, keys)
    check_array("out", out, np.bool_, shape=keys.shape)
    how = (np.uint64(seed), np.bool_(hashed), words.size // _BLOCK_WORDS, n_hashes)
    launch("bloom", "bloom_contains", stop - start, words, keys, *how, start, stop, out)


def bloom_fills(words: Any, others: Any, start: int, stop: int, fills: Any) -> None:
    check_array("words", words, np.uint64, shape=(None,))
    check_array("others", others, np.uint64, shape=words.shape)
    check_array("fills", fills, np.int64, shape=(64 * _BLOCK_WORDS + 1,))
    launch("bloom", "bloom_fills", stop - start, words, others, start, stop, fills)
