"""The smallest and largest value of every column in each page of consecutive rows, and products with them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

Vector = list[float]


def pages(rows: list[Vector], size: int) -> list[list[Vector]]:
    """Return the rows in pages, of which the last one may be smaller."""
    edges = [*range(0, len(rows), size), len(rows)]
    return [rows[a:b] for a, b in pairwise(edges)]


def bounds(page: list[Vector]) -> tuple[Vector, Vector]:
    """Return the smallest and the largest value of each column."""
    columns = list(zip(*page, strict=True))
    return [min(column) for column in columns], [max(column) for column in columns]


def bound(query: Vector, low: Vector, high: Vector) -> Fraction:
    """Return the largest product of a query with any vector between two others, exactly."""
    total = Fraction(0)
    for q, a, b in zip(query, low, high, strict=True):
        total += max(Fraction(q) * Fraction(a), Fraction(q) * Fraction(b))
    return total


def product(query: Vector, row: Vector) -> Fraction:
    """Return the product of two vectors, exactly."""
    return sum((Fraction(q) * Fraction(x) for q, x in zip(query, row, strict=True)), Fraction(0))


def tokens(pages: list[int], size: int, n: int) -> list[int]:
    """Return the tokens of pages in their order, and -1 in the place of those that do not exist."""
    found = []
    for page in pages:
        for i in range(size):
            token = size * page + i
            found.append(token if page >= 0 and token < n else -1)
    return found
