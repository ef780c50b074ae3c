"""Kernels that read labels out of hashed buckets: the values of all labels, and the labels with the largest.

A label's value is the sum of the probabilities of its buckets, or the least of them.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from .heaps import keep_best, sort_best

__all__ = ["label_values", "top_labels", "top_labels_in_buckets"]

#: Labels whose sums are made at a time, so that they stay in the processor's caches.
_LABELS = 1024
#: How much the number of buckets grows that a row reads if those before do not suffice.
_GROWTH = 4


@helper(forceinline=True)
def _read_block(values, buckets, is_min, first, size, out):
    """Write the sums, or minima, of the values of the buckets of labels, from the first repetition on."""
    out[:size] = np.inf if is_min else 0.0
    for r in range(values.shape[0]):
        row, places = values[r], buckets[r]
        if is_min:
            for j in range(size):
                out[j] = min(out[j], row[places[first + j]])
        else:
            for j in range(size):
                out[j] += row[places[first + j]]


@kernel
def label_values(probabilities, buckets, is_min, start, stop, out):
    """Write the value of each label, for rows [start, stop).

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_repetitions, n_buckets), float64
    buckets : ndarray of shape (n_repetitions, n_labels), uint16
    is_min : bool
        True for the least probability of a label's buckets, False for their sum.
    out : ndarray of shape (n, n_labels), float64
    """
    n_labels = buckets.shape[1]
    for i in range(start, stop):
        for begin in range(0, n_labels, _LABELS):
            size = min(_LABELS, n_labels - begin)
            _read_block(probabilities[i], buckets, is_min, begin, size, out[i, begin : begin + size])


@helper
def _scan_labels(values, buckets, is_min, k, first, ids, keys, sums):
    """Keep the k labels with the largest values, of all labels, in a heap at `first`; return its size."""
    n_labels = buckets.shape[1]
    kept = 0
    for begin in range(0, n_labels, _LABELS):
        size = min(_LABELS, n_labels - begin)
        _read_block(values, buckets, is_min, begin, size, sums)
        for j in range(size):
            # Labels come in rising order, so one that equals the worst of k labels is worse.
            if kept < k or -sums[j] < keys[first]:
                kept = keep_best(begin + j, -sums[j], k, first, kept, ids, keys)
    return kept


@helper
def _finish(k, first, kept, ids, keys, out):
    sort_best(first, kept, ids, keys)
    for j in range(k):
        out[first + j] = -keys[first + j]


@kernel
def top_labels(probabilities, buckets, is_min, k, start, stop, ids, out):
    """Find the k labels with the largest values of each row in [start, stop).

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_repetitions, n_buckets), float64
    buckets : ndarray of shape (n_repetitions, n_labels), uint16
    is_min : bool
    k : int
        At most n_labels.
    ids : ndarray of shape (n * k,), int64
        The numbers of labels, the largest value first, of equal values the lower number.
    out : ndarray of shape (n * k,), float64
        The values.
    """
    sums, keys = np.empty(_LABELS), np.empty(out.size)
    for i in range(start, stop):
        kept = _scan_labels(probabilities[i], buckets, is_min, k, i * k, ids, keys, sums)
        _finish(k, i * k, kept, ids, keys, out)


@helper
def _choose_buckets(values, is_min, n_probes, numbers, keys, chosen):
    """Mark the best buckets of each repetition; return a bound of the values of labels outside of them.

    It is the sum, or the least, of the least probabilities that are marked.
    """
    bound = np.inf if is_min else 0.0
    chosen[:] = 0
    for r in range(values.shape[0]):
        kept = 0
        for b in range(values.shape[1]):
            kept = keep_best(b, -values[r, b], n_probes, 0, kept, numbers, keys)
        for j in range(kept):
            chosen[r, numbers[j]] = 1
        bound = min(bound, -keys[0]) if is_min else bound - keys[0]
    return bound


@helper
def _scan_chosen(values, is_min, chosen, starts, members, places, k, first, ids, keys):
    """Keep the k best of the labels that lie in a marked bucket of any repetition; return their number."""
    kept = 0
    n_repetitions = values.shape[0]
    for r in range(n_repetitions):
        for b in range(values.shape[1]):
            if chosen[r, b] == 0:
                continue
            for at in range(starts[r, b], starts[r, b + 1]):
                label = members[r, at]
                total = np.inf if is_min else 0.0
                is_new = True
                for other in range(n_repetitions):
                    bucket = places[label, other]
                    # A label that an earlier repetition has found is not counted again.
                    if other < r and chosen[other, bucket] != 0:
                        is_new = False
                        break
                    value = values[other, bucket]
                    total = min(total, value) if is_min else total + value
                if is_new:
                    kept = keep_best(np.int64(label), -total, k, first, kept, ids, keys)
    return kept


@kernel
def top_labels_in_buckets(
    probabilities, buckets, is_min, starts, members, places, k, n_probes, is_exact, start, stop, ids, out
):
    """Do `top_labels`, and look only at labels in the best buckets of any repetition.

    A label outside of these buckets has at most the value of the least probabilities among them. If the k-th
    label has more, the result is that of all labels. Otherwise, with `is_exact`, more buckets are read. They
    are also read where fewer than k labels were found.

    Parameters
    ----------
    starts : ndarray of shape (n_repetitions, n_buckets + 1), int64
        Where the labels of each bucket begin in `members`.
    members : ndarray of shape (n_repetitions, n_labels), int32
    places : ndarray of shape (n_labels, n_repetitions), uint16
        The transpose of `buckets`, so that the buckets of a label lie side by side.
    n_probes : int
        The number of buckets that a row reads first in each repetition.
    is_exact : bool
    """
    n_repetitions, n_buckets = probabilities.shape[1], probabilities.shape[2]
    sums, keys = np.empty(_LABELS), np.empty(out.size)
    numbers, worst = np.empty(n_buckets, np.int64), np.empty(n_buckets)
    chosen = np.empty((n_repetitions, n_buckets), np.uint8)
    for i in range(start, stop):
        values, probes = probabilities[i], n_probes
        while True:
            # To follow lists of labels costs a few times as much a label as to read all in order.
            if probes >= n_buckets or (is_exact and probes * n_repetitions * _GROWTH >= n_buckets):
                kept = _scan_labels(values, buckets, is_min, k, i * k, ids, keys, sums)
                break
            bound = _choose_buckets(values, is_min, probes, numbers, worst, chosen)
            kept = _scan_chosen(values, is_min, chosen, starts, members, places, k, i * k, ids, keys)
            if kept == k and (not is_exact or -keys[i * k] > bound):
                break
            probes *= _GROWTH
        _finish(k, i * k, kept, ids, keys, out)
