"""Densities from grids."""

from __future__ import annotations

import numpy as np


def grid_counts(
    X: np.ndarray, weights: np.ndarray, frames: list[np.ndarray], shifts: np.ndarray, widths: np.ndarray
) -> list[dict[tuple[int, ...], int]]:
    """Add up the weight that lies in each cell of each grid; frames[r] is a rotation."""
    grids: list[dict[tuple[int, ...], int]] = []
    for frame, shift in zip(frames, shifts, strict=True):
        counts: dict[tuple[int, ...], int] = {}
        for x, weight in zip(X, weights.tolist(), strict=True):
            cell = tuple(int(c) for c in np.floor(frame @ x / widths + shift))
            counts[cell] = counts.get(cell, 0) + weight
        grids.append(counts)
    return grids


def triangular_density(Q: np.ndarray, X: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return the kernel density under the product of triangles."""
    u = np.abs(Q[:, None, :] - X[None, :, :]) / widths
    return (np.maximum(0.0, 1.0 - u) / widths).prod(axis=2).mean(axis=1)
