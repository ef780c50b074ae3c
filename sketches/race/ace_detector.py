"""AceDetector: an outlier detector of scikit-learn that learns from a stream and merges."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from ...lsh.family import HashFamily
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.estimator import seed_of
from .ace import AceSketch
from .kernel_estimator import KernelEstimator

__all__ = ["AceDetector", "weighted_quantile"]

#: The largest sum of weights, up to which float64 holds every whole number.
_MOST_REPEATS = 2.0**53


class AceDetector(OutlierMixin, KernelEstimator):  # type: ignore[misc]
    """Detect outliers (anomalies) in one pass and fixed memory, as scikit-learn's outlier detectors do.

    Parameters
    ----------
    family : "auto" or HashFamily, default "auto"
        The family of `AceSketch`, whose kernel says which rows are similar. By default it is a `PStable`
        whose width is chosen by the distances of rows of the first batch.
    n_hashes : int, default 100
        Number of repetitions if the family is chosen.
    contamination : "auto", float or None, default "auto"
        Share of outliers, in (0, 0.5]. By default rows are outliers whose scores have a logarithm that lies
        `alpha` standard deviations below the mean of the logarithms, and with None those whose scores
        themselves do, which is rare if scores vary much.
    alpha : float, default 3.0
        Standard deviations between the mean and the threshold if `contamination` is not a number.
    sample_size : int, default 1024
        Rows whose codes the sketch keeps, to know the distribution of the scores.
    scaling : "auto", dict or None, default "auto"
        Centres and scales of the columns: a dict with the keys "center" and "scale", such as the `scaling_`
        of another estimator, or None for the rows as they are. By default the medians and spreads of the
        first batch are used if the family is chosen, and None if it is given.
    random_state : int, RandomState or None, default 0
        Seed of the family that is chosen, and of the sample. Estimators merge if they have the same integer.

    Attributes
    ----------
    sketch_ : AceSketch
        The sketch of the scaled rows. It has the family, `mean_score` and `threshold`.
    scaling_ : dict or None
        The centres and scales in use.
    offset_ : float
        ``decision_function(X) = score_samples(X) - offset_``. After `fit` it is the threshold for the rows of
        `fit`, as in scikit-learn: if `contamination` is a number, this share of them is below. After
        `partial_fit` or `merge` it is the threshold of the sketch, which is for new rows: on average this
        share of new rows is below. New rows do not count themselves, so it is lower.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Warns
    -----
    UserWarning
        Once, if no rows collide, or all do, so that scores tell nothing. The warning says what to change.
        Rows that are equal collide under any family and give no warning.

    Notes
    -----
    The score of a row is its kernel density among the rows seen, from 0 to 1; a low score means an outlier.
    `AceSketch` explains it. A constant column has no effect, and all other columns count alike, in any unit.
    A `sample_weight` is a number of repeats: whole numbers give exactly the estimator of the repeated rows,
    and other weights are refused.

    The first batch decides the scaling and the family for all later ones. So it should be a random sample of
    a hundred rows or more. To fit parts of the data apart, fit one estimator to a sample of rows, and pass
    its ``sketch_.family`` and ``scaling_`` to the others: what they learnt then merges, and is equal to what
    one estimator learns from all rows.

    Learning a row costs `n_hashes` hashes, and so does scoring one. `fit` with `contamination` also scores
    all rows. Memory is ``4 n_hashes`` bytes for each of 1,024 buckets, and for each row of the sample.

    References
    ----------
    - Luo, Shrivastava. Arrays of (locality-sensitive) count estimators (ACE): anomaly detection on the
      edge. WWW 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((5000, 8)) * [1, 10, 0.1, 1, 1, 1e6, 1, 1]
    >>> detector = mergesketch.AceDetector(contamination=0.01).fit(X)
    >>> detector.predict(np.vstack([np.zeros(8), X.std(axis=0) * 4]))
    array([ 1, -1])
    >>> float((detector.predict(X) == -1).mean())
    0.01
    """

    _sketch_class = AceSketch

    sketch_: AceSketch
    #: The threshold for the rows of `fit`; None if it is that of the sketch.
    _fitted_offset: float | None

    def __init__(
        self,
        family: Any = "auto",
        *,
        n_hashes: int = 100,
        contamination: Any = "auto",
        alpha: float = 3.0,
        sample_size: int = 1024,
        scaling: Any = "auto",
        random_state: Any = 0,
    ) -> None:
        self.family = family
        self.n_hashes = n_hashes
        self.contamination = contamination
        self.alpha = alpha
        self.sample_size = sample_size
        self.scaling = scaling
        self.random_state = random_state

    #: Pickles of version 0.2 ask for it here, whose AceDetector was the sketch.
    _rebuilt = AceSketch._rebuilt

    @staticmethod
    def _arguments_of(sketch: AceSketch) -> dict[str, Any]:
        return {
            "contamination": sketch.contamination,
            "alpha": sketch.alpha,
            "sample_size": sketch.sample_size,
            "random_state": sketch.seed,
        }

    def _make_sketch(self, family: HashFamily, y: Any) -> AceSketch:
        return AceSketch(
            family,
            contamination=self.contamination,
            alpha=self.alpha,
            sample_size=self.sample_size,
            seed=seed_of(self.random_state),
        )

    def _counts(self) -> tuple[NDArray[Any], float]:
        return self.sketch_.state["counts"].array, self.sketch_.n_updates

    def _weights(self, sample_weight: Any, X: Any) -> NDArray[np.int64] | None:
        weights = super()._weights(sample_weight, X)
        if weights is None:
            return None
        broken = weights[weights != np.floor(weights)]
        if broken.size:
            raise ValueError(
                "sample_weight must be whole numbers, which count a row as often as that, got "
                f"{broken[0]:g}; multiply the weights by a constant and round them"
            )
        if weights.sum() > _MOST_REPEATS:
            raise ValueError(f"sample_weight must have a sum of at most 2**53, got {weights.sum():g}")
        return weights.astype(np.int64)

    def _after_fit(self, Z: Any, weights: NDArray[np.int64] | None) -> None:
        share = self.contamination
        if share is None or isinstance(share, str):
            # The sketch's threshold is for new rows, and the rows of fit count themselves.
            family = self.sketch_.family
            own = 1.0 / (1.0 - family.chance_collision) / self.sketch_.n_updates
            self._fitted_offset = self.sketch_.threshold + own
        else:
            scores = self.sketch_.score_samples(Z)
            repeats = np.ones(scores.size, np.int64) if weights is None else weights
            self._fitted_offset = weighted_quantile(scores, repeats, share)

    def _after_merge(self) -> None:
        self._fitted_offset = None

    # -- learning ---------------------------------------------------------------------------------

    def fit(self, X: RowsLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from rows, and forget what was learnt before.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)
        y : None
        sample_weight : array_like of n integers, optional
            How often each row occurs.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's estimators do, and if the family refuses the rows. Nothing changes then.
        """
        self._learn(X, None, sample_weight, afresh=True)
        return self

    def partial_fit(self, X: RowsLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from another batch of rows.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)
        y : None
        sample_weight : array_like of n integers, optional
            How often each row occurs.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As `fit` does, and if the family is chosen and the first batch has fewer than 10 rows.
        """
        self._learn(X, None, sample_weight, afresh=False)
        return self

    # -- rows that are asked ----------------------------------------------------------------------

    @property
    def offset_(self) -> float:
        """The score below which a row is called an outlier."""
        check_is_fitted(self, "sketch_")
        return self.sketch_.threshold if self._fitted_offset is None else self._fitted_offset

    def score_samples(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the kernel densities of rows among the rows seen; outliers have low ones.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` of another width.
        """
        rows = self._asked(X)
        return self.sketch_.score_samples(rows)

    def decision_function(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the scores less `offset_`; outliers have negative ones.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        NotFittedError, ValueError
            As `score_samples` does, and if too few rows were seen to know the share `contamination`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: RowsLike) -> NDArray[np.int64]:
        """Return -1 for outliers and 1 for other rows.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        NotFittedError, ValueError
            As `decision_function` does.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)


def weighted_quantile(values: NDArray[np.float64], repeats: NDArray[np.int64], share: float) -> float:
    """Return a quantile of values that are repeated, as `numpy.percentile` does, without repeating them."""
    order = np.argsort(values)
    ends = np.cumsum(repeats[order])
    place = float(ends[-1] - 1) * (100.0 * share / 100.0)
    below = int(place)
    low, high = values[order[np.searchsorted(ends, [below, min(below + 1, ends[-1] - 1)], side="right")]]
    # Interpolation from the nearer end, with NumPy's rounding.
    part = place - below
    return float(high - (high - low) * (1.0 - part) if part >= 0.5 else low + (high - low) * part)


publish("mergesketch", ["AceDetector"], globals())
