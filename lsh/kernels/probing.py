"""Multi-probe codes: the buckets next to a query's own, the likeliest first.

A set of changes (bits that flip, steps that go up or down) leads from the query's bucket to another one. Each
change has a score, and the score of a set is the sum of its changes' scores. A heap gives the sets in the
order of their scores, as in Lv, Josephson, Wang, Charikar and Li 2007, section 4.4: with changes sorted by
score, a set whose last change is the m-th has two successors, which replace the m-th by the next ("shift")
and add the next to it ("expand"). Every set has one predecessor, and none has a higher score than its
successors.
"""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .words import mix64, reduce_word

__all__ = ["least_changes", "likeliest_sets", "probe_signs", "probe_steps"]


@kernel
def least_changes(scores, n, keep, changes, sorted_scores):
    """Find the `keep` least of the first n scores, in rising order: their places and themselves.

    The order is stable. For n_sets sets no more than n_sets - 1 changes are needed: each alone is a set of no
    higher score than any set that contains a later one.
    """
    kept = 0
    for c in range(n):
        score = scores[c]
        if kept == keep and not score < sorted_scores[kept - 1]:
            continue
        at = min(kept, keep - 1)
        while at > 0 and score < sorted_scores[at - 1]:
            sorted_scores[at] = sorted_scores[at - 1]
            changes[at] = changes[at - 1]
            at -= 1
        sorted_scores[at] = score
        changes[at] = c
        kept = min(kept + 1, keep)
    return kept


@helper
def _next_change(place, n, prefix, prefixes, lasts, groups):
    """Find the first change after `place` whose group no change of the set `prefix` has, or n."""
    for candidate in range(place + 1, n):
        node, free = prefix, True
        while node > 0 and free:
            free = groups[lasts[node]] != groups[candidate]
            node = prefixes[node]
        if free:
            return candidate
    return n


@helper
def _push(heap, size, node, totals):
    """Put a node on the heap."""
    at = size
    while at > 0:
        up = (at - 1) // 2
        if totals[heap[up]] <= totals[node]:
            break
        heap[at] = heap[up]
        at = up
    heap[at] = node


@helper
def _pop(heap, size, totals):
    """Take the least of `size` nodes off the heap."""
    least, node = heap[0], heap[size - 1]
    at, size = 0, size - 1
    while True:
        down = 2 * at + 1
        if down >= size:
            break
        if down + 1 < size and totals[heap[down + 1]] < totals[heap[down]]:
            down += 1
        if totals[node] <= totals[heap[down]]:
            break
        heap[at] = heap[down]
        at = down
    heap[at] = node
    return least


@kernel
def likeliest_sets(scores, groups, n, n_sets, order, totals, prefixes, lasts, heap):
    """Find the n_sets sets of least score of n changes, at most one of each group; the empty set is first.

    Parameters
    ----------
    scores : ndarray of shape (at least n,), float64
        At least 0, sorted.
    groups : ndarray of shape (at least n,), int64
        Changes of one group exclude each other, as two steps of one projection do.
    order : ndarray of shape (n_sets,), int64
        Result: the nodes of the sets. Node 0 is the empty set; another one's is the set of node
        ``prefixes[node]`` and the change ``lasts[node]``.
    totals : ndarray of shape (2 n_sets,), float64
        Result: scores of the nodes, added up from the least change on.
    prefixes, lasts, heap : ndarray of shape (2 n_sets,), int64
        Results, and room to work in.

    Returns
    -------
    int
        The number of sets: n_sets, or fewer if changes and groups allow no more.
    """
    order[0], totals[0], prefixes[0], lasts[0] = 0, 0.0, -1, -1
    nodes, waiting = 1, 0
    if n > 0:
        totals[1], prefixes[1], lasts[1] = scores[0], 0, 0
        heap[0] = 1
        nodes, waiting = 2, 1
    found = 1
    while found < n_sets and waiting > 0:
        node = _pop(heap, waiting, totals)
        waiting -= 1
        order[found] = node
        found += 1
        for prefix in (prefixes[node], node):
            last = _next_change(lasts[node], n, prefix, prefixes, lasts, groups)
            if last < n:
                # Subtracting the replaced score could, by rounding, put a set before its predecessor.
                totals[nodes], prefixes[nodes], lasts[nodes] = totals[prefix] + scores[last], prefix, last
                _push(heap, waiting, nodes, totals)
                nodes += 1
                waiting += 1
    return found


@kernel
def probe_signs(products, n_hashes, power, keys, n_buckets, out):
    """Write the codes of the likeliest buckets: sign bits flip in the order of their squared products.

    Parameters
    ----------
    products : ndarray of shape (n, at least power * n_hashes), float32
        Bit k of code h is set unless the product at place ``k * n_hashes + h`` is below 0.
    keys : ndarray of shape (n_hashes,), uint64
        Keys that mix codes into n_buckets, as `mix_codes` does; empty if codes are the bits.
    out : ndarray of shape (n, n_hashes, n_probes), uint32
    """
    n_probes = out.shape[2]
    squares, sorted_scores = np.empty(power), np.empty(power)
    bits, groups = np.empty(power, np.int64), np.arange(power)
    order, totals = np.empty(n_probes, np.int64), np.empty(2 * n_probes)
    prefixes, lasts = np.empty(2 * n_probes, np.int64), np.empty(2 * n_probes, np.int64)
    heap = np.empty(2 * n_probes, np.int64)
    for i in range(out.shape[0]):
        for h in range(n_hashes):
            code = np.uint32(0)
            for k in range(power):
                product = np.float64(products[i, k * n_hashes + h])
                squares[k] = product * product
                code |= np.uint32(product >= 0) << np.uint32(k)
            kept = least_changes(squares, power, min(power, n_probes - 1), bits, sorted_scores)
            likeliest_sets(sorted_scores, groups, kept, n_probes, order, totals, prefixes, lasts, heap)
            for r in range(n_probes):
                probe, node = code, order[r]
                while node > 0:
                    probe ^= np.uint32(1) << np.uint32(bits[lasts[node]])
                    node = prefixes[node]
                if keys.size:
                    probe = reduce_word(mix64(keys[h] ^ np.uint64(probe)), n_buckets)
                out[i, h, r] = probe


@kernel
def probe_steps(steps, above, keys, n_buckets, out):
    """Write the codes of the likeliest cells: steps change by one in the order of distance to the border.

    Parameters
    ----------
    steps : ndarray of shape (n, power * n_hashes), int64
        Step k of hash h at place ``k * n_hashes + h``.
    above : ndarray of the same shape, float64
        How far above its cell's lower border each value lies, in cells: from 0 to 1.
    keys : ndarray of shape (n_hashes,), uint64
    n_buckets : uint64
        Steps are mixed as by `absorb_steps` and `reduce_words`.
    out : ndarray of shape (n, n_hashes, n_probes), uint32
    """
    n_hashes, n_probes = out.shape[1], out.shape[2]
    power = steps.shape[1] // n_hashes
    squares, sorted_scores = np.empty(2 * power), np.empty(2 * power)
    changes, groups = np.empty(2 * power, np.int64), np.empty(2 * power, np.int64)
    moved = np.empty(power, np.int64)
    order, totals = np.empty(n_probes, np.int64), np.empty(2 * n_probes)
    prefixes, lasts = np.empty(2 * n_probes, np.int64), np.empty(2 * n_probes, np.int64)
    heap = np.empty(2 * n_probes, np.int64)
    for i in range(out.shape[0]):
        for h in range(n_hashes):
            for k in range(power):
                distance = above[i, k * n_hashes + h]
                squares[2 * k] = distance * distance
                squares[2 * k + 1] = (1.0 - distance) * (1.0 - distance)
            kept = least_changes(squares, 2 * power, min(2 * power, n_probes - 1), changes, sorted_scores)
            for c in range(kept):
                groups[c] = changes[c] // 2
            likeliest_sets(sorted_scores, groups, kept, n_probes, order, totals, prefixes, lasts, heap)
            for r in range(n_probes):
                for k in range(power):
                    moved[k] = steps[i, k * n_hashes + h]
                node = order[r]
                while node > 0:
                    change = changes[lasts[node]]
                    moved[change // 2] += 2 * (change % 2) - 1
                    node = prefixes[node]
                word = keys[h]
                for k in range(power):
                    word = mix64(word ^ np.uint64(moved[k]))
                out[i, h, r] = reduce_word(word, n_buckets)
