"""The share of rows that collide, and advice where it is so small or large that densities say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.family import HashFamily
from ...lsh.support.backend import backend_of

__all__ = ["crowding_advice", "different_codes_agree", "different_rows_collide", "mean_density"]

#: The fewest rows that give advice.
_FEWEST = 16
#: Other rows that share a bucket of a row, on average, below which rows are alone.
_ALONE = 0.1
#: The mean density, and the mean share of equal codes of different rows, above which all rows collide.
_CROWDED = 0.95
#: The rows that are compared with each other.
_COMPARED = 256


def mean_density(family: HashFamily, counts: NDArray[Any], total: float) -> float:
    """Return the exact mean of the densities of all rows counted, of which each counts itself.

    It is the sum of the squares of the counters, of shape (R, W), over ``R total**2``, without chance
    collisions.
    """
    wide = counts.astype(np.float64, copy=False)
    # Row by row, for long sums of squares lose digits; on a GPU at once, for each row would be a wait.
    parts = wide if backend_of(counts).device == "cpu" else wide.reshape(1, -1)
    squares = sum(float(row.dot(row)) for row in parts)
    chance = family.chance_collision
    return float((squares / counts.shape[0] / total / total - chance) / (1.0 - chance))


def crowding_advice(mean: float, total: float) -> tuple[str, bool]:
    """Return advice if no rows collide or all seem to, and if it is the latter; "" if scores tell something.

    Parameters
    ----------
    mean : float
        The mean density, from `mean_density`.
    total : float
        The number of rows.
    """
    if total < _FEWEST:
        return "", False
    others = mean * total - 1.0
    if others < _ALONE:
        return (
            f"no rows collide: a row shares a bucket with {max(others, 0.0):.2g} of the other {total - 1:g} "
            "rows on average, so scores tell little. Scale the columns to equal spreads, or use a family "
            "of a larger width or a smaller power",
            False,
        )
    if mean > _CROWDED:
        return (
            f"all rows collide: the mean score is {mean:.4g} of at most 1, so scores tell little. "
            "If the rows are not equal, centre the columns and scale them to equal spreads, or use a family "
            "of a smaller width or a larger power",
            True,
        )
    return "", False


def different_rows_collide(family: HashFamily, X: Any) -> bool:
    """Tell whether rows of a batch that differ have equal codes nearly always; False if none differ.

    Rows that are equal collide under any family, and are no fault of it.
    """
    rows: Any = X[:_COMPARED]
    dense = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
    _, first = np.unique(dense, axis=0, return_index=True)
    return different_codes_agree(family.hash(rows[np.sort(first)]))


def different_codes_agree(codes: NDArray[np.uint32]) -> bool:
    """Tell whether different rows of these codes, one for each row, share nearly all of them."""
    n = len(codes)
    if n < 2:
        return False
    agreements = [float((codes[i + 1 :] == codes[i]).mean(axis=1).sum()) for i in range(n - 1)]
    return sum(agreements) / (n * (n - 1) / 2) > _CROWDED
