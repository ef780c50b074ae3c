"""The labels of rows, in each form in which a caller may pass them.

This module imports scikit-learn, so no module imports it that `import mergesketch` imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

from .label_values import comparable, joined_classes, read_set_labels, read_values

__all__ = [
    "LabelRows",
    "are_sets",
    "merged_classes",
    "read_label_rows",
    "read_label_sets",
]


class LabelRows(NamedTuple):
    """The labels of rows: those of row i are ``classes[numbers[starts[i]:starts[i + 1]]]``.

    Attributes
    ----------
    classes : ndarray of shape (n_labels,)
        Sorted. For a matrix they are the numbers of its columns.
    numbers : ndarray of int64
    starts : ndarray of shape (n + 1,), int64
    form : {"one", "dense", "sparse", "sets"}
    dtype : numpy.dtype
        That of the matrix of labels; of zeros and ones for sets.
    """

    classes: NDArray[Any]
    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]
    form: str

    dtype: Any = None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.starts.size - 1

    @property
    def is_matrix(self) -> bool:
        """Tell whether the labels are the columns of a matrix."""
        return self.form in ("dense", "sparse")

    def with_classes(self, classes: NDArray[Any]) -> LabelRows:
        """Return the labels with the numbers that they have among more classes, those here and `classes`."""
        if self.is_matrix:
            if not np.array_equal(self.classes, classes):
                raise ValueError(
                    f"classes must be 0 to {self.classes.size - 1}, the columns of y, or be left out"
                )
            return self
        every = merged_classes(classes, self)
        places = np.searchsorted(every, self.classes.astype(every.dtype))
        return self._replace(classes=every, numbers=places[self.numbers])

    def among(self, classes: NDArray[Any]) -> Any:
        """Return the CSR array of shape (n_rows, n_classes) that has a 1 for each label among `classes`.

        Raises
        ------
        ValueError
            If they are numbers here and strings there.
        """
        ours, theirs = comparable(self.classes, classes)
        known = np.isin(ours, theirs)[self.numbers]
        owners = np.repeat(np.arange(self.n_rows), np.diff(self.starts))[known]
        columns = np.searchsorted(theirs, ours)[self.numbers[known]]
        ones = np.ones(owners.size)
        return scipy.sparse.csr_array((ones, (owners, columns)), shape=(self.n_rows, classes.size))


def are_sets(y: Any) -> bool:
    """Tell whether `y` is a sequence of sets of labels; lists of lists are matrices, as in scikit-learn."""
    listed = isinstance(y, Sequence) or (
        getattr(getattr(y, "dtype", None), "kind", "") == "O" and np.ndim(y) == 1
    )
    return listed and len(y) > 0 and all(isinstance(labels, (set, frozenset)) for labels in y)


def read_label_sets(y: Iterable[Any]) -> LabelRows:
    """Return the labels of rows that are given as sets."""
    y = list(y)
    flat = [label for labels in y for label in labels]
    array = read_set_labels(flat)
    classes, numbers = np.unique(array, return_inverse=True)
    starts = np.append(0, np.cumsum([len(labels) for labels in y])).astype(np.int64)
    numbers = _sorted_rows(numbers.astype(np.int64), starts)
    return LabelRows(classes, numbers, starts, "sets", np.dtype(np.int64))


def merged_classes(classes: NDArray[Any], rows: LabelRows) -> NDArray[Any]:
    """Return the classes before and those of the rows, sorted.

    Raises
    ------
    ValueError
        If they are numbers here and strings there, integers without a common dtype, or matrices of
        different widths.
    """
    if rows.is_matrix and classes.size != rows.classes.size:
        raise ValueError(f"y must have {classes.size} columns, as before, got {rows.classes.size}")
    return joined_classes(classes, rows.classes)


def read_label_rows(labels: Any) -> LabelRows:
    """Return the labels of an array or matrix that scikit-learn has checked.

    Raises
    ------
    TypeError, ValueError
        If `labels` has neither one label a row nor is a matrix of zeros and ones, or has labels of several
        types.
    """
    if scipy.sparse.issparse(labels):
        matrix: Any = labels
        return _read_matrix(scipy.sparse.csr_array(matrix, copy=True), "sparse")
    y = np.asarray(labels)
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
            raise ValueError("y must hold zeros and ones where it is a matrix: a column for each label")
        return _read_matrix(scipy.sparse.csr_array(y), "dense")
    y = read_values(column_or_1d(y, warn=True))
    classes, numbers = np.unique(y, return_inverse=True)
    return LabelRows(classes, numbers.astype(np.int64), np.arange(y.size + 1, dtype=np.int64), "one", y.dtype)


def _read_matrix(matrix: Any, form: str) -> LabelRows:
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"y must hold zeros and ones, got dtype {matrix.dtype}")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not (matrix.data == 1).all():
        raise ValueError("y must hold zeros and ones where it is a matrix: a column for each label")
    classes = np.arange(matrix.shape[1])
    numbers, starts = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return LabelRows(classes, numbers, starts, form, matrix.dtype)


def _sorted_rows(numbers: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of each row in rising order: sets have none, and it differs between runs."""
    owners = np.repeat(np.arange(starts.size - 1), np.diff(starts))
    return numbers[np.lexsort((numbers, owners))]
