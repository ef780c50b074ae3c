"""Draws from the buckets of a query, and the probabilities of ids, from the definition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from mergesketch.lsh.support.random import random_uint64

from naive.words import mix13

__all__ = ["draws", "one_draw"]

_GOLDEN = 0x9E3779B97F4A7C15


def one_draw(buckets: list[list[int]], weights: dict[int, int], share: Fraction) -> dict[int, Fraction]:
    """Return the probability of every id in one draw, from buckets or from all ids by their weights.

    Ids that are excluded are in none of them.
    """
    filled = [bucket for bucket in buckets if bucket]
    share = share if filled else Fraction(1)
    found = {i: share * weight / sum(weights.values()) for i, weight in weights.items()}
    for bucket in filled:
        for i in bucket:
            found[i] += (1 - share) / len(filled) / len(bucket)
    return found


def draws(
    buckets: list[list[int]], weights: dict[int, int], share: float, n: int, seed: int, step: int, row: int
) -> list[int]:
    """Return the distinct ids of n draws, in their order; weights come by rising id."""
    key = int(random_uint64(seed, "LSHSampler draws", 1)[0])
    row_key = mix13((mix13((key + step * _GOLDEN) % 2**64) + row * _GOLDEN) % 2**64)
    filled, found = [bucket for bucket in buckets if bucket], []
    for d in range(n if weights else 0):
        words = [mix13((row_key + (3 * d + j) * _GOLDEN) % 2**64) for j in range(3)]
        if not filled or np.ldexp(words[0] >> 11, -53) < share:
            number = words[1] * sum(weights.values()) >> 64
            for i, weight in weights.items():
                if number < weight:
                    found.append(i)
                    break
                number -= weight
        else:
            bucket = filled[words[1] * len(filled) >> 64]
            found.append(bucket[words[2] * len(bucket) >> 64])
    return list(dict.fromkeys(found))
