"""Test that estimators refuse masked values: scikit-learn would use the numbers under the mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mergesketch import (
    AceDetector,
    LinkFeatures,
    LSHNeighbors,
    NadarayaWatsonRegressor,
    PrivateClassifier,
    PrivateRegressor,
    RaceDensity,
    StormClassifier,
    StormRegressor,
)

X = np.random.default_rng(0).normal(size=(60, 2))
LABELS = (X[:, 0] > 0).astype(np.int64)
BOUNDS = {"low": -9.0, "high": 9.0}
ESTIMATORS: dict[str, tuple[Any, Any]] = {
    "AceDetector": (lambda: AceDetector(n_hashes=8), None),
    "RaceDensity": (lambda: RaceDensity(n_hashes=8), None),
    "LSHNeighbors": (LSHNeighbors, None),
    "NadarayaWatsonRegressor": (lambda: NadarayaWatsonRegressor(n_hashes=8), X[:, 1]),
    "StormRegressor": (StormRegressor, X[:, 1]),
    "StormClassifier": (StormClassifier, LABELS),
    "PrivateClassifier": (lambda: PrivateClassifier(**BOUNDS, classes=[0, 1]), LABELS),
    "PrivateRegressor": (lambda: PrivateRegressor(**BOUNDS, target_low=-9.0, target_high=9.0), X[:, 1]),
}


def masked(values: np.ndarray) -> Any:
    array = np.ma.array(values, mask=np.zeros(values.shape, np.bool_))
    array[3] = np.ma.masked
    return array


@pytest.mark.parametrize("name", ESTIMATORS)
def test_masked_rows_and_targets_are_refused(name: str) -> None:
    make, y = ESTIMATORS[name]
    with pytest.raises(ValueError, match="X must not be masked, got 2 masked values"):
        make().fit(masked(X), y)
    fitted = make().fit(X, y)
    ask = next(ask for ask in ("predict", "score_samples", "transform") if hasattr(fitted, ask))
    with pytest.raises(ValueError, match="X must not be masked, got 2 masked values"):
        getattr(fitted, ask)(masked(X))
    nothing_masked = np.ma.array(X)
    getattr(make().fit(nothing_masked, y), ask)(nothing_masked)
    if y is not None:
        with pytest.raises(ValueError, match="y must not be masked, got 1 masked values"):
            make().fit(X, masked(y))


def test_masked_weights_and_pairs_are_refused() -> None:
    for estimator in (AceDetector(n_hashes=8), RaceDensity(n_hashes=8)):
        with pytest.raises(ValueError, match="sample_weight must not be masked, got 1 masked values"):
            estimator.fit(X, sample_weight=masked(np.ones(60)))
    pairs = np.arange(12).reshape(6, 2)
    with pytest.raises(ValueError, match="X must not be masked"):
        LinkFeatures().fit(masked(pairs))
    with pytest.raises(ValueError, match="X must not be masked"):
        LinkFeatures().fit(pairs).transform(masked(pairs))
