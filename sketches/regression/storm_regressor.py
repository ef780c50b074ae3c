"""Linear regression from a STORM sketch, as a scikit-learn estimator."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.estimator import validated
from .storm_linear import StormLinear, center_and_scale, check_scaling

__all__ = ["StormRegressor"]


class StormRegressor(RegressorMixin, StormLinear):  # type: ignore[misc]
    """Fit a linear regression in one pass, from integer counters that merge and subtract.

    Parameters
    ----------
    n_bytes : int, default 65536
        Bytes of the sketch's counters. The settings of the sketch follow from it.
    scaling : dict, optional
        Public centres and scales of features and target, and the bound of the norms of scaled rows: the
        ``scaling_`` of another estimator, or a dict with the keys "center", "scale", "target_center",
        "target_scale" and "max_norm". By default the rows of `fit`, or the first 1,000 of `partial_fit`,
        determine it. A private release must not do so.
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

    def _scaling_of(self, X: NDArray[np.float64], targets: NDArray[Any]) -> dict[str, Any]:
        center, scale = center_and_scale(targets)
        return {**super()._scaling_of(X, targets), "target_center": center, "target_scale": scale}

    def _check_scaling(self, scaling: Any, n_features: int) -> dict[str, Any]:
        shapes = {
            "center": (n_features,),
            "scale": (n_features,),
            "target_center": (1,),
            "target_scale": (1,),
            "max_norm": (),
        }
        return check_scaling(scaling, shapes)

    def _rows(self, X: NDArray[Any], targets: NDArray[Any], scaling: dict[str, Any]) -> NDArray[np.float64]:
        scaled = (targets - scaling["target_center"]) / scaling["target_scale"]
        return np.column_stack([super()._rows(X, targets, scaling), np.ones(len(X)), scaled])

    def _solve(self) -> None:
        # The ridge is the standard error of the moments, below which they are unknown. It also bounds the
        # weight of directions whose variance may be 0.
        moments, noise = self._moments()
        d = self.n_features_in_ + 1
        values, vectors = np.linalg.eigh(moments[:d, :d])
        inverse = (vectors / np.maximum(values + noise, noise)) @ vectors.T
        theta = inverse @ moments[:d, d:]
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
        with self._restored_if_it_raises():
            self._forget()
            return self._read(X, y, more=False)

    def partial_fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Learn from another batch of rows and targets.

        Without `scaling` the first 1,000 rows, and the rest of their last batch, determine the centres, the
        scales and the bound. So they should be a random sample of all rows. Until then the estimator keeps
        the rows. It is the same as after `fit` to all of them, in whatever batches they arrive. From then on
        it is the same as after `fit` with that scaling.

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
            As scikit-learn's estimators do, and after a `fit` of fewer than 10 rows without `scaling`.

        Warns
        -----
        UserWarning
            If rows lie far from the centres of the scaling, or the error of the counters exceeds the variance
            of the features.
        """
        return self._read(X, y, more=True)

    def _read(self, X: Any, y: Any, *, more: bool) -> Self:
        with self._restored_if_it_raises() if self._is_new else nullcontext():
            X, y = validated(self, X, y, reset=self._is_new, dtype=np.float64, y_numeric=True)
            self._take_in(X, np.asarray(y, np.float64)[:, None], more=more)
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


publish("mergesketch", __all__, globals())
