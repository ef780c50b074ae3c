"""Rounds of devices of different memory, in exact fractions and loops over places."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["fold", "round_of"]


def fold(weights: list[Fraction], size: int) -> list[Fraction]:
    """Return the mean of the parameters at the places p with p mod size = q, for each q."""
    groups: list[list[Fraction]] = [[] for _ in range(size)]
    for place, weight in enumerate(weights):
        groups[place % size].append(weight)
    return [sum(group, Fraction(0)) / len(group) for group in groups]


def round_of(weights: list[Fraction], tables: list[list[Fraction]], n_rows: list[Fraction]) -> list[Fraction]:
    """Return the parameters after a round: the weighted mean of what each client would make of them."""
    total = sum(n_rows, Fraction(0))
    after = [Fraction(0)] * len(weights)
    for table, n in zip(tables, n_rows, strict=True):
        before = fold(weights, len(table))
        for place, weight in enumerate(weights):
            q = place % len(table)
            after[place] += n / total * (weight + table[q] - before[q])
    return after
