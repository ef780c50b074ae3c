"""Kernels and distances that numbers of shared buckets imply."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_numbers
from ...lsh.support.backend import as_array, backend_of, device_of
from ...lsh.support.lazy import lazy

__all__ = ["CollisionEstimates"]


class CollisionEstimates:
    """The estimates of an index from the counts that its queries return."""

    family: HashFamily

    def kernel_estimate(self, counts: ArrayLike) -> NDArray[np.float64]:
        """Estimate the kernel of the family from collision counts, without chance collisions.

        Its standard error is at most ``0.5 sqrt(D / L)``, D the family's `design_effect`: 1 but where tables
        copy what others hashed. Overflowing buckets make it too low.

        Parameters
        ----------
        counts : array_like of int
            As `query` returns them, at least 0. Only an id that was added more than once is counted more
            often than there are tables: that is taken as a collision in every table.

        Returns
        -------
        ndarray of the shape of `counts`, float64

        Raises
        ------
        TypeError, ValueError
            If counts are no numbers or below 0.
        """
        chance = self.family.chance_collision
        checked = check_numbers("counts", counts)
        if not bool((checked >= 0).all()):
            raise ValueError(f"counts must be at least 0, got {counts!r}")
        share = backend_of(checked).xp.minimum(checked / self.family.n_hashes, 1.0)
        return (share - chance) / (1.0 - chance)

    def distance_estimate(self, counts: ArrayLike) -> NDArray[np.float64]:
        """Estimate the distance, in the metric of the family, from collision counts.

        Parameters
        ----------
        counts : array_like of int
            As `query` returns them; one of all tables is distance 0.

        Returns
        -------
        ndarray of the shape of `counts`, float64
            For `InnerProduct` the inner product, for `SignedRandomProjection` the angle, and so on.

        Raises
        ------
        TypeError, ValueError
            If counts are no numbers or below 0.

        Notes
        -----
        A count errs by ``sqrt(p (1 - p) / L)`` of the tables at collision probability p, and the distance
        by that over the slope of `collision_probability` there. Estimates of the largest counts are too
        near, for those rows were picked out for their counts.
        """
        kernel = self.kernel_estimate(counts)
        if device_of(kernel) == "gpu":
            backend = backend_of(kernel)
            counts = backend.xp.minimum(as_array(counts), self.family.n_hashes).astype(np.int64)
            distances: NDArray[np.float64] = backend.constant(self._distances)[counts]
            return distances
        # Fewer collisions than chance alone would make are none.
        return self.family.distance(np.clip(kernel, 0.0, 1.0))

    @lazy
    def _distances(self) -> NDArray[np.float64]:
        """Return the distance of every count, for GPUs: families find distances by bisection, on the CPU."""
        return self.distance_estimate(np.arange(self.family.n_hashes + 1))
