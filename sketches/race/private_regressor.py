"""Regression from one private release: noisy counters of both ends of the targets' range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.pstable import PStable
from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_dense, check_finite, check_numbers
from ...lsh.support.backend import CPU, refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from .bounds import count_beyond
from .privacy_budget import PrivacyBudget
from .private_tasks import PrivateTask, default_hashes

__all__ = ["ReleasedRegressor", "private_regressor"]

#: Number of steps that targets are rounded to within their bounds: a step is below any noise.
_TARGET_STEPS = 1024


class ReleasedRegressor(PrivateTask):
    """Predict numbers from noisy counters (differential privacy), as `private_regressor` makes them.

    Parameters
    ----------
    family : HashFamily
        A family of dense rows, which are scaled to [-1, 1].
    low, high : float or sequence of float
        Public bounds of the features.
    target_low, target_high : float
        Public bounds of the target.

    Notes
    -----
    A row whose target lies a share u of the way from `target_low` to `target_high` adds 1 - u to the counters
    of the lower end and u to those of the upper end. So one release gives the mass (their sum) and the
    targets, with the sensitivity of the mass alone. Two releases, of mass and of targets, would share the
    budget and have twice the noise or more. Counters are in units of 1/1024 row, so that they are integers;
    `total` and the results of `query` have that unit too.

    Prediction is the Nadaraya-Watson estimate, target sum over mass m, moved towards the mean target of
    all rows by the share ``sigma**2 / (m**2 + sigma**2)``. ``sigma`` is the noise of m, in relation to a
    quarter of the bounds' range, over which targets are assumed to spread. The prediction is the mean where
    there are no rows.

    References
    ----------
    - Nadaraya. On estimating regression. Theory of Probability and Its Applications 9(1), 1964.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> X = np.repeat([[-1.0, -1.0], [1.0, 1.0]], 4000, axis=0)
    >>> model = mergesketch.private_regressor(
    ...     X, X[:, 0], epsilon=1.0, low=-2.0, high=2.0, target_low=-1.0, target_high=1.0
    ... )
    >>> left, right = model.predict([[-1.0, -1.0], [1.0, 1.0]])
    >>> bool(left < 0 < right)
    True
    """

    _former_names = ("PrivateRegressor",)
    _parameters = ("family", "low", "high", "target_low", "target_high")

    def __init__(
        self, family: HashFamily, *, low: ArrayLike, high: ArrayLike, target_low: float, target_high: float
    ) -> None:
        super().__init__(family, n_outputs=2, low=low, high=high)
        self.target_low = check_real("target_low", target_low, -math.inf, math.inf)
        self.target_high = check_real("target_high", target_high, self.target_low, math.inf)
        if math.isinf(self.target_high - self.target_low):
            raise ValueError(
                f"target_low must be below target_high, by a finite range, got {target_low} and {target_high}"
            )

    def predict(self, X: RowsLike) -> NDArray[np.float64]:
        """Return estimated targets, within `target_low` and `target_high`.

        Parameters
        ----------
        X : array_like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        TypeError, ValueError
            If `X` is no matrix of finite numbers of that width.
        """
        totals = self.total
        mean = float(np.clip(totals[1] / max(float(totals.sum()), float(_TARGET_STEPS)), 0.0, 1.0))
        sums = self._sums(X, None, False)
        mass = np.maximum(sums.sum(axis=1), 0.0)
        excess = sums[:, 1] - mean * sums.sum(axis=1)
        # The excess has (1 - mean)**2 + mean**2 times the variance of the mean of R counters.
        noise = self.noise_std**2 / self.family.n_hashes * ((1 - mean) ** 2 + mean**2)
        share = mean + excess * mass / (mass**2 + 16.0 * noise)
        return np.asarray(self.target_low + (self.target_high - self.target_low) * np.clip(share, 0.0, 1.0))


def private_regressor(
    X: RowsLike,
    y: ArrayLike,
    *,
    epsilon: float,
    low: ArrayLike,
    high: ArrayLike,
    target_low: float,
    target_high: float,
    family: HashFamily | None = None,
    clip: bool = True,
    rows_per_record: int = 1,
    seed: int = 0,
    budget: PrivacyBudget | None = None,
) -> ReleasedRegressor:
    """Train a regressor that is epsilon-differentially private, in one pass over the rows.

    Parameters
    ----------
    X : array of shape (n, features)
    y : array of shape (n,)
        Targets.
    epsilon, low, high, clip, rows_per_record, seed, budget
        As for `private_classifier`. Targets beyond their bounds are clipped or refused in the same way.
    target_low, target_high : float
        Bounds of the targets. They must be public.
    family : HashFamily, optional
        A family over rows that are scaled to [-1, 1] by the bounds. By default `PStable` with a width of the
        square root of the number of features, ``power=4``, 64 buckets and ``8 sqrt(epsilon)`` hashes, from 4
        to 32.

    Returns
    -------
    ReleasedRegressor

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.
    PrivacyBudgetError
        If less than `epsilon` remains of the budget.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import private_regressor
    >>> X = np.random.default_rng(0).uniform(-1, 1, (20_000, 2))
    >>> y = np.sin(3 * X[:, 0])
    >>> model = private_regressor(X, y, epsilon=1.0, low=-1.0, high=1.0, target_low=-1.0, target_high=1.0)
    >>> bool(np.sqrt(np.mean((model.predict(X) - y) ** 2)) < 0.5 * y.std())
    True
    """
    refuse_gpu("a private model", X, y)
    X = check_dense(X)
    if family is None:
        features = max(1, X.shape[1])
        family = PStable(
            features,
            max(4, default_hashes(epsilon) // 2),
            width=math.sqrt(features),
            power=4,
            n_buckets=64,
            seed=seed,
        )
    model = ReleasedRegressor(family, low=low, high=high, target_low=target_low, target_high=target_high)
    check_dense(X, model.n_features)
    targets = _check_targets(y, len(X))
    ends = model.target_low, model.target_high
    units = np.rint((np.clip(targets, *ends) - ends[0]) / (ends[1] - ends[0]) * _TARGET_STEPS).astype(
        np.int64
    )
    return model._fit(
        X,
        lambda start, stop: np.column_stack([_TARGET_STEPS - units[start:stop], units[start:stop]]),
        epsilon,
        _TARGET_STEPS * check_int("rows_per_record", rows_per_record, 1, 1 << 20),
        max(count_beyond(X, *model._box), count_beyond(targets, *ends)),
        clip,
        budget,
    )


def _check_targets(y: Any, n: int) -> NDArray[np.float64]:
    targets = check_numbers("y", y)
    if targets.shape != (n,):
        raise ValueError(f"y must have shape ({n},), one target a row, got {targets.shape}")
    check_finite("y", targets, CPU)
    return targets


publish("mergesketch", __all__, globals())
