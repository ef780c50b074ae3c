"""Modes of an estimated density: points where it is high, apart from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_dense
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.random import normal, uniform
from .bounds import check_bounds

if TYPE_CHECKING:
    from .private_race import PrivateRace

__all__ = ["find_modes"]

#: Factors by which steps grow and shrink. Steps keep their length if one in five goes up.
_GROW, _SHRINK = 1.5, 1.5**-0.25
#: The most coordinates of all points of an ascent: half a gibibyte. A file may have rows of any width.
_MOST_COORDINATES = 1 << 26


def find_modes(
    release: PrivateRace,
    k: int,
    *,
    candidates: Any,
    low: Any,
    high: Any,
    separation: float,
    n_starts: int,
    n_steps: int,
    seed: int,
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Find modes; see `PrivateRace.modes`."""
    k = check_int("k", k, 1)
    separation = check_real("separation", separation, 0.0, 1.0, closed=True)
    n_starts = check_int("n_starts", n_starts, 1, 1 << 24)
    n_steps = check_int("n_steps", n_steps, 0, 1 << 20)
    seed = check_int("seed", seed, 0, 2**64 - 1)
    if release.n_outputs is not None:
        raise TypeError(f"modes needs a release of one output, got n_outputs={release.n_outputs}")
    if (candidates is None) == (low is None) or (low is None) != (high is None):
        raise ValueError("modes needs either candidates, or low and high: public points or a public box")
    features = getattr(release.family, "n_features", None)
    if candidates is not None:
        refuse_gpu("modes", candidates)
        points = check_dense(candidates, features, "candidates")
        sums = release.query(points)
    else:
        if features is None:
            raise TypeError(
                f"modes by low and high needs a family of rows of known width, got "
                f"{type(release.family).__name__}; pass candidates"
            )
        if n_starts * features > _MOST_COORDINATES:
            raise ValueError(
                f"n_starts must be at most {_MOST_COORDINATES // features} for rows of {features} features, "
                f"got {n_starts}"
            )
        points, sums = _ascend(release, *check_bounds(low, high, features), n_starts, n_steps, seed)
    return _apart(release, points, sums, k, separation)


def _ascend(
    release: PrivateRace,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    n_starts: int,
    n_steps: int,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return random points of a box, moved by random steps that go up, and the kernel sums there."""
    shape = n_starts, len(low)
    points = low + (high - low) * uniform(seed, "modes starts", n_starts * len(low)).reshape(shape)
    sums = release.query(points)
    lengths = np.full(n_starts, 0.25)
    for step in range(n_steps):
        drawn = normal(seed, f"modes step {step}", n_starts * len(low)).reshape(shape)
        tried = np.clip(points + lengths[:, None] * (high - low) * drawn, low, high)
        there = release.query(tried)
        up = there > sums
        points[up], sums[up] = tried[up], there[up]
        lengths = np.minimum(lengths * np.where(up, _GROW, _SHRINK), 0.5)
    return points, sums


def _apart(
    release: PrivateRace, points: NDArray[Any], sums: NDArray[np.float64], k: int, separation: float
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the k points of largest sums above 0 such that no two have a kernel above `separation`."""
    left = sums > 0
    chosen: list[int] = []
    while left.any() and len(chosen) < k:
        best = int(np.where(left, sums, -np.inf).argmax())
        chosen.append(best)
        left &= release.family.kernel(points, points[best : best + 1])[:, 0] <= separation
        left[best] = False
    return points[chosen], sums[chosen]
