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


def merge_names(
    parts: Sequence[dict[int, int]],
    estimates: dict[int, int],
    least: int,
    places: tuple[int, int],
    hashes: dict[int, int],
) -> dict[int, int]:
    """Sum several summaries: keys that are estimated above `least`, or else some of the largest estimates."""
    n_places, n_filled = places
    frequent = [{key: n for key, n in part.items() if estimates[key] > least} for part in parts]
    n_frequent = len({key for part in frequent for key in part})
    if n_frequent > n_places:
        return misra_gries(frequent, n_places)
    total: dict[int, int] = {}
    for part in parts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    best = sorted(total, key=lambda key: (-estimates[key], hashes[key]))[: max(n_frequent, n_filled)]
    return {key: total[key] for key in best}


def note_batch(
    kept: dict[int, int],
    batch: dict[int, int],
    estimates: dict[int, int],
    least: int,
    places: tuple[int, int],
    hashes: dict[int, int],
) -> dict[int, int]:
    """Add a batch: where the places are filled, keys need the estimate of one that has a place."""
    best = sorted((estimates[key] for key in kept), reverse=True)
    enough = min(least, best[places[1] - 1] - 1) if len(kept) >= places[1] else 0
    came = {key: count for key, count in batch.items() if count and estimates[key] > enough}
    return merge_names([kept, came], estimates, least, places, hashes)
