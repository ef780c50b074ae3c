"""A kernel that compares how two rows order their features, by how often they share the winner of a group."""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .products import longest_row

__all__ = ["rank_agreements"]


@helper
def _add(tree, place):
    """Count one more at a place of a Fenwick tree."""
    place += 1
    while place < tree.size:
        tree[place] += 1
        place += place & -place


@helper
def _below(tree, place):
    """Return the number that is counted at smaller places."""
    total = 0
    while place > 0:
        total += tree[place]
        place -= place & -place
    return total


@helper
def _align(x_indices, x_ranks, y_indices, y_ranks, pairs):
    """Write the ranks in x and y of the features that either has, 0 where one lacks it; return how many."""
    a, b, n = 0, 0, 0
    while a < x_indices.size or b < y_indices.size:
        left = x_indices[a] if a < x_indices.size else np.int64(0x7FFFFFFFFFFFFFFF)
        right = y_indices[b] if b < y_indices.size else np.int64(0x7FFFFFFFFFFFFFFF)
        pairs[n, 0], pairs[n, 1] = 0, 0
        if left <= right:
            pairs[n, 0] = x_ranks[a]
            a += 1
        if right <= left:
            pairs[n, 1] = y_ranks[b]
            b += 1
        n += 1
    return n


@helper
def _agreement(pairs, n, absent, shares, starts, order, tree):
    """Return the probability that a random group, in random order, has one winner in both rows.

    A feature wins if the others are not above it in either row, and those tied with it in one come later.
    Of groups with `weak` features not above it and `strict` below it in both, besides `absent` ones,
    this is ``(C(weak + 1, K) - C(strict, K)) / (weak - strict + 1)``, over C(d, K) in all: sum over the
    number t of ties ``C(strict, K - 1 - t) C(weak - strict, t) / (t + 1)``. Both numbers come from a sweep
    in the order of the ranks in x over a tree of the ranks in y.
    """
    starts[:] = 0
    for i in range(n):
        starts[pairs[i, 0] + 1] += 1
    for r in range(1, starts.size):
        starts[r] += starts[r - 1]
    for i in range(n):
        r = pairs[i, 0]
        order[starts[r]] = i
        starts[r] += 1  # in the end this is the place behind the rank
    tree[:] = 0
    total, i = 0.0, 0
    while i < n:
        rank = pairs[order[i], 0]
        last = starts[rank]
        # First count what is strictly below in both; with the ties in x added, count what is not above in
        # either.
        for j in range(i, last):
            y = pairs[order[j], 1]
            if rank > 0 and y > 0:
                order[n + j] = _below(tree, y)
        for j in range(i, last):
            _add(tree, pairs[order[j], 1])
        for j in range(i, last):
            y = pairs[order[j], 1]
            if rank > 0 and y > 0:
                strict, weak = absent + order[n + j], absent + _below(tree, y + 1) - 1
                total += (shares[weak + 1] - shares[strict]) / (weak - strict + 1)
        i = last
    return total


@kernel
def rank_agreements(x, y, shares, few, start, stop, agreements, unions):
    """Compute the agreement of each row of x, in [start, stop), with each row of y.

    x, y : (indptr, indices, ranks), int64; the ranks of a row's entries, from 1, equal for equal ones.
    shares : float64, ``C(n, group_size) / C(n_features, group_size)`` for n up to n_features, from any n that
    is no more than the features which neither row has.
    few : float64, for pairs of rows with u features in all, where u is below the number of its rows:
    ``few[u, m]`` stands for the share of groups whose features, of these u, are among m given ones.
    agreements, unions : float64 and int64 (rows of x, rows of y); see `_agreement`, and the number of
    features that either row has.
    """
    x_indptr, x_indices, x_ranks = x
    y_indptr, y_indices, y_ranks = y
    longest_x, longest_y = (
        longest_row(x_indptr, start, stop),
        longest_row(y_indptr, 0, y_indptr.size - 1),
    )
    pairs = np.empty((longest_x + longest_y, 2), np.int64)
    starts, tree = np.empty(longest_x + 2, np.int64), np.empty(longest_y + 2, np.int64)
    order = np.empty(2 * (longest_x + longest_y), np.int64)
    for i in range(start, stop):
        a = slice(x_indptr[i], x_indptr[i + 1])
        for j in range(y_indptr.size - 1):
            b = slice(y_indptr[j], y_indptr[j + 1])
            n = _align(x_indices[a], x_ranks[a], y_indices[b], y_ranks[b], pairs)
            if n < few.shape[0]:
                agreements[i, j] = _agreement(pairs, n, 0, few[n], starts, order, tree)
            else:
                absent = shares.size - 1 - n
                agreements[i, j] = _agreement(pairs, n, absent, shares, starts, order, tree)
            unions[i, j] = n
