"""Choose scales and families, slowly and plainly: rows of weight w are written w times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def scaling(X: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the centres and scales of the columns of rows that may repeat."""
    n = len(X)
    centers, scales = [], []
    for column in X.T.tolist():
        ordered = sorted(column)
        low, center, high = (ordered[math.ceil(share * n) - 1] for share in (0.25, 0.5, 0.75))
        mean = sum(column) / n
        spread = math.sqrt(sum((x - mean) ** 2 for x in column) / n)
        scale = math.sqrt((high - low) / 1.349 * spread) if high > low else spread
        centers.append(center)
        scales.append(scale if scale > 1e-12 * max(map(abs, column)) else 1.0)
    return centers, scales


def leave_one_out_error(family: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Return the squared error of the targets of rows that may repeat, each predicted from the others."""
    codes, error = family.hash(X).tolist(), 0.0
    chance = family.n_hashes * family.chance_collision
    for i in range(len(X)):
        mass, total = 0.0, 0.0
        for j in range(len(X)):
            if (X[i] == X[j]).all():
                # The row that is left out is one of its equals, and only counts as chance collisions.
                collisions = family.n_hashes * (i != j) - chance
            else:
                collisions = sum(a == b for a, b in zip(codes[i], codes[j], strict=True)) - chance
            mass += collisions
            total += collisions * y[j]
        error += ((total / mass if mass > 4.0 else 0.0) - y[i]) ** 2
    return error
