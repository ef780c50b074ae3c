"""Lengths and words of optimal prefix codes whose words are limited in length.

Huffman's code, in place by Moffat and Katajainen, where it keeps within the limit; else the optimal one
among those that do, by package-merge.

References: A. Moffat and J. Katajainen, "In-place calculation of minimum-redundancy codes", WADS 1995;
L. Larmore and D. Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", JACM 37 (1990).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_int
from ..kernels.prefix_code import huffman, package_merge

__all__ = ["LARGEST_LIMIT", "LARGEST_TOTAL", "canonical_codes", "code_lengths", "sorted_code_lengths"]

#: Longest code words: they are held in 32 bits.
LARGEST_LIMIT = 32
#: Package-merge adds up to LARGEST_LIMIT times the total in int64.
LARGEST_TOTAL = 2**57


def sorted_code_lengths(weights: NDArray[np.int64], limit: int) -> NDArray[np.uint8]:
    """`code_lengths` of weights known to be positive, ascending and few and small enough."""
    n = weights.size
    if n <= 1:
        return np.zeros(n, dtype=np.uint8)
    depths = weights.copy()
    huffman(depths)
    if depths[0] <= limit:
        return depths.astype(np.uint8)
    lengths = np.empty(n, dtype=np.uint8)
    package_merge(weights, limit, lengths)
    return lengths


def code_lengths(counts: NDArray[np.integer[Any]], limit: int = 24) -> NDArray[np.uint8]:
    """Bits of each symbol's word in an optimal prefix code with no word longer than `limit`.

    Parameters
    ----------
    counts : (D,) array of integers, at least 1 each, 2**57 at most in all
    limit : int, at most 32

    Returns
    -------
    (D,) uint8 array
        The sum of counts times lengths is the least that any such code has. The sum of 2**-length is 1;
        but a single symbol has length 0. Of equal counts, the later one never has the longer word.

    Raises
    ------
    ValueError
        If D is over 2**limit, or a count under 1.

    Notes
    -----
    Time O(D log D) for the sort and O(D) for Huffman's code, or O(D limit) where that is too deep;
    8 bytes a symbol beside the sort's, or 32 + limit / 4.

    Examples
    --------
    >>> code_lengths(np.array([1, 1, 2, 4])).tolist()
    [3, 3, 2, 1]
    >>> code_lengths(np.array([1, 1, 2, 4]), limit=2).tolist()
    [2, 2, 2, 2]
    """
    limit = check_int("limit", limit, 0, LARGEST_LIMIT)
    counts = check_counts(counts)
    if counts.size > 2**limit:
        raise ValueError(f"counts must be at most 2**limit = {2**limit} for limit={limit}, got {counts.size}")
    order = np.argsort(counts, kind="stable")
    lengths = np.empty(counts.size, dtype=np.uint8)
    lengths[order] = sorted_code_lengths(counts[order], limit)
    return lengths


def check_counts(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """`counts` as int64, refused unless all are positive and their sum is in range."""
    counts = np.asarray(counts)
    if counts.ndim != 1 or (counts.size and counts.dtype.kind not in "iu"):
        raise ValueError(
            f"counts must be integers in one dimension, got {counts.ndim} dimensions of {counts.dtype}"
        )
    if counts.size:
        if int(counts.min()) < 1:
            raise ValueError(f"counts must be at least 1, got {counts.min()}")
        # In floating point first: int64 would wrap around.
        if float(counts.sum(dtype=np.float64)) > LARGEST_TOTAL:
            raise ValueError(
                f"counts must sum to at most 2**57, got about {counts.sum(dtype=np.float64):.3g}"
            )
    return np.ascontiguousarray(counts, dtype=np.int64)


def canonical_codes(lengths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The words of the canonical code: ascending by (length, index), each as short as its length says.

    Parameters
    ----------
    lengths : (D,) uint8 array
        At most 32 each; the sum of 2**-length at most 1.

    Returns
    -------
    (D,) uint32 array
        Bits of the word, the first the most significant of `length`.

    Examples
    --------
    >>> [f"{code:0{length}b}" for code, length in zip(canonical_codes(np.array([2, 1, 3, 3])), [2, 1, 3, 3])]
    ['10', '0', '110', '111']
    """
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu"):
        raise ValueError(
            f"lengths must be integers in one dimension, got {lengths.ndim} dimensions of {lengths.dtype}"
        )
    if lengths.size and not 0 <= int(lengths.min()) <= int(lengths.max()) <= LARGEST_LIMIT:
        raise ValueError(f"lengths must be from 0 to 32, got {lengths.min()} to {lengths.max()}")
    sizes = np.bincount(lengths) if lengths.size else np.zeros(1, dtype=np.int64)
    first = first_codes(sizes)
    longest = sizes.size - 1
    if first[longest] + int(sizes[longest]) > 2**longest:
        raise ValueError(f"lengths must leave room for every word, but their Kraft sum is over 1: {sizes}")
    codes = np.empty(lengths.size, dtype=np.uint32)
    for length, start in enumerate(first):
        members = np.flatnonzero(lengths == length)
        codes[members] = start + np.arange(members.size)
    return codes


def first_codes(sizes: NDArray[np.integer[Any]]) -> list[int]:
    """For each length, the first word of that length in the canonical code with `sizes` words a length."""
    first = [0]
    for size in sizes[:-1].tolist():
        first.append((first[-1] + size) * 2)
    return first
