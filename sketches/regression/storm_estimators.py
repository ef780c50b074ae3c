"""Linear regression and classification from a STORM sketch, as scikit-learn estimators."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ...errors import IncompatibleSketchError
from ...lsh.support.checks import check_int
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from .storm import StormSketch

__all__ = ["StormClassifier", "StormRegressor"]

#: Of the norms of the first batch's rows: longer ones are counted as several. A tight bound spreads rows over
#: the sphere, which lowers the error of the directions, and costs time only.
_QUANTILE = 0.25
#: Rows that the scaling may be learnt from, where more are to follow: it knows deviations within a quarter.
_LEAST_ROWS = 10
#: Deviations of the scaling that columns may lie from its centre, root mean square, in silence.
_FAR = 10.0


class _StormLinear(BaseEstimator):  # type: ignore[misc]
    """What regression and classification share: a sketch of rows, a constant and targets, all scaled."""

    sketch_: StormSketch
    scaling_: dict[str, Any]
    n_features_in_: int
    _coefficients: NDArray[np.float64]
    _intercepts: NDArray[np.float64]

    def __init__(
        self, *, n_bytes: int = 1 << 16, scaling: dict[str, Any] | None = None, random_state: Any = 0
    ) -> None:
        self.n_bytes = n_bytes
        self.scaling = scaling
        self.random_state = random_state

    def _begin(self, X: NDArray[np.float64], targets: NDArray[np.float64], *, more: bool) -> None:
        """Choose the scaling and the size of the sketch; nothing has been learnt yet.

        `more` tells whether other batches may follow, for which the scaling is chosen too.
        """
        n_bytes = check_int("n_bytes", self.n_bytes, 1)
        state = self.random_state
        seed = int(state) if isinstance(state, Integral) else int(check_random_state(state).randint(2**31))
        if self.scaling is None:
            if more and len(X) < _LEAST_ROWS:
                raise ValueError(
                    f"X must have at least {_LEAST_ROWS} rows in the first batch, for centres, scales and a "
                    f"bound of all rows to come are learnt from it, got {len(X)}; or pass scaling: public "
                    f"ones, or the scaling_ of a {type(self).__name__} fitted to a sample of rows"
                )
            scaling = {"center": X.mean(axis=0), "scale": _spread(X), **self._scale_targets(targets)}
            norms = np.linalg.norm(self._rows(X, targets, scaling), axis=1)
            scaling["max_norm"] = float(np.quantile(norms, _QUANTILE))
        else:
            scaling = _check_scaling(self.scaling, X.shape[1], targets.shape[1])
        n_features = X.shape[1] + 1 + targets.shape[1]
        frame = StormSketch(n_features, 1).state["products"].array.nbytes
        self.scaling_ = scaling
        self.sketch_ = StormSketch(
            n_features,
            max(2, n_bytes // frame),
            max_norm=scaling["max_norm"],
            oversize="split",
            seed=seed,
        )

    @staticmethod
    def _rows(X: NDArray[Any], targets: NDArray[Any], scaling: dict[str, Any]) -> NDArray[np.float64]:
        return np.column_stack(
            [
                (X - scaling["center"]) / scaling["scale"],
                np.ones(len(X)),
                (targets - scaling["target_center"]) / scaling["target_scale"],
            ]
        )

    def _scale_targets(self, targets: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"target_center": targets.mean(axis=0), "target_scale": _spread(targets)}

    def _learn(self, X: NDArray[np.float64], targets: NDArray[np.float64]) -> None:
        self.sketch_.update(self._rows(X, targets, self.scaling_))
        self._solve()

    def _moments(self) -> tuple[NDArray[np.float64], float]:
        """Estimated second moments of scaled rows, and their standard error: one number, that of an entry."""
        moments, error = self.sketch_.second_moments(return_std=True)
        noise = float(np.sqrt(np.mean(error**2)))
        squares = np.diag(moments)
        d, worst = self.n_features_in_, int(np.argmax(squares))
        if squares[worst] > _FAR**2:
            which = f"column {worst} of X" if worst < d else "the target"
            warnings.warn(
                f"{which} lies {squares[worst] ** 0.5:.3g} deviations from the centre of the scaling, root "
                "mean square: the first batch was unlike the rows after it, or the scaling given does not "
                "fit, and columns of less spread are lost in noise. Pass as scaling the scaling_ of an "
                "estimator fitted to a random sample of rows",
                stacklevel=6,
            )
        # The largest eigenvalue of a symmetric matrix of such errors, beside the mean one of the features.
        ratio = 2.0 * noise * len(moments) ** 0.5 / max(float(squares[:d].mean()), noise, 1e-300)
        if ratio > 1.0:
            warnings.warn(
                f"the counters err by {ratio:.2g} times what the features vary: what is learnt is mostly "
                f"noise. n_bytes={int(self.n_bytes * (2.0 * ratio) ** 2)} brings that to a half, got "
                f"n_bytes={self.n_bytes}",
                stacklevel=6,
            )
        return moments, noise

    def _solve(self) -> None:
        """Set the coefficients and intercepts, in the units of the data, from the sketch."""
        raise NotImplementedError

    def _values(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "sketch_")
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(X @ self._coefficients + self._intercepts)

    def merge(self, other: Self) -> Self:
        """Take in what another estimator has learnt, in place.

        Parameters
        ----------
        other : fitted estimator of the same class, `n_bytes`, `random_state` and scaling
            For parts that are fitted apart pass one's ``scaling_`` as `scaling` to the others.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        IncompatibleSketchError
            If sketches, scalings or classes differ; nothing is changed.
        """
        check_is_fitted(self, "sketch_")
        check_is_fitted(other, "sketch_")
        for name, value in self.scaling_.items():
            if not np.array_equal(value, other.scaling_[name]):
                raise IncompatibleSketchError(f"estimators differ in scaling_[{name!r}]")
        if not np.array_equal(getattr(self, "classes_", ()), getattr(other, "classes_", ())):
            raise IncompatibleSketchError("estimators differ in classes_")
        self.sketch_.merge(other.sketch_)
        self._solve()
        return self


class StormRegressor(RegressorMixin, _StormLinear):  # type: ignore[misc]
    """Linear regression in one pass, from integer counters that merge and subtract.

    Parameters
    ----------
    n_bytes : int, default 65536
        Of the sketch's counters; settings follow from it.
    scaling : dict, optional
        Public centres and scales of features and target and the norm bound of scaled rows: the ``scaling_``
        of another estimator, or keys "center", "scale", "target_center", "target_scale", "max_norm". By
        default taken from the first batch (which a private release must not do), for all that follow.
    random_state : int, RandomState or None, default 0
        Of the sketch's directions. Estimators merge if theirs are the same integer.

    Attributes
    ----------
    sketch_ : StormSketch
    scaling_ : dict
    coef_, intercept_ : ndarray and float
        Of the linear model, in the units of the data.
    n_features_in_ : int

    Notes
    -----
    Least squares needs the second moments of features and target alone, and `StormSketch` estimates those
    without bias, for rows beyond the bound are split and not clipped. They are solved for with a ridge of
    their own standard error, which shrinks coefficients by about that share:
    docs/structures/storm.md says how much.

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
        # A ridge of the moments' own standard error: below it nobody knows them. Directions whose variance
        # is not told from 0 get no more weight than that.
        moments, noise = self._moments()
        d = self.n_features_in_ + 1
        theta = _ridge_inverse(moments[:d, :d], noise) @ moments[:d, d:]
        scale, target_scale = self.scaling_["scale"], self.scaling_["target_scale"]
        self._coefficients = theta[:-1] / scale[:, None] * target_scale
        self._intercepts = (
            self.scaling_["target_center"]
            + theta[-1] * target_scale
            - self.scaling_["center"] @ self._coefficients
        )

    def fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Learn from rows `X` and targets `y`, forgetting what was learnt before.

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
        self.__dict__.pop("sketch_", None)
        return self._take_in(X, y, more=False)

    def partial_fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Learn from another batch of rows and targets.

        Without `scaling` the first batch also chooses the centres, scales and the bound that all rows to come
        are counted by: it should be a random sample of them.

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
            As scikit-learn's estimators do, and if the first batch has fewer than 10 rows and no `scaling`
            was given.

        Warns
        -----
        UserWarning
            If rows lie far from what the scaling expects, or the counters err by more than features vary.
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
        """Predicted targets, shape (n,).

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


class StormClassifier(ClassifierMixin, _StormLinear):  # type: ignore[misc]
    """Linear classification in one pass, from integer counters that merge and subtract.

    Parameters
    ----------
    n_bytes, scaling, random_state
        As for `StormRegressor`; targets are classes as columns of 0 and 1.

    Attributes
    ----------
    classes_ : ndarray
    sketch_, scaling_, n_features_in_
        As for `StormRegressor`.

    Notes
    -----
    Linear discriminant analysis. The second moments of features, a constant and the columns of classes hold
    all that it needs: the classes' shares and means, and the covariance within them. All are estimated from
    one `StormSketch`; the covariance gets a ridge of its standard error.

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
        # Columns of classes as they were, 0 and 1, from those that were centred and scaled.
        scaling = self.scaling_
        back = np.eye(len(moments))
        back[d + 1 :, d + 1 :] = np.diag(scaling["target_scale"])
        back[d + 1 :, d] = scaling["target_center"]
        moments = back @ moments @ back.T
        whole = max(moments[d, d], noise)
        # Shares are known up to the error of their scaled columns. A class of which nothing has been seen has
        # a share of about 0, and a mean that must not explode.
        told = 4.0 * noise * (scaling["target_scale"] + scaling["target_center"]) / whole
        shares = moments[d, d + 1 :] / whole
        lost = self.classes_[shares < told]
        if lost.size:
            warnings.warn(
                f"classes {lost.tolist()} have shares of the rows that the counters do not tell from 0: they "
                f"may be missed. More n_bytes would tell them, got n_bytes={self.n_bytes}",
                stacklevel=5,
            )
        means = moments[:d, d + 1 :] / whole / np.maximum(shares, told)
        shares = np.maximum(shares, 1e-9)
        within = moments[:d, :d] / whole - (means * shares) @ means.T
        directions = _ridge_inverse(within, noise / whole) @ means
        offsets = np.log(shares) - 0.5 * np.einsum("dk,dk->k", means, directions)
        self._coefficients = directions / scaling["scale"][:, None]
        self._intercepts = offsets - scaling["center"] @ self._coefficients

    def fit(self, X: RowsLike, y: ArrayLike) -> Self:
        """Learn from rows `X` and labels `y`, forgetting what was learnt before.

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
        self.__dict__.pop("sketch_", None)
        return self._take_in(X, y, None if y is None else np.unique(np.asarray(y)), more=False)

    def partial_fit(self, X: RowsLike, y: ArrayLike, classes: Any = None) -> Self:
        """Learn from another batch; all `classes` must be told with the first one.

        Without `scaling` the first batch also chooses the centres, scales and the bound that all rows to come
        are counted by: it should be a random sample of them, with rows of every class.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : array_like of shape (n,)
            Classes.
        classes : array_like, optional
            All that there will be; needed at the first call.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's estimators do, and if the first batch has fewer than 10 rows and no `scaling`
            was given.

        Warns
        -----
        UserWarning
            As `StormRegressor.partial_fit`, and for classes that do not occur in the first batch, or so
            rarely so far that the counters do not tell them from none.
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
        # A class without rows may be rare, or come later: between that and an equal share.
        absent = ~targets.any(axis=0)
        shares[absent] = np.sqrt(shares[absent] / k)
        shares[~absent] *= (1.0 - shares[absent].sum()) / shares[~absent].sum()
        return {"target_center": shares, "target_scale": np.sqrt(shares * (1.0 - shares))}

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Values of the classes, shape (n, n_classes); for two, what the second has over the first, (n,).

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
        """The likeliest class of each row.

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


def _ridge_inverse(matrix: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """The inverse of a matrix whose entries are known up to `noise`: a ridge, and no eigenvalue below it."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors / np.maximum(values + noise, noise)) @ vectors.T)


def _spread(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = columns.std(axis=0)
    return np.where(spread > 1e-12 * np.maximum(np.abs(columns).max(axis=0), 1e-300), spread, 1.0)


def _check_scaling(given: Any, n_features: int, n_targets: int) -> dict[str, Any]:
    shapes = {
        "center": (n_features,),
        "scale": (n_features,),
        "target_center": (n_targets,),
        "target_scale": (n_targets,),
        "max_norm": (),
    }
    if not isinstance(given, dict) or set(given) != set(shapes):
        raise ValueError(f"scaling must be a dict with the keys {', '.join(shapes)}, got {given!r}")
    checked = {}
    for name, shape in shapes.items():
        values = np.broadcast_to(np.asarray(given[name], np.float64), shape)
        positive = name in ("scale", "target_scale", "max_norm")
        if not bool(np.isfinite(values).all()) or (positive and bool((values <= 0).any())):
            raise ValueError(
                f"scaling[{name!r}] must be finite{' and above 0' if positive else ''}, got {values}"
            )
        checked[name] = float(values) if shape == () else values.copy()
    return checked


publish("mergesketch", __all__, globals())
