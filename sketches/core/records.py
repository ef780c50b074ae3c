"""Records in parallel arrays of a state, and samples of records that depend on no order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import Backend, add_at
from ..kernels import code_counters
from .state import Arrays

__all__ = ["Records", "add_to_sample", "find_keys"]

#: Keys that are worth a thread of their own.
_KEYS_BLOCK = 1 << 14


class Records(NamedTuple):
    """The arrays of a table of records. Used places come first; free ones hold 0 in every array.

    Attributes
    ----------
    names : tuple of str
        The arrays, the one of the records' keys first.
    marker : str
        The array that is not 0 in used places.
    """

    names: tuple[str, ...]
    marker: str

    def n_used(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        """Return the number of used places."""
        return int(np.count_nonzero(arrays[self.marker]))

    def used(self, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the used part of each array."""
        n = self.n_used(arrays)
        return [arrays[name][:n] for name in self.names]

    def put(self, arrays: Mapping[str, NDArray[Any]], values: Sequence[NDArray[Any]]) -> None:
        """Overwrite the table with records, given as one array for each name."""
        for name, column in zip(self.names, values, strict=True):
            arrays[name][: len(column)] = column
            arrays[name][len(column) :] = 0


def find_keys(backend: Backend, rising: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where each key is among `rising` ones, -1 for a key that is not there."""
    places = backend.xp.empty(keys.size, np.int64)
    kernel = backend.kernels(code_counters).find_keys
    backend.map_blocks(lambda a, b: kernel(keys, rising, a, b, places), keys.size, _KEYS_BLOCK)
    return places


def add_to_sample(
    backend: Backend,
    records: Records,
    sample: Mapping[str, NDArray[Any]],
    columns: Sequence[NDArray[Any]],
    counts: NDArray[np.int64],
) -> Arrays:
    """Return the arrays that change as records are added to a sample, which stays as it is.

    The sample holds the records of least key, by rising keys, each with its count in the marker's array. A
    record that belongs to the sample of all data has belonged to it from its first occurrence on, and in
    every part of the data where it occurs: the least keys of all are among the least of any part. So the
    counts are exact, and the sample depends on no order.

    Parameters
    ----------
    records : Records
        Their marker is the array of counts, and the last of their names.
    columns : arrays of n records, for all names but the last
        In any order; a record may repeat.
    counts : array of shape (n,), or (0,)
        How often each record occurs; an empty array stands for 1 each. Records of count 0 are left out.
    """
    xp, (keys, *others) = backend.xp, columns
    *held, held_counts = records.used(sample)
    n_held, all_counts = held_counts.size, sample[records.marker]
    size = all_counts.size
    wanted = keys <= held[0][-1] if n_held == size else xp.ones(keys.size, np.bool_)
    if counts.size:
        wanted &= counts > 0
    places = xp.flatnonzero(wanted)
    found = find_keys(backend, held[0], keys[places])
    known = found >= 0
    totals = all_counts.copy()
    if counts.size:
        add_at(totals, found[known], counts[places[known]])
    elif n_held:
        totals[:n_held] += xp.bincount(found[known], minlength=n_held)
    places = places[~known]
    if not places.size:
        return {records.marker: totals}
    places = places[xp.argsort(keys[places])]
    rising = keys[places]
    first = xp.flatnonzero(xp.append(xp.ones(1, np.bool_), rising[1:] != rising[:-1]))
    ends = xp.append(first[1:], xp.full(1, rising.size, first.dtype))
    new = (ends - first).astype(np.int64)
    if counts.size:
        sums = xp.cumsum(counts[places])
        new = sums[ends - 1]
        new[1:] -= sums[ends[:-1] - 1]
    places = places[first]
    order = xp.argsort(xp.concatenate([held[0], rising[first]]))[:size]
    out = {}
    columns = [rising[first], *(column[places] for column in others), new]
    for name, old, column in zip(records.names, [*held, totals[:n_held]], columns, strict=True):
        out[name] = xp.zeros_like(sample[name])
        out[name][: order.size] = xp.concatenate([old, column])[order]
    return out
