"""Read and add to the memory of error feedback: a count sketch with one row, whose buckets are places.

Positions are cut into runs as long as the memory. A run lies in the memory as a whole, rotated by a random
number of places, so its positions have places of their own, and positions of two runs share a place with
probability one over the number of places. Each position has a random sign. All of this is computed, and no
table is needed. Neighbours lie side by side, so memory is read and written in order.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64, reduce_word

__all__ = ["add_errors", "read_errors"]


@helper
def _rotation(keys, run, m):
    """Return the place of the first position of a run."""
    return np.int64(reduce_word(mix64(keys[0] ^ np.uint64(run)), np.uint64(m)))


@kernel
def read_errors(memory, keys, factor, values, first, start, stop, out):
    """Write values plus `factor` times the errors that the memory has of their positions.

    Parameters
    ----------
    memory : array of float32
    keys : array of uint64, shape (2,)
        The keys of rotations and of signs.
    factor : float32
    values : array of float32
        The values of the positions from `first` on.
    first : int
    start, stop : int
        The range of values that is written.
    out : array of float32
    """
    m = memory.size
    position = first + start
    run = position // m
    place = (position - run * m + _rotation(keys, run, m)) % m
    end = (run + 1) * m
    signs = mix64(keys[1] ^ np.uint64(position >> 6))
    for i in range(start, stop):
        if position == end:
            run += 1
            end += m
            place = _rotation(keys, run, m)
        if position & 63 == 0:
            signs = mix64(keys[1] ^ np.uint64(position >> 6))
        error = factor * memory[place]
        is_negative = (signs >> np.uint64(position & 63)) & np.uint64(1)
        out[i] = values[i] - error if is_negative else values[i] + error
        position += 1
        place += 1
        if place == m:
            place = 0


@kernel
def add_errors(errors, keys, first, start, stop, memory):
    """Add the errors of the positions from `first` on to the places [start, stop) of the memory.

    A place adds up its positions in their order, so threads that have different places change no result.
    """
    m, n = memory.size, errors.size
    if n == 0:
        return
    for run in range(first // m, (first + n - 1) // m + 1):
        # The positions of the run that there are errors of, and the place of the first one.
        low, high = max(first, run * m), min(first + n, (run + 1) * m)
        origin = (low - run * m + _rotation(keys, run, m)) % m
        # They lie side by side up to the end of the memory, and the others from its beginning on.
        wrap = min(high, low + m - origin)
        for part_low, part_high, part_place in ((low, wrap, origin), (wrap, high, np.int64(0))):
            end = min(part_high, part_low + stop - part_place)
            skipped = max(0, start - part_place)
            place = part_place + skipped
            block, signs = -1, np.uint64(0)
            for position in range(part_low + skipped, end):
                if position >> 6 != block:
                    block = position >> 6
                    signs = mix64(keys[1] ^ np.uint64(block))
                if (signs >> np.uint64(position & 63)) & np.uint64(1):
                    memory[place] -= errors[position - first]
                else:
                    memory[place] += errors[position - first]
                place += 1
