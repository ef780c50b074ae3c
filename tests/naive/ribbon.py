"""Reading of ribbons, and whether a linear system has a solution."""

from __future__ import annotations

from typing import Any

from naive.words import mix13


def ribbon_window(key: int) -> int:
    """Return a key's 128 coefficients, the lowest of them 1."""
    low = mix13(key ^ 0x9E3779B97F4A7C15) | 1
    return low | mix13((key + 0xC2B2AE3D27D4EB4F) & (2**64 - 1)) << 64


def ribbon_parts(sizes: Any, width: int, longest: int, words: Any) -> list[list[int]]:
    """Return the solutions of a ribbon's three parts: all slots of each column as the bits of one integer."""
    parts, first = [], 0
    for slots in (256 * sizes[0], 256 * sizes[1], sizes[2]):
        n_blocks = -(-(slots + 127 + longest - 1) // 64) if slots else 0
        block = words[first : first + n_blocks * width]
        parts.append([sum(int(w) << 64 * i for i, w in enumerate(block[c::width])) for c in range(width)])
        first += n_blocks * width
    assert first == len(words)
    return parts


def read_ribbon(
    sizes: Any, thresholds: Any, parts: list[list[int]], key: int, place: int, length: int | None
) -> int:
    """Read a bit of each column for a key, or `length` successive bits of a single column."""
    window, first_bucket = ribbon_window(key), 0
    for part in range(3):
        n_slots = sizes[2] if part == 2 else 256 * sizes[part]
        start = (place >> 32) * n_slots >> 32
        if part == 2:
            break
        if n_slots and start % 256 >= (0, 38, 89, 256)[thresholds[first_bucket + start // 256]]:
            break
        place, first_bucket = mix13(place ^ 0x165667B19E3779F9), first_bucket + sizes[part]
    columns, bits = parts[part], 0
    if length is None:
        return sum(((column >> start & window).bit_count() & 1) << c for c, column in enumerate(columns))
    for j in range(length):
        bits = bits << 1 | (columns[0] >> start + j & window).bit_count() & 1
    return bits


def is_consistent(rows: list[int], sides: list[int]) -> bool:
    """Check that a dense system over GF(2) has a solution; `rows` are coefficients as bits of integers."""
    pivots: dict[int, tuple[int, int]] = {}
    for row, side in zip(rows, sides, strict=True):
        while row:
            top = row.bit_length()
            if top not in pivots:
                pivots[top] = row, side
                break
            row, side = row ^ pivots[top][0], side ^ pivots[top][1]
        if not row and side:
            return False
    return True
