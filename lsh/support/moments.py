"""Means and standard deviations of columns of any magnitude."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["means_and_deviations"]


def means_and_deviations(
    columns: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means and the standard deviations of the columns of a matrix that has rows.

    NumPy squares the differences from the mean: numbers above 1e154 overflow then, and those below 1e-162
    vanish. Here each column is first divided by a power of two near its largest magnitude, which is exact.
    So the results are those of NumPy to the bit wherever NumPy's are correct, except for subnormal numbers.
    """
    exponents = np.frexp(np.abs(columns).max(axis=0))[1]
    units = np.ldexp(columns, -exponents)
    return np.ldexp(units.mean(axis=0), exponents), np.ldexp(units.std(axis=0), exponents)
