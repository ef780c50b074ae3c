"""Lists of few terms, which count the documents of each exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Terms"]


class Terms(NamedTuple):
    """Terms by rising hashes, and the number of documents that hold each."""

    hashes: NDArray[np.uint64]
    frequencies: NDArray[np.int64]

    @classmethod
    def read(cls, counts: NDArray[np.int64]) -> Terms:
        """Return the terms of an array that `write` has filled, as views."""
        pairs = counts.reshape(-1, 2)
        # A term of the list has a document, so free places are those without documents, at the end.
        n = int(np.count_nonzero(pairs[:, 1]))
        return cls(pairs[:n, 0].view(np.uint64), pairs[:n, 1])

    def write(self, counts: NDArray[np.int64]) -> None:
        """Write the hash and the number of documents of one term after the other to an array."""
        pairs = counts[: 2 * self.hashes.size].reshape(-1, 2)
        pairs[:, 0] = self.hashes.view(np.int64)
        pairs[:, 1] = self.frequencies

    def contiguous(self) -> Terms:
        """Return the terms in arrays of their own, which kernels and searches read faster."""
        return Terms(np.ascontiguousarray(self.hashes), np.ascontiguousarray(self.frequencies))

    def joined(self, other: Terms) -> Terms:
        """Return the terms of two lists, and the sums of their document frequencies."""
        hashes, frequencies = (np.concatenate(pair) for pair in zip(self, other, strict=True))
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        is_first = np.ones(hashes.size, np.bool_)
        is_first[1:] = hashes[1:] != hashes[:-1]
        first = np.flatnonzero(is_first)
        # NumPy has no sums of nothing here.
        sums = np.add.reduceat(frequencies[order], first) if first.size else frequencies
        return Terms(hashes[first], sums)

    def look_up(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the number of documents that hold each of some terms, 0 for those not in the list."""
        found = np.zeros(hashes.size, np.int64)
        if self.hashes.size:
            places = np.minimum(np.searchsorted(self.hashes, hashes), self.hashes.size - 1)
            is_known = self.hashes[places] == hashes
            found[is_known] = self.frequencies[places[is_known]]
        return found

    def check(self, n_documents: int) -> None:
        """Raise ValueError if these are no terms of as many documents."""
        frequencies = self.frequencies
        if frequencies.size and not 1 <= frequencies.min() <= frequencies.max() <= n_documents:
            raise ValueError(f"counts of terms must be from 1 to n_updates, {n_documents}")
        if (self.hashes[1:] <= self.hashes[:-1]).any():
            raise ValueError("counts must have the terms by rising hashes")
