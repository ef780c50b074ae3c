"""Sums of products of signs, the counters of STORM."""

from __future__ import annotations

import itertools

import numpy as np


def sign_products(Z: np.ndarray, frames: np.ndarray) -> list[list[int]]:
    """Sum over rows the product of two signs, for each frame and pair of its directions."""
    lengths = np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1.0)
    unit = Z / lengths
    full = np.column_stack([unit, np.sqrt(np.maximum(1.0 - (unit**2).sum(axis=1), 0.0))])
    counts = []
    for frame in frames:
        signs = np.where(full @ frame.T >= 0, 1, -1)
        pairs = itertools.combinations(range(len(frame)), 2)
        counts.append([int((signs[:, i] * signs[:, j]).sum()) for i, j in pairs])
    return counts
