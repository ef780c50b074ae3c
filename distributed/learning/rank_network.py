"""The part of a network of `SlideClassifier` that a rank has: hidden units, and ranges of labels."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sketches.learned.slide_batches import SparseRows
from ...sketches.learned.slide_network import Arrays, SlideNetwork
from ...sketches.learned.slide_settings import SlideSettings
from ...sketches.learned.slide_weights import padded
from ..ranks.comm import Communicator
from .swapping import add_ranges, cuts_of, join_columns

__all__ = ["RankNetwork"]


class RankNetwork(SlideNetwork):
    """A network whose hidden units and ranges of labels are spread over ranks, which train it together.

    All ranks see the same batches. In a step they send the activations of their units, the codes of their
    share of the rows, the normaliser of the softmax, and the gradients by the units of the others.

    Parameters
    ----------
    settings : SlideSettings
        The same on all ranks.
    comm : Communicator
    """

    def __init__(self, settings: SlideSettings, comm: Communicator) -> None:
        self.comm = comm
        self.units, self.shares = cuts_of(settings.n_hidden, comm.size), cuts_of(settings.n_ranges, comm.size)
        rank = comm.rank
        super().__init__(
            settings,
            range(self.shares[rank], self.shares[rank + 1]),
            (self.units[rank], self.units[rank + 1]),
        )

    def activate(self, rows: SparseRows) -> NDArray[np.float32]:
        """Return the activations of all hidden units, for rows that all ranks have."""
        hidden = self.hidden
        width = hidden.weights.width
        found = join_columns(
            self.comm, lambda: hidden.activate(rows)[:, :width], rows.n, self.units, np.float32
        )
        with self.comm.agree():
            out = np.zeros((rows.n, padded(self.settings.n_hidden)), np.float32)
            out[:, : found.shape[1]] = found
        return out

    def _activate(self, rows: SparseRows) -> NDArray[np.float32]:
        self._n_rows = rows.n
        return self.activate(rows)

    def _hash(self, hidden: NDArray[np.float32]) -> NDArray[np.uint32]:
        settings, comm = self.settings, self.comm
        if self._family is None:
            return super()._hash(hidden)
        # Each rank hashes some of the rows, and codes have at most 16 bits by default.
        rows, n = cuts_of(len(hidden), comm.size), settings.n_hashes
        dtype = np.uint16 if self._family.n_buckets <= 1 << 16 else np.uint32
        own = hidden[rows[comm.rank] : rows[comm.rank + 1]]
        codes = join_columns(
            comm,
            lambda: (SlideNetwork._hash(self, own) if len(own) else np.empty((0, n))).reshape(1, -1),
            1,
            [n * row for row in rows],
            dtype,
        )
        return codes.reshape(-1, n).astype(np.uint32)

    def _largest(self, compute: Arrays) -> NDArray[np.float32]:
        with self.comm.agree():
            largest = np.full(self._n_rows, -np.inf, np.float32)
            for array in compute():
                np.maximum(largest, array, out=largest)
        self.comm.allreduce(largest, "max")
        return largest

    def _sum(self, compute: Arrays, n: int) -> NDArray[np.float64]:
        cuts = cuts_of(n, self.comm.size)
        share = add_ranges(self.comm, compute, self.shares, (), cuts, np.float64)
        return join_columns(self.comm, lambda: share[None], 1, cuts, np.float64)[0]

    def _gradients(self, compute: Arrays) -> NDArray[np.float32]:
        return add_ranges(self.comm, compute, self.shares, (self._n_rows,), self.units, np.float32)

    def _update_hidden(self, *arguments: Any) -> None:
        with self.comm.agree():
            super()._update_hidden(*arguments)

    def gather(self) -> SlideNetwork:
        """Return the network of all ranks, with its own arrays, on every rank."""
        comm = self.comm
        with comm.agree():
            whole = SlideNetwork(self.settings)
            whole.step = self.step
        owners = np.repeat(np.arange(comm.size), np.diff(self.shares)).tolist()
        for i, (owner, copy) in enumerate(zip(owners, whole.ranges, strict=True)):
            with comm.agree():
                if owner == comm.rank:
                    copy.copy_from(self.ranges[i - self.shares[owner]])
                elif copy.tables is not None and self.step:
                    copy.tables.labels = np.empty((self.settings.n_hashes, copy.stop - copy.first), np.int32)
            for array in copy.arrays:
                comm.broadcast(array, owner)
            copy.next_rebuild, copy.interval = comm.bcast((copy.next_rebuild, copy.interval), owner)
        ours, copied = self.hidden.weights, whole.hidden.weights
        for own, matrix in zip(ours.matrices, copied.matrices, strict=True):
            columns = own[:, : ours.width]
            matrix[:, : copied.width] = join_columns(
                comm, functools.partial(np.asarray, columns), len(own), self.units, own.dtype
            )
        copied.steps[:] = ours.steps
        # Where there are fewer units than ranks, the last rank has some.
        comm.broadcast(copied.steps, comm.size - 1)
        return whole
