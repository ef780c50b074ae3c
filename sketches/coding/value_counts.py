"""Exact counts of values in bounded memory: beyond a number of values, of the most frequent values only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.threads import get_num_threads, map_blocks
from .codebook_choice import Others, common_step

__all__ = ["MOST_VALUES", "Counted", "ValueCounts", "add_counts", "count_words", "keep_most", "merge_counted"]

#: Largest number of values that are counted one by one. Every code escapes further values, the rarest.
MOST_VALUES = 1 << 22
#: Least number of words that are counted at a time.
_BLOCK = 1 << 17
#: Values within a range of this length are counted in a table.
_TABLE = 1 << 17
#: Number of entries of all runs that are merged at a time, and number of entries of a run from sample to
#: sample.
_MERGED, _SAMPLE = 1 << 21, 1 << 13

#: Distinct values in ascending order, and the count of each.
Counts = tuple[NDArray[np.uint64], NDArray[np.int64]]


class Counted(NamedTuple):
    """Ascending values and their counts, and the others: rarer values beyond the number that is counted."""

    values: NDArray[np.uint64]
    counts: NDArray[np.int64]
    others: Others | None = None


def count_words(words: NDArray[np.uint64]) -> Counts:
    """Return the distinct words in ascending order, and their counts."""
    found: Counts = (np.empty(0, np.uint64), np.empty(0, np.int64))
    step = 4 * get_num_threads() * _BLOCK
    for start in range(0, words.size, step):
        found = add_counts([found, *_count_blocks(words[start : start + step])])
    return found


def _count_blocks(words: NDArray[np.uint64]) -> list[Counts]:
    return map_blocks(lambda start, stop: _count(words[start:stop]), words.size, _BLOCK)


def _count(words: NDArray[np.uint64]) -> Counts:
    low, high = words.min(), words.max()
    if high - low < _TABLE:
        counts = np.bincount((words - low).view(np.int64))
        present = np.flatnonzero(counts)
        return present.astype(np.uint64) + low, counts[present].astype(np.int64)
    values, counts = np.unique(words, return_counts=True)
    return values, counts.astype(np.int64)


def add_counts(parts: Sequence[Counts]) -> Counts:
    """Return the sum of several counts."""
    every = np.concatenate([values for values, _ in parts])
    values, inverse = np.unique(every, return_inverse=True)
    counts = np.zeros(values.size, dtype=np.int64)
    np.add.at(counts, inverse, np.concatenate([counts for _, counts in parts]))
    return values, counts


def keep_most(values: NDArray[np.uint64], counts: NDArray[np.int64], others: Others | None = None) -> Counted:
    """Keep the `MOST_VALUES` most frequent values; among equally frequent values, the lowest.

    This is a total order, so that the kept values do not depend on the order in which parts are merged.
    """
    excess = values.size - MOST_VALUES
    if excess <= 0:
        return Counted(values, counts, others)
    least = np.partition(counts, excess)[excess]
    keep = counts > least
    keep[np.flatnonzero(counts == least)[: MOST_VALUES - int(keep.sum())]] = True
    dropped = values[~keep]
    more = Others(int(counts[~keep].sum()), int(dropped[0]), int(dropped[-1]), common_step(dropped))
    return Counted(values[keep], counts[keep], more if others is None else others.merged(more))


def merge_counted(parts: Sequence[Counted]) -> Counted:
    """Merge the counts of parts that have no value in common."""
    values = np.concatenate([part.values for part in parts])
    order = np.argsort(values)
    others = None
    for part in parts:
        if part.others is not None:
            others = part.others if others is None else others.merged(part.others)
    return keep_most(values[order], np.concatenate([part.counts for part in parts])[order], others)


class ValueCounts:
    """Counts of many parts, which are summed at the end; until then they lie in memory or in a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._runs: list[Counts] = []

    def add(self, values: NDArray[np.uint64], counts: NDArray[np.int64]) -> None:
        """Add distinct ascending values and their counts."""
        if values.size and self._folder is not None:
            path = self._folder / f"counts-{len(self._runs)}"
            with path.open("xb") as file:
                file.write(np.ascontiguousarray(values).data)
                file.write(np.ascontiguousarray(counts).data)
            mapped = np.memmap(path, dtype=np.uint64, mode="r", shape=(2, values.size))
            values, counts = mapped[0], mapped[1].view(np.int64)
        self._runs.append((values, counts))

    def total(self) -> Counted:
        """Return the sum; it is computed for one range of values after another, to fit in memory."""
        found = Counted(np.empty(0, np.uint64), np.empty(0, np.int64))
        for pieces in self._ranges():
            values, counts = add_counts(pieces)
            found = keep_most(
                np.concatenate([found.values, values]), np.concatenate([found.counts, counts]), found.others
            )
        return found

    def _ranges(self) -> Iterator[list[Counts]]:
        """Yield the counts of all parts for consecutive ranges of values."""
        if not self._runs:
            return
        samples = np.sort(np.concatenate([values[::_SAMPLE] for values, _ in self._runs]))
        edges = np.unique(samples[:: max(1, _MERGED // _SAMPLE)])[1:]
        cuts = [[0, *np.searchsorted(values, edges).tolist(), values.size] for values, _ in self._runs]
        for i in range(edges.size + 1):
            yield [
                (np.asarray(values[cut[i] : cut[i + 1]]), np.asarray(counts[cut[i] : cut[i + 1]]))
                for (values, counts), cut in zip(self._runs, cuts, strict=True)
            ]
