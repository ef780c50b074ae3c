"""Linear regression and classification from a STORM sketch, as scikit-learn estimators."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from .storm_linear import StormLinear, ridge_inverse

__all__ = ["StormClassifier", "StormRegressor"]


class StormRegressor(RegressorMixin, StormLinear):  # type: ignore[misc]
    """Linear regression in one pass, from integer counters that merge and subtract.

    Parameters
    ----------
    n_bytes : int, default 65536
        Bytes of the sketch's counters. The settings of the sketch follow from it.
    scaling : dict, optional
        Public centres and scales of features and target, and the bound of the norms of scaled rows: the
        ``scaling_`` of another estimator, or a dict with the keys "center", "scale", "target_center",
        "target_scale" and "max_norm". By default the first batch determines it for all later batches. A
        private release must not do so.
    random_state : int, RandomState or None, default 0
        Seed of the sketch's directions. Estimators merge if they have the same integer.

    Attributes
    ----------
    sketch_ : StormSketch
    scaling_ : dict
    coef_, intercept_ : ndarray and float
        Coefficients and intercept of the linear model, in the units of the data.
    n_features_in_ : int

    Notes
    -----
    Least squares needs only the second moments of features and target. `StormSketch` estimates them without
    bias, because rows beyond the bound are split and not clipped. The solver adds a ridge of their standard
    error, which shrinks the coefficients by about that share: docs/structures/storm.md gives figures.

    References
    ----------
    - Coleman, Gupta, Chen, Shrivastava. STORM: foundations of end-to-end empirical risk minimization on the
      edge. arXiv 2006.14554, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((5000, 4))
    >>> y = X @ [1.0, -2.0, 0.0, 3.0] + 5.0 + 0.1 * rng.standard_normal(5000)
    >>> model = mergesketch.StormRegressor().fit(X, y)
    >>> bool(np.abs(model.coef_ - [1.0, -2.0, 0.0, 3.0]).max() < 0.2)
    True
    """

    def _solve(self) -> None:
        # The ridge is the standard error of the moments, below which they are unknown. It also bounds the
        # weight of directions whose variance may be 0.
        moments, noise = self._moments()
        d = self.n_features_in_ + 1
        theta = ridge_inverse(moments[:d, :d], noise) @ moments[:d, d:]
        scale, target_scale = self.scaling_["scale"], self.scaling_["target_scale"]
        self._coefficients = theta[:-1] / scale[:, None] * target_scale
        self._intercepts = (
            self.scaling_["target_center"]
            + theta[-1] * target_scale
            - self.scaling_["center"] @ self._coefficients
        )

    def fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Learn from rows `X` and targets `y`, and forget what was learnt before.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : array_like of shape (n,)

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's estimators do.
        """
        self._forget()
        return self._take_in(X, y, more=False)

    def partial_fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Learn from another batch of rows and targets.

        Without `scaling` the first batch also determines the centres, the scales and the bound for all later
        rows, so it should be a random sample of them.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : array_like of shape (n,)

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's estimators do, and if the first batch has fewer than 10 rows and no `scaling` is
            given.

        Warns
        -----
        UserWarning
            If rows lie far from the centres of the scaling, or the error of the counters exceeds the variance
            of the features.
        """
        return self._take_in(X, y, more=True)

    def _take_in(self, X: Any, y: Any, *, more: bool) -> Self:
        first = not hasattr(self, "sketch_")
        X, y = validate_data(self, X, y, reset=first, dtype=np.float64, y_numeric=True)
        targets = np.asarray(y, np.float64)[:, None]
        if first:
            self._begin(X, targets, more=more)
        self._learn(X, targets)
        return self

    @property
    def coef_(self) -> NDArray[np.float64]:
        """Coefficients, shape (n_features,)."""
        check_is_fitted(self, "sketch_")
        return self._coefficients[:, 0]

    @property
    def intercept_(self) -> float:
        """The prediction at features of 0."""
        check_is_fitted(self, "sketch_")
        return float(self._intercepts[0])

    def predict(self, X: RowsLike) -> NDArray[np.float64]:
        """Return predicted targets.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` of another width.
        """
        return self._values(X)[:, 0]


class StormClassifier(ClassifierMixin, StormLinear):  # type: ignore[misc]
    """Linear classification in one pass, from integer counters that merge and subtract.

    Parameters
    ----------
    n_bytes, scaling, random_state
        As for `StormRegressor`. The targets are columns of 0 and 1, one for each class.

    Attributes
    ----------
    classes_ : ndarray
    sketch_, scaling_, n_features_in_
        As for `StormRegressor`.

    Notes
    -----
    The classifier is linear discriminant analysis. The second moments of features, a constant and the columns
    of classes determine the classes' shares and means, and the covariance within classes. All are estimated
    from one `StormSketch`. The covariance gets a ridge of its standard error.

    References
    ----------
    - Coleman, Gupta, Chen, Shrivastava. STORM: foundations of end-to-end empirical risk minimization on the
      edge. arXiv 2006.14554, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 4000)
    >>> X = rng.standard_normal((4000, 5)) + 1.5 * y[:, None]
    >>> bool(mergesketch.StormClassifier().fit(X, y).score(X, y) > 0.9)
    True
    """

    classes_: NDArray[Any]

    def _solve(self) -> None:
        moments, noise = self._moments()
        d = self.n_features_in_
        # Undo the centring and scaling of the columns of classes, so that they are 0 and 1 again.
        scaling = self.scaling_
        back = np.eye(len(moments))
        back[d + 1 :, d + 1 :] = np.diag(scaling["target_scale"])
        back[d + 1 :, d] = scaling["target_center"]
        moments = back @ moments @ back.T
        whole = max(moments[d, d], noise)
        # Shares are known up to the error of their scaled columns. A class without rows has a share of about
        # 0, and its mean must stay bounded.
        least = 4.0 * noise * (scaling["target_scale"] + scaling["target_center"]) / whole
        shares = moments[d, d + 1 :] / whole
        lost = self.classes_[shares < least]
        if lost.size:
            warnings.warn(
                f"classes {lost.tolist()} have shares of the rows that the counters do not tell from 0: they "
                f"may be missed. More n_bytes would tell them, got n_bytes={self.n_bytes}",
                stacklevel=5,
            )
        means = moments[:d, d + 1 :] / whole / np.maximum(shares, least)
        shares = np.maximum(shares, 1e-9)
        within = moments[:d, :d] / whole - (means * shares) @ means.T
        directions = ridge_inverse(within, noise / whole) @ means
        offsets = np.log(shares) - 0.5 * np.einsum("dk,dk->k", means, directions)
        self._coefficients = directions / scaling["scale"][:, None]
        self._intercepts = offsets - scaling["center"] @ self._coefficients

    def fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Learn from rows `X` and labels `y`, and forget what was learnt before.

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
            As scikit-learn's estimators do.
        """
        self._forget()
        return self._take_in(X, y, None if y is None else np.unique(np.asarray(y)), more=False)

    def partial_fit(self, X: RowsLike, y: ArrayLike, classes: Any = None) -> Self:
        """Learn from another batch; the first call needs all `classes`.

        Without `scaling` the first batch also determines the centres, the scales and the bound for all later
        rows, so it should be a random sample of them, with rows of every class.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : array_like of shape (n,)
            Classes.
        classes : array_like, optional
            All classes of all batches. The first call needs them.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's estimators do, and if the first batch has fewer than 10 rows and no `scaling` is
            given.

        Warns
        -----
        UserWarning
            As `StormRegressor.partial_fit`, and for classes that do not occur in the first batch, or whose
            share may be 0 by the counters.
        """
        return self._take_in(X, y, classes, more=True)

    def _take_in(self, X: Any, y: Any, classes: Any, *, more: bool) -> Self:
        first = not hasattr(self, "sketch_")
        X, y = validate_data(self, X, y, reset=first, dtype=np.float64)
        check_classification_targets(y)
        if first:
            if classes is None:
                raise ValueError("classes must be given with the first call of partial_fit, got None")
            known = np.unique(classes)
            if len(known) < 2:
                raise ValueError(f"classes must be at least 2, got {len(known)} class: {known}")
        else:
            known = self.classes_
        unknown = np.setdiff1d(y, known)
        if unknown.size:
            raise ValueError(f"y must hold labels of classes {known}, got {unknown.tolist()[0]!r}")
        targets = (y[:, None] == known).astype(np.float64)
        if first:
            self._begin(X, targets, more=more)
            self.classes_ = known
            missing = known[~targets.any(axis=0)]
            if missing.size and self.scaling is None:
                warnings.warn(
                    f"classes {missing.tolist()} do not occur in the first batch, which chooses the scaling: "
                    "they may be found late or not at all. Pass as scaling the scaling_ of an estimator "
                    "fitted to rows of all classes",
                    stacklevel=3,
                )
        self._learn(X, targets)
        return self

    def _scale_targets(self, targets: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        n, k = targets.shape
        shares = (targets.sum(axis=0) + 1.0) / (n + k)
        # A class without rows may be rare or come later; its share is set between 0 and an equal share.
        absent = ~targets.any(axis=0)
        shares[absent] = np.sqrt(shares[absent] / k)
        shares[~absent] *= (1.0 - shares[absent].sum()) / shares[~absent].sum()
        return {"target_center": shares, "target_scale": np.sqrt(shares * (1.0 - shares))}

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the values of the classes; for two classes, the second value less the first.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,) or (n, classes), float64

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` of another width.
        """
        values = self._values(X)
        return values[:, 1] - values[:, 0] if len(self.classes_) == 2 else values

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
            If the estimator is not fitted, or `X` of another width.
        """
        best = self._values(X).argmax(axis=1)
        return np.asarray(self.classes_[best])


publish("mergesketch", __all__, globals())
