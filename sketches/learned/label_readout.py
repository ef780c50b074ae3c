"""Estimates of labels' probabilities from those of their buckets, as a count sketch is read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import read_only
from ...lsh.support.threads import map_blocks
from ..kernels import label_hash as kernels

__all__ = ["LabelLists", "is_crowded", "label_estimates", "label_lists", "top_estimates"]

#: The rows that are worth a thread of their own have so many lookups.
_LOOKUPS = 1 << 18
#: How many labels a bucket has on average where lists of labels are faster than reading all labels in order.
_CROWDED = 32

#: Where the labels of each bucket begin, shape (n_repetitions, n_buckets + 1), the labels,
#: and the buckets of each label, shape (n_labels, n_repetitions).
LabelLists = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint16]]


def estimates_of(
    values: NDArray[np.float64], probabilities: NDArray[np.float64], readout: str
) -> NDArray[np.float64]:
    """Return the estimates that belong to sums, or minima, of the probabilities of labels' buckets.

    Parameters
    ----------
    values : ndarray of shape (n, k)
    probabilities : ndarray of shape (n, n_repetitions, n_buckets)
    readout : {"mean", "min"}

    Notes
    -----
    Let the label have probability p, and all labels t together, which is 1 where a row has one label. Each
    other label is in its bucket with probability 1/B, so the mean m over repetitions has the expectation
    p + (t - p) / B, and ``(B m - t) / (B - 1)`` the expectation p. The minimum is never below p.
    """
    if readout == "min":
        return values
    n_repetitions, n_buckets = probabilities.shape[1:]
    totals = probabilities.sum(axis=2).mean(axis=1)
    return (n_buckets * (values / n_repetitions) - totals[:, None]) / (n_buckets - 1.0)


def label_estimates(
    probabilities: NDArray[np.float64], buckets: NDArray[np.uint16], readout: str = "mean"
) -> NDArray[np.float64]:
    """Return the estimates of the probabilities of all labels.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_repetitions, n_buckets), float64, C order
    buckets : ndarray of shape (n_repetitions, n_labels), uint16, C order
    readout : {"mean", "min"}

    Returns
    -------
    ndarray of shape (n, n_labels), float64
    """
    values = np.empty((len(probabilities), buckets.shape[1]))
    given = read_only(probabilities), read_only(buckets), readout == "min"
    kernel = kernels.label_values
    map_blocks(lambda start, stop: kernel(*given, start, stop, values), len(values), _rows(buckets))
    return estimates_of(values, probabilities, readout)


def label_lists(buckets: NDArray[np.uint16], n_buckets: int) -> LabelLists:
    """Return the labels of each bucket of each repetition."""
    starts = np.zeros((len(buckets), n_buckets + 1), np.int64)
    members = np.empty(buckets.shape, np.int32)
    for r, row in enumerate(buckets):
        starts[r, 1:] = np.cumsum(np.bincount(row, minlength=n_buckets))
        members[r] = np.argsort(row, kind="stable")
    return starts, members, np.ascontiguousarray(buckets.T)


def is_crowded(buckets: NDArray[np.uint16], n_buckets: int) -> bool:
    """Tell whether there are enough labels a bucket for lists of labels to be worth it."""
    return buckets.shape[1] >= _CROWDED * n_buckets


def top_estimates(
    probabilities: NDArray[np.float64],
    buckets: NDArray[np.uint16],
    k: int,
    lists: LabelLists | None = None,
    n_probes: int | None = None,
    readout: str = "mean",
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
    readout : {"mean", "min"}

    Returns
    -------
    numbers, estimates : ndarray of shape (n, k)
        The largest estimates first, of equal ones the lower number.
    """
    n = len(probabilities)
    numbers, values = np.empty(n * k, np.int64), np.empty(n * k)
    given = read_only(probabilities), read_only(buckets), readout == "min"

    def all_labels(start: int, stop: int) -> None:
        kernels.top_labels(*given, k, start, stop, numbers, values)

    def in_buckets(start: int, stop: int) -> None:
        is_exact = n_probes is None
        # k labels may lie in k buckets. The next one bounds all others.
        first = n_probes or min(k + 1, probabilities.shape[2])
        kernels.top_labels_in_buckets(
            *given, *(lists or ()), k, first, is_exact, start, stop, numbers, values
        )

    map_blocks(all_labels if lists is None else in_buckets, n, _rows(buckets))
    return numbers.reshape(n, k), estimates_of(values.reshape(n, k), probabilities, readout)


def _rows(buckets: NDArray[np.uint16]) -> int:
    return max(1, _LOOKUPS // max(1, buckets.size))
