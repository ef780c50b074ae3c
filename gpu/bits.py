"""Launchers of ``bits.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, constant, launch

__all__ = ["count_equal_fields", "mix_words", "pack_fields", "sample_bits"]


def sample_bits(
    X: Any, columns: Any, places: Any, masks: Any, start: int, stop: int, first: int, out: Any
) -> None:
    """Sampled bits of the rows [start, stop): the k-th of hash h to bit k of ``out[:, (first + h) * W:]``."""
    check_array("X", X, np.uint8, shape=(None, None))
    check_array("out", out, np.uint32, shape=(stop - start, None))
    n_hashes, power = places.shape
    where = (constant(columns), constant(places), constant(masks), n_hashes, power)
    work = (stop - start) * n_hashes * -(-power // 32)
    how = (start, stop, first, out.shape[1], out)
    launch("bits", "sample_bits", work, X, X.shape[1], *where, *how)


def mix_words(words: Any, flips: Any, keys: Any, n_buckets: Any, out: Any) -> None:
    """Codes of words, after each of some flips of bits."""
    check_array("words", words, np.uint32, shape=(None, keys.size, None))
    n, n_hashes, W = words.shape
    probes = flips.shape[1]
    check_array("out", out, np.uint32, shape=(n, n_hashes, probes))
    how = (words, constant(flips), constant(keys), np.uint64(n_buckets), n, n_hashes, probes, W, out)
    launch("bits", "mix_words", n * n_hashes * probes, *how)


def pack_fields(codes: Any, bits: int, start: int, stop: int, out: Any) -> None:
    """Pack the codes of the rows [start, stop), below 2**bits: field v begins at a row's bit ``v * bits``."""
    check_array("codes", codes, np.uint32, shape=(None, None))
    check_array("out", out, np.uint64, shape=(len(codes), None))
    (n_fields, W), n = (codes.shape[1], out.shape[1]), stop - start
    launch("bits", "pack_fields", n * W, codes[start:stop], n_fields, bits, n, W, out[start:stop])


def count_equal_fields(A: Any, B: Any, bits: int, n_fields: int, start: int, stop: int, out: Any) -> None:
    """``out[i]`` = how many of the n_fields fields of row i of A and of B are equal."""
    check_array("A", A, np.uint64, shape=(None, None))
    check_array("B", B, np.uint64, shape=A.shape)
    check_array("out", out, np.int64, shape=(len(A),))
    how = (A, B, bits, n_fields, start, stop, A.shape[1], out)
    launch("bits", "count_equal_fields", 32 * (stop - start), *how)
