"""Summaries of the heaviest keys."""

from __future__ import annotations

from collections.abc import Sequence


def misra_gries(counts: Sequence[dict[int, int]], n_places: int) -> dict[int, int]:
    """Sum several summaries and subtract the largest count that has no place.

    Agarwal et al. 2012: what is taken off any key, in all of a tree of such sums, is at most
    ``(total - what is left) / (n_places + 1)``.
    """
    total: dict[int, int] = {}
    for part in counts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    largest = sorted(total.values(), reverse=True)
    cut = largest[n_places] if len(largest) > n_places else 0
    return {key: count - cut for key, count in total.items() if count > cut}
