"""Kernels of DDSketch: the bins of numbers, by integer arithmetic on the bits of floats.

A magnitude is ``2**octave * (1 + fraction)``. Each octave has the same number of bins, whose edges are
fractions. The first bits of a fraction select a cell, which has at most one edge inside: ``firsts`` has the
bin that a cell begins in, ``edges`` the fraction from which on its numbers belong to the next bin. Integers
are compared, so that every processor and GPU finds the same bin.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["add_to_bins", "find_bins"]

_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)
_FRACTION = np.int64(0xFFFFFFFFFFFFF)
_FRACTION_BITS = np.int64(52)
_SIGN_BIT = np.int64(63)


@helper
def _signed_bin(word, firsts, edges, shift, per_octave, lowest, last):
    """Return the number of a float's bin, with its sign: 0 below the lowest octave, at most `last`."""
    magnitude = word & _MAGNITUDE
    fraction = magnitude & _FRACTION
    cell = fraction >> shift
    octave = (magnitude >> _FRACTION_BITS) - lowest
    number = octave * per_octave + firsts[cell] + np.int64(fraction >= edges[cell]) + 1
    number = max(np.int64(0), min(number, last))
    sign = word >> _SIGN_BIT
    return (number ^ sign) - sign


@kernel
def add_to_bins(words, weights, firsts, edges, shift, per_octave, lowest, start, stop, counts):
    """Add the weights (1 where `weights` is empty) of floats [start, stop), given as int64, to their bins."""
    middle = np.int64(counts.size // 2)
    shift, per_octave, lowest = np.int64(shift), np.int64(per_octave), np.int64(lowest)
    if weights.size == 0:
        for i in range(start, stop):
            counts[middle + _signed_bin(words[i], firsts, edges, shift, per_octave, lowest, middle)] += 1
    else:
        for i in range(start, stop):
            number = _signed_bin(words[i], firsts, edges, shift, per_octave, lowest, middle)
            counts[middle + number] += weights[i]


@kernel
def find_bins(words, firsts, edges, shift, per_octave, lowest, last, start, stop, places):
    """Set ``places[i]`` to the place of the bin of float i among all ``2 last + 1`` bins."""
    shift, per_octave, lowest, last = np.int64(shift), np.int64(per_octave), np.int64(lowest), np.int64(last)
    for i in range(start, stop):
        places[i] = last + _signed_bin(words[i], firsts, edges, shift, per_octave, lowest, last)
