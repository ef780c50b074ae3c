"""Noise of private releases."""

from __future__ import annotations

from collections.abc import Iterable


def discrete_laplace(words: Iterable[int], numerator: int, denominator: int) -> int:
    """Draw one number of noise from 64-bit words (Canonne, Kamath and Steinke 2020, algorithm 2)."""
    words = iter(words)

    def uniform(n: int) -> int:
        return next(word for word in words if word < 2**64 // n * n) % n

    def coin(a: int, b: int) -> bool:
        k = 1
        while uniform(b * k) < a:
            k += 1
        return k % 2 == 1

    while True:
        offset = uniform(numerator)
        if not coin(offset, numerator):
            continue
        turns = 0
        while coin(1, 1):
            turns += 1
        size = (offset + turns * numerator) // denominator
        negative = uniform(2) == 1
        if not (negative and size == 0):
            return -size if negative else size
