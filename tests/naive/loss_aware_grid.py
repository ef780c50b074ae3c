"""Weighted k-means of a row by trying all clusters, and rounding column by column with the inverse itself."""

from __future__ import annotations

import numpy as np


def cluster_error(values: np.ndarray, importances: np.ndarray) -> float:
    """Return the weighted squared error about the weighted mean."""
    return float(importances @ (values - np.average(values, weights=importances)) ** 2)


def least_error(values: np.ndarray, importances: np.ndarray, n_points: int) -> float:
    """Return the least weighted squared error of any grid of n points, from all cuts of the values."""
    order = np.argsort(values, kind="stable")
    values, importances = values[order], importances[order]
    n = len(values)
    least = [0.0] + [np.inf] * n
    for _ in range(n_points):
        least = [0.0] + [
            min(
                least[end],
                *(least[i] + cluster_error(values[i:end], importances[i:end]) for i in range(end)),
            )
            for end in range(1, n + 1)
        ]
    return float(least[n])


def grid_error(values: np.ndarray, importances: np.ndarray, grid: np.ndarray) -> float:
    """Return the weighted squared error of values that are replaced by their nearest grid points."""
    return float(importances @ ((values[:, None] - grid[None, :]) ** 2).min(axis=1))


def quantized(row: np.ndarray, hessian: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return a row rounded to its grid column by column, by the update of optimal brain quantisation.

    After each column its row and column are eliminated from the inverse.
    """
    row, inverse = row.astype(float).copy(), np.linalg.inv(hessian)
    out = np.zeros(len(row))
    for i in range(len(row)):
        out[i] = grid[np.argmin(np.abs(grid - row[i]))]
        row[i:] -= (row[i] - out[i]) / inverse[i, i] * inverse[i, i:]
        inverse = inverse - np.outer(inverse[:, i], inverse[i, :]) / inverse[i, i]
    return out


def unpacked(packed: bytes, bits: int, n: int) -> list[int]:
    """Return n codes of `bits` bits each from one little-endian number."""
    number = int.from_bytes(packed, "little")
    return [number >> (bits * i) & ((1 << bits) - 1) for i in range(n)]
