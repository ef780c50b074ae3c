"""Collision probabilities of cross-polytope hashes: the table that ``_make_cross_polytope_table.py`` wrote.

The table is of Gaussian rotations. Orthogonal ones of s coordinates keep angles, and Gaussian ones do not
quite: of two vectors at angle t, all s coordinates together lie at an angle of mean t and variance
sin(t)**2 / s, to first order (that of a sample correlation; Fisher 1915). Given the angle that came out,
Gaussian coordinates are those of an orthogonal rotation, but for lengths, which no hash looks at. So a
probability of Gaussian rotations is the average of that of orthogonal ones over angles nearby, and
`collision_of_rotation` undoes the average.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

__all__ = ["LARGEST_LOG2_DIMENSION", "collision_of_angle", "collision_of_rotation"]

LARGEST_LOG2_DIMENSION = 16


@cache
def _interpolator(log2_dimension: int, size: int, together: int) -> tuple[PchipInterpolator, float, float]:
    """Logarithms of probabilities by angle, and the last angle before pi and its logarithm."""
    from scipy.interpolate import CubicSpline, PchipInterpolator

    with np.load(Path(__file__).with_name("cross_polytope.npz"), allow_pickle=False) as arrays:
        row = arrays["probabilities"][list(arrays["log2_dimensions"]).index(log2_dimension)][:-1]
        angles = arrays["angles"][:-1]
    # Logarithms fall smoothly over many orders of magnitude; what is below e**-700 is 0 all the same.
    logarithms = together * np.maximum(np.log(np.maximum(row, 1e-304)), -700.0)
    if size:
        spline, variance = CubicSpline(angles, logarithms), np.sin(angles) ** 2 / size
        # The average of f over angles of that variance is f + variance / 2 f'' to first order.
        logarithms = logarithms - variance / 2.0 * (spline(angles, 1) ** 2 + spline(angles, 2))
        logarithms = np.minimum.accumulate(np.minimum(logarithms, 0.0))
    return PchipInterpolator(angles, logarithms, extrapolate=False), angles[-1], logarithms[-1]


def collision_of_angle(angle: NDArray[np.float64], log2_dimension: int) -> NDArray[np.float64]:
    """Probability that an elementary hash of ``2**log2_dimension`` axes is that of a vector at `angle`.

    Under a Gaussian rotation. Angles are from 0 to pi. Values between those of the table are interpolated,
    monotonically in the logarithm: off by less than 2e-6, and up to 3 radians by 2e-5 of themselves where
    above 1e-9. From the table's last angle on they fall to 0 as ``(pi - angle)**m``: all coordinates have to
    be that small.
    """
    return _probability(angle, log2_dimension, 0, 1)


def collision_of_rotation(
    angle: NDArray[np.float64], log2_dimension: int, size: int, together: int
) -> NDArray[np.float64]:
    """Probability that `together` elementary hashes of one orthogonal rotation of `size` all collide.

    Correct to first order in 1 / size: at a right angle, 256 axes and a size of 256 it is 0.0017, where
    Gaussian rotations have 0.0020.
    """
    return _probability(angle, log2_dimension, size, together)


def _probability(
    angle: NDArray[np.float64], log2_dimension: int, size: int, together: int
) -> NDArray[np.float64]:
    inside, last, at_last = _interpolator(log2_dimension, size, together)
    nearest = np.clip((np.pi - angle) / (np.pi - last), 0.0, 1.0)
    return np.asarray(
        np.where(
            angle > last,
            np.exp(at_last) * nearest ** (together * 2.0**log2_dimension),
            np.exp(inside(np.minimum(angle, last))),
        )
    )
