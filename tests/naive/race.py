"""Counters of codes, and the kernel sums that they estimate."""

from __future__ import annotations

import itertools
import statistics


def race_counts(codes: list[list[int]], weights: list[int], n_hashes: int, n_buckets: int) -> list[list[int]]:
    """Add the weight of each row to the counters of its codes."""
    counts = [[0] * n_buckets for _ in range(n_hashes)]
    for row, weight in zip(codes, weights, strict=True):
        for r, code in enumerate(row):
            counts[r][code] += weight
    return counts


def race_sums(
    counts: list[list[int]], query_codes: list[list[int]], chance: float, groups: int | None
) -> list[float]:
    """Return debiased kernel sums: the mean over repetitions, or the median of the means of groups."""
    total = sum(counts[0])
    sums = []
    for row in query_codes:
        each = [(counts[r][code] - total * chance) / (1 - chance) for r, code in enumerate(row)]
        if groups is None:
            sums.append(sum(each) / len(each))
        else:
            edges = [g * len(each) // groups for g in range(groups + 1)]
            means = [sum(each[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
            sums.append(statistics.median(means))
    return sums
