"""Codes and probes of sampled bits."""

from __future__ import annotations

import itertools

from naive.words import concatenate


def sampled_code(row: list[bool], places: list[int], key: int | None, n_buckets: int) -> int:
    """Return the sampled bits of a row, the first lowest; with a key, mix their 32-bit words to one code."""
    bits = sum(row[place] << k for k, place in enumerate(places))
    if key is None:
        return bits
    return concatenate([bits >> 32 * w & 0xFFFFFFFF for w in range(-(-len(places) // 32))], key, n_buckets)


def probed_rows(row: list[bool], places: list[int]) -> list[list[bool]]:
    """Flip every set of the row's sampled bits, ordered by their number and then by order of sampling."""
    distinct = list(dict.fromkeys(places))
    return [
        [bit != (place in flipped) for place, bit in enumerate(row)]
        for size in range(len(distinct) + 1)
        for flipped in itertools.combinations(distinct, size)
    ]
