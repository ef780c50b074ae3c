"""Hashed labels: read-out, top k and the parameters' mean, written out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
MASK = (1 << 64) - 1


def bucket(key: int, words: Sequence[int], n_buckets: int) -> int:
    """Return the bucket of a 64-bit key, by pair-multiply-shift."""
    a, b, c = (int(word) for word in words)
    low, high = key & 0xFFFFFFFF, key >> 32
    hashed = (((a + low) & MASK) * ((b + high) & MASK) + c & MASK) >> 32
    return hashed * n_buckets >> 32


def estimate(probabilities: Numbers, places: Sequence[int]) -> float:
    """Return the unbiased estimate of a label for one row.

    Parameters
    ----------
    probabilities : ndarray of shape (n_repetitions, n_buckets)
    places : sequence of int
        The label's bucket in each repetition.
    """
    n_repetitions, n_buckets = probabilities.shape
    mean = sum(float(probabilities[r, b]) for r, b in enumerate(places)) / n_repetitions
    total = sum(float(row.sum()) for row in probabilities) / n_repetitions
    return n_buckets / (n_buckets - 1.0) * (mean - total / n_buckets)


def top_labels(
    probabilities: Numbers, buckets: NDArray[np.uint16], k: int, readout: str = "mean"
) -> list[tuple[int, float]]:
    """Return the k labels with the largest means or minima of a row, of equal ones the lower number first."""
    means = []
    for label in range(buckets.shape[1]):
        found = [float(probabilities[r, buckets[r, label]]) for r in range(len(buckets))]
        means.append((label, min(found) if readout == "min" else sum(found) / len(found)))
    return sorted(means, key=lambda pair: (-pair[1], pair[0]))[:k]


def labels_of(buckets: NDArray[np.uint16], r: int, b: int) -> list[int]:
    """Return the labels of a bucket."""
    return [label for label in range(buckets.shape[1]) if buckets[r, label] == b]


def confusion_probability(n_labels: int, n_repetitions: int, n_buckets: int) -> float:
    """Return the bound of the probability that any two labels share all buckets: the sum over all pairs."""
    return min(1.0, n_labels * (n_labels - 1) / 2 * float(n_buckets) ** -n_repetitions)


def smallest_size(n_labels: int, confidence: float, error: float, fewest: int, most: int) -> int:
    """Return the least product of numbers of repetitions and buckets that suffices, by trying all."""

    def suffices(repetitions: int, n_buckets: int) -> bool:
        pairs = n_labels * (n_labels - 1) / 2
        confused = pairs * n_buckets ** -float(repetitions)
        return confused <= (1 - confidence) * (1 + 1e-9) and (
            1 / (repetitions * (n_buckets - 1)) ** 0.5 <= error * (1 + 1e-9)
        )

    return min(
        repetitions * n_buckets
        for repetitions in range(1, 40)
        for n_buckets in range(fewest, most)
        if suffices(repetitions, n_buckets)
    )


def mean_parameters(models: Sequence[Numbers], weights: Sequence[float]) -> Numbers:
    """Return the weighted mean of arrays, entry by entry."""
    out = np.zeros_like(models[0])
    for place in np.ndindex(out.shape):
        out[place] = sum(w * float(model[place]) for w, model in zip(weights, models, strict=True)) / sum(
            weights
        )
    return out
