"""The common part of a classifier and a regressor from one private release."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_dense
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_flag, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.types import RowsLike
from .bounds import check_bounds, scale_rows, shorten_bound
from .privacy_budget import PrivacyBudget
from .private_race import PrivateRace
from .race import Race

__all__ = ["PrivateTask", "default_hashes"]

_FIT_ROWS = 1 << 16


class PrivateTask(PrivateRace):
    """A release whose rows were scaled by public bounds; the base of classifiers and regressors."""

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]

    def __init__(self, family: HashFamily, *, n_outputs: int, low: ArrayLike, high: ArrayLike) -> None:
        super().__init__(family, n_outputs=n_outputs)
        features = getattr(family, "n_features", None)
        if features is None:
            raise TypeError(f"family must be of dense rows of known width, got {family!r}")
        self.n_features = int(features)
        self.low, self.high = map(shorten_bound, check_bounds(low, high, self.n_features))

    @abstractmethod
    def predict(self, X: RowsLike) -> NDArray[Any]:
        """Predict for rows."""

    def _query_rows(self, Q: Any) -> NDArray[np.float64]:
        refuse_gpu(type(self).__name__, Q)
        X = check_dense(Q, self.n_features)
        return scale_rows(X, *self._box)

    @lazy
    def _box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return check_bounds(self.low, self.high, self.n_features)

    def _fit(
        self,
        X: NDArray[Any],
        weights: Any,
        epsilon: float,
        record_weight: int,
        beyond: int,
        clip: bool,
        budget: PrivacyBudget | None,
    ) -> Self:
        """Count rows with ``weights(start, stop)`` in a sketch, and keep the release of the sketch only."""
        clip = check_flag("clip", clip)
        if beyond and not clip:
            raise ValueError(
                f"{beyond} of {len(X)} rows lie beyond the bounds low and high (their number is private); "
                "widen the bounds by what is publicly known, or pass clip=True"
            )
        race = Race(self.family, n_outputs=self.n_outputs)
        for start in range(0, max(1, len(X)), _FIT_ROWS):
            stop = min(len(X), start + _FIT_ROWS)
            race.update(scale_rows(X[start:stop], *self._box), weights(start, stop))
        return self._take_release(race, epsilon, record_weight, budget)


def default_hashes(epsilon: Any) -> int:
    """Return the number of repetitions for a budget: a small budget has fewer, for they share it."""
    epsilon = check_real("epsilon", epsilon, 0.0, math.inf)
    return max(4, round(16.0 * math.sqrt(min(epsilon, 16.0))))
