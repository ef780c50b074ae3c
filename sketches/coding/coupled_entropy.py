"""The entropy of neighbouring channels together, beside the sum of their entropies."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SaturationWarning
from ...lsh.support.wording import counted

__all__ = ["CoupledEntropy", "coupled_entropy"]


class CoupledEntropy(NamedTuple):
    """The entropy of the channels of each group, which are rounded to intervals.

    Attributes
    ----------
    joint : ndarray of shape (n_groups,), float64
        Bits that the channels of a group have together.
    marginal : ndarray of shape (n_groups,), float64
        The sum of the bits of the single channels. It is at least the joint entropy, up to the error of both,
        and equal to it if the channels are independent.
    """

    joint: NDArray[np.float64]
    marginal: NDArray[np.float64]


def coupled_entropy(X: NDArray[Any], width: int, n_levels: int) -> CoupledEntropy:
    """Return the entropies of groups of `width` channels, each cut into intervals of equal length.

    Entropies of frequencies are too low. The correction of Miller and Madow, ``(cells - 1) / (2 n ln 2)``
    bits, is added. It accounts for most of the error as long as cells have several rows. If a group has more
    than n / 4 cells with rows, its joint entropy is NaN.
    """
    n, n_features = X.shape
    if n == 0:
        raise ValueError("X must have at least one row, got none")
    joint, marginal = np.zeros(n_features // width), np.zeros(n_features // width)
    n_crowded = 0
    for g in range(joint.size):
        cells = np.zeros(n, np.int64)
        for j in range(g * width, (g + 1) * width):
            level = _levels(X[:, j].astype(np.float64), n_levels)
            marginal[g] += _entropy(level)[0]
            # Numbers of cells stay below n, so that they do not overflow for any number of channels.
            cells = np.unique(cells * n_levels + level, return_inverse=True)[1].reshape(n)
        joint[g], n_cells = _entropy(cells)
        if width > 1 and 4 * n_cells > n:
            joint[g] = math.nan
            n_crowded += 1
    if n_crowded:
        warnings.warn(
            f"{counted(n, 'row')} are too few for the joint entropy of {counted(n_crowded, 'group')}: "
            "there are not 4 rows in a cell; pass more rows, or a smaller n_levels",
            SaturationWarning,
            stacklevel=3,
        )
    return CoupledEntropy(joint, marginal)


def _levels(values: NDArray[np.float64], n_levels: int) -> NDArray[np.int64]:
    """Return the number of the interval of each value, between the least and the largest one."""
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(values.size, np.int64)
    part = (values / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
    return np.minimum((part * n_levels).astype(np.int64), n_levels - 1)


def _entropy(cells: NDArray[np.int64]) -> tuple[float, int]:
    """Return the entropy of cells in bits, and the number of cells with rows."""
    counts = np.unique(cells, return_counts=True)[1]
    shares = counts / cells.size
    correction = (counts.size - 1) / (2.0 * math.log(2.0) * cells.size)
    return correction - float((shares * np.log2(shares)).sum()), counts.size
