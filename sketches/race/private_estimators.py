"""Differentially private classification and regression as estimators of scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ...errors import PrivacyLeakWarning
from ...lsh.family import HashFamily
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.estimator import SketchEstimator, seed_of, validated
from .private_classifier import ReleasedClassifier, private_classifier
from .private_regressor import ReleasedRegressor, private_regressor
from .private_tasks import PrivateTask

__all__ = ["PrivateClassifier", "PrivateRegressor"]


class _PrivateEstimator(SketchEstimator):
    """The parameters and checks that both estimators share."""

    sketch_: PrivateTask
    epsilon: Any
    low: Any
    high: Any
    family: Any
    rows_per_record: Any
    budget: Any
    random_state: Any

    def _arguments(self, X: NDArray[np.float64], taken: list[str]) -> dict[str, Any]:
        """Return the arguments that both functions share; bounds from `X` are noted in `taken`."""
        family = self.family
        if isinstance(family, str) and family == "auto":
            family = None
        elif not isinstance(family, HashFamily):
            raise TypeError(f'family must be "auto" or a HashFamily, got {family!r}')
        low, high = self.low, self.high
        if low is None or high is None:
            least, most = _ends(X)
            taken += [name for name, bound in (("low", low), ("high", high)) if bound is None]
            low, high = least if low is None else low, most if high is None else high
        return {
            "epsilon": self.epsilon,
            "low": low,
            "high": high,
            "family": family,
            "rows_per_record": self.rows_per_record,
            "seed": seed_of(self.random_state),
            "budget": self.budget,
        }

    def _warn_of(self, taken: list[str]) -> None:
        """Warn of arguments that were taken from the data."""
        if taken:
            warnings.warn(
                f"{', '.join(taken)} were not given to {type(self).__name__}, so they come from the data, "
                "and the model is not differentially private; pass public values",
                PrivacyLeakWarning,
                stacklevel=stacklevel_of_caller(),
            )

    def _rows(self, X: Any) -> NDArray[np.float64]:
        """Return the checked rows of a query."""
        check_is_fitted(self, "sketch_")
        return np.asarray(validated(self, X, reset=False, dtype=np.float64))


class PrivateClassifier(ClassifierMixin, _PrivateEstimator):  # type: ignore[misc]
    """Classify rows with differential privacy: the fitted model may be published.

    Parameters
    ----------
    epsilon : float, default 1.0
        The budget that a fit spends, above 0.
    low, high : float or array of shape (n_features,), optional
        Public bounds of the features. Values beyond them are moved to them.
    classes : sequence, optional
        All classes, which must be public.
    family : "auto" or HashFamily, default "auto"
        A family over rows scaled to [-1, 1] by the bounds. "auto" is the default of `private_classifier`,
        which depends on `epsilon` and the number of features, and not on the rows.
    rows_per_record : int, default 1
        The most rows that one person has.
    budget : PrivacyBudget, optional
        The budget of all releases about the same people. Every fit takes `epsilon` from it, also in
        cross-validation.
    random_state : int, RandomState or None, default 0
        Seed of the default family, which is public. The noise does not depend on it: it comes from the
        operating system, and two fits differ.

    Attributes
    ----------
    sketch_ : ReleasedClassifier
        The released counters, which can be saved and published. Its `epsilon` is what was spent.
    classes_ : ndarray
        The classes in order.
    n_features_in_ : int
    feature_names_in_ : ndarray
        If `X` had names of columns.

    Warns
    -----
    PrivacyLeakWarning
        If `low`, `high` or `classes` is None. They are then taken from the data, which reveals values of
        single rows, and the guarantee does not hold. That is for trying out on public data.

    Notes
    -----
    `fit` calls `private_classifier`, which explains the method and the guarantee. Fitted classifiers merge if
    they have the same bounds, classes and family; the default family depends on `epsilon`. Their budgets add
    up.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import PrivateClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 4000)
    >>> X = rng.standard_normal((4000, 5)) + np.where(y, 1.0, -1.0)[:, None]
    >>> model = PrivateClassifier(epsilon=1.0, low=-4.0, high=4.0, classes=[0, 1]).fit(X, y)
    >>> bool(model.score(X, y) > 0.9), model.sketch_.epsilon
    (True, 1.0)
    """

    _must_agree = ("classes_",)
    #: Pickles of version 0.2 find the class that is now named ReleasedClassifier by this name.
    _rebuilt = ReleasedClassifier._rebuilt

    sketch_: ReleasedClassifier
    classes_: NDArray[Any]

    def __init__(
        self,
        epsilon: float = 1.0,
        *,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        family: Any = "auto",
        rows_per_record: int = 1,
        budget: Any = None,
        random_state: Any = 0,
    ) -> None:
        self.epsilon = epsilon
        self.low = low
        self.high = high
        self.classes = classes
        self.family = family
        self.rows_per_record = rows_per_record
        self.budget = budget
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Two fits to the same rows have different noise, which hides small numbers of rows.
        tags.non_deterministic = True
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Release counters of rows and classes, and forget what was learnt before.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : array_like of shape (n,)
            Classes.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid, or a label is none of `classes`. An estimator that was fitted before
            stays as it was, and nothing is spent.
        PrivacyBudgetError
            If less than `epsilon` remains of the budget.
        """
        with self._restored_if_it_raises():
            return self._fit(X, y)

    def _fit(self, X: Any, y: Any) -> Self:
        X, y = validated(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        taken: list[str] = []
        arguments = self._arguments(X, taken)
        if self.classes is None:
            taken.append("classes")
        known = np.unique(y if self.classes is None else np.asarray(self.classes))
        if len(known) < 2:
            raise ValueError(f"classes must be at least 2, got {len(known)} class: {known}")
        places = np.minimum(np.searchsorted(known, y), len(known) - 1)
        strange = known[places] != y
        if strange.any():
            raise ValueError(
                f"y must hold labels of classes {known}, got {int(strange.sum())} others (their number is "
                "private)"
            )
        # Released classes are integers or str. Others are known to the estimator alone, by their places.
        names = known.tolist()
        if {type(name) for name in names} not in ({int}, {str}):
            names = list(range(len(names)))
        labels = np.array(names)[places]
        self._warn_of(taken)
        self.sketch_ = private_classifier(X, labels, classes=names, **arguments)
        self.classes_ = known
        return self

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Return log-likelihoods of the classes; for two classes, the second less the first.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,) or (n, classes), float64

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` is invalid.
        """
        values = self._log_likelihoods(X)
        return values[:, 1] - values[:, 0] if len(self.classes_) == 2 else values

    def predict_proba(self, X: RowsLike) -> NDArray[np.float64]:
        """Return probabilities of the classes; as with naive Bayes, they are too close to 0 and 1.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, classes), float64

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` is invalid.
        """
        X = self._rows(X)
        return self.sketch_.predict_proba(X)

    def predict(self, X: RowsLike) -> NDArray[Any]:
        """Return the likeliest class of each row.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
            Classes.

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` is invalid.
        """
        best = self._log_likelihoods(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def _log_likelihoods(self, X: Any) -> NDArray[np.float64]:
        X = self._rows(X)
        return self.sketch_.decision_function(X)


class PrivateRegressor(RegressorMixin, _PrivateEstimator):  # type: ignore[misc]
    """Predict numbers with differential privacy: the fitted model may be published.

    Parameters
    ----------
    epsilon : float, default 1.0
        The budget that a fit spends, above 0.
    low, high : float or array of shape (n_features,), optional
        Public bounds of the features. Values beyond them are moved to them.
    target_low, target_high : float, optional
        Public bounds of the targets.
    family, rows_per_record, budget, random_state
        As for `PrivateClassifier`. The default family is that of `private_regressor`.

    Attributes
    ----------
    sketch_ : ReleasedRegressor
        The released counters, which can be saved and published. Its `epsilon` is what was spent.
    n_features_in_ : int
    feature_names_in_ : ndarray
        If `X` had names of columns.

    Warns
    -----
    PrivacyLeakWarning
        If a bound is None. It is then taken from the data, which reveals values of single rows, and the
        guarantee does not hold. That is for trying out on public data.

    Notes
    -----
    `fit` calls `private_regressor`, which explains the method and the guarantee. Fitted regressors merge if
    they have the same bounds and family; the default family depends on `epsilon`. Their budgets add up.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import PrivateRegressor
    >>> X = np.random.default_rng(0).uniform(-1, 1, (20_000, 2))
    >>> y = np.sin(3 * X[:, 0])
    >>> model = PrivateRegressor(epsilon=1.0, low=-1.0, high=1.0, target_low=-1.0, target_high=1.0).fit(X, y)
    >>> bool(model.score(X, y) > 0.6)
    True
    """

    #: Pickles of version 0.2 find the class that is now named ReleasedRegressor by this name.
    _rebuilt = ReleasedRegressor._rebuilt

    sketch_: ReleasedRegressor

    def __init__(
        self,
        epsilon: float = 1.0,
        *,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        target_low: float | None = None,
        target_high: float | None = None,
        family: Any = "auto",
        rows_per_record: int = 1,
        budget: Any = None,
        random_state: Any = 0,
    ) -> None:
        self.epsilon = epsilon
        self.low = low
        self.high = high
        self.target_low = target_low
        self.target_high = target_high
        self.family = family
        self.rows_per_record = rows_per_record
        self.budget = budget
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Two fits to the same rows have different noise, which hides small numbers of rows.
        tags.non_deterministic = True
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Release counters of rows and targets, and forget what was learnt before.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : array_like of shape (n,)
            Targets.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid. An estimator that was fitted before stays as it was, and nothing is
            spent.
        PrivacyBudgetError
            If less than `epsilon` remains of the budget.
        """
        with self._restored_if_it_raises():
            return self._fit(X, y)

    def _fit(self, X: Any, y: Any) -> Self:
        X, y = validated(self, X, y, dtype=np.float64, y_numeric=True)
        targets = np.asarray(y, np.float64)
        taken: list[str] = []
        arguments = self._arguments(X, taken)
        ends: dict[str, Any] = {"target_low": self.target_low, "target_high": self.target_high}
        for name, end in zip(ends, _ends(targets), strict=True):
            if ends[name] is None:
                ends[name] = float(end)
                taken.append(name)
        self._warn_of(taken)
        self.sketch_ = private_regressor(X, targets, **ends, **arguments)
        return self

    def predict(self, X: RowsLike) -> NDArray[np.float64]:
        """Return estimated targets.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` is invalid.
        """
        X = self._rows(X)
        return self.sketch_.predict(X)


def _ends(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the largest values, moved apart where they are equal."""
    least, most = values.min(axis=0), values.max(axis=0)
    step = np.where(least == most, np.maximum(0.5, np.spacing(np.abs(least))), 0.0)
    return least - step, most + step


publish("mergesketch", __all__, globals())
