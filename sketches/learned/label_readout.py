"""Estimates of labels' probabilities from those of their buckets, as a count sketch is read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.threads import map_blocks
from ..kernels import label_hash as kernels

__all__ = ["LabelLists", "label_estimates", "label_lists", "top_estimates", "unbiased"]

#: The rows that are worth a thread of their own have so many lookups.
_LOOKUPS = 1 << 18
#: The buckets of a repetition that a query reads first, and how many labels a bucket has on average where
#: lists of labels are faster than reading all labels in order.
_PROBES, _CROWDED = 8, 32

#: Where the labels of each bucket begin, shape (n_repetitions, n_buckets + 1), and the labels.
LabelLists = tuple[NDArray[np.int64], NDArray[np.int32]]


def unbiased(means: NDArray[np.float64], totals: NDArray[np.float64], n_buckets: int) -> NDArray[np.float64]:
    """Return unbiased estimates of labels' probabilities, ``(B m - t) / (B - 1)``.

    Parameters
    ----------
    means : ndarray of shape (n, k)
        The means m over repetitions of the probabilities of a label's buckets.
    totals : ndarray of shape (n,)
        The sum t of the probabilities of all buckets: 1 where a row has one label.
    n_buckets : int

    Notes
    -----
    Let the label have probability p, and all labels t. Each other label is in its bucket with probability
    1/B, so the mean has the expectation p + (t - p) / B, and the estimate the expectation p.
    """
    return (n_buckets * means - totals[:, None]) / (n_buckets - 1.0)


def totals_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of the probabilities of all buckets, the mean over repetitions, for each row."""
    return probabilities.sum(axis=2).mean(axis=1)


def label_means(probabilities: NDArray[np.float64], buckets: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Return the means over repetitions of the probabilities of all labels' buckets, shape (n, n_labels)."""
    means = np.empty((len(probabilities), buckets.shape[1]))
    given = read_only(probabilities), read_only(buckets)
    map_blocks(
        lambda start, stop: kernels.label_means(*given, start, stop, means), len(means), _rows(buckets)
    )
    return means


def label_estimates(probabilities: NDArray[np.float64], buckets: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Return the unbiased estimates of the probabilities of all labels.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_repetitions, n_buckets), float64, C order
    buckets : ndarray of shape (n_repetitions, n_labels), uint16, C order

    Returns
    -------
    ndarray of shape (n, n_labels), float64
    """
    means = label_means(probabilities, buckets)
    return unbiased(means, totals_of(probabilities), probabilities.shape[2])


def label_lists(buckets: NDArray[np.uint16], n_buckets: int) -> LabelLists:
    """Return the labels of each bucket of each repetition."""
    starts = np.zeros((len(buckets), n_buckets + 1), np.int64)
    members = np.empty(buckets.shape, np.int32)
    for r, row in enumerate(buckets):
        starts[r, 1:] = np.cumsum(np.bincount(row, minlength=n_buckets))
        members[r] = np.argsort(row, kind="stable")
    return starts, members


def is_crowded(buckets: NDArray[np.uint16], n_buckets: int) -> bool:
    """Tell whether there are enough labels a bucket for lists of labels to be worth it."""
    return buckets.shape[1] >= _CROWDED * n_buckets


def top_estimates(
    probabilities: NDArray[np.float64],
    buckets: NDArray[np.uint16],
    k: int,
    lists: LabelLists | None = None,
    n_probes: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the k labels with the largest estimates of each row, and the estimates.

    Parameters
    ----------
    probabilities, buckets
        As for `label_estimates`.
    k : int
        At most n_labels.
    lists : LabelLists, optional
        If they are given, labels are looked for in the buckets with the largest probabilities first.
    n_probes : int, optional
        The number of buckets of a repetition in which labels are looked for. By default as many as are needed
        for exact results.

    Returns
    -------
    numbers, estimates : ndarray of shape (n, k)
        The largest estimates first, of equal ones the lower number.
    """
    n = len(probabilities)
    numbers, means = np.empty(n * k, np.int64), np.empty(n * k)
    given = read_only(probabilities), read_only(buckets)

    def all_labels(start: int, stop: int) -> None:
        kernels.top_labels(*given, k, start, stop, numbers, means)

    def in_buckets(start: int, stop: int) -> None:
        is_exact = n_probes is None
        first = n_probes or min(_PROBES, probabilities.shape[2])
        kernels.top_labels_in_buckets(*given, *(lists or ()), k, first, is_exact, start, stop, numbers, means)

    map_blocks(all_labels if lists is None else in_buckets, n, _rows(buckets))
    estimates = unbiased(means.reshape(n, k), totals_of(probabilities), probabilities.shape[2])
    return numbers.reshape(n, k), estimates


def _rows(buckets: NDArray[np.uint16]) -> int:
    return max(1, _LOOKUPS // max(1, buckets.size))
