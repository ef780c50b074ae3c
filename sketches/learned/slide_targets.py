"""Targets of `SlideClassifier`: the labels of rows, in each of the forms in which callers pass them."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.columns import refuse_masked
from ...lsh.inputs.frames import open_rows
from ...lsh.inputs.libraries import is_arrow_column, is_from
from ...lsh.inputs.sparse_structure import csr_parts
from ...lsh.support.checks import NO_INTEGERS

__all__ = ["MOST_LABELS", "Targets", "is_lists", "is_multilabel", "read_labels", "refuse_sparse_tensor"]

#: Labels are numbered in int32.
MOST_LABELS = 2**31 - 2


class Targets(NamedTuple):
    """The distinct labels of rows.

    Attributes
    ----------
    labels : ndarray of int32
        Row b has those from ``bounds[b]`` to ``bounds[b + 1]``, in rising order.
    bounds : ndarray of int64
    n_labels : int
        The number of labels that the form shows: the columns of a matrix, or the largest label plus 1.
    """

    labels: NDArray[np.int32]
    bounds: NDArray[np.int64]
    n_labels: int

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.bounds) - 1

    def counts(self, n_labels: int) -> NDArray[np.int64]:
        """Return the number of rows of each label."""
        return np.bincount(self.labels, minlength=n_labels)

    def has(self, labels: NDArray[np.int64], n_labels: int) -> NDArray[np.bool_]:
        """Tell for the labels of each row, shape (n, k), if the row has them; each is below `n_labels`."""
        width = np.int64(n_labels)
        own = np.repeat(np.arange(self.n), np.diff(self.bounds)) * width + self.labels
        return np.isin(np.arange(self.n)[:, None] * width + labels, own)

    @classmethod
    def of_classes(cls, numbers: NDArray[np.integer]) -> Targets:
        """Return the targets of rows of one class each."""
        return cls(numbers.astype(np.int32), np.arange(len(numbers) + 1), int(numbers.max(initial=-1)) + 1)


def is_multilabel(Y: Any) -> bool:
    """Tell whether targets are labels of which a row may have several, and not one class for each row."""
    if hasattr(Y, "tocsr"):
        return True
    refuse_sparse_tensor(Y, "Y")
    if _is_column_of_lists(Y):
        return True
    if is_lists(Y):
        return len(Y) > 0 and all(isinstance(row, (list, tuple, Set, np.ndarray)) for row in Y)
    shape: tuple[int, ...] = getattr(Y, "shape", ())
    return len(shape) == 2 and shape[1] != 1


def is_lists(Y: Any) -> bool:
    """Tell whether targets are a sequence, and no array or matrix of numbers: of lists, or of classes."""
    return isinstance(Y, (list, tuple)) or _has_objects(Y) or _is_column_of_lists(Y)


def _is_column_of_lists(Y: Any) -> bool:
    """Tell whether `Y` is a column of lists of polars or Arrow, or one of pandas that is stored by Arrow."""
    if is_from(Y, "polars", "Series"):
        return str(Y.dtype).startswith(("List", "Array"))
    if is_arrow_column(Y):
        return "list" in str(Y.type).partition("<")[0]
    return is_from(Y, "pandas", "Series") and "list<" in str(Y.dtype)


def refuse_sparse_tensor(values: Any, name: str) -> None:
    """Raise TypeError for a sparse tensor of PyTorch, which has no form that NumPy reads."""
    if is_from(values, "torch", "Tensor") and str(values.layout) != "torch.strided":
        raise TypeError(
            f"{name} must be dense or a sparse matrix of SciPy, got a tensor of layout {values.layout}: "
            "call to_dense()"
        )


def _has_objects(Y: Any) -> bool:
    """Tell whether `Y` is one column of Python objects, which may be lists."""
    return getattr(Y, "dtype", None) == np.dtype(object) and getattr(Y, "ndim", 0) == 1


def read_labels(Y: Any, n_labels: int | None = None) -> Targets:
    """Read an indicator matrix, or lists of label ids.

    Parameters
    ----------
    Y : matrix of shape (n, n_labels), sparse or dense, of zeros and ones; or list of n lists of ids
        Ids may repeat in a list, in any order. A list of lists is always read as ids.
    n_labels : int, optional
        The number of labels, which a matrix must have, and below which ids must lie.

    Raises
    ------
    TypeError, ValueError
        If `Y` is neither, or has other numbers.
    """
    refuse_masked(Y, "Y")
    refuse_sparse_tensor(Y, "Y")
    if is_lists(Y):
        if _is_column_of_lists(Y):
            Y = Y.to_pylist() if is_arrow_column(Y) else Y.to_list()
        rows, columns = _pairs_of_lists(Y, n_labels)
        n, width = len(Y), n_labels if n_labels is not None else int(columns.max(initial=-1)) + 1
    else:
        rows, columns, n, width = _pairs_of_matrix(Y)
        if n_labels is not None and width != n_labels:
            raise ValueError(f"Y must have {n_labels} columns, one for each label, got {width}")
    # Sorted by row and label, and each pair once.
    pairs = np.unique(rows * np.int64(max(width, 1)) + columns)
    rows, columns = np.divmod(pairs, max(width, 1))
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(rows, minlength=n))])
    return Targets(columns.astype(np.int32), bounds, width)


def _pairs_of_lists(Y: Any, n_labels: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    most = MOST_LABELS if n_labels is None else n_labels
    parts = [_ids_of(row, i, most) for i, row in enumerate(Y)]
    sizes = [len(part) for part in parts]
    ids = np.concatenate([np.empty(0, np.int64), *parts])
    return np.repeat(np.arange(len(parts)), sizes), ids


def _ids_of(row: Any, i: int, most: int) -> NDArray[np.int64]:
    name = f"Y[{i}]"
    refuse_masked(row, name)
    values = list(row) if isinstance(row, Set) else row
    if isinstance(values, (list, tuple)) and any(isinstance(value, NO_INTEGERS) for value in values):
        raise TypeError(f"{name} must hold label ids, integers of at least 0, got {row!r}")
    ids = np.asarray(values)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise TypeError(f"{name} must hold label ids, integers of at least 0, got {row!r}")
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= most):
        wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
        raise ValueError(f"{name} must hold label ids from 0 to {most - 1}, got {wrong}")
    return ids.astype(np.int64)


def _pairs_of_matrix(Y: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    if hasattr(Y, "tocsr"):
        matrix = csr_parts(Y, "Y").matrix
        values, (n, width) = matrix.data, matrix.shape
        rows = np.repeat(np.arange(n), np.diff(matrix.indptr))
        columns = matrix.indices.astype(np.int64)
        kept = values != 0
        rows, columns = rows[kept], columns[kept]
    else:
        array = np.asarray(open_rows(Y, "Y"))
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            raise TypeError(
                f"Y must be classes, lists of label ids, or a matrix of zeros and ones, got an array of "
                f"shape {array.shape} and dtype {array.dtype}"
            )
        n, width = array.shape
        rows, columns = np.nonzero(array)
        values = array
    wrong = values[(values != 0) & (values != 1)]
    if wrong.size:
        raise ValueError(f"Y must hold zeros and ones, got {wrong.ravel()[0]!r}")
    if width > MOST_LABELS:
        raise ValueError(f"Y must have at most {MOST_LABELS} columns, got {width}")
    return rows, columns, int(n), int(width)
