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
        """Return a dense matrix, a byte an entry, with a 1 for each bucket of each row."""
        ones = np.zeros((self.starts.size - 1, self.n_buckets), np.int8)
        ones[np.repeat(np.arange(len(ones)), np.diff(self.starts)), self.buckets] = 1
        return ones

    def columns(self) -> Iterator[NDArray[np.int8]]:
        """Yield for each bucket which rows have a label in it, as ones and zeros."""
        n_rows = self.starts.size - 1
        owners = np.repeat(np.arange(n_rows), np.diff(self.starts))
        owners = owners[np.argsort(self.buckets, kind="stable")]
        ends = np.cumsum(np.bincount(self.buckets, minlength=self.n_buckets))
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            column = np.zeros(n_rows, np.int8)
            column[owners[start:stop]] = 1
            yield column


class BucketModel(Protocol):
    """The methods that a `LabelHash` needs of a model, which learns buckets and returns probabilities."""

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
        # The rows have been checked, and would be checked again for each bucket.
        with config_context(assume_finite=True):
            for b, column in enumerate(targets.columns()):
                estimator = self.estimators[b]
                if more:
                    if not isinstance(estimator, float):
                        estimator.partial_fit(X, column, classes=np.arange(2))
                elif (column == column[0]).all():
                    self.estimators[b] = float(column[0])
                else:
                    estimator.fit(X, column)

    def check_more(self, targets: Targets) -> None:
        for estimator, column in zip(self.estimators, targets.columns(), strict=True):
            if isinstance(estimator, float) and (column != estimator).any():
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
    if targets == "single":
        return ClassModel(estimator, n_buckets)
    if get_tags(estimator).classifier_tags.multi_label:
        return IndicatorModel(estimator, n_buckets)
    return OneVsRestModel(estimator, n_buckets)


def leaves_of(models: list[BucketModel]) -> list[Any]:
    """Return the classifiers of all models; None for those that have seen one class only."""
    return [leaf for model in models for leaf in model.leaves()]


def _class_probabilities(estimator: Any, X: Any) -> NDArray[np.float64]:
    """Return the probabilities of the classes, from values of the decision function where there are none."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(X), float)
    values = np.asarray(estimator.decision_function(X), float)
    if values.ndim == 1:
        ones = scipy.special.expit(values)
        return np.stack([1.0 - ones, ones], axis=1)
    return np.asarray(scipy.special.softmax(values, axis=1))
