"""Rows as real data has them, where normal rows hide faults: one-hot, few entries, grids, repeats, images.

Every maker takes (n, n_features, seed) and returns a dense float64 array of that shape, with entries
from 0 to 1 and no row of zeros, so that every family can take it. `as_sets` and `as_bits` convert it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAKERS", "as_bits", "as_sets", "few_entries", "grid", "images", "one_hot", "repeated"]

Rows = NDArray[np.float64]


def one_hot(n: int, n_features: int, seed: int) -> Rows:
    """Return rows with a single 1, in different columns while there are enough."""
    columns = np.random.default_rng(seed).permutation(n_features)
    return np.eye(n_features)[np.resize(columns, n)]


def few_entries(n: int, n_features: int, seed: int) -> Rows:
    """Return rows of three entries, most of them in columns that many rows share."""
    rng = np.random.default_rng(seed)
    popular = 1.0 / (1.0 + np.arange(n_features))
    X = np.zeros((n, n_features))
    for row in X:
        row[rng.choice(n_features, 3, replace=False, p=popular / popular.sum())] = rng.integers(1, 4, 3) / 3.0
    return X


def grid(n: int, n_features: int, seed: int) -> Rows:
    """Return points of a plane whose two coordinates take eight values each; columns mix the two."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 8, (n, 2)) / 7.0
    places[~places.any(axis=1)] = 1.0
    mixing = rng.choice([0.25, 0.5, 1.0], (2, n_features))
    return places @ mixing / 2.0


def repeated(n: int, n_features: int, seed: int) -> Rows:
    """Return five different rows; the first occurs as many times as the others together."""
    rng = np.random.default_rng(seed)
    distinct = rng.random((5, n_features)) * (rng.random((5, n_features)) < 0.5)
    distinct[:, 0] = 1.0
    return distinct[rng.choice(5, n, p=[0.5, 0.2, 0.15, 0.1, 0.05])]


def images(n: int, n_features: int, seed: int) -> Rows:
    """Return images of grey strokes on black: most pixels are 0, and neighbours are similar."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n_features)))
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1)
    steps = np.linspace(0.0, 1.0, side)[:, None]
    X = np.zeros((n, side * side))
    for row in X:
        for _ in range(2):
            ends = rng.uniform(0.15 * side, 0.85 * side, (2, 2))
            stroke = ends[0] + steps * (ends[1] - ends[0])
            nearest = ((pixels[:, :, None, :] - stroke) ** 2).sum(axis=-1).min(axis=-1)
            row[:] = np.maximum(row, np.clip(1.6 - np.sqrt(nearest), 0.0, 1.0).reshape(-1))
    X = X[:, :n_features]
    X[~X.any(axis=1), -1] = 1.0
    return X


MAKERS: dict[str, Callable[[int, int, int], Rows]] = {
    "one-hot": one_hot,
    "few entries": few_entries,
    "grid": grid,
    "repeated": repeated,
    "images": images,
}


def as_sets(X: Rows) -> list[NDArray[np.int64]]:
    """Return the columns of the non-zero entries of each row."""
    return [np.flatnonzero(row) for row in X]


def as_bits(X: Rows) -> NDArray[np.bool_]:
    """Mark the entries above a half of the row's largest."""
    return np.greater(2.0 * X, X.max(axis=1, keepdims=True))
