"""Choose the bands of signatures that separate pairs above a similarity from pairs below it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_int, check_real

__all__ = ["band_parameters", "candidate_probability"]

#: Points of the numerical integration in `band_parameters`.
_POINTS = 1000


def candidate_probability(similarity: NDArray[np.float64], bands: int, rows: int) -> NDArray[np.float64]:
    """Return the probability ``1 - (1 - similarity**rows)**bands`` that two documents share a band."""
    return 1.0 - (1.0 - similarity**rows) ** bands


@lru_cache(maxsize=64)
def band_parameters(
    threshold: float, n_hashes: int, *, false_negative_weight: float = 0.5
) -> tuple[int, int]:
    """Return the bands and rows that best separate pairs above a similarity from pairs below it.

    Parameters
    ----------
    threshold : float
        The similarity, in [0, 1].
    n_hashes : int
        The largest value of ``bands * rows``.
    false_negative_weight : float
        The cost of a missed pair, in [0, 1]. A needless comparison costs one minus this weight.

    Returns
    -------
    (int, int)
        The number of bands, and the number of signature values in each.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    The result minimises, over all (bands, rows), the weighted sum of two integrals: of the candidate
    probability below the threshold (false positives), and of its complement above it (false negatives).
    datasketch does the same (Zhu, Nargesian, Pu and Miller 2016, "LSH Ensemble", section 5).

    Examples
    --------
    >>> from mergesketch.distributed import band_parameters
    >>> band_parameters(0.7, 128)
    (14, 9)
    """
    threshold = check_real("threshold", threshold, 0.0, 1.0, closed=True)
    n_hashes = check_int("n_hashes", n_hashes, 1, 1 << 16)
    weight = check_real("false_negative_weight", false_negative_weight, 0.0, 1.0, closed=True)
    # These are midpoints. The integrands are smooth, so a thousand points are exact to six digits.
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    below, above = steps * threshold, threshold + steps * (1.0 - threshold)
    best, least = (1, 1), np.inf
    for rows in range(1, n_hashes + 1):
        for bands in range(1, n_hashes // rows + 1):
            positives = candidate_probability(below, bands, rows).mean() * threshold
            negatives = (1.0 - candidate_probability(above, bands, rows)).mean() * (1.0 - threshold)
            cost = (1.0 - weight) * positives + weight * negatives
            if cost < least:
                best, least = (bands, rows), cost
    return best
