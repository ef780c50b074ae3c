"""Rows and targets as the network of `SlideClassifier` takes them, and batches of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from .slide_targets import Targets

__all__ = ["Batch", "Examples", "SparseRows", "cut_rows", "sparse_rows", "take_batch"]


class SparseRows(NamedTuple):
    """Rows of a sparse matrix, whose last column is 1 in every row and stands for the bias.

    Attributes
    ----------
    bounds : ndarray of int64
        Row b has the entries from ``bounds[b]`` to ``bounds[b + 1]``.
    columns : ndarray of int32
    values : ndarray of float32
    """

    bounds: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]

    @property
    def n(self) -> int:
        return len(self.bounds) - 1


class Batch(NamedTuple):
    """Rows with their targets.

    Attributes
    ----------
    rows : SparseRows
    targets : ndarray of int32
        Row b has the distinct labels from ``bounds[b]`` to ``bounds[b + 1]``.
    bounds : ndarray of int64
    """

    rows: SparseRows
    targets: NDArray[np.int32]
    bounds: NDArray[np.int64]

    @property
    def n_targets(self) -> NDArray[np.int32]:
        """The number of targets of each row."""
        return np.diff(self.bounds).astype(np.int32)


class Examples:
    """Rows to learn from, with their targets.

    Parameters
    ----------
    rows : SparseRows
    targets : Targets

    Attributes
    ----------
    n : int
        The number of rows.
    n_targets : int
        The number of targets of all rows together.
    """

    def __init__(self, rows: SparseRows, targets: Targets) -> None:
        self.rows, self.targets = rows, targets
        self.n, self.n_targets = rows.n, len(targets.labels)

    def counts(self, n_labels: int) -> NDArray[np.int64]:
        """Return the number of rows of each label."""
        return self.targets.counts(n_labels)

    def take(self, chosen: NDArray[np.int64]) -> Batch:
        """Return some rows with their targets."""
        return take_batch(self.rows, self.targets, chosen)


def sparse_rows(X: Any) -> SparseRows:
    """Return validated rows with a last column of ones."""
    if not hasattr(X, "tocsr"):
        X = csr_matrix(X)
    n = X.shape[0]
    indptr = X.indptr.astype(np.int64)
    bounds = indptr + np.arange(n + 1)
    columns = np.empty(len(X.indices) + n, np.int32)
    values = np.empty(len(columns), np.float32)
    is_bias = np.zeros(len(columns), np.bool_)
    is_bias[bounds[1:] - 1] = True
    columns[is_bias], values[is_bias] = X.shape[1], 1.0
    columns[~is_bias], values[~is_bias] = X.indices, X.data
    return SparseRows(bounds, columns, values)


def cut_rows(rows: SparseRows, start: int, stop: int) -> SparseRows:
    """Return the rows [start, stop)."""
    a, b = rows.bounds[start], rows.bounds[stop]
    return SparseRows(rows.bounds[start : stop + 1] - a, rows.columns[a:b], rows.values[a:b])


def take_batch(rows: SparseRows, targets: Targets, chosen: NDArray[np.int64]) -> Batch:
    """Return some rows with their targets."""
    bounds, entries = _entries(rows.bounds, chosen)
    target_bounds, labels = _entries(targets.bounds, chosen)
    return Batch(
        SparseRows(bounds, rows.columns[entries], rows.values[entries]), targets.labels[labels], target_bounds
    )


def _entries(
    bounds: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bounds of the chosen rows, and the numbers of their entries."""
    starts, sizes = bounds[chosen], bounds[chosen + 1] - bounds[chosen]
    own = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return own, np.arange(own[-1]) + np.repeat(starts - own[:-1], sizes)
