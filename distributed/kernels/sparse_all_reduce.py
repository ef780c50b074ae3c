"""Kernels of the sparse all-reduce: which rank owns an id, and ids as few bytes.

Ids are cut into groups of as many consecutive ids as there are ranks. In each group every rank owns one id.
A hash of the group's number turns the order of the ranks. So an id of an owner is told by its group, and the
groups of an owner's rising ids rise, too. A code of ids is the shorter of two: the gaps between the groups,
seven bits a byte, or a bitmap with a bit for each group from the first one to the last one.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import lowest_bit, mix64, reduce_word

__all__ = ["add_integer_rows", "add_rows", "find_owners", "measure_codes", "read_codes", "write_codes"]

_ONE, _SEVEN, _EIGHT, _LOW = np.uint64(1), np.uint64(7), np.uint64(8), np.uint64(127)
_LEAST, _LARGEST = np.int64(-(2**63)), np.int64(2**63 - 1)


@helper
def _turn(group, n_owners):
    """Return by how many places the owners of a group are turned."""
    return np.uint64(reduce_word(mix64(group), n_owners))


@kernel
def find_owners(ids, n_owners, start, stop, owners):
    """Find the owner of each of the ids [start, stop), which are uint64; `n_owners` is below 2**16."""
    n = np.uint64(n_owners)
    for i in range(start, stop):
        group = ids[i] // n
        owners[i] = (ids[i] - group * n + _turn(group, n)) % n


@kernel
def measure_codes(ids, starts, n_owners, first_group, n_bitmap, sizes):
    """Return in ``sizes[r]`` the bytes of the code of run r, the rising ids ``starts[r]:starts[r + 1]``.

    All ids of a run have one owner. A bitmap has `n_bitmap` bytes.
    """
    n = np.uint64(n_owners)
    for r in range(sizes.size):
        size = 0
        next_group = np.uint64(first_group)
        for i in range(starts[r], starts[r + 1]):
            group = ids[i] // n
            gap = group - next_group
            next_group = group + _ONE
            size += 1
            while gap > _LOW:
                gap >>= _SEVEN
                size += 1
        sizes[r] = min(size, n_bitmap)


@kernel
def write_codes(ids, starts, n_owners, first_group, n_bitmap, begins, sizes, out):
    """Write the code of run r, of ``sizes[r]`` bytes, to `out` from ``begins[r]`` on; see `measure_codes`.

    The bytes of `out` are 0 before.
    """
    n, first = np.uint64(n_owners), np.uint64(first_group)
    for r in range(sizes.size):
        at = begins[r]
        if sizes[r] == n_bitmap:
            for i in range(starts[r], starts[r + 1]):
                place = ids[i] // n - first
                out[at + np.int64(place // _EIGHT)] |= np.uint8(_ONE << place % _EIGHT)
            continue
        next_group = first
        for i in range(starts[r], starts[r + 1]):
            group = ids[i] // n
            gap = group - next_group
            next_group = group + _ONE
            while gap > _LOW:
                out[at] = np.uint8(gap & _LOW | _LOW + _ONE)
                gap >>= _SEVEN
                at += 1
            out[at] = np.uint8(gap)
            at += 1


@helper
def _id_of(group, owner, n):
    """Return the id of a group that an owner has."""
    return group * n + (owner + n - _turn(group, n)) % n


@kernel
def read_codes(codes, owners, begins, sizes, starts, n_owners, first_group, n_bitmap, ids):
    """Write the ids of run r to ``ids[starts[r]:starts[r + 1]]``, from its code and its owner."""
    n, first = np.uint64(n_owners), np.uint64(first_group)
    for r in range(owners.size):
        owner, out = np.uint64(owners[r]), starts[r]
        if sizes[r] == n_bitmap:
            for b in range(n_bitmap):
                byte = np.uint64(codes[begins[r] + b])
                while byte:
                    place = np.uint64(b) * _EIGHT + np.uint64(lowest_bit(byte))
                    ids[out] = _id_of(first + place, owner, n)
                    out += 1
                    byte &= byte - _ONE
            continue
        group, gap, shift = first, np.uint64(0), np.uint64(0)
        for at in range(begins[r], begins[r] + sizes[r]):
            byte = np.uint64(codes[at])
            gap |= (byte & _LOW) << shift
            shift += _SEVEN
            if byte <= _LOW:
                group += gap
                ids[out] = _id_of(group, owner, n)
                out += 1
                group, gap, shift = group + _ONE, np.uint64(0), np.uint64(0)


@kernel
def add_rows(values, places, is_added, sums):
    """Add row i of the values to ``sums[places[i]]``, one row after the other, unless it is added already."""
    for i in range(places.size):
        if is_added[i]:
            continue
        row = sums[places[i]]
        for j in range(row.size):
            row[j] += values[i, j]


@kernel
def add_integer_rows(values, places, is_added, sums):
    """Do the same for int64; return the first i whose sum leaves int64, or -1 if none does."""
    for i in range(places.size):
        if is_added[i]:
            continue
        row = sums[places[i]]
        for j in range(row.size):
            value = values[i, j]
            if (value > 0 and row[j] > _LARGEST - value) or (value < 0 and row[j] < _LEAST - value):
                return i
            row[j] += value
    return -1
