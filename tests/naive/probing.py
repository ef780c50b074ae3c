"""Multi-probe querying: every code that a query could be given, by its score."""

from __future__ import annotations

import itertools
import math

from naive.words import mix13


def probed_bits(products: list[float]) -> list[tuple[float, int]]:
    """Return every code of sign bits with the summed squares of the products whose bits it flips."""
    code = sum(1 << k for k, product in enumerate(products) if product >= 0)
    return sorted(
        (sum(sorted(product**2 for k, product in enumerate(products) if flips >> k & 1)), code ^ flips)
        for flips in range(1 << len(products))
    )


def probed_steps(values: list[float]) -> list[tuple[float, tuple[int, ...]]]:
    """Return every neighbouring cell of `values` with the summed squares of the distances to its borders."""
    cell = [math.floor(value) for value in values]
    return sorted(
        (
            sum(
                sorted(
                    (v - c if move < 0 else c + 1 - v) ** 2
                    for v, c, move in zip(values, cell, moves, strict=True)
                    if move
                )
            ),
            tuple(c + move for c, move in zip(cell, moves, strict=True)),
        )
        for moves in itertools.product((-1, 0, 1), repeat=len(values))
    )


def step_code(steps: list[int], key: int, n_buckets: int) -> int:
    """Mix steps into one word and reduce it."""
    word = key
    for step in steps:
        word = mix13(word ^ (step % 2**64))
    return (word >> 32) * n_buckets >> 32


def least_sets(scores: list[float], groups: list[int]) -> list[tuple[float, tuple[int, ...]]]:
    """Return every set of changes, at most one of each group, by its summed score."""
    n = len(scores)
    sets = [tuple(c for c in range(n) if bits >> c & 1) for bits in range(1 << n)]
    return sorted(
        (sum(scores[c] for c in members), members)
        for members in sets
        if len({groups[c] for c in members}) == len(members)
    )
