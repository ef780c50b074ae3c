"""Counters of distinct keys with an error for each, in the arrays of a state, and their merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.state import StateSpec
from ..kernels import top_k
from .counted_keys import CANDIDATES

__all__ = ["Counters", "counter_specs", "extended"]


class Counters(NamedTuple):
    """Distinct keys, and bounds of their counts: from `counts` to ``counts + errors``.

    The count of a key that is not there is at most `offset`.
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]
    errors: NDArray[np.int64]
    #: Where the name of each key is found.
    sources: NDArray[np.int64]
    offset: int

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Counters:
        """Return the counters in the arrays of a state; the sources are the places of their names."""
        hashes, counts, *_ = CANDIDATES.used(arrays)
        n = hashes.size
        return cls(
            hashes, counts, arrays["candidate_errors"][:n], np.arange(n), int(arrays["maximum_error"][0])
        )

    def arrays(
        self, one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]], n_counters: int
    ) -> dict[str, NDArray[Any]]:
        """Return the arrays of a state with these counters.

        Their sources are places in two tables of names, ``(lengths, contents)``, one after the other.
        """
        names = (np.concatenate(pair).take(self.sources, axis=0) for pair in zip(one, other, strict=True))
        columns: tuple[NDArray[Any], ...] = (self.hashes, self.counts, *names, self.errors)
        arrays = (*CANDIDATES.names, "candidate_errors")
        filled = {name: extended(column, n_counters) for name, column in zip(arrays, columns, strict=True)}
        return {**filled, "maximum_error": np.array([self.offset])}

    @property
    def uppers(self) -> NDArray[np.int64]:
        """The upper bounds of the counts."""
        return self.counts + self.errors

    def at(self, places: NDArray[np.int64], offset: int) -> Counters:
        """Return the keys at some places."""
        hashes, counts, errors, sources, _ = self
        # `take` is faster than an index.
        return Counters(
            hashes.take(places), counts.take(places), errors.take(places), sources.take(places), offset
        )

    def by_hashes(self) -> Counters:
        """Return the keys by rising hashes."""
        # A stable sort takes linear time where most keys, those that were kept before, are in order.
        return self.at(np.argsort(self.hashes, kind="stable"), self.offset)

    def falling(self) -> NDArray[np.int64]:
        """Return the places of the keys by falling upper bounds.

        Of equal upper bounds, the larger lower bound is first, and then the smaller hash.
        """
        return np.lexsort((self.hashes, -self.counts, -self.uppers))

    def largest(self, n: int) -> Counters:
        """Return the first n keys of the order of `falling`; the upper bound of the next one is the offset.

        They are where they were among each other.

        Let an excess be an upper bound less the offset. The sum of all excesses and n + 1 times the offset
        is at most the total of the stream: if it is so before, then as the offset rises by s, each of n keys
        loses s, and one of at least s is dropped.
        """
        if self.hashes.size <= n:
            return self
        places = np.empty(n, np.int64)
        next_one = top_k.keep_largest(self.uppers, self.counts, self.hashes, places)
        return self.at(places, next_one)

    def merged(self, other: Counters) -> Counters:
        """Return all keys of two parts of a stream, by rising hashes."""
        offset = self.offset + other.offset
        hashes = np.concatenate([self.hashes, other.hashes])
        if not hashes.size:
            return self._replace(offset=offset)
        order = np.argsort(hashes, kind="stable")
        firsts = np.flatnonzero(np.append(True, np.diff(hashes[order]) != 0))
        places = order[firsts]
        # A key that only one part has may occur in the other as often as that part's offset.
        missed = np.repeat([other.offset, self.offset], [self.hashes.size, other.hashes.size])[places]
        missed[np.diff(np.append(firsts, order.size)) == 2] = 0
        counts = np.concatenate([self.counts, other.counts])[order]
        errors = np.concatenate([self.errors, other.errors])[order]
        return Counters(
            hashes[places],
            np.add.reduceat(counts, firsts),
            np.add.reduceat(errors, firsts) + missed,
            np.concatenate([self.sources, other.sources])[places],
            offset,
        )


def counter_specs(n_counters: int) -> dict[str, StateSpec]:
    """Return the specifications of the arrays of counters, beside those of the names."""
    return {
        "candidate_errors": StateSpec((n_counters,), "int64", "candidates"),
        "maximum_error": StateSpec((1,), "int64", "candidates"),
    }


def extended(column: NDArray[Any], size: int) -> NDArray[Any]:
    """Return an array with zeros after it: itself if it has that size, or else a copy."""
    if len(column) == size:
        return column
    new = np.zeros((size, *column.shape[1:]), column.dtype)
    new[: len(column)] = column
    return new
