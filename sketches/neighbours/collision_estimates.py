"""Estimates of kernels and distances from the numbers of shared buckets."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.inputs.arrays import check_numbers
from ...lsh.support.backend import as_array, backend_of, device_of
from ...lsh.support.lazy import lazy

__all__ = ["CollisionEstimates"]


class CollisionEstimates:
    """Base of an index: estimates from the counts that its queries return."""

    family: HashFamily

    def kernel_estimate(self, counts: ArrayLike) -> NDArray[np.float64]:
        """Estimate the family's kernel from collision counts, corrected for chance collisions.

        The standard error is at most ``0.5 sqrt(D / L)``. D is the family's `design_effect`, which is 1
        unless tables copy the hashes of others. Overflowing buckets make the estimates too low.

        The kernel of `LearnedProjection` is the share of tables that two rows have in common, and not a
        probability. Its estimates have no error but that of chance collisions.

        Parameters
        ----------
        counts : array_like of int
            Counts from `query`, at least 0. An id that was added more than once can have a count above L; it
            is treated as L.

        Returns
        -------
        ndarray of the shape of `counts`, float64

        Raises
        ------
        TypeError, ValueError
            If counts are not numbers or are negative.
        """
        chance = self.family.chance_collision
        checked = check_numbers("counts", counts)
        if not bool((checked >= 0).all()):
            raise ValueError(f"counts must be at least 0, got {counts!r}")
        share = backend_of(checked).xp.minimum(checked / self.family.n_hashes, 1.0)
        return (share - chance) / (1.0 - chance)

    def distance_estimate(self, counts: ArrayLike) -> NDArray[np.float64]:
        """Estimate the distance, in the family's `metric`, from collision counts.

        Parameters
        ----------
        counts : array_like of int
            Counts from `query`; a count of L is distance 0.

        Returns
        -------
        ndarray of the shape of `counts`, float64
            The inner product for `InnerProduct`, the angle for `SignedRandomProjection`, and so on.

        Raises
        ------
        TypeError, ValueError
            If counts are not numbers or are negative, or the family is a `LearnedProjection`, whose hash
            functions are not random.

        Notes
        -----
        At collision probability p, the standard error of a count is ``sqrt(p (1 - p) / L)`` as a share of the
        tables. That of the distance is this divided by the slope of `collision_probability`. The distances of
        the rows with the largest counts are too low, because these rows were selected by their counts.
        """
        kernel = self.kernel_estimate(counts)
        if device_of(kernel) == "gpu":
            backend = backend_of(kernel)
            counts = backend.xp.minimum(as_array(counts), self.family.n_hashes).astype(np.int64)
            return backend.constant(self._distances)[counts]
        # Fewer collisions than by chance alone mean a kernel of 0.
        return self.family.distance(np.clip(kernel, 0.0, 1.0))

    @lazy
    def _distances(self) -> NDArray[np.float64]:
        """Return the distance for every count, for GPUs: families find distances by bisection on the CPU."""
        return self.distance_estimate(np.arange(self.family.n_hashes + 1))
