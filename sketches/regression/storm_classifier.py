"""Linear classification from a STORM sketch, as a scikit-learn estimator."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.estimator import validated
from .storm_linear import StormLinear, check_scaling

__all__ = ["StormClassifier"]

#: The sums of classes are integers in this part of the bound, so that they add up exactly in any order.
_UNIT = 2.0**-20
#: What is added to the eigenvalues of the first rows' correlations. It bounds the factor by which a direction
#: without variance is stretched, in which later rows may lie.
_LEAST_EIGENVALUE = 1e-5
#: The share of a class that has no rows: it has a finite logarithm, and is never the likeliest.
_NO_SHARE = 1e-300


class StormClassifier(ClassifierMixin, StormLinear):  # type: ignore[misc]
    """Classify rows by a linear model in one pass, with probabilities, from integer counters that merge.

    Parameters
    ----------
    n_bytes, random_state
        As for `StormRegressor`.
    scaling : dict, optional
        As for `StormRegressor`, with the keys "center", "scale", "max_norm" and "whitening". The last is a
        matrix of shape (n_features, n_features) by which scaled rows are multiplied; the identity, if it is
        missing. "target_center" and "target_scale" are ignored, so the ``scaling_`` of a `StormRegressor`
        will do.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    class_count_ : ndarray of shape (n_classes,), int64
        Number of rows of each class.
    sketch_, scaling_, n_features_in_
        As for `StormRegressor`. The rows of the sketch are the scaled features, without a constant.

    Notes
    -----
    The classifier is linear discriminant analysis: it assumes that the rows of all classes have normal
    distributions with one covariance. It needs the number of rows and the mean of each class, and the
    covariance within classes. The numbers and the sums of rows are exact, in ``8 (d + 1)`` bytes a class for
    d features, so that a rare class is learnt as well as with exact moments. For the sums, rows are rounded
    to a millionth of the bound, and merges are exact.

    Only the second moments of all rows come from a `StormSketch`. The scaling makes them almost the identity
    matrix, because an error that is small beside the largest eigenvalue of a covariance may be large beside
    the smallest. Their entries have an error of standard deviation e, and so eigenvalues an error of about
    ``e sqrt(d)``. That is the ridge with which the discriminant directions are found. It makes their values
    too small, and so rare classes would be missed. So discriminant analysis is done once more, on the values
    of these few directions, with a ridge of e.

    References
    ----------
    - Coleman, Gupta, Chen, Shrivastava. STORM: foundations of end-to-end empirical risk minimization on the
      edge. arXiv 2006.14554, 2020.
    - Hastie, Tibshirani, Friedman. The elements of statistical learning, second edition, section 4.3. 2009.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> rng = np.random.default_rng(0)
    >>> y = (rng.random(20000) < 0.01).astype(int)
    >>> X = rng.standard_normal((20000, 5)) + 2.0 * y[:, None]
    >>> model = mergesketch.StormClassifier().fit(X, y)
    >>> bool(model.score(X[y == 1], y[y == 1]) > 0.8)
    True
    >>> model.predict_proba([[0.0] * 5, [2.0] * 5]).round(1)
    array([[1., 0.],
           [0., 1.]])
    """

    _learnt = (*StormLinear._learnt, "class_count_", "_class_sums")

    classes_: NDArray[Any]
    class_count_: NDArray[np.int64]
    #: Sums of scaled rows, shape (n_classes, n_features), in units of _UNIT times the bound.
    _class_sums: NDArray[np.float64]

    def _scaling_of(self, X: NDArray[np.float64], targets: NDArray[Any]) -> dict[str, Any]:
        scaling = super()._scaling_of(X, targets)
        d = X.shape[1]
        rows = super()._rows(X, targets, scaling)
        return {
            **scaling,
            "whitening": _whitening(rows, _LEAST_EIGENVALUE + (8.0 * d**2 / self.n_bytes) ** 2),
        }

    def _check_scaling(self, scaling: Any, n_features: int) -> dict[str, Any]:
        if isinstance(scaling, dict):
            ignored = ("target_center", "target_scale")
            scaling = {name: value for name, value in scaling.items() if name not in ignored}
            scaling.setdefault("whitening", np.eye(n_features))
        shapes = {
            "center": (n_features,),
            "scale": (n_features,),
            "whitening": (n_features, n_features),
            "max_norm": (),
        }
        return check_scaling(scaling, shapes)

    def _rows(self, X: NDArray[Any], targets: NDArray[Any], scaling: dict[str, Any]) -> NDArray[np.float64]:
        return np.asarray(super()._rows(X, targets, scaling) @ scaling["whitening"])

    def _count(self, X: NDArray[np.float64], targets: NDArray[Any], rows: NDArray[np.float64]) -> None:
        n, n_classes = len(rows), len(self.classes_)
        of_class = scipy.sparse.csr_array((np.ones(n), targets, np.arange(n + 1)), shape=(n, n_classes)).T
        sums = of_class @ np.rint(rows / (_UNIT * self.scaling_["max_norm"]))
        self.sketch_.update(rows)
        self._add_classes(np.bincount(targets, minlength=n_classes), sums)

    def _add_classes(self, counts: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
        known = "class_count_" in vars(self)
        self.class_count_ = self.class_count_ + counts if known else counts
        self._class_sums = self._class_sums + sums if known else sums

    def _merge_parts(self, parts: tuple[Self, ...]) -> None:
        counts = sum((part.class_count_ for part in parts), np.zeros_like(self.class_count_))
        sums = sum((part._class_sums for part in parts), np.zeros_like(self._class_sums))
        self.sketch_.merge(part.sketch_ for part in parts)
        self._add_classes(counts, sums)
        self._solve()

    def _solve(self) -> None:
        moments, noise = self._moments()
        scaling, counts = self.scaling_, self.class_count_
        shares = counts / counts.sum()
        means = self._class_sums * (_UNIT * scaling["max_norm"]) / np.maximum(counts, 1)[:, None]
        center = shares @ means
        means = np.where(counts[:, None] > 0, means - center, 0.0)
        within = moments - np.outer(center, center) - (means.T * shares) @ means
        directions = _discriminants(within, means, noise)
        offsets = np.log(np.maximum(shares, _NO_SHARE)) - 0.5 * np.einsum("kd,dk->k", means, directions)
        self._coefficients = scaling["whitening"] @ directions / scaling["scale"][:, None]
        self._intercepts = offsets - center @ directions - scaling["center"] @ self._coefficients

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
        with self._restored_if_it_raises():
            self._forget()
            return self._read(X, y, None if y is None else np.unique(np.asarray(y)), more=False)

    def partial_fit(self, X: RowsLike, y: ArrayLike, classes: Any = None) -> Self:
        """Learn from another batch; the first call needs all `classes`.

        The batches may be of any size, as for `StormRegressor.partial_fit`. A class may be missing in the
        first rows.

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
            As scikit-learn's estimators do, for labels that are not among `classes`, and after a `fit` of
            fewer than 10 rows without `scaling`.

        Warns
        -----
        UserWarning
            As `StormRegressor.partial_fit`.
        """
        return self._read(X, y, classes, more=True)

    def _read(self, X: Any, y: Any, classes: Any, *, more: bool) -> Self:
        first = self._is_new
        if "sketch_" in vars(self) and "class_count_" not in vars(self):
            raise ValueError(
                "partial_fit needs a classifier of this version, got one that version 0.2 or an earlier one "
                "has pickled: it predicts, but its sketch has other columns; fit a new one to all rows"
            )
        with self._restored_if_it_raises() if first else nullcontext():
            X, y = validated(self, X, y, reset=first, dtype=np.float64)
            check_classification_targets(y)
            if first:
                self.classes_ = self._read_classes(classes)
            unknown = np.setdiff1d(y, self.classes_)
            if unknown.size:
                raise ValueError(
                    f"y must hold labels of classes {self.classes_}, got {unknown.tolist()[0]!r}"
                )
            self._take_in(X, np.searchsorted(self.classes_, y), more=more)
        return self

    @staticmethod
    def _read_classes(classes: Any) -> NDArray[Any]:
        if classes is None:
            raise ValueError("classes must be given with the first call of partial_fit, got None")
        known = np.unique(classes)
        if len(known) < 2:
            raise ValueError(f"classes must be at least 2, got {len(known)} class: {known}")
        return known

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

    def predict_proba(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the probability of each class, for each row.

        These are the posterior probabilities of linear discriminant analysis. They are right if each class
        has a normal distribution, all classes have one covariance, and classes are as frequent as in the rows
        learnt. For other rows `sklearn.calibration.CalibratedClassifierCV` corrects them.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            The columns belong to `classes_`, and the rows add up to 1. The largest entry of a row is that of
            the predicted class. For two classes, with v the `decision_function`, the second column is
            ``1 / (1 + exp(-v))``.

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` of another width.
        """
        return np.asarray(softmax(self._values(X), axis=1))


def _whitening(rows: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return the symmetric matrix that makes the covariance of scaled rows the identity, or almost.

    Eigenvalues are raised by `least`, for what the counters cannot resolve, and by the square of columns over
    rows, for what these rows do not tell.
    """
    n, d = rows.shape
    covariance = rows.T @ rows / n
    constant = np.diag(covariance) < 0.5
    covariance[constant, constant] = 1.0
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors / np.sqrt(np.maximum(values, 0.0) + least + (d / n) ** 2)) @ vectors.T)


def _discriminants(
    within: NDArray[np.float64], means: NDArray[np.float64], noise: float
) -> NDArray[np.float64]:
    """Return the coefficients of linear discriminants, shape (d, n_classes), from noisy second moments.

    Parameters
    ----------
    within : ndarray of shape (d, d)
        The covariance within classes, with an error of standard deviation `noise` in each entry.
    means : ndarray of shape (n_classes, d)
        The means of the classes less the mean of all rows.
    """
    values, vectors = np.linalg.eigh(within)
    means = means @ vectors
    ridge = noise * len(values) ** 0.5
    directions = means / np.maximum(values + ridge, ridge)
    # The variances of the values of the directions. They depend on each other, because the means are centred.
    variances = (directions * np.maximum(values + noise, noise)) @ directions.T
    mixing = np.linalg.lstsq(variances, directions @ means.T, rcond=1e-9)[0]
    return np.asarray(vectors @ (directions.T @ mixing))


publish("mergesketch", __all__, globals())
