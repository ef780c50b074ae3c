"""Frequent Directions, one row after another, with singular values of the whole matrix."""

from __future__ import annotations

import numpy as np


def shrink(rows: list[np.ndarray], n_directions: int) -> tuple[list[np.ndarray], float]:
    """Return at most `n_directions` rows, and the square that all squared lengths have lost."""
    _, lengths, directions = np.linalg.svd(np.array(rows), full_matrices=False)
    lost = float(lengths[n_directions] ** 2) if lengths.size > n_directions else 0.0
    kept = [
        np.sqrt(length**2 - lost) * direction
        for length, direction in zip(lengths, directions, strict=True)
        if length**2 > lost
    ]
    return kept[:n_directions], lost


def sketch_rows(rows: np.ndarray, n_directions: int) -> tuple[np.ndarray, float]:
    """Return the rows of the sketch of a matrix, and the sum of all squares that were lost."""
    kept: list[np.ndarray] = []
    total = 0.0
    for row in rows:
        if len(kept) == 2 * n_directions:
            kept, lost = shrink(kept, n_directions)
            total += lost
        kept.append(row)
    return np.array(kept).reshape(-1, rows.shape[1]), total


def merge(a: np.ndarray, b: np.ndarray, n_directions: int) -> tuple[np.ndarray, float]:
    """Return the rows of two sketches as one sketch, and the square that was lost by that."""
    rows = [*a, *b]
    if len(rows) <= 2 * n_directions:
        return np.array(rows).reshape(-1, a.shape[1]), 0.0
    kept, lost = shrink(rows, n_directions)
    return np.array(kept).reshape(-1, a.shape[1]), lost
