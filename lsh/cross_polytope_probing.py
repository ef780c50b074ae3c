"""Multi-probe cross-polytope hashing: the cells of a hash in the order in which they hold neighbours.

Going from the nearest axis to another one costs the square of the difference of the coordinates'
magnitudes: noise moves that difference as it moves any projection (Andoni et al. 2015, section 5). Of each
elementary hash the few cheapest axes are sorted; the cheapest combinations are then merged from the sorted
lists, one list after another.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .cross_polytope_kernels import (
    clear_entries,
    code_of,
    longest_row,
    place_entries,
    scale_entries,
    scatter,
)
from .cross_polytope_registers import GROUP, MAGNITUDE, rotate_group
from .hadamard import _rotate, _scale_dense
from .hadamard_registers import RADIX, WIDTH

__all__ = ["cross_polytope_probes_csr", "cross_polytope_probes_dense"]

_MAGNITUDE = np.uint32(MAGNITUDE)
#: Axes that are sorted by counting, for each, how many come before it.
_COUNTED = 64


@njit(cache=True, nogil=True)
def _bound_of_likeliest(words, first, dimension, keep, lanes):  # type: ignore[no-untyped-def]
    """A magnitude that at least `keep` coordinates have, few of them more than that.

    At least `keep` of 16 lanes have a coordinate as large as the keep-th of the lanes' largest ones.
    """
    if keep > WIDTH or dimension <= WIDTH:
        return np.uint32(0)
    lanes[:] = 0
    for j in range(first, first + dimension, WIDTH):
        for lane in range(WIDTH):
            lanes[lane] = max(lanes[lane], words[j + lane] & _MAGNITUDE)
    bound = np.uint32(0)
    for lane in range(WIDTH):
        as_large = 0
        for other in range(WIDTH):
            as_large += lanes[other] >= lanes[lane]
        if as_large >= keep:
            bound = max(bound, lanes[lane])
    return bound


@njit(cache=True, nogil=True)
def likeliest_axes(words, first, dimension, keep, lanes, ranks, axes):  # type: ignore[no-untyped-def]
    """The `keep` largest of one hash's coordinates in magnitude, the first of equal ones first.

    `axes` has room for _COUNTED of them, `ranks` for all coordinates.
    """
    bound = _bound_of_likeliest(words, first, dimension, keep, lanes)
    found = 0
    for j in range(dimension):
        magnitude = words[first + j] & _MAGNITUDE
        # The larger, the earlier: no two are equal.
        ranks[found] = (np.uint64(magnitude) << np.uint64(32)) | np.uint64(0xFFFFFFFF - j)
        found += magnitude >= bound
    if found > _COUNTED:
        ranks[:found].sort()
        for r in range(keep):
            axes[r] = np.int64(np.uint32(0xFFFFFFFF) - np.uint32(ranks[found - 1 - r]))
        return
    for a in range(found):
        before = 0
        for b in range(found):
            before += ranks[b] > ranks[a]
        axes[before] = np.int64(np.uint32(0xFFFFFFFF) - np.uint32(ranks[a]))


@njit(cache=True, nogil=True)
def cheapest_sums(left, n_left, right, n_right, keep, sums, places, steps, heads):  # type: ignore[no-untyped-def]
    """The `keep` least sums of one number of each of two rising lists: ``left[places] + right[steps]``.

    Place after place of the left list comes into play when the one before has been taken for the first
    time. Returns how many there are: `keep`, or as many as there are pairs.
    """
    keep = min(keep, n_left * n_right)
    steps_of = heads[1]
    heads[0, 0], steps_of[0] = left[0] + right[0], 0.0
    active = 1
    for r in range(keep):
        best = 0
        for a in range(1, active):
            if heads[0, a] < heads[0, best]:
                best = a
        step = np.int64(steps_of[best])
        sums[r], places[r], steps[r] = heads[0, best], best, step
        steps_of[best] = step + 1
        heads[0, best] = left[best] + right[step + 1] if step + 1 < n_right else np.inf
        if best == active - 1 and active < n_left:
            heads[0, active], steps_of[active] = left[active] + right[0], 0.0
            active += 1
    return keep


@njit(cache=True, nogil=True)
def _row_probes(  # type: ignore[no-untyped-def]
    source, indices, entries, scatter_keys, masks, block, words, room, dimension, power, keys,
    n_buckets, codes, codes_at, n_hashes, n_probes,
):  # fmt: skip
    """Codes of the likeliest cells of one row, ``n_probes`` for each hash."""
    values, lanes, ranks, axes, costs, sums, places, steps, heads = room
    keep, each, round_size = min(dimension, n_probes), block.size // dimension, block.size // WIDTH
    turn, part = -1, each
    for h in range(n_hashes):
        sums[0, 0], n = 0.0, 1
        for k in range(power):
            if part == each:
                turn, part = turn + 1, 0
                if scatter_keys.size:
                    scatter(indices, entries, scatter_keys[turn], source)
                if block.size == GROUP:
                    rotate_group(source, masks, turn * 3 * RADIX, block)  # type: ignore[call-arg]
                else:
                    _rotate(source, masks[turn * round_size * 3 : (turn + 1) * round_size * 3], block)
            first = part * dimension
            part += 1
            likeliest_axes(words, first, dimension, keep, lanes, ranks, axes[k])
            largest = np.float64(abs(block[first + axes[k, 0]]))
            for a in range(keep):
                coordinate = block[first + axes[k, a]]
                costs[a] = (largest - np.float64(abs(coordinate))) ** 2
                axes[k, a] = 2 * axes[k, a] + (words[first + axes[k, a]] >> np.uint32(31))
            here, after = k % 2, (k + 1) % 2
            n = cheapest_sums(sums[here], n, costs, keep, n_probes, sums[after], places[k], steps[k], heads)
        for r in range(n_probes):
            at = r
            for k in range(power - 1, -1, -1):
                values[k] = axes[k, steps[k, at]]
                at = places[k, at]
            codes[codes_at + h * n_probes + r] = code_of(values, 0, power, 2 * dimension, h, keys, n_buckets)


@njit(cache=True, nogil=True)
def _room(dimension, power, n_probes):  # type: ignore[no-untyped-def]
    """What `_row_probes` works in."""
    keep = max(_COUNTED, min(dimension, n_probes))
    return (
        np.empty(power, np.int64),
        np.empty(WIDTH, np.uint32),
        np.empty(dimension + 1, np.uint64),
        np.empty((power, keep), np.int64),
        np.empty(keep),
        np.empty((2, n_probes)),
        np.empty((power, n_probes), np.int64),
        np.empty((power, n_probes), np.int64),
        np.empty((2, n_probes + 1)),
    )


@njit(cache=True, nogil=True)
def cross_polytope_probes_dense(X, masks, dimension, power, keys, n_buckets, start, stop, out):  # type: ignore[no-untyped-def]
    """Codes of the likeliest cells of the rows [start, stop), ``out[i, h, probe]``; the first its own."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    words, flips, codes = block.view(np.uint32), masks.reshape(-1), out.reshape(-1)
    n_hashes, n_probes = out.shape[1:]
    lanes = np.empty(WIDTH, X.dtype)
    room = _room(dimension, power, n_probes)
    no_indices, no_entries = np.empty(0, np.int32), np.empty(0, np.float32)
    no_keys = np.empty(0, np.uint64)
    for i in range(start, stop):
        _scale_dense(X[i], lanes, source)
        _row_probes(
            source, no_indices, no_entries, no_keys, flips, block, words, room, dimension, power, keys,
            n_buckets, codes, i * n_hashes * n_probes, n_hashes, n_probes,
        )  # fmt: skip


@njit(cache=True, nogil=True)
def cross_polytope_probes_csr(  # type: ignore[no-untyped-def]
    indptr, indices, data, scatter_keys, masks, dimension, power, keys, n_buckets, start, stop, out
):
    """`cross_polytope_probes_dense` for sparse rows, taken as by `cross_polytope_codes_csr`."""
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
            source, features, entries, scatter_keys, flips, block, words, room, dimension, power, keys,
            n_buckets, codes, i * n_hashes * n_probes, n_hashes, n_probes,
        )  # fmt: skip
        clear_entries(features, scatter_keys, source)
