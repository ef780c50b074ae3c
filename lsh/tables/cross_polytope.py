"""Collision probabilities of cross-polytope hashes, from the table that ``make_cross_polytope.py`` wrote.

The table is computed for Gaussian rotations. Orthogonal rotations of s coordinates keep angles; Gaussian ones
change them a little. Two vectors at angle t have, after a Gaussian rotation, an angle of mean t and variance
sin(t)**2 / s, to first order (that of a sample correlation; Fisher 1915). Given that angle, Gaussian
coordinates are those of an orthogonal rotation up to their lengths, which hashes do not depend on. So the
probability for Gaussian rotations is the average of that for orthogonal ones over nearby angles, and
`collision_of_rotation` inverts the average.
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
    """Return an interpolator of log-probabilities by angle, the last angle before pi, and the value there."""
    from scipy.interpolate import CubicSpline, PchipInterpolator

    with np.load(Path(__file__).with_name("cross_polytope.npz"), allow_pickle=False) as arrays:
        row = arrays["probabilities"][list(arrays["log2_dimensions"]).index(log2_dimension)][:-1]
        angles = arrays["angles"][:-1]
    # Logarithms fall smoothly over many orders of magnitude. Probabilities below e**-700 count as 0.
    logarithms = together * np.maximum(np.log(np.maximum(row, 1e-304)), -700.0)
    if size:
        spline, variance = CubicSpline(angles, logarithms), np.sin(angles) ** 2 / size
        # The average of f over angles of that variance is f + variance / 2 f'' to first order.
        logarithms = logarithms - variance / 2.0 * (spline(angles, 1) ** 2 + spline(angles, 2))
        logarithms = np.minimum.accumulate(np.minimum(logarithms, 0.0))
    return PchipInterpolator(angles, logarithms, extrapolate=False), angles[-1], logarithms[-1]


def collision_of_angle(angle: NDArray[np.float64], log2_dimension: int) -> NDArray[np.float64]:
    """Return the probability that two vectors at `angle` share an elementary hash of a Gaussian rotation.

    The hash chooses from ``2**log2_dimension`` axes. Angles lie in [0, pi]. Values between those of the table
    are interpolated monotonically in the logarithm: their error is less than 2e-6, and up to 3 radians less
    than 2e-5 of values above 1e-9. From the table's last angle on they fall to 0 as ``(pi - angle)**m``,
    because all coordinates have to be that small.
    """
    return collision_of_rotation(angle, log2_dimension, 0, 1)


def collision_of_rotation(
    angle: NDArray[np.float64], log2_dimension: int, size: int, together: int
) -> NDArray[np.float64]:
    """Return the probability that `together` elementary hashes of one orthogonal rotation all collide.

    The rotation has `size` coordinates, and the result is correct to first order in 1 / size. A size of 0
    stands for Gaussian rotations. At a right angle, with 256 axes and a size of 256, it is 0.0017, where
    Gaussian rotations have 0.0020.
    """
    inside, last, at_last = _interpolator(log2_dimension, size, together)
    nearest = np.clip((np.pi - angle) / (np.pi - last), 0.0, 1.0)
    return np.asarray(
        np.where(
            angle > last,
            np.exp(at_last) * nearest ** (together * 2.0**log2_dimension),
            np.exp(inside(np.minimum(angle, last))),
        )
    )
