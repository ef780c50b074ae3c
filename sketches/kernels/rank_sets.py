"""Kernels that find the nearest of some candidates, by distances of bits, of sets and of weighted sets."""

from __future__ import annotations

import numpy as np
from numba import types

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.registers import intrinsic
from .heaps import keep_best, sort_nearest
from .rank_vectors import RANKED

__all__ = ["UNORDERED", "order_sets", "rank_bits", "rank_sets", "rank_weights"]

#: Result of a ranking of sets if the tokens of a row do not rise.
UNORDERED = -2


@intrinsic
def _count_ones(typingctx, word):
    """Count the bits of an unsigned integer that are set, in its own type."""
    signature = word(word)

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return (signature, generate) if isinstance(word, types.Integer) else None


# All kernels find the k nearest of the candidates of each query, for queries ``first + i``, as
# `rank_vectors` does. They return RANKED, or the id of a candidate that has no row, or UNORDERED.


@kernel
def rank_bits(Q, rows, candidates, offsets, sizes, last_mask, k, first, ids, distances):
    """Rank by the number of bits that differ; of the last byte, those of `last_mask` count."""
    n_rows = rows.shape[0]
    whole = np.uint64(rows.shape[1] - 1)
    out_ids, out = ids.reshape(-1), distances.reshape(-1)
    for i in range(sizes.size):
        place, n_best, q = (first + i) * k, 0, Q[first + i]
        for c in range(offsets[i], offsets[i] + sizes[i]):
            number = np.int64(candidates[c]) - 1
            if np.uint64(number) >= np.uint64(n_rows):  # a forged file may have negative ids
                return max(number, np.int64(n_rows))
            row = rows[number]
            total = np.int64(0)
            for j in range(np.uint64(0), whole):
                total += np.int64(_count_ones(np.uint8(row[j] ^ q[j])))
            total += np.int64(_count_ones(np.uint8((row[whole] ^ q[whole]) & last_mask)))
            n_best = keep_best(number, np.float64(total), k, place, n_best, out_ids, out)
        sort_nearest(place, n_best, k, out_ids, out)
    return RANKED


@kernel
def order_sets(begins, start, stop, tokens, ends):
    """Sort the tokens of the sets [start, stop) and drop repeated ones, in place; their `ends` move down."""
    for i in range(start, stop):
        row = tokens[begins[i] : ends[i]]
        row.sort()
        n = 0
        for j in range(row.size):
            if n == 0 or row[j] != row[n - 1]:
                row[n] = row[j]
                n += 1
        ends[i] = begins[i] + n


@helper(forceinline=True)
def _rises(tokens, begin, end):
    """Tell whether the tokens of a set rise strictly."""
    falls = 0
    for j in range(np.uint64(begin + 1), np.uint64(max(end, begin + 1))):
        falls += tokens[j] <= tokens[j - np.uint64(1)]
    return falls == 0


@kernel
def rank_sets(Q, Q_begins, Q_ends, rows, begins, ends, candidates, offsets, sizes, k, first, ids, distances):
    """Rank by 1 minus the Jaccard similarity; two empty sets are alike.

    Set i is ``rows[begins[i]:ends[i]]``. Tokens of queries must rise.
    """
    n_rows = begins.size
    out_ids, out = ids.reshape(-1), distances.reshape(-1)
    for i in range(sizes.size):
        place, n_best = (first + i) * k, 0
        q_begin, q_end = Q_begins[first + i], Q_ends[first + i]
        for c in range(offsets[i], offsets[i] + sizes[i]):
            number = np.int64(candidates[c]) - 1
            if np.uint64(number) >= np.uint64(n_rows):  # a forged file may have negative ids
                return max(number, np.int64(n_rows))
            p, end, q = begins[number], ends[number], q_begin
            if not _rises(rows, p, end):
                return UNORDERED
            both = (end - p) + (q_end - q)
            common = 0
            while p < end and q < q_end:
                x, y = rows[p], Q[q]
                common += x == y
                p += x <= y
                q += y <= x
            distance = 1.0 - common / (both - common) if both else 0.0
            n_best = keep_best(number, distance, k, place, n_best, out_ids, out)
        sort_nearest(place, n_best, k, out_ids, out)
    return RANKED


@kernel
def rank_weights(Q, Q_csr, rows, rows_csr, candidates, offsets, sizes, k, first, ids, distances):
    """Rank by 1 minus the sum of the lesser weights over that of the greater; two empty rows are alike.

    `Q` and `rows` are offsets, `Q_csr` and `rows_csr` features, which rise, and weights.
    """
    q_features, q_weights = Q_csr
    features, weights = rows_csr
    n_rows = rows.size - 1
    out_ids, out = ids.reshape(-1), distances.reshape(-1)
    for i in range(sizes.size):
        place, n_best = (first + i) * k, 0
        q_begin, q_end = Q[first + i], Q[first + i + 1]
        for c in range(offsets[i], offsets[i] + sizes[i]):
            number = np.int64(candidates[c]) - 1
            if np.uint64(number) >= np.uint64(n_rows):  # a forged file may have negative ids
                return max(number, np.int64(n_rows))
            p, end, q = rows[number], rows[number + 1], q_begin
            lesser, greater = 0.0, 0.0
            while p < end or q < q_end:
                if q == q_end or (p < end and features[p] < q_features[q]):
                    greater += weights[p]
                    p += 1
                elif p == end or q_features[q] < features[p]:
                    greater += q_weights[q]
                    q += 1
                else:
                    lesser += min(weights[p], q_weights[q])
                    greater += max(weights[p], q_weights[q])
                    p += 1
                    q += 1
            distance = 1.0 - lesser / greater if greater > 0.0 else 0.0
            n_best = keep_best(number, distance, k, place, n_best, out_ids, out)
        sort_nearest(place, n_best, k, out_ids, out)
    return RANKED
