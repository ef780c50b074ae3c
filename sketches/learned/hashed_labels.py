"""Training of classifiers of hashed labels: whole sets, batches, and averages of clients.

This module imports scikit-learn, so no module imports it that `import mergesketch` imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.random import random_uint64
from ...lsh.support.types import RowsLike
from ..core.estimator import restored_if_it_raises, seed_of, validated
from ..core.merging import parts_of
from .bucket_models import BucketModel, Targets, leaves_of, make_model
from .label_buckets import MOST_BUCKETS, MOST_REPETITIONS, buckets_of_labels, size_for
from .label_readout import LabelLists
from .label_rows import LabelRows, are_sets, merged_classes, read_label_rows, read_label_sets
from .label_values import prepared, read_classes
from .model_average import averages, read_weights, row_weights, set_averages

__all__ = ["CONFIDENCE", "STANDARD_ERROR", "HashedLabels", "set_average"]

#: The largest standard error that is chosen, and the probability that all labels differ.
STANDARD_ERROR, CONFIDENCE = 0.02, 0.99
#: Values of probabilities that are made at a time: 64 MB.
_VALUES = 1 << 23
#: Probabilities are rounded to multiples of 2**-40. Sums of them are exact, so labels that differ by rounding
#: errors only have equal estimates, in every batch.
_UNIT = 2.0**40
_TARGETS = ("auto", "single", "indicator")
_READOUTS = ("auto", "mean", "min")


def _has_partial_fit(self: Any) -> bool:
    return hasattr(self._base(), "partial_fit")


class HashedLabels(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Train the classifiers of `LabelHash`, which has the answers."""

    estimator: Any
    n_repetitions: Any
    n_buckets: Any
    targets: str
    readout: str
    n_jobs: int | None
    random_state: Any

    classes_: NDArray[Any]
    buckets_: NDArray[np.uint16]
    models_: list[BucketModel]
    n_repetitions_: int
    n_buckets_: int
    n_rows_: int
    n_features_in_: int
    form_: str
    #: The dtype of a matrix of labels.
    _label_dtype: Any
    #: The labels of each bucket, after a query has needed them.
    _lists: LabelLists | None
    targets_: str
    readout_: str
    seed_: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        base = get_tags(self._base())
        tags.input_tags.sparse = base.input_tags.sparse
        tags.classifier_tags.multi_label = True
        return tags

    def _base(self) -> Any:
        return LogisticRegression() if self.estimator is None else self.estimator

    # -- learning ---------------------------------------------------------------------------------

    def fit(self, X: RowsLike, y: Any) -> Self:
        """Learn from rows and labels, and forget what was learnt before.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Also sparse if the estimator takes sparse rows.
        y : array_like of shape (n,), or matrix of shape (n, n_labels), or list of n sets
            A label for each row: integers or strings. Integers may have any types, also floats below 2**53,
            and are compared exactly. Or the labels of each row: a matrix, also a sparse one,
            with a 1 for each label and 0 elsewhere, or a list of sets of labels.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter, the rows or the labels are invalid. An estimator that was fitted before stays as
            it was.
        """
        self._check_parameters()
        with restored_if_it_raises(self):
            X, rows = self._read(X, y, reset=True)
            if rows.numbers.size == 0:
                raise ValueError("y must have at least one label, got rows without labels")
            self._begin(rows)
            self._learn(X, rows, more=False)
        return self

    @available_if(_has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: RowsLike, y: Any, classes: ArrayLike | None = None) -> Self:
        """Learn from another batch, by the `partial_fit` of the estimator, which must have one.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : array_like of shape (n,), or matrix of shape (n, n_labels), or list of n sets
            As for `fit`. Labels may be new.
        classes : array_like, optional
            Labels that later batches may have. They are used to choose `n_repetitions` and `n_buckets` in the
            first batch, and `top_k` may return them. Labels that are not listed may come, too, for they have
            buckets all the same.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As `fit` does, if labels are strings now and were integers before, or vice versa, if a matrix of
            labels has another width than those before, and for labels in buckets that no row of a `fit`
            before had. Nothing changes then.
        """
        self._check_parameters()
        first = "models_" not in vars(self)
        with restored_if_it_raises(self):
            X, rows = self._read(X, y, reset=first)
            if classes is not None:
                listed = read_classes(classes, booleans=rows.classes.dtype.kind == "b")
                rows = rows.with_classes(listed) if listed.size else rows
            if first:
                self._begin(rows)
            elif rows.is_matrix != (self.form_ in ("dense", "sparse")) or (rows.form == "one") != (
                self.form_ == "one"
            ):
                raise ValueError(f"y must have the form of the labels before, {self.form_}, got {rows.form}")
            else:
                rows = self._widened(rows)
            self._learn(X, rows, more=True)
        return self

    def _check_parameters(self) -> None:
        base = self._base()
        if isinstance(base, type) or not (hasattr(base, "get_params") and is_classifier(base)):
            raise TypeError(f"estimator must be a classifier of scikit-learn, got {base!r}")
        if not (hasattr(base, "predict_proba") or hasattr(base, "decision_function")):
            raise TypeError(
                "estimator must have predict_proba or decision_function, which tell how likely a bucket is, "
                f"got {type(base).__name__}"
            )
        check_choice("targets", self.targets, _TARGETS)
        check_choice("readout", self.readout, _READOUTS)
        for name, least, most in (("n_repetitions", 1, MOST_REPETITIONS), ("n_buckets", 2, MOST_BUCKETS)):
            value = getattr(self, name)
            if not (isinstance(value, str) and value == "auto"):
                check_int(name, value, least, most)

    def _read(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, LabelRows]:
        """Return checked rows, and their labels."""
        if are_sets(y):
            check_consistent_length(X, y)
            return self._rows(X, reset=reset), read_label_sets(y)
        y = prepared(y)
        accepted = "csr" if get_tags(self).input_tags.sparse else False
        X, y = validated(
            self, X, y, reset=reset, accept_sparse=accepted, multi_output=True, dtype=[np.float64, np.float32]
        )
        return X, read_label_rows(y)

    def _rows(self, X: Any, *, reset: bool) -> Any:
        accepted = "csr" if get_tags(self).input_tags.sparse else False
        return validated(self, X, reset=reset, accept_sparse=accepted, dtype=[np.float64, np.float32])

    def _begin(self, rows: LabelRows) -> None:
        """Choose the numbers, hash the labels, and make models that have learnt nothing."""
        seed, n_labels = seed_of(self.random_state), max(1, rows.classes.size)
        repetitions = None if isinstance(self.n_repetitions, str) else int(self.n_repetitions)
        buckets = None if isinstance(self.n_buckets, str) else int(self.n_buckets)
        if repetitions is None or buckets is None:
            error = min(1.0, max(STANDARD_ERROR, 2.0 / n_labels**0.5))
            repetitions, buckets = size_for(n_labels, CONFIDENCE, error, repetitions, buckets)
        self.n_repetitions_, self.n_buckets_ = repetitions, buckets
        base = self._base()
        targets = self.targets
        if targets == "auto":
            many = get_tags(base).classifier_tags.multi_class
            targets = "single" if rows.form == "one" and many else "indicator"
        seeds = random_uint64(seed, "HashedLabels models", self.n_repetitions_) >> np.uint64(33)
        self.models_ = []
        for model_seed in seeds.tolist():
            copy = clone(base)
            random = [
                name
                for name in copy.get_params()
                if name == "random_state" or name.endswith("__random_state")
            ]
            copy.set_params(**dict.fromkeys(random, model_seed))
            self.models_.append(make_model(copy, self.n_buckets_, targets))
        self.classes_ = rows.classes
        self.buckets_ = buckets_of_labels(rows.classes, self.n_repetitions_, self.n_buckets_, seed)
        self.form_, self._label_dtype, self.targets_, self.seed_ = rows.form, rows.dtype, targets, seed
        self.readout_ = self.readout
        if self.readout == "auto":
            self.readout_ = "min" if targets == "indicator" else "mean"
        self._lists = None
        self.n_rows_ = 0

    def _widened(self, rows: LabelRows) -> LabelRows:
        """Return the rows with the numbers of all classes, after new ones were added."""
        self._set_classes(merged_classes(self.classes_, rows))
        return rows.with_classes(self.classes_)

    def _set_classes(self, classes: NDArray[Any]) -> None:
        if classes.size != self.classes_.size:
            self.classes_, self._lists = classes, None
            self.buckets_ = buckets_of_labels(classes, self.n_repetitions_, self.n_buckets_, self.seed_)
        elif classes.dtype != self.classes_.dtype:
            self.classes_ = classes  # The same labels, in a dtype that does not depend on their order.

    def __getstate__(self) -> Any:
        # The lists of labels are made again where they are needed.
        state = super().__getstate__()
        return state | {"_lists": None} if "_lists" in state else state

    def _learn(self, X: Any, rows: LabelRows, *, more: bool) -> None:
        every = [
            Targets(rows.starts, table[rows.numbers].astype(np.int64), self.n_buckets_)
            for table in self.buckets_
        ]
        if more:
            for model, targets in zip(self.models_, every, strict=True):
                model.check_more(targets)
        self.models_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_learnt)(model, X, targets, more)
            for model, targets in zip(self.models_, every, strict=True)
        )
        self.n_rows_ += rows.n_rows

    # -- federated learning -----------------------------------------------------------------------

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Average this model with others, weighted by the numbers of rows, in place (federated averaging).

        Parameters
        ----------
        *others : fitted LabelHash models, or iterables of them
            They do not change. They have the same numbers, seed and kind of classifiers, which are linear
            (`coef_` and `intercept_`) or neural networks (`coefs_` and `intercepts_`). Their labels may
            differ, but are all integers, or all strings. Matrices of labels have the same width.

        Returns
        -------
        The model itself, which then has the labels of all.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If one of the models has not been fitted.
        TypeError
            If the classifiers have no parameters that can be averaged, such as trees.
        IncompatibleSketchError
            If the models differ in another way. Nothing changes then.

        Notes
        -----
        The mean of the parameters is not the model that learns all rows at once, but begins a further round:
        each client continues from it with `partial_fit`. `average` returns a new model, and takes weights.
        """
        parts: tuple[Self, ...] = parts_of(others)
        if parts:
            models = [self, *parts]
            means, classes = averages(models, row_weights(models, type(self)))
            set_average(self, means, classes, sum(model.n_rows_ for model in models))
        else:
            check_is_fitted(self, "models_")
        return self

    @classmethod
    def average(cls, models: Iterable[Self], weights: ArrayLike | None = None) -> Self:
        """Return the mean of models, for a further round of federated averaging.

        Parameters
        ----------
        models : iterable of fitted LabelHash
            As for `merge`. They do not change.
        weights : array_like, optional
            A positive number for each model, such as the number of rows that it has learnt in this round. By
            default `n_rows_`, all rows that it has learnt.

        Returns
        -------
        LabelHash
            Of one model it is a copy. Otherwise its optimisers begin anew: a neural network's moments of
            gradients belong to the client.

        Raises
        ------
        sklearn.exceptions.NotFittedError, TypeError, ValueError, IncompatibleSketchError
            As `merge` does, and if there is no model, or weights are not positive numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from mergesketch import LabelHash
        >>> from sklearn.base import clone
        >>> from sklearn.linear_model import SGDClassifier
        >>> rng = np.random.default_rng(0)
        >>> X, y = rng.standard_normal((600, 5)), rng.integers(0, 30, 600)
        >>> new = LabelHash(SGDClassifier(loss="log_loss"), n_repetitions=3, n_buckets=16)
        >>> parts = [slice(0, 200), slice(200, 600)]
        >>> trained = [clone(new).partial_fit(X[part], y[part]) for part in parts]
        >>> LabelHash.average(trained, weights=[200, 400]).n_rows_
        600
        """
        models = list(models)
        if not models:
            raise ValueError(f"models must be at least one {cls.__name__}, got none")
        given = row_weights(models, cls)
        given = given if weights is None else read_weights(weights, len(models))
        means, classes = averages(models, given)
        new = deepcopy(models[0])
        if len(models) > 1:
            set_average(new, means, classes, sum(model.n_rows_ for model in models))
        return new

    def __or__(self, other: Self) -> Self:
        """Return the average of two models, which do not change."""
        return deepcopy(self).merge(other) if isinstance(other, HashedLabels) else NotImplemented

    def __ior__(self, other: Self) -> Self:
        """Average this model with another."""
        return self.merge(other) if isinstance(other, HashedLabels) else NotImplemented

    def _blocks(self, X: Any, width: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield parts of rows, and the probabilities of their buckets, shape (n, R, B)."""
        size = self.n_repetitions_ * self.n_buckets_
        step = max(1, _VALUES // max(size, width))
        for start in range(0, X.shape[0], step):
            part = slice(start, min(start + step, X.shape[0]))
            rows = X[part]
            found = np.empty((rows.shape[0], self.n_repetitions_, self.n_buckets_))
            for r, model in enumerate(self.models_):
                found[:, r] = np.rint(model.probabilities(rows) * _UNIT) / _UNIT
            yield part, found

    def _asked(self, X: Any) -> Any:
        check_is_fitted(self, "models_")
        return self._rows(X, reset=False)


def _learnt(model: BucketModel, X: Any, targets: Targets, more: bool) -> BucketModel:
    model.fit(X, targets, more=more)
    return model


def set_average(
    model: HashedLabels, means: list[list[NDArray[Any]]], classes: NDArray[Any], n_rows: int
) -> None:
    """Give a model mean parameters, and the labels and the number of rows of all models of the mean."""
    set_averages(leaves_of(model.models_), means)
    model._set_classes(classes)
    model.n_rows_ = n_rows
