"""Public bounds of rows, by which private sketches scale; the data's own bounds are private."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import refuse_gpu

__all__ = ["check_bounds", "count_beyond", "scale_rows", "shorten_bound"]


def check_bounds(low: Any, high: Any, n_features: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `low` and `high` as one finite number for each feature; ValueError unless low is below high."""
    given = {}
    for name, bound in (("low", low), ("high", high)):
        refuse_gpu(f"a bound {name}", bound)
        wanted = f"{name} must be a number or {n_features} numbers, one a feature"
        array = check_array(name, bound)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{wanted}, got {bound!r}")
        if array.shape not in ((), (n_features,)):
            raise ValueError(f"{wanted}, got shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got {bound!r}")
        given[name] = array.astype(np.float64)
    # Numbers are compared before they are broadcast: a file may demand any number of features.
    with np.errstate(over="ignore"):
        wrong = np.atleast_1d(~((given["low"] < given["high"]) & np.isfinite(given["high"] - given["low"])))
    low, high = (np.broadcast_to(bound, n_features) for bound in given.values())
    if wrong.any():
        feature = int(wrong.argmax())
        raise ValueError(
            f"low must be below high, by a finite range, got {low[feature]:g} and {high[feature]:g} in "
            f"feature {feature}"
        )
    return low, high


def shorten_bound(bound: NDArray[np.float64]) -> float | tuple[float, ...]:
    """Return a checked bound, as one number if all features share it, so that equal bounds compare equal."""
    if bound.strides == (0,) or bool((bound == bound[0]).all()):
        return float(bound[0])
    return tuple(bound.tolist())


def scale_rows(X: NDArray[Any], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows, clipped to the box from low to high and scaled to [-1, 1] in each feature."""
    half = (high - low) / 2.0
    scaled = (np.clip(X, low, high) - low) / half - 1.0
    return np.ascontiguousarray(scaled)


def count_beyond(X: NDArray[Any], low: Any, high: Any) -> int:
    """Return the number of rows, or of numbers, that clipping changes."""
    beyond = (low > X) | (high < X)
    return int((beyond.any(axis=1) if X.ndim == 2 else beyond).sum())
