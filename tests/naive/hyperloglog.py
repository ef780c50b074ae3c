"""Registers of distinct counts, from the values that each has seen."""

from __future__ import annotations

from collections.abc import Iterable


def place_and_value(hashed: int, precision: int) -> tuple[int, int]:
    """Return the register of a hash, and 1 plus the zeros at the end of the other bits."""
    bits = format(hashed, "064b")
    others = bits[precision:]
    return int(bits[:precision], 2), 1 + len(others) - len(others.rstrip("0"))


def register(values: Iterable[int]) -> int:
    """Return the register of a set of values: its maximum, and if it has the two values below."""
    seen = set(values)
    if not seen:
        return 0
    most = max(seen)
    return 4 * most + 2 * (most - 1 in seen) + (most - 2 in seen)


def registers(hashes: Iterable[int], precision: int) -> list[int]:
    """Return all registers."""
    seen: list[set[int]] = [set() for _ in range(2**precision)]
    for hashed in hashes:
        place, value = place_and_value(hashed, precision)
        seen[place].add(value)
    return [register(values) for values in seen]


def tokens(hashes: Iterable[int]) -> list[int]:
    """Return the different tokens of hashes, rising."""
    found = {place_and_value(hashed, 26) for hashed in hashes}
    return sorted(64 * first + value for first, value in found)
