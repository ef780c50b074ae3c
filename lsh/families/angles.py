"""Exact angles between rows, from which families of angles compute their kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..inputs.rows import read_rows
from ..support.backend import refuse_gpu

__all__ = ["angles_of_rows", "unit_rows"]


def angles_of_rows(X: Any, Y: Any, n_features: int | None) -> NDArray[np.float64]:
    """Return the angles of all pairs of rows in radians, shape (len(X), len(Y)).

    The angle of a row of zeros is pi / 2 to every other row, and 0 to another row of zeros.
    """
    left, right = unit_rows(X, n_features), unit_rows(Y, n_features, "Y")
    if hasattr(left, "indices") and hasattr(right, "indices"):
        left, right = _used_columns(left, right)
    cosine = left @ right.T
    cosine = np.asarray(cosine.toarray() if hasattr(cosine, "toarray") else cosine, dtype=np.float64)
    angle: NDArray[np.float64] = np.arccos(np.clip(cosine, -1.0, 1.0))
    angle[np.ix_(_zero_rows(left), _zero_rows(right))] = 0.0
    return angle


def unit_rows(X: Any, n_features: int | None, name: str = "X") -> Any:
    """Return rows of length 1 in float64: a matrix, or a sparse array for sparse rows."""
    rows = read_rows(X, n_features, name)
    refuse_gpu("kernel", rows.arrays[-1])
    if rows.form == "dense":
        dense = rows.dense.astype(np.float64)
        scaled = dense / np.maximum(np.abs(dense).max(axis=1, initial=0.0, keepdims=True), 1e-300)
        return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-300)
    indptr, indices, data = rows.csr
    # Products of matrices would take memory for every column.
    row = np.repeat(np.arange(rows.n), np.diff(indptr))
    largest = np.zeros(rows.n)
    np.maximum.at(largest, row, np.abs(data))
    scaled = data / np.maximum(largest, 1e-300)[row]
    lengths = np.sqrt(np.bincount(row, scaled * scaled, rows.n))
    entries = scaled / np.maximum(lengths, 1e-300)[row]
    return scipy.sparse.csr_array((entries, indices, indptr), shape=(rows.n, rows.width))


def _used_columns(left: Any, right: Any) -> tuple[Any, Any]:
    """Return sparse rows without the columns that are empty in both, which would cost products memory."""
    indices = np.concatenate([left.indices, right.indices])
    columns, places = np.unique(indices, return_inverse=True)
    parts = places[: left.indices.size], places[left.indices.size :]
    left, right = (
        scipy.sparse.csr_array((m.data, part, m.indptr), shape=(m.shape[0], columns.size))
        for m, part in zip((left, right), parts, strict=True)
    )
    return left, right


def _zero_rows(unit: Any) -> NDArray[np.intp]:
    """Return the numbers of rows of zeros."""
    if hasattr(unit, "indptr"):
        row = np.repeat(np.arange(unit.shape[0]), np.diff(unit.indptr))
        return np.flatnonzero(np.bincount(row, unit.data != 0, unit.shape[0]) == 0)
    return np.flatnonzero(~unit.any(axis=1))
