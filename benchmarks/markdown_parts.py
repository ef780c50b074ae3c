"""Write figures and tables as the pages show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from measure import cell


def table(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Return a table as Markdown."""
    written = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    written += [f"| {' | '.join(cell(value) for value in line)} |" for line in lines]
    return "\n".join(["", *written, "", ""])


def span(values: Iterable[float], digits: int = 2) -> str:
    """Return the smallest and the largest value, as "1.2 to 3.4"."""
    found = sorted(values)
    low, high = short(found[0], digits), short(found[-1], digits)
    return low if low == high else f"{low} to {high}"


def short(value: float, digits: int = 2) -> str:
    """Return a value with some significant digits, never in powers of ten."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{places}f}"


def percent(value: float, digits: int = 2) -> str:
    return f"{short(100 * value, digits)} %"
