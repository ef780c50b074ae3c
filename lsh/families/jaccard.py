"""Exact Jaccard similarities of sets, from which families of sets compute their kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..inputs.sets import SetRows

__all__ = ["jaccard_of_sets"]


def jaccard_of_sets(X: SetRows, Y: SetRows) -> NDArray[np.float64]:
    """Return the Jaccard similarities of all pairs of sets, shape (X.n, Y.n).

    Two empty sets have similarity 1; an empty set and another one have 0.
    """
    (x, x_offsets), (y, y_offsets) = X.words(), Y.words()
    vocabulary, columns = np.unique(np.concatenate([x, y]), return_inverse=True)
    left = _indicators(columns[: x.size], x_offsets, vocabulary.size)
    right = _indicators(columns[x.size :], y_offsets, vocabulary.size)
    common = np.asarray((left @ right.T).toarray(), dtype=np.float64)
    union = np.diff(left.indptr)[:, None] + np.diff(right.indptr)[None, :] - common
    return np.asarray(np.divide(common, union, out=np.ones_like(common), where=union > 0))


def _indicators(columns: NDArray[Any], offsets: NDArray[np.int64], n_columns: int) -> Any:
    """Return sets as rows of zeros and ones, in a SciPy sparse array."""
    # The offsets are copied, because adding up entries changes them in place and they may be the caller's.
    matrix = scipy.sparse.csr_array(
        (np.ones(columns.size, np.int64), columns, offsets.copy()), shape=(offsets.size - 1, n_columns)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
