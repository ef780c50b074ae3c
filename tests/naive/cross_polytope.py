"""Cross-polytope hashes of rotated rows."""

from __future__ import annotations

import itertools

import numpy as np

from naive.words import mix13


def scattered(row: np.ndarray, key: int, size: int) -> np.ndarray:
    """Add up the features of a float32 row, with random signs, at hashed places."""
    out = np.zeros(size, dtype=np.float32)
    for feature, entry in enumerate(row):
        word = mix13(feature ^ key)
        out[word * size >> 64] += -entry if word & 1 else entry
    return out


def cross_polytope_values(rotated: np.ndarray, n_values: int, dimension: int) -> list[list[int]]:
    """Return the elementary hashes of rotated rows: the nearest of the signed axes."""
    out = []
    for row in rotated.reshape(len(rotated), -1, dimension)[:, :n_values].tolist():
        values = []
        for coordinates in row:
            place = max(range(dimension), key=lambda j: (abs(coordinates[j]), -j))
            values.append(2 * place + (coordinates[place] < 0))
        out.append(values)
    return out


def cross_polytope_cells(coordinates: list[list[float]]) -> list[tuple[float, tuple[int, ...]]]:
    """Return every cell of a hash of several elementary ones and its cost, the likeliest first."""
    ways = []
    for values in coordinates:
        largest = max(abs(v) for v in values)
        ways.append([((largest - abs(v)) ** 2, 2 * j + (v < 0)) for j, v in enumerate(values)])
    cells = [
        (sum(cost for cost, _ in cell), tuple(digit for _, digit in cell))
        for cell in itertools.product(*ways)
    ]
    return sorted(cells)
