"""Kernels that find the lengths of the words of optimal prefix codes, from sorted weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = ["common_divisor", "huffman", "package_merge"]

_U = np.uint64


@kernel
def huffman(weights):
    """Turn ascending weights into the lengths of Huffman's code, in place (two at least)."""
    n = weights.size
    # Packages are made in ascending order. The array first has their weights, then the package that each is
    # in.
    leaf, root = 0, 0
    for made in range(n - 1):
        weight: Any = 0
        for _ in range(2):
            if leaf >= n or (root < made and weights[root] < weights[leaf]):
                weight += weights[root]
                weights[root] = made
                root += 1
            else:
                weight += weights[leaf]
                leaf += 1
        weights[made] = weight
    # Compute the depths of the packages, from the last one, the root.
    weights[n - 2] = 0
    for i in range(n - 3, -1, -1):
        weights[i] = weights[weights[i]] + 1
    # Leaves take the places of each depth that no package takes.
    places, depth, package, at = 1, 0, n - 2, n - 1
    while places > 0:
        taken = 0
        while package >= 0 and weights[package] == depth:
            taken += 1
            package -= 1
        for _ in range(places - taken):
            weights[at] = depth
            at -= 1
        places = 2 * taken
        depth += 1


@kernel
def package_merge(weights, limit, lengths):
    """Write the lengths of the optimal code within `limit` for ascending weights; 2 <= n <= 2**limit.

    Each level has a list: the weights, merged with the pairs of the level below. The 2n - 2 least of the top
    level are taken, and with each pair its two members below. The length of a weight is the number of levels
    in which it is taken. Of each list only one bit a member is kept: whether it is a weight.
    """
    n = weights.size
    n_words = (2 * n + 63) // 64
    is_weight = np.zeros((limit, n_words), dtype=np.uint64)
    below, merged = np.empty(2 * n, dtype=np.int64), np.empty(2 * n, dtype=np.int64)
    n_below = 0
    for level in range(limit):
        n_pairs = n_below // 2
        i, j, k = 0, 0, 0
        bits = np.uint64(0)
        while i < n or j < n_pairs:
            if j >= n_pairs or (i < n and weights[i] <= below[2 * j] + below[2 * j + 1]):
                merged[k] = weights[i]
                bits |= np.uint64(1) << np.uint64(k & 63)
                i += 1
            else:
                merged[k] = below[2 * j] + below[2 * j + 1]
                j += 1
            k += 1
            if k & 63 == 0:
                is_weight[level, (k >> 6) - 1] = bits
                bits = np.uint64(0)
        if k & 63:
            is_weight[level, k >> 6] = bits
        below, merged = merged, below
        n_below = k
    taken = 2 * n - 2
    lengths[:] = 0
    for level in range(limit - 1, -1, -1):
        n_weights: Any = 0
        for k in range(taken):
            n_weights += np.int64((is_weight[level, k >> 6] >> np.uint64(k & 63)) & np.uint64(1))
        for i in range(n_weights):
            lengths[i] += 1
        taken = 2 * (taken - n_weights)


@kernel
def common_divisor(values):
    """Return the greatest common divisor of the differences of rising values."""
    step = _U(0)
    for i in range(1, values.size):
        a, b = values[i] - values[i - 1], step
        while b > _U(0):
            a, b = b, a % b
        step = a
        if step == _U(1):
            return step
    return step
