"""Bins of numbers by their logarithms, and quantiles of a list, in exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence


def bins_per_octave(relative_error: float) -> int:
    """Return the smallest m for which all numbers between x and 2**(1/m) x are near one number."""
    m = 1
    while (2.0 ** (1.0 / m) - 1.0) / (2.0 ** (1.0 / m) + 1.0) > relative_error:
        m += 1
    return m


def place(value: float, m: int, lowest: int, highest: int) -> int:
    """Return the signed number of a value's bin: 0 below 2**lowest, and the last one from 2**(highest + 1).

    Bin 1 + m o + j has the magnitudes from 2**(lowest + o + j/m) up to the next bin.
    """
    fraction, exponent = math.frexp(abs(value))
    if value == 0.0 or exponent - 1 < lowest:
        return 0
    if exponent - 1 > highest:
        found = 1 + m * (highest + 1 - lowest)
    else:
        # The fraction is F / 2**52 in [1, 2), and j is the largest integer with 2**j <= (F / 2**52)**m.
        F = int(fraction * 2.0**53)
        j = (F**m).bit_length() - 1 - 52 * m
        found = 1 + m * (exponent - 1 - lowest) + j
    return found if value > 0 else -found


def counts(values: Sequence[float], weights: Sequence[int], m: int, lowest: int, highest: int) -> list[int]:
    """Return the counters of all bins, from the most negative numbers to the largest ones."""
    middle = 1 + m * (highest + 1 - lowest)
    found = [0] * (2 * middle + 1)
    for value, weight in zip(values, weights, strict=True):
        found[middle + place(value, m, lowest, highest)] += weight
    return found


def quantile(values: Sequence[float], q: float) -> float:
    """Return the value of rank floor(q (n - 1)) among n values, from rank 0."""
    return sorted(values)[math.floor(q * (len(values) - 1))]


def rank(values: Sequence[float], x: float) -> int:
    """Return the number of values that are at most x."""
    return sum(value <= x for value in values)
