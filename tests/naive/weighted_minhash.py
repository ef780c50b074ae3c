"""Consistent weighted sampling and the weighted Jaccard similarity."""

from __future__ import annotations

import math
from fractions import Fraction

from naive.words import mix13


def weighted_minhash(key: int, keys: list[int], row: dict[int, float]) -> list[int]:
    """Sample one row consistently (Ioffe 2010, section 3), one weight at a time."""
    step, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    values = []
    for hash_key in keys:
        least = None
        for number, w in row.items():
            feature = mix13(number ^ key)
            one = mix13(feature ^ hash_key)
            two = mix13(((feature ^ hash_key) + step) & mask)
            # 24 bits, 24 bits and 16 bits of each word.
            r, c = (
                -math.log(((x >> 40) + 0.5) / 2**24 * (((x >> 16 & 0xFFFFFF) + 0.5) / 2**24))
                for x in (one, two)
            )
            beta = ((one & 0xFFFF) * 2**16 + (two & 0xFFFF) + 0.5) / 2**32
            t = math.floor(math.log(w) / r + beta)
            y = r * (t - beta)
            candidate = (math.log(c) - y - r, feature, t)
            least = candidate if least is None or candidate[0] < least[0] else least
        if least is None:
            values.append(0xFFFFFFFF)
        else:
            word = mix13((least[1] + least[2] * step) & mask)
            values.append(min(mix13(word ^ hash_key) >> 32, 0xFFFFFFFE))
    return values


def weighted_jaccard(x: dict[int, float], y: dict[int, float]) -> Fraction:
    """Divide the sum of the lesser weights by the sum of the greater ones."""
    lesser = sum((min(Fraction(x.get(f, 0)), Fraction(y.get(f, 0))) for f in {*x, *y}), Fraction(0))
    greater = sum((max(Fraction(x.get(f, 0)), Fraction(y.get(f, 0))) for f in {*x, *y}), Fraction(0))
    return lesser / greater if greater else Fraction(1)
