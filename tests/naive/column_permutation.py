"""Orders of the values of rows that are multisets."""

from __future__ import annotations

import collections
import math
from typing import Any


def column_entropies(rows: Any) -> float:
    """Sum the columns' empirical entropies, in bits a row."""
    total = 0.0
    for column in zip(*rows, strict=True):
        counts = collections.Counter(column)
        total -= sum(c / len(column) * math.log2(c / len(column)) for c in counts.values())
    return total


def by_frequency(rows: Any) -> list[list[Any]]:
    """Sort each row by falling counts of its values in all rows, ties by value."""
    counts = collections.Counter(value for row in rows for value in row)
    return [sorted(row, key=lambda value: (-counts[value], value)) for row in rows]


def cover_columns(rows: Any) -> list[list[Any]]:
    """Fill each column in turn with the commonest value of the rows that still lack one, ties by value."""
    left = [list(row) for row in rows]
    done: list[list[Any]] = [[] for _ in rows]
    for _ in range(len(left[0]) if left else 0):
        waiting = set(range(len(left)))
        while waiting:
            counts = collections.Counter(value for i in waiting for value in set(left[i]))
            best = min(counts, key=lambda value: (-counts[value], value))
            for i in [i for i in waiting if best in left[i]]:
                left[i].remove(best)
                done[i].append(best)
                waiting.remove(i)
    return done
