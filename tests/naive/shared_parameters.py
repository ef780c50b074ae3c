"""The matrix of shared parameters: row e, column i of a virtual table from m parameters, entry by entry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mergesketch.lsh.support.random import random_uint64

from .words import mix13

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15

#: The place of an entry, and its coefficient there.
Place = tuple[int, float]


def keys(seed: int, table: int, n: int) -> list[int]:
    """Return the words that hash the rows of a table."""
    return random_uint64(seed, f"SharedParameters, table {table}", n).tolist()


def place(word: int, m: int) -> int:
    return (word & ((1 << 52) - 1)) % m


def sign(word: int, t: int) -> int:
    """Return the sign of entry t of a run."""
    return 1 - 2 * ((mix13((word + t // 64 + 1) & _MASK) >> (t % 64)) & 1)


def block_word(row_word: int, block: int) -> int:
    return mix13((row_word + (block + 1) * _STEP) & _MASK)


def robe(row: int, i: int, m: int, block: int, keys: list[int]) -> list[Place]:
    """Return the places of entry i of a row: one for each key, for the mean of as many hashed rows."""
    found = []
    for key in keys:
        word = block_word(mix13(row ^ key), i // block)
        found.append(((place(word, m) + i % block) % m, sign(word, i % block) / len(keys)))
    return found


def tile(row: int, i: int, m: int, rows: int, columns: int, key: int) -> list[Place]:
    word = block_word(mix13((row // rows) ^ key), i // columns)
    at = (place(word, m) + (row % rows) * columns + i % columns) % m
    return [(at, sign(mix13(word ^ (row % rows)), i % columns))]


def cyclic(row: int, i: int, m: int, first: int, n_columns: int, key: int) -> list[Place]:
    g = first + row * n_columns + i
    return [((place(mix13((g // m) ^ key), m) + g % m) % m, 1.0)]


def quotient_remainder(row: int, i: int, m: int, r: int, n_columns: int, combine: str) -> list[Place]:
    if combine == "sum":
        return [((row % r * n_columns + i) % m, 1.0), (((r + row // r) * n_columns + i) % m, 1.0)]
    left = -(-n_columns // 2)
    right = n_columns - left
    if i < left:
        return [((r * right + row // r * left + i) % m, 1.0)]
    return [((row % r * right + i - left) % m, 1.0)]


def cafe(row: int, i: int, m: int, map: tuple[list[int], int, int, int], key: int) -> list[Place]:
    """Return the places of a row of its own behind all others, in the order of mixed words, or of a block."""
    frequent, n_frequent, n_columns, block = map
    block = min(block, n_columns)
    origin, word = m - n_frequent * n_columns, block_word(mix13(row ^ key), i // block)
    start = place(word, origin - block + 1) + i % block
    order = sorted(frequent, key=mix13)
    if row in frequent:
        start = origin + order.index(row) * n_columns + i
    return [(start, sign(word, i % block))]


def chosen(importance: dict[int, float], frequent: set[int], n: int, margin: float) -> set[int]:
    """Return the n most important rows, as newcomers take free places or those of less important rows."""
    frequent = frequent if margin > 0 else set()
    kept = set(frequent)
    newcomers = sorted((-value, row) for row, value in importance.items() if value > 0 and row not in kept)
    for value, row in newcomers:
        if len(kept) == n:
            least = min(kept & frequent, key=lambda r: (importance.get(r, 0), -r), default=None)
            if least is None or -value <= (1 + margin) * importance.get(least, 0):
                break
            kept.remove(least)
        kept.add(row)
    return kept


def semantic(signature: list[int], i: int, m: int, power: int, bits: int, width: int, keys: list[int]):
    """Return the place of column i; `width` is the number of columns of a block."""
    block = i // width
    values = signature[block * power : (block + 1) * power]
    packed = sum((value & ((1 << bits) - 1)) << (k * bits) for k, value in enumerate(values))
    word = block_word(mix13(packed ^ keys[1 + block] ^ keys[0]), 0)
    return [((place(word, m) + i % width) % m, sign(word, i % width))]


def matrix(places: Callable[[int, int], list[Place]], rows: list[int], n_columns: int, m: int) -> np.ndarray:
    """Return A, of shape (rows, columns, m): reading is ``A @ w``, and adding its transpose."""
    A = np.zeros((len(rows), n_columns, m))
    for n, row in enumerate(rows):
        for i in range(n_columns):
            for at, coefficient in places(row, i):
                A[n, i, at] += coefficient
    return A
