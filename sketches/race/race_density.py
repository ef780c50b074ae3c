"""RaceDensity: a density estimator of scikit-learn that learns from a stream and merges."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import DensityMixin

from ...lsh.family import HashFamily
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from .kernel_estimator import KernelEstimator
from .race import Race

__all__ = ["RaceDensity"]


class RaceDensity(DensityMixin, KernelEstimator):  # type: ignore[misc]
    """Estimate log-densities of rows in one pass and fixed memory, as scikit-learn's `KernelDensity` does.

    Parameters
    ----------
    family : "auto" or HashFamily, default "auto"
        The family of `Race`, whose kernel says which rows are similar. By default it is a `PStable` whose
        width is chosen by the distances of rows of the first batch.
    n_hashes : int, default 256
        Number of repetitions if the family is chosen. Four times the repetitions halve the error.
    scaling : "auto", dict or None, default "auto"
        Centres and scales of the columns: a dict with the keys "center" and "scale", such as the `scaling_`
        of another estimator, or None for the rows as they are. By default the medians and spreads of the
        first batch are used if the family is chosen, and None if it is given.
    random_state : int, RandomState or None, default 0
        Seed of the family that is chosen. Estimators merge if they have the same integer.

    Attributes
    ----------
    sketch_ : Race
        The sketch of the scaled rows, with real counters.
    scaling_ : dict or None
        The centres and scales in use.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Warns
    -----
    UserWarning
        Once, if no rows collide, or all do, so that densities tell nothing. The warning says what to change.

    Notes
    -----
    **The density is known up to a constant factor.** It is the mean of the family's kernel k(x, q), from 0 to
    1, over the rows x seen, and not divided by the integral of the kernel, which is infinite for many
    families. So compare scores of one estimator, or of estimators with the same family and scaling, as a
    classifier by densities does. Do not choose a family or a scaling by `score`: the widest kernel has the
    highest. `DensitySketch` estimates densities that integrate to 1.

    **Small densities.** An estimate is unbiased, and can be 0 or below. Its logarithm is then that of the
    least count, one collision in one of R repetitions: 1 / (R n) for n rows. So scores are finite. The
    logarithm of a density with a relative error e has an error of about e.

    The first batch decides the scaling and the family for all later ones. To fit parts of the data apart, fit
    one estimator to a sample of rows, and pass its ``sketch_.family`` and ``scaling_`` to the others.

    Learning a row costs `n_hashes` hashes, and so does a query, for any number of rows. Memory is
    ``8 n_hashes`` bytes for each of 1,024 buckets.

    References
    ----------
    - Coleman, Shrivastava. Sub-linear RACE sketches for approximate kernel density estimation on
      streaming data. WWW 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((5000, 3)) * [1, 100, 0.01]
    >>> density = mergesketch.RaceDensity().fit(X)
    >>> scores = density.score_samples([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    >>> bool(scores[0] > scores[1] > scores[2])
    True
    """

    _sketch_class = Race

    sketch_: Race

    def __init__(
        self, family: Any = "auto", *, n_hashes: int = 256, scaling: Any = "auto", random_state: Any = 0
    ) -> None:
        self.family = family
        self.n_hashes = n_hashes
        self.scaling = scaling
        self.random_state = random_state

    @staticmethod
    def _arguments_of(sketch: Race) -> dict[str, Any]:
        if sketch.n_outputs is not None:
            raise ValueError(f"sketch must have no n_outputs, got {sketch.n_outputs}")
        return {}

    def _make_sketch(self, family: HashFamily, y: Any) -> Race:
        return Race(family, dtype="float")

    def _counts(self) -> tuple[NDArray[Any], float]:
        return self.sketch_.state["counts"].array, float(self.sketch_.total)

    def fit(self, X: RowsLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from rows, and forget what was learnt before.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)
        y : None
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
        self._learn(X, None, sample_weight, afresh=True)
        return self

    def partial_fit(self, X: RowsLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from another batch of rows.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)
        y : None
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
        self._learn(X, None, sample_weight, afresh=False)
        return self

    def score_samples(self, X: RowsLike) -> NDArray[np.float64]:
        """Return the logarithms of the kernel densities of rows, which are known up to a constant.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64
            From ``-log(R n)``, for R repetitions and rows of total weight n, to about 0.

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or `X` of another width.
        """
        rows = self._asked(X)
        densities = self.sketch_.density(rows)
        least = 1.0 / (self.sketch_.family.n_hashes * max(float(self.sketch_.total), 1.0))
        return np.log(np.maximum(densities, least))

    def score(self, X: RowsLike, y: None = None) -> float:
        """Return the sum of the logarithms of the densities of rows, the log-likelihood up to a constant.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (n, n_features)
        y : None

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, ValueError
            As `score_samples` does.
        """
        return math.fsum(self.score_samples(X))


publish("mergesketch", __all__, globals())
