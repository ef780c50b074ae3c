"""MinHash of sets that arrive token by token."""

from __future__ import annotations


def shared_bins(minima: list[list[int]], i: int, j: int) -> tuple[int, int]:
    """Count the bins full in set i or j that have the same value in both, and all of them."""
    pairs = [(a, b) for a, b in zip(minima[i], minima[j], strict=True) if min(a, b) != 0xFFFFFFFF]
    return sum(a == b for a, b in pairs), len(pairs)
