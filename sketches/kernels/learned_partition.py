"""Kernels of partitions that are learned: the buckets of items, and the items in the buckets of a query."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.multiply import PANEL, ROWS, multiply_panels
from .heaps import keep_best, sort_best, sort_nearest

__all__ = ["assign_items", "best_buckets", "best_candidates", "find_candidates", "nearest_rows"]


@helper
def _best(scores, k, numbers, keys):
    """Find the k buckets with the largest scores, the best first, and at equal scores the lowest first."""
    size = 0
    for c in range(scores.size):
        size = keep_best(c, -np.float64(scores[c]), k, 0, size, numbers, keys)
    sort_best(0, size, numbers, keys)


@kernel
def assign_items(scores, order, n_choices, start, stop, loads, places):
    """Put the items ``order[start:stop]``, one by one, into the least loaded of their best buckets.

    Of equally loaded buckets, an item goes to the one where its score is largest. Item i has the scores
    ``scores[i]``, and gets ``places[i]``.
    """
    numbers, keys = np.empty(n_choices, np.int64), np.empty(n_choices, np.float64)
    for i in order[start:stop]:
        _best(scores[i], n_choices, numbers, keys)
        least = numbers[0]
        for choice in numbers[1:]:
            if loads[choice] < loads[least]:
                least = choice
        loads[least] += 1
        places[i] = least


@kernel
def best_buckets(scores, n_probes, start, stop, probed, weights):
    """Write the best buckets of the rows [start, stop) and their scores, the best first."""
    keys = np.empty(n_probes, np.float64)
    numbers = np.empty(n_probes, np.int64)
    for i in range(start, stop):
        _best(scores[i], n_probes, numbers, keys)
        for j in range(n_probes):
            probed[i, j], weights[i, j] = numbers[j], -keys[j]


@kernel
def find_candidates(
    probed, weights, offsets, members, bounds, min_count, start, stop, counters, found, counts, scores, sizes
):
    """Write the items in the probed buckets of the queries [start, stop), and how often they are there.

    Parameters
    ----------
    probed, weights : ndarray of shape (n_queries, R, m)
        The buckets that are probed in each repetition, and their scores.
    offsets : ndarray of shape (R, B + 1)
    members : ndarray of shape (R, n_items)
        Bucket c of repetition r contains the items ``members[r, offsets[r, c]:offsets[r, c + 1]]``.
    bounds : places in the outputs where candidates of a query begin
    counters : an integer for each item, all 0 before and after
    found, counts, scores, sizes
        The candidates of a query that are in at least `min_count` buckets, in the order in which buckets show
        them; the numbers of buckets; the sums of their scores; and how many candidates there are.
    """
    for i in range(start, stop):
        first, last = bounds[i], bounds[i]
        for r in range(probed.shape[1]):
            for j in range(probed.shape[2]):
                c, weight = probed[i, r, j], weights[i, r, j]
                for at in range(offsets[r, c], offsets[r, c + 1]):
                    item = members[r, at]
                    if counters[item] == 0:
                        found[last], counts[last], scores[last] = item, 0, 0.0
                        last += 1
                        counters[item] = last - first
                    place = first + counters[item] - 1
                    counts[place] += 1
                    scores[place] += weight
        kept = first
        for place in range(first, last):
            counters[found[place]] = 0
            if counts[place] >= min_count:
                found[kept], counts[kept], scores[kept] = found[place], counts[place], scores[place]
                kept += 1
        sizes[i] = kept - first


@kernel
def best_candidates(found, scores, bounds, sizes, k, start, stop, numbers, keys):
    """Write the k candidates with the largest scores for the queries [start, stop); keys are below 0."""
    flat_numbers, flat_keys = numbers.reshape(-1), keys.reshape(-1)
    for i in range(start, stop):
        size = 0
        for place in range(bounds[i], bounds[i] + sizes[i]):
            size = keep_best(found[place], -scores[place], k, i * k, size, flat_numbers, flat_keys)
        sort_nearest(i * k, size, k, flat_numbers, flat_keys)


@kernel
def nearest_rows(Q, panels, halves, k, start, stop, numbers):
    """Write the numbers of the k nearest rows of the queries [start, stop), the nearest first.

    Row j is the nearer, the lower ``halves[j]`` less its product with the query is: half the difference of
    squared distances if `halves` has half the squares of lengths, and minus the product if it has zeros.

    Parameters
    ----------
    Q : float32
    panels : float32
        The rows, as `make_panels` lays them.
    """
    block, n = 8 * ROWS, halves.size
    part, products = np.zeros((block, Q.shape[1]), np.float32), np.empty((block, PANEL), np.float32)
    flat, keys = numbers.reshape(-1), np.empty(block * k, np.float64)
    best, sizes = np.empty(block * k, np.int64), np.empty(block, np.int64)
    for first in range(start, stop, block):
        m = min(block, stop - first)
        part[:m] = Q[first : first + m]
        sizes[:] = 0
        for panel in range(panels.shape[0]):
            multiply_panels(part, panels, m, panel, panel + 1, products)
            base = panel * PANEL
            for i in range(m):
                for v in range(min(PANEL, n - base)):
                    key = np.float64(halves[base + v]) - np.float64(products[i, v])
                    sizes[i] = keep_best(base + v, key, k, i * k, sizes[i], best, keys)
        for i in range(m):
            sort_best(i * k, sizes[i], best, keys)
            flat[(first + i) * k : (first + i + 1) * k] = best[i * k : (i + 1) * k]
