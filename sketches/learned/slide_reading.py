"""Read the rows and the labels that callers of `SlideClassifier` pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ...lsh.inputs.sparse_structure import csr_parts
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int
from ..core.estimator import validated
from .slide_batches import SparseRows, sparse_rows
from .slide_targets import MOST_LABELS, Targets, is_lists, is_multilabel, read_labels, refuse_sparse_tensor

__all__ = ["Known", "read_rows", "read_rows_and_labels"]


class Known(NamedTuple):
    """Hold what the first rows of an estimator have decided.

    Attributes
    ----------
    classes : ndarray of shape (n_labels,)
        The classes in rising order, or the numbers of the labels.
    is_multilabel : bool
        Whether a row may have several labels.
    """

    classes: NDArray[Any]
    is_multilabel: bool


def read_rows(estimator: BaseEstimator, X: Any, *, reset: bool) -> SparseRows:
    """Return rows for the network; with `reset` they decide on the estimator's number of features."""
    return sparse_rows(_validated(estimator, X, reset=reset))


def read_rows_and_labels(
    estimator: BaseEstimator,
    X: Any,
    Y: Any,
    classes: Any = None,
    n_labels: int | None = None,
    *,
    known: Known | None,
    partial: bool = False,
) -> tuple[SparseRows, Targets, Known]:
    """Return rows and their targets for the network, and the classes.

    Parameters
    ----------
    estimator : BaseEstimator
        It gets the number and the names of the features, if these are the first rows.
    X, Y, classes, n_labels
        As for `SlideClassifier.partial_fit`.
    known : Known or None
        What the first rows have decided. None for the first rows.
    partial : bool
        Whether more rows may follow, which may have further classes.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid, or does not fit to what is known.
    """
    refuse_gpu("SlideClassifier", X, Y)
    if Y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    if n_labels is not None:
        n_labels = check_int("n_labels", n_labels, 1, MOST_LABELS)
    multilabel = is_multilabel(Y)
    if known is not None and multilabel != known.is_multilabel:
        kinds = ("one class for each row", "labels of which a row may have several")
        raise ValueError(f"Y must have {kinds[known.is_multilabel]}, got {kinds[multilabel]}")
    own = None if known is None else known.classes
    if multilabel:
        if classes is not None:
            raise ValueError("classes must be None where Y has labels; give n_labels for lists of ids")
        rows = read_rows(estimator, X, reset=known is None)
        targets = _read_ids(Y, n_labels, rows.n, own, partial=partial)
        if own is None:
            own = np.arange(targets.n_labels)
    else:
        rows, targets, own = _read_classes(estimator, X, Y, classes, own, partial=partial)
    if known is None and len(own) < 2:
        raise ValueError(f"y must have at least 2 classes, got {len(own)} class: {own}")
    return rows, targets, Known(own, multilabel)


def _read_ids(
    Y: Any, n_labels: int | None, n_rows: int, own: NDArray[Any] | None, *, partial: bool
) -> Targets:
    """Return the targets of rows that may have several labels; `own` are the labels known before."""
    known = n_labels if own is None else len(own)
    if n_labels is not None and n_labels != known:
        raise ValueError(f"n_labels must be {known}, as in the first call, got {n_labels}")
    if own is None and partial and n_labels is None and is_lists(Y):
        raise ValueError("n_labels must be given with the first call of partial_fit, got None")
    targets = read_labels(Y, known)
    if targets.n != n_rows:
        raise ValueError(f"Y must have {n_rows} rows, as many as X, got {targets.n}")
    return targets


def _read_classes(
    estimator: BaseEstimator, X: Any, y: Any, classes: Any, own: NDArray[Any] | None, *, partial: bool
) -> tuple[SparseRows, Targets, NDArray[Any]]:
    """Return rows of one class each, their targets, and all classes; `own` are those known before."""
    X, y = _validated(estimator, X, column_or_1d(y, warn=True), reset=own is None)
    check_classification_targets(y)
    if own is None:
        if partial and classes is None:
            raise ValueError("classes must be given with the first call of partial_fit, got None")
        own = np.unique(y if classes is None else column_or_1d(classes))
    elif classes is not None and not np.array_equal(np.unique(classes), own):
        raise ValueError(f"classes must be those of the first call, {own}, got {classes!r}")
    numbers = np.searchsorted(own, y)
    unknown = own[np.minimum(numbers, len(own) - 1)] != y
    if unknown.any():
        raise ValueError(f"y must hold labels of classes {own}, got {y[unknown].tolist()[0]!r}")
    return sparse_rows(X), Targets.of_classes(numbers), own


def _validated(estimator: BaseEstimator, X: Any, *y: Any, reset: bool) -> Any:
    """Return rows, and classes if they are given, after scikit-learn's checks."""
    # These add up all numbers, which is not finite for some rows that are refused only later.
    with np.errstate(invalid="ignore"):
        return validated(estimator, _checked(X), *y, reset=reset, accept_sparse="csr", dtype=np.float32)


def _checked(X: Any) -> Any:
    """Return `X`; a sparse matrix in its canonical form, unless its parts contradict each other."""
    refuse_gpu("SlideClassifier", X)
    refuse_sparse_tensor(X, "X")
    if not hasattr(X, "tocsr"):
        return X
    parts = csr_parts(X, "X")
    if not parts.n_falls:
        return parts.matrix
    matrix = parts.matrix.copy()
    matrix.sum_duplicates()
    return matrix
