"""Kernels of Bloom signatures: they set bits of neighbours, pass signatures along edges and compare pairs.

A signature is a row of words. Threads own ranges of nodes: each reads all edges and writes its own rows.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64, popcount, reduce_word

__all__ = [
    "count_signature_bits",
    "fill_node_bits",
    "pass_signatures",
    "set_neighbour_bits",
    "weigh_signatures",
]

_ONE = np.uint64(1)


@helper
def node_bit(node, key, n_bits):
    """Return the bit that stands for a node in all signatures."""
    return np.int64(reduce_word(mix64(np.uint64(node) ^ key), n_bits))


@kernel
def fill_node_bits(key, n_bits, start, stop, bits):
    """Set ``bits[node]`` to the bit that stands for the node, for nodes in [start, stop)."""
    for node in range(start, stop):
        bits[node] = node_bit(node, key, n_bits)


@kernel
def set_neighbour_bits(sources, targets, both, key, first, last, signatures):
    """Set each edge's target in its source's row, and with `both` the reverse, for rows [first, last)."""
    n_bits = np.uint64(64 * signatures.shape[1])
    for e in range(sources.size):
        u, v = np.int64(sources[e]), np.int64(targets[e])
        if u == v:
            continue
        if first <= u < last:
            bit = node_bit(v, key, n_bits)
            signatures[u, bit >> 6] |= _ONE << np.uint64(bit & 63)
        if both and first <= v < last:
            bit = node_bit(u, key, n_bits)
            signatures[v, bit >> 6] |= _ONE << np.uint64(bit & 63)


@kernel
def pass_signatures(sources, targets, signatures, both, first, last, out):
    """Set ``out[u] |= signatures[v]`` for each edge (u, v), and with `both` the reverse, in some rows."""
    for e in range(sources.size):
        u, v = np.int64(sources[e]), np.int64(targets[e])
        if first <= u < last:
            for w in range(signatures.shape[1]):
                out[u, w] |= signatures[v, w]
        if both and first <= v < last:
            for w in range(signatures.shape[1]):
                out[v, w] |= signatures[u, w]


@kernel
def count_signature_bits(signatures, others, u, v, start, stop, counts):
    """Count the bits of ``signatures[u[i]]``, of ``others[v[i]]`` and of both, to ``counts[i]``."""
    for i in range(start, stop):
        left, right = signatures[np.uint64(u[i])], others[np.uint64(v[i])]
        a, b, c = np.uint64(0), np.uint64(0), np.uint64(0)
        for w in range(left.size):
            a += popcount(left[w])
            b += popcount(right[w])
            c += popcount(left[w] & right[w])
        counts[i, 0] = a
        counts[i, 1] = b
        counts[i, 2] = c


@kernel
def weigh_signatures(signatures, u, v, weights, start, stop, sums):
    """Sum the rows of `weights`, one a bit, over the bits that both signatures of a pair have."""
    for i in range(start, stop):
        for k in range(weights.shape[1]):
            sums[i, k] = 0.0
        left, right = signatures[np.uint64(u[i])], signatures[np.uint64(v[i])]
        for w in range(left.size):
            common = left[w] & right[w]
            while common != np.uint64(0):
                bit = 64 * w + np.int64(popcount((common & (~common + _ONE)) - _ONE))
                for k in range(weights.shape[1]):
                    sums[i, k] += weights[bit, k]
                common &= common - _ONE
