"""Multi-probe cross-polytope hashing: the cells of a hash, the likeliest to hold neighbours first.

A change from the nearest axis to another one costs the square of the difference of the coordinates'
magnitudes, because noise moves that difference as it moves any projection (Andoni et al. 2015, section 5).
The few cheapest axes of each elementary hash are sorted, and the cheapest combinations are merged from the
sorted lists, one list after another.
"""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .cross_polytope_codes import (
    absorb,
    clear_entries,
    code_of,
    place_entries,
    scale_entries,
    scatter,
)
from .cross_polytope_registers import GROUP, MAGNITUDE, rotate_group
from .hadamard import rotate, scale_dense
from .hadamard_registers import RADIX, WIDTH
from .products import longest_row

__all__ = ["cross_polytope_probes_csr", "cross_polytope_probes_dense"]

_MAGNITUDE = np.uint32(MAGNITUDE)
#: The most axes that are sorted by counting those before each.
_COUNTED = 64


# Functions take no slices and avoid branches. Otherwise Numba counts references to their arrays, which takes
# longer than their work.


@helper
def _bound_of_largest(words, first, dimension, keep, lanes):
    """Find a magnitude that at least `keep` coordinates reach, up to 16, and not many more than that.

    At least `keep` of 16 lanes have a coordinate as large as the keep-th largest of the lanes' maxima.
    """
    for lane in range(WIDTH):
        lanes[lane] = 0
    for j in range(first, first + dimension, WIDTH):
        for lane in range(WIDTH):
            lanes[lane] = max(lanes[lane], words[j + lane] & _MAGNITUDE)
    bound = np.uint32(0)
    for lane in range(WIDTH):
        as_large = 0
        for other in range(WIDTH):
            as_large += lanes[other] >= lanes[lane]
        bound = max(bound, lanes[lane] if as_large >= keep else np.uint32(0))
    return bound


@helper
def _rank_large(words, first, dimension, bound, ranks):
    """Write a rank for each coordinate of at least that magnitude; return their number.

    A larger magnitude has a higher rank, and of equal ones the earlier. No two ranks are equal.
    """
    found = 0
    for j in range(dimension):
        magnitude = words[first + j] & _MAGNITUDE
        ranks[found] = (np.uint64(magnitude) << np.uint64(32)) | np.uint64(0xFFFFFFFF - j)
        found += magnitude >= bound
    return found


@helper
def _place_of(rank):
    """Return the place of the coordinate that has a rank."""
    return np.int64(np.uint64(0xFFFFFFFF) - (rank & np.uint64(0xFFFFFFFF)))


@helper
def _order_few(ranks, found, axes, axes_at):
    """Write places of coordinates to ``axes[axes_at:]``, the highest rank first, by counting higher ranks."""
    for a in range(found):
        before = 0
        for b in range(found):
            before += ranks[b] > ranks[a]
        axes[axes_at + before] = _place_of(ranks[a])


@helper
def _order_many(ranks, found, keep, axes, axes_at):
    """Write the places of the `keep` highest ranks as `_order_few` does, by sorting."""
    ranks[:found].sort()
    for r in range(keep):
        axes[axes_at + r] = _place_of(ranks[found - 1 - r])


@helper
def cheapest_sums(
    left, left_at, n_left, right, n_right, keep, sums_at, places, steps, steps_at, heads, cursors
):
    """Find the `keep` least sums of a number of one rising list and a number of another, or all of them.

    The left list is ``left[left_at : left_at + n_left]``; sums go to ``left[sums_at:]``, the places of the
    two numbers to `places` and `steps`, from `steps_at` on. Returns how many sums there are.
    """
    keep = min(keep, n_left * n_right)
    # A number of the left list is considered once the number before it has been taken.
    heads[0], cursors[0], active = left[left_at] + right[0], 0, 1
    for r in range(keep):
        best = 0
        for a in range(1, active):
            best = a if heads[a] < heads[best] else best
        step = cursors[best]
        left[sums_at + r], places[steps_at + r], steps[steps_at + r] = heads[best], best, step
        cursors[best] = step + 1
        heads[best] = left[left_at + best] + right[step + 1] if step + 1 < n_right else np.inf
        if best == active - 1 and active < n_left:
            heads[active], cursors[active] = left[left_at + active] + right[0], 0
            active += 1
    return keep


@helper
def _row_probes(
    source, indices, entries, scatter_keys, masks, dimension, power, keys, n_buckets,
    n_hashes, n_probes, block, words, room, codes, codes_at,
):  # fmt: skip
    """Write the codes of the likeliest cells of one row, ``n_probes`` for each hash."""
    values, lanes, ranks, axes, costs, sums, places, steps, heads, cursors = room
    keep, each, round_size = min(dimension, n_probes), block.size // dimension, block.size // WIDTH
    mixed, base = keys.size > 0, np.uint64(2 * dimension)
    most = axes.size // power
    turn, part = -1, each
    for h in range(n_hashes):
        sums[0], n = 0.0, 1
        for k in range(power):
            if part == each:
                turn, part = turn + 1, 0
                if scatter_keys.size:
                    scatter(indices, entries, scatter_keys[turn], source)
                if block.size == GROUP:
                    rotate_group(source, masks, turn * 3 * RADIX, block)
                else:
                    rotate(source, masks[turn * round_size * 3 : (turn + 1) * round_size * 3], block)
            first, at = part * dimension, k * most
            part += 1
            bound = np.uint32(0)
            if keep <= WIDTH < dimension:
                bound = _bound_of_largest(words, first, dimension, keep, lanes)
            found = _rank_large(words, first, dimension, bound, ranks)
            if found <= _COUNTED:
                _order_few(ranks, found, axes, at)
            else:
                _order_many(ranks, found, keep, axes, at)
            largest = np.float64(abs(block[first + axes[at]]))
            for a in range(keep):
                axis = axes[at + a]
                difference = largest - np.float64(abs(block[first + axis]))
                costs[a] = difference * difference
                axes[at + a] = 2 * axis + np.int64(words[first + axis] >> np.uint32(31))
            here, after = k % 2 * n_probes, (k + 1) % 2 * n_probes
            n = cheapest_sums(
                sums, here, n, costs, keep, n_probes, after, places, steps, k * n_probes, heads, cursors
            )
        for r in range(n_probes):
            at = r
            for k in range(power - 1, -1, -1):
                values[k] = axes[k * most + steps[k * n_probes + at]]
                at = places[k * n_probes + at]
            word = keys[h] if mixed else np.uint64(0)
            for k in range(power):
                word = absorb(word, values[k], base, mixed)
            codes[codes_at + h * n_probes + r] = code_of(word, n_buckets, mixed)


@helper
def _room(dimension, power, n_probes):
    """Make the work space of `_row_probes`."""
    most = max(_COUNTED, min(dimension, n_probes))
    return (
        np.empty(power, np.int64),
        np.empty(WIDTH, np.uint32),
        np.empty(dimension + 1, np.uint64),
        np.empty(power * most, np.int64),
        np.empty(most),
        np.empty(2 * n_probes),
        np.empty(power * n_probes, np.int64),
        np.empty(power * n_probes, np.int64),
        np.empty(n_probes + 1),
        np.empty(n_probes + 1, np.int64),
    )


@kernel
def cross_polytope_probes_dense(X, masks, dimension, power, keys, n_buckets, start, stop, out):
    """Write the codes of the likeliest cells of the rows [start, stop), the row's own cell first."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    words, flips, codes = block.view(np.uint32), masks.reshape(-1), out.reshape(-1)
    n_hashes, n_probes = out.shape[1:]
    lanes = np.empty(WIDTH, X.dtype)
    room = _room(dimension, power, n_probes)
    no_indices, no_entries = np.empty(0, np.int32), np.empty(0, np.float32)
    no_keys = np.empty(0, np.uint64)
    for i in range(start, stop):
        scale_dense(X[i], lanes, source)
        _row_probes(
            source, no_indices, no_entries, no_keys, flips, dimension, power, keys, n_buckets,
            n_hashes, n_probes, block, words, room, codes, i * n_hashes * n_probes,
        )  # fmt: skip


@kernel
def cross_polytope_probes_csr(
    indptr, indices, data, scatter_keys, masks, dimension, power, keys, n_buckets, start, stop, out
):
    """Probe sparse rows as `cross_polytope_probes_dense` does; see `cross_polytope_codes_csr`."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    words, flips, codes = block.view(np.uint32), masks.reshape(-1), out.reshape(-1)
    n_hashes, n_probes = out.shape[1:]
    room = _room(dimension, power, n_probes)
    scaled = np.empty(longest_row(indptr, start, stop), np.float32)
    for i in range(start, stop):
        features = indices[indptr[i] : indptr[i + 1]]
        entries = scale_entries(data[indptr[i] : indptr[i + 1]], scaled)
        place_entries(features, entries, scatter_keys, source)
        _row_probes(
            source, features, entries, scatter_keys, flips, dimension, power, keys, n_buckets,
            n_hashes, n_probes, block, words, room, codes, i * n_hashes * n_probes,
        )  # fmt: skip
        clear_entries(features, scatter_keys, source)
