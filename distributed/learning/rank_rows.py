"""Rows with labels that are spread over ranks, and batches of them on every rank."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sketches.learned.slide_batches import Batch, Examples, SparseRows, take_batch
from ...sketches.learned.slide_targets import Targets
from ..ranks.buffers import as_bytes
from ..ranks.comm import Communicator

__all__ = ["RankRows", "gather_rows", "no_targets"]


def no_targets(n: int) -> Targets:
    """Return the targets of n rows without labels."""
    return Targets(np.empty(0, np.int32), np.zeros(n + 1, np.int64), 0)


class RankRows(Examples):
    """The rows of all ranks, numbered in the order of ranks; `rows` and `targets` are this rank's.

    Parameters
    ----------
    comm : Communicator
    rows : SparseRows
    targets : Targets
        Those of this rank.
    shared : bool
        Whether all ranks have the same rows, which are those of one process. They are not sent then.
    """

    def __init__(self, comm: Communicator, rows: SparseRows, targets: Targets, *, shared: bool) -> None:
        super().__init__(rows, targets)
        self._comm = comm
        self._shared = shared or comm.size == 1
        if self._shared:
            arrays = (rows.bounds, rows.columns, rows.values, targets.labels, targets.bounds)
            with comm.agree():
                word = 0
                for array in arrays:
                    word = zlib.crc32(as_bytes(np.ascontiguousarray(array)).data, word)
            if comm.size > 1:
                comm.check_same(
                    "the rows and labels that are passed with shared=True, by their checksum", word
                )
        else:
            every = comm.allgather((rows.n, len(targets.labels)))
            self._starts = np.cumsum([0, *(n for n, _ in every)])
            self.n, self.n_targets = int(self._starts[-1]), sum(n for _, n in every)

    def counts(self, n_labels: int) -> NDArray[np.int64]:
        with self._comm.agree():
            counts = super().counts(n_labels)
        if not self._shared:
            self._comm.allreduce(counts, "sum")
        return counts

    def take(self, chosen: NDArray[np.int64]) -> Batch:
        """Return some rows with their targets, on every rank."""
        if self._shared:
            with self._comm.agree():
                return super().take(chosen)
        owners = np.searchsorted(self._starts, chosen, side="right") - 1
        rank = self._comm.rank
        with self._comm.agree():
            own = take_batch(self.rows, self.targets, chosen[owners == rank] - self._starts[rank])
        gathered = gather_rows(self._comm, own, np.bincount(owners, minlength=self._comm.size).tolist())
        # They come in the order of ranks.
        places = np.empty(len(chosen), np.int64)
        places[np.argsort(owners, kind="stable")] = np.arange(len(chosen))
        with self._comm.agree():
            return take_batch(gathered.rows, Targets(gathered.targets, gathered.bounds, 0), places)


def _bounds(sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def gather_rows(comm: Communicator, own: Batch, counts: list[int]) -> Batch:
    """Return the rows of all ranks with their targets, in the order of ranks, on every rank.

    Parameters
    ----------
    comm : Communicator
    own : Batch
        The rows of this rank.
    counts : list of int
        The number of rows of each rank.
    """
    rows = own.rows
    with comm.agree():
        # The ones that stand for the biases are not sent.
        columns, values = _without_last(rows.bounds, rows.columns), _without_last(rows.bounds, rows.values)
        sizes = np.concatenate([np.diff(rows.bounds) - 1, own.n_targets])
        bias = rows.columns[-1:] if rows.n else np.zeros(1, np.int32)
        words = np.concatenate([bias, sizes, columns, values.view(np.int32), own.targets], dtype=np.int32)
    every, last = comm.allgather_rows(words), 0
    with comm.agree():
        at, parts = 0, []
        for n in counts:
            last, at = max(last, int(every[at])), at + 1
            n_columns, n_targets = every[at : at + n], every[at + n : at + 2 * n]
            ends = at + 2 * n + np.cumsum([0, n_columns.sum(), n_columns.sum(), n_targets.sum()])
            columns, values, labels = (every[a:b] for a, b in pairwise(ends))
            parts.append((n_columns, n_targets, columns, values.view(np.float32), labels))
            at = int(ends[-1])
        n_columns, n_targets, columns, values, labels = map(np.concatenate, zip(*parts, strict=True))
        bounds = _bounds(n_columns + 1)
        is_bias = np.zeros(bounds[-1], np.bool_)
        is_bias[bounds[1:] - 1] = True
        all_columns, all_values = np.full(bounds[-1], last, np.int32), np.ones(bounds[-1], np.float32)
        all_columns[~is_bias], all_values[~is_bias] = columns, values
        return Batch(SparseRows(bounds, all_columns, all_values), labels, _bounds(n_targets))


def _without_last(bounds: NDArray[np.int64], entries: NDArray[Any]) -> NDArray[Any]:
    """Return the entries of all lists, none of which is empty, but for the last one of each."""
    kept = np.ones(len(entries), np.bool_)
    kept[bounds[1:] - 1] = False
    return entries[kept]
