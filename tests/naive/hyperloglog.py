"""Registers of distinct counts, from the values that each has seen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction


def place_and_value(hashed: int, n_registers: int) -> tuple[int, int]:
    """Return the register of a hash, and 1 plus the zeros at the end of the other bits."""
    bits = format(hashed, "064b")
    others = bits[math.ceil(math.log2(n_registers)) :]
    place = math.floor(Fraction(int(bits[:26], 2), 2**26) * n_registers)
    return place, 1 + len(others) - len(others.rstrip("0"))


def register(values: Iterable[int]) -> int:
    """Return the register of a set of values: its maximum, and if it has the two values below."""
    seen = set(values)
    if not seen:
        return 0
    most = max(seen)
    return 4 * most + 2 * (most - 1 in seen) + (most - 2 in seen)


def registers(hashes: Iterable[int], n_registers: int) -> list[int]:
    """Return all registers."""
    seen: list[set[int]] = [set() for _ in range(n_registers)]
    for hashed in hashes:
        place, value = place_and_value(hashed, n_registers)
        seen[place].add(value)
    return [register(values) for values in seen]


def tokens(hashes: Iterable[int]) -> list[int]:
    """Return the different tokens of hashes, rising."""
    found = {place_and_value(hashed, 2**26) for hashed in hashes}
    return sorted(64 * first + value for first, value in found)
