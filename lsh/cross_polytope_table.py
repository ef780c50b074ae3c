"""How often cross-polytope hashes collide: the table that ``_make_cross_polytope_table.py`` wrote."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

__all__ = ["LARGEST_LOG2_DIMENSION", "collision_of_angle"]

LARGEST_LOG2_DIMENSION = 16


@cache
def _interpolator(log2_dimension: int) -> tuple[PchipInterpolator, float, float]:
    """Logarithms of probabilities by angle, and the last angle before pi and its probability."""
    from scipy.interpolate import PchipInterpolator  # here, so that `import mergesketch` stays quick

    with np.load(Path(__file__).with_name("cross_polytope_table.npz"), allow_pickle=False) as arrays:
        row = arrays["probabilities"][list(arrays["log2_dimensions"]).index(log2_dimension)][:-1]
        angles = arrays["angles"][:-1]
    # Logarithms fall smoothly over many orders of magnitude; what is below e**-700 is 0 all the same.
    logarithms = np.maximum(np.log(np.maximum(row, 1e-304)), -700.0)
    return PchipInterpolator(angles, logarithms, extrapolate=False), angles[-1], row[-1]


def collision_of_angle(angle: NDArray[np.float64], log2_dimension: int) -> NDArray[np.float64]:
    """Probability that an elementary hash of ``2**log2_dimension`` axes is that of a vector at `angle`.

    Angles are from 0 to pi. Values between those of the table are interpolated, monotonically in the
    logarithm: off by less than 2e-6, and up to 3 radians by 2e-5 of themselves where above 1e-9. From the
    table's last angle on they fall to 0 as ``(pi - angle)**m``: all coordinates have to be that small.
    """
    inside, last, at_last = _interpolator(log2_dimension)
    nearest = np.clip((np.pi - angle) / (np.pi - last), 0.0, 1.0)
    return np.asarray(
        np.where(
            angle > last, at_last * nearest**2.0**log2_dimension, np.exp(inside(np.minimum(angle, last)))
        )
    )
