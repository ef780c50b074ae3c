"""Prefix codes: the least cost of any, and canonical words."""

from __future__ import annotations

import functools
import math
from fractions import Fraction


def least_code_cost(counts: list[int], limit: int) -> int:
    """Return the least sum of counts times word lengths of a prefix code within `limit`, over all trees."""
    ordered = sorted(counts, reverse=True)

    @functools.cache
    def rest(placed: int, free: int, depth: int) -> float:
        """Return the least cost of the symbols from `placed` on, with `free` nodes at this depth."""
        if placed == len(ordered):
            return 0
        if depth > limit or free == 0:
            return math.inf
        return min(
            depth * sum(ordered[placed : placed + here])
            + rest(placed + here, min(2 * (free - here), len(ordered)), depth + 1)
            for here in range(min(free, len(ordered) - placed) + 1)
        )

    return int(rest(0, 1, 0))


def canonical_words(lengths: list[int]) -> list[str]:
    """Return the words of the canonical code as strings of 0 and 1."""
    words = [""] * len(lengths)
    position = Fraction(0)
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        length = lengths[index]
        words[index] = f"{int(position * 2**length):0{length}b}" if length else ""
        position += Fraction(1, 2**length)
    return words
