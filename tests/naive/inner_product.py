"""Rows extended onto a sphere, where angles follow from inner products."""

from __future__ import annotations

import math
from fractions import Fraction


def on_sphere(row: list[float], bound: float | None, *, query: bool) -> list[float]:
    """Extend a row by two coordinates: what is missing to length `bound`, and 0."""
    square = sum((Fraction(x) ** 2 for x in row), Fraction(0))
    missing = 0.0
    if bound is not None and square < Fraction(bound) ** 2:
        missing = math.sqrt(1 - square / Fraction(bound) ** 2) * bound
    return [*row, 0.0, missing] if query else [*row, missing, 0.0]


def angle_between(x: list[float], y: list[float]) -> float:
    """Return the angle of two rows; a row of zeros has a right angle to every other."""
    length = math.hypot(*x) * math.hypot(*y)
    if length == 0.0:
        return math.pi / 2
    cosine = sum(a * b for a, b in zip(x, y, strict=True)) / length
    return math.acos(min(1.0, max(-1.0, cosine)))
