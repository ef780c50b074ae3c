"""Compare every document of a crowded bucket with every other one: sets by bounds first, or signatures.

A set is split for this. Tokens that are common in the bucket become bits of a row of words. The other tokens
set bits of a mask, at places that their hashes say, and are kept in order. Two sets share no more of the
other tokens than one set has, minus the bits of its mask that the other mask lacks. Most pairs of documents
that are not similar are refused by this bound, from a few words each.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import lowest_bit, popcount

__all__ = ["choose_centres", "set_hits", "signature_hits", "split_sets"]

_ONE = np.uint64(1)


@kernel
def split_sets(tokens, offsets, common, n_common_words, start, stop, words, others, n_others):
    """Split the sets [start, stop), whose tokens rise, into rows of `words` and the other tokens.

    `common` has the common tokens in order. The first `n_common_words` columns of `words` are their bits, and
    the further ones are the mask. The other tokens of set i are written to `others` from ``offsets[i]`` on.
    """
    mask_bits = np.uint64((words.shape[1] - n_common_words) * 64)
    for i in range(start, stop):
        words[i] = 0
        c, n = 0, 0
        for k in range(offsets[i], offsets[i + 1]):
            token = tokens[k]
            while c < common.size and common[c] < token:
                c += 1
            if c < common.size and common[c] == token:
                words[i, c >> 6] |= _ONE << np.uint64(c & 63)
            else:
                bit = (token >> np.uint64(20)) % mask_bits
                words[i, n_common_words + np.int64(bit >> np.uint64(6))] |= _ONE << (bit & np.uint64(63))
                others[offsets[i] + n] = token
                n += 1
        n_others[i] = n


@helper
def _are_near(i, j, common, others, offsets, n_others, threshold, of_smaller):
    """Return True if two sets with some common tokens reach the threshold; see `set_hits`."""
    size_i, size_j = offsets[i + 1] - offsets[i], offsets[j + 1] - offsets[j]
    p, p_end = offsets[i], offsets[i] + n_others[i]
    q, q_end = offsets[j], offsets[j] + n_others[j]
    while p < p_end and q < q_end:
        x, y = others[p], others[q]
        common += x == y
        p += x <= y
        q += y <= x
    whole = min(size_i, size_j) if of_smaller else size_i + size_j - common
    return common / whole >= threshold


@kernel
def set_hits(
    chosen, groups, later, groups_of_later, words, n_common_words, others, offsets, n_others, threshold,
    of_smaller, start, stop, hits,
):  # fmt: skip
    """Find which of up to 64 chosen sets are near each of the later sets ``later[start:stop]``.

    Two sets are near if their Jaccard similarity is at least the threshold; with `of_smaller`, if the share
    of the smaller set that the other set has is. Bit b of ``hits[k]`` says that the set ``chosen[b]`` is near
    ``later[k]``. Sets of one group are not compared with each other, and a later set is near at most one set
    of each group: the first one found.
    """
    n, n_words = chosen.size, words.shape[1]
    # What is looked at most often lies together. A set of `total` tokens together with another one is refused
    # if even `most` common tokens are too few; the bound leaves room for rounding.
    of_chosen = np.empty((n, n_words), np.uint64)
    sizes = np.empty(n, np.int64)
    free = np.empty(n, np.int64)
    for b in range(n):
        of_chosen[b] = words[chosen[b]]
        sizes[b] = offsets[chosen[b] + 1] - offsets[chosen[b]]
        free[b] = n_others[chosen[b]]
    share = (threshold if of_smaller else threshold / (1.0 + threshold)) * (1.0 - 1e-9)
    for k in range(start, stop):
        j = later[k]
        row = words[j]
        size = offsets[j + 1] - offsets[j]
        found = np.uint64(0)
        for b in range(n):
            if groups[b] == groups_of_later[k] or _has_group(found, groups, groups[b]):
                continue
            common = np.int64(0)
            for w in range(n_common_words):
                common += np.int64(popcount(of_chosen[b, w] & row[w]))
            most = common + free[b]
            for w in range(n_common_words, n_words):
                most -= np.int64(popcount(of_chosen[b, w] & ~row[w]))
            if most < share * (min(size, sizes[b]) if of_smaller else size + sizes[b]) or chosen[b] == j:
                continue
            if _are_near(chosen[b], j, common, others, offsets, n_others, threshold, of_smaller):
                found |= _ONE << np.uint64(b)
        hits[k] = found


@kernel
def signature_hits(
    chosen, groups, later, groups_of_later, signatures, least_equal, start, stop, hits
):  # fmt: skip
    """Find which chosen documents have `least_equal` signature values of each later one; see `set_hits`."""
    n_values = signatures.shape[1]
    for k in range(start, stop):
        found = np.uint64(0)
        for b in range(chosen.size):
            if groups[b] == groups_of_later[k] or _has_group(found, groups, groups[b]):
                continue
            if chosen[b] != later[k]:
                equal = np.int64(0)
                for v in range(n_values):
                    equal += signatures[chosen[b], v] == signatures[later[k], v]
                if equal >= least_equal:
                    found |= _ONE << np.uint64(b)
        hits[k] = found


@helper
def _has_group(found, groups, group):
    """Return True if one of the bits of `found` stands for a document of the group."""
    while found:
        if groups[lowest_bit(found)] == group:
            return True
        found &= found - _ONE
    return False


@kernel
def choose_centres(bounds, ends, neighbours, start, stop, centres):
    """Choose the centres of stars in the graphs [start, stop), and the centre of every node.

    Graph i has the nodes ``bounds[i]`` to ``bounds[i + 1]``, the most important first. Node v has the
    neighbours ``neighbours[ends[v]:ends[v + 1]]``, in order, of which only those before v matter. A node with
    no centre among them becomes a centre; another node joins the first of these centres.
    """
    for i in range(start, stop):
        for v in range(bounds[i], bounds[i + 1]):
            centres[v] = v
            for k in range(ends[v], ends[v + 1]):
                u = neighbours[k]
                if u >= v:
                    break
                if centres[u] == u:
                    centres[v] = u
                    break
