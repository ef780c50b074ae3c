"""Blocked Bloom filters: places of keys, blocks, and the exact chance of an error."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction


def bloom_places(h: int, n_blocks: int, n_hashes: int) -> list[tuple[int, int]]:
    """Return the (block, bit) pairs of a key with the 64-bit hash `h`."""
    places: list[tuple[int, int]] = []
    block, word = h * n_blocks // 2**64, h
    while len(places) < n_hashes:
        word = word * 0x9E3779B97F4A7C15 % 2**64
        word ^= word >> 32
        fields = [word >> shift & 511 for shift in range(55, 0, -9)]
        places += [(block, field) for field in fields]
    return places[:n_hashes]


def bloom_blocks(places: Iterable[tuple[int, int]], n_blocks: int) -> list[list[int]]:
    """Build the blocks of a filter with these bits set, eight words each."""
    blocks = [[0] * 8 for _ in range(n_blocks)]
    for block, bit in places:
        blocks[block][bit // 64] |= 1 << bit % 64
    return blocks


def bloom_error(n_keys: int, n_hashes: int, n_bits: int) -> Fraction:
    """Return the chance that one block of `n_bits` passes an absent key, by every way to set its bits."""
    chances = {0: Fraction(1)}
    for _ in range(n_keys * n_hashes):
        stepped: dict[int, Fraction] = {}
        for n_set, chance in chances.items():
            stepped[n_set] = stepped.get(n_set, Fraction(0)) + chance * Fraction(n_set, n_bits)
            stepped[n_set + 1] = stepped.get(n_set + 1, Fraction(0)) + chance * Fraction(
                n_bits - n_set, n_bits
            )
        chances = stepped
    return sum(
        (chance * Fraction(n_set, n_bits) ** n_hashes for n_set, chance in chances.items()), Fraction(0)
    )


class ScalableFilter:
    """Slices of places, to which hashes are added one after another."""

    def __init__(self, capacity: int, sizes: list[tuple[int, int]]) -> None:
        """Take the capacity of the first slice, and the blocks and hashes of slices by level."""
        self.capacity, self.sizes = capacity, sizes
        self.slices: list[set[tuple[int, int]]] = []
        self.n_keys: list[int] = []

    def places(self, level: int, h: int) -> set[tuple[int, int]]:
        """Return the places of a hash in the slice of a level."""
        return set(bloom_places(h, *self.sizes[level]))

    def has(self, h: int) -> bool:
        """Return if a slice has all places of a hash."""
        return any(self.places(level, h) <= kept for level, kept in enumerate(self.slices))

    def add(self, h: int) -> None:
        """Add a hash to the newest slice unless a slice has its places; open a slice if that is full."""
        if self.has(h):
            return
        if not self.slices or self.n_keys[-1] == self.capacity * 2 ** (len(self.slices) - 1):
            self.slices.append(set())
            self.n_keys.append(0)
        self.slices[-1] |= self.places(len(self.slices) - 1, h)
        self.n_keys[-1] += 1
