"""Launchers of ``bit_sampling.cu``, the twins of ``lsh/kernels/bit_sampling.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, launch

__all__ = ["mix_words", "sample_bits"]


def sample_bits(
    X: Any, columns: Any, places: Any, masks: Any, first: int, start: int, stop: int, out: Any
) -> None:
    check_array("X", X, np.uint8, shape=(None, None))
    check_array("out", out, np.uint32, shape=(stop - start, None))
    n_hashes, power = places.shape
    where = (constant(columns), constant(places), constant(masks), n_hashes, power)
    work = (stop - start) * n_hashes * -(-power // 32)
    how = (first, start, stop, out.shape[1], out)
    launch("bit_sampling", "sample_bits", work, X, X.shape[1], *where, *how)


def mix_words(words: Any, flips: Any, keys: Any, n_buckets: Any, out: Any) -> None:
    check_array("words", words, np.uint32, shape=(None, keys.size, None))
    n, n_hashes, W = words.shape
    probes = flips.shape[1]
    check_array("out", out, np.uint32, shape=(n, n_hashes, probes))
    how = (words, constant(flips), constant(keys), np.uint64(n_buckets), n, n_hashes, probes, W, out)
    launch("bit_sampling", "mix_words", n * n_hashes * probes, *how)
