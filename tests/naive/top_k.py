"""Summaries of the k most frequent keys: bounds of the counts of some keys, and one for all others."""

from __future__ import annotations

from collections.abc import Sequence

#: A lower bound of a key's count, and an upper bound less that.
Counter = tuple[int, int]
#: The counters of some keys, and the largest count that another key can have.
Summary = tuple[dict[int, Counter], int]


def largest(summary: Summary, n_counters: int, hashes: dict[int, int]) -> Summary:
    """Keep the keys of the largest upper bounds; the largest of the others bounds their counts."""
    counters, offset = summary
    order = sorted(counters, key=lambda key: (-sum(counters[key]), -counters[key][0], hashes[key]))
    dropped = order[n_counters:]
    if dropped:
        offset = sum(counters[dropped[0]])
    return {key: counters[key] for key in order[:n_counters]}, offset


def merge(one: Summary, other: Summary, n_counters: int, hashes: dict[int, int]) -> Summary:
    """Merge two summaries: a key that a part has not kept may occur there as often as its offset."""
    total = {}
    for key in one[0].keys() | other[0].keys():
        (count, error), (count_there, error_there) = (
            counters.get(key, (0, offset)) for counters, offset in (one, other)
        )
        total[key] = count + count_there, error + error_there
    return largest((total, one[1] + other[1]), n_counters, hashes)


def update(
    summary: Summary,
    batch: Sequence[tuple[int, int]],
    n_counters: int,
    n_new: int,
    hashes: dict[int, int],
) -> Summary:
    """Add keys with counts; keys are dropped whenever there are `n_new` new ones, and at the end."""
    counters, offset = dict(summary[0]), summary[1]
    room = len(counters) + n_new
    for key, weight in batch:
        if not weight:
            continue
        if key not in counters and len(counters) == room:
            counters, offset = largest((counters, offset), n_counters, hashes)
            room = len(counters) + n_new
        count, error = counters.get(key, (0, offset))
        counters[key] = count + weight, error
    return largest((counters, offset), n_counters, hashes)
