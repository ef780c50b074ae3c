"""KLL: a list of values for each level, which is halved when it is full, in plain Python."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

MASK = 2**64 - 1
LEAST_CAPACITY = 2
BLOCK = 64


def mix64(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def capacity(k: int, depth: int) -> int:
    """Return the number of values at which a level is full: ceil(k (2/3)**depth), and at least 2."""
    return max(LEAST_CAPACITY, -(-k * 2**depth // 3**depth))


class Kll:
    def __init__(self, k: int, seed: int) -> None:
        self.k, self.seed, self.salt = k, seed, 0
        self.levels: list[list[float]] = [[]]
        self.compactions: list[int] = [0]
        self.joint = 0.0

    def update(self, values: Iterable[float]) -> None:
        for value in values:
            self.levels[0].append(value + 0.0)
            self.compress()

    def merge(self, other: Kll) -> None:
        while len(self.levels) < len(other.levels):
            self.levels.append([])
            self.compactions.append(0)
        if self.salt == other.salt:
            # The standard errors add up: (a + b)**2 is a**2 + b**2 and twice the product.
            self.joint += 2.0 * math.sqrt(self.squares() * other.squares())
        self.joint += other.joint
        both_halved = self.salt != 0 and other.salt != 0
        for h, level in enumerate(other.levels):
            self.levels[h] = self.levels[h] + level
        for h in range(len(self.levels)):
            numbers = [self.compactions[h], other.compactions[h] if h < len(other.levels) else 0]
            # Both begin new pairs of halvings.
            self.compactions[h] = sum(n + n % 2 if both_halved else n for n in numbers)
        if self.salt != other.salt:
            self.salt = (self.salt + other.salt) & MASK
        self.compress()

    def squares(self) -> float:
        """Return the sum of the squares of the errors of pairs of halvings."""
        return sum((n + 1) // 2 * 4**h for h, n in enumerate(self.compactions)) + self.joint

    def compress(self) -> None:
        """Halve the lowest full level as long as there are as many values as all levels have room for.

        The values of a block that is not yet complete do not count.
        """
        while True:
            rooms = [capacity(self.k, len(self.levels) - 1 - h) for h in range(len(self.levels))]
            if sum(map(len, self.levels)) - len(self.levels[0]) % BLOCK < sum(rooms):
                return
            h = next(h for h, level in enumerate(self.levels) if len(level) >= rooms[h])
            level = sorted(self.levels[h])
            if self.salt == 0:
                for value in level:
                    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
                    self.salt = mix64(self.salt ^ bits)
                self.salt |= 1
            pair, is_second = divmod(self.compactions[h], 2)
            coin = mix64(mix64(self.salt ^ self.seed) + (h << 56) + pair & MASK) & 1 ^ is_second
            even = len(level) // 2 * 2
            if h + 1 == len(self.levels):
                self.levels.append([])
                self.compactions.append(0)
            self.levels[h + 1] += level[coin:even:2]
            self.levels[h] = level[even:]
            self.compactions[h] += 1

    def weighted(self) -> list[tuple[float, int]]:
        """Return the values that are kept, in order, and how many values each stands for."""
        return sorted((value, 1 << h) for h, level in enumerate(self.levels) for value in level)
