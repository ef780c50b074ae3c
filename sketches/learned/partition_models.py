"""The models of one repetition of a `LabelHash`: any classifier of scikit-learn learns the buckets of labels.

This module imports scikit-learn, so no module imports it that `import mergesketch` imports.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

__all__ = ["BucketModel", "Targets", "leaves_of", "make_model"]


_NO_NEW_BUCKETS = (
    "partial_fit cannot add buckets that the rows of fit did not have: begin with partial_fit, and do not "
    "call fit"
)


class Targets(NamedTuple):
    """The buckets of the labels of each row: those of row i are ``buckets[starts[i]:starts[i + 1]]``."""

    starts: NDArray[np.int64]
    buckets: NDArray[np.int64]
    n_buckets: int

    def indicator(self) -> NDArray[np.int8]:
        """Return a matrix with a 1 for each bucket of each row."""
        ones = np.zeros((self.starts.size - 1, self.n_buckets), np.int8)
        ones[np.repeat(np.arange(len(ones)), np.diff(self.starts)), self.buckets] = 1
        return ones


class BucketModel(Protocol):
    """What a `LabelHash` asks of a model: to learn buckets, and to return their probabilities."""

    def fit(self, X: Any, targets: Targets, *, more: bool) -> None:
        """Learn from rows, with `more` in addition to those before."""

    def check_more(self, targets: Targets) -> None:
        """Refuse what the model cannot learn in addition; nothing changes."""

    def probabilities(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each bucket, shape (n, n_buckets)."""

    def leaves(self) -> Iterator[Any]:
        """Yield the classifiers inside, None for one that has seen one class only."""


class ClassModel:
    """One classifier, whose classes are the buckets.

    A row of m labels is learnt m times, with weight 1 / m where the classifier takes weights. So the
    probabilities of a row add up to 1, and a label's part of them is its share of the row's labels.
    """

    def __init__(self, estimator: Any, n_buckets: int) -> None:
        self.estimator = estimator
        self.n_buckets = n_buckets
        #: The one bucket that all rows have had so far.
        self.only: int | None = None

    def fit(self, X: Any, targets: Targets, *, more: bool) -> None:
        counts = np.diff(targets.starts)
        buckets = targets.buckets
        if not (counts == 1).all():
            X = X[np.repeat(np.arange(counts.size), counts)]
        options: dict[str, Any] = {}
        if (counts > 1).any() and has_fit_parameter(self.estimator, "sample_weight"):
            options["sample_weight"] = np.repeat(1.0 / np.maximum(counts, 1), counts)
        if buckets.size == 0:
            return
        if more:
            if self.only is None:
                classes = getattr(self.estimator, "classes_", np.arange(self.n_buckets))
                self.estimator.partial_fit(X, buckets, classes=classes, **options)
        elif (buckets == buckets[0]).all():
            self.only = int(buckets[0])
        else:
            self.estimator.fit(X, buckets, **options)

    def check_more(self, targets: Targets) -> None:
        classes = getattr(self.estimator, "classes_", None) if self.only is None else [self.only]
        if classes is not None and not np.isin(targets.buckets, classes).all():
            raise ValueError(_NO_NEW_BUCKETS)

    def probabilities(self, X: Any) -> NDArray[np.float64]:
        found = np.zeros((X.shape[0], self.n_buckets))
        if self.only is not None:
            found[:, self.only] = 1.0
            return found
        with config_context(assume_finite=True):
            values = _class_probabilities(self.estimator, X)
        found[:, self.estimator.classes_] = values
        return found

    def leaves(self) -> Iterator[Any]:
        yield None if self.only is not None else self.estimator


class IndicatorModel:
    """One classifier of several labels a row, such as a neural network; its labels are the buckets."""

    def __init__(self, estimator: Any, n_buckets: int) -> None:
        self.estimator = estimator
        self.n_buckets = n_buckets

    def fit(self, X: Any, targets: Targets, *, more: bool) -> None:
        if more:
            self.estimator.partial_fit(X, targets.indicator(), classes=np.arange(self.n_buckets))
        else:
            self.estimator.fit(X, targets.indicator())

    def check_more(self, targets: Targets) -> None:
        """Accept all targets."""

    def probabilities(self, X: Any) -> NDArray[np.float64]:
        with config_context(assume_finite=True):
            if not hasattr(self.estimator, "predict_proba"):
                return scipy.special.expit(np.asarray(self.estimator.decision_function(X), float))
            found = self.estimator.predict_proba(X)
        if not isinstance(found, list):
            return np.asarray(found, float)
        # Trees and neighbours have an array for each bucket, with a column for each class that it had.
        columns = [
            values[:, -1] if np.ndim(classes) and classes[-1] == 1 else np.zeros(len(values))
            for values, classes in zip(found, self.estimator.classes_, strict=True)
        ]
        return np.stack(columns, axis=1)

    def leaves(self) -> Iterator[Any]:
        yield self.estimator


class OneVsRestModel:
    """A classifier for each bucket, which learns whether a row has a label in it."""

    def __init__(self, estimator: Any, n_buckets: int) -> None:
        #: A classifier, or the share of rows, 0 or 1, where all rows were alike.
        self.estimators: list[Any] = [clone(estimator) for _ in range(n_buckets)]

    def fit(self, X: Any, targets: Targets, *, more: bool) -> None:
        columns = np.asfortranarray(targets.indicator())
        # The rows have been checked, and would be checked again for each bucket.
        with config_context(assume_finite=True):
            for b, estimator in enumerate(self.estimators):
                column = columns[:, b]
                if more:
                    if not isinstance(estimator, float):
                        estimator.partial_fit(X, column, classes=np.arange(2))
                elif (column == column[0]).all():
                    self.estimators[b] = float(column[0])
                else:
                    estimator.fit(X, column)

    def check_more(self, targets: Targets) -> None:
        columns = targets.indicator()
        for b, estimator in enumerate(self.estimators):
            if isinstance(estimator, float) and (columns[:, b] != estimator).any():
                raise ValueError(_NO_NEW_BUCKETS)

    def probabilities(self, X: Any) -> NDArray[np.float64]:
        found = np.empty((X.shape[0], len(self.estimators)))
        with config_context(assume_finite=True):
            for b, estimator in enumerate(self.estimators):
                is_constant = isinstance(estimator, float)
                found[:, b] = estimator if is_constant else _class_probabilities(estimator, X)[:, 1]
        return found

    def leaves(self) -> Iterator[Any]:
        for estimator in self.estimators:
            yield None if isinstance(estimator, float) else estimator


def make_model(estimator: Any, n_buckets: int, targets: str) -> BucketModel:
    """Return a model that has learnt nothing.

    Parameters
    ----------
    estimator : classifier
        It becomes part of the model.
    n_buckets : int
    targets : {"single", "indicator"}
    """
<<<<<<<< HEAD:sketches/learned/bucket_models.py
    if targets == "single":
        return ClassModel(estimator, n_buckets)
    if get_tags(estimator).classifier_tags.multi_label:
        return IndicatorModel(estimator, n_buckets)
    return OneVsRestModel(estimator, n_buckets)
|||||||| 968d3bb4:sketches/learned/bucket_models.py
    refuse_gpu("Y", Y)
    rows = read_rows(Y, n_items, "Y")
    if rows.n != n_rows:
        raise ValueError(f"Y must have a row for each of the {n_rows} rows of X, got {rows.n}")
    if rows.width >= 1 << 31:
        raise ValueError(f"Y must have fewer than 2**31 columns, got {rows.width}")
    indptr, indices, data = rows.csr
    if data.size and data.min() < 0:
        raise ValueError(f"Y must have numbers of at least 0, got {data.min()}")
    there = data > 0
    if not there.all():
        kept = np.concatenate([[0], np.cumsum(there)])
        indptr, indices = kept[indptr].astype(np.int64), indices[there]
    items = np.ascontiguousarray(indices, np.int32)
    return RightItems(read_only(indptr), read_only(items), rows.width)
========
    refuse_gpu("Y", Y)
    rows = read_rows(Y, n_items, "Y")
    if rows.n != n_rows:
        raise ValueError(f"Y must have a row for each of the {n_rows} rows of X, got {rows.n}")
    if rows.width >= 1 << 31:
        raise ValueError(f"Y must have fewer than 2**31 columns, got {rows.width}")
    indptr, indices, data = _without_zeros(rows)
    if data.size and data.min() < 0:
        raise ValueError(f"Y must have numbers of at least 0, got {data.min()}")
    items = np.ascontiguousarray(indices, np.int32)
    return RightItems(read_only(indptr), read_only(items), rows.width)
>>>>>>>> origin/incoming-partition:sketches/learned/partition_models.py


<<<<<<<< HEAD:sketches/learned/bucket_models.py
def leaves_of(models: list[BucketModel]) -> list[Any]:
    """Return the classifiers of all models; None for those that have seen one class only."""
    return [leaf for model in models for leaf in model.leaves()]
|||||||| 968d3bb4:sketches/learned/bucket_models.py
def root_mean_square(rows: VectorRows) -> float:
    """Return the root of the mean square of the lengths of rows; 1 if all rows are 0."""
    values = rows.csr[2]
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return 1.0
    # Numbers are divided first, because squares of large ones overflow.
    squares = (values.astype(np.float64) / largest) ** 2
    # One order of additions, whatever the memory order of the rows was.
    return max(largest * math.sqrt(float(squares.sum()) / rows.n), float(np.finfo(np.float64).tiny))
========
def _without_zeros(rows: VectorRows) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Return sparse rows without stored zeros, so that sums have the same order as those of dense rows."""
    indptr, indices, data = rows.csr
    there = data != 0
    if there.all():
        return indptr, indices, data
    kept = np.concatenate([[0], np.cumsum(there)])
    return kept[indptr].astype(np.int64), indices[there], data[there]


def root_mean_square(rows: VectorRows) -> float:
    """Return the root of the mean square of the lengths of rows; 1 if all rows are 0."""
    values = _without_zeros(rows)[2]
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return 1.0
    # Numbers are divided first, because squares of large ones overflow.
    squares = (values.astype(np.float64) / largest) ** 2
    # One order of additions, whatever the memory order of the rows was.
    return max(largest * math.sqrt(float(squares.sum()) / rows.n), float(np.finfo(np.float64).tiny))
>>>>>>>> origin/incoming-partition:sketches/learned/partition_models.py


<<<<<<<< HEAD:sketches/learned/bucket_models.py
def _class_probabilities(estimator: Any, X: Any) -> NDArray[np.float64]:
    """Return the probabilities of the classes, from values of the decision function where there are none."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(X), float)
    values = np.asarray(estimator.decision_function(X), float)
    if values.ndim == 1:
        ones = scipy.special.expit(values)
        return np.stack([1.0 - ones, ones], axis=1)
    return np.asarray(scipy.special.softmax(values, axis=1))
|||||||| 968d3bb4:sketches/learned/bucket_models.py
def scaled(rows: VectorRows, length: float, name: str) -> ScaledRows:
    """Return rows divided by a length, as kernels take them.

    Parameters
    ----------
    rows : VectorRows
    length : float
        As `root_mean_square` of the rows of the fit returns it.
    name : str
        Name of the argument in messages.

    Returns
    -------
    ScaledRows

    Raises
    ------
    ValueError
        If a number is too large beside the length.
    """
    indptr, indices, data = rows.csr
    with np.errstate(over="ignore"):
        values = data.astype(np.float64) / length
    largest = float(np.abs(values).max(initial=0.0))
    if largest > _LARGEST:
        raise ValueError(
            f"{name} must have numbers of at most 1e12 times the rows' root mean square length in `fit`, "
            f"{length:g}, got {float(np.abs(data).max()):g}"
        )
    return ScaledRows(
        read_only(np.ascontiguousarray(indptr, np.int64)),
        read_only(np.ascontiguousarray(indices, np.int32)),
        read_only(values.astype(np.float32)),
    )


# -- networks ---------------------------------------------------------------------------------------


def draw_order(seed: int, purpose: str, n: int) -> NDArray[np.int64]:
    """Return the numbers below n in an order that is drawn from a seed."""
    return np.argsort(random_uint64(seed, purpose, n), kind="stable")


def new_model(seed: int, purpose: str, n_features: int, n_hidden: int, n_buckets: int) -> BucketModel:
    """Return a network whose hidden units are random, and which gives all buckets the same probability."""
    weights = normal(seed, purpose, n_features * n_hidden).reshape(n_features, n_hidden)
    return BucketModel(
        weights,
        np.zeros(n_hidden, np.float32),
        np.zeros((n_hidden, n_buckets), np.float32),
        np.zeros(n_buckets, np.float32),
    )


def train(
    model: BucketModel,
    rows: ScaledRows,
    right: RightItems,
    places: NDArray[np.int32],
    orders: list[NDArray[np.int64]],
    rate: float,
) -> None:
    """Train a network, in place, to predict the buckets of the right items of rows.

    Parameters
    ----------
    model : BucketModel
    rows : ScaledRows
    right : RightItems
    places : int32 array
        The bucket of each item.
    orders : list of arrays
        The order of the rows in each pass over them.
    rate : float
        The step of gradient descent.
    """
    squares = [np.zeros(len(model.hidden_weights), np.float32), *map(np.zeros_like, model[1:])]
    for order in orders:
        bucket_model.train_rows(
            *rows, right.offsets, right.items, read_only(places), read_only(order), np.float32(rate), 0,
            order.size, *model, *squares,
        )  # fmt: skip


def predict(model: BucketModel, rows: ScaledRows, order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the probabilities of buckets for the rows of some numbers.

    Parameters
    ----------
    model : BucketModel
    rows : ScaledRows
    order : int64 array of shape (n,)

    Returns
    -------
    ndarray of shape (n, n_buckets), float32
    """
    scores = np.empty((order.size, model.bucket_bias.size), np.float32)
    given, arrays = read_only(order), [read_only(array) for array in model]
    map_blocks(
        lambda start, stop: bucket_model.score_buckets(*rows, given, *arrays, start, stop, scores),
        order.size,
        _ROWS,
    )
    return scores


def mean_probabilities(model: BucketModel, rows: ScaledRows) -> NDArray[np.float32]:
    """Return the mean probability of each bucket over rows, and 1e-9 where it is less."""
    n, n_buckets = rows.indptr.size - 1, model.bucket_bias.size
    total = np.zeros(n_buckets)
    for start, stop in cut_range(0, n, max(1, _PROBABILITIES // n_buckets)):
        total += predict(model, rows, np.arange(start, stop)).sum(axis=0, dtype=np.float64)
    means: NDArray[np.float32] = np.maximum(total / max(n, 1), _LEAST).astype(np.float32)
    return means
========
def scaled(rows: VectorRows, length: float, name: str) -> ScaledRows:
    """Return rows divided by a length, as kernels take them.

    Parameters
    ----------
    rows : VectorRows
    length : float
        As `root_mean_square` of the rows of the fit returns it.
    name : str
        Name of the argument in messages.

    Returns
    -------
    ScaledRows

    Raises
    ------
    ValueError
        If a number is too large beside the length.
    """
    indptr, indices, data = _without_zeros(rows)
    with np.errstate(over="ignore"):
        values = data.astype(np.float64) / length
    largest = float(np.abs(values).max(initial=0.0))
    if largest > _LARGEST:
        raise ValueError(
            f"{name} must have numbers of at most 1e12 times the rows' root mean square length in `fit`, "
            f"{length:g}, got {float(np.abs(data).max()):g}"
        )
    return ScaledRows(
        read_only(np.ascontiguousarray(indptr, np.int64)),
        read_only(np.ascontiguousarray(indices, np.int32)),
        read_only(values.astype(np.float32)),
    )


# -- networks ---------------------------------------------------------------------------------------


def draw_order(seed: int, purpose: str, n: int) -> NDArray[np.int64]:
    """Return the numbers below n in an order that is drawn from a seed."""
    return np.argsort(random_uint64(seed, purpose, n), kind="stable")


def new_model(seed: int, purpose: str, n_features: int, n_hidden: int, n_buckets: int) -> BucketModel:
    """Return a network whose hidden units are random, and which gives all buckets the same probability."""
    weights = normal(seed, purpose, n_features * n_hidden).reshape(n_features, n_hidden)
    return BucketModel(
        weights,
        np.zeros(n_hidden, np.float32),
        np.zeros((n_hidden, n_buckets), np.float32),
        np.zeros(n_buckets, np.float32),
    )


def train(
    model: BucketModel,
    rows: ScaledRows,
    right: RightItems,
    places: NDArray[np.int32],
    orders: list[NDArray[np.int64]],
    rate: float,
) -> None:
    """Train a network, in place, to predict the buckets of the right items of rows.

    Parameters
    ----------
    model : BucketModel
    rows : ScaledRows
    right : RightItems
    places : int32 array
        The bucket of each item.
    orders : list of arrays
        The order of the rows in each pass over them.
    rate : float
        The step of gradient descent.
    """
    squares = [np.zeros(len(model.hidden_weights), np.float32), *map(np.zeros_like, model[1:])]
    for order in orders:
        bucket_model.train_rows(
            *rows, right.offsets, right.items, read_only(places), read_only(order), np.float32(rate), 0,
            order.size, *model, *squares,
        )  # fmt: skip


def predict(model: BucketModel, rows: ScaledRows, order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the probabilities of buckets for the rows of some numbers.

    Parameters
    ----------
    model : BucketModel
    rows : ScaledRows
    order : int64 array of shape (n,)

    Returns
    -------
    ndarray of shape (n, n_buckets), float32
    """
    scores = np.empty((order.size, model.bucket_bias.size), np.float32)
    given, arrays = read_only(order), [read_only(array) for array in model]
    map_blocks(
        lambda start, stop: bucket_model.score_buckets(*rows, given, *arrays, start, stop, scores),
        order.size,
        _ROWS,
    )
    return scores


def mean_probabilities(model: BucketModel, rows: ScaledRows) -> NDArray[np.float32]:
    """Return the mean probability of each bucket over rows, and 1e-9 where it is less."""
    n, n_buckets = rows.indptr.size - 1, model.bucket_bias.size
    total = np.zeros(n_buckets)
    for start, stop in cut_range(0, n, max(1, _PROBABILITIES // n_buckets)):
        total += predict(model, rows, np.arange(start, stop)).sum(axis=0, dtype=np.float64)
    means: NDArray[np.float32] = np.maximum(total / max(n, 1), _LEAST).astype(np.float32)
    return means
>>>>>>>> origin/incoming-partition:sketches/learned/partition_models.py
