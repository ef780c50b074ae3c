"""Pairs of a row of a batch and a label or a feature, grouped by the latter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import slide

__all__ = ["PairGrouping", "Pairs"]


class Pairs(NamedTuple):
    """The pairs of a batch: as lists of each row, and grouped by id.

    Attributes
    ----------
    bounds : ndarray of int64
        The entries of `places` of row b are those from ``bounds[b]`` to ``bounds[b + 1]``.
    touched : ndarray of int32
        The distinct ids, in the order of their first pairs.
    offsets : ndarray of int64
        Id ``touched[u]`` has the pairs from ``offsets[u]`` to ``offsets[u + 1]``.
    rows : ndarray of int32
        The row of each pair.
    places : ndarray of int32
        The pairs of the rows, row by row.
    """

    bounds: NDArray[np.int64]
    touched: NDArray[np.int32]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    places: NDArray[np.int32]

    def chunks(self, n: int) -> list[int]:
        """Return bounds that cut `touched` into n parts of about equal work.

        The work of an id is that of its pairs, and of its step of Adam, which takes as long as a few pairs.
        """
        work = self.offsets[: self.touched.size] + 4 * np.arange(self.touched.size)
        cuts = np.searchsorted(work, np.arange(1, n) * ((self.rows.size + 4 * self.touched.size) / n))
        return [0, *cuts.tolist(), self.touched.size]


class PairGrouping:
    """Groups the pairs of batches, with work space that is allocated once.

    Parameters
    ----------
    n_ids : int
        Ids lie in [0, n_ids).
    """

    def __init__(self, n_ids: int) -> None:
        self._slots = np.full(n_ids, -1, np.int32)

    def group(self, ids: NDArray[np.int32], bounds: NDArray[np.int64]) -> Pairs:
        """Return the pairs of rows: row b has the ids from ``bounds[b]`` to ``bounds[b + 1]``."""
        n_pairs = int(bounds[-1] - bounds[0])
        most = min(n_pairs, self._slots.size)
        touched, offsets = np.empty(most, np.int32), np.empty(most + 1, np.int64)
        rows, places = np.empty(n_pairs, np.int32), np.empty(n_pairs, np.int32)
        n = slide.group_pairs(ids, bounds, self._slots, touched, offsets, rows, places)
        return Pairs(bounds - bounds[0], touched[:n], offsets[: n + 1], rows, places)
