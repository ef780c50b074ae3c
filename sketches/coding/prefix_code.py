"""Lengths and words of optimal prefix codes whose words are limited in length.

The code is Huffman's, computed in place by the algorithm of Moffat and Katajainen, if no word exceeds the
limit. Otherwise it is the optimal code within the limit, computed by package-merge.

References: A. Moffat and J. Katajainen, "In-place calculation of minimum-redundancy codes", WADS 1995;
L. Larmore and D. Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", JACM 37 (1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_int
from ..kernels.prefix_code import huffman, package_merge

__all__ = [
    "LARGEST_LIMIT",
    "LARGEST_TOTAL",
    "check_counts",
    "code_lengths",
    "first_codes",
    "sorted_code_lengths",
]

#: The length of the longest code words, which are stored in 32 bits.
LARGEST_LIMIT = 32
#: The largest sum of counts: package-merge sums up to LARGEST_LIMIT times the total in int64.
LARGEST_TOTAL = 2**57


def sorted_code_lengths(weights: NDArray[np.int64], limit: int) -> NDArray[np.uint8]:
    """Return the `code_lengths` of weights without a check; they must be positive and ascend."""
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
    """Return the number of bits of each symbol's word in an optimal prefix code with no word over `limit`.

    Parameters
    ----------
    counts : (D,) array of integers, at least 1 each, 2**57 at most in all
    limit : int, at most 32

    Returns
    -------
    (D,) uint8 array
        The sum of counts times lengths is the least that any such code has. The sum of 2**-length is 1;
        but a single symbol has length 0. Among equal counts, a later one never has a longer word.

    Raises
    ------
    ValueError
        If D is over 2**limit, or a count under 1.

    Notes
    -----
    Time O(D log D) for the sort, and O(D) for Huffman's code or O(D limit) for package-merge. Memory beside
    that of the sort: 8 bytes a symbol for Huffman's code, 32 + limit / 4 for package-merge.

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
    """Return counts as int64; raise ValueError unless all are positive and their sum is in range."""
    counts = np.asarray(counts)
    if counts.ndim != 1 or (counts.size and counts.dtype.kind not in "iu"):
        raise ValueError(
            f"counts must be integers in one dimension, got {counts.ndim} dimensions of {counts.dtype}"
        )
    if counts.size:
        if int(counts.min()) < 1:
            raise ValueError(f"counts must be at least 1, got {counts.min()}")
        # The sum is taken in floating point: int64 could wrap around.
        if float(counts.sum(dtype=np.float64)) > LARGEST_TOTAL:
            raise ValueError(
                f"counts must sum to at most 2**57, got about {counts.sum(dtype=np.float64):.3g}"
            )
    return np.ascontiguousarray(counts, dtype=np.int64)


def first_codes(sizes: Sequence[int]) -> list[int]:
    """Return the first word of each length in the canonical code with ``sizes[length]`` words of each length.

    In the canonical code words ascend by (length, value).
    """
    first = [0]
    for size in sizes[:-1]:
        first.append((first[-1] + size) * 2)
    return first
