"""Odds that probed buckets hold a neighbour: their probabilities, summed over the states of a query."""

from __future__ import annotations

import numpy as np

from .compiled import kernel
from .probing import least_changes, likeliest_sets

__all__ = ["probed_odds"]


@kernel
def probed_odds(scores, odds, power, n_probes, out):
    """Sum, over the probed buckets, the odds that a neighbour is there and not in the query's own bucket.

    Parameters
    ----------
    scores, odds : ndarray of shape (states, at least power, kinds), float64
        For each value of a code and each change of it: the score that orders probes, and the probability that
        the neighbour has the changed value over the probability that it has the same value.
    power, n_probes : int
    out : ndarray of shape (states,), float64
        Result: 1 for the query's own bucket, plus, for each other probed one, the product of the odds of its
        changes.
    """
    kinds = scores.shape[2]
    n = power * kinds
    flat, sorted_scores = np.empty(n), np.empty(n)
    changes, groups = np.empty(n, np.int64), np.empty(n, np.int64)
    order, totals = np.empty(n_probes, np.int64), np.empty(2 * n_probes)
    prefixes, lasts = np.empty(2 * n_probes, np.int64), np.empty(2 * n_probes, np.int64)
    heap = np.empty(2 * n_probes, np.int64)
    for s in range(scores.shape[0]):
        for k in range(power):
            for c in range(kinds):
                flat[k * kinds + c] = scores[s, k, c]
        kept = least_changes(flat, n, min(n, n_probes - 1), changes, sorted_scores)
        for c in range(kept):
            groups[c] = changes[c] // kinds
        found = likeliest_sets(sorted_scores, groups, kept, n_probes, order, totals, prefixes, lasts, heap)
        total = 0.0
        for r in range(found):
            node, product = order[r], 1.0
            while node > 0:
                change = changes[lasts[node]]
                product *= odds[s, change // kinds, change % kinds]
                node = prefixes[node]
            total += product
        out[s] = total
