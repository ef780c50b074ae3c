"""Bloom filters of bands: one for each band of signatures, of one size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import HASH_COLLISION
from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int
from ..core.base import MergeableSketch
from ..core.guard import changing, uninterrupted
from ..core.state import StateSpec
from ..kernels import bloom, streaming_deduplicator
from ..kernels.bloom import BLOCK_BITS, BLOCK_WORDS
from .bloom_theory import MAX_BLOCKS, error_rate, size_for

__all__ = ["BandFilters", "size_of_filters"]

#: Keys and blocks that are worth a thread of their own.
_KEYS_BLOCK, _BLOCKS_BLOCK = 1 << 14, 1 << 14


class BandFilters(MergeableSketch):
    """`bands` Bloom filters of `n_blocks` blocks; a key sets `n_bits` bits of one block of its filter."""

    bands: int
    n_blocks: int
    n_bits: int

    def _layout(self) -> dict[str, StateSpec]:
        return {"filters": StateSpec((self.bands, self.n_blocks, BLOCK_WORDS), "uint64", "or")}

    def admit_keys(self, keys: ArrayLike, first_band: int = 0) -> NDArray[np.bool_]:
        """Add keys to the filters of some bands, and return for each key whether it was there before.

        The number of updates does not change.

        Parameters
        ----------
        keys : ndarray of shape (k, m), uint64
            Keys of the bands from `first_band` on, each in the order of documents.
        first_band : int

        Returns
        -------
        ndarray of shape (k, m), bool

        Raises
        ------
        TypeError, ValueError
            If `keys` is no such matrix, or there are not so many bands.
        """
        first_band = check_int("first_band", first_band, 0, self.bands - 1)
        refuse_gpu(type(self).__name__, keys)
        words = check_array("keys", keys)
        if words.dtype != np.uint64 or words.ndim != 2 or len(words) > self.bands - first_band:
            raise ValueError(
                f"keys must be a uint64 matrix of at most {self.bands - first_band} rows, "
                f"got {words.dtype} of shape {words.shape}"
            )
        words = np.ascontiguousarray(words, dtype=np.uint64)
        found = np.empty(words.shape, np.bool_)
        with self._lock, changing(self), uninterrupted():
            self._admit(words, first_band, found)
        return found

    def _admit(self, keys: NDArray[np.uint64], first_band: int, found: NDArray[np.bool_]) -> None:
        filters = self._arrays["filters"][first_band:]
        kernel = self._backend.kernels(streaming_deduplicator).admit_keys

        # A thread has whole bands, and goes through their documents in order.
        def admit(first: int, last: int) -> None:
            for band in range(first, last):
                kernel(read_only(keys[band]), self.n_bits, filters[band].reshape(-1), found[band])

        self._backend.map_blocks(admit, len(keys), -(-_KEYS_BLOCK // max(1, keys.shape[1])))

    def _test(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return for each key of each band whether its filter has it."""
        found = np.empty(keys.shape, np.bool_)
        kernel, filters = self._backend.kernels(bloom).bloom_contains, self._arrays["filters"]
        for band in range(self.bands):

            def test(a: int, b: int, band: int = band) -> None:
                words = filters[band].reshape(-1)
                kernel(words, read_only(keys[band]), np.uint64(0), True, self.n_bits, a, b, found[band])

            self._backend.map_blocks(test, keys.shape[1], _KEYS_BLOCK)
        return found

    def expected_false_positive_rate(self, n_documents: int) -> float:
        """Return the probability that the filters pass a document that shares no band with those seen.

        Parameters
        ----------
        n_documents : int
            The number of distinct documents that were added, from 0 to 2**53.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If `n_documents` is no integer or out of range.
        """
        n_documents = check_int("n_documents", n_documents, 0, 2**53)
        rate = error_rate(n_documents, self.n_blocks, self.n_bits)
        return -math.expm1(self.bands * math.log1p(-rate)) if rate < 1.0 else 1.0

    def false_positive_rate(self) -> float:
        """Return the same probability for the bits that are set now. It takes a pass over the filters.

        Returns
        -------
        float
            ``1 - (1 - p_1) (1 - p_2) ...``, where p_b is the share of random keys that filter b passes.
        """
        passes = (np.arange(BLOCK_BITS + 1) / BLOCK_BITS) ** self.n_bits
        rates = [min(1.0, float(np.dot(fills, passes)) / self.n_blocks) for fills in self._fills()]
        return -math.expm1(sum(math.log1p(-rate) if rate < 1.0 else -math.inf for rate in rates))

    def _fills(self) -> Iterator[NDArray[np.int64]]:
        """Yield the numbers of blocks that have 0, 1, ..., 512 bits set, for each filter."""
        kernel = self._backend.kernels(bloom).bloom_fills
        for filled in self._arrays["filters"]:
            words = filled.reshape(-1)

            def count(a: int, b: int, words: Any = words) -> NDArray[np.int64]:
                fills = np.zeros(BLOCK_BITS + 1, np.int64)
                kernel(words, words, a, b, fills)
                return fills

            yield np.sum(self._backend.map_blocks(count, self.n_blocks, _BLOCKS_BLOCK), axis=0)


def size_of_filters(capacity: int, wanted: float, bands: int) -> tuple[int, int]:
    """Return the blocks and bits of each filter, so that all filters together have the error rate."""
    rate = -math.expm1(math.log1p(-wanted) / bands)
    floor = max(2 * capacity * HASH_COLLISION, 1e-15)
    if rate < floor:
        raise ValueError(
            f"error_rate must be at least {bands * floor:.3g} for {capacity:,} documents of {bands} bands, "
            f"got {wanted!r}"
        )
    n_blocks, n_bits = size_for(capacity, rate)
    if n_blocks > MAX_BLOCKS:
        raise ValueError(
            f"capacity {capacity:,} at error_rate {wanted!r} needs {n_blocks:,} blocks of 64 bytes for each "
            f"band, more than {MAX_BLOCKS:,}"
        )
    return n_blocks, n_bits
