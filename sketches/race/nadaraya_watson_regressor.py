"""NadarayaWatsonRegressor: kernel regression for scikit-learn that learns from a stream and merges."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from ...lsh.family import HashFamily
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.estimator import validated
from .kernel_choice import DistinctRows, choose_regression_family
from .kernel_estimator import KernelEstimator
from .nadaraya_watson import NadarayaWatsonSketch

__all__ = ["NadarayaWatsonRegressor"]


class NadarayaWatsonRegressor(RegressorMixin, KernelEstimator):  # type: ignore[misc]
    """Predict numbers by kernel regression in one pass and fixed memory: a weighted mean over similar rows.

    Parameters
    ----------
    family : "auto" or HashFamily, default "auto"
        The family of `NadarayaWatsonSketch`, whose kernel weighs the targets. By default it is a `PStable`
        of several steps, whose width predicts rows of the first batch best from the others of them.
    n_hashes : int, default 128
        Number of repetitions if the family is chosen. Four times the repetitions halve the error that hashing
        adds.
    confidence : float, default 0.975
        In [0.5, 1). A row is similar to rows seen if its kernel sum is above 0 with this confidence.
    scaling : "auto", dict or None, default "auto"
        Centres and scales of the columns: a dict with the keys "center" and "scale", such as the `scaling_`
        of another estimator, or None for the rows as they are. By default the medians and spreads of the
        first batch are used if the family is chosen, and None if it is given.
    random_state : int, RandomState or None, default 0
        Seed of the family that is chosen. Estimators merge if they have the same integer.

    Attributes
    ----------
    sketch_ : NadarayaWatsonSketch
        The sketch of the scaled rows. Its `predict` also returns standard errors.
    scaling_ : dict or None
        The centres and scales in use.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Warns
    -----
    UserWarning
        Once, if no rows collide, or all do, so that predictions tell nothing. The warning says what to
        change.

    Notes
    -----
    The prediction for a row that is similar to no row seen is the weighted mean of all targets.

    The first batch decides the scaling and the family for all later ones, and a width that suits its number
    of rows. To fit parts of the data apart, fit one estimator to a sample of rows, and pass its
    ``sketch_.family`` and ``scaling_`` to the others.

    Learning a row costs `n_hashes` hashes, and so does a prediction, for any number of rows. Memory is
    ``8 n_hashes (1 + n_outputs)`` bytes for each of 1,024 buckets.

    References
    ----------
    - Nadaraya. On estimating regression. Theory of Probability and Its Applications 9(1), 1964.
    - Watson. Smooth regression analysis. Sankhya A 26, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0.0, 6.0, (5000, 1))
    >>> y = np.sin(X[:, 0]) + 0.1 * rng.standard_normal(5000)
    >>> model = mergesketch.NadarayaWatsonRegressor().fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _sketch_class = NadarayaWatsonSketch

    sketch_: NadarayaWatsonSketch

    def __init__(
        self,
        family: Any = "auto",
        *,
        n_hashes: int = 128,
        confidence: float = 0.975,
        scaling: Any = "auto",
        random_state: Any = 0,
    ) -> None:
        self.family = family
        self.n_hashes = n_hashes
        self.confidence = confidence
        self.scaling = scaling
        self.random_state = random_state

    @staticmethod
    def _arguments_of(sketch: NadarayaWatsonSketch) -> dict[str, Any]:
        if sketch.half_life is not None:
            raise ValueError(f"sketch must have no half_life, got {sketch.half_life:g}")
        return {}

    def _make_sketch(self, family: HashFamily, y: NDArray[Any]) -> NadarayaWatsonSketch:
        return NadarayaWatsonSketch(family, n_outputs=y.shape[1] if y.ndim == 2 else None)

    def _choose_family(self, found: DistinctRows, n_hashes: int, seed: int) -> HashFamily:
        return choose_regression_family(found, n_hashes, seed)

    def _check_rows(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        X, y = validated(self, X, y, reset=reset, accept_sparse="csr", multi_output=True, y_numeric=True)
        return X, y

    def _add(self, Z: Any, y: Any, weights: Any) -> None:
        self.sketch_.update(Z, y, weights)

    def _counts(self) -> tuple[NDArray[Any], float]:
        state = self.sketch_.state
        return state["sums"].array[:, :, 0], float(state["totals"].array[0])

    def fit(self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from rows `X` and targets `y`, and forget what was learnt before.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)
        y : array_like of shape (n,) or (n, n_outputs)
        sample_weight : array_like of n numbers, optional
            Not below 0; 1 by default.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's estimators do, and if the family refuses the rows. Nothing changes then.
        """
        self._learn(X, y, sample_weight, afresh=True)
        return self

    def partial_fit(self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from another batch of rows and targets.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)
        y : array_like of shape (n,) or (n, n_outputs)
        sample_weight : array_like of n numbers, optional
            Not below 0; 1 by default.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As `fit` does, and if the family is chosen and the first batch has fewer than 10 rows.
        """
        self._learn(X, y, sample_weight, afresh=False)
        return self

    def predict(self, X: RowsLike) -> NDArray[np.float64]:
        """Return kernel-weighted means of targets, or the mean of all targets where no row is similar.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs), float64

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` of another width, or `confidence` is out of range.
        """
        rows = self._asked(X)
        predictions = self.sketch_.predict(rows, confidence=self.confidence)
        total, *sums = self.sketch_.state["totals"].array.tolist()
        means = np.array(sums) / total
        return np.where(np.isnan(predictions), means if predictions.ndim == 2 else means[0], predictions)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


publish("mergesketch", __all__, globals())
