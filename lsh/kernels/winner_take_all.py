"""Kernels of winner-take-all hashing: they find the place of the largest number in each group of coordinates.

A permutation of the features is cut into bins of `group_size` features. Hash h reads bin ``h % own`` of
permutation ``h // own``, `own` being the bins that are full; each of the `power` parts of a hash has
permutations of its own. Zeros are absent, and an empty bin takes the winner of a bin that is not.

Dense rows go through in blocks of 64, transposed, so that SIMD lanes hold rows: then the winners of 64 rows
in a bin take one pass over its features. Rows with an empty bin, and sparse rows, scatter their entries into
all bins of a permutation instead, in time proportional to the entries.
"""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .products import longest_row
from .words import mix64, mix_pair, reduce_word

__all__ = ["winners_csr", "winners_dense"]

#: Dense rows whose winners are found together.
LANES = 64
#: Label of a group of zeros, above all other labels.
NOBODY = np.uint32(0xFFFFFFFF)
#: Hashes of these rows that are transposed into rows together.
_TILE = 16


@helper(inline="always")
def _code_of(word, n_buckets):
    """Reduce the word of a code to [0, n_buckets); with n_buckets = 0 the word is the code."""
    if n_buckets == 0:
        return np.uint32(word)
    return reduce_word(word, n_buckets)


@helper(inline="always")
def _absorb(word, label, base, n_buckets):
    """Append a label to the word of a code, as a digit, or mix it in."""
    if n_buckets == 0:
        return word * base + label
    return mix64(word ^ label)


@helper
def _donor(bin_, winners, full, n_full, attempts, walk_key, rank_key):
    """Return the bin that an empty one copies: the first full one in a random order that is its own.

    That order is a walk of some attempts and, where it fails, the order of a rank. So a walk among few full
    bins and a search through many are both short.
    """
    m = np.uint64(winners.size)
    for attempt in range(attempts):
        donor = np.int64(reduce_word(mix_pair(walk_key, np.uint64(bin_), np.uint64(attempt)), m))
        if winners[donor] >= 0:
            return donor
    # The bin takes the low bits of a rank, so that it breaks ties of the other bits, and not the row.
    low = np.uint64((1 << 31) - 1)
    least = np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(n_full):
        least = min(
            least, (mix_pair(rank_key, np.uint64(bin_), np.uint64(full[i])) & ~low) | np.uint64(full[i])
        )
    return np.int64(least & low)


@helper(inline="always")
def _turn(walk_key, bin_, donor, base):
    """Draw what a bin adds to places that it copies from a donor: in [0, base), the same for all rows.

    Without this, all bins that copy one donor would have one place, and rows of few entries, whose bins copy
    the same few donors, would collide in all of them or in none.
    """
    # The highest bit makes these numbers different from those of attempts.
    word = mix_pair(walk_key, np.uint64(bin_), np.uint64(donor) | np.uint64(1 << 63))
    return np.uint64(reduce_word(word, base))


@helper
def _row_codes(features, values, n, bins, spots, own, settings, keys, work, out):
    """Write the codes of one row with n > 0 entries, none of which is 0.

    work : arrays for the bins, `winners` all -1 and `best` all minus infinity here and on return, and for the
    words of hashes; see `_work`.
    """
    winners, best, spots_held, full, words = work
    power, base, n_buckets, attempts, walk_keys, rank_keys = settings
    n_hashes = words.size
    rounds = bins.shape[0] // power
    for h in range(n_hashes):
        words[h] = keys[h]
    for p in range(bins.shape[0]):
        first = (p % rounds) * own
        last = min(first + own, n_hashes)
        bin_of, spot_of = bins[p], spots[p]
        n_full = 0
        # There are no branches, which would be predicted wrongly half of the time.
        for j in range(n):
            b, spot, value = bin_of[features[j]], spot_of[features[j]], values[j]
            better = (value > best[b]) | ((value == best[b]) & (spot < spots_held[b]))
            full[n_full] = b
            n_full += 1 if winners[b] < 0 else 0
            winners[b] = j if better else winners[b]
            spots_held[b] = spot if better else spots_held[b]
            best[b] = value if better else best[b]
        for h in range(first, last):
            own_bin = h - first
            b, turn = own_bin, np.uint64(0)
            if winners[b] < 0:
                b = _donor(b, winners, full, n_full, attempts, walk_keys[p], rank_keys[p])
                turn = _turn(walk_keys[p], own_bin, b, base)
            feature = features[winners[b]]
            label = np.uint64(feature)
            if n_buckets == 0:
                label = (np.uint64(spots_held[b]) + turn) % base
            words[h] = _absorb(words[h], label, base, n_buckets)
        for i in range(n_full):
            winners[full[i]] = -1
            best[full[i]] = -np.inf
    for h in range(n_hashes):
        out[h] = _code_of(words[h], n_buckets)


@helper
def _absent_codes(n_features, settings, keys, out):
    """Write the codes of a row of zeros: those of places 0, or of a winner that is no feature."""
    power, base, n_buckets = settings[0], settings[1], settings[2]
    label = np.uint64(0) if n_buckets == 0 else np.uint64(n_features)
    for h in range(keys.size):
        word = keys[h]
        for _ in range(power):
            word = _absorb(word, label, base, n_buckets)
        out[h] = _code_of(word, n_buckets)


@helper
def _work(n_bins, n_hashes, values):
    """Make the work space of `_row_codes`."""
    winners, best = np.full(n_bins, -1, np.int32), np.full(n_bins, -np.inf, values.dtype)
    # There is room for one more, which is written behind the last and then not counted.
    spots_held, full = np.empty(n_bins, np.int32), np.empty(n_bins + 1, np.int32)
    return winners, best, spots_held, full, np.empty(n_hashes, np.uint64)


@kernel
def winners_csr(indptr, indices, data, layout, settings, keys, start, stop, out):
    """Write the codes of the sparse rows [start, stop) to the same rows of `out`.

    layout : (bins, spots, own, n_bins); the bin of each feature and its place there, int32 (permutations,
    n_features), and the number of full and of all bins.
    settings : (power, base, n_buckets, attempts, walk keys, rank keys); n_buckets = 0 for codes that are the
    digits of the winners' places to `base`, else winners are mixed.
    keys : uint64 (n_hashes,), where the words of the codes start.
    """
    bins, spots, own, n_bins = layout
    work = _work(n_bins, keys.size, data)
    longest = longest_row(indptr, start, stop)
    features, values = np.empty(longest, np.int32), np.empty(longest, data.dtype)
    for row in range(start, stop):
        n = 0
        for j in range(indptr[row], indptr[row + 1]):
            if data[j] != 0:
                features[n], values[n] = indices[j], data[j]
                n += 1
        if n:
            _row_codes(features, values, n, bins, spots, own, settings, keys, work, out[row])
        else:
            _absent_codes(bins.shape[1], settings, keys, out[row])


@helper
def _transpose(X, columns, left, right, block):
    """Set ``block[u, i]`` to X[left + i, columns[u]], or to minus infinity for a 0."""
    absent = X.dtype.type(-np.inf)
    for first in range(0, columns.size, 16):  # so that lines stay in the first-level cache
        part = columns[first : first + 16]
        for i in range(0, right - left, 4):  # lanes behind the last row repeat it and are not read
            row = left + i
            a, b = X[row], X[min(row + 1, right - 1)]
            c, d = X[min(row + 2, right - 1)], X[min(row + 3, right - 1)]
            for u in range(part.size):
                column, target = np.uint64(part[u]), block[first + u, i : i + 4]
                target[0] = a[column] if a[column] != 0 else absent
                target[1] = b[column] if b[column] != 0 else absent
                target[2] = c[column] if c[column] != 0 else absent
                target[3] = d[column] if d[column] != 0 else absent


@helper
def _lane_winners(block, group, labels, best, label):
    """Write the label of the first largest value of a group, for 64 rows; NOBODY for a group of zeros."""
    best[:] = -np.inf
    label[:] = NOBODY
    for k in range(group.size):
        values, mark = block[group[k]], labels[k]
        for i in range(LANES):
            better = values[i] > best[i]
            best[i] = values[i] if better else best[i]
            label[i] = mark if better else label[i]


@helper
def _block_codes(block, places, labels, base, n_buckets, keys, empty, codes):
    """Write the codes of 64 rows under some hashes; `empty` becomes NOBODY for rows with a group of zeros."""
    best, label = np.empty(LANES, block.dtype), np.empty(LANES, np.uint32)
    words, tile = np.empty(LANES, np.uint64), np.empty((_TILE, LANES), np.uint32)
    for begin in range(0, keys.size, _TILE):
        n = min(_TILE, keys.size - begin)
        for j in range(n):
            h = begin + j
            words[:] = keys[h]
            for k in range(places.shape[1]):
                _lane_winners(block, places[h, k], labels[h, k], best, label)
                for i in range(LANES):
                    empty[i] = max(empty[i], label[i])
                for i in range(LANES):
                    words[i] = _absorb(words[i], np.uint64(label[i]), base, n_buckets)
            for i in range(LANES):
                tile[j, i] = _code_of(words[i], n_buckets)
        for i in range(codes.shape[0]):
            row = codes[i, begin : begin + n]
            for j in range(n):
                row[j] = tile[j, i]


@kernel
def winners_dense(X, groups, layout, settings, keys, start, stop, out):
    """Write the codes of the dense rows [start, stop) to the same rows of `out`; see `winners_csr`.

    groups : (hashes, columns, offsets, places, labels). The bins of the hashes from ``hashes[c]`` to
    ``hashes[c + 1]`` have the features ``columns[offsets[c] : offsets[c + 1]]``, int64; places, int32
    (n_hashes, power, group_size), tell where among these, and labels, uint32, what a code is made of where
    they win.
    """
    hashes, columns, offsets, places, labels = groups
    bins, spots, own, n_bins = layout
    base, n_buckets = settings[1], settings[2]
    n_features, widest = X.shape[1], 0
    for c in range(hashes.size - 1):
        widest = max(widest, offsets[c + 1] - offsets[c])
    block, empty = np.zeros((widest, LANES), X.dtype), np.empty(LANES, np.uint32)
    work = _work(n_bins, keys.size, X)
    features, values = np.empty(n_features, np.int32), np.empty(n_features, X.dtype)
    for left in range(start, stop, LANES):
        right = min(left + LANES, stop)
        empty[:] = 0
        for c in range(hashes.size - 1):
            some = slice(hashes[c], hashes[c + 1])
            _transpose(X, columns[offsets[c] : offsets[c + 1]], left, right, block)
            codes = out[left:right, some]
            _block_codes(block, places[some], labels[some], base, n_buckets, keys[some], empty, codes)
        for i in range(right - left):
            if empty[i] != NOBODY:
                continue
            n, row = 0, X[left + i]
            for f in range(n_features):
                features[n], values[n] = f, row[f]
                n += 1 if row[f] != 0 else 0
            if n:
                _row_codes(features, values, n, bins, spots, own, settings, keys, work, out[left + i])
            else:
                _absent_codes(n_features, settings, keys, out[left + i])
