"""Rows and weights for a ProductQuantizer, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_dense, check_magnitude, check_numbers
from ...lsh.support.backend import refuse_gpu

__all__ = ["LARGEST", "FitRows", "is_within", "read_fit_rows", "read_numbers"]

#: The largest number of a row or query, whose products with others have no overflow.
LARGEST = 1e150


class FitRows(NamedTuple):
    """Rows to fit to, and their weights.

    Attributes
    ----------
    X : ndarray of shape (n, n_features), float64
    row_weights : ndarray of shape (n, 1) or (n, n_groups), float64
    channel_weights : ndarray of shape (n_features,), float64
    """

    X: NDArray[np.float64]
    row_weights: NDArray[np.float64]
    channel_weights: NDArray[np.float64]


def is_within(numbers: NDArray[Any]) -> bool:
    """Tell whether all numbers are finite, and small enough for products."""
    return numbers.size == 0 or bool((numbers.max() <= LARGEST) & (numbers.min() >= -LARGEST))


def read_numbers(name: str, X: Any, n_features: int) -> NDArray[Any]:
    """Return rows as a matrix of float32 or float64; ValueError if numbers are not finite or too large."""
    rows = check_dense(X, n_features, name)
    if rows.dtype == np.float64:
        check_magnitude(name, rows, LARGEST)
    return rows


def _check_importance(name: str, weights: Any) -> NDArray[np.float64]:
    numbers = check_numbers(name, weights)
    refused = numbers[~((numbers >= 0.0) & (numbers <= LARGEST))]
    if refused.size:
        raise ValueError(f"{name} must be numbers in [0, {LARGEST:g}], got {refused[0]:g}")
    return numbers


def read_fit_rows(X: Any, weights: Any, feature_weights: Any, n_features: int, n_groups: int) -> FitRows:
    """Return the arguments of `ProductQuantizer.fit`; TypeError or ValueError names one that is refused."""
    refuse_gpu("ProductQuantizer.fit", X, weights, feature_weights)
    rows = read_numbers("X", X, n_features).astype(np.float64, copy=False)
    row_weights, channels = np.ones((len(rows), 1)), np.ones(n_features)
    if weights is not None:
        row_weights = _check_importance("weights", weights)
        if row_weights.shape not in ((len(rows),), (len(rows), n_groups)):
            raise ValueError(
                f"weights must have shape ({len(rows)},) or {(len(rows), n_groups)}, got {row_weights.shape}"
            )
        row_weights = row_weights if row_weights.ndim == 2 else row_weights[:, None]
    if feature_weights is not None:
        channels = _check_importance("feature_weights", feature_weights)
        if channels.shape != (n_features,):
            raise ValueError(f"feature_weights must have shape ({n_features},), got {channels.shape}")
        if not channels.any():
            raise ValueError("feature_weights must not all be 0")
    return FitRows(rows, row_weights, channels)
