"""Error feedback whose memory is a count sketch with one row: dictionaries and loops over positions."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from mergesketch.lsh.support.random import random_uint64

from naive.words import mix13

__all__ = ["block", "place_and_sign", "step", "top"]


def place_and_sign(position: int, n_places: int, seed: int) -> tuple[int, int]:
    """Return the place of a position in the memory, and its sign."""
    rotations, signs = (int(word) for word in random_uint64(seed, "error memory", 2))
    run, offset = divmod(position, n_places)
    rotation = ((mix13(rotations ^ run) >> 32) * n_places) >> 32
    bit = mix13(signs ^ (position // 64)) >> (position % 64) & 1
    return (offset + rotation) % n_places, 1 - 2 * bit


def top(values: list[Fraction], k: int) -> list[int]:
    """Return the positions of the k largest magnitudes; of equal ones the first positions."""
    return sorted(sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:k])


def block(n: int, k: int, seed: int, n_steps: int) -> list[int]:
    """Return the positions of the block that all ranks send in a step."""
    word = int(random_uint64(seed, f"block of step {n_steps}", 1)[0])
    start = ((word >> 32) * n) >> 32
    return [(start + i) % n for i in range(k)]


def step(
    memory: dict[int, Fraction],
    gradient: list[Fraction],
    n_places: int,
    seed: int,
    factor: Fraction,
    sent: int | list[int],
) -> tuple[dict[int, Fraction], dict[int, Fraction]]:
    """Return what a rank sends, and its memory afterwards.

    `sent` has the positions that are sent, or is the number of the largest ones.
    """
    found = [place_and_sign(i, n_places, seed) for i in range(len(gradient))]
    kept = defaultdict(Fraction, memory)
    corrected = [g + factor * sign * kept[place] for g, (place, sign) in zip(gradient, found, strict=True)]
    positions = top(corrected, sent) if isinstance(sent, int) else sent
    update = {i: corrected[i] for i in positions}
    for i, (place, sign) in enumerate(found):
        # The error of this step, less what the memory had of the position already.
        old = factor * sign * memory.get(place, Fraction(0))
        kept[place] += sign * (corrected[i] - update.get(i, Fraction(0)) - old)
    return update, dict(kept)
